"""Scenarios of perf/scenarios as they are measured: which server a subject needs, and the words of its load."""

import sys
import tomllib

import harness
import rivalry

SCENARIOS = harness.ROOT / "perf" / "scenarios"


def chosen(names):
    """The scenarios that these names stand for, in the order of their files."""
    files = {file.stem: file for file in sorted(SCENARIOS.glob("*.toml"))}
    wanted = [stem for stem in files if not names or any(stem == name or stem.startswith(f"{name}-") for name in names)]
    for name in names:
        if not any(stem == name or stem.startswith(f"{name}-") for stem in wanted):
            sys.exit(f"no scenario is called {name}; there are {' '.join(files)}")
    return {stem: tomllib.loads(files[stem].read_text()) for stem in wanted}


def begin(scenario, subject, core):
    """The server that a subject is measured on; a scenario about several cores does not pin it to one."""
    core = core if scenario.get("pin", True) else None
    if (rival := subject.get("rival")) == "bytes":
        return rivalry.echo_of_bytes(core)
    if rival:
        return rivalry.start(rival, core)
    flags = subject.get("server", scenario.get("server", []))
    return harness.Server(*flags, core=core, quiet=True, huge_pages=scenario.get("huge_pages", True))


def command_of(scenario, subject, shape, server, seconds):
    """The words of the load."""
    words = [*subject["load"], "--url", server.at(subject.get("at")), "--server-pid", server.pid]
    for key, value in shape.items():
        words += [f"--{key.replace('_', '-')}", value]
    return [*words, "--seconds", seconds] if words[0] == "rate" else words


def fill(subject, server, core):
    """What a server has to hold before it is measured."""
    for words in subject.get("fill", []):
        report, good = harness.load(*words, "--url", server.at(subject["at"]), core=core, quiet=True)
        if not good:
            raise harness.Failure(f"{subject['name']} could not be filled: {report.get('examples', report)}")
