"""Rivals: how each is built below the cache, started on a free loopback port, and stopped.

perf/rivals/rivals.toml names them. A rival that cannot be had or built is reported, and the others go on.
"""

import functools
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import time
import tomllib

import harness
import machine

PLACE = harness.ROOT / "perf" / "rivals"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "tmws" / "rivals"

# Below the ports that the kernel gives to connections, so that none of those is in the way.
PORTS = range(20_000, 30_000)
PORT_TRIES_MAX = 100
START_SECONDS_MAX = 30
STOP_SECONDS_MAX = 5


def known():
    """Every rival by its name."""
    return tomllib.loads((PLACE / "rivals.toml").read_text())


def free_port():
    for port in random.sample(PORTS, PORT_TRIES_MAX):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise harness.Failure("no loopback port is free")


def installed(place, pins, install):
    """Runs `install` if this place was not made from these very pins."""
    mark = place / ".installed"
    if mark.exists() and mark.read_text() == pins:
        return
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    install()
    mark.write_text(pins)


@functools.cache
def build_workspace():
    """All Rust rivals at once: alone each would have its dependencies with other features, and build them anew."""
    # Cargo puts those back that are up to date; whatever is not there afterwards was not built from what is pinned now.
    for program in (CACHE / "release").glob("rival-*"):
        program.unlink()
    environment = {**os.environ, "CARGO_TARGET_DIR": str(CACHE)}
    manifest = PLACE / "Cargo.toml"
    command = ["cargo", "build", "--release", "--locked", "--keep-going", "--workspace", "--manifest-path", str(manifest)]
    harness.remember(command, ["CARGO_TARGET_DIR=rivals"])
    subprocess.run(command, env=environment)


def cargo(name, source):
    build_workspace()
    program = CACHE / "release" / f"rival-{name}"
    if not program.exists():
        raise FileNotFoundError(f"{program.name} was not built")
    return [str(program)]


def pip(name, source):
    place, pins = CACHE / name, source / "requirements.txt"
    python = place / "bin" / "python"

    def install():
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", pins], check=True)

    installed(place, pins.read_text(), install)
    return [str(python), str(source / "server.py")]


def npm(name, source):
    place = CACHE / name

    def install():
        for file in ("package.json", "package-lock.json"):
            shutil.copy(source / file, place)
        subprocess.run(["npm", "ci", "--silent", "--no-fund", "--no-audit"], check=True, cwd=place)

    installed(place, (source / "package-lock.json").read_text(), install)
    # Modules are looked for beside the program.
    shutil.copy(source / "server.mjs", place)
    return [str(place / "node_modules" / "node" / "bin" / "node"), str(place / "server.mjs")]


BUILDERS = {"cargo": cargo, "pip": pip, "npm": npm}


@functools.cache
def program(name):
    """The command of a rival without its address, or why there is none."""
    try:
        return BUILDERS[known()[name]["build"]](name, PLACE / name), None
    except (subprocess.CalledProcessError, OSError) as error:
        return None, f"could not be built: {error}"


def built(names):
    """Builds these, and gives their pinned versions."""
    versions = {}
    for name in sorted(names):
        command, missing = program(name)
        rival = known()[name]
        versions[name] = missing or rival["version"]
        if command and rival["build"] == "npm":
            versions[name] += f", node {machine.output_of(command[0], '--version')}"
    return versions


def said(command, surroundings):
    """The last words of what does not start. It is started once more for them: while it is measured they go nowhere, as
    some write a line for each request."""
    try:
        return harness.last_line(subprocess.run(command, stderr=subprocess.PIPE, timeout=STOP_SECONDS_MAX, **surroundings).stderr)
    except subprocess.TimeoutExpired as late:
        return harness.last_line(late.stderr or b"")


class Process:
    """A server of others, or the echo of bytes, on a free loopback port. Leaving the `with` block ends it."""

    def __init__(self, command, place, core):
        self.place = place
        self.address = f"127.0.0.1:{free_port()}"
        command = harness.pinned(core, [*command, self.address])
        harness.remember([word.replace(str(CACHE), "rivals") for word in command], ["PYTHONDONTWRITEBYTECODE=1"])
        surroundings = {
            "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "cwd": CACHE, "env": {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        }  # fmt: skip
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, **surroundings)
        self.pid = self.process.pid
        try:
            listens = self._listens()
        except BaseException:
            # No `with` block ends it yet.
            self.stop()
            raise
        if not listens:
            self.stop()
            raise harness.Failure(f"does not start: {said(command, surroundings)}")

    def _listens(self):
        host, port = self.address.split(":")
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                return True
            except OSError:
                time.sleep(0.05)
        return False

    def at(self, place):
        scheme, path = (place or self.place).split(":", 1)
        return f"{scheme}://{self.address}{path}"

    def stop(self):
        """Ends it, in whatever way; what it answers to a signal is not measured."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def start(name, core):
    """A rival, running; a Failure has the reason if there is none."""
    command, missing = program(name)
    if missing:
        raise harness.Failure(missing)
    return Process(command, known()[name]["at"], core)


def echo_of_bytes(core, *flags):
    """The plain TCP echo of the load: the kernel's own ceiling."""
    CACHE.mkdir(parents=True, exist_ok=True)
    _, load = harness.programs()
    return Process([load, "echo", *flags, "--address"], "tcp:/", core)
