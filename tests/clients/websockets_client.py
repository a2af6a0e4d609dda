"""A client that is nothing but the `websockets` package and JSON: what an agent without any SDK would write."""

import itertools
import json
import sys
import uuid

from websockets.sync.client import connect

NUMBERS = itertools.count(1)


def check(name, holds, detail=None):
    if not holds:
        sys.exit(f"FAILED {name}: {detail!r}")
    print(f"ok {name}")


def ask(socket, method, **params):
    number = next(NUMBERS)
    socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}))
    answer = json.loads(socket.recv(timeout=10))
    assert answer["jsonrpc"] == "2.0" and answer["id"] == number, answer
    return answer


def call(socket, tool, **arguments):
    return ask(socket, "tools/call", name=tool, arguments=arguments)["result"]


def main(url):
    mark = uuid.uuid4().hex
    with connect(url, subprotocols=["mcp"], proxy=None) as socket:
        check("subprotocol", socket.subprotocol == "mcp", socket.subprotocol)
        check("permessage-deflate", "permessage-deflate" in socket.response.headers.get("Sec-WebSocket-Extensions", ""))
        answer = ask(socket, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "judge", "version": "1"})
        check("initialize", answer["result"]["protocolVersion"] == "2025-06-18", answer)
        socket.send(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        tools = [tool["name"] for tool in ask(socket, "tools/list")["result"]["tools"]]
        check("list tools", len(tools) == 8 and "store_memory" in tools, tools)

        stored = call(socket, "store_memory", content=f"The kettle is green {mark}", tags=[mark])
        memory = stored["structuredContent"]
        check("store_memory", not stored["isError"] and memory["version"] == 1, stored)
        check("text is the same", json.loads(stored["content"][0]["text"]) == memory, stored)
        found = call(socket, "semantic_search", query=f"kettle {mark}", limit=5)["structuredContent"]
        check("semantic_search", found["hits"][0]["id"] == memory["id"] and found["mode"] == "lexical", found)
        page = call(socket, "recall_memory", tags=[mark])["structuredContent"]
        check("recall_memory", [m["id"] for m in page["memories"]] == [memory["id"]], page)

        change = {"id": memory["id"], "expected_version": 1, "content": f"The kettle is red {mark}"}
        updated = call(socket, "update_memory", **change)
        check("update_memory", updated["structuredContent"]["version"] == 2, updated)
        conflict = call(socket, "update_memory", **change)
        check("conflict", conflict["isError"] and conflict["structuredContent"]["code"] == "CONFLICT", conflict)
        refused = call(socket, "store_memory", text="x")
        check("bad argument", refused["isError"] and refused["structuredContent"]["code"] == "INVALID_ARGUMENTS", refused)
        unknown = ask(socket, "tools/call", name="no_such_tool", arguments={})
        check("unknown tool", unknown["error"]["code"] == -32602, unknown)
        health = call(socket, "health_check")["structuredContent"]
        check("health_check", health["status"] == "healthy", health)
        direct = ask(socket, "memory/get", id=memory["id"])["result"]
        check("direct method", direct["content"] == change["content"], direct)


main(sys.argv[1])
