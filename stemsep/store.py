"""The store: the complex spectrograms of all stems, in Zarr v3, written once and read at random.

    <store>/spec.json                       StoreSpec: what every track has in common
    <store>/<split>/<track>/                a Zarr v3 array [T, S, C, F, 2] float16 (real, imaginary part)
    <store>/index/<split>/<track>.json      the commit record: the track exists when this does, it is written last

A shard holds _SHARD_FRAMES frames of one stem and is written whole, by one writer; a chunk within it holds
_CHUNK_FRAMES. Chunks are not compressed: spectrograms hardly compress, and uncompressed ones are read twice as fast. A
stem without a sound in it has no shards, and reads as zeros.
"""

import dataclasses
import fcntl
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts

from stemsep.errors import InputError
from stemsep.stft import Stft

FORMAT = 1                      # of the layout above; another one is not read
_CHUNK_FRAMES = 32
_SHARD_FRAMES = 4096
_CACHE_BYTES = 64 << 20         # of all arrays together: the indices of shards, mostly
_MAX_FLOAT16 = 65504.0
_LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}


@dataclass(frozen=True)
class StoreSpec:
    """What the tracks of a store have in common; stems in the order of the arrays' axis S."""

    sample_rate: int
    channels: int
    n_fft: int
    hop: int
    stems: tuple[str, ...]

    @property
    def stft(self) -> Stft:
        return Stft(self.sample_rate, self.n_fft, self.hop)


@dataclass(frozen=True)
class Record:
    """The commit record of a track.

    norms: for each stem Σₜ ‖Xₜ‖₂ over its frames, Xₜ the magnitudes of all channels and bins of frame t; divided by
        `frames` it is the mean ‖s‖₂ of the weights αᵢ ∝ 1 / mean‖sᵢ‖₂ (Oh et al. 2018).
    power: for each stem the mean of its squared samples over channels and time.
    sources: for each stem the name, size in bytes and time of change in ns of each file that it was made of.
    """

    name: str
    split: str
    samples: int
    frames: int
    norms: tuple[float, ...]
    power: tuple[float, ...]
    sources: Mapping[str, tuple[tuple[str, int, int], ...]]


