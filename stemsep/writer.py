"""Audio files on their way to the disk, block by block, complete or not there: WAV, FLAC, Ogg
Vorbis, Opus and MP3, all through libsndfile.
"""

import errno
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import soundfile

from stemsep.errors import InputError
from stemsep.resampling import Resampler

_ADD_PEAK_CHUNK = 0x1050    # SFC_SET_ADD_PEAK_CHUNK of sndfile.h, which soundfile has no name for
# What the system says against a path, and not against writing.
_OF_THE_PATH = frozenset((errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST,
                          errno.EINVAL, errno.EILSEQ, errno.ELOOP))
_WAV_BYTES = (1 << 32) - (1 << 16)  # what a WAV file's 32-bit sizes can count, less its header
# The tags that libsndfile knows, by its names.
TAGS = ("title", "artist", "album", "date", "genre", "tracknumber", "comment", "copyright",
        "license")


@dataclass(frozen=True)
class Format:
    """What a file format holds. bits -> libsndfile's name of the samples; the first is usual, 0 is
    of a lossy format. rates: those it knows, in Hz, or the highest alone.
    """

    name: str
    subtypes: Mapping[int, str]
    channels: int
    rates: tuple[int, ...]

    @property
    def lossy(self) -> bool:
        return 0 in self.subtypes

    def rate(self, sample_rate: int) -> int:
        """Return the rate of a file for audio of `sample_rate`: the same, or the next higher that
        the format knows, or its highest.
        """
        if len(self.rates) == 1:
            return min(sample_rate, self.rates[0])
        return next((rate for rate in self.rates if rate >= sample_rate), self.rates[-1])


_MPEG_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
WAV = Format("WAV", {32: "FLOAT", 24: "PCM_24", 16: "PCM_16"}, 1024, (1 << 31,))
FORMATS = {
    ".wav": WAV,
    ".flac": Format("FLAC", {24: "PCM_24", 16: "PCM_16"}, 8, (655350,)),
    ".ogg": Format("OGG", {0: "VORBIS"}, 255, (192000,)),
    ".opus": Format("OGG", {0: "OPUS"}, 8, (8000, 12000, 16000, 24000, 48000)),
    ".mp3": Format("MP3", {0: "MPEG_LAYER_III"}, 2, _MPEG_RATES),
}


def format_of(path: str | os.PathLike) -> Format:
    """Return the format that a file's name asks for; of a name without one, WAV."""
    return FORMATS.get(Path(path).suffix.lower(), WAV)


class DiskRefused(InputError):
    """A file cannot be written where it should be: another one would fare no better."""


