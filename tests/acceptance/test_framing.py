"""Frames and messages (RFC 6455, 5 to 8; RFC 7692): what is accepted, what closes a connection, and with which code."""

import json
import os
import struct
import time
import zlib

import pytest
from harness import BINARY, CLOSE, CONTINUATION, PATIENCE, PING, PONG, TEXT, Raw, frame, until

PING_TEXT = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
PING_ANSWER = {"jsonrpc": "2.0", "id": 1, "result": {}}
LIMIT = 1 << 20

VIOLATIONS = {
    "unmasked": (frame(TEXT, PING_TEXT, mask=False), 1002),
    "rsv1 without an extension": (frame(TEXT, PING_TEXT, rsv=4), 1002),
    "rsv2": (frame(TEXT, PING_TEXT, rsv=2), 1002),
    "rsv3": (frame(TEXT, PING_TEXT, rsv=1), 1002),
    "reserved opcode 3": (frame(3, b"x"), 1002),
    "reserved opcode 7": (frame(7), 1002),
    "reserved opcode 11": (frame(11), 1002),
    "reserved opcode 15": (frame(15), 1002),
    "fragmented ping": (frame(PING, b"x", fin=False), 1002),
    "ping of 126 bytes": (frame(PING, b"x" * 126), 1002),
    "continuation of nothing": (frame(CONTINUATION, b"x"), 1002),
    "a message inside a message": (frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002),
    "close of one byte": (frame(CLOSE, b"\x03"), 1002),
    "close with 1005": (frame(CLOSE, struct.pack(">H", 1005)), 1002),
    "close with 999": (frame(CLOSE, struct.pack(">H", 999)), 1002),
    "length of 2^63": (bytes([0x81, 0xFF]) + b"\xff" * 8, 1002),
    "length in 8 bytes where 1 would do": (bytes([0x81, 0xFF]) + struct.pack(">Q", 2) + b"\0\0\0\0{}", 1002),
    "bad UTF-8": (frame(TEXT, b'{"a":"\xff"}'), 1007),
    "a surrogate in UTF-8": (frame(TEXT, b'"\xed\xa0\x80"'), 1007),
    "UTF-8 cut short": (frame(TEXT, b'"\xe2\x82'), 1007),
    "UTF-8 cut short in fragments": (frame(TEXT, b"\xe2\x82", fin=False) + frame(CONTINUATION, b""), 1007),
    "bad UTF-8 in a close reason": (frame(CLOSE, struct.pack(">H", 1000) + b"\xff"), 1007),
    "binary": (frame(BINARY, PING_TEXT), 1003),
    "empty binary": (frame(BINARY), 1003),
    "a frame beyond the limit": (frame(TEXT, b"", length=LIMIT + 1), 1009),
    "a frame of 2^40 bytes": (frame(TEXT, b"", length=1 << 40), 1009),
    "fragments beyond the limit": (
        frame(TEXT, b"x" * LIMIT, fin=False) + frame(CONTINUATION, b"x"), 1009,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_closes_with_its_code(server, name):
    sent, code = VIOLATIONS[name]
    with Raw(server.ws) as neighbour, Raw(server.ws) as raw:
        neighbour.upgrade()
        raw.upgrade()
        raw.send(sent)
        assert raw.close_code() == code
        neighbour.text(PING_TEXT)
        assert neighbour.receive() == PING_ANSWER


def test_what_was_asked_before_a_violation_is_answered(raw):
    raw.upgrade()
    raw.send(frame(TEXT, PING_TEXT) + frame(TEXT, PING_TEXT, mask=False))
    assert raw.receive() == PING_ANSWER
    assert raw.close_code() == 1002


def test_nothing_that_comes_after_a_violation_counts(server, agent):
    store = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "memory/create", "params": {"content": "too late"}})
    with Raw(server.ws) as raw:
        raw.upgrade(fields={"X-Agent-ID": agent})
        raw.send(frame(BINARY, b"x") + frame(TEXT, store.encode()))
        assert raw.close_code() == 1003
    with server.client(agent) as client:
        assert client.result("memory/recall", include_shared=False)["memories"] == []


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_a_close_is_answered_in_kind(raw, code):
    raw.upgrade()
    raw.frame(CLOSE, struct.pack(">H", code) + b"bye")
    assert raw.close_code() == code


def test_an_empty_close_is_answered_by_an_empty_close(raw):
    raw.upgrade()
    raw.frame(CLOSE)
    assert raw.close_code() == 1005


def test_a_ping_is_answered_with_its_payload(raw):
    raw.upgrade()
    for payload in [b"", b"x", os.urandom(125)]:
        raw.frame(PING, payload)
        assert raw.receive_frame() == (PONG, payload)


def test_an_unasked_pong_is_ignored(raw):
    raw.upgrade()
    raw.frame(PONG, b"unasked")
    raw.text(PING_TEXT)
    assert raw.receive() == PING_ANSWER


def test_a_message_may_come_in_fragments_with_pings_between(raw):
    raw.upgrade()
    raw.frame(TEXT, b"", fin=False)
    for number, byte in enumerate(PING_TEXT):
        raw.frame(CONTINUATION, bytes([byte]), fin=False)
        if number % 10 == 0:
            raw.frame(PING, b"p")
            assert raw.receive_frame() == (PONG, b"p")
    raw.frame(CONTINUATION, b"")
    assert raw.receive() == PING_ANSWER


def test_a_character_may_be_split_between_fragments(server, agent):
    text = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "memory/create", "params": {"content": "naïve 😀 ßtraße"}}, ensure_ascii=False
    ).encode()
    with Raw(server.ws) as raw:
        raw.upgrade(fields={"X-Agent-ID": agent})
        for position in range(len(text) - 1):
            raw.frame(CONTINUATION if position else TEXT, text[position : position + 1], fin=False)
        raw.frame(CONTINUATION, text[-1:])
        assert raw.receive()["result"]["content"] == "naïve 😀 ßtraße"


