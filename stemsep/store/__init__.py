"""The store: the complex spectrograms of all stems, in Zarr v3, written once and read at random.

    <store>/spec.json                       StoreSpec: what every track has in common
    <store>/<split>/<track>/                a Zarr v3 array [T, S, C, F, 2] float16
    <store>/index/<split>/<track>.json      Record: the track exists when this does; written last

The last axis is real and imaginary part. A shard holds _SHARD_FRAMES frames of one stem and is
written whole, by one writer; a chunk in it holds _CHUNK_FRAMES. Chunks are not compressed:
spectrograms hardly compress, and uncompressed ones are read twice as fast. Checksums are in the
record, for `stemsep.store.verify`: with one in every chunk, reading takes 1.8 times as long. A stem
that is silent throughout has no shards, and reads as zeros.
"""

import dataclasses
import json
import os
import re
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts

from stemsep import files
from stemsep.datasets.tracks import SPLITS
from stemsep.errors import InputError
from stemsep.store import records
from stemsep.store.records import Record, Sources, StoreSpec

FORMAT = 2                      # of the layout above; another one is not read
_CHUNK_FRAMES = 32
_SHARD_FRAMES = 4096
_CACHE_BYTES = 64 << 20         # of all arrays together: the indices of their shards, mostly
_MAX_FLOAT16 = 65504.0
_LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}


