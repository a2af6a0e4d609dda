"""What a run has to say of the machine it ran on, and of what else ran there."""

import datetime
import os
import pathlib
import platform
import re
import resource
import subprocess

import harness

UNKNOWN = "unknown"


def text_of(path):
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return UNKNOWN


def output_of(*command):
    try:
        return subprocess.run(command, cwd=harness.ROOT, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN


def processor():
    for line in text_of("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def generation():
    """Family and model, which tell processors apart that a hypervisor gives one name."""
    found = dict(re.findall(r"^(cpu family|model)\s*: (\d+)$", text_of("/proc/cpuinfo"), re.MULTILINE))
    return "-".join(found[name] for name in ("cpu family", "model") if name in found) or UNKNOWN


def commit():
    return output_of("git", "rev-parse", "--short=10", "HEAD")


def environment():
    """Taken before the first measurement."""
    memory = re.search(r"MemTotal:\s+(\d+)", text_of("/proc/meminfo"))
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "uncommitted_changes": output_of("git", "status", "--porcelain", "--untracked-files=no") not in ("", UNKNOWN),
        "processor": processor(),
        "processor_family_and_model": generation(),
        "cores": sorted(os.sched_getaffinity(0)),
        "memory_mib": int(memory[1]) // 1024 if memory else None,
        # Without the words of whoever built it.
        "kernel": platform.release().split("-")[0],
        "governor": text_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "threads_of_a_core": text_of("/sys/devices/system/cpu/smt/active"),
        "transparent_huge_pages": text_of("/sys/kernel/mm/transparent_hugepage/enabled"),
        "somaxconn": text_of("/proc/sys/net/core/somaxconn"),
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "load_average": os.getloadavg(),
        "rustc": output_of("rustc", "--version"),
        # A program that was built elsewhere may be of another commit.
        "server_built_here": "TMWS_BIN" not in os.environ,
    }


def complaints(environment):
    """What makes figures of this run worth less; it is said in the summary, never held back."""
    found = []
    cores = len(environment["cores"])
    if cores < 2:
        found.append("one core only: the server and the load share it")
    if (busy := environment["load_average"][0]) > 0.5:
        found.append(f"{busy:.1f} processes ran beside this one when it began: rates and latencies are worth little")
    if environment["governor"] not in ("performance", UNKNOWN):
        found.append(f"the governor of the clock is {environment['governor']}")
    if environment["open_files"][1] < 10_100:
        found.append("10,000 connections need more open files")
    if not environment["server_built_here"]:
        found.append("the server was built elsewhere (TMWS_BIN)")
    if environment["uncommitted_changes"]:
        found.append("the tree had changes that are not in the commit")
    return found


def host_class(environment):
    """A name for machines of one kind, for the name of a folder."""
    words = re.findall(r"[a-z0-9]+", environment["processor"].lower())[:3]
    if environment["processor_family_and_model"] != UNKNOWN:
        words.append(environment["processor_family_and_model"])
    return "-".join([*words, f"{len(environment['cores'])}c"])
