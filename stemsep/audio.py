"""Audio files: look, read, resample, write. Every fault of a file is an InputError that names it.

Formats are those of libsndfile (WAV, FLAC, Ogg, Opus, MP3, AIFF, CAF, ...) and, where the extra
`ffmpeg` is installed, those of FFmpeg; recognised by content: the name of a file plays no part.
Waves are float32 [C, N], full scale ±1.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import soundfile
import soxr

from stemsep import ffmpeg
from stemsep.errors import InputError

# What counts as audio in a listing of a folder. Formats that libsndfile cannot read are here too: a
# song whose stems are .m4a must be an error with a remedy, not a song without stems.
SUFFIXES = frozenset((
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf",
    ".rf64", ".w64", ".m4a", ".mp4", ".aac", ".wma",
))

_SUBTYPES = {"WAV": {32: "FLOAT", 24: "PCM_24", 16: "PCM_16"}, "FLAC": {24: "PCM_24", 16: "PCM_16"}}
_FLAC_RATE = 655350     # what its headers can say, in Hz
_WAV_BYTES = (1 << 32) - (1 << 16)  # what a WAV file's 32-bit sizes can count, less its header


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says; samples a channel."""

    sample_rate: int
    channels: int
    samples: int


@dataclass(frozen=True)
class Clip:
    """A part of an audio file, in seconds; end_s None is its end. stream: which audio of a file
    that holds several, as .stem.mp4 does.
    """

    path: Path
    start_s: float = 0.0
    end_s: float | None = None
    stream: int = 0

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path) + self.part

    @property
    def name(self) -> str:
        """The name of the file without its folder, and the part."""
        return self.path.name + self.part

    @property
    def part(self) -> str:
        """Which part it is, as a fragment of the file's name; empty for all of a plain file."""
        end = "" if self.end_s is None else f",{self.end_s:.10g}"
        parts = [f"track={self.stream}"] if self.stream else []
        parts += [f"t={self.start_s:.10g}{end}"] if self.start_s or end else []
        return "#" + "&".join(parts) if parts else ""


Source = str | os.PathLike | Clip


def probe(source: Source) -> AudioInfo:
    """Return what the header says of a file or clip. Raises InputError as `read` does.

    Nothing is decoded, but of formats that only FFmpeg reads: their headers are not exact.
    """
    with _open(source) as file:
        first, end = _span(file, source)
        return AudioInfo(file.samplerate, file.channels, end - first)


def read(source: Source, *, start: int = 0,
         samples: int | None = None) -> tuple[np.ndarray, int]:
    """Return float32 [C, N] and the sample rate.

    N is `samples`, or what lies between `start` and the end if that is less. Raises InputError when
    the file cannot be read, ends before its header says, or holds a NaN or an infinity.
    """
    with _open(source) as file:
        first, end = _span(file, source)
        first += start
        wanted = max(0, end - first)
        wanted = wanted if samples is None else min(samples, wanted)
        if first and wanted:
            file.seek(first)
        wave_NC = file.read(wanted, dtype="float32", always_2d=True)
        _check_block(wave_NC, source, first, wanted)
        return np.ascontiguousarray(wave_NC.T), file.samplerate


def blocks(source: Source, size: int) -> Iterator[np.ndarray]:
    """Yield a file or clip as float32 [C, size], one after the other; the last may be shorter.

    Raises as `read` does, at the block that is at fault.
    """
    with _open(source) as file:
        first, end = _span(file, source)
        if first:
            file.seek(first)
        while first < end:
            wanted = min(size, end - first)
            wave_NC = file.read(wanted, dtype="float32", always_2d=True)
            _check_block(wave_NC, source, first, wanted)
            yield np.ascontiguousarray(wave_NC.T)
            first += wanted


