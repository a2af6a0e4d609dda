"""MCP's eras on one endpoint: legacy revisions negotiate once, 2026-07-28 says everything in each request (SPEC 4.1)."""

import json

import pytest
from harness import META

LEGACY = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]
VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
SERVER = "io.modelcontextprotocol/serverInfo"


@pytest.fixture
def fresh(server, agent):
    """A connection on which nothing has been said."""
    with server.client(agent) as client:
        yield client


@pytest.mark.parametrize("version", LEGACY)
def test_a_legacy_revision_is_agreed_as_asked(fresh, version):
    result = fresh.initialize(version)
    assert result["protocolVersion"] == version
    assert result["serverInfo"]["name"] == "tmws" and "tools" in result["capabilities"]
    assert "resultType" not in result and set(result.get("_meta", {})) <= {"tmws/session"}
    fresh.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert fresh.result("ping") == {}
    listed = fresh.result("tools/list")
    assert not {"resultType", "ttlMs", "cacheScope"} & set(listed)
    called = fresh.result("tools/call", name="health_check", arguments={})
    assert "resultType" not in called and called["isError"] is False


@pytest.mark.parametrize("version", ["1999-01-01", "2030-01-01", "2026-07-28", "x", ""])
def test_an_unknown_revision_is_answered_with_the_newest_legacy_one(fresh, version):
    assert fresh.initialize(version)["protocolVersion"] == "2025-11-25"


@pytest.mark.parametrize("params", [
    None, {}, {"protocolVersion": 7}, {"protocolVersion": None, "capabilities": {}},
    {"protocolVersion": "2025-11-25", "capabilities": []}, {"protocolVersion": "2025-11-25", "clientInfo": "x"},
])  # fmt: skip
def test_a_malformed_initialize_is_refused_and_may_be_repeated(fresh, params):
    assert fresh.error("initialize", params)["code"] == -32602
    assert fresh.initialize()["protocolVersion"] == "2025-11-25"


def test_a_second_initialize_is_refused(client):
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    assert client.error("initialize", params)["code"] == -32600
    assert client.result("ping") == {}


def test_tools_need_initialize_and_direct_methods_do_not(fresh):
    assert fresh.result("memory/create", content="no ceremony")["version"] == 1
    assert fresh.result("ping") == {}
    assert fresh.error("tools/list")["code"] == -32600
    assert fresh.initialize()["protocolVersion"] == "2025-11-25"
    assert fresh.result("tools/list")["tools"]


def test_legacy_methods_of_the_modern_era_are_unknown(client):
    assert client.error("server/discover")["code"] == -32601
    assert client.error("subscriptions/listen", {"notifications": {}})["code"] == -32601


def test_an_enveloped_request_on_a_legacy_connection_is_refused(client):
    assert client.error("tools/list", {"_meta": META})["code"] == -32600
    assert client.result("ping") == {}


def test_a_progress_token_is_no_envelope(client):
    result = client.result("tools/call", name="health_check", arguments={}, _meta={"progressToken": 1})
    assert result["isError"] is False


def test_discover_tells_what_a_client_needs(fresh):
    result = fresh.result("server/discover", _meta=META)
    assert result["resultType"] == "complete" and result["supportedVersions"] == ["2026-07-28"]
    assert "tools" in result["capabilities"]
    assert result["ttlMs"] >= 0 and result["cacheScope"] in ("public", "private")
    assert result["_meta"][SERVER]["name"] == "tmws"


def test_a_modern_connection_needs_no_ceremony(fresh):
    listed = fresh.result("tools/list", _meta=META)
    assert listed["resultType"] == "complete" and listed["ttlMs"] >= 0 and listed["cacheScope"] in ("public", "private")
    assert len(listed["tools"]) == 8
    stored = fresh.result("tools/call", name="store_memory", arguments={"content": "modern"}, _meta=META)
    assert stored["resultType"] == "complete" and stored["isError"] is False and stored["_meta"][SERVER]
    memory = stored["structuredContent"]
    direct = fresh.result("memory/get", id=memory["id"], _meta=META)
    assert direct["resultType"] == "complete" and direct["content"] == "modern"


def test_a_modern_tool_error_is_complete_too(fresh):
    result = fresh.result("tools/call", name="store_memory", arguments={"content": ""}, _meta=META)
    assert result["resultType"] == "complete" and result["isError"] is True
    error = fresh.error("tools/call", {"name": "none", "arguments": {}, "_meta": META})
    assert error["code"] == -32602


@pytest.mark.parametrize("meta", [
    {}, {VERSION: "2026-07-28"}, {CAPABILITIES: {}}, {VERSION: 7, CAPABILITIES: {}}, {VERSION: "2026-07-28", CAPABILITIES: 1},
    {VERSION: "1900-01-01"},
])  # fmt: skip
def test_a_missing_or_malformed_key_is_32602(fresh, meta):
    """Also where the version would not be served: what is missing comes first."""
    fresh.result("server/discover", _meta=META)
    for method in ["server/discover", "tools/list", "memory/stats"]:
        assert fresh.error(method, {"_meta": meta})["code"] == -32602
    assert fresh.error("tools/list")["code"] == -32602
    assert fresh.error("tools/list", {"_meta": None})["code"] == -32602
    assert fresh.error("tools/list", {"_meta": []})["code"] == -32602


def test_discover_without_an_envelope_fixes_no_era(fresh):
    """So a client that probes wrongly can still fall back."""
    assert fresh.error("server/discover")["code"] == -32602
    assert fresh.error("server/discover", {"_meta": {}})["code"] == -32602
    assert fresh.initialize()["protocolVersion"] == "2025-11-25"


@pytest.mark.parametrize("version", ["1900-01-01", "2025-11-25", "2030-01-01"])
def test_an_unsupported_version_is_32022_and_names_those_that_are(fresh, version):
    meta = META | {VERSION: version}
    for method in ["server/discover", "tools/list", "no/such"]:
        error = fresh.error(method, {"_meta": meta})
        assert error["code"] == -32022, error
        assert error["data"]["supported"] == ["2026-07-28"] and error["data"]["requested"] == version


def test_initialize_on_a_modern_connection_is_32022(fresh):
    fresh.result("server/discover", _meta=META)
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    error = fresh.error("initialize", params)
    assert error["code"] == -32022 and error["data"]["supported"] == ["2026-07-28"]
    assert fresh.result("tools/list", _meta=META)["tools"]


@pytest.mark.parametrize("method", ["ping", "logging/setLevel", "resources/subscribe", "tasks/list", "no/such"])
def test_what_the_modern_era_has_not_is_32601(fresh, method):
    fresh.result("server/discover", _meta=META)
    assert fresh.error(method, {"_meta": META})["code"] == -32601


def test_an_array_on_a_modern_connection_is_refused(fresh):
    fresh.result("server/discover", _meta=META)
    fresh.send([{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}])
    assert fresh.receive()["error"]["code"] == -32600


def test_keys_may_be_written_with_escapes(fresh):
    """JSON text is not compared byte by byte."""
    meta = json.dumps(META).replace("protocolVersion", "protocol\\u0056ersion").replace("io.model", "\\u0069o.model")
    answer = json.loads(fresh.ask_text(f'{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{meta}}}}}'))
    assert answer.get("result", {}).get("resultType") == "complete", answer


def test_bad_cursors_are_32602(fresh):
    for cursor in ["x", "", 7]:
        assert fresh.error("tools/list", {"_meta": META, "cursor": cursor})["code"] == -32602
