"""A week of training in small: many tiny steps, and what memory they take.

    python -m benchmarks.long_run --steps 20000 --output results.jsonl

A tiny network trains on songs of noise, with a checkpoint and a validation of windows and songs
every 20th of the run; the resident memory of the process is read at each. One line of JSON tells
how much it grew after the first five of them, which checkpoints are left, and the share of time
that steps waited for their batches.
"""

import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from absl import flags

from benchmarks import timer
from stemsep import audio, command, parallel, train
from stemsep.config import Config

POINTS, SETTLED = 20, 5  # checkpoints of a run; those before memory has settled


def measure(steps: int, *, output: str) -> dict[str, Any]:
    """Train for so many steps; write the line, and return it."""
    with tempfile.TemporaryDirectory() as folder:
        config = tiny(Path(folder), steps)
        process, memory = psutil.Process(), list[int]()
        judged = train.judged

        def watched(*given: Any) -> Any:
            state = judged(*given)
            memory.append(process.memory_info().rss)
            return state

        train.judged = watched      # type: ignore[assignment]
        try:
            train.train(config, Path(folder) / "run")
        finally:
            train.judged = judged
        kept = sorted(int(path.name) for path in (Path(folder) / "run/checkpoints").glob("[0-9]*"))
        records = [json.loads(text) for text in
                   (Path(folder) / "run/log.jsonl").read_text().splitlines()]
    waits = [record["input_wait"] for record in records if "input_wait" in record]
    settled = memory[SETTLED:]
    line = {
        "benchmark": "long_run", "steps": steps, "memory_bytes": memory,
        "growth": max(settled) / settled[0] - 1, "checkpoints_kept": kept,
        "input_wait": statistics.mean(waits),
        "steps_per_s": statistics.median(r["steps_per_s"] for r in records if "steps_per_s" in r),
        **timer.machine("jax", "jaxlib", "orbax-checkpoint", "tensorstore"),
    }
    timer.write(output, line)
    return line


def tiny(folder: Path, steps: int) -> Config:
    """Return a run of a tiny network on songs of noise, which are written."""
    rng = np.random.default_rng(0)
    for split, songs in (("train", 4), ("validation", 2)):
        for song in range(songs):
            for stem in ("drums", "bass"):
                path = folder / "songs" / split / f"song{song}" / f"{stem}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                with audio.Writer(path, 8000, 1, bits=16, samples=16000) as file:
                    file.write(rng.uniform(-0.3, 0.3, (1, 16000)).astype(np.float32))
    c = Config(name="long_run")
    c.audio.sample_rate, c.audio.n_fft, c.audio.hop = 8000, 64, 32
    c.data.source, c.data.store = f"folders:{folder / 'songs'}", str(folder / "store")
    c.data.window_frames, c.data.workers = 16, 1
    c.model.name, c.model.widths, c.model.estimate = "strided", (4, 8), "mask"
    c.loss.terms, c.optim.ema_decay = {"complex_l1": 1.0}, 0.99
    c.train.steps, c.train.save_every = steps, max(1, steps // POINTS)
    c.train.batch, c.train.validate_windows, c.train.log_every = 2, 4, max(1, steps // POINTS // 10)
    return c.check()


def main(argv: list[str]) -> None:
    """Run the command."""
    command.no_arguments(argv)
    parallel.prepare()
    measure(flags.FLAGS.steps, output=flags.FLAGS.output)


if __name__ == "__main__":
    flags.DEFINE_integer("steps", 20000, "steps of the run", lower_bound=POINTS)
    flags.DEFINE_string("output", "", "file of JSON lines to append to")
    command.run(main)
