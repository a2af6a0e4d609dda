"""What the measuring scripts share: the two programs, a server on free ports, the verdict.

TMWS_BIN and TMWS_LOAD name programs that are built already; otherwise cargo builds them.
"""

import argparse
import ctypes
import functools
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent

START_SECONDS_MAX = 30
# Between two looks whether a server listens: what `perf/start` measures is off by half of it.
LOOK_SECONDS = 0.0001
STOP_SECONDS_MAX = 15
# The longest scenario has its own limits, all below this one.
LOAD_SECONDS_MAX = 900

# Every command and every printed line of a measurement, in their order, for whoever writes them down; and whoever takes
# each sample as it comes.
commands, lines, keepers = [], [], []


class Failure(RuntimeError):
    """Something that is measured did not start or did not work; says so in words for the summary."""


def built(variable, *cargo):
    """Path of a program: from the environment, or built."""
    if path := os.environ.get(variable):
        commands.append(f"# {'load' if cargo else 'tmws'} was built elsewhere ({variable}), environment.json has its sum")
        return path
    command = ["cargo", "build", "--release", *cargo]
    commands.append(shlex.join(command))
    subprocess.run(command, cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    return str(target / ("examples/load" if cargo else "tmws"))


@functools.cache
def programs():
    """The server and the load. Both are built before the first of them starts, so that no build runs beside a
    measurement, and none for who asks for `--help`."""
    return built("TMWS_BIN"), built("TMWS_LOAD", "--example", "load")


def arguments(description):
    """The parser of a script; every script can turn a missed goal into a failure, and stops what it started when it is stopped."""
    stoppable()
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--strict", action="store_true", help="a missed goal is a failure too")
    return parser


def stoppable():
    """Makes a stop by an operator an interruption like Ctrl-C, and that one where a shell has its background jobs ignore it."""
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, signal.default_int_handler)


def core_of(cpu):
    """What the threads of one core have in common; each is a core of its own where the kernel does not say."""
    try:
        return pathlib.Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return cpu


