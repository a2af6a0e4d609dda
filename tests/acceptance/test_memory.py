"""Memory: what is stored is found, by those who may, with the version they expect (SPEC 6, 9, 16)."""

import signal
import threading
import time

import pytest
from harness import mark


def test_what_is_acknowledged_survives_a_restart(start, tmp_path):
    word = mark()
    for end in [signal.SIGTERM, signal.SIGKILL]:
        server = start(directory=tmp_path / "kept")
        with server.client("keeper") as client:
            client.initialize()
            stored = client.tool("store_memory", content=f"The kettle {word} is green", tags=["kitchen"], metadata={"n": [1, None]})
            server.signal(end)
        code = server.ended()
        assert code == (0 if end == signal.SIGTERM else -signal.SIGKILL)
        server = start(directory=tmp_path / "kept")
        with server.client("keeper") as client:
            client.initialize()
            hits = client.tool("semantic_search", query=f"green kettle {word}")["hits"]
            assert stored["id"] in [hit["id"] for hit in hits]
            again = client.tool("recall_memory", ids=[stored["id"]])["memories"][0]
            for name in ["content", "tags", "metadata", "version", "created_at"]:
                assert again[name] == stored[name]
        assert server.stop() == 0


def test_every_acknowledged_write_survives_a_kill(start, tmp_path):
    server = start(directory=tmp_path / "killed")
    acknowledged, stop = [], threading.Event()

    def write(number):
        try:
            with server.client(f"writer-{number}") as client:
                for turn in range(2_000):
                    if stop.is_set():
                        return
                    acknowledged.append((number, client.result("memory/create", content=f"write {turn}")["id"]))
        except Exception:
            pass

    threads = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    server.signal(signal.SIGKILL)
    stop.set()
    for thread in threads:
        thread.join(10)
    server.ended()
    server = start(directory=tmp_path / "killed")
    assert len(acknowledged) > 20
    for number in range(4):
        with server.client(f"writer-{number}") as client:
            ids = [id for owner, id in acknowledged if owner == number]
            for begin in range(0, len(ids), 100):
                part = ids[begin : begin + 100]
                found = client.result("memory/recall", ids=part, limit=100)["memories"]
                assert {memory["id"] for memory in found} == set(part)


def test_an_update_compares_and_sets(client):
    memory = client.tool("store_memory", content="one")
    assert memory["version"] == 1
    assert client.tool("update_memory", id=memory["id"], content="two", expected_version=1)["version"] == 2
    for expected in [1, 3]:
        refusal = client.refusal("update_memory", id=memory["id"], content="three", expected_version=expected)
        assert refusal["code"] == "CONFLICT"
        error = client.error("memory/update", {"id": memory["id"], "content": "three", "expected_version": expected})
        assert error["code"] == 1409 and error["data"]["code"] == "CONFLICT"
    assert client.result("memory/get", id=memory["id"])["content"] == "two"
    assert client.tool("update_memory", id=memory["id"], content="three")["version"] == 3
    assert client.refusal("delete_memory", id=memory["id"], expected_version=1)["code"] == "CONFLICT"


def test_of_two_racing_updates_one_wins(server, agent):
    with server.client(agent) as one, server.client(agent) as two:
        memory = one.result("memory/create", content="0")
        for version in range(1, 20):
            for client in (one, two):
                params = {"id": memory["id"], "expected_version": version, "content": f"{version} of {id(client)}"}
                client.send({"jsonrpc": "2.0", "id": version, "method": "memory/update", "params": params})
            answers = [client.receive() for client in (one, two)]
            assert sorted("error" in answer for answer in answers) == [False, True], answers


def test_what_is_deleted_is_gone_and_its_history_stays_until_purged(client):
    memory = client.tool("store_memory", content="short lived", tags=["a"])
    client.tool("update_memory", id=memory["id"], content="short lived indeed")
    assert len(client.tool("memory_history", id=memory["id"])["versions"]) >= 2
    client.tool("delete_memory", id=memory["id"])
    assert client.refusal("get_memory", id=memory["id"])["code"] == "NOT_FOUND"
    assert client.tool("semantic_search", query="short lived")["hits"] == []
    assert client.tool("recall_memory", tags=["a"])["memories"] == []
    assert client.refusal("update_memory", id=memory["id"], content="x")["code"] == "NOT_FOUND"
    assert client.refusal("delete_memory", id=memory["id"])["code"] == "NOT_FOUND"
    assert client.tool("memory_history", id=memory["id"])["versions"], "a deleted memory keeps its history"
    client.tool("delete_memory", id=memory["id"], purge=True)
    assert client.refusal("memory_history", id=memory["id"])["code"] == "NOT_FOUND"


