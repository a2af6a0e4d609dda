"""Sessions that do not read while broadcasts go to them, beside a client that calls.

The caller runs three times: with nothing else going on, while the same number of sessions read the
same broadcasts, and while they do not read them. What readers cost is the work of the broadcasts; what
sessions that do not read cost beyond that must be memory only, and no more than their caps.
"""

import json

import harness
from harness import say

# src/config/limits.rs, of each session: what waits to be settled (WINDOW_BYTES_MAX), what waits for that
# (QUEUED_BYTES_MAX, the lanes), and the part of the first that its connection has yet to send.
CAP_BYTES = 3 << 20
QUIET_SECONDS, FLOOD_SECONDS = 5, 20
# A window is full after half of that, the lanes soon before its end, and the rest is dropped. Faster
# broadcasts measure how fast the kernel finds memory: what is sent and not read lies with it.
RATE, BODY_BYTES = 25, 4_096
# Latencies of single runs differ by that much on a machine that others use.
GOAL_RATIO = 1.5


def measure(options, io, verdict):
    sessions = options.sessions or 500
    reading, _ = flood(io, sessions, False, verdict)
    stalled, report = flood(io, sessions, True, verdict)
    name = f"{io}, beside {sessions} sessions that do not read"
    for which in ("p50_us", "p99_us"):
        ratio = stalled["flood"][which] / reading["flood"][which]
        verdict.goal(f"{name}: {which[:3]} of a call against readers", round(ratio, 2), GOAL_RATIO)
    for what, calls in (("reading", reading), ("stalled", stalled)):
        for phase, one in calls.items():
            say(f"      {what}, {phase}: call p50 {one['p50_us']:g} us, p99 {one['p99_us']:g} us, longest {one['max_us']:g} us")
    grown = report["after"]["rss_bytes"] - report["connected"]["rss_bytes"]
    mib = 1 << 20
    verdict.goal(f"{name}: memory beyond their connections", round(grown / mib), sessions * CAP_BYTES / mib, " MiB")
    verdict.demand(f"{name}: none of the connections was lost", report["connections_lost"] == 0)


def flood(io, sessions, stall, verdict):
    """Latencies of the caller by phase, and the report of the broadcasts."""
    server_core, load_core = harness.cores()
    with harness.Server("--io", io, "--shards", "1", core=server_core) as server:
        process = harness.start_load(
            "flood", "--url", server.url(), "--sessions", sessions, *(["--stall"] if stall else []),
            "--quiet-seconds", QUIET_SECONDS, "--seconds", FLOOD_SECONDS, "--rate", RATE, "--body", BODY_BYTES,
            "--server-pid", server.pid, core=load_core,
        )  # fmt: skip
        calls, report = {}, None
        for line in process.stdout:
            said = json.loads(line)
            if "phase" not in said:
                report = said
                continue
            seconds = (FLOOD_SECONDS if said["phase"] == "flood" else QUIET_SECONDS) - 2
            calls[said["phase"]], content = harness.load(
                "rate", "--url", server.url(), "--call", "health", "--connections", 1, "--pipeline", 1,
                "--seconds", seconds, "--server-pid", server.pid, core=load_core,
            )  # fmt: skip
            verdict.demand(f"{io}: every call was answered ({said['phase']})", content)
        good = process.wait(harness.LOAD_SECONDS_MAX) == 0
    say(report)
    what = "do not read" if stall else "read"
    got = f"{report['healthy_read']} of {report['broadcasts']} reached the one that always reads"
    verdict.demand(f"{io}, {sessions} sessions {what}: {got}, p99 {report['p99_us'] / 1e3:g} ms", good)
    return calls, report
