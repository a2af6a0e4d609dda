"""Tools: the two profiles, every name, schemas, errors that a model can mend (SPEC 6, 14, 16)."""

import json

import pytest
from harness import META, until
from jsonschema import Draft202012Validator

CORE = [
    "store_memory", "semantic_search", "recall_memory", "register_agent", "switch_agent", "get_current_agent",
    "health_check", "get_system_stats",
]  # fmt: skip
MORE = [
    "get_memory", "update_memory", "delete_memory", "share_memory", "memory_history", "memory_stats", "list_agents",
    "agent_capabilities", "agent_status", "online_agents", "embedding_status", "switch_embedding", "export_memories", "import_memories",
    "send_message", "broadcast_message", "check_inbox", "ack_messages",
    "list_dead_letters", "retry_dead_letter", "purge_dead_letters", "system_performance",
]  # fmt: skip
# Every name of an operation that SPEC 6 and 16 give: method, tool, aliases.
NAMES = [
    ["memory/create", "store_memory", "create_memory", "memory/store"],
    ["memory/search", "semantic_search", "search_memories"],
    ["memory/recall", "recall_memory"],
    ["memory/get", "get_memory"],
    ["memory/update", "update_memory"],
    ["memory/delete", "delete_memory"],
    ["memory/share", "share_memory"],
    ["memory/history", "memory_history"],
    ["memory/stats", "memory_stats", "get_memory_stats"],
    ["agent/register", "register_agent"],
    ["agent/switch", "switch_agent"],
    ["agent/info", "get_current_agent", "get_agent_info"],
    ["agent/capabilities", "agent_capabilities"],
    ["agent/list", "list_agents"],
    ["agent/status", "agent_status"],
    ["agent/online", "online_agents"],
    ["agent/send", "send_message"],
    ["agent/broadcast", "broadcast_message"],
    ["agent/inbox", "check_inbox"],
    ["agent/ack", "ack_messages"],
    ["dlq/list", "list_dead_letters"],
    ["dlq/retry", "retry_dead_letter"],
    ["dlq/purge", "purge_dead_letters"],
    ["embedding/status", "embedding_status"],
    ["memory/export", "export_memories"],
    ["memory/import", "import_memories"],
    ["system/health", "health_check"],
    ["system/stats", "get_system_stats", "get_session_statistics"],
    ["system/performance", "system_performance"],
]


def tools(client, **params):
    """All tools, page by page."""
    found = []
    while True:
        page = client.result("tools/list", **params)
        found += page["tools"]
        if "nextCursor" not in page:
            return found
        params["cursor"] = page["nextCursor"]


def names(client, **params):
    return [tool["name"] for tool in tools(client, **params)]


@pytest.mark.parametrize("path, headers, expected", [
    ("/", {}, CORE), ("/?tools=core", {}, CORE), ("/", {"X-Tool-Profile": "core"}, CORE),
    ("/?tools=full", {}, CORE + MORE), ("/", {"X-Tool-Profile": "full"}, CORE + MORE),
    ("/?x=1&tools=full", {}, CORE + MORE), ("/?tools=core", {"X-Tool-Profile": "full"}, CORE),
])  # fmt: skip
def test_a_client_chooses_its_profile(server, path, headers, expected):
    with server.client(path=path, headers=headers) as client:
        client.initialize()
        assert sorted(names(client)) == sorted(expected)
        assert names(client) == names(client), "the order is always the same"
    with server.client(path=path, headers=headers) as client:
        assert sorted(names(client, _meta=META)) == sorted(expected)


def test_the_operator_chooses_the_default(start):
    with start("--tool-profile", "full").client() as client:
        client.initialize()
        assert len(names(client)) == len(CORE + MORE)


