"""HTTP beside the WebSocket: health, metrics, statistics, the first REST routes (SPEC 3, 7, 11; RFC 9110, 9112)."""

import http.client
import json
import time

import pytest
from harness import Raw, until
from prometheus_client.openmetrics.parser import text_string_to_metric_families

READS = ["/health", "/health/live", "/health/ready", "/metrics", "/api/v1/stats", "/ws/mcp/stats", "/ws/mcp/performance"]
WRITES = ["/api/v1/memory", "/api/v1/memory/search"]


def problem(answer, status, code):
    assert answer.status == status, (answer.status, answer.content)
    assert answer.getheader("content-type") == "application/problem+json"
    details = json.loads(answer.content)
    assert details["status"] == status and details["code"] == code and details["detail"] and details["title"]
    return details


def test_health(server):
    health = json.loads(server.http("GET", "/health").content)
    assert health["status"] == "healthy" and health["store"] == "sqlite" and health["version"]
    assert json.loads(server.http("GET", "/health/live").content) == {"status": "alive"}
    assert json.loads(server.http("GET", "/health/ready").content) == {"status": "ready"}


def test_both_listeners_serve_http(server):
    for address in [server.api, server.ws]:
        connection = http.client.HTTPConnection(address, timeout=10)
        connection.request("GET", "/health/live")
        assert connection.getresponse().status == 200
        connection.close()


def metrics(server):
    answer = server.http("GET", "/metrics")
    assert answer.status == 200
    assert answer.getheader("content-type") == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(answer.content.decode())}
    assert families and all(name.startswith("tmws_") for name in families)
    return families


def total(family, **labels):
    return sum(
        sample.value
        for sample in family.samples
        if sample.name.endswith("_total") and all(sample.labels.get(name) == value for name, value in labels.items())
    )


def test_metrics_are_openmetrics_and_count(server):
    before = metrics(server)
    with server.client("metrics") as client:
        for _ in range(10):
            client.result("ping")
        assert metrics(server)["tmws_messages_received"]
    after = metrics(server)
    for family in after.values():
        assert family.documentation, family.name
    assert total(after["tmws_messages_received"]) - total(before["tmws_messages_received"]) == 10
    assert total(after["tmws_http_requests"]) > total(before["tmws_http_requests"])
    assert any(family.type == "histogram" for family in after.values())


def test_statistics_are_the_same_at_both_places(server):
    one, two = (json.loads(server.http("GET", path).content) for path in ["/api/v1/stats", "/ws/mcp/stats"])
    assert set(one) == set(two) and one["io"] == server.io
    assert two["api_requests_total"] == one["api_requests_total"] + 1


def test_performance_is_the_operation_s_report(server):
    def report(query=""):
        answer = server.http("GET", "/ws/mcp/performance" + query)
        assert answer.status == 200 and answer.getheader("content-type") == "application/json"
        return json.loads(answer.content)

    until(lambda: "current" in report())
    before = report()
    assert before["server"]["io"] == server.io and {"cpu", "memory", "disk", "network"} <= set(before["current"])
    after = report("?metrics=cpu,network&interval=5&history_minutes=10")
    assert after["totals"]["http_requests"] > before["totals"]["http_requests"]
    assert after["history"] and set(after["current"]) & {"cpu", "memory", "disk", "network"} == {"cpu", "network"}
    with server.client("performance") as client:
        assert set(client.result("system/performance")) == set(before)


@pytest.mark.parametrize("query", [
    "?interval=1", "?interval=x", "?interval=", "?history_minutes=61", "?metrics=gpu", "?unknown=1", "?interval=5&interval=5", "?metrics=%ff",
])  # fmt: skip
def test_a_bad_query_of_performance_is_refused(server, query):
    problem(server.http("GET", "/ws/mcp/performance" + query), 400, "INVALID_ARGUMENTS")


def test_a_memory_is_created_and_found(server, agent):
    who = {"X-Agent-ID": agent, "X-Agent-Namespace": "rest"}
    answer = server.post("/api/v1/memory", {"content": "The kettle is green", "tags": ["a"]}, **who)
    assert answer.status == 201 and answer.getheader("content-type") == "application/json"
    memory = json.loads(answer.content)
    assert memory["agent_id"] == agent and memory["namespace"] == "rest" and memory["version"] == 1
    assert answer.getheader("location") == f"/api/v1/memory/{memory['id']}" and answer.getheader("etag") == '"1"'

    answer = server.post("/api/v1/memory/search", {"query": "kettle"}, **who)
    assert answer.status == 200
    assert [hit["id"] for hit in json.loads(answer.content)["hits"]] == [memory["id"]]
    with server.client(agent, "rest") as client:
        assert client.result("memory/get", id=memory["id"])["content"] == memory["content"]
    answer = server.post("/api/v1/memory/search", {"query": "kettle"}, **{"X-Agent-ID": agent + "-other", "X-Agent-Namespace": "rest"})
    assert json.loads(answer.content)["hits"] == []


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "application/jsonx", ""])
@pytest.mark.parametrize("path", WRITES)
def test_another_content_type_is_415(server, path, content_type):
    problem(server.http("POST", path, '{"content":"x"}', {"Content-Type": content_type}), 415, "UNSUPPORTED_MEDIA_TYPE")


