"""A WebSocket as bytes, for what no client does: many at once beyond a cap, and messages beyond a limit."""

import json
import os
import socket
import struct

ANSWER_SECONDS_MAX = 15
TEXT, CLOSE, PING = 1, 8, 9


class Peer:
    """A socket to the server; what it sends is up to whoever holds it."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.address = address
        self.socket = socket.create_connection((host, int(port)), ANSWER_SECONDS_MAX)
        self.heard = b""

    def close(self):
        self.socket.close()

    def reset(self):
        """Goes without a word; what is on its way is lost."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def take(self, count):
        while len(self.heard) < count:
            data = self.socket.recv(65_536)
            if not data:
                raise EOFError
            self.heard += data
        taken, self.heard = self.heard[:count], self.heard[count:]
        return taken

    def response(self):
        """Status and body of a response of HTTP."""
        while b"\r\n\r\n" not in self.heard:
            data = self.socket.recv(65_536)
            if not data:
                raise EOFError
            self.heard += data
        head, self.heard = self.heard.split(b"\r\n\r\n", 1)
        lines = head.decode().splitlines()
        fields = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines[1:])}
        return int(lines[0].split()[1]), self.take(int(fields.get("content-length", 0))), fields

    def upgrade(self, agent="stress", path="/"):
        """Asks for a WebSocket; the status, 101 if it has become one."""
        self.send(
            f"GET {path} HTTP/1.1\r\nHost: {self.address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nX-Agent-ID: {agent}\r\n\r\n".encode()
        )
        return self.response()

    def frame(self, opcode, payload, announce=None):
        """A masked frame, which may announce more than it holds."""
        length = len(payload) if announce is None else announce
        head = bytes([0x80 | opcode])
        if length < 126:
            head += bytes([0x80 | length])
        elif length < 1 << 16:
            head += bytes([0xFE]) + struct.pack(">H", length)
        else:
            head += bytes([0xFF]) + struct.pack(">Q", length)
        # A key of zeros masks nothing.
        self.send(head + bytes(4) + payload)

    def receive(self):
        """Opcode and payload of the next frame that is not a ping."""
        while True:
            first, second = self.take(2)
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack(">H", self.take(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self.take(8))
            payload = self.take(length)
            if first & 0x0F != PING:
                return first & 0x0F, payload

    def call(self, method, params):
        """The answer to a request."""
        request = {"jsonrpc": "2.0", "id": int.from_bytes(os.urandom(4), "big"), "method": method, "params": params}
        self.frame(TEXT, json.dumps(request).encode())
        opcode, payload = self.receive()
        answer = json.loads(payload) if opcode == TEXT else {}
        if answer.get("id") != request["id"]:
            raise ValueError(payload)
        return answer
