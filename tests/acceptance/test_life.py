"""A server's life: pings, idleness, signals, the configuration, the data directory (SPEC 2, 5, 13, 16)."""

import os
import signal
import socket
import subprocess
import time

import pytest
from harness import PING, PONG, Raw, until
from websockets.exceptions import ConnectionClosed


def test_who_answers_pings_stays_and_who_does_not_is_closed(start):
    server = start("--ws-ping-interval", "1", "--ws-ping-timeout", "1")
    with Raw(server.ws) as silent, server.client() as client:
        silent.upgrade()
        assert silent.receive_frame()[0] == PING
        assert silent.close_code() == 1011
        # Another three rounds for the one that answers, as every WebSocket library does by itself.
        time.sleep(3)
        assert client.result("ping") == {}


def test_a_pong_is_enough(start):
    server = start("--ws-ping-interval", "1", "--ws-ping-timeout", "1")
    with Raw(server.ws) as raw:
        raw.upgrade()
        for _ in range(3):
            opcode, payload = raw.receive_frame()
            assert opcode == PING
            raw.frame(PONG, payload)
        raw.text({"jsonrpc": "2.0", "id": 1, "method": "ping"})
        assert raw.receive()["result"] == {}


def test_an_idle_connection_is_closed_and_a_busy_one_is_not(start):
    """Pings are no messages: they keep nobody from being idle."""
    server = start("--connection-timeout", "2", "--ws-ping-interval", "1", "--ws-ping-timeout", "1")
    with server.client() as idle, server.client() as busy:
        began = time.monotonic()
        for _ in range(6):
            time.sleep(0.5)
            busy.result("ping")
        code, reason = idle.closed()
        assert code == 1001 and "idle" in reason
        assert time.monotonic() - began < 6
        assert busy.result("ping") == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_closes_with_1012_and_ends_well(start, number):
    server = start("--drain-seconds", "1")
    clients = [server.client() for _ in range(10)]
    for client in clients[:5]:
        client.initialize()
    began = time.monotonic()
    server.signal(number)
    assert {client.closed()[0] for client in clients} == {1012}
    assert server.ended(10) == 0
    assert time.monotonic() - began < 5
    for client in clients:
        client.close()


def test_a_stop_with_the_usual_drain_takes_less_than_ten_seconds(start):
    server = start()
    clients = [server.client() for _ in range(20)]
    # Some that never finish their handshake, and some that never read.
    idle = [Raw(server.ws) for _ in range(5)] + [Raw(server.api) for _ in range(5)]
    deaf = [Raw(server.ws) for _ in range(3)]
    for raw in deaf:
        raw.upgrade()
    server.signal(signal.SIGTERM)
    assert server.ended(10) == 0
    for client in clients:
        client.close()
    for raw in idle + deaf:
        raw.socket.close()


def test_a_second_signal_cuts_the_stop_short(start):
    server = start("--drain-seconds", "9")
    clients = [server.client() for _ in range(10)]
    server.signal(signal.SIGTERM)
    server.heard("stopping")
    time.sleep(0.2)
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.ended(10) == 0 and time.monotonic() - began < 3
    for client in clients:
        client.close()


def test_a_stop_without_connections_is_quick(start):
    server = start()
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.ended(10) == 0 and time.monotonic() - began < 2


def test_while_it_stops_it_is_not_ready_and_takes_nobody(start):
    server = start("--drain-seconds", "3")
    clients = [server.client() for _ in range(5)]
    with Raw(server.api) as raw:
        request = f"GET /health/ready HTTP/1.1\r\nHost: {raw.address}\r\n\r\n".encode()
        raw.send(request)
        assert raw.answer()[0] == 200
        server.signal(signal.SIGTERM)
        server.heard("stopping")
        time.sleep(0.1)
        with pytest.raises(OSError):
            Raw(server.ws)
        # A kept-alive connection may be gone by now; if not, it says that the server is not ready.
        try:
            raw.send(request)
            answer = raw.answer()
        except OSError:
            answer = None
        assert answer is None or answer[0] == 503
    for client in clients:
        client.closed()
    assert server.ended(10) == 0


def test_calls_under_way_are_answered_before_the_stop(start):
    server = start("--drain-seconds", "1")
    with server.client("last") as client:
        for number in range(200):
            client.send({"jsonrpc": "2.0", "id": number, "method": "memory/create", "params": {"content": f"last {number}"}})
        assert client.receive()["result"]
        server.signal(signal.SIGTERM)
        answers = 1
        try:
            while True:
                client.receive()
                answers += 1
        except ConnectionClosed as closed:
            assert closed.rcvd and closed.rcvd.code == 1012
    assert server.ended(10) == 0
    assert answers == 200


