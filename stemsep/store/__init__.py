"""The store: the complex spectrograms of all stems, in Zarr v3, written once and read at random.

    <store>/spec.json                       StoreSpec: what every track has in common
    <store>/<split>/<track>/                a Zarr v3 array [T, S, C, F, 2] float16
    <store>/index/<split>/<track>.json      Record: the track exists when this does; written last

The store is a folder, or a place in a bucket (gs://, s3://). The last axis is real and imaginary
part. A shard holds `spec.shard_frames` frames of one stem and is written whole, by one writer; a
chunk in it holds `spec.chunk_frames`. Chunks are not compressed: spectrograms hardly compress, and
uncompressed ones are read twice as fast. Checksums are in the record, for `stemsep.store.verify`:
with one in every chunk, reading takes 1.8 times as long. A stem that is silent throughout has no
shards, and reads as zeros.
"""

import dataclasses
import json
import os
import threading
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorstore as ts

from stemsep.datasets.tracks import SPLITS, Variation
from stemsep.errors import InputError
from stemsep.store import records, spectra
from stemsep.store.arrays import Writes, array_spec
from stemsep.store.places import RETRIES, Place, place
from stemsep.store.records import Record, Sources, StoreSpec

FORMAT = 3                      # of the layout above; another one is not read
_CACHE_BYTES = 64 << 20         # of all arrays together: the indices of their shards, mostly
_HOW = ("chunk_frames", "shard_frames")     # how a store is laid out, not what it holds


