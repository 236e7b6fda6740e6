"""Time what a user waits for: songs separated by the command, and training with its input.

    python -m benchmarks.end_to_end --config configs/demo.py --output results.jsonl

`python -m stemsep.separate` separates a folder of songs, start, reading and writing included: a
line with songs an hour. They are stereo FLAC of noise at the model's rate, and the network has
random parameters: neither changes the time. `python -m stemsep.train` then trains for some steps
from its store, which is made when it is missing: a line with the steps a second of its log, and the
share of the time that they waited for their batches. The first compilation fills the cache before.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
from absl import flags

from benchmarks import timer
from benchmarks.contestants import SHARED
from benchmarks.separate import write_song
from stemsep import command, parallel, train
from stemsep.checkpoint.exported import Exported
from stemsep.checkpoint.exported import write as write_model
from stemsep.config import Config, from_dict, to_dict
from stemsep.estimate import make_estimator
from stemsep.files import write_json
from stemsep.parallel import DataParallel


def separate(config: Config, *, songs: int, song_s: float, repeats: int, output: str) -> None:
    """Separate a folder of songs by the command; a line."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        variables = make_estimator(config).init(jax.random.key(0), config.data.window_frames)
        write_model(folder / "model.safetensors",
                    Exported(config, variables, step=0, of="raw", scores={}, versions={}))
        (folder / "songs").mkdir()
        for number in range(songs):
            write_song(folder / "songs" / f"song{number}.flac", config, song_s)

        memory = list[int]()

        def call() -> None:
            shutil.rmtree(folder / "stems", ignore_errors=True)
            memory.append(run(
                "stemsep.separate", f"--checkpoint={folder / 'model.safetensors'}",
                f"--output={folder / 'stems'}", str(folder / "songs")))

        taken = timer.take_turns({"stemsep": call}, repeats=repeats, warmup=1)["stemsep"]
    times = timer.summary(taken)
    timer.write(output, {
        "benchmark": "end_to_end", "who": "stemsep", "what": "separate", "config": config.name,
        "songs": songs, "song_s": song_s, "channels": 2, "sample_rate": config.audio.sample_rate,
        "batch": config.separate.batch, "dtype": config.model.dtype, **times,
        "songs_per_hour": 3600 * songs / times["median_s"],
        "audio_s_per_s": songs * song_s / times["median_s"], "peak_memory_bytes": max(memory),
        **timer.machine("jax", "jaxlib", "flax", "soundfile")})


def training(config: Config, *, steps: int, output: str) -> None:
    """Train by the command; a line with what its log says of ten points or so."""
    train.open_store(config, DataParallel(config.parallel))
    values = to_dict(config)
    every = max(1, steps // 10)
    values["train"] |= {"steps": steps, "log_every": every, "save_every": steps,
                        "validate_every": 0}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_json(folder / "config.json", to_dict(from_dict(values)))
        memory = run("stemsep.train", f"--config={folder / 'config.json'}",
                     f"--workdir={folder / 'run'}")
        lines = [json.loads(text) for text in (folder / "run/log.jsonl").read_text().splitlines()]
    points = [line for line in lines if "input_wait" in line][1:]       # the first compiles
    times = timer.summary([1 / point["steps_per_s"] for point in points])
    timer.write(output, {
        "benchmark": "end_to_end", "who": "stemsep", "what": "train", "config": config.name,
        "steps": steps, "batch": config.train.batch, "dtype": config.model.dtype,
        "window_frames": config.data.window_frames, **times,
        "steps_per_s": 1 / times["median_s"],
        "audio_s_per_s": train.seconds_a_step(config) / times["median_s"],
        "peak_memory_bytes": memory,
        "input_wait": statistics.mean(point["input_wait"] for point in points),
        **measured(points), **timer.machine("jax", "jaxlib", "flax", "tensorstore")})


def measured(points: list[dict[str, Any]]) -> dict[str, float]:
    """Return TFLOP/s and the share of the peak of log points, those that they tell."""
    names = {"tflops": "tflops_per_s", "peak_share": "share_of_peak"}
    return {told: statistics.median(point[name] for point in points)
            for name, told in names.items() if all(name in point for point in points)}


def run(module: str, *arguments: str) -> int:
    """Run a command of ours to its end and return the most memory of its process, in bytes; raises
    RuntimeError with what it said when it fails.
    """
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([sys.executable, "-m", module, *arguments],
                                   stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"python -m {module} failed: {said.read()[-2000:]}")
    return usage.ru_maxrss * 1024       # Linux counts in KiB


def main(argv: list[str]) -> None:
    """Run the command."""
    command.no_arguments(argv)
    f = flags.FLAGS
    config = command.checked_config(f["config"])
    os.environ.update(SHARED)       # this process and the commands at the same time
    parallel.prepare()
    if f.songs:
        separate(config, songs=f.songs, song_s=f.song_s, repeats=f.repeats, output=f.output)
    if f.steps:
        training(config, steps=f.steps, output=f.output)


def define_flags() -> None:
    """Define the command's flags."""
    flags.DEFINE_integer("songs", 10, "songs of the folder; 0 leaves it out", lower_bound=0)
    flags.DEFINE_float("song_s", 180.0, "length of a song in seconds", lower_bound=0.01)
    flags.DEFINE_integer("repeats", 3, "rounds of separating the folder", lower_bound=1)
    flags.DEFINE_integer("steps", 300, "of training; 0 leaves it out", lower_bound=0)
    flags.DEFINE_string("output", "", "file of JSON lines to append to")
    command.define_config()


if __name__ == "__main__":
    define_flags()
    command.run(main, config=True)