def test_a_hangup_reloads_limits(start, tmp_path):
    settings = tmp_path / "tmws.toml"
    settings.write_text("memory_content_max = 1000\nlog_level = 'info'\n")
    server = start("--config", str(settings))
    with server.client("reload") as client:
        client.initialize()
        assert client.tool("store_memory", content="x" * 100)
        settings.write_text("memory_content_max = 50\nlog_level = 'debug'\nws_max_connections = 1\n")
        server.signal(signal.SIGHUP)
        server.heard("reloaded")
        until(lambda: client.result("tools/call", name="store_memory", arguments={"content": "x" * 100})["isError"])
        with Raw(server.ws) as raw:
            raw.send(f"GET /health/live HTTP/1.1\r\nHost: {raw.address}\r\n\r\n".encode())
            assert raw.answer()[0] == 200
        with pytest.raises(Exception, match="503"):
            server.client()
        # A broken file changes nothing and ends nothing.
        settings.write_text("memory_content_max = 'many'\n")
        server.signal(signal.SIGHUP)
        server.heard("not reloaded")
        assert client.tool("store_memory", content="x" * 50)
        assert client.refusal("store_memory", content="x" * 51)


def test_a_second_server_on_the_same_data_is_refused(start, tmp_path):
    first = start(directory=tmp_path / "one")
    second = start(directory=tmp_path / "one", wait=False)
    assert second.ended() != 0
    assert "in use" in second.text and str(tmp_path / "one") in second.text
    with first.client() as client:
        assert client.result("memory/create", content="unharmed")
    # A killed one leaves no lock behind.
    first.signal(signal.SIGKILL)
    first.ended()
    start(directory=tmp_path / "one")


def test_an_unknown_variable_is_refused_with_the_nearest_name(start):
    server = start(variables={"TMWS_WS_PROT": "1"}, wait=False)
    assert server.ended() == 2
    assert "TMWS_WS_PROT" in server.text and "TMWS_WS_PORT" in server.text


def test_an_unknown_key_of_the_file_is_refused_with_the_nearest_name(start, tmp_path):
    settings = tmp_path / "tmws.toml"
    settings.write_text("ws_max_conections = 5\n")
    server = start("--config", str(settings), wait=False)
    assert server.ended() == 2
    assert "ws_max_conections" in server.text and "ws_max_connections" in server.text


@pytest.mark.parametrize("flags", [
    ["--ws-max-connections", "many"], ["--io", "kqueue"], ["--no-such-flag"], ["--config", "/none/tmws.toml"], ["--drain-seconds", "10"],
    ["--api-host", "0.0.0.0"], ["--environment", "production"], ["--echo-path", "echo"],
])  # fmt: skip
def test_a_wrong_setting_is_refused_in_one_sentence(start, flags):
    server = start(*flags, wait=False)
    assert server.ended() == 2, server.text
    assert "panicked" not in server.text and 0 < len(server.text.splitlines()) < 12, server.text


@pytest.mark.parametrize("flag, listener", [("--ws-port", "ws"), ("--api-port", "api")])
def test_a_port_of_another_server_is_refused(server, start, flag, listener):
    port = getattr(server, listener).rsplit(":", 1)[1]
    second = start(flag, port, wait=False)
    until(lambda: second.process.poll() is not None or second.api)
    assert second.api is None, "it listens"
    assert second.ended() != 0 and port in second.text and "panicked" not in second.text


def test_a_port_of_another_program_is_refused(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        server = start("--ws-port", port, wait=False)
        assert server.ended() != 0
        assert port in server.text and "panicked" not in server.text


def test_the_websocket_listener_may_be_left_out(start):
    server = start("--ws-enabled=false", wait=False)
    until(lambda: server.api)
    assert server.ws == "off"
    with server.client(listener="api", path="/mcp") as client:
        client.initialize()


def test_variables_and_flags_and_the_file_have_their_order(start, tmp_path):
    settings = tmp_path / "tmws.toml"
    settings.write_text("memory_content_max = 10\nparallel_batch_size = 7\nbuffer_pool_size = 64\n")
    variables = {"TMWS_MEMORY_CONTENT_MAX": "20", "TMWS_PARALLEL_BATCH_SIZE": "8"}
    server = start("--config", str(settings), "--memory-content-max", "30", variables=variables)
    with server.client() as client:
        client.initialize("2025-03-26")
        assert client.tool("store_memory", content="x" * 30)
        assert client.refusal("store_memory", content="x" * 31)
        client.send([{"jsonrpc": "2.0", "id": n, "method": "ping"} for n in range(8)])
        assert len(client.receive()) == 8
        client.send([{"jsonrpc": "2.0", "id": n, "method": "ping"} for n in range(9)])
        assert "error" in client.receive()
        assert client.tool("get_system_stats")["buffer_pool_size"] % 64 == 0


def test_no_content_and_no_secret_reaches_the_log(start):
    server = start("--log-level", "trace", variables={"TMWS_SECRET_KEY": "hidden-hidden-hidden-hidden-hidden"})
    with server.client("quiet", headers={"Authorization": "Bearer tokentoken", "X-API-Key": "keykeykey"}) as client:
        client.initialize()
        client.tool("store_memory", content="contentcontent")
        client.refusal("store_memory", content="contentcontent", importance=7)
    server.post("/api/v1/memory", {"content": "contentcontent"})
    server.http("GET", "/health?token=tokentoken")
    assert server.stop() == 0
    for secret in ["hidden-hidden", "tokentoken", "keykeykey", "contentcontent"]:
        assert secret not in server.text, secret


def test_a_client_of_the_command_line_reaches_it(server):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TMWS_")}
    call = [os.environ["TMWS_BIN"], "call", "system/health", "--url", f"ws://{server.ws}/"]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and '"healthy"' in done.stdout, done
