"""MCP over Streamable HTTP: the same tools, resources, prompts and completion in both eras (SPEC 3, 4.1)."""

import json

import pytest
from harness import HttpClient, mark
from jsonschema import Draft202012Validator

VERSIONS = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"]


@pytest.fixture(params=VERSIONS)
def web(request, server, agent):
    with HttpClient(server, agent, request.param) as web:
        yield web


def pages(client, method, member):
    """A list, page by page."""
    found, params = [], {}
    while True:
        page = client.result(method, **params)
        if client.modern:
            assert page["resultType"] == "complete" and page["ttlMs"] >= 0
            assert page["cacheScope"] in ("public", "private")
        found += page[member]
        if "nextCursor" not in page:
            return found
        params = {"cursor": page["nextCursor"]}


def hints(result, client):
    return {"ttlMs", "cacheScope"} <= set(result) if client.modern else not {"ttlMs", "cacheScope"} & set(result)


def test_results_of_tools_fit_their_schemas(server, agent):
    for version in VERSIONS[2:]:
        with HttpClient(server, agent, version, path="/mcp?tools=full") as web:
            schemas = {tool["name"]: tool for tool in pages(web, "tools/list", "tools")}
            assert len(schemas) == 30
            for tool in schemas.values():
                Draft202012Validator.check_schema(tool["inputSchema"])
                Draft202012Validator.check_schema(tool["outputSchema"])
            stored = web.tool("store_memory", content=f"The gate code {mark()}")
            calls = [
                ("get_memory", {"id": stored["id"]}),
                ("update_memory", {"id": stored["id"], "tags": ["gate"]}),
                ("semantic_search", {"query": "gate code"}),
                ("recall_memory", {"tags": ["gate"]}),
                ("memory_history", {"id": stored["id"]}),
                ("memory_stats", {}),
                ("register_agent", {"agent_id": agent}),
                ("list_agents", {}),
                ("get_current_agent", {}),
                ("health_check", {}),
                ("get_system_stats", {}),
                ("system_performance", {"history_minutes": 1, "interval": 5}),
                ("embedding_status", {}),
                ("export_memories", {}),
                ("share_memory", {"id": stored["id"], "agents": ["somebody"]}),
                ("delete_memory", {"id": stored["id"]}),
                ("get_memory", {"id": stored["id"]}),
                ("store_memory", {"content": ""}),
            ]
            for name, arguments in calls:
                result = web.result("tools/call", name=name, arguments=arguments)
                Draft202012Validator(schemas[name]["outputSchema"]).validate(result["structuredContent"])
                assert result["isError"] or json.loads(result["content"][0]["text"]) == result["structuredContent"]
            assert result["isError"] is True


def test_a_memory_goes_round(web):
    word = mark()
    memory = web.tool("store_memory", content=f"The word is {word}", tags=["round"])
    assert memory["agent_id"] == web.agent
    found = web.tool("semantic_search", query=word)
    assert [hit["id"] for hit in found["hits"]] == [memory["id"]]
    assert web.refusal("store_memory", content="")["code"] == "INVALID_ARGUMENTS"
    assert web.error("tools/call", {"name": "no_such_tool", "arguments": {}})["code"] == -32602
    assert web.result("memory/get", id=memory["id"])["content"].endswith(word)
    assert web.error("memory/get", {"id": "0199c0de-0000-7000-8000-000000000000"})["code"] == 1404


def test_resources(web, server):
    memory = web.tool("store_memory", content="first line\nsecond line")
    uri = f"memory://default/{memory['id']}"
    web.tool("register_agent", agent_id=web.agent)
    listed = {row["uri"]: row for row in pages(web, "resources/list", "resources")}
    assert listed[uri]["title"] == "first line" and listed[uri]["mimeType"] == "application/json"
    assert {"memory://default/recent", f"agent://{web.agent}"} <= set(listed)
    for uri in [uri, "memory://default/recent", f"agent://{web.agent}"]:
        read = web.result("resources/read", uri=uri)
        assert hints(read, web)
        [contents] = read["contents"]
        assert contents["uri"] == uri and contents["mimeType"] == "application/json"
        assert json.loads(contents["text"])
    templates = [row["uriTemplate"] for row in pages(web, "resources/templates/list", "resourceTemplates")]
    assert set(templates) == {"memory://{namespace}/{id}", "memory://{namespace}/recent", "agent://{id}"}
    for unknown in ["memory://default/0199c0de-0000-7000-8000-000000000000", "memory://default/x", "http://x/", ""]:
        error = web.error("resources/read", {"uri": unknown})
        assert error["code"] == (-32602 if web.modern else -32002)
        assert error["data"]["uri"] == unknown
    with HttpClient(server, web.agent + "-other", "2026-07-28") as other:
        uri = f"memory://default/{memory['id']}"
        assert other.error("resources/read", {"uri": uri})["code"] == -32602
        assert uri not in {row["uri"] for row in pages(other, "resources/list", "resources")}


