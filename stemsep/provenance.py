"""Where a run or a number comes from: the code, the versions, the machine, the command line."""

import datetime
import importlib.metadata
import json
import os
import platform
import re
import resource
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What decides the numbers of a run, beside its configuration.
PACKAGES = ("stemsep", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "tensorstore", "numpy")
STARTS = "run.jsonl"  # in a run's folder: one line for each time that it was started


def machine(*packages: str) -> dict[str, Any]:
    """Return what a run or a number depends on, apart from its devices: when it was, the processor,
    the versions of `packages`, the git revision. A package that is not installed has the version
    "".
    """
    return {
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "revision": revision(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def peak_memory_bytes() -> int:
    """Return the most memory that this process has used.

    The system's own count, where /proc has none, includes that of the process which started it.
    """
    status = Path("/proc/self/status")
    counted = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    if counted:
        return 1024 * int(counted[1])
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def note_start(workdir: Path, *, step: int, seed: int, devices: Mapping[str, Any]) -> dict:
    """Append to WORKDIR/run.jsonl what a run is started with, at which of its steps; returns it.

    A line is added each time that the run goes on, and none is ever changed. devices: as
    `DataParallel.facts` gives them.
    """
    facts = {
        "step": step, "seed": seed, **devices, **machine(*PACKAGES),
        "host": platform.node(), "folder": os.getcwd(), "command": shlex.join(sys.orig_argv),
    }
    path = workdir / STARTS
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as file:
        if file.tell():  # a killed run may have left half a line
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":
                file.write(b"\n")
        file.write(json.dumps(facts, ensure_ascii=False).encode() + b"\n")
    return facts


def version(package: str) -> str:
    """Return the version of an installed package, or ""."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def cpu_name() -> str:
    """Return the processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def revision(file: str | Path = __file__) -> str:
    """Return the git revision that a file is of, with a plus where its working tree differs.

    "" where the file is not under git: installed into an environment that lies in another project's
    working tree, it has not that project's revision.
    """
    file = Path(file)

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(file.parent), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", file.name)
        changed = "+" if git("status", "--porcelain") else ""
        return git("rev-parse", "--short=12", "HEAD") + changed
    except (OSError, subprocess.CalledProcessError):
        return ""