def test_a_memory_that_replaces_another_takes_its_place(client):
    old = client.tool("store_memory", content="The meeting is on Monday")
    new = client.tool("store_memory", content="The meeting is on Tuesday", supersedes=old["id"])
    hits = client.tool("semantic_search", query="meeting")["hits"]
    assert [hit["id"] for hit in hits] == [new["id"]]
    assert client.tool("get_memory", id=old["id"])["content"] == "The meeting is on Monday"
    assert client.tool("memory_history", id=old["id"])["versions"]
    assert client.refusal("store_memory", content="x", supersedes="00000000-0000-7000-8000-000000000000")["code"] == "NOT_FOUND"


def test_time_to_live_ends(client):
    memory = client.tool("store_memory", content="soon gone", ttl=1)
    assert client.tool("get_memory", id=memory["id"])["expires_at"]
    time.sleep(1.2)
    assert client.refusal("get_memory", id=memory["id"])["code"] == "NOT_FOUND"
    assert client.tool("semantic_search", query="soon gone")["hits"] == []


def test_a_search_as_of_a_time_finds_what_was_valid_then(client):
    client.tool("store_memory", content="The capital is Bonn", valid_from="1949-05-23T00:00:00Z", valid_to="1990-10-03T00:00:00Z")
    client.tool("store_memory", content="The capital is Berlin", valid_from="1990-10-03T00:00:00Z")
    for at, city in [("1980-01-01T00:00:00Z", "Bonn"), ("2000-01-01T00:00:00+02:00", "Berlin")]:
        hits = client.tool("semantic_search", query="capital", as_of=at)["hits"]
        assert [hit["content"] for hit in hits] == [f"The capital is {city}"]


@pytest.mark.parametrize("content", [
    "naïve café", "日本語のメモ", "😀 emoji", "tab\tand\nnewline", "\u202eright to left", "a\u0000b", '"; DROP TABLE memories; --',
    "100% sure_", "C:\\path\\file", "<script>alert(1)</script>", " leading and trailing ",
])  # fmt: skip
def test_any_text_is_kept_or_refused_but_never_changed(client, content):
    answer = client.result("tools/call", name="store_memory", arguments={"content": content})
    if answer["isError"]:
        assert answer["structuredContent"]["code"] == "INVALID_ARGUMENTS" and "\u0000" in content
        return
    memory = client.tool("get_memory", id=answer["structuredContent"]["id"])
    assert memory["content"] == content


@pytest.mark.parametrize("query", [
    '"', "'", '"unbalanced', "AND", "OR NOT", "NEAR(a b)", "a*", "*", "content:x", "(((", "x AND (y", "%", "_", "-x", "^x", "{a}", "😀",
    "the and of", "x" * 1_000, "a " * 400,
])  # fmt: skip
def test_any_query_is_answered(client, query):
    client.tool("store_memory", content="x y z a b")
    assert isinstance(client.tool("semantic_search", query=query)["hits"], list)


def test_a_search_says_how_it_searched(client):
    client.tool("store_memory", content="green kettle")
    for mode in ["hybrid", "semantic", "lexical"]:
        found = client.tool("semantic_search", query="kettle", mode=mode)
        assert found["mode"] == "lexical" and len(found["hits"]) == 1
        assert ("note" in found) == (mode != "lexical")


def test_a_search_filters_limits_and_scores(client):
    for number in range(30):
        tags = ["even"] if number % 2 == 0 else ["odd"]
        client.tool("store_memory", content=f"common fact {number}", tags=tags, importance=number / 30)
    assert len(client.tool("semantic_search", query="common fact")["hits"]) == 10
    found = client.tool("semantic_search", query="common fact", limit=100, tags=["even"], explain=True)
    assert len(found["hits"]) == 15 and not found["truncated"]
    scores = [hit["score"] for hit in found["hits"]]
    assert scores == sorted(scores, reverse=True) and all(0 <= score <= 1 for score in scores)
    assert all(hit["explain"] for hit in found["hits"])
    found = client.tool("semantic_search", query="common fact", limit=100, min_importance=0.5)
    assert len(found["hits"]) == 15
    found = client.tool("semantic_search", query="common fact", limit=100, max_tokens=20)
    assert 0 < len(found["hits"]) < 30 and found["truncated"]


def test_pages_hold_everything_once(client):
    ids = [client.tool("store_memory", content=f"page {number}", tags=["paged"])["id"] for number in range(25)]
    for order, expected in [("oldest", ids), ("newest", ids[::-1])]:
        seen, cursor = [], {}
        for _ in range(10):
            page = client.tool("recall_memory", tags=["paged"], limit=7, order=order, **cursor)
            seen += [memory["id"] for memory in page["memories"]]
            if "next_cursor" not in page:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert seen == expected
    assert client.refusal("recall_memory", cursor="rubbish")["code"] == "INVALID_ARGUMENTS"


