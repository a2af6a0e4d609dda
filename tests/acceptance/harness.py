"""What every test here needs: a server to start and stop, MCP over a WebSocket, raw frames, raw HTTP."""

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time
import uuid

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as websocket_connect

# Nothing here waits longer for an answer; every server answers within milliseconds.
PATIENCE = 10

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Server:
    """A server of its own, on ports that the system chose."""

    def __init__(self, directory, io, *flags, variables=None, wait=True):
        # The server refuses TMWS_* variables that it does not know, TMWS_BIN among them.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TMWS_")}
        # No download for a test that is not about meaning.
        environment["TMWS_EMBEDDING_MODEL"] = "none"
        usual = {
            "--data-dir": str(directory), "--api-port": "0", "--ws-port": "0", "--echo-path": "/echo", "--io": io,
            "--log-format": "json",
        }  # fmt: skip
        command = [os.environ["TMWS_BIN"], *flags]
        for name, value in usual.items():
            if name not in flags:
                command += [name, value]
        self.directory, self.io = directory, io
        self.events, self.text = [], ""
        self.api = self.ws = None
        self._listening = threading.Event()
        self.process = subprocess.Popen(
            command, env=environment | (variables or {}), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if wait:
            assert self._listening.wait(PATIENCE) and self.ws, f"it did not start: {self.text}"

    def _read(self):
        for line in self.process.stderr:
            self.text += line
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                self.events.append(event)
                if event.get("message") == "listening":
                    self.api, self.ws = event["api"], event.get("ws")
                    self._listening.set()
        self._listening.set()

    def heard(self, message):
        """Waits until the log says this."""
        return until(lambda: any(message in event.get("message", "") for event in self.events))

    def signal(self, number):
        self.process.send_signal(number)

    def ended(self, seconds=12):
        """Waits for the end, and returns the exit code."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not end within {seconds} s") from None
        self._reader.join(PATIENCE)
        return code

    def stop(self):
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            return self.ended()
        return self.process.returncode

    def client(self, agent=None, namespace=None, path="/", listener="ws", headers=None, **options):
        headers = dict(headers or {})
        if agent:
            headers["X-Agent-ID"] = agent
        if namespace:
            headers["X-Agent-Namespace"] = namespace
        address = getattr(self, listener)
        return Client(f"ws://{address}{path}", headers, **options)

    def http(self, method, path, body=None, headers=None):
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(self.api, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            answer.content = answer.read()
            return answer
        finally:
            connection.close()

    def post(self, path, arguments, **headers):
        headers = {"Content-Type": "application/json"} | headers
        return self.http("POST", path, json.dumps(arguments), headers)


class Client:
    """JSON-RPC over a WebSocket of the `websockets` package."""

    def __init__(self, url, headers, **options):
        self.connection = websocket_connect(
            url, additional_headers=headers, proxy=None, open_timeout=PATIENCE, close_timeout=2, max_size=None, **options
        )
        self.socket = self.connection.__enter__()
        self.number = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.connection.__exit__(None, None, None)

    def send(self, message):
        self.socket.send(message if isinstance(message, (str, bytes)) else json.dumps(message))

    def receive(self, timeout=PATIENCE):
        return json.loads(self.socket.recv(timeout=timeout))

    def ask_text(self, text):
        """Sends any text, and returns the answer as text."""
        self.socket.send(text)
        return self.socket.recv(timeout=PATIENCE)

    def ask(self, method, params=None):
        """One request; the whole answer."""
        self.number += 1
        message = {"jsonrpc": "2.0", "id": self.number, "method": method}
        if params is not None:
            message["params"] = params
        self.send(message)
        answer = self.receive()
        assert answer["jsonrpc"] == "2.0" and answer["id"] == self.number, answer
        assert ("result" in answer) != ("error" in answer), answer
        return answer

    def result(self, method, **params):
        answer = self.ask(method, params)
        assert "result" in answer, answer
        return answer["result"]

    def error(self, method, params=None):
        answer = self.ask(method, params)
        assert "error" in answer, answer
        return answer["error"]

    def initialize(self, version="2025-11-25"):
        client = {"name": "acceptance", "version": "1"}
        return self.result("initialize", protocolVersion=version, capabilities={}, clientInfo=client)

    def tool(self, name, /, **arguments):
        """A tool's structured result, which must not be an error."""
        result = self.result("tools/call", name=name, arguments=arguments)
        assert result["isError"] is False, result
        return result["structuredContent"]

    def refusal(self, name, /, **arguments):
        """A tool's structured error."""
        result = self.result("tools/call", name=name, arguments=arguments)
        assert result["isError"] is True, result
        assert result["content"][0]["text"] == result["structuredContent"]["error"], result
        return result["structuredContent"]

    def closed(self):
        """Waits for the server to close, and returns code and reason."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                self.socket.recv(timeout=PATIENCE)
            except ConnectionClosed as closed:
                return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
        raise AssertionError("it stays open")


class HttpClient:
    """MCP over Streamable HTTP on one connection that stays open, in the era of its revision."""

    def __init__(self, server, agent, version, capabilities=None, path="/mcp"):
        self.connection = http.client.HTTPConnection(server.api, timeout=PATIENCE)
        self.agent, self.version, self.path = agent, version, path
        self.modern = version == META["io.modelcontextprotocol/protocolVersion"]
        self.meta = META | {"io.modelcontextprotocol/clientCapabilities": capabilities or {}}
        self.session, self.number = None, 0
        if not self.modern:
            client = {"name": "acceptance", "version": "1"}
            params = {"protocolVersion": version, "capabilities": {}, "clientInfo": client}
            assert self.result("initialize", **params)["protocolVersion"] == version
            self.session = self.answer.getheader("mcp-session-id")
            self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
            assert self.answer.status == 202 and self.answer.content == b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def send(self, message, **headers):
        """One POST; the answer is kept, and returned as JSON if it is."""
        usual = {
            "Content-Type": "application/json", "Accept": "application/json, text/event-stream", "X-Agent-ID": self.agent,
        }  # fmt: skip
        if self.session:
            usual |= {"Mcp-Session-Id": self.session, "MCP-Protocol-Version": self.version}
        if self.modern:
            params = message.get("params", {})
            name = params.get("name", params.get("uri", params.get("taskId")))
            usual |= {"MCP-Protocol-Version": self.version, "Mcp-Method": message["method"]}
            usual |= {} if name is None else {"Mcp-Name": name}
        self.connection.request("POST", self.path, json.dumps(message), usual | headers)
        self.answer = self.connection.getresponse()
        self.answer.content = self.answer.read()
        return json.loads(self.answer.content) if self.answer.content else None

    def ask(self, method, params=None):
        """One request; the whole answer, which has the form of its era."""
        self.number += 1
        params = params or {}
        if self.modern:
            params = {"_meta": self.meta} | params
        answer = self.send({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params})
        assert self.answer.getheader("content-type") == "application/json"
        assert answer["jsonrpc"] == "2.0" and answer["id"] == self.number, answer
        assert ("result" in answer) != ("error" in answer), answer
        if "result" in answer:
            assert self.answer.status == 200
            assert ("resultType" in answer["result"]) == self.modern, answer
            named = "io.modelcontextprotocol/serverInfo" in answer["result"].get("_meta", {})
            assert named == self.modern, answer
        else:
            assert isinstance(answer["error"]["code"], int) and answer["error"]["message"], answer
        return answer

    result, error, tool, refusal = Client.result, Client.error, Client.tool, Client.refusal


class Raw:
    """A bare socket, for what no decent client sends."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.address = address
        self.socket = socket.create_connection((host, int(port)), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def head(self):
        """Status and fields (names in lower case) of an answer; None when the server closed without one."""
        line = self.stream.readline()
        if not line:
            return None
        status, fields = int(line.split()[1]), {}
        while (line := self.stream.readline()) not in (b"\r\n", b""):
            name, value = line.decode().split(":", 1)
            fields[name.strip().lower()] = value.strip()
        return status, fields

    def answer(self, has_body=True):
        """Status, fields and body of an answer."""
        answer = self.head()
        if answer is None:
            return None
        status, fields = answer
        return status, fields, self.stream.read(int(fields.get("content-length", 0))) if has_body else b""

    def upgrade(self, path="/", fields=None, behind=b""):
        self.send(upgrade_head(self.address, path, fields) + behind)
        status, fields = self.head()
        assert status == 101, status
        return fields

    def frame(self, opcode, payload=b"", **options):
        self.send(frame(opcode, payload, **options))

    def text(self, message):
        self.frame(TEXT, message if isinstance(message, bytes) else json.dumps(message).encode())

    def receive_frame(self):
        """Opcode and payload of a frame; None when the server closed the connection."""
        try:
            head = self.stream.read(2)
        except ConnectionResetError:
            return None
        if len(head) < 2:
            return None
        length = head[1] & 0x7F
        assert not head[1] & 0x80, "a server masks nothing"
        if length == 126:
            (length,) = struct.unpack(">H", self.stream.read(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self.stream.read(8))
        return head[0] & 0x0F, self.stream.read(length)

    def receive(self):
        opcode, payload = self.receive_frame()
        assert opcode == TEXT, (opcode, payload)
        return json.loads(payload)

    def close_code(self):
        """The code of the close frame; None without one. The server must end the connection behind it."""
        for _ in range(100):
            received = self.receive_frame()
            if received is None:
                return None
            opcode, payload = received
            if opcode == CLOSE:
                assert self.receive_frame() is None, "nothing may follow a close frame"
                return struct.unpack(">H", payload[:2])[0] if payload else 1005
        raise AssertionError("no close frame came")


CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode, payload=b"", fin=True, rsv=0, mask=True, length=None):
    """A frame as a client sends it; `length` may lie."""
    size = len(payload) if length is None else length
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if size < 126:
        head += bytes([mask << 7 | size])
    elif size < 1 << 16:
        head += bytes([mask << 7 | 126]) + struct.pack(">H", size)
    else:
        head += bytes([mask << 7 | 127]) + struct.pack(">Q", size)
    if not mask:
        return head + payload
    key = os.urandom(4)
    whole = (key * (len(payload) // 4 + 1))[: len(payload)]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")
    return head + key + masked.to_bytes(len(payload), "big")


def upgrade_head(address, path="/", fields=None):
    """A handshake; `fields` replace the usual ones, None leaves one out."""
    usual = {
        "Host": address,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13",
    }
    lines = [f"{name}: {value}" for name, value in (usual | (fields or {})).items() if value is not None]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


def until(holds, seconds=PATIENCE):
    """Waits until something holds, and returns it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := holds():
            return value
        time.sleep(0.02)
    raise AssertionError(f"it did not happen within {seconds} s")


def mark():
    """A word that nothing else holds."""
    return "m" + uuid.uuid4().hex
