"""Time how chunks, shards and codecs read and write: where the store's defaults come from.

    python -m benchmarks.store_layout --config configs/drums.py --output results.jsonl

The tracks are those of the configuration's store, made when it is missing. Every layout holds the
same spectrograms, and windows at random places are read from it, one stem each, as training does.
"""

import functools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts

from benchmarks import timer
from stemsep import preprocess
from stemsep.batches import window_ids
from stemsep.config import Config
from stemsep.store import Store, StoreSpec
from stemsep.store.arrays import array_spec

_LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
_CHECKSUM = {"name": "crc32c"}


def blosc(name: str) -> dict[str, Any]:
    return {"name": "blosc", "configuration": {"cname": name, "clevel": 5, "shuffle": "bitshuffle",
                                               "typesize": 2, "blocksize": 0}}


CODECS: dict[str, tuple[dict[str, Any], ...]] = {
    "none": (_LITTLE,),
    "crc32c": (_LITTLE, _CHECKSUM),
    "blosc lz4 bitshuffle": (_LITTLE, blosc("lz4")),
    "blosc zstd bitshuffle": (_LITTLE, blosc("zstd")),
    "zstd 3": (_LITTLE, {"name": "zstd", "configuration": {"level": 3}}),
}
# (frames a chunk, frames a shard, codec): each varied by itself around the defaults.
LAYOUTS = (
    *((frames, 4096, "none") for frames in (8, 16, 32, 64, 128)),
    *((32, frames, "none") for frames in (512, 16384)),
    *((32, 4096, codec) for codec in CODECS if codec != "none"),
)


class Copy:
    """The tracks of a store in another layout."""

    def __init__(self, folder: Path, spec: StoreSpec, codec: str, tracks: Sequence[Any]) -> None:
        self._folder, begin_s = folder, time.perf_counter()
        self._context = ts.Context({"file_io_locking": {"mode": "none"},
                                    "cache_pool": {"total_bytes_limit": 64 << 20}})
        self._arrays = []
        for number, array_TSCF2 in enumerate(tracks):
            kvstore = {"driver": "file", "path": str(folder / str(number))}
            array = ts.open(array_spec(spec, len(array_TSCF2), kvstore, codecs=CODECS[codec]),
                            create=True, context=self._context).result()
            array.write(array_TSCF2).result()
            self._arrays.append(array)
        self.write_s = time.perf_counter() - begin_s

    def read(self, ids: np.ndarray, frames: int) -> None:
        """Read the windows of a batch, all at the same time."""
        futures = [self._arrays[track][first:first + frames, stem].read()
                   for window in ids for stem, (track, first) in enumerate(window)]
        for future in futures:
            future.result()

    @property
    def bytes(self) -> int:
        return sum(path.stat().st_size for path in self._folder.rglob("c.*"))


def compare(config: Config, *, tracks: int, steps: int, repeats: int, output: str) -> None:
    """Read from all layouts in turns; a line each."""
    preprocess.preprocess(config)
    store = Store.open(config.store, preprocess.store_spec(config))
    stems, frames = range(len(store.spec.stems)), config.data.window_frames
    chosen = store.tracks("train")[:tracks]
    arrays = [store.read(r, 0, r.frames, stems=stems).result().swapaxes(0, 1) for r in chosen]
    lengths = np.array([record.frames for record in chosen])
    draws = [window_ids(0, step, lengths, window=frames, batch=config.train.batch,
                        stems=len(stems), remix=1.0) for step in range(steps)]
    raw_bytes = sum(array.nbytes for array in arrays)
    with tempfile.TemporaryDirectory() as folder:
        copies = {}
        for number, layout in enumerate(LAYOUTS):
            spec = replace(store.spec, chunk_frames=layout[0], shard_frames=layout[1])
            copies[layout] = Copy(Path(folder) / str(number), spec, layout[2], arrays)

        def read(copy: Copy) -> None:
            for ids in draws:
                copy.read(ids, frames)

        calls = {str(layout): functools.partial(read, copy) for layout, copy in copies.items()}
        seconds = timer.take_turns(calls, repeats=repeats, warmup=1)
        facts = timer.machine("tensorstore", "numpy")
        for layout, copy in copies.items():
            times = timer.summary(seconds[str(layout)])
            chunk_frames, shard_frames, codec = layout
            timer.write(output, {
                "benchmark": "store_layout", "config": config.name, "chunk_frames": chunk_frames,
                "shard_frames": shard_frames, "codec": codec, "batch": config.train.batch,
                "frames": frames, "tracks": len(chosen), **times,
                "batches_per_s": steps / times["median_s"], "size_of_raw": copy.bytes / raw_bytes,
                "write_MB_per_s": raw_bytes / 1e6 / copy.write_s, **facts})


if __name__ == "__main__":
    timer.run(compare, tracks=(20, "of the train split"), steps=(20, "batches a round"),
              repeats=(10, "rounds of timing"))