def test_reads_are_counted(client):
    memory = client.tool("store_memory", content="counted")
    for _ in range(3):
        client.tool("get_memory", id=memory["id"])
    counted = client.tool("recall_memory", ids=[memory["id"]])["memories"][0]["access_count"]
    assert counted >= 3


@pytest.fixture
def others(server, agent):
    """Another agent of the same namespace, and one of another."""
    with server.client(agent + "-mate") as mate, server.client(agent + "-far", namespace="elsewhere") as far:
        mate.initialize()
        far.initialize()
        yield mate, far


@pytest.mark.parametrize("level, mate_reads, far_reads", [
    ("private", False, False), ("team", True, False), ("shared", False, False), ("public", True, True),
])  # fmt: skip
def test_a_level_admits_its_readers_and_nobody_else(client, others, level, mate_reads, far_reads):
    word = mark()
    memory = client.tool("store_memory", content=f"The secret is {word}", access_level=level, tags=[word])
    for other, reads in zip(others, [mate_reads, far_reads]):
        if reads:
            assert other.tool("get_memory", id=memory["id"])["content"] == memory["content"]
        else:
            assert other.refusal("get_memory", id=memory["id"])["code"] == "NOT_FOUND"
            assert other.refusal("memory_history", id=memory["id"])["code"] == "NOT_FOUND"
        for found in [
            other.tool("semantic_search", query=word)["hits"], other.tool("recall_memory", tags=[word])["memories"],
            other.tool("recall_memory", ids=[memory["id"]])["memories"],
        ]:  # fmt: skip
            assert len(found) == reads
        # Whoever may not read it is not told that it is there; a reader may not write.
        expected = "UNAUTHORIZED_ACCESS" if reads else "NOT_FOUND"
        assert other.refusal("update_memory", id=memory["id"], content="mine")["code"] == expected
        assert other.refusal("delete_memory", id=memory["id"])["code"] == expected
        assert other.refusal("share_memory", id=memory["id"], agents=["x"])["code"] == expected
    assert client.tool("get_memory", id=memory["id"])["version"] == 1


def test_all_read_the_system_level(client, others):
    """While authentication is off, everyone is an admin and may write it."""
    memory = client.tool("store_memory", content="of the system", access_level="system")
    for other in others:
        assert other.tool("get_memory", id=memory["id"])["content"] == "of the system"


def test_a_grant_allows_what_it_says_until_it_is_taken_back(client, others, agent):
    mate, far = others
    memory = client.tool("store_memory", content="shared kettle", access_level="shared")
    share = {"id": memory["id"], "agents": [agent + "-mate"]}
    client.tool("share_memory", **share)
    assert mate.tool("semantic_search", query="kettle")["hits"][0]["id"] == memory["id"]
    assert mate.refusal("update_memory", id=memory["id"], content="x")["code"] == "UNAUTHORIZED_ACCESS"
    client.tool("share_memory", **share, permission="write")
    assert mate.tool("update_memory", id=memory["id"], content="shared kettle, blue")["content"] == "shared kettle, blue"
    assert mate.refusal("delete_memory", id=memory["id"])["code"] == "UNAUTHORIZED_ACCESS"
    client.tool("share_memory", id=memory["id"], agents=[agent + "-far"], namespace="elsewhere")
    assert far.tool("get_memory", id=memory["id"])["id"] == memory["id"]
    client.tool("share_memory", **share, revoke=True)
    assert mate.refusal("get_memory", id=memory["id"])["code"] == "NOT_FOUND"
    client.tool("share_memory", id=memory["id"], agents=[agent + "-far"], namespace="elsewhere", permission="delete")
    assert far.tool("delete_memory", id=memory["id"])["deleted"] is True


def test_agents_of_one_name_in_two_namespaces_are_two(server, agent):
    with server.client(agent, "red") as red, server.client(agent, "blue") as blue:
        memory = red.result("memory/create", content="of red", access_level="team")
        assert blue.error("memory/get", {"id": memory["id"]})["code"] == 1404
        assert blue.result("memory/stats")["owned"] == 0


def test_own_memories_only_when_asked(client, others):
    word = mark()
    others[0].tool("store_memory", content=f"{word} of mate", access_level="team")
    mine = client.tool("store_memory", content=f"{word} of mine")
    assert len(client.tool("semantic_search", query=word)["hits"]) == 2
    own = client.tool("semantic_search", query=word, include_shared=False)["hits"]
    assert [hit["id"] for hit in own] == [mine["id"]]
