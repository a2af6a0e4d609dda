"""The opening handshake: what becomes a WebSocket, and how the rest is refused (SPEC 3, 4.1, 8; RFC 6455, 4.2)."""

import time

import pytest
from harness import PING, PONG, Client, Raw, frame, upgrade_head


def refusal(server, path="/", fields=None, address=None):
    with Raw(address or server.ws) as raw:
        raw.send(upgrade_head(raw.address, path, fields))
        return raw.answer()


@pytest.mark.parametrize("listener, path", [
    ("ws", "/"), ("ws", "/mcp"), ("ws", "/ws"), ("ws", "/ws/mcp"), ("api", "/mcp"), ("api", "/ws"), ("api", "/ws/mcp"),
])  # fmt: skip
def test_every_route_speaks_mcp(server, listener, path):
    with server.client(path=path, listener=listener) as client:
        assert client.initialize()["serverInfo"]["name"] == "tmws"


@pytest.mark.parametrize("offered, chosen", [
    (None, None), (["mcp"], "mcp"), (["other", "mcp"], "mcp"), (["other"], None),
])  # fmt: skip
def test_a_subprotocol_is_echoed_only_when_offered(server, offered, chosen):
    fields = {"Sec-WebSocket-Protocol": ", ".join(offered)} if offered else None
    with Raw(server.ws) as raw:
        assert raw.upgrade(fields=fields).get("sec-websocket-protocol") == chosen
        raw.text({"jsonrpc": "2.0", "id": 1, "method": "ping"})
        assert raw.receive() == {"jsonrpc": "2.0", "id": 1, "result": {}}


@pytest.mark.parametrize("path", ["/none", "/ws/mcp/", "/WS", "/api/v1/memory", "/echo2"])
def test_an_unknown_path_is_404(server, path):
    assert refusal(server, path)[0] == 404


def test_mcp_at_the_root_is_on_the_websocket_listener_only(server):
    assert refusal(server, "/", address=server.api)[0] == 404


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "https://localhost.evil.example"])
def test_a_foreign_origin_is_403(server, origin):
    status, fields, body = refusal(server, fields={"Origin": origin})
    assert status == 403 and b"SECURITY_VIOLATION" in body
    assert "access-control-allow-origin" not in fields


def test_the_own_origin_and_a_listed_one_are_served(start):
    server = start("--cors-origins", "https://app.example")
    for origin in [f"http://{server.ws}", "https://app.example"]:
        with server.client(headers={"Origin": origin}) as client:
            client.initialize()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8001", "127.0.0.1.evil.example", "10.9.8.7"])
def test_a_foreign_host_is_403(server, host):
    status, _, body = refusal(server, fields={"Host": host})
    assert status == 403 and b"SECURITY_VIOLATION" in body


def test_a_listed_host_is_served(start):
    server = start("--allowed-hosts", "memory.example")
    with Raw(server.ws) as raw:
        raw.upgrade(fields={"Host": "memory.example:8001"})


@pytest.mark.parametrize("version", ["8", "12", "14", "x"])
def test_another_version_is_426_and_hears_which_one_is_served(server, version):
    status, fields, _ = refusal(server, fields={"Sec-WebSocket-Version": version})
    assert status == 426 and fields["sec-websocket-version"] == "13" and fields["upgrade"].lower() == "websocket"


@pytest.mark.parametrize("fields", [
    {"Sec-WebSocket-Key": None}, {"Sec-WebSocket-Key": "short"}, {"Connection": "keep-alive"}, {"Host": None},
    {"Content-Length": "5"},
    {"X-Agent-ID": "not a name"}, {"X-Agent-ID": ""}, {"X-Agent-Namespace": "a" * 129},
    {"X-Agent-Capabilities": "{}"}, {"X-Agent-Capabilities": "["}, {"X-Tool-Profile": "most"},
])  # fmt: skip
def test_a_bad_field_is_400(server, fields):
    assert refusal(server, fields=fields)[0] == 400


def test_a_bad_profile_in_the_query_is_400(server):
    assert refusal(server, "/?tools=most")[0] == 400


def test_an_upgrade_by_post_is_405(server):
    with Raw(server.ws) as raw:
        raw.send(upgrade_head(raw.address).replace(b"GET", b"POST", 1))
        status, fields, _ = raw.answer()
        assert status == 405 and fields["allow"] == "GET"


