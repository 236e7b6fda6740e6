"""Audio files: look, read, resample, write. Every fault of a file is an InputError that names it.

Formats are those of libsndfile (WAV, FLAC, Ogg, MP3, AIFF, ...), recognised by content: the name
of a file plays no part. Waves are float32 [C, N], full scale ±1.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import soundfile

from stemsep.errors import InputError

# What counts as audio in a listing of a folder. Formats that libsndfile cannot read are here too: a
# song whose stems are .m4a must be an error with a remedy, not a song without stems.
SUFFIXES = frozenset((
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf",
    ".rf64", ".w64", ".m4a", ".mp4", ".aac", ".wma",
))

_SUBTYPES = {32: "FLOAT", 24: "PCM_24", 16: "PCM_16"}
_WAV_BYTES = (1 << 32) - (1 << 16)  # what a WAV file's 32-bit sizes can count, less its header


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says; samples a channel."""

    sample_rate: int
    channels: int
    samples: int


def probe(path: str | os.PathLike) -> AudioInfo:
    """Return what the header says; nothing is decoded. Raises InputError as `read` does."""
    with _open(path) as file:
        return AudioInfo(file.samplerate, file.channels, _length(file, path))


def read(path: str | os.PathLike, *, start: int = 0,
         samples: int | None = None) -> tuple[np.ndarray, int]:
    """Return float32 [C, N] and the sample rate.

    N is `samples`, or what lies between `start` and the end if that is less. Raises InputError when
    the file cannot be read, ends before its header says, or holds a NaN or an infinity.
    """
    with _open(path) as file:
        wanted = max(0, _length(file, path) - start)
        wanted = wanted if samples is None else min(samples, wanted)
        if start and wanted:
            file.seek(start)
        wave_NC = file.read(wanted, dtype="float32", always_2d=True)
        _check_block(wave_NC, path, start, wanted)
        return np.ascontiguousarray(wave_NC.T), file.samplerate


def blocks(path: str | os.PathLike, size: int) -> Iterator[np.ndarray]:
    """Yield the file as float32 [C, size], one after the other; the last may be shorter.

    Raises as `read` does, at the block that is at fault.
    """
    with _open(path) as file:
        total, first = _length(file, path), 0
        while first < total:
            wanted = min(size, total - first)
            wave_NC = file.read(wanted, dtype="float32", always_2d=True)
            _check_block(wave_NC, path, first, wanted)
            yield np.ascontiguousarray(wave_NC.T)
            first += wanted


def resample(wave_CN: np.ndarray, rate: int, to: int) -> np.ndarray:
    """Resample [C, N] from `rate` to `to` Hz by soxr (HQ): [C, ⌈N·to/rate⌉].

    The same rate gives back the same array.
    """
    if rate == to or wave_CN.shape[-1] == 0:
        return wave_CN
    import librosa  # here, because it is slow to import and most reading does without

    return librosa.resample(wave_CN, orig_sr=rate, target_sr=to, res_type="soxr_hq", axis=-1)


def remap(wave_CN: np.ndarray, channels: int, path: str | os.PathLike) -> np.ndarray:
    """Return [channels, N]: stereo becomes mono as the mean, mono becomes stereo doubled.

    Raises InputError, naming `path`, for any other change.
    """
    have = wave_CN.shape[0]
    if have == channels:
        return wave_CN
    if (have, channels) == (2, 1):
        return np.full((1, 2), 0.5, np.float32) @ wave_CN      # much faster than a mean
    if (have, channels) == (1, 2):
        return np.repeat(wave_CN, 2, axis=0)
    raise InputError(f"{path}: {have} channels cannot become {channels}; mix the file down to mono "
                     "or stereo first")


@contextmanager
def _open(path: str | os.PathLike) -> Iterator[Any]:
    """Open for reading; what goes wrong while it is open leaves as an InputError."""
    try:
        # By descriptor: given a name, libsndfile and soundfile guess the format from its suffix.
        with open(path, "rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            if size == 0:
                raise InputError(f"{path}: the file is empty; copy or download it again")
            _check_riff(raw.read(1 << 16), size, path)
            raw.seek(0)
            with soundfile.SoundFile(raw.fileno(), closefd=False) as file:
                yield file
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a folder, not an audio file; name a file in it") from error
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; check the path") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror}); check that you may read "
                         "it") from error
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        if "not recognised" in reason or "unknown format" in reason.lower():
            raise InputError(f"{path}: is no audio that can be read here; convert it to WAV or "
                             "FLAC") from error
        raise InputError(f"{path}: is damaged or cut short ({reason}); copy or download it "
                         "again") from error