def cores():
    """A CPU for the server and one for the load, or None where there is only one. Two threads of one core would slow
    each other down, so they are of two cores where there are two."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        return None, None
    return [first, next((other for other in others if core_of(other) != core_of(first)), others[0])]


def pinned(core, command):
    return command if core is None else ["taskset", "-c", str(core), *command]


def remember(command, environment=(), note=""):
    """Keeps a command, with the words of `env` that made its environment, but without what differs from run to run and
    from machine to machine."""
    line = plain(shlex.join([*(["env", *environment] if environment else []), *command]))
    commands.append(line + (f"  # {note}" if note else ""))


def plain(line):
    """A line without the places of this machine."""
    server, load = programs()
    for place, name in ((server, "tmws"), (load, "load"), (f"{ROOT}/", "")):
        line = line.replace(place, name)
    return line


def keep(sample):
    """Hands a sample to whoever writes them down."""
    for keeper in keepers:
        keeper(sample)


def say(*words):
    lines.append(" ".join(map(str, words)))
    print(*words, flush=True)


def without_huge_pages():
    """For a child between fork and exec: its memory comes in pages of 4 KiB, touched ones only."""
    pr_set_thp_disable = 41
    ctypes.CDLL(None).prctl(pr_set_thp_disable, 1, 0, 0, 0)


class Server:
    """A server on free loopback ports. Leaving the `with` block stops it."""

    def __init__(self, *flags, data_dir=None, core=None, huge_pages=True, quiet=False):
        self.scratch = tempfile.TemporaryDirectory(prefix="tmws-perf-")
        self.log = pathlib.Path(self.scratch.name) / "log"
        data_dir = data_dir or str(pathlib.Path(self.scratch.name) / "data")
        server, _ = programs()
        command = [server, "--data-dir", data_dir, "--api-port", "0", "--ws-port", "0", "--log-format", "json", *flags]
        if not quiet:
            say("$", shlex.join(pinned(core, command)), "" if huge_pages else "# without huge pages")
        # Its configuration is the command line: no variables of the caller's, no tmws.toml of this directory.
        stripped = sorted(name for name in os.environ if name.startswith("TMWS_"))
        environment = {name: value for name, value in os.environ.items() if name not in stripped}
        # What is measured here is not embedding; a flag outranks it.
        environment["TMWS_EMBEDDING_MODEL"] = "none"
        remember(
            [word.replace(self.scratch.name, "SCRATCH") for word in pinned(core, command)],
            [*(word for name in stripped for word in ("-u", name)), "TMWS_EMBEDDING_MODEL=none"],
            "" if huge_pages else "prctl(PR_SET_THP_DISABLE, 1) before exec",
        )  # fmt: skip
        self.started = time.monotonic()
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                pinned(core, command), stderr=log, stdin=subprocess.DEVNULL, env=environment, cwd=self.scratch.name,
                preexec_fn=None if huge_pages else without_huge_pages,
            )  # fmt: skip
        self.pid = self.process.pid
        try:
            listening = self._wait_for_listening(self.started + START_SECONDS_MAX)
        except BaseException:
            # No `with` block stops it yet.
            self.process.kill()
            self.process.wait()
            self.scratch.cleanup()
            raise
        self.start_ms = (time.monotonic() - self.started) * 1e3
        self.ws, self.io, self.shards = listening["ws"], listening["io"], listening["shards"]
        self.api = listening["api"]

    def _wait_for_listening(self, deadline):
        while time.monotonic() < deadline and self.process.poll() is None:
            for line in self.log.read_text().splitlines(keepends=True):
                # What it says before it has a log is no JSON.
                if line.startswith("{") and line.endswith("\n") and json.loads(line).get("message") == "listening":
                    return json.loads(line)
            time.sleep(LOOK_SECONDS)
        raise Failure(f"the server does not start:\n{self.log.read_text()}")

    def url(self, path="/"):
        return f"ws://{self.ws}{path}"

    def at(self, place):
        """The address of `ws:/PATH` or `http:/PATH`."""
        scheme, path = place.split(":", 1)
        return f"{scheme}://{self.ws if scheme == 'ws' else self.api}{path}"

    def kill(self):
        commands.append(f"# SIGKILL to the server {self.pid}")
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Stops the server as an operator does; True if it ended by itself and without error."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS_MAX) == 0
        except subprocess.TimeoutExpired:
            self.kill()
            return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.scratch.cleanup()


@functools.cache
def backend():
    """How sockets are best driven here: io_uring where the system allows it."""
    with Server("--io", "auto", quiet=True) as server:
        return server.io


def start_load(*words, core=None, quiet=False, nice=0):
    _, load = programs()
    command = pinned(core, [load, *map(str, words)])
    if nice:
        command = ["nice", "-n", str(nice), *command]
    remember(command)
    if not quiet:
        say("$", shlex.join(command))
    # It says a line at most before it gives up, so a pipe that nobody reads does not hold it up.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    process.remembered = commands[-1]
    return process


def last_line(text):
    return (text.decode(errors="replace").strip().splitlines() or ["nothing was said"])[-1]


def report_of(process):
    """The line that the load has printed, and whether it was content. A load without a report has failed, and this is in
    the report that stands for it: who measures for an hour goes on."""
    try:
        output, said = process.communicate(timeout=LOAD_SECONDS_MAX)
        report = json.loads(output.decode().splitlines()[-1])
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        report = {"errors": 1, "examples": ["the load does not end"]}
    except (IndexError, ValueError):
        report = {"errors": 1, "examples": [f"the load ended with {process.returncode} and without a report: {last_line(said)}"]}
    except BaseException:
        # Whoever stops this script is not to find the load still running.
        process.kill()
        raise
    # Not every load that has seen an error ends with one.
    content = process.returncode == 0 and not report.get("errors")
    keep({"command": process.remembered, "good": content, **report})
    return report, content


def load(*words, core=None, quiet=False):
    return report_of(start_load(*words, core=core, quiet=quiet))


def needed(what, outcome):
    """The report of a load without which a script cannot go on."""
    report, content = outcome
    if not content:
        raise Failure(f"{what}: {report.get('examples', report)}")
    return report


class Verdict:
    """Collects goals; the exit code of a script."""

    def __init__(self, strict):
        self.strict = strict
        self.failed = False
        # What the goals are for, by its words.
        self.figures = {}

    def goal(self, what, value, at_most, unit=""):
        """A figure: it varies with the machine, so a miss fails only a strict run."""
        met = value <= at_most
        self.figures[what] = value
        self.failed |= self.strict and not met
        say(f"{'PASS' if met else 'MISS'}  {what}: {value:g}{unit}, goal at most {at_most:g}{unit}")

    def rate(self, what, value, at_least, unit=""):
        """The same where more is better."""
        met = value >= at_least
        self.figures[what] = value
        self.failed |= self.strict and not met
        say(f"{'PASS' if met else 'MISS'}  {what}: {value:g}{unit}, goal at least {at_least:g}{unit}")

    def demand(self, what, holds):
        """A function of the server: it holds on every machine."""
        self.failed |= not holds
        say(f"{'PASS' if holds else 'FAIL'}  {what}")

    def exit(self):
        sys.exit(1 if self.failed else 0)