class Store:
    """A store opened for reading and writing; threads may share it, processes open their own.

    place: where it lies; its `str` is the path or URL.
    """

    def __init__(self, place: Place, spec: StoreSpec) -> None:
        self.place, self.spec = place, spec
        # With one writer a shard no locks are needed, and a stale lock file would spoil the next
        # write of the same shard if that is shorter.
        self._context = ts.Context({"file_io_locking": {"mode": "none"}, **RETRIES,
                                    "cache_pool": {"total_bytes_limit": _CACHE_BYTES}})
        self._arrays: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    @classmethod
    def create(cls, path: str | os.PathLike, spec: StoreSpec, *, endpoint: str = "") -> "Store":
        """Create the store, or open the one that is there if it has the same spec (InputError).

        path: a folder, gs://bucket/path or s3://bucket/path; endpoint: as for `places.Bucket`.
        """
        where = place(path, endpoint)
        if where.read("spec.json") != [None]:
            return cls.open(path, spec, endpoint=endpoint)
        if where.exists():
            raise InputError(f"{path}: is a folder with other files; set config.data.store to one "
                             "that does not exist yet")
        values = {"format": FORMAT, **dataclasses.asdict(spec)}
        where.write("spec.json", json.dumps(values, indent=1, ensure_ascii=False).encode())
        return cls(where, spec)

    @classmethod
    def open(cls, path: str | os.PathLike, spec: StoreSpec | None = None, *,
             endpoint: str = "") -> "Store":
        """Open the store at `path`.

        Raises InputError when there is none, one of another format, or of another spec than given.
        """
        where = place(path, endpoint)
        (data,) = where.read("spec.json")
        if data is None:
            raise InputError(f"{path}: is no store; make it with python -m stemsep.preprocess")
        try:
            values = json.loads(data)
            if values.pop("format") != FORMAT:
                raise InputError(f"{path}: is a store of another version of stemsep; delete it and "
                                 "run python -m stemsep.preprocess again")
            found = StoreSpec(**{**values, "stems": tuple(values["stems"])})
        except (KeyError, TypeError, AttributeError, UnicodeDecodeError,
                json.JSONDecodeError) as error:
            raise InputError(f"{path}/spec.json: is damaged; delete the store and run python -m "
                             "stemsep.preprocess again") from error
        for f in dataclasses.fields(StoreSpec) if spec else ():
            have, want = getattr(found, f.name), getattr(spec, f.name)
            if have != want and f.name not in _HOW:
                raise InputError(f"{path}: was made with {f.name} {_show(have)}, the configuration "
                                 f"says {_show(want)}; set config.data.store to another folder, or "
                                 "delete this one to make it anew")
        return cls(where, found)

    @contextmanager
    def writing(self, *, only: Collection[tuple[str, str]] | None = None) -> Iterator[None]:
        """Keep a second writer out (InputError), and clear what a killed one left behind.

        only: the (split, name) that this process writes, where several write at the same time, each
        its own; others that name theirs are let in.
        """
        with self.place.writing(shared=only is not None):
            for split in SPLITS:
                known = set(self.names(split))
                for name in self.place.children(split):
                    if name not in known and (only is None or (split, name) in only):
                        self.remove(split, name)
            yield

    def names(self, split: str) -> list[str]:
        """Return the names of the tracks of a split, in order."""
        return [key.removesuffix(".json") for key in self.place.children(f"index/{split}")
                if key.endswith(".json")]

    def tracks(self, split: str) -> list[Record]:
        """Return the records of a split, sorted by name; raises InputError for a damaged one."""
        keys = [_record_key(split, name) for name in self.names(split)]
        found = [self._record(key, data) for key, data in zip(keys, self.place.read(*keys))
                 if data is not None]
        return sorted(found, key=lambda record: record.name)

    def record(self, split: str, name: str) -> Record:
        """Return the record of a track; raises InputError where it is damaged or not there."""
        key = _record_key(split, name)
        return self._record(key, self.place.read(key)[0])

    def _record(self, key: str, data: bytes | None) -> Record:
        try:
            return records.from_json(json.loads(data or b""))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{self.place}/{key}: is damaged; delete it and run python -m "
                             "stemsep.preprocess again") from error

    def read(self, record: Record, first_frame: int, frames: int, *, stems: Sequence[int],
             out: np.ndarray | None = None) -> "Window":
        """Begin to read a window and return at once.

        ``.result()`` is float16 [len(stems), frames, C, F, 2], zeros past the track's end. stems:
        indices into the spec's stems, in any order. out: the array to read into, of this shape.
        """
        if out is None:
            out = np.empty((len(stems), frames, *self.spec.frame_shape), np.float16)
        count = max(0, min(frames, record.frames - first_frame))
        out[:, count:] = 0
        futures = []
        for window, stem in zip(out, stems):
            if not count or not record.norms[stem]:
                window[:] = 0
                continue
            array = self._array(record.split, record.name, record.frames)
            # Straight into its place: copying a large batch takes longer than reading it.
            futures.append(ts.array(window[:count]).write(
                array[first_frame:first_frame + count, stem]))
        return Window(futures, out)

    def write_track(self, split: str, name: str, *, samples: int,
                    waves: Iterable[Iterable[np.ndarray] | None], sources: Sources,
                    variation: Variation | None = None) -> Record:
        """Transform and write a track in place of the one of that name; returns its record.

        waves: for each stem of the spec its blocks, float32 [C, n], of `samples` in all (silence
        follows what is missing), or None for silence; taken one after the other. Memory is that of
        a few shards, however long the track is. Raises InputError when a spectrogram is beyond what
        float16 can hold, and when the disk refuses to be written to.
        """
        with self.place.writing_track():
            self.remove(split, name)
            with Writes(f"{self.place}/{split}/{name}") as writes:
                record = dataclasses.replace(
                    self._write_stems(split, name, samples, waves, sources, writes),
                    variation=variation)
            self.place.write(_record_key(split, name), json.dumps(
                dataclasses.asdict(record), ensure_ascii=False, allow_nan=False,
                separators=(",", ":")).encode())
            return record

    def _write_stems(self, split: str, name: str, samples: int,
                     waves: Iterable[Iterable[np.ndarray] | None], sources: Sources,
                     writes: Writes) -> Record:
        """Write the shards of all stems; returns the record of the track."""
        frames = self.spec.stft.frames(samples)
        array = writes.done(ts.open(self._array_spec(split, name, frames), create=True,
                                    context=self._context))
        norms, power = [], []
        levels: list[tuple[int, ...]] = []
        checksums: list[tuple[int, ...]] = []
        for stem, blocks in enumerate(waves):
            loudness = spectra.Loudness()
            shards = () if blocks is None else spectra.transform(
                blocks, self.spec, samples, loudness,
                name=f"{split}/{name}: stem {self.spec.stems[stem]!r}")
            checksums.append(self._write_stem(array, stem, shards, writes))
            norms.append(loudness.norm)
            levels.append(loudness.levels() if loudness.norm else ())
            power.append(loudness.squares / (samples * self.spec.channels))
        return Record(name, split, samples, frames, tuple(norms), tuple(power), tuple(levels),
                      tuple(checksums), sources)

    def remove(self, split: str, name: str) -> None:
        """Remove a track, its record first; one that is not there is removed already."""
        self.place.delete(_record_key(split, name))
        with self._lock:
            self._arrays.pop((split, name), None)
        self.place.delete(f"{split}/{name}")

    def _write_stem(self, array: Any, stem: int, shards: Iterable[tuple[int, np.ndarray, bool]],
                    writes: Writes) -> tuple[int, ...]:
        """Write the shards of one stem, none of silence throughout; returns their checksums."""
        silent: list[tuple[int, int]] = []      # shards before the first sound: first frame, frames
        checksums: list[int] = []
        for first, shard_TCF2, sounds in shards:
            if not sounds and not checksums:
                silent.append((first, len(shard_TCF2)))
                continue
            for start, frames in silent:
                zeros = np.zeros((frames, *self.spec.frame_shape), np.float16)
                writes.begin(array[start:start + frames, stem], zeros)
                checksums.append(zlib.crc32(zeros.data))
            silent = []
            checksums.append(zlib.crc32(shard_TCF2.data))
            writes.begin(array[first:first + len(shard_TCF2), stem], shard_TCF2)
        return tuple(checksums)

    def _array(self, split: str, name: str, frames: int) -> Any:
        """Return a track's array, without a look at the disk: spec and length say all about it."""
        with self._lock:
            array = self._arrays.get((split, name))
            if array is None:
                array = ts.open(self._array_spec(split, name, frames), open=True,
                                assume_metadata=True, context=self._context).result()
                self._arrays[split, name] = array
        return array

    def _array_spec(self, split: str, name: str, frames: int) -> dict[str, Any]:
        return array_spec(self.spec, frames, self.place.kvstore(f"{split}/{name}"))


@dataclass(frozen=True)
class Window:
    """A window that is being read."""

    futures: list[Any]
    array: np.ndarray

    def result(self) -> np.ndarray:
        """Wait for the window and return it, float16 [S, T, C, F, 2].

        Raises InputError when a part of the store is missing or damaged.
        """
        try:
            for future in self.futures:
                future.result()
        except ValueError as error:
            raise InputError(f"the store is damaged ({error}); delete it and run python -m "
                             "stemsep.preprocess again") from error
        return self.array


def _record_key(split: str, name: str) -> str:
    return f"index/{split}/{name}.json"


def _show(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)