def _check_riff(head: bytes, size: int, path: str | os.PathLike) -> None:
    """Raise InputError for a WAV file shorter than its data; libsndfile reads it without a word."""
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return
    at = 12
    while at + 8 <= len(head):
        name, length = struct.unpack_from("<4sI", head, at)
        if name == b"data":
            # Programs that write to a pipe leave the length at 0 or near all ones.
            if 0 < length < 0xFFFF0000 and at + 8 + length > size:
                raise InputError(f"{path}: is cut short ({size} of {at + 8 + length} bytes); copy "
                                 "or download it again")
            return
        at += 8 + length + length % 2


def _length(file: Any, path: str | os.PathLike) -> int:
    """Return the samples a channel; InputError when there are none, or nobody knows how many."""
    if file.frames == 0:
        raise InputError(f"{path}: holds no samples; copy or download it again")
    if file.frames > 1 << 60:       # FLAC written to a pipe, whose end libsndfile cannot read
        raise InputError(f"{path}: does not say how long it is; convert it to WAV or FLAC again")
    return file.frames


def _check_block(wave_NC: np.ndarray, path: str | os.PathLike, first: int, wanted: int) -> None:
    if len(wave_NC) < wanted:
        raise InputError(f"{path}: ends after {first + len(wave_NC)} samples, its header promises "
                         "more; copy or download it again")
    with np.errstate(all="ignore"):
        # One pass. A sum of finite samples may overflow too, hence the closer look.
        suspect = not np.isfinite(wave_NC.sum())
    if suspect and not (finite_N := np.isfinite(wave_NC).all(axis=1)).all():
        sample = first + int(np.argmin(finite_N))
        raise InputError(f"{path}: sample {sample} is not a number or infinite; export the file "
                         "again")


class Writer:
    """Writes a WAV file block by block; under its name it appears complete, or not at all.

    ``with Writer(path, 44100, 2) as writer: writer.write(wave_CN)``. bits: 32 (float), 24 or 16;
    whole numbers clip at full scale. samples: the expected length a channel; RF64 is written where
    WAV cannot hold that much. Folders on the way are made. A full disk, a forbidden folder and a
    WAV file over 4 GiB are InputErrors that name the file.
    """

    def __init__(self, path: str | os.PathLike, sample_rate: int, channels: int, *, bits: int = 32,
                 samples: int = 0) -> None:
        if bits not in _SUBTYPES:
            raise InputError(f"{path}: cannot be written with {bits} bits; choices: 32, 24, 16")
        self.path = Path(path)
        self._partial = self.path.with_name(f".{self.path.name}.part")
        self._frame_bytes = channels * bits // 8
        self._large = samples * self._frame_bytes > _WAV_BYTES
        self._written = 0
        self._raw: Any = None
        self._file: Any = None
        try:
            if self.path.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._raw = open(self._partial, "wb+")
            self._file = soundfile.SoundFile(
                self._raw.fileno(), "w", sample_rate, channels, _SUBTYPES[bits],
                format="RF64" if self._large else "WAV", closefd=False)
        except (OSError, soundfile.LibsndfileError) as error:
            self._fail(error)

    def write(self, wave_CN: np.ndarray) -> None:
        """Append [C, N]."""
        self._written += wave_CN.shape[-1]
        if not self._large and self._written * self._frame_bytes > _WAV_BYTES:
            raise InputError(f"{self.path}: WAV holds at most 4 GiB; write fewer bits, or separate "
                             "the song in parts")
        try:
            self._file.write(wave_CN.T)
        # soundfile checks by an assertion that all was written
        except (OSError, AssertionError, soundfile.LibsndfileError) as error:
            self._fail(error)

    def close(self) -> None:
        """Write what is still in memory: after this, only the file's name is missing."""
        try:
            self._file.close()
            self._raw.close()
        except (OSError, soundfile.LibsndfileError) as fault:
            self._fail(fault)

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        if error is not None:
            self._discard()
            return
        self.close()
        try:
            os.replace(self._partial, self.path)
        except OSError as fault:
            self._fail(fault)

    def _fail(self, error: Exception) -> None:
        """Remove what was written and raise the InputError for `error`."""
        reason = error.strerror if isinstance(error, OSError) else self._reason()
        self._discard()
        raise InputError(f"{self.path}: cannot be written ({reason}); free some space, or choose a "
                         "folder that you may write to") from error

    def _reason(self) -> str:
        """Return the system's words for a failed write; libsndfile keeps only that it failed."""
        descriptor = self._raw.fileno()
        try:
            os.pwrite(descriptor, bytes(1 << 16), os.fstat(descriptor).st_size)
        except OSError as error:
            return error.strerror or str(error)
        return "the disk refused it"

    def _discard(self) -> None:
        if self._raw is None:
            return
        try:
            if self._file is not None:
                self._file.close()
        except (OSError, soundfile.LibsndfileError):
            pass        # a header that cannot be written any more is of no use either
        self._raw.close()
        self._partial.unlink(missing_ok=True)