class Writer:
    """Writes an audio file block by block; under its name it appears complete, or not at all.

    ``with Writer(path, 44100, 2) as writer: writer.write(wave_CN)``. The name's suffix says the
    format: one of `FORMATS`, else WAV. bits: 32 (float; WAV only), 24 or 16; None is the most that
    the format has. Whole numbers clip at full scale. quality: of a lossy format, 0 to 1. samples:
    the expected length a channel; RF64 is written where WAV cannot hold that much. tags: as TAGS.
    A rate that MP3 or Opus does not know is resampled to the next higher one. Folders on the way
    are made. A full disk and a forbidden folder raise DiskRefused; a name that the disk cannot
    have, a WAV file over 4 GiB and what the format cannot hold InputError; both name the file.
    """

    def __init__(self, path: str | os.PathLike, sample_rate: int, channels: int, *,
                 bits: int | None = None, samples: int = 0, quality: float = 0.8,
                 tags: Mapping[str, str] | None = None) -> None:
        self.path, self.format = Path(path), format_of(path)
        bits = next(iter(self.format.subtypes)) if bits is None else bits
        check_bits(str(path), bits)
        if self._too_much(sample_rate, channels):
            raise InputError(f"{path}: {self.format.name} holds at most {self.format.rates[-1]} Hz "
                             f"and {self.format.channels} channels, not {sample_rate} Hz and "
                             f"{channels}; write WAV")
        self._partial = self.path.with_name(_partial(self.path.name))
        self._frame_bytes = channels * bits // 8
        large = self.format is WAV and samples * self._frame_bytes > _WAV_BYTES
        self._limited = self.format is WAV and not large
        self._written = 0
        self._raw: Any = None
        self._file: Any = None
        rate = self.format.rate(sample_rate)
        self._resampler = None if rate == sample_rate else Resampler(sample_rate, rate, channels)
        lossy = {"compression_level": 1 - quality} if self.format.lossy else {}
        try:
            if self.path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "it is a folder")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._raw = open(self._partial, "wb+")
            self._file = soundfile.SoundFile(
                self._raw.fileno(), "w", rate, channels, self.format.subtypes[bits],
                format="RF64" if large else self.format.name, closefd=False, **lossy)
            # Float has a chunk of peaks otherwise, with the time: no two files would be the same.
            soundfile._snd.sf_command(self._file._file, _ADD_PEAK_CHUNK, soundfile._ffi.NULL, 0)
            self._tag(tags or {})
        except (OSError, soundfile.LibsndfileError) as error:
            self._fail(error)

    def _tag(self, tags: Mapping[str, str]) -> None:
        for name, value in tags.items():
            try:
                setattr(self._file, name, value)
            except soundfile.LibsndfileError:
                pass        # a format has not all of them

    def write(self, wave_CN: np.ndarray) -> None:
        """Append [C, N]."""
        self._written += wave_CN.shape[-1]
        if self._limited and self._written * self._frame_bytes > _WAV_BYTES:
            raise InputError(f"{self.path}: WAV holds at most 4 GiB; write fewer bits, or separate "
                             "the song in parts")
        self._append(wave_CN if self._resampler is None else self._resampler.add(wave_CN))

    def _append(self, wave_CN: np.ndarray) -> None:
        try:
            self._file.write(wave_CN.T)
        # soundfile checks by an assertion that all was written
        except (OSError, AssertionError, soundfile.LibsndfileError) as error:
            self._fail(error)

    def close(self) -> None:
        """Write what is still in memory: after this, only the file's name is missing."""
        if self._resampler is not None:
            self._append(self._resampler.end())
            self._resampler = None
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

    def _too_much(self, sample_rate: int, channels: int) -> bool:
        # A rate that is one of a list is resampled; that of FLAC and Vorbis is their highest.
        whole = len(self.format.rates) == 1
        return channels > self.format.channels or whole and sample_rate > self.format.rates[0]

    def _fail(self, error: Exception) -> None:
        """Remove what was written and raise the InputError for `error`."""
        reason = "" if isinstance(error, OSError) else self._reason()
        self._discard()
        raise refusal(self.path, error, reason) from error

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


def _partial(name: str) -> str:
    """Return the name of a file that is not complete; that of a file may already be the longest."""
    partial = f".{name}.part"
    if len(os.fsencode(partial)) <= 255:
        return partial
    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.part"


def refusal(path: Path, error: Exception, reason: str = "") -> InputError:
    """Return the error to raise where a path cannot be written: DiskRefused, but where the path
    itself is at fault, so that another one would do.
    """
    reason = reason or getattr(error, "strerror", None) or str(error)
    if isinstance(error, OSError) and error.errno in _OF_THE_PATH:
        return InputError(f"{path}: cannot be written ({reason}); give it another name, or choose "
                          "another folder")
    return DiskRefused(f"{path}: cannot be written ({reason}); free some space, or choose a folder "
                       "that you may write to")


def check_bits(path: str, bits: int) -> None:
    """Raise InputError where the format of a file's name has no samples of so many bits."""
    form = format_of(path)
    if bits not in form.subtypes:
        choices = ", ".join(str(known) for known in form.subtypes if known)
        raise InputError(f"{path}: {form.name} cannot be written with {bits} bits; " + (
            f"choices: {choices}" if choices else "it has a quality instead, leave the bits out"))