def resampled(samples: int, rate: int, to: int) -> int:
    """Return how many samples `samples` at `rate` Hz become at `to` Hz."""
    return -(-samples * to // rate)


def resample(waves: Iterable[np.ndarray], rate: int, to: int) -> Iterator[np.ndarray]:
    """Resample blocks [C, n] from `rate` to `to` Hz by soxr (HQ), as they come.

    All of them together have `resampled(N, rate, to)` samples. The same rate gives the same blocks.
    """
    if rate == to:
        yield from waves
        return
    stream: Any = None
    taken = given = 0
    for wave_CN in waves:
        if stream is None:
            stream = soxr.ResampleStream(rate, to, len(wave_CN), quality="HQ")
        taken += wave_CN.shape[1]
        out_CN = stream.resample_chunk(np.ascontiguousarray(wave_CN.T)).T
        given += out_CN.shape[1]
        if out_CN.shape[1]:
            yield out_CN
    if stream is not None:
        rest_CN = stream.resample_chunk(np.zeros((0, len(wave_CN)), np.float32), last=True).T
        missing = resampled(taken, rate, to) - given
        rest_CN = rest_CN[:, :missing]
        yield np.pad(rest_CN, [(0, 0), (0, missing - rest_CN.shape[1])])


# Where the channels of a file with so many stand (WAVE's order: front left, right, centre, low
# frequencies, back or side left and right), as weights for left and right: ITU-R BS.775-3, table 2.
# The channel of low frequencies is left out there.
_HALF_POWER = 0.5 ** 0.5
_FRONT = ((1.0, 0.0), (0.0, 1.0))
_CENTRE = ((_HALF_POWER, _HALF_POWER),)
_BACK = ((_HALF_POWER, 0.0), (0.0, _HALF_POWER))
_NOTHING = ((0.0, 0.0),)
_DOWNMIX = {
    3: _FRONT + _CENTRE,
    4: _FRONT + _BACK,
    5: _FRONT + _CENTRE + _BACK,
    6: _FRONT + _CENTRE + _NOTHING + _BACK,
    7: _FRONT + _CENTRE + _NOTHING + ((0.5, 0.5),) + _BACK,
    8: _FRONT + _CENTRE + _NOTHING + _BACK + _BACK,
}
SURROUND = ("refuse", "front", "downmix")


def remap(wave_CN: np.ndarray, channels: int, source: Source,
          surround: str = "refuse") -> np.ndarray:
    """Return [channels, N], 1 or 2: stereo becomes mono as the mean, mono becomes stereo doubled.

    surround: what becomes of more than two channels: "front" keeps the first two, left and right;
    "downmix" mixes 3 to 8 of them down as ITU-R BS.775 says; "refuse" raises InputError, which
    names `source`.
    """
    have = len(wave_CN)
    if have == channels:
        return wave_CN
    if have > 2:
        wave_CN = _stereo(wave_CN, channels, source, surround)
    if channels == 1:
        return np.full((1, 2), 0.5, np.float32) @ wave_CN      # much faster than a mean
    return np.repeat(wave_CN, 2, axis=0) if len(wave_CN) == 1 else wave_CN


def _stereo(wave_CN: np.ndarray, channels: int, source: Source, surround: str) -> np.ndarray:
    if surround == "front":
        return wave_CN[:2]
    if surround == "downmix" and len(wave_CN) in _DOWNMIX:
        return np.array(_DOWNMIX[len(wave_CN)], np.float32).T @ wave_CN
    remedy = ("mix the file down first" if surround == "downmix"
              else "set config.audio.surround to 'front' or 'downmix', or mix the file down first")
    raise InputError(f"{source}: {len(wave_CN)} channels cannot become {channels}; {remedy}")


@contextmanager
def _open(source: Source) -> Iterator[Any]:
    """Open for reading; what goes wrong while it is open leaves as an InputError."""
    stream = source.stream if isinstance(source, Clip) else 0
    try:
        # By descriptor: given a name, libsndfile and soundfile guess the format from its suffix.
        with open(source, "rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            if size == 0:
                raise InputError(f"{source}: the file is empty; copy or download it again")
            _check_riff(raw.read(1 << 16), size, source)
            raw.seek(0)
            with _known(raw) or ffmpeg.opened(raw, stream, source) as file:
                yield file
    except IsADirectoryError as error:
        raise InputError(f"{source}: is a folder, not an audio file; name a file in it") from error
    except FileNotFoundError as error:
        raise InputError(f"{source}: there is no such file; check the path") from error
    except OSError as error:
        raise InputError(f"{source}: cannot be opened ({error.strerror}); check that you may read "
                         "it") from error
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise InputError(f"{source}: is damaged or cut short ({reason}); copy or download it "
                         "again") from error


def _known(raw: Any) -> Any:
    """Return the open file as libsndfile reads it, or None where it does not know its format."""
    try:
        return soundfile.SoundFile(raw.fileno(), closefd=False)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.lower()
        if "not recognised" in reason or "unknown format" in reason:
            raw.seek(0)
            return None
        raise


def _span(file: Any, source: Source) -> tuple[int, int]:
    """Return the first sample of a file or clip and the one past its last."""
    total = _length(file, source)
    if not isinstance(source, Clip):
        return 0, total
    first = round(source.start_s * file.samplerate)
    end = total if source.end_s is None else min(total, round(source.end_s * file.samplerate))
    if first >= end:
        raise InputError(f"{source}: lasts {total / file.samplerate:.2f} s, and from "
                         f"{source.start_s:g} s on nothing is left to read; correct the start and "
                         "the end in the list")
    return first, end


def _check_riff(head: bytes, size: int, path: Source) -> None:
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


def _length(file: Any, path: Source) -> int:
    """Return the samples a channel; InputError when there are none, or nobody knows how many."""
    if file.frames == 0:
        raise InputError(f"{path}: holds no samples; copy or download it again")
    if file.frames > 1 << 60:       # FLAC written to a pipe, whose end libsndfile cannot read
        raise InputError(f"{path}: does not say how long it is; convert it to WAV or FLAC again")
    return file.frames


def _check_block(wave_NC: np.ndarray, path: Source, first: int, wanted: int) -> None:
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


class DiskRefused(InputError):
    """A file cannot be written where it should be: another one would fare no better."""


class Writer:
    """Writes a WAV or FLAC file block by block; under its name it appears complete, or not at all.

    ``with Writer(path, 44100, 2) as writer: writer.write(wave_CN)``. A path that ends in .flac is
    written as FLAC, every other as WAV. bits: 32 (float; WAV only), 24 or 16; whole numbers clip at
    full scale. samples: the expected length a channel; RF64 is written where WAV cannot hold that
    much. Folders on the way are made. A full disk and a forbidden folder raise DiskRefused, a WAV
    file over 4 GiB and what the format cannot hold InputError; both name the file.
    """

    def __init__(self, path: str | os.PathLike, sample_rate: int, channels: int, *, bits: int = 32,
                 samples: int = 0) -> None:
        self.path = Path(path)
        kind = "FLAC" if self.path.suffix.lower() == ".flac" else "WAV"
        if bits not in _SUBTYPES[kind]:
            raise InputError(f"{path}: {kind} cannot be written with {bits} bits; choices: "
                             f"{', '.join(map(str, _SUBTYPES[kind]))}")
        if kind == "FLAC" and (sample_rate > _FLAC_RATE or channels > 8):
            raise InputError(f"{path}: FLAC holds at most {_FLAC_RATE} Hz and 8 channels, not "
                             f"{sample_rate} Hz and {channels}; write WAV")
        self._partial = self.path.with_name(f".{self.path.name}.part")
        self._frame_bytes = channels * bits // 8
        self._large = kind == "WAV" and samples * self._frame_bytes > _WAV_BYTES
        self._limited = kind == "WAV" and not self._large
        self._written = 0
        self._raw: Any = None
        self._file: Any = None
        try:
            if self.path.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._raw = open(self._partial, "wb+")
            self._file = soundfile.SoundFile(
                self._raw.fileno(), "w", sample_rate, channels, _SUBTYPES[kind][bits],
                format="RF64" if self._large else kind, closefd=False)
        except (OSError, soundfile.LibsndfileError) as error:
            self._fail(error)

    def write(self, wave_CN: np.ndarray) -> None:
        """Append [C, N]."""
        self._written += wave_CN.shape[-1]
        if self._limited and self._written * self._frame_bytes > _WAV_BYTES:
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
        raise DiskRefused(f"{self.path}: cannot be written ({reason}); free some space, or choose "
                          "a folder that you may write to") from error

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
