"""What every client in Python must see, whichever SDK it is made of.

A client has: `version`, the negotiated revision; `tools()` and `resources()`, names and addresses; `call(tool,
arguments, progress)`, whether it failed and its structured content; `read(uri)`, the addresses of what was read;
`code(error)`, the number in an error of the server, or None for any other; `cancel(tool, arguments)`, which calls,
thinks better of it after 100 ms, and tells whether the call was abandoned.
"""

import sys
import uuid

import anyio

ERAS = {"legacy": "2025-11-25", "auto": "2026-07-28"}
CORE = {"store_memory", "semantic_search", "recall_memory", "health_check"}
FIXTURE = {"test_error_handling", "test_tool_with_progress", "test_slow"}


def check(name, holds, detail=None):
    if not holds:
        raise AssertionError(f"{name}: {detail!r}")
    print(f"ok {name}")


async def refusal(client, awaitable):
    try:
        return f"an answer: {await awaitable!r}"
    except Exception as error:
        code = client.code(error)
        if code is None:
            raise
        return code


async def judge(client, era):
    check("era", client.version == ERAS[era], client.version)
    names = await client.tools()
    check("list tools", CORE | FIXTURE <= names, names)

    mark = uuid.uuid4().hex
    failed, stored = await client.call("store_memory", {"content": f"The kettle is green {mark}"})
    assert not failed, stored
    failed, found = await client.call("semantic_search", {"query": f"kettle {mark}", "limit": 5})
    check("call", not failed and found["hits"][0]["id"] == stored["id"], found)

    unknown = await refusal(client, client.call("no_such_tool", {}))
    assert unknown == -32602, unknown
    failed, _ = await client.call("test_error_handling", {})
    assert failed
    failed, fault = await client.call("store_memory", {"text": "x"})
    check("errors", failed and fault["code"] == "INVALID_ARGUMENTS", fault)

    uri = (await client.resources())[0]
    read = await client.read(uri)
    assert read and set(read) == {uri}, read
    unknown = await refusal(client, client.read("test://no-such-resource"))
    check("resources", unknown in (-32602, -32002), unknown)

    steps = []

    async def progress(step, total, message):
        steps.append((step, total))

    failed, _ = await client.call("test_tool_with_progress", {}, progress)
    # The last one may be handled after the answer is.
    await anyio.sleep(0.1)
    check("progress", not failed and steps == [(0, 100), (50, 100), (100, 100)], steps)

    with anyio.fail_after(10):
        abandoned = await client.cancel("test_slow", {"seconds": 30})
        failed, health = await client.call("health_check", {})
    check("cancel", abandoned and not failed and health["status"] == "healthy", (abandoned, health))


def causes(error):
    """The errors in a group of groups: every task group on the way up wraps what it lets through."""
    for cause in getattr(error, "exceptions", ()):
        yield from causes(cause)
    if not hasattr(error, "exceptions"):
        yield error


def main(session):
    """`session(url, era)` is an async context manager that yields a client."""
    url, era = sys.argv[1:]

    async def run():
        with anyio.fail_after(60):
            async with session(url, era) as client:
                await judge(client, era)

    try:
        anyio.run(run)
    except BaseException as error:
        sys.exit("\n".join(f"FAILED {cause!r}" for cause in causes(error)))
