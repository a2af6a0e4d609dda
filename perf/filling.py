"""A store with many memories, and what each of them takes."""

import collections
import pathlib

import harness

CREATE = harness.ROOT / "perf" / "scenarios" / "messages" / "create.json"


class Filled(collections.namedtuple("Filled", "memories ram disk")):
    """How many memories there are, and bytes of each in the server and in its files."""

    def __str__(self):
        return f"{self.memories} memories: {self.ram:.0f} bytes of RAM and {self.disk:.0f} on disk each"


def anonymous_bytes(pid):
    """Memory of a process that is no file."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))


def fill(data, memories):
    """Stores at least that many in a data directory, through a server that is stopped afterwards."""
    with harness.Server("--io", "auto", data_dir=data) as server:
        stored, before = 0, anonymous_bytes(server.pid)
        while stored < memories:
            report = harness.load(
                "rate", "--url", server.url(), "--message", CREATE, "--connections", 64, "--pipeline", 4,
                "--seconds", 5, "--warmup-ms", 0,
            )  # fmt: skip
            stored += harness.needed("the store could not be filled", report)["messages"]
        ram = (anonymous_bytes(server.pid) - before) / stored
    disk = sum(file.stat().st_size for file in pathlib.Path(data).glob("tmws.db*")) / stored
    return Filled(stored, ram, disk)