def test_parameters_of_the_content_type_are_no_matter(server, agent):
    for content_type in ["application/json; charset=utf-8", "Application/JSON", "application/json ;x=y"]:
        body = '{"content":"x"}'
        assert server.http("POST", "/api/v1/memory", body, {"Content-Type": content_type, "X-Agent-ID": agent}).status == 201


@pytest.mark.parametrize("body, status, code", [
    ("{", 400, "INVALID_JSON"), ("", 400, "INVALID_JSON"), ("nonsense", 400, "INVALID_JSON"), ('{"content":"x"}}', 400, "INVALID_JSON"),
    (b'{"content":"\xff"}', 400, "INVALID_JSON"), ("[" * 100_000, 400, "INVALID_MESSAGE_FORMAT"),
    ("{}", 400, "INVALID_ARGUMENTS"), ("[]", 400, "INVALID_ARGUMENTS"), ("7", 400, "INVALID_ARGUMENTS"), ("null", 400, "INVALID_ARGUMENTS"),
    ('{"content":7}', 400, "INVALID_ARGUMENTS"), ('{"content":"x","colour":1}', 400, "INVALID_ARGUMENTS"),
    ('{"content":"x","supersedes":"00000000-0000-7000-8000-000000000000"}', 404, "NOT_FOUND"),
])  # fmt: skip
def test_a_bad_body_is_a_problem(server, body, status, code):
    problem(server.http("POST", "/api/v1/memory", body, {"Content-Type": "application/json"}), status, code)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_beyond_1_mib_is_413(server, chunked):
    """The server need not read it all, but its answer must reach a client that is still sending."""
    body = b"x" * ((1 << 20) + 100_000)
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    if chunked:
        body = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    with Raw(server.api) as raw:
        head = f"POST /api/v1/memory HTTP/1.1\r\nHost: {raw.address}\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
        try:
            raw.send(head.encode() + body)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert raw.answer()[0] == 413


def test_a_declared_body_beyond_1_mib_is_413_before_it_is_sent(server):
    with Raw(server.api) as raw:
        raw.send(
            f"POST /api/v1/memory HTTP/1.1\r\nHost: {raw.address}\r\nContent-Type: application/json\r\n"
            "Content-Length: 1099511627776\r\n\r\n".encode()
        )
        assert raw.answer()[0] == 413


def test_a_wrong_method_is_405_and_hears_which_are_right(server):
    for path in READS:
        for method in ["POST", "PUT", "DELETE", "PATCH"]:
            answer = server.http(method, path)
            problem(answer, 405, "METHOD_NOT_ALLOWED")
            assert answer.getheader("allow") == "GET, HEAD", path
    for path in WRITES:
        for method in ["PUT", "PATCH", "DELETE"]:
            answer = server.http(method, path)
            problem(answer, 405, "METHOD_NOT_ALLOWED")
            assert "POST" in answer.getheader("allow")


@pytest.mark.parametrize("path", ["/none", "/health/", "/api/v1/none", "/api/v1/memory/", "/%2e%2e/etc/passwd", "//health"])
def test_an_unknown_path_is_404(server, path):
    problem(server.http("GET", path), 404, "NOT_FOUND")


