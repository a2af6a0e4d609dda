"""Agents and sessions (SPEC 5, 6, 8)."""

import json

from harness import TEXT, Raw, frame


def test_without_a_name_one_is_default(server):
    with server.client() as client:
        me = client.result("agent/info")
        assert (me["agent_id"], me["namespace"], me["current"], me["registered"]) == ("default", "default", True, False)


def test_headers_say_who_one_is(server, agent):
    capabilities = ["plan", "code"]
    with server.client(agent, "team-a", headers={"X-Agent-Capabilities": json.dumps(capabilities)}) as client:
        client.initialize()
        me = client.tool("get_current_agent")
        assert (me["agent_id"], me["namespace"]) == (agent, "team-a") and me["capabilities"] == capabilities
        session = client.result("session/info")
        assert session["session_id"] == me["session_id"] and session["transport"] == "websocket"
        assert session["client"]["name"] == "acceptance" and session["messages_received"] == 3


def test_connections_of_one_agent_are_sessions_of_their_own(server, agent):
    with server.client(agent) as one, server.client(agent) as two:
        sessions = {client.result("session/info")["session_id"] for client in (one, two)}
        assert len(sessions) == 2
        memory = one.result("memory/create", content="x")
        assert two.result("memory/get", id=memory["id"])["session_id"] in sessions


def test_an_agent_registers_is_listed_and_can_be_acted_as(client, agent):
    other = agent + "-other"
    registered = client.tool("register_agent", agent_id=other, name="Other", capabilities=["plan"], metadata={"a": 1})
    assert registered["agent_id"] == other
    again = client.tool("register_agent", agent_id=other, description="of a test")
    assert again["capabilities"] == ["plan"] and again["name"] == "Other" and again["description"] == "of a test"
    assert client.tool("agent_capabilities", agent_id=other)["capabilities"] == ["plan"]
    assert other in [entry["agent_id"] for entry in client.tool("list_agents", capability="plan", limit=100)["agents"]]
    assert client.tool("get_current_agent")["agent_id"] == agent, "registering changes nobody"

    mine = client.tool("store_memory", content="of the first")
    switched = client.tool("switch_agent", agent_id=other)
    assert (switched["agent_id"], switched["previous_agent_id"]) == (other, agent)
    assert client.tool("get_current_agent")["agent_id"] == other
    assert client.refusal("get_memory", id=mine["id"])["code"] == "NOT_FOUND"
    assert client.tool("store_memory", content="of the second")["agent_id"] == other


def test_nobody_acts_as_an_agent_that_is_unknown_or_misnamed(client, agent):
    assert client.refusal("switch_agent", agent_id=agent + "-nobody")["code"] == "NOT_FOUND"
    for name in ["", "two words", "x" * 129, "ünï"]:
        assert client.refusal("switch_agent", agent_id=name)["code"] == "INVALID_ARGUMENTS"
        assert client.refusal("register_agent", agent_id=name)["code"] == "INVALID_ARGUMENTS"
    assert client.tool("get_current_agent")["agent_id"] == agent


def test_requests_behind_a_switch_act_as_the_new_agent(server, client, agent):
    """Also when they arrive together, before the switch is answered."""
    other = agent + "-other"
    client.tool("register_agent", agent_id=other)
    requests = [("agent/switch", {"agent_id": other}), ("memory/create", {"content": "whose?"})]
    texts = [json.dumps({"jsonrpc": "2.0", "id": n, "method": m, "params": p}) for n, (m, p) in enumerate(requests)]
    with Raw(server.ws) as raw:
        raw.upgrade(fields={"X-Agent-ID": agent})
        raw.send(b"".join(frame(TEXT, text.encode()) for text in texts))
        answers = {answer["id"]: answer for answer in (raw.receive(), raw.receive())}
    assert answers[1]["result"]["agent_id"] == other