class Store:
    """A store opened for reading and writing; threads may share it, processes open their own."""

    def __init__(self, path: str | os.PathLike, spec: StoreSpec) -> None:
        self.path = Path(path).absolute()
        self.spec = spec
        # With one writer a shard no locks are needed, and a stale lock file would spoil the next
        # write of the same shard if that is shorter.
        self._context = ts.Context({"file_io_locking": {"mode": "none"},
                                    "cache_pool": {"total_bytes_limit": _CACHE_BYTES}})
        self._arrays: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    @classmethod
    def create(cls, path: str | os.PathLike, spec: StoreSpec) -> "Store":
        """Create the store, or open the one that is there if it has the same spec (InputError)."""
        folder = Path(path)
        if (folder / "spec.json").exists():
            return cls.open(path, spec)
        if folder.is_dir() and not files.is_empty(folder):
            raise InputError(f"{path}: is a folder with other files; set config.data.store to one "
                             "that does not exist yet")
        files.write_json(folder / "spec.json", {"format": FORMAT, **dataclasses.asdict(spec)})
        return cls(path, spec)

    @classmethod
    def open(cls, path: str | os.PathLike, spec: StoreSpec | None = None) -> "Store":
        """Open the store at `path`.

        Raises InputError when there is none, one of another format, or of another spec than given.
        """
        try:
            values = json.loads((Path(path) / "spec.json").read_text(encoding="utf-8"))
            if values.pop("format") != FORMAT:
                raise InputError(f"{path}: is a store of another version of stemsep; delete it and "
                                 "run python -m stemsep.preprocess again")
            found = StoreSpec(**{**values, "stems": tuple(values["stems"])})
        except FileNotFoundError as error:
            raise InputError(f"{path}: is no store; make it with python -m "
                             "stemsep.preprocess") from error
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise InputError(f"{path}/spec.json: is damaged; delete the store and run python -m "
                             "stemsep.preprocess again") from error
        for f in dataclasses.fields(StoreSpec) if spec else ():
            have, want = getattr(found, f.name), getattr(spec, f.name)
            if have != want:
                raise InputError(f"{path}: was made with {f.name} {_show(have)}, the configuration "
                                 f"says {_show(want)}; set config.data.store to another folder, or "
                                 "delete this one to make it anew")
        return cls(path, found)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep a second writer out (InputError), and clear what a killed one left behind."""
        with ExitStack() as stack:
            try:
                stack.enter_context(files.locked(self.path))
            except BlockingIOError as error:
                raise InputError(f"{self.path}: another process is writing to it; wait until it "
                                 "has ended") from error
            for pattern in ("*.__lock", f"*{files.PART}"):
                for left in self.path.rglob(pattern):
                    if left.is_file():
                        left.unlink()
            for split in SPLITS:
                for folder in (self.path / split).glob("*"):
                    if not self._record_path(split, folder.name).exists():
                        self.remove(split, folder.name)
            yield

    def tracks(self, split: str) -> list[Record]:
        """Return the records of a split, sorted by name; raises InputError for a damaged one."""
        found = [self.record(path) for path in (self.path / "index" / split).glob("*.json")]
        return sorted(found, key=lambda record: record.name)

    def record(self, path: Path) -> Record:
        """Return the record that a file of the index holds; raises InputError for a damaged one."""
        try:
            return records.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: is damaged; delete it and run python -m stemsep.preprocess "
                             "again") from error

    def read(self, record: Record, first_frame: int, frames: int, *,
             stems: Sequence[int]) -> "Window":
        """Begin to read a window and return at once.

        ``.result()`` is float16 [frames, len(stems), C, F, 2], zeros past the track's end. stems:
        indices into the spec's stems, in any order.
        """
        end = min(first_frame + frames, record.frames)
        shape = (frames, len(stems), self.spec.channels, self.spec.stft.bins, 2)
        heard = [place for place, stem in enumerate(stems) if record.norms[stem] > 0]
        if not heard or end <= first_frame:
            return Window(None, shape, heard)
        chosen = [stems[place] for place in heard]
        span = range(chosen[0], chosen[-1] + 1)
        array = self._array(record.split, record.name, record.frames)
        # A slice is read with a quarter less work than a list of indices.
        view = array[first_frame:end,
                     slice(span.start, span.stop) if chosen == list(span) else chosen]
        return Window(view.read(), shape, heard)

    def write_track(self, split: str, name: str, *, samples: int,
                    waves: Iterable[np.ndarray | None], sources: Sources) -> Record:
        """Transform and write a track in place of the one of that name; returns its record.

        waves: for each stem of the spec float32 [C, samples], or None for silence; taken one after
        the other. Raises InputError when a spectrogram is beyond what float16 can hold, and when
        the disk refuses to be written to.
        """
        self.remove(split, name)
        frames = self.spec.stft.frames(samples)
        array = self._written(ts.open(self._array_spec(split, name, frames), create=True,
                                      context=self._context), f"{split}/{name}")
        norms, power = [], []
        checksums: list[tuple[int, ...]] = []
        for stem, wave_CN in enumerate(waves):
            if wave_CN is None or not wave_CN.any():
                norms.append(0.0)
                power.append(0.0)
                checksums.append(())
                continue
            norm, crcs = self._write_stem(array, stem, wave_CN, track=f"{split}/{name}")
            norms.append(norm)
            checksums.append(crcs)
            power.append(float(np.square(wave_CN).mean(dtype=np.float64)))
        record = Record(name, split, samples, frames, tuple(norms), tuple(power),
                        tuple(checksums), sources)
        files.write_json(self._record_path(split, name), dataclasses.asdict(record))
        return record

    def remove(self, split: str, name: str) -> None:
        """Remove a track, its record first; one that is not there is removed already."""
        self._record_path(split, name).unlink(missing_ok=True)
        with self._lock:
            self._arrays.pop((split, name), None)
        folder = self.path / split / name
        for path in folder.glob("*"):
            path.unlink()
        if folder.is_dir():
            folder.rmdir()

    def _write_stem(self, array: Any, stem: int, wave_CN: np.ndarray, *,
                    track: str) -> tuple[float, tuple[int, ...]]:
        """Transform and write one stem, shard by shard; returns the sum of its frames' norms, and
        the checksum of each shard.
        """
        stft, frames = self.spec.stft, array.shape[0]
        tail = (frames - 1) * stft.hop + stft.n_fft // 2 - wave_CN.shape[1]
        padded_CN = np.pad(wave_CN, [(0, 0), (stft.n_fft // 2, tail)])
        total, checksums = 0.0, []
        pending: Any = None
        for first, count in shards(frames):
            end = (first + count - 1) * stft.hop + stft.n_fft
            spec_CTF = stft.transform(stft.cut(padded_CN[:, first * stft.hop:end], count))
            parts_TCF2 = spec_CTF.transpose(1, 0, 2)[..., None].view(np.float32)
            norms_T = np.sqrt(np.einsum("tcfp,tcfp->t", parts_TCF2, parts_TCF2))
            # No part exceeds its frame's norm, so only a suspect norm asks for a look at the parts.
            fits = norms_T.max() <= _MAX_FLOAT16 or np.abs(parts_TCF2).max() <= _MAX_FLOAT16
            if not fits:
                raise InputError(f"{track}: stem {self.spec.stems[stem]!r} is far beyond full "
                                 "scale, its spectrogram does not fit into float16; scale its "
                                 "files to ±1")
            total += float(norms_T.sum(dtype=np.float64))
            if pending is not None:
                # One shard is written while the next is computed, no more.
                self._written(pending, track)
            stored = half(parts_TCF2)
            checksums.append(zlib.crc32(stored.data))
            pending = array[first:first + count, stem].write(stored)
        self._written(pending, track)
        return total, tuple(checksums)

    def _written(self, future: Any, track: str) -> Any:
        """Wait for a write; raises InputError where the disk refused it."""
        try:
            return future.result()
        except (ValueError, NotImplementedError) as error:      # whatever the cause
            raise InputError(f"{self.path / track}: cannot be written ({_reason(error)}); free "
                             "some space, or set config.data.store to a place that you may write "
                             "to") from error

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
        frame_shape = [self.spec.channels, self.spec.stft.bins, 2]
        shards = {"chunk_shape": [_SHARD_FRAMES, 1, *frame_shape]}
        chunks = {"chunk_shape": [_CHUNK_FRAMES, 1, *frame_shape], "codecs": [_LITTLE],
                  "index_codecs": [_LITTLE, {"name": "crc32c"}], "index_location": "start"}
        return {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": str(self.path / split / name)},
            "metadata": {
                "shape": [frames, len(self.spec.stems), *frame_shape],
                "dimension_names": ["frame", "stem", "channel", "bin", "part"],
                "data_type": "float16",
                "fill_value": 0.0,
                "chunk_grid": {"name": "regular", "configuration": shards},
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
                "codecs": [{"name": "sharding_indexed", "configuration": chunks}],
            },
            # A silent passage is stored as any other, so that a missing file is no silence.
            "store_data_equal_to_fill_value": True,
            "fill_missing_data_reads": False,
            "recheck_cached_data": False,
        }

    def _record_path(self, split: str, name: str) -> Path:
        return self.path / "index" / split / f"{name}.json"


@dataclass(frozen=True)
class Window:
    """A window that is being read; heard: the places among its stems that are not silence."""

    future: Any
    shape: tuple[int, ...]
    heard: list[int]

    def result(self) -> np.ndarray:
        """Wait for the window and return it, float16 `shape`.

        Raises InputError when a part of the store is missing or damaged.
        """
        if self.future is None:
            return np.zeros(self.shape, np.float16)
        try:
            found = self.future.result()
        except ValueError as error:
            raise InputError(f"the store is damaged ({error}); delete it and run python -m "
                             "stemsep.preprocess again") from error
        if found.shape == self.shape:
            return found
        window = np.zeros(self.shape, np.float16)
        window[:len(found), self.heard] = found
        return window


def shards(frames: int) -> Iterator[tuple[int, int]]:
    """Yield the first frame and the number of frames of each shard of a stem."""
    for first in range(0, frames, _SHARD_FRAMES):
        yield first, min(_SHARD_FRAMES, frames - first)


def half(values: np.ndarray) -> np.ndarray:
    """Round float32 within ±65504 to float16, as ``astype`` does but 1.5 to 13 times as fast.

    NumPy converts one number after the other, and slowly those below 2⁻¹⁴, of which quiet music is
    full; here whole blocks go through integer operations while they are in the cache.
    """
    flat = values.reshape(-1)
    rounded = np.empty(flat.shape, np.uint16)
    for first in range(0, flat.size, 1 << 16):
        bits = flat[first:first + (1 << 16)].view(np.uint32)
        size = bits & 0x7FFFFFFF
        # Above 2⁻¹⁴: the exponent's bias from 127 to 15, and 13 bits less, a tie to the even one.
        result = ((size >> 13) & 1) + size - (0x38000000 - 0xFFF) >> 13
        # Below: 0.5 has float16's smallest step there as its last bit, so the sum is rounded to it.
        small = (size.view(np.float32) + np.float32(0.5)).view(np.uint32) - 0x3F000000
        np.copyto(result, small, where=size < 0x38800000)
        rounded[first:first + (1 << 16)] = result | (bits >> 16) & 0x8000
    return rounded.view(np.float16).reshape(values.shape)


def _show(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _reason(error: Exception) -> str:
    """Return the system's words in what TensorStore says of a failed write, or all that it says."""
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])) if code else str(error).splitlines()[0]
