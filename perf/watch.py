"""Looks at a server from outside while it runs: memory, descriptors, threads, CPU, and its own metrics.

Nothing here asks the server for more than a scrape of `/metrics` every few seconds.
"""

import collections
import os
import pathlib
import re
import threading
import time
import urllib.request

SCRAPE_SECONDS_MAX = 10
MIB = 1 << 20
# name{labels} value, as the text format of Prometheus has it.
METRIC = re.compile(r"^tmws_(\w+)(?:\{(.*)\})? (\S+)$")


class Metrics:
    """One scrape; numbers of shards are added up."""

    def __init__(self, text):
        self.values = collections.defaultdict(float)
        for line in text.splitlines():
            if found := METRIC.match(line):
                name, labels, value = found.groups()
                kept = [label for label in (labels or "").split(",") if label and not label.startswith("shard=")]
                self.values[(name, ",".join(kept))] += float(value)

    def total(self, name):
        return sum(value for (known, _), value in self.values.items() if known == name)

    def by_label(self, name):
        return {labels: value for (known, labels), value in self.values.items() if known == name}


def scrape(api):
    with urllib.request.urlopen(f"http://{api}/metrics", timeout=SCRAPE_SECONDS_MAX) as answer:
        return Metrics(answer.read().decode())


def memory(pid):
    """Resident and anonymous bytes, as the kernel counts them."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    field = lambda name: int(re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)[1]) * 1024
    return field("Rss"), field("Anonymous")


def cpu_seconds(pid):
    words = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def stolen_seconds():
    """CPU that the host has given to others while this machine wanted it, of all cores."""
    words = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(words[8]) / os.sysconf("SC_CLK_TCK")


def look(pid, api):
    """One sample."""
    rss, anonymous = memory(pid)
    # Before the scrape, whose own connection the server may or may not have closed afterwards.
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    begun = time.monotonic()
    metrics = scrape(api)
    scraped = time.monotonic()
    waiting = metrics.values.get(("delivery_sessions", 'state="waiting"'), 0)
    return {
        "rss_mib": rss / MIB,
        "anonymous_mib": anonymous / MIB,
        "descriptors": descriptors,
        "threads": len(os.listdir(f"/proc/{pid}/task")),
        "cpu_seconds": cpu_seconds(pid),
        "scrape_seconds": scraped - begun,
        "stolen_seconds": stolen_seconds(),
        "connections": metrics.total("websocket_connections"),
        "sessions": metrics.total("sessions"),
        "sessions_waiting": waiting,
        "held_bytes": metrics.total("deliveries_held_bytes"),
    }


class Watch:
    """Takes samples on a thread of its own until it is stopped, and hands each to `keep`. `label` says what is going on.

    `late_seconds` is how late it ever woke up, which is the machine's doing and not the server's.
    """

    def __init__(self, pid, api, every, keep=lambda sample: None):
        self.keep = keep
        self.pid, self.api, self.every = pid, api, every
        self.samples, self.failures, self.looks = [], [], 0
        self.label = None
        self.late_seconds = 0.0
        self.start = time.monotonic()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        number = 0
        while not self.over.is_set():
            try:
                self._look()
            except Exception as error:
                # Whatever it is: a thread that dies of it would leave the rest unseen.
                self.failures.append(f"{self.label}: {error!r}")
            number += 1
            due = max(self.start + number * self.every, time.monotonic())
            if not self.over.wait(due - time.monotonic()):
                self.late_seconds = max(self.late_seconds, time.monotonic() - due)

    def _look(self):
        label = self.label
        sample = look(self.pid, self.api)
        self.looks += 1
        # A sample that was taken between two labels belongs to neither.
        if label == self.label and label is not None:
            self.samples.append({"at": time.monotonic() - self.start, **label, **sample})
            self.keep(self.samples[-1])

    def stop(self):
        self.over.set()
        self.looks_due = int((time.monotonic() - self.start) / self.every)
        self.thread.join(SCRAPE_SECONDS_MAX + 1)


def slope_per_hour(points):
    """Least squares of (seconds, value): how much the value grows in an hour."""
    count = len(points)
    mean_at = sum(at for at, _ in points) / count
    mean = sum(value for _, value in points) / count
    spread = sum((at - mean_at) ** 2 for at, _ in points)
    return 3_600 * sum((at - mean_at) * (value - mean) for at, value in points) / spread if spread else 0.0
