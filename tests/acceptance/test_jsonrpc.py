"""JSON-RPC 2.0: ids, malformed messages, notifications, pipelining, batches (SPEC 4.1, 4.5, 14)."""

import json

import pytest

BATCHES = "2025-03-26"


@pytest.mark.parametrize("number", [
    "0", "1", "-7", "1.5", "1.50", "1e3", "9007199254740993", '""', '"a-1"', '"\\u0041\\n\\"é"', '"😀"', '"' + "x" * 250 + '"',
])  # fmt: skip
def test_an_id_is_echoed_as_it_was_written(client, number):
    answer = client.ask_text(f'{{"jsonrpc":"2.0","id":{number},"method":"ping"}}')
    assert f'"id":{number},' in answer, answer
    answer = client.ask_text(f'{{"method":"no/such","id":{number},"jsonrpc":"2.0"}}')
    assert f'"id":{number},' in answer and json.loads(answer)["error"]["code"] == -32601, answer
    answer = client.ask_text(f'{{"jsonrpc":"2.0","id":{number},"method":"memory/stats"}}')
    assert f'"id":{number},' in answer and "result" in json.loads(answer), answer


@pytest.mark.parametrize("text", [
    "", " ", "{", "}", "nonsense", '{"jsonrpc":"2.0","id":1,"method":"ping"', '{"jsonrpc":"2.0","id":1,"method":"ping"}}',
    '{"jsonrpc":"2.0","id":1,"method":"ping",}', "{'jsonrpc':'2.0'}", '{"jsonrpc":"2.0","id":01,"method":"ping"}',
    '{"jsonrpc":"2.0","id":1,"method":"pi\nng"}', '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}',
    '{"jsonrpc":"2.0","id":1,"method":"memory/stats","params":{"a":1,}}', "\ufeff{}",
    '{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":2,"method":"ping"}',
    '{"jsonrpc":"2.0","id":1,"method":"ping","x":"\\ud800"}x', '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":tru}}',
])  # fmt: skip
def test_what_is_not_json_is_a_parse_error(client, text):
    answer = json.loads(client.ask_text(text))
    assert answer["id"] is None and answer["error"]["code"] == -32700, answer
    assert answer["error"]["data"]["code"] == "INVALID_JSON"
    assert client.result("ping") == {}


@pytest.mark.parametrize("text, number", [
    ("7", None), ("null", None), ('"x"', None), ("true", None), ("{}", None),
    ('{"jsonrpc":"1.0","id":5,"method":"ping"}', 5), ('{"id":5,"method":"ping"}', 5),
    ('{"jsonrpc":2.0,"id":5,"method":"ping"}', 5),
    ('{"jsonrpc":"2.0","id":5}', 5), ('{"jsonrpc":"2.0","id":5,"method":7}', 5), ('{"jsonrpc":"2.0","id":5,"method":null}', 5),
    ('{"jsonrpc":"2.0","id":5,"method":"ping","params":[1]}', 5), ('{"jsonrpc":"2.0","id":5,"method":"ping","params":"x"}', 5),
])  # fmt: skip
def test_what_is_no_request_is_an_invalid_request(client, text, number):
    answer = json.loads(client.ask_text(text))
    assert answer["error"]["code"] == -32600, answer
    assert answer["error"]["data"]["code"] == "INVALID_MESSAGE_FORMAT"
    assert answer["id"] == number
    assert client.result("ping") == {}


@pytest.mark.parametrize("number", ["null", "true", "{}", "[1]", '"' + "x" * 300 + '"', "1" * 300])
def test_a_bad_id_is_said_so(client, number):
    answer = json.loads(client.ask_text(f'{{"jsonrpc":"2.0","id":{number},"method":"ping"}}'))
    assert answer["id"] is None and answer["error"]["code"] == -32600, answer
    assert answer["error"]["data"]["code"] == "INVALID_MESSAGE_ID"
    assert client.result("ping") == {}


@pytest.mark.parametrize("opening, closing", [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("depth", [65, 1_000, 100_000])
def test_a_depth_bomb_harms_nothing(client, opening, closing, depth):
    for tail in ["1" + closing * depth + "}", ""]:
        text = f'{{"jsonrpc":"2.0","id":1,"method":"memory/create","params":{opening * depth}{tail}'
        answer = json.loads(client.ask_text(text))
        assert answer["error"]["code"] in (-32600, -32700), answer
    assert client.result("ping") == {}


def test_depth_within_the_limit_is_kept(client):
    metadata = {"a": 1}
    for _ in range(50):
        metadata = {"a": metadata}
    assert client.result("memory/create", content="deep", metadata=metadata)["metadata"] == metadata


def test_metadata_too_deep_to_come_back_is_refused(client):
    metadata = {"a": 1}
    for _ in range(57):
        metadata = {"a": metadata}
    error = client.error("memory/create", {"content": "deep", "metadata": metadata})
    assert error["code"] == -32602 and "levels" in error["message"]


def test_brackets_inside_strings_are_no_depth(client):
    content = "[" * 5_000 + "{" * 4_000
    assert client.result("memory/create", content=content)["content"] == content


def test_a_notification_and_an_answer_get_no_answer(client):
    for message in [
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 999}},
        {"jsonrpc": "2.0", "method": "notifications/none"},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
        {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "x"}},
    ]:
        client.send(message)
    assert client.result("ping") == {}