def test_head_is_get_without_its_body(server):
    for path in READS:
        get, head = server.http("GET", path), server.http("HEAD", path)
        assert head.status == get.status and head.content == b""
        assert head.getheader("content-type") == get.getheader("content-type")
        # What counts requests or time changes its length by a few digits; a report of a server that has just begun
        # by all that it has not seen before.
        share = 2 if path == "/ws/mcp/performance" else 10
        assert abs(int(head.getheader("content-length")) - len(get.content)) <= max(20, len(get.content) // share)


def get(raw, path, fields=""):
    return f"GET {path} HTTP/1.1\r\nHost: {raw.address}\r\n{fields}\r\n".encode()


def test_pipelined_requests_are_answered_in_order(server):
    with Raw(server.api) as raw:
        body = b'{"content":"pipelined"}'
        post = (
            f"POST /api/v1/memory HTTP/1.1\r\nHost: {raw.address}\r\nContent-Type: application/json\r\n"
            f"X-Agent-ID: pipeline\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        raw.send(b"".join([get(raw, "/health/live"), post, get(raw, "/none"), get(raw, "/health/ready")] * 10))
        for _ in range(10):
            assert [raw.answer()[0] for _ in range(4)] == [200, 201, 404, 200]


def test_a_connection_is_kept_or_closed_as_asked(server):
    with Raw(server.api) as raw:
        for _ in range(3):
            raw.send(get(raw, "/health/live"))
            assert raw.answer()[0] == 200
        raw.send(get(raw, "/health/live", "Connection: close\r\n"))
        assert raw.answer()[0] == 200
        assert raw.stream.read(1) == b""
    with Raw(server.api) as raw:
        raw.send(b"GET /health/live HTTP/1.0\r\n\r\n")
        assert raw.answer()[0] == 200
        assert raw.stream.read(1) == b""


def test_a_slow_head_is_served_and_too_slow_a_one_is_cut(server, start):
    with Raw(server.api) as raw:
        for byte in get(raw, "/health/live"):
            raw.send(bytes([byte]))
            time.sleep(0.002)
        assert raw.answer()[0] == 200
    hasty = start("--handshake-timeout", "1")
    with Raw(hasty.api) as raw:
        raw.send(get(raw, "/health/live"))
        assert raw.answer()[0] == 200
        raw.send(b"GET /health/live HTTP/1.1\r\nHo")
        began = time.monotonic()
        answer = raw.head()
        assert (answer is None or answer[0] == 408) and time.monotonic() - began < 5


def test_a_head_beyond_16_kib_is_431(server):
    for size in [17_000, 60_000]:
        with Raw(server.api) as raw:
            raw.send(get(raw, "/health/live", f"X-Long: {'x' * size}\r\n"))
            assert raw.answer()[0] == 431
    with Raw(server.api) as raw:
        raw.send(get(raw, "/health/live?" + "x" * 17_000))
        assert raw.answer()[0] in (414, 431)
    with Raw(server.api) as raw:
        raw.send(get(raw, "/health/live", f"X-Long: {'x' * 15_000}\r\n"))
        assert raw.answer()[0] == 200


@pytest.mark.parametrize("sent", [
    b"nonsense\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40,
    b"GET /health HTTP/1.1\r\nHost: localhost\r\nBad Name: x\r\n\r\n", b"\x00" * 100,
    b"POST /api/v1/memory HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
    b"POST /api/v1/memory HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
])  # fmt: skip
def test_what_is_no_http_is_refused(server, sent):
    with Raw(server.api) as raw:
        raw.send(sent)
        answer = raw.head()
        assert answer is None or 400 <= answer[0] < 600, answer
    assert server.http("GET", "/health/live").status == 200


def test_both_lengths_at_once_smuggle_nothing(server):
    """RFC 9112, 6.3: with both, the server must close after answering, or refuse."""
    with Raw(server.api) as raw:
        raw.send(
            f"POST /api/v1/memory HTTP/1.1\r\nHost: {raw.address}\r\nContent-Type: application/json\r\n"
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /health/live HTTP/1.1\r\n\r\n".encode()
        )
        first = raw.answer()
        if first is not None and first[0] != 400:
            assert raw.head() is None, "what follows must not be served"


def test_hosts_and_origins_are_checked_on_http_too(server):
    for fields in [{"Host": "evil.example"}, {"Origin": "http://evil.example"}]:
        for path in READS:
            problem(server.http("GET", path, headers=fields), 403, "SECURITY_VIOLATION")
    assert server.http("GET", "/health", headers={"Origin": f"http://{server.api}"}).status == 200
    with Raw(server.api) as raw:
        raw.send(b"GET /health HTTP/1.1\r\n\r\n")
        assert raw.answer()[0] == 400


def test_a_listed_origin_may_read_answers(start):
    server = start("--cors-origins", "https://app.example")
    answer = server.http("GET", "/health", headers={"Origin": "https://app.example"})
    assert answer.status == 200 and answer.getheader("access-control-allow-origin") == "https://app.example"
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    answer = server.http("OPTIONS", "/api/v1/memory", headers=asked)
    assert answer.status in (200, 204) and "POST" in answer.getheader("access-control-allow-methods")
    assert "content-type" in answer.getheader("access-control-allow-headers").lower()


def test_a_bad_agent_is_400(server):
    problem(server.post("/api/v1/memory", {"content": "x"}, **{"X-Agent-ID": "two words"}), 400, "INVALID_ARGUMENTS")


def test_many_connections_come_and_go(server):
    for _ in range(300):
        with Raw(server.api) as raw:
            raw.send(get(raw, "/health/live"))
            assert raw.answer()[0] == 200
    until(lambda: server.http("GET", "/health").status == 200)
