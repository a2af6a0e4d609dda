"""The folder of a run: what the machine was, what was done, every sample, and a summary that is made of nothing else.

    perf/runs/<date>-<host class>-<commit>/environment.json commands.txt samples.jsonl summary.md

One line of each run is added to perf/trend.jsonl. Figures of two runs compare only if their host class and the
load averages in them do.
"""

import json
import os
import statistics

import harness
import machine

RUNS = harness.ROOT / "perf" / "runs"
TREND = harness.ROOT / "perf" / "trend.jsonl"

# Of `load rate`: the first one is compared, the others stand beside it.
RATE_FIGURES = [
    ("server_cpu_ns_per_message", "server CPU, ns"),
    ("messages_per_second", "a second"),
    ("p50_us", "p50, us"),
    ("p99_us", "p99, us"),
    ("server_cpu_share", "server's core"),
    ("own_cpu_share", "load's core"),
    ("answer_bytes", "answer, bytes"),
]
# With its core this busy the load is what is measured.
SATURATED = 0.95


def figure(report, path):
    """A member of a report; a dot leads into another."""
    for name in path.split("."):
        report = report.get(name) if isinstance(report, dict) else None
    return report


def shown(value):
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


class Recording:
    """Samples as they come; the folder is written as the run goes, so that one that breaks off leaves what it saw."""

    def __init__(self, words):
        self.environment = machine.environment()
        host = machine.host_class(self.environment)
        self.name = f"{self.environment['date'][:10]}-{host}-{self.environment['commit']}"
        self.folder = RUNS / self.name
        number = 1
        while self.folder.exists():
            number += 1
            self.folder = RUNS / f"{self.name}-{number}"
        self.name = self.folder.name
        self.folder.mkdir(parents=True)
        self.words = words
        self.samples = []
        self.sections = []
        self.ceiling = ""
        self.trend = {}
        (self.folder / "environment.json").write_text(json.dumps(self.environment, indent=2) + "\n")

    def sample(self, scenario, subject, shape, number, report):
        line = {"scenario": scenario, "subject": subject, "shape": shape, "round": number, **report}
        self.samples.append(line)
        with open(self.folder / "samples.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")
        (self.folder / "commands.txt").write_text("\n".join(harness.commands) + "\n")

    def reports(self, scenario, subject, shape):
        wanted = (scenario, subject, shape)
        return [line for line in self.samples if (line["scenario"], line["subject"], line["shape"]) == wanted]

    def median(self, scenario, subject, shape, path):
        values = [figure(report, path) for report in self.reports(scenario, subject, shape)]
        values = [value for value in values if value is not None]
        return statistics.median(values) if values else None

    def set_ceiling(self, scenario, subject, shapes):
        parts = []
        for shape in shapes:
            cost = self.median(scenario, subject, shape, "server_cpu_ns_per_message")
            rate = self.median(scenario, subject, shape, "messages_per_second")
            self.trend[f"{scenario}/{subject}/{shape}"] = cost
            parts.append(f"{shape}: {shown(cost)} ns of CPU each, {shown(rate)} a second")
        self.ceiling = "The kernel's own loopback ceiling, a plain TCP echo of 103 bytes: " + "; ".join(parts) + "."
        return self.ceiling

    def section(self, name, scenario, absent, goals):
        """The table of a scenario, with every sample of its first figure."""
        figures = [tuple(pair) for pair in scenario.get("figures", RATE_FIGURES)]
        first, heading = figures[0]
        baseline = scenario.get("baseline")
        lines = [f"## {name}: {scenario['title']}", "", scenario["why"], ""]
        headings = ["subject", "shape", heading, "all rounds"]
        if baseline:
            headings.append(f"to {baseline}")
        headings += [title for _, title in figures[1:]]
        lines += ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
        for shape in shape_names(scenario):
            base = self.median(name, baseline, shape, first)
            for subject in scenario["subject"]:
                reports = self.reports(name, subject["name"], shape)
                if not reports:
                    continue
                value = self.median(name, subject["name"], shape, first)
                samples = " ".join(shown(figure(report, first)) for report in reports)
                cells = [subject["name"], shape, shown(value), samples]
                if baseline:
                    cells.append(f"{value / base:.2f}" if base and value is not None else "")
                cells += [shown(self.median(name, subject["name"], shape, path)) for path, _ in figures[1:]]
                if (self.median(name, subject["name"], shape, "own_cpu_share") or 0) >= SATURATED:
                    cells[-1] += " (the load is at its limit: rate and latency are its own)"
                lines.append("| " + " | ".join(cells) + " |")
                self.trend[f"{name}/{subject['name']}/{shape}"] = value
        lines.append("")
        lines += [f"- {subject}: {reason}" for subject, reason in absent]
        lines += [f"- {line}" for line in goals]
        self.sections.append("\n".join(lines) + "\n")
        return "\n".join(lines)

    def finish(self):
        """Writes the summary and the line of the trend."""
        before, after = self.environment["load_average"], os.getloadavg()
        head = [self.ceiling, "", f"`perf/run {' '.join(self.words)}`, {self.environment['date']}, commit {self.environment['commit']}, "
                f"{self.environment['processor']}, {len(self.environment['cores'])} cores, Linux {self.environment['kernel']}. "
                f"Load average {before[0]:.1f} before, {after[0]:.1f} after.", ""]  # fmt: skip
        for complaint in machine.complaints(self.environment):
            head.append(f"- {complaint}")
        (self.folder / "summary.md").write_text("\n".join([*head, "", *self.sections]))
        line = {
            "run": self.name, "date": self.environment["date"], "commit": self.environment["commit"],
            "load_average": [before[0], after[0]], "figures": self.trend,
        }  # fmt: skip
        with open(TREND, "a") as file:
            file.write(json.dumps(line) + "\n")


def shape_names(scenario):
    return [name_of(shape) for shape in shapes(scenario)]


def shapes(scenario):
    return scenario.get("shape", [{}])


def name_of(shape):
    """`64 x 16`, with the rate if there is one."""
    words = f"{shape['connections']} x {shape.get('pipeline', 1)}" if "connections" in shape else "as it is"
    return f"{words} at {shape['rate']}/s" if "rate" in shape else words
