"""What deliveries cost the server, measured: each function starts what it needs, returns a report and whether it is right.

perf/delivery holds the reports against its goals, perf/run writes them down (`measure` of a subject in perf/scenarios).
"""

import json
import pathlib
import statistics
import tempfile

import harness
import rivalry
from harness import say

QUIET_SECONDS, FLOOD_SECONDS = 5, 20
# Of the one who calls beside them. Each call has its time, so that one long stall is charged to all that waited; few enough
# that none of them waits for another.
CALLS_A_SECOND, CALLS_IN_FLIGHT_MAX = 500, 256
# A window is full after half of that, the lanes soon before its end, and the rest is dropped. Faster
# broadcasts measure how fast the kernel finds memory: what is sent and not read lies with it.
RATE, BODY_BYTES = 25, 4_096


def lanes(io, quiet, body=64, messages=200_000):
    """One sender to one receiver, in memory only. One core for the server: its CPU for a message is the inverse of its rate."""
    server_core, load_core = harness.cores()
    with harness.Server("--io", io, "--shards", "1", core=server_core, quiet=quiet) as server:
        # 256 of the largest stay below the 1 MiB of the lanes, beside those in the window.
        report, good = harness.load(
            "pairs", "--url", server.url(), "--pairs", 1, "--volatile", "--outstanding", 256, "--ack-every", 64,
            "--messages", messages, "--body", body, "--server-pid", server.pid, core=load_core, quiet=quiet,
        )  # fmt: skip
    if good:
        report["messages_per_cpu_second"] = round(1e6 / report["server_cpu_us_per_message"])
    return report, good


def durable(io, quiet, messages=1_000, postgres=None):
    """64 senders to 64 receivers, stored on SQLite or in the database of a URL."""
    with harness.Server("--io", io, *(("--database-url", postgres) if postgres else ()), quiet=quiet) as server:
        return harness.load(
            "pairs", "--url", server.url(), "--pairs", 64, "--outstanding", 16, "--ack-every", 32,
            "--messages", messages, "--server-pid", server.pid, quiet=quiet,
        )  # fmt: skip


def fanout(io, quiet, sessions=10_000):
    """One broadcast to all sessions, in memory only and stored; and the same bytes by plain writes."""
    server_core, load_core = harness.cores()
    room = str(sessions + 100)
    with harness.Server("--io", io, "--shards", "1", "--ws-max-connections", room, core=server_core, quiet=quiet) as server:
        report, good = harness.load(
            "fanout", "--url", server.url(), "--sessions", sessions, "--server-pid", server.pid, core=load_core, quiet=quiet,
        )  # fmt: skip
    if not good:
        return report, good
    for kind in ("volatile", "durable"):
        for name in ("server_cpu_ms", "idle_server_cpu_ms"):
            report[f"{kind}_{name}"] = statistics.median(one[name] for one in report[kind])
    report["floor_cpu_ms"] = floor = floor_of_fanout(sessions, report["frame_bytes"], quiet)
    report["volatile_to_floor"] = report["volatile_server_cpu_ms"] / floor
    return report, good


def floor_of_fanout(sessions, frame_bytes, quiet):
    """The same bytes to as many plain TCP connections: what the kernel alone takes."""
    server_core, load_core = harness.cores()
    with rivalry.echo_of_bytes(server_core, "--to-others") as echo:
        measured = harness.load(
            "fanout", "--url", echo.at(None), "--sessions", sessions, "--body", frame_bytes, "--server-pid", echo.pid,
            core=load_core, quiet=quiet,
        )  # fmt: skip
    return statistics.median(harness.needed("the floor was not measured", measured)["server_cpu_ms"])


def resume(io, quiet, sessions=1_000):
    """All sessions come back after SIGKILL; four messages wait for each."""
    with tempfile.TemporaryDirectory(prefix="tmws-perf-data-") as data:
        tokens = pathlib.Path(data) / "sessions.json"
        with harness.Server("--io", io, data_dir=f"{data}/data", quiet=quiet) as server:
            holder = harness.start_load("hold", "--url", server.url(), "--sessions", sessions, "--file", tokens, quiet=quiet)
            held = holder.stdout.readline().decode().strip()
            if not quiet:
                say(held)
            server.kill()
            holder.communicate(timeout=harness.LOAD_SECONDS_MAX)
        with harness.Server("--io", io, data_dir=f"{data}/data", quiet=quiet) as server:
            report, good = harness.load(
                "resume", "--url", server.url(), "--file", tokens, "--server-pid", server.pid, quiet=quiet,
            )  # fmt: skip
    if good:
        report["server_cpu_ms"] = report["connect_server_cpu_ms"] + report["resume_server_cpu_ms"]
    return report, good


def flood(io, quiet, sessions=500, stall=False):
    """A client that calls, with nothing else going on and beside sessions that get broadcasts, which they read or do not."""
    server_core, load_core = harness.cores()
    with harness.Server("--io", io, "--shards", "1", core=server_core, quiet=quiet) as server:
        process = harness.start_load(
            "flood", "--url", server.url(), "--sessions", sessions, *(["--stall"] if stall else []),
            "--quiet-seconds", QUIET_SECONDS, "--seconds", FLOOD_SECONDS, "--rate", RATE, "--body", BODY_BYTES,
            "--server-pid", server.pid, core=load_core, quiet=quiet,
        )  # fmt: skip
        calls, report, answered = {}, {"errors": 1, "examples": ["broadcasts without a report"]}, True
        for line in process.stdout:
            said = json.loads(line)
            if "phase" not in said:
                report = said
                continue
            seconds = (FLOOD_SECONDS if said["phase"] == "flood" else QUIET_SECONDS) - 2
            calls[said["phase"]], good = harness.load(
                "rate", "--url", server.url(), "--call", "health", "--connections", 1, "--pipeline", CALLS_IN_FLIGHT_MAX,
                "--rate", CALLS_A_SECOND, "--seconds", seconds, "--server-pid", server.pid, core=load_core, quiet=quiet,
            )  # fmt: skip
            answered &= good
        good = process.wait(harness.LOAD_SECONDS_MAX) == 0 and not report["errors"]
    report["calls"] = calls
    report["answered"] = answered
    if good:
        report["grown_bytes"] = report["after"]["rss_bytes"] - report["connected"]["rss_bytes"]
    return report, good and answered and report["connections_lost"] == 0


MEASURES = {measure.__name__: measure for measure in (lanes, durable, fanout, resume, flood)}
