"""Time the batches of training beside the same windows read from HDF5, by h5py and by PyTorch's
DataLoader with as many workers as cores; warm and cold.

    python -m benchmarks.loader --config configs/drums.py --output results.jsonl

h5py comes with the extra `benchmark`. The windows are those of the first steps of a configuration,
with its batch; the store is made when it is missing. "Cold" is with the files dropped from the page
cache (Linux). With --train_steps it also trains, and tells which share of the time the steps
waited for their batches.
"""

import contextlib
import importlib.util
import itertools
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import timer
from stemsep import parallel, train
from stemsep.batches import Batches
from stemsep.config import Config, from_dict, to_dict
from stemsep.parallel import DataParallel
from stemsep.store import Store


def compare(config: Config, *, steps: int, repeats: int, output: str) -> None:
    """Read the batches of `steps` steps with each reader in turns, warm and cold; a line each."""
    devices = DataParallel(config.parallel)
    store = train.open_store(config, devices)
    batches = Batches(store, "train", config, devices)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:

        def ours(first: int) -> None:
            for _, batch in batches.stream(first, first + steps):
                pass

        readers: dict[str, Callable[[int], None]] = {"stemsep": ours}
        if importlib.util.find_spec("h5py") is None:
            print("h5py is not installed: it and PyTorch's DataLoader, which reads by it, are left "
                  "out")
        else:
            readers |= make_peers(store, batches, config, devices, steps, Path(name), stack)
        files = [*Path(name).iterdir(), *Path(config.store).rglob("c.*")]
        for cache, drop, begin in (("warm", [], 0), ("cold", files, 10**6)):
            calls = {who: rounds(read, begin, steps, drop) for who, read in readers.items()}
            seconds = timer.take_turns(calls, repeats=repeats, warmup=2)
            tell(config, batches, seconds, steps=steps, cache=cache, output=output)


def make_peers(store: Store, batches: Batches, config: Config, devices: DataParallel, steps: int,
               folder: Path, stack: contextlib.ExitStack) -> dict[str, Callable[[int], None]]:
    """Write the tracks into a folder as HDF5; return calls that read the batches of steps from
    there. stack: closes what they open.
    """
    from benchmarks.peers import hdf5  # only now: h5py may be missing

    paths = []
    for number, record in enumerate(batches.records):
        paths.append(folder / f"{number}.h5")
        whole = store.read(record, 0, record.frames, stems=range(len(store.spec.stems)))
        hdf5.write_array(paths[-1], whole.result(), chunk_frames=store.spec.chunk_frames)
    reader = stack.enter_context(contextlib.closing(hdf5.Reader(paths)))

    def read(first: int) -> None:
        for step in range(first, first + steps):
            devices.put({"stems": reader.batch(batches.ids(step), config.data.window_frames)})

    readers: dict[str, Callable[[int], None]] = {"h5py, gzip": read}
    if importlib.util.find_spec("torch") is None:
        print("torch is not installed: its DataLoader is left out")
    else:
        readers["torch DataLoader"] = through_workers(paths, batches, config, devices, steps)
    return readers


def through_workers(paths: list[Path], batches: Batches, config: Config, devices: DataParallel,
                    steps: int) -> Callable[[int], None]:
    """Return a call that reads the batches of steps by PyTorch's DataLoader."""
    from benchmarks.peers import torch_loader  # only now: PyTorch may be missing

    loader = torch_loader.Loader(paths, batches.ids, config.data.window_frames,
                                 workers=len(os.sched_getaffinity(0)))

    def read(first: int) -> None:
        for batch in loader.batches(first, first + steps):
            devices.put({"stems": batch})

    return read


def rounds(read: Callable[[int], None], begin: int, steps: int,
           drop: Sequence[Path]) -> Callable[[], None]:
    """Return a call that reads the next steps, after it dropped the files from the page cache.

    No two calls read the same windows: what a reader keeps from before helps it as in training.
    """
    following = itertools.count(begin, steps)

    def call() -> None:
        for path in drop:
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        read(next(following))

    return call


def tell(config: Config, batches: Batches, seconds: dict[str, list[float]], *, steps: int,
         cache: str, output: str) -> None:
    """Write a line for each reader."""
    facts = timer.machine("jax", "tensorstore", "h5py", "numpy", "torch")
    for who, taken in seconds.items():
        times = timer.summary(taken)
        per_s = steps / times["median_s"]
        timer.write(output, {
            "benchmark": "loader", "who": who, **timer.compared(seconds, who),
            "config": config.name, "cache": cache, "dtype": "float16",
            "batch": config.train.batch, "frames": config.data.window_frames, "steps": steps,
            **times, "batches_per_s": per_s, "windows_per_s": per_s * config.train.batch,
            "audio_s_per_s": per_s * train.seconds_a_step(config),
            "GB_per_s": per_s * batches.batch_bytes / 1e9, **facts})


def input_wait(config: Config, steps: int, *, output: str) -> None:
    """Train for some steps; a line with the share of the time that they waited for batches."""
    values = to_dict(config)
    values["train"] |= {"steps": steps, "log_every": max(1, steps // 10)}
    with tempfile.TemporaryDirectory() as folder:
        train.train(from_dict(values), folder)
        lines = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    points = [line for line in lines if "input_wait" in line][1:]       # the first compiles
    timer.write(output, {
        "benchmark": "input_wait", "config": config.name, "steps": steps,
        "input_wait": float(np.mean([point["input_wait"] for point in points])),
        "steps_per_s": float(np.mean([point["steps_per_s"] for point in points])),
        **timer.machine("jax", "tensorstore")})


def main(config: Config, *, train_steps: int, **settings: Any) -> None:
    """Run the benchmark."""
    parallel.prepare()
    compare(config, **settings)
    if train_steps:
        input_wait(config, train_steps, output=settings["output"])


if __name__ == "__main__":
    timer.run(main, steps=(50, "batches a round"), repeats=(10, "rounds of timing"),
              train_steps=(0, "steps of training; 0 leaves it out"))
