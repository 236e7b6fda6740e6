"""Time from the command to the first step of training, with an empty and a full compilation cache.

    python -m benchmarks.compile --config configs/demo.py --output results.jsonl

Every round is `python -m stemsep.train` in a process of its own, for one step on a ready store,
which is made when it is missing: once with an empty cache of compiled programs, once with one that
has been filled. A line of JSON each: `median_s` from the command's start until the first step has
been done; of that `imported_s` until all is imported, and `compile_s` to compile the step or to
load it; `command_s` until the command ended, with its validation and its checkpoint.
"""

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import timer
from benchmarks.contestants import SHARED
from stemsep import parallel, train
from stemsep.config import Config, from_dict, to_dict
from stemsep.files import write_json
from stemsep.parallel import DataParallel

# The command itself, that tells when it has been imported and when its first step was done.
_COMMAND = """
import time
import jax
from stemsep import train
from stemsep.log import Log
imported = time.time()
step = Log.step
def first(log, done, metrics):
    jax.block_until_ready(metrics)
    print("times", imported, time.time(), flush=True)
    step(log, done, metrics)
Log.step = first
train.main()
"""


def compare(config: Config, *, repeats: int, output: str) -> None:
    """Train for one step with either cache in turns; a line each."""
    train.open_store(config, DataParallel(config.parallel))
    values = to_dict(config)
    values["train"] |= {"steps": 1, "save_every": 1, "log_every": 1, "validate_every": 0}
    config = from_dict(values)
    parts: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "config.json", to_dict(config))
        numbers = itertools.count()
        calls = {name: starting(Path(folder), numbers, parts[name], cold=name == "cold")
                 for name in parts}
        calls["warm"]()         # fills the cache
        parts["warm"].clear()
        taken = timer.take_turns(calls, repeats=repeats, warmup=0)
    facts = timer.machine("jax", "jaxlib", "flax", "orbax-checkpoint", "tensorstore")
    for name in taken:
        medians = {part: statistics.median(times[part] for times in parts[name])
                   for part in parts[name][0]}
        timer.write(output, {
            "benchmark": "compile", "who": "stemsep", "config": config.name, "cache": name,
            "batch": config.train.batch, "dtype": config.model.dtype,
            **timer.summary(taken[name]), **medians, **facts})


def starting(folder: Path, numbers: "itertools.count[int]", parts: list[dict[str, float]], *,
             cold: bool) -> Callable[[], float]:
    """Return a call that runs the command once, returns the seconds until its first step, and adds
    the seconds of its parts to `parts`. cold: with an empty cache.
    """
    def call() -> float:
        number = next(numbers)
        cache = folder / (f"cache{number}" if cold else "cache")
        workdir = folder / f"run{number}"
        begin_s = time.time()       # by the clock that processes share
        done = subprocess.run(
            [sys.executable, "-c", _COMMAND, f"--config={folder / 'config.json'}",
             f"--workdir={workdir}"], capture_output=True, text=True,
            env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)})
        end_s = time.time()
        if done.returncode:
            raise RuntimeError(f"the command failed: {done.stderr[-2000:]}")
        said = next(line for line in done.stdout.splitlines() if line.startswith("times"))
        imported_s, step_s = (float(text) - begin_s for text in said.split()[1:])
        known: dict[str, Any] = json.loads((workdir / "summary.json").read_text())
        parts.append({"imported_s": imported_s, "compile_s": known["step"]["compile_s"],
                      "command_s": end_s - begin_s})
        return step_s

    return call


def main(config: Config, *, repeats: int, output: str) -> None:
    """Run the benchmark."""
    os.environ.update(SHARED)       # this process and the command at the same time
    parallel.prepare()
    compare(config, repeats=repeats, output=output)


if __name__ == "__main__":
    timer.run(main, repeats=(5, "rounds of timing"))
