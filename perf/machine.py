"""What a run has to say of the machine it ran on, and of what else ran there."""

import datetime
import hashlib
import os
import pathlib
import platform
import re
import resource
import subprocess
import tempfile

import harness

UNKNOWN = "unknown"
# Those by which a library chooses its code, of what the processor has.
FLAGS = ("sse4_2", "avx", "avx2", "fma", "bmi2", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_vbmi", "avx512_bf16",
         "amx_int8", "aes", "vaes", "sha_ni", "asimd", "asimddp", "i8mm", "sve")  # fmt: skip
# perf/load/echo.rs takes so many, whatever it is asked for.
OPEN_FILES_MIN = 16_384
# More than this beside a measurement takes something away from it.
BUSY = 0.5
IN_MEMORY = ("tmpfs", "ramfs")


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


def flags():
    """Of the first processor, as the others have the same."""
    found = re.search(r"^(?:flags|Features)\s*: (.*)$", text_of("/proc/cpuinfo"), re.MULTILINE)
    known = found[1].split() if found else []
    return [flag for flag in FLAGS if flag in known]


def filesystem(place):
    """What a directory lies on: the type of the mount that is nearest above it."""
    place, best = os.path.realpath(place), ("", UNKNOWN)
    for line in text_of("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        if not after:
            continue
        mount, kind = before.split()[4], after.split()[0]
        if len(mount) >= len(best[0]) and (place == mount or place.startswith(mount.rstrip("/") + "/")):
            best = (mount, kind)
    return best[1]


def binary(path):
    with open(path, "rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": os.path.getsize(path)}


def commit():
    return output_of("git", "rev-parse", "--short=10", "HEAD")


def surroundings():
    """Taken before anything is built."""
    memory = re.search(r"MemTotal:\s+(\d+)", text_of("/proc/meminfo"))
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "uncommitted_changes": output_of("git", "status", "--porcelain", "--untracked-files=no") not in ("", UNKNOWN),
        "processor": processor(),
        "processor_family_and_model": generation(),
        "processor_flags": flags(),
        "cores": sorted(os.sched_getaffinity(0)),
        "cores_of_server_and_load": harness.cores(),
        "memory_mib": int(memory[1]) // 1024 if memory else None,
        # Without the words of whoever built it.
        "kernel": platform.release().split("-")[0],
        "governor": text_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "threads_of_a_core": text_of("/sys/devices/system/cpu/smt/active"),
        "transparent_huge_pages": text_of("/sys/kernel/mm/transparent_hugepage/enabled"),
        "somaxconn": text_of("/proc/sys/net/core/somaxconn"),
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "data_filesystem": filesystem(tempfile.gettempdir()),
        "load_average_before_build": os.getloadavg(),
        "rustc": output_of("rustc", "--version"),
        "python": platform.python_version(),
        # A program that was built elsewhere may be of another commit.
        "server_built_here": "TMWS_BIN" not in os.environ,
        "load_built_here": "TMWS_LOAD" not in os.environ,
    }


def built():
    """Taken when everything is built, before the first measurement: what is measured, and what a build has left of itself."""
    server, load = harness.programs()
    return {"server": binary(server), "load": binary(load), "load_average": os.getloadavg()}


def complaints(environment):
    """What makes figures of this run worth less: said before it and in its summary, and refused by a strict one."""
    found = []
    if len(environment["cores"]) < 2:
        found.append("one core only: the server and the load share it")
    if (busy := environment["load_average_before_build"][0]) > BUSY:
        found.append(f"{busy:.1f} processes ran beside this one when it began: rates and latencies are worth little")
    if environment["governor"] not in ("performance", UNKNOWN):
        found.append(f"the governor of the clock is {environment['governor']}")
    if (files := environment["open_files"][1]) < OPEN_FILES_MIN:
        found.append(f"{files} open files are allowed, the plain TCP echo needs {OPEN_FILES_MIN} (ulimit -Hn)")
    if environment["data_filesystem"] in IN_MEMORY:
        found.append(f"the data lies in memory ({environment['data_filesystem']}): durable writes cost nothing (TMPDIR names another place)")
    for name, variable in (("server", "TMWS_BIN"), ("load", "TMWS_LOAD")):
        if not environment[f"{name}_built_here"]:
            found.append(f"the {name} was built elsewhere ({variable})")
    if environment["uncommitted_changes"]:
        found.append("the tree has changes that are not in the commit")
    return found


def host_class(environment):
    """A name for machines of one kind, for the name of a folder."""
    words = re.findall(r"[a-z0-9]+", environment["processor"].lower())[:3]
    if environment["processor_family_and_model"] != UNKNOWN:
        words.append(environment["processor_family_and_model"])
    return "-".join([*words, f"{len(environment['cores'])}c"])