def test_an_unknown_method_is_said_so(client):
    error = client.error("memory/creat")
    assert error["code"] == -32601 and error["data"]["code"] == "METHOD_NOT_FOUND"


def test_direct_methods_answer_errors_with_a_code(client):
    error = client.error("memory/get", {"id": "00000000-0000-7000-8000-000000000000"})
    assert error["code"] == 1404 and error["data"]["code"] == "NOT_FOUND"
    for params in [{}, {"content": 7}, {"content": ""}, {"content": "x", "colour": "red"}, {"content": "x", "importance": 2}]:
        error = client.error("memory/create", params)
        assert error["code"] == -32602 and error["data"]["code"] == "INVALID_ARGUMENTS", (params, error)


def test_a_thousand_requests_at_once_are_all_answered(client):
    """Every third writes, so that answers at hand and answers under way mix."""
    methods = {0: "memory/create", 1: "ping", 2: "memory/stats"}
    for number in range(1_000):
        params = {"content": f"memory {number}"} if number % 3 == 0 else {}
        client.send({"jsonrpc": "2.0", "id": number, "method": methods[number % 3], "params": params})
    answers = {}
    for _ in range(1_000):
        answer = client.receive()
        answers[answer["id"]] = answer["result"]
    assert sorted(answers) == list(range(1_000))
    assert all(answers[number]["content"] == f"memory {number}" for number in range(0, 1_000, 3))
    assert client.result("memory/stats")["owned"] == 334


def request(number, method, **params):
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def test_arrays_are_refused_in_every_revision_but_one(server, agent):
    for version in ["2024-11-05", "2025-06-18", "2025-11-25"]:
        with server.client(agent) as client:
            client.initialize(version)
            client.send([request(1, "ping")])
            answer = client.receive()
            assert answer["id"] is None and answer["error"]["code"] == -32600, (version, answer)
            assert client.result("ping") == {}


@pytest.fixture
def batcher(server, agent):
    with server.client(agent) as client:
        assert client.initialize(BATCHES)["protocolVersion"] == BATCHES
        yield client


def test_a_batch_is_answered_in_its_order(batcher):
    batch = [
        request(1, "memory/create", content="first"),
        request("two", "ping"),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        request(3, "no/such"),
        request(4, "tools/call", name="health_check", arguments={}),
        {"jsonrpc": "2.0", "id": None, "method": "ping"},
        7,
        request(5, "memory/create", content="last"),
    ]
    batcher.send(batch)
    answers = batcher.receive()
    assert [answer["id"] for answer in answers] == [1, "two", 3, 4, None, None, 5]
    assert [answer.get("error", {}).get("code") for answer in answers] == [None, None, -32601, None, -32600, -32600, None]
    assert answers[0]["result"]["content"] == "first" and answers[6]["result"]["content"] == "last"


def test_entries_on_one_memory_keep_their_order(batcher):
    memory = batcher.result("memory/create", content="0")
    batch = [request(n, "memory/update", id=memory["id"], content=str(n), expected_version=n) for n in range(1, 51)]
    batcher.send(batch)
    answers = batcher.receive()
    assert [answer["result"]["version"] for answer in answers] == list(range(2, 52))
    assert batcher.result("memory/get", id=memory["id"])["content"] == "50"


def test_a_batch_has_1_to_100_entries(batcher):
    batcher.send([request(number, "memory/create", content=str(number)) for number in range(100)])
    assert [answer["id"] for answer in batcher.receive()] == list(range(100))
    batcher.send([request(number, "memory/create", content=str(number)) for number in range(101)])
    answer = batcher.receive()
    assert answer["id"] is None and answer["error"]["data"]["code"] == "MESSAGE_TOO_LARGE", answer
    batcher.send([])
    answer = batcher.receive()
    assert answer["id"] is None and answer["error"]["code"] == -32600
    assert batcher.result("memory/stats")["owned"] == 100, "the long batch must change nothing"


PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
STORE = '{"jsonrpc":"2.0","id":2,"method":"memory/create","params":{"content":"x"}}'


@pytest.mark.parametrize("text", [
    "[", "[1,]", f"[{PING}", f"[{STORE},{{]", f"[{STORE} {PING}]",
    f"[{STORE}]]",
    f"[{STORE}] x",
])  # fmt: skip
def test_a_malformed_batch_is_one_error_and_changes_nothing(batcher, text):
    answer = json.loads(batcher.ask_text(text))
    assert isinstance(answer, dict) and answer["id"] is None and answer["error"]["code"] == -32700, answer
    assert batcher.result("memory/stats")["owned"] == 0


def test_a_batch_of_notifications_gets_no_answer(batcher):
    batcher.send([{"jsonrpc": "2.0", "method": "notifications/initialized"}] * 3)
    assert batcher.result("ping") == {}


def test_initialize_is_no_entry_of_a_batch(batcher, server, agent):
    params = {"protocolVersion": BATCHES, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    batcher.send([request(1, "initialize", **params), request(2, "ping")])
    answers = batcher.receive()
    assert "error" in answers[0] and answers[1]["result"] == {}
    with server.client(agent) as client:
        client.send([request(1, "initialize", **params)])
        assert client.receive()["error"]["code"] == -32600


def test_a_batch_inside_a_batch_is_an_invalid_request(batcher):
    batcher.send([[request(1, "ping")], request(2, "ping")])
    answers = batcher.receive()
    assert answers[0]["error"]["code"] == -32600 and answers[1]["result"] == {}
