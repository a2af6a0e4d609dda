"""The official Python SDK as a client, over the WebSocket transport of its first major version.

The SDK itself checks every answer against its types, and structured content against the output schema of a tool that
has one.
"""

import sys
import uuid

import anyio
from mcp import ClientSession, McpError
from mcp.client.websocket import websocket_client

CORE = {
    "store_memory", "semantic_search", "recall_memory", "register_agent", "switch_agent", "get_current_agent",
    "health_check", "get_system_stats",
}  # fmt: skip


def check(name, holds, detail=None):
    if not holds:
        raise AssertionError(f"{name}: {detail!r}")
    print(f"ok {name}")


async def core(url):
    async with websocket_client(url) as (read, write), ClientSession(read, write) as session:
        answer = await session.initialize()
        check("initialize", answer.serverInfo.name == "tmws" and answer.capabilities.tools is not None, answer)
        check("negotiated version", answer.protocolVersion == "2025-11-25", answer.protocolVersion)
        await session.send_ping()
        check("ping", True)
        tools = await session.list_tools()
        names = {tool.name for tool in tools.tools}
        check("list core tools", names == CORE and tools.nextCursor is None, names)
        check("tools are described", all(tool.description and tool.inputSchema for tool in tools.tools), names)

        try:
            await session.call_tool("no_such_tool", {})
            check("unknown tool", False, "it was answered")
        except McpError as error:
            check("unknown tool", error.error.code == -32602, error.error)


async def call(session, tool, **arguments):
    answer = await session.call_tool(tool, arguments)
    return answer.isError, answer.structuredContent, answer.content[0].text


async def memory(url):
    mark = uuid.uuid4().hex
    async with websocket_client(url + "?tools=full") as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        names, page = set(), await session.list_tools()
        while True:
            names |= {tool.name for tool in page.tools}
            if not page.nextCursor:
                break
            page = await session.list_tools(cursor=page.nextCursor)
        check("list all tools", names > CORE and {"update_memory", "delete_memory"} < names, names)

        failed, stored, _ = await call(session, "store_memory", content=f"The kettle is green {mark}", tags=[mark])
        check("store_memory", not failed and stored["version"] == 1 and stored["tags"] == [mark], stored)
        failed, found, _ = await call(session, "semantic_search", query=f"kettle {mark}", limit=5)
        check("semantic_search", not failed and found["hits"][0]["id"] == stored["id"], found)
        failed, page, _ = await call(session, "recall_memory", tags=[mark])
        check("recall_memory", not failed and [m["id"] for m in page["memories"]] == [stored["id"]], page)

        change = {"id": stored["id"], "expected_version": 1, "content": f"The kettle is red {mark}"}
        failed, updated, _ = await call(session, "update_memory", **change)
        check("update_memory", not failed and updated["version"] == 2, updated)
        failed, conflict, text = await call(session, "update_memory", **change)
        check("conflict", failed and conflict["code"] == "CONFLICT" and text == conflict["error"], conflict)
        failed, refused, _ = await call(session, "store_memory", content="x", importance=7)
        check("bad value", failed and refused["code"] == "INVALID_ARGUMENTS", refused)
        failed, refused, _ = await call(session, "store_memory", text="x")
        check("bad argument", failed and refused["code"] == "INVALID_ARGUMENTS", refused)

        failed, health, _ = await call(session, "health_check")
        check("health_check", not failed and health["status"] == "healthy", health)
        failed, me, _ = await call(session, "get_current_agent")
        check("get_current_agent", not failed and me["agent_id"] == "default", me)


async def together(url):
    """Many calls of one session at once."""
    async with websocket_client(url) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        mark, answers = uuid.uuid4().hex, {}

        async def store(number):
            answers[number] = (await call(session, "store_memory", content=f"{mark} {number}"))[1]["content"]

        async with anyio.create_task_group() as group:
            for number in range(100):
                group.start_soon(store, number)
        check("100 calls at once", answers == {number: f"{mark} {number}" for number in range(100)}, len(answers))


async def main(url):
    with anyio.fail_after(60):
        await core(url)
        await memory(url)
        await together(url)


def causes(error):
    """The errors in a group of groups: every task group on the way up wraps what it lets through."""
    for cause in getattr(error, "exceptions", ()):
        yield from causes(cause)
    if not hasattr(error, "exceptions"):
        yield error


try:
    anyio.run(main, sys.argv[1])
except BaseException as error:
    sys.exit("\n".join(f"FAILED {cause!r}" for cause in causes(error)))