class Store:
    """A store opened for reading and writing; threads may share it, processes open their own."""

    def __init__(self, path: str | os.PathLike, spec: StoreSpec) -> None:
        self.path = Path(path).absolute()
        self.spec = spec
        # One writer a shard needs no locks, and a stale lock file would corrupt the next, shorter write.
        self._context = ts.Context({"file_io_locking": {"mode": "none"},
                                    "cache_pool": {"total_bytes_limit": _CACHE_BYTES}})
        self._arrays: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    @classmethod
    def create(cls, path: str | os.PathLike, spec: StoreSpec) -> "Store":
        """Create the store or open the one that is there; it must have the same spec (InputError)."""
        if (Path(path) / "spec.json").exists():
            store = cls.open(path)
            for f in dataclasses.fields(StoreSpec):
                have, want = getattr(store.spec, f.name), getattr(spec, f.name)
                if have != want:
                    raise InputError(f"{path}: was made with {f.name} {have}, the configuration says {want}; set "
                                     "config.data.store to another folder, or delete this one to make it anew")
            return store
        if Path(path).is_dir() and any(p.name != ".lock" for p in Path(path).iterdir()):
            raise InputError(f"{path}: holds other files and is no store; set config.data.store to a new folder")
        _write_json(Path(path) / "spec.json", {"format": FORMAT, **dataclasses.asdict(spec)})
        return cls(path, spec)

    @classmethod
    def open(cls, path: str | os.PathLike) -> "Store":
        """Open the store at `path`; raises InputError when there is none, or one of another format."""
        try:
            values = json.loads((Path(path) / "spec.json").read_text(encoding="utf-8"))
            version = values.pop("format")
        except FileNotFoundError as error:
            raise InputError(f"{path}: is no store; make it with python -m stemsep.preprocess") from error
        except (ValueError, KeyError, AttributeError) as error:
            raise InputError(f"{path}/spec.json: is damaged; delete the store and make it anew") from error
        if version != FORMAT:
            raise InputError(f"{path}: is a store of format {version}, this version reads {FORMAT}; delete it and make "
                             "it anew")
        return cls(path, StoreSpec(**{**values, "stems": tuple(values["stems"])}))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other writers out (InputError for the second), and clear what a killed one left behind."""
        with open(self.path / ".lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InputError(f"{self.path}: another process is writing to it; wait for its end") from error
            for pattern in ("*.__lock", "*.part"):
                for left in self.path.rglob(pattern):
                    left.unlink()
            yield

    def tracks(self, split: str) -> list[Record]:
        """Return the records of a split's tracks, sorted by name; raises InputError naming a damaged one."""
        records = []
        for path in (self.path / "index" / split).glob("*.json"):
            try:
                values = json.loads(path.read_text(encoding="utf-8"))
                sources = {stem: tuple((name, size, time) for name, size, time in files)
                           for stem, files in values.pop("sources").items()}
                records.append(Record(**{**values, "norms": tuple(values["norms"]), "power": tuple(values["power"])},
                                      sources=sources))
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{path}: is damaged; delete it and run python -m stemsep.preprocess again") from error
        return sorted(records, key=lambda record: record.name)

    def read(self, record: Record, first_frame: int, frames: int, *, stems: Sequence[int]) -> "Window":
        """Start to read a window; ``.result()`` is float16 [frames, len(stems), C, F, 2], zeros past the track's end.

        stems: indices into the spec's stems, in any order.
        """
        end = min(first_frame + frames, record.frames)
        shape = (frames, len(stems), self.spec.channels, self.spec.stft.bins, 2)
        heard = [place for place, stem in enumerate(stems) if record.norms[stem] > 0]
        if not heard or end <= first_frame:
            return Window(None, shape, heard)
        indices = [stems[place] for place in heard]
        chosen = slice(indices[0], indices[-1] + 1)
        array = self._array(record.split, record.name, record.frames)
        view = array[first_frame:end, chosen if indices == list(range(chosen.start, chosen.stop)) else indices]
        return Window(view.read(), shape, heard)

    def write_track(self, split: str, name: str, *, samples: int, waves: Iterable[np.ndarray | None],
                    sources: Mapping[str, Sequence[tuple[str, int, int]]]) -> Record:
        """Transform and write a track, replacing the one of that name; returns the record that committed it.

        waves: for each stem of the spec float32 [C, samples], or None for silence; taken one after the other.
        Raises InputError when a magnitude is beyond what float16 can hold.
        """
        self.remove(split, name)
        frames = self.spec.stft.frames(samples)
        array = ts.open(self._array_spec(split, name, frames), create=True, context=self._context).result()
        norms, power = [], []
        for stem, wave_CN in enumerate(waves):
            silent = wave_CN is None or not wave_CN.any()
            norms.append(0.0 if silent else self._write_stem(array, stem, wave_CN, f"{split}/{name}"))
            power.append(0.0 if silent else float(np.mean(np.square(wave_CN), dtype=np.float64)))
        record = Record(name, split, samples, frames, tuple(norms), tuple(power),
                        {stem: tuple(map(tuple, files)) for stem, files in sources.items()})
        _write_json(self._record_path(split, name), dataclasses.asdict(record))
        return record

    def remove(self, split: str, name: str) -> None:
        """Remove a track, its record first; one that is not there is removed already."""
        self._record_path(split, name).unlink(missing_ok=True)
        with self._lock:
            self._arrays.pop((split, name), None)
        folder = self.path / split / name
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        if folder.is_dir():
            folder.rmdir()

    def _write_stem(self, array: Any, stem: int, wave_CN: np.ndarray, track: str) -> float:
        """Transform and write one stem, a shard at a time; returns the sum of its frames' norms."""
        stft, frames = self.spec.stft, array.shape[0]
        tail = (frames - 1) * stft.hop + stft.n_fft // 2 - wave_CN.shape[1]
        padded_CN = np.pad(wave_CN, [(0, 0), (stft.n_fft // 2, tail)])
        total, pending = 0.0, None
        for first in range(0, frames, _SHARD_FRAMES):
            count = min(_SHARD_FRAMES, frames - first)
            piece_CN = padded_CN[:, first * stft.hop:(first + count - 1) * stft.hop + stft.n_fft]
            spec_CTF = stft.transform(stft.cut(piece_CN, count)).astype(np.complex64, copy=False)
            parts_TCF2 = spec_CTF.transpose(1, 0, 2)[..., None].view(np.float32)
            flat_TM = parts_TCF2.reshape(count, -1)
            norms_T = np.sqrt(np.einsum("tm,tm->t", flat_TM, flat_TM))
            # No part is greater than its frame's norm, so the parts are looked at only when a norm is suspect.
            if not norms_T.max() <= _MAX_FLOAT16 and not np.abs(flat_TM).max() <= _MAX_FLOAT16:
                raise InputError(f"{track}: stem {self.spec.stems[stem]!r} is far beyond full scale, its spectrogram "
                                 "does not fit into float16; scale its files to ±1")
            total += float(norms_T.sum(dtype=np.float64))
            if pending is not None:
                pending.result()        # so that one shard is written while the next is computed, and no more
            pending = array[first:first + count, stem].write(parts_TCF2.astype(np.float16))
        pending.result()
        return total

    def _array(self, split: str, name: str, frames: int) -> Any:
        """Return the array of a track, without a look at the disk: the spec and its length say all about it."""
        with self._lock:
            array = self._arrays.get((split, name))
            if array is None:
                array = ts.open(self._array_spec(split, name, frames), open=True, assume_metadata=True,
                                context=self._context).result()
                self._arrays[split, name] = array
        return array

    def _array_spec(self, split: str, name: str, frames: int) -> dict[str, Any]:
        channels, bins = self.spec.channels, self.spec.stft.bins
        sharding = {"chunk_shape": [_CHUNK_FRAMES, 1, channels, bins, 2], "codecs": [_LITTLE],
                    "index_codecs": [_LITTLE, {"name": "crc32c"}], "index_location": "start"}
        return {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": str(self.path / split / name)},
            "metadata": {
                "shape": [frames, len(self.spec.stems), channels, bins, 2], "data_type": "float16", "fill_value": 0.0,
                "dimension_names": ["frame", "stem", "channel", "bin", "part"],
                "chunk_grid": {"name": "regular",
                               "configuration": {"chunk_shape": [_SHARD_FRAMES, 1, channels, bins, 2]}},
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
                "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
            },
            # A silent passage is stored like any other, so that a missing file is an error and not silence.
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
        """Wait for the window and return it, float16 `shape`."""
        if self.future is None:
            return np.zeros(self.shape, np.float16)
        found = self.future.result()
        if found.shape == self.shape:
            return found
        window = np.zeros(self.shape, np.float16)
        window[:len(found), self.heard] = found
        return window


def _write_json(path: Path, values: dict[str, Any]) -> None:
    """Write under another name, then rename: the file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(values, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