def test_every_tool_has_a_name_a_description_and_a_valid_schema(server):
    with server.client(path="/?tools=full") as client:
        client.initialize()
        for tool in tools(client):
            assert tool["description"] and tool["title"], tool
            assert tool["inputSchema"]["type"] == "object"
            Draft202012Validator.check_schema(tool["inputSchema"])
            assert "$ref" not in json.dumps(tool["inputSchema"]), "a schema is whole in itself"
            for name, schema in tool["inputSchema"].get("properties", {}).items():
                assert schema.get("description"), (tool["name"], name)
            if "outputSchema" in tool:
                Draft202012Validator.check_schema(tool["outputSchema"])


def test_schemas_say_which_values_are_allowed(server):
    """What the server refuses, a model should have been able to read in the schema."""
    with server.client(path="/?tools=full") as client:
        client.initialize()
        schemas = {tool["name"]: Draft202012Validator(tool["inputSchema"]) for tool in tools(client)}
        for name, arguments in [
            ("store_memory", {"content": "x", "importance": 2}),
            ("store_memory", {"content": ""}),
            ("store_memory", {"content": "x", "access_level": "secret"}),
            ("store_memory", {"content": "x", "colour": "red"}),
            ("semantic_search", {"query": "x", "limit": 0}),
            ("semantic_search", {"query": "x", "limit": 101}),
            ("semantic_search", {"query": "x", "min_similarity": 1.5}),
            ("recall_memory", {"limit": 101}),
            ("list_agents", {"limit": 0}),
            ("system_performance", {"interval": 4}),
            ("system_performance", {"history_minutes": 61}),
            ("system_performance", {"metrics": ["gpu"]}),
        ]:
            assert client.refusal(name, **arguments)["code"] == "INVALID_ARGUMENTS", (name, arguments)
            assert not schemas[name].is_valid(arguments), (name, arguments)


@pytest.mark.parametrize("operation", NAMES, ids=lambda operation: operation[0])
def test_every_name_works_as_a_method_and_as_a_tool(client, agent, operation):
    client.result("agent/register", agent_id=agent)
    for name in operation:
        memory = client.result("memory/create", content="of " + name)
        arguments = {
            "memory/create": {"content": name},
            "memory/search": {"query": "of"},
            "memory/update": {"id": memory["id"], "content": "changed"},
            "memory/share": {"id": memory["id"], "agents": ["friend"]},
            "agent/register": {"agent_id": agent},
            "agent/switch": {"agent_id": agent},
            "agent/status": {"status": "busy"},
            "memory/import": {"records": []},
            "agent/send": {"to": {"agent": "friend"}, "body": {"of": name}},
            "agent/broadcast": {"body": name},
            "agent/ack": {"ids": [memory["id"]]},
            "dlq/retry": {"all": True},
            "dlq/purge": {"id": memory["id"]},
        }.get(operation[0], {"id": memory["id"]} if operation[0] in ("memory/get", "memory/history") else {})
        if operation[0] == "memory/delete":
            assert client.result(name, id=memory["id"])["deleted"] is True
            memory = client.result("memory/create", content="of " + name)
            assert client.tool(name, id=memory["id"])["deleted"] is True
            continue
        direct = client.result(name, **arguments)
        through = client.tool(name, **arguments)
        assert set(direct) == set(through), name


def test_memory_id_is_understood_as_id(client):
    memory = client.result("memory/create", content="x")
    assert client.tool("get_memory", memory_id=memory["id"])["id"] == memory["id"]


def test_a_result_is_structured_and_the_same_as_text(client):
    result = client.result("tools/call", name="store_memory", arguments={"content": 'quotes " and \\ and \n and 😀'})
    assert [block["type"] for block in result["content"]] == ["text"]
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]


@pytest.mark.parametrize("arguments", [
    {}, {"content": 7}, {"content": None}, {"content": ""}, {"content": "x" * 10_001}, {"content": "x", "importance": "high"},
    {"content": "x", "importance": -0.1}, {"content": "x", "tags": "tag"}, {"content": "x", "tags": [7]}, {"content": "x", "colour": "red"},
    {"content": "x", "access_level": "secret"}, {"content": "x", "valid_from": "yesterday"}, {"content": "x", "ttl": -1},
    {"content": "x", "metadata": []}, {"content": "x", "supersedes": "x"},
])  # fmt: skip
def test_what_a_model_can_mend_is_a_result(client, arguments):
    refusal = client.refusal("store_memory", **arguments)
    assert refusal["code"] == "INVALID_ARGUMENTS" and len(refusal["error"]) > 5
    assert "line" not in refusal["error"] or "\n" not in refusal["error"]
    assert client.result("memory/stats")["owned"] == 0