def test_fields_are_read_in_any_case_and_as_lists(server):
    with Raw(server.ws) as raw:
        raw.upgrade(fields={
            "Upgrade": None, "UPGRADE": "WebSocket", "Connection": None, "connection": "keep-alive, UPGRADE",
        })  # fmt: skip


def test_frames_may_follow_the_head_at_once(server):
    with Raw(server.ws) as raw:
        raw.upgrade(behind=frame(PING, b"early"))
        assert raw.receive_frame() == (PONG, b"early")


def test_a_head_may_come_byte_by_byte(server):
    with Raw(server.ws) as raw:
        for byte in upgrade_head(raw.address):
            raw.send(bytes([byte]))
        assert raw.head()[0] == 101


def test_a_head_beyond_16_kib_is_431(server):
    for size in [17_000, 100_000]:
        with Raw(server.ws) as raw:
            raw.send(upgrade_head(raw.address, fields={"X-Long": "x" * size}))
            status, _, _ = raw.answer()
            assert status == 431, size


def test_a_head_that_never_ends_is_431_or_cut(server):
    with Raw(server.ws) as raw:
        raw.send(b"GET / HTTP/1.1\r\n")
        try:
            for _ in range(200):
                raw.send(b"X-Long: " + b"x" * 500 + b"\r\n")
        except OSError:
            return
        answer = raw.head()
        assert answer is None or answer[0] == 431


def test_too_many_fields_are_431(server):
    with Raw(server.ws) as raw:
        raw.send(upgrade_head(raw.address, fields={f"X-{number}": "x" for number in range(200)}))
        assert raw.answer()[0] == 431


def test_an_unfinished_handshake_is_cut_in_time(start):
    server = start("--handshake-timeout", "1")
    for address in [server.ws, server.api]:
        for begun in [b"", b"GET / HTTP/1.1\r\nHost: "]:
            with Raw(address) as raw:
                began = time.monotonic()
                if begun:
                    raw.send(begun)
                # 408 or nothing, then the end.
                answer = raw.head()
                assert answer is None or answer[0] == 408
                assert 0.5 < time.monotonic() - began < 5
    with server.client() as client:
        client.initialize()
        time.sleep(1.5)
        client.result("ping")


def test_beyond_the_cap_it_is_503_and_a_place_is_free_again_later(start):
    server = start("--ws-max-connections", "3")
    clients = [server.client() for _ in range(3)]
    status, fields, body = refusal(server)
    assert status == 503 and "retry-after" in fields and b"retry_after_ms" in body
    for client in clients:
        client.initialize()
    # HTTP has places of its own.
    assert server.http("GET", "/health").status == 200
    clients.pop().close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            clients.append(server.client())
            break
        except Exception:
            time.sleep(0.05)
    assert len(clients) == 3
    for client in clients:
        client.close()


def test_compression_is_agreed_as_configured(server, start):
    with Raw(server.ws) as raw:
        agreed = raw.upgrade(fields={"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"})
        agreed = agreed["sec-websocket-extensions"]
        assert "server_no_context_takeover" in agreed and "client_no_context_takeover" in agreed, agreed
    with Raw(server.ws) as raw:
        assert "sec-websocket-extensions" not in raw.upgrade(fields={"Sec-WebSocket-Extensions": "x-webkit-other"})
    without = start("--permessage-deflate=false")
    with Raw(without.ws) as raw:
        fields = raw.upgrade(fields={"Sec-WebSocket-Extensions": "permessage-deflate"})
        assert "sec-websocket-extensions" not in fields


def test_a_browser_preflight_of_a_foreign_origin_gets_no_permission(server):
    answer = server.http("OPTIONS", "/api/v1/memory", headers={
        "Origin": "http://evil.example", "Access-Control-Request-Method": "POST",
    })  # fmt: skip
    assert answer.status == 403 and answer.getheader("access-control-allow-origin") is None


def test_an_ipv4_address_of_the_loopback_is_a_host(server):
    with Client(f"ws://localhost:{server.ws.rsplit(':', 1)[1]}/", {}) as client:
        client.initialize()