def test_bytes_may_dribble(raw):
    raw.upgrade()
    for byte in frame(TEXT, PING_TEXT):
        raw.send(bytes([byte]))
    assert raw.receive() == PING_ANSWER


def test_a_message_of_just_the_limit_is_read(raw):
    """It is answered, and the connection lives on."""
    raw.upgrade()
    padding = b" " * (LIMIT - len(PING_TEXT))
    raw.text(PING_TEXT + padding)
    assert raw.receive() == PING_ANSWER
    raw.text(PING_TEXT)
    assert raw.receive() == PING_ANSWER


def test_the_limit_is_configurable(start):
    server = start("--ws-max-message-size", "2000")
    with Raw(server.ws) as raw:
        raw.upgrade()
        raw.text(PING_TEXT + b" " * (2000 - len(PING_TEXT)))
        assert raw.receive() == PING_ANSWER
        raw.text(PING_TEXT + b" " * (2001 - len(PING_TEXT)))
        assert raw.close_code() == 1009


DEFLATE = {"Sec-WebSocket-Extensions": "permessage-deflate"}


def deflated(data):
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def test_a_compressed_message_is_read(raw):
    raw.upgrade(fields=DEFLATE)
    raw.frame(TEXT, deflated(PING_TEXT), rsv=4)
    assert raw.receive() == PING_ANSWER
    whole = deflated(PING_TEXT + b" " * 100_000)
    raw.send(frame(TEXT, whole[:7], rsv=4, fin=False) + frame(PING, b"p") + frame(CONTINUATION, whole[7:]))
    assert raw.receive_frame() == (PONG, b"p")
    assert raw.receive() == PING_ANSWER


def test_a_bomb_is_1009_and_garbage_is_no_crash(server):
    with Raw(server.ws) as raw:
        raw.upgrade(fields=DEFLATE)
        raw.frame(TEXT, deflated(b" " * (200 << 20)), rsv=4)
        assert raw.close_code() == 1009
    for payload in [b"\xff\xff\xff", b"\x06"]:
        with Raw(server.ws) as raw:
            raw.upgrade(fields=DEFLATE)
            raw.frame(TEXT, payload, rsv=4)
            assert raw.close_code() in (1002, 1007)
    for violation in [frame(PING, b"x", rsv=4), frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x", rsv=4)]:
        with Raw(server.ws) as raw:
            raw.upgrade(fields=DEFLATE)
            raw.send(violation)
            assert raw.close_code() == 1002


@pytest.mark.parametrize("compression", ["deflate", None])
def test_large_answers_arrive_whole(server, agent, compression):
    """A page of 100 memories of 9,000 characters is close to a megabyte."""
    content = ("The quick brown fox jumps over the lazy dog. " * 200)[:9_000]
    with server.client(agent, compression=compression) as client:
        client.initialize()
        for _ in range(100):
            client.result("memory/create", content=content)
        page = client.result("memory/recall", limit=100)["memories"]
        assert len(page) == 100 and all(memory["content"] == content for memory in page)
        # As structured content and as text, which makes the answer twice as large.
        again = client.tool("recall_memory", limit=100)["memories"]
        assert [memory["content"] for memory in again] == [memory["content"] for memory in page]


def test_messages_of_every_size_come_back_as_they_were(server):
    """Sizes around the steps of frame lengths and buffers, through the echo route."""
    sizes = [0, 1, 125, 126, 127, 4_082, 4_090, 4_096, 4_097, 8_192, 65_535, 65_536, 1 << 20, 16 << 20]
    for compression in ["deflate", None]:
        with server.client(path="/echo", compression=compression) as client:
            for size in sizes:
                data = os.urandom(size)
                client.socket.send(data)
                assert client.socket.recv(timeout=30) == data, size
                text = ("äö" * size)[: size // 2]
                client.socket.send(text)
                assert client.socket.recv(timeout=30) == text, size


def test_a_peer_that_leaves_without_a_word_leaves_nothing(server, agent):
    before = json.loads(server.http("GET", "/api/v1/stats").content)["active_sessions"]
    for sent in [b"", frame(TEXT, PING_TEXT), frame(TEXT, PING_TEXT)[:9]]:
        with Raw(server.ws) as raw:
            raw.upgrade()
            raw.send(sent)
    until(lambda: json.loads(server.http("GET", "/api/v1/stats").content)["active_sessions"] <= before)


def test_a_peer_that_does_not_read_harms_nobody_and_loses_nothing(server, agent):
    """A hundred answers of half a megabyte each pile up at the client, not in the server.

    The allocator gives back what the answers under way have taken within a second or two, so what counts is what the
    server holds for two seconds on end.
    """
    content = "x" * 5_000
    with server.client(agent) as client:
        for _ in range(100):
            client.result("memory/create", content=content)
        before = client.result("system/stats")["memory_resident_bytes"]
        with Raw(server.ws) as deaf:
            deaf.upgrade(fields={"X-Agent-ID": agent})
            for number in range(100):
                deaf.text({"jsonrpc": "2.0", "id": number, "method": "memory/recall", "params": {"limit": 100}})
            for _ in range(50):
                assert client.result("ping") == {}
            small = 0
            for _ in range(PATIENCE * 20):
                grown = client.result("system/stats")["memory_resident_bytes"] - before
                small = small + 1 if grown < 25 << 20 else 0
                if small == 40:
                    break
                time.sleep(0.05)
            assert small == 40, grown
            assert sorted(deaf.receive()["id"] for _ in range(100)) == list(range(100))