def test_prompts(web):
    word = mark()
    web.tool("store_memory", content=f"The harbour opens at {word}", tags=["harbour"])
    listed = {row["name"]: row for row in pages(web, "prompts/list", "prompts")}
    assert set(listed) == {"summarize_memories", "plan_task", "handoff"}
    for name, arguments in [
        ("summarize_memories", {"topic": "harbour opens"}),
        ("plan_task", {"goal": "open the harbour"}),
        ("handoff", {"to_agent": "somebody", "work": "the harbour opens"}),
    ]:
        result = web.result("prompts/get", name=name, arguments=arguments)
        assert result["description"] and not {"ttlMs", "cacheScope"} & set(result)
        assert all(message["role"] in ("user", "assistant") for message in result["messages"])
        assert word in json.dumps(result["messages"]), name
    for wrong in [
        {"name": "none"}, {"name": "plan_task"}, {"name": "plan_task", "arguments": {"goal": 7}},
        {"name": "handoff", "arguments": {"to_agent": "x", "work": "y", "more": "z"}},
    ]:  # fmt: skip
        assert web.error("prompts/get", wrong)["code"] == -32602, wrong


def test_a_modern_client_is_asked_for_what_is_missing(server, agent):
    with HttpClient(server, agent, "2026-07-28", capabilities={"elicitation": {}}) as web:
        asked = web.result("prompts/get", name="plan_task")
        assert asked["resultType"] == "input_required"
        [(key, request)] = asked["inputRequests"].items()
        assert request["method"] == "elicitation/create"
        form = request["params"]["requestedSchema"]
        assert form["required"] == ["goal"] and form["properties"]["goal"]["type"] == "string"
        again = {"name": "plan_task"}
        if "requestState" in asked:
            again["requestState"] = asked["requestState"]
        answer = {key: {"action": "accept", "content": {"goal": "an answered goal"}}}
        result = web.result("prompts/get", **again, inputResponses=answer)
        assert result["resultType"] == "complete" and "an answered goal" in json.dumps(result["messages"])
        for declined in ["decline", "cancel"]:
            params = again | {"inputResponses": {key: {"action": declined}}}
            assert web.error("prompts/get", params)["code"] == -32602
        answer = {"other": {"action": "accept"}}
        assert web.result("prompts/get", **again, inputResponses=answer)["resultType"] == "input_required"
        assert web.error("prompts/get", again | {"inputResponses": 7})["code"] == -32602
        assert web.error("prompts/get", again | {"requestState": "forged"})["code"] == -32602


def test_completion(web):
    tag = mark()
    web.tool("store_memory", content="something", tags=[tag, "other"])
    web.tool("register_agent", agent_id=web.agent)

    def values(reference, name, value):
        result = web.result("completion/complete", ref=reference, argument={"name": name, "value": value})
        completion = result["completion"]
        assert len(completion["values"]) <= 100 and completion["total"] >= len(completion["values"])
        assert completion["hasMore"] is False
        assert all(found.startswith(value) for found in completion["values"])
        return completion["values"]

    summary = {"type": "ref/prompt", "name": "summarize_memories"}
    assert values(summary, "tag", tag[:6]) == [tag]
    assert values(summary, "tag", "zzz") == []
    assert web.agent in values({"type": "ref/prompt", "name": "handoff"}, "to_agent", web.agent)
    template = {"type": "ref/resource", "uri": "memory://{namespace}/{id}"}
    assert values(template, "namespace", "") == ["default"]
    assert values({"type": "ref/prompt", "name": "plan_task"}, "goal", "x") == []
    for wrong in [
        {"ref": {"type": "ref/prompt", "name": "none"}, "argument": {"name": "x", "value": ""}},
        {"ref": summary, "argument": {"name": "none", "value": ""}},
        {"ref": {"type": "ref/x"}, "argument": {"name": "x", "value": ""}},
        {"ref": summary}, {"argument": {"name": "tag", "value": ""}}, {"ref": summary, "argument": {"name": 7, "value": ""}},
    ]:  # fmt: skip
        assert web.error("completion/complete", wrong)["code"] == -32602, wrong


def test_both_eras_introduce_the_server_alike(web):
    if web.modern:
        found = web.result("server/discover")
        assert found["supportedVersions"] == ["2026-07-28"]
        assert found["capabilities"]["resources"] == {"subscribe": True, "listChanged": True}
    else:
        assert web.error("server/discover")["code"] == -32601
        assert web.result("ping") == {}
    assert [tool["name"] for tool in pages(web, "tools/list", "tools")][0] == "store_memory"
    assert web.error("tools/list", {"cursor": "x"})["code"] == -32602
    assert web.error("no/such")["code"] == -32601
    assert web.answer.status == (404 if web.modern else 200)
