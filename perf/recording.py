"""The folder of a run: what the machine was, what was done, every sample, and a summary that is made of nothing else.

    perf/runs/<date>-<host class>-<commit>/environment.json commands.txt samples.jsonl summary.md

One line of each run is added to perf/trend.jsonl. Figures of two runs compare only if their host class and the
load averages in them do. `perf/run` always writes one (tables.py makes its summary), the other scripts with --record.
"""

import contextlib
import json
import os
import pathlib
import shlex
import sys

import harness
import machine
from harness import say

# What the commands do not say of themselves.
COMMANDS_HEAD = """\
# What a command does not set in its environment is as the caller has it. SCRATCH is a directory of each server's own, in which it
# also runs; rivals and the plain TCP echo run in `rivals`, which is below the cache. Ports and process ids are those of this run.
"""

RUNS = harness.ROOT / "perf" / "runs"
TREND = harness.ROOT / "perf" / "trend.jsonl"


def place(text):
    """A path that stays the same wherever the script goes."""
    return pathlib.Path(text).resolve()


def arguments(description, always=False):
    """The parser of a script whose runs are written down, always or when it is asked for."""
    parser = harness.arguments(description)
    if not always:
        parser.add_argument("--record", action="store_true", help="write the run into perf/runs and perf/trend.jsonl, as --out does elsewhere")
    parser.add_argument("--out", type=place, metavar="DIR", help="write it below DIR instead, DIR/trend.jsonl included")
    parser.add_argument("--note", type=place, metavar="FILE", help="text for the summary: what was tried and did not help")
    return parser


def environment_of(options, build_rivals=dict):
    """What this machine is and what is measured on it. First of all what makes its figures worth less is said; a strict run
    does not even build then."""
    environment = machine.surroundings()
    found = machine.complaints(environment)
    for complaint in found:
        say("      beware:", complaint)
    if found and options.strict:
        sys.exit("a strict run is not begun like this")
    rivals = build_rivals()
    return environment | machine.built() | ({"rivals": rivals} if rivals else {})


class Folder:
    """Samples as they come; the folder is written as the run goes, so that one that breaks off leaves what it saw."""

    def __init__(self, environment, options):
        self.environment = environment
        self.command = harness.plain(shlex.join([f"perf/{os.path.basename(sys.argv[0])}", *sys.argv[1:]]))
        self.note = options.note.read_text().strip() if options.note else ""
        self.trend_file = options.out / TREND.name if options.out else TREND
        name = f"{environment['date'][:10]}-{machine.host_class(environment)}-{environment['commit']}"
        self.folder, number = (options.out or RUNS) / name, 1
        while self.folder.exists():
            number += 1
            self.folder = self.folder.with_name(f"{name}-{number}")
        self.folder.mkdir(parents=True)
        (self.folder / "environment.json").write_text(json.dumps(environment, indent=2) + "\n")

    def sample(self, line):
        with open(self.folder / "samples.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")
        self.write_commands()

    def write_commands(self):
        (self.folder / "commands.txt").write_text(COMMANDS_HEAD + "\n".join(harness.commands) + "\n")

    def finish(self, opening, sections, figures, failed):
        """Writes the summary and the line of the trend."""
        self.write_commands()
        here = self.environment
        first, before, after = here["load_average_before_build"], here["load_average"], os.getloadavg()
        head = [
            *opening,
            f"`{self.command}`, {here['date']}, commit {here['commit']}, {here['processor']}, {len(here['cores'])} cores, "
            f"Linux {here['kernel']}. Load average {first[0]:.1f} before the build, {before[0]:.1f} after it, {after[0]:.1f} in the end.",
            "", *(f"- {complaint}" for complaint in machine.complaints(here)), "",
        ]  # fmt: skip
        if failed:
            head += ["**FAIL**: not everything was as it has to be.", ""]
        if self.note:
            head += [self.note, ""]
        (self.folder / "summary.md").write_text("\n".join([*head, *sections]))
        line = {
            "run": self.folder.name, "date": here["date"], "commit": here["commit"], "command": self.command,
            "failed": failed, "load_average": [before[0], after[0]], "figures": figures,
        }  # fmt: skip
        with open(self.trend_file, "a") as file:
            file.write(json.dumps(line) + "\n")
        say("written:", os.path.relpath(self.folder))


@contextlib.contextmanager
def verdict_of(options):
    """The verdict of a script. Leaving the `with` block ends the script, and writes it down if it is asked for: also what
    breaks off."""
    environment = environment_of(options)
    verdict = harness.Verdict(options.strict)
    verdict.folder = Folder(environment, options) if options.record or options.out else None
    if verdict.folder:
        harness.keepers.append(verdict.folder.sample)
    try:
        yield verdict
    except (harness.Failure, SystemExit) as failure:
        verdict.demand(str(failure), False)
    except BaseException as error:
        if not isinstance(error, KeyboardInterrupt):
            verdict.demand(f"broke off: {error!r}", False)
            raise
        verdict.demand("stopped before its end", False)
    finally:
        say("$", *sys.argv)
        if verdict.folder:
            verdict.folder.finish([], printed(), verdict.figures, verdict.failed)
    verdict.exit()


def printed():
    """The verdict and the whole output, as sections of a summary."""
    lines = [harness.plain(line) for line in harness.lines]
    judged = [line for line in lines if line.startswith(("PASS", "MISS", "FAIL"))]
    return ["## Verdict", "", *(f"- {line}" for line in judged), "", "## Output", "", "```text", *lines, "```", ""]