def test_an_unknown_member_is_named_with_those_that_exist(client):
    error = client.refusal("store_memory", content="x", contnet="y")["error"]
    assert "contnet" in error and "content" in error


def test_ten_thousand_characters_are_allowed_whatever_their_bytes(client):
    content = "😀" * 10_000
    assert client.tool("store_memory", content=content)["content"] == content


@pytest.mark.parametrize("params", [
    None, {}, {"name": 7}, {"name": None}, {"name": "no_such_tool"}, {"name": "no_such_tool", "arguments": {}},
    {"name": "store_memory", "arguments": []}, {"name": "store_memory", "arguments": "x"}, {"name": ""},
])  # fmt: skip
def test_a_malformed_call_is_an_error_of_the_protocol(client, params):
    error = client.error("tools/call", params)
    assert error["code"] == -32602 and error["data"]["code"] == "INVALID_ARGUMENTS"


def test_arguments_may_be_absent(client):
    for params in [{"name": "health_check"}, {"name": "health_check", "arguments": None}]:
        result = client.result("tools/call", **params)
        assert result["structuredContent"]["status"] == "healthy"


def test_health_tells_how_the_server_does(client):
    health = client.tool("health_check")
    assert health["status"] == "healthy" and health["store"] == "sqlite" and health["search"] == "lexical"
    assert health["uptime_seconds"] >= 0 and health["version"]


def test_statistics_count_what_happens(client, server):
    before = client.tool("get_system_stats")
    for _ in range(10):
        client.tool("recall_memory")
    after = client.tool("get_system_stats")
    assert after["memory_operations_total"] - before["memory_operations_total"] == 10
    assert after["messages_received"] - before["messages_received"] == 11
    assert after["io"] == server.io and after["ws_connections"] >= 1 and after["unique_agents"] >= 1
    for name in ["total_sessions", "average_session_duration_seconds", "api_requests_total", "uptime_seconds"]:
        assert name in after


def test_performance_tells_what_was_asked_for(client):
    for _ in range(10):
        client.tool("recall_memory")
    until(lambda: "current" in client.result("system/performance"))
    report = client.tool("system_performance")
    assert set(report["current"]) >= {"at", "seconds", "cpu", "memory", "disk", "network", "calls", "queues", "deliveries", "troubles"}
    assert report["server"]["version"] and report["server"]["store"] == "sqlite" and report["history"] == []
    assert len(report["shards"]) == len(report["totals"]["shards"]) == report["server"]["shards"]
    hot = {operation["operation"]: operation for operation in report["operations"]["since_start"]}
    assert hot["memory/recall"]["calls"] >= 10 and hot["memory/recall"]["p99_ms"] > 0
    assert {entry["name"] for entry in report["bottlenecks"]} == {entry["bottleneck"] for entry in report["advice"]}
    two = client.tool("system_performance", metrics=["cpu", "disk"], interval=5, history_minutes=20)
    assert {"cpu", "disk"} <= set(two["current"]) and not {"memory", "network"} & set(two["current"])
    assert two["history"] and all("cpu" in point and "memory" not in point for point in two["history"])


@pytest.mark.parametrize("arguments", [
    {"interval": 0}, {"interval": 4}, {"interval": 3_601}, {"interval": "60"}, {"interval": -1}, {"history_minutes": 61},
    {"history_minutes": 60, "interval": 5}, {"metrics": ["gpu"]}, {"metrics": "cpu"}, {"minutes": 5},
])  # fmt: skip
def test_bad_arguments_of_performance_are_refused(client, arguments):
    error = client.error("system/performance", arguments)
    assert error["code"] == -32602 and error["data"]["code"] == "INVALID_ARGUMENTS"
