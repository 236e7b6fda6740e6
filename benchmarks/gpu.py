"""The figures of an accelerator in one call: the other benchmarks at real sizes, the most important
first, for as long as --budget_s allows.

    python -m benchmarks.gpu --output results.jsonl [--parts=separate,compile]

Each job is a command of its own, so what fails or runs out of memory costs only itself, and is left
out with a word; so is what there is no time for, which another call with --parts does. A job begins
when as much time is left as the longest of its part has taken, and is ended when time is up. Train
steps in bfloat16 stand beside PyTorch compiled under autocast, those in float32 beside PyTorch in
channels_last, at each of --batches in their order. What reads a store reads one of noise, which is
made first: it needs no songs and none of the packages that make them.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import flags

from benchmarks import train_step
from benchmarks.contestants import SHARED
from stemsep import command, preprocess
from stemsep.config import Config, from_dict, to_dict
from stemsep.errors import InputError
from stemsep.files import write_json
from stemsep.store import Store

# The parts in their order, and the share of the budget after which each makes room for the next.
PARTS = {"train_step": 0.45, "inference": 0.55, "separate": 1.0, "operations": 1.0, "loader": 1.0,
         "end_to_end": 1.0, "scaling": 1.0, "compile": 1.0}
DRUMS = Path(__file__).parents[1] / "configs" / "drums.py"      # unless --config says another one
PEERS = {"bfloat16": "torch_compile_amp", "float32": "torch_channels_last"}


@dataclass(frozen=True)
class Sizes:
    """How large the work is. window: frames x bins x channels of the networks' input. widths: of
    all networks; empty: the usual ones.
    """

    batches: tuple[int, ...] = (64, 16, 256, 1, 4, 32, 128, 2, 8)
    window: str = "128x512x1"
    widths: str = ""
    repeats: int = 10
    song_s: float = 180.0
    songs: int = 4
    steps: int = 300


@dataclass(frozen=True)
class Job:
    """A command: of which part, python -m benchmarks.`module`, and its flags."""

    part: str
    module: str
    flags: tuple[str, ...]

    def __str__(self) -> str:
        told = [flag for flag in self.flags if not flag.startswith(("--config=", "--output="))]
        return " ".join([self.module, *told])


def jobs(config: Path, sizes: Sizes, output: str) -> Iterator[Job]:
    """Yield all that there is to do, the parts in their order and the most important first."""
    def job(part: str, *given: str, module: str = "") -> Job:
        return Job(part, module or part, (*given, *([f"--output={output}"] if output else [])))

    for part, batches, more in (("train_step", sizes.batches, ()),
                                ("inference", sizes.batches[:2], ("--inference",))):
        for batch in batches:
            for dtype, peer in PEERS.items():
                for model in train_step.WIDTHS:
                    yield job(part, *more, f"--model={model}", f"--dtype={dtype}",
                              f"--peers={peer}", f"--shapes={batch}x{sizes.window}",
                              f"--widths={sizes.widths}", f"--repeats={sizes.repeats}",
                              module="train_step")
    drums, half = f"--config={config}", "--config.model.dtype=bfloat16"
    song = (f"--song_s={sizes.song_s}",)
    for more in ((half,), ("--peers=torch_channels_last",)):
        yield job("separate", drums, *more, *song, "--repeats=3", "--minutes=")
    full = f"--config.train.batch={sizes.batches[0]}"
    yield job("operations", drums, half, full)
    yield job("loader", drums, "--steps=20", "--repeats=3")
    yield job("end_to_end", drums, half, "--songs=0", f"--steps={sizes.steps}")
    yield job("end_to_end", drums, half, *song, f"--songs={sizes.songs}", "--repeats=1",
              "--steps=0")
    yield job("scaling", drums, half, full, f"--repeats={sizes.repeats}")
    yield job("compile", drums, half, "--repeats=1")


def measure(config: Config, sizes: Sizes, *, parts: list[str], budget_s: float,
            output: str) -> list[str]:
    """Do the jobs of these parts while there is time; returns in words what was left out."""
    begin_s = time.monotonic()
    longest_s: dict[str, float] = {}
    left_out = []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "config.json"
        write_json(path, to_dict(with_noise(config, Path(name), song_s=sizes.song_s)))
        for job in jobs(path, sizes, output):
            if job.part not in parts:
                continue
            # The parts after the last one asked for need no room.
            share = 1.0 if job.part == parts[-1] else PARTS[job.part]
            started_s = time.monotonic()
            left_s = begin_s + share * budget_s - started_s
            if left_s <= longest_s.get(job.part, 0.0):
                problem = "no time is left"
            else:
                problem = run(job, timeout_s=left_s)
            taken_s = time.monotonic() - started_s
            longest_s[job.part] = max(taken_s, longest_s.get(job.part, 0.0))
            if problem:
                left_out.append(f"{job}: {problem}")
            else:
                print(f"{job}: done in {taken_s:.0f} s", flush=True)
    return left_out


def run(job: Job, *, timeout_s: float) -> str:
    """Run a job and print what it says, but for its lines of JSON; returns why it failed, or "".
    """
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as wrong:
        process = subprocess.Popen([sys.executable, "-m", f"benchmarks.{job.module}", *job.flags],
                                   stdout=said, stderr=wrong, start_new_session=True)
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            with contextlib.suppress(ProcessLookupError):   # contestants of its own too
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(0)
        for line in said:
            if not line.startswith("{"):
                print(line, end="", flush=True)
        if status is None:
            return f"not done in the {timeout_s:.0f} s that were left"
        wrong.seek(0)
        words = wrong.read().strip().splitlines()
    return "" if status == 0 else f"failed: {words[-1] if words else f'status {status}'}"


def with_noise(config: Config, folder: Path, *, song_s: float) -> Config:
    """Return the configuration with a store of noise, made in a folder, in place of its source."""
    values = to_dict(config)
    values["data"] |= {"source": f"folders:{folder / 'songs'}", "store": str(folder / "store")}
    changed = from_dict(values)
    store = Store.create(changed.store, preprocess.store_spec(changed))
    rng = np.random.default_rng(0)
    shape = (changed.audio.channels, round(song_s * changed.audio.sample_rate))
    for number, split in enumerate(("train", "train", "train", "train", "validation")):
        waves = [[rng.normal(0, 0.1, shape).astype(np.float32)] for _ in changed.stems]
        store.write_track(split, f"noise{number}", samples=shape[1], waves=waves, sources={})
    return changed


def main(argv: list[str]) -> None:
    """Run the command."""
    command.no_arguments(argv)
    f = flags.FLAGS
    config = command.checked_config(f["config"])
    if unknown := sorted(set(f.parts) - set(PARTS)):
        raise InputError(f"--parts {','.join(unknown)}: choose of {', '.join(PARTS)}")
    if not all(text.isdigit() and int(text) for text in f.batches):
        raise InputError(f"--batches {','.join(f.batches)}: write numbers, as 64,16,256")
    train_step.parse_shape(f"1x{f.window}")
    os.environ.update(SHARED)       # several processes at the same time
    sizes = Sizes(tuple(map(int, f.batches)), f.window, ",".join(f.widths), f.repeats, f.song_s,
                  f.songs, f.steps)
    parts = [part for part in PARTS if part in f.parts or not f.parts]
    left_out = measure(config, sizes, parts=parts, budget_s=f.budget_s, output=f.output)
    for words in left_out:
        print(f"left out: {words}")


def define_flags() -> None:
    """Define the command's flags."""
    usual = Sizes()
    flags.DEFINE_list("parts", [], f"what to measure: some of {', '.join(PARTS)}; empty: all")
    flags.DEFINE_float("budget_s", 480.0, "seconds after which the rest is left out", lower_bound=1)
    flags.DEFINE_list("batches", list(map(str, usual.batches)), "of the networks, in this order")
    flags.DEFINE_string("window", usual.window, "frames x bins x channels of the networks")
    flags.DEFINE_list("widths", [], "channels of the networks' levels; empty: the usual ones")
    flags.DEFINE_integer("repeats", usual.repeats, "rounds of timing", lower_bound=1)
    flags.DEFINE_float("song_s", usual.song_s, "length of a song in seconds", lower_bound=0.1)
    flags.DEFINE_integer("songs", usual.songs, "that a command separates", lower_bound=1)
    flags.DEFINE_integer("steps", usual.steps, "of training with its input", lower_bound=1)
    flags.DEFINE_string("output", "", "file of JSON lines to append to")
    command.define_config(str(DRUMS))


if __name__ == "__main__":
    define_flags()
    command.run(main, config=True)
