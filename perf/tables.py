"""The tables of `perf/run`: the samples of each scenario, their medians, and what was compared round by round.

A sample that was not right stands in its table as FAIL and in no median.
"""

import statistics

from recording import Folder

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


def shown_sample(sample, path):
    value = shown(figure(sample, path))
    if sample["good"]:
        return value
    return f"FAIL({value})" if value else "FAIL"


class Ratios:
    """One subject's figure to another's in each round. Rounds alternate, so both are of the same seconds, and what the
    machine was like in these seconds is in neither."""

    def __init__(self, values):
        self.median, self.least, self.greatest = statistics.median(values), min(values), max(values)

    def __str__(self):
        return f"{self.median:.2f} ({self.least:.2f} to {self.greatest:.2f})"


class Recording(Folder):
    """A folder with a table for each scenario."""

    def __init__(self, environment, options):
        super().__init__(environment, options)
        self.samples = []
        self.sections = []
        self.ceiling = ""
        self.trend = {}

    def add(self, scenario, subject, shape, number, report, good):
        line = {"scenario": scenario, "subject": subject, "shape": shape, "round": number, "good": good, **report}
        self.samples.append(line)
        self.sample(line)

    def of(self, scenario, subject, shape):
        wanted = (scenario, subject, shape)
        return [line for line in self.samples if (line["scenario"], line["subject"], line["shape"]) == wanted]

    def by_round(self, scenario, subject, shape, path):
        """The figure of each round that was right and has it."""
        values = {line["round"]: figure(line, path) for line in self.of(scenario, subject, shape) if line["good"]}
        return {number: value for number, value in values.items() if value is not None}

    def median(self, scenario, subject, shape, path):
        values = self.by_round(scenario, subject, shape, path).values()
        return statistics.median(values) if values else None

    def ratios(self, scenario, subject, base, shape, path):
        """None where no round has both."""
        ours, theirs = (self.by_round(scenario, name, shape, path) for name in (subject, base))
        values = [ours[number] / theirs[number] for number in ours if theirs.get(number)]
        return Ratios(values) if values else None

    def set_ceiling(self, scenario, subject, shapes, remarks):
        parts = []
        for shape in shapes:
            cost = self.median(scenario, subject, shape, "server_cpu_ns_per_message")
            rate = self.median(scenario, subject, shape, "messages_per_second")
            self.trend[f"{scenario}/{subject}/{shape}"] = cost
            measured = f"{shown(cost)} ns of CPU each, {shown(rate)} a second" if cost else "not measured"
            parts.append(f"{shape}: {measured}")
        self.ceiling = "The kernel's own loopback ceiling, a plain TCP echo of 103 bytes: " + "; ".join([*parts, *remarks]) + "."
        return self.ceiling

    def section(self, name, scenario, absent, goals):
        """The table of a scenario, with every sample of its first figure."""
        figures = [tuple(pair) for pair in scenario.get("figures", RATE_FIGURES)]
        first, heading = figures[0]
        baseline = scenario.get("baseline")
        lines = [f"## {name}: {scenario['title']}", "", scenario["why"], ""]
        headings = ["subject", "shape", heading, "all rounds"]
        if baseline:
            headings.append(f"to {baseline}, by round")
        headings += [title for _, title in figures[1:]]
        lines += ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
        for shape in shape_names(scenario):
            for subject in scenario["subject"]:
                samples = self.of(name, subject["name"], shape)
                if not samples:
                    continue
                value = self.median(name, subject["name"], shape, first)
                cells = [subject["name"], shape, shown(value), " ".join(shown_sample(sample, first) for sample in samples)]
                if baseline:
                    cells.append(str(self.ratios(name, subject["name"], baseline, shape, first) or ""))
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

    def close(self, failed):
        self.finish([self.ceiling, ""], self.sections, self.trend, failed)


def shape_names(scenario):
    return [name_of(shape) for shape in shapes(scenario)]


def shapes(scenario):
    return scenario.get("shape", [{}])


def name_of(shape):
    """`64 x 16`, with the rate if there is one."""
    words = f"{shape['connections']} x {shape.get('pipeline', 1)}" if "connections" in shape else "as it is"
    return f"{words} at {shape['rate']}/s" if "rate" in shape else words
