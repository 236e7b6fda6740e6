"""Audio files: look, read, resample, write. Every fault of a file is an InputError that names it.

Formats are those of libsndfile (WAV, FLAC, Ogg, Opus, MP3, AIFF, CAF, ...) and, where the extra
`ffmpeg` is installed, those of FFmpeg; recognised by content: the name of a file plays no part.
Waves are float32 [C, N], full scale ±1.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from stemsep import ffmpeg, headers
from stemsep.errors import InputError
from stemsep.resampling import resample, resampled
from stemsep.writer import TAGS, DiskRefused, Writer

# What counts as audio in a listing of a folder. Formats that libsndfile cannot read are here too: a
# song whose stems are .m4a must be an error with a remedy, not a song without stems.
SUFFIXES = frozenset((
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf",
    ".rf64", ".w64", ".m4a", ".mp4", ".aac", ".wma",
))

RATES = (1000, 768000)     # of what is audio, in Hz
_DENSE = 16             # samples a byte that call for a closer look; silence in FLAC has more


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


def tags(source: Source) -> dict[str, str]:
    """Return the tags of a file that `Writer` can write, by name; raises InputError as `read`."""
    with _open(source) as file:
        return {name: value for name in TAGS if (value := file.copy_metadata().get(name, ""))}


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
            needed = headers.needed(raw)
            if needed > size:
                raise InputError(f"{source}: is cut short ({size} of {needed} bytes); copy or "
                                 "download it again")
            raw.seek(0)
            # A file that libsndfile knows has one stream.
            with (None if stream else _known(raw)) or ffmpeg.opened(raw, stream, source) as file:
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


class _Forward(soundfile.SoundFile):
    """Reads on from where it is.

    After every block soundfile seeks to where it already is, and near the end of an Opus file
    libsndfile then decodes other samples.
    """

    def seekable(self) -> bool:
        return False


def _known(raw: Any) -> Any:
    """Return the open file as libsndfile reads it, or None where it does not know its format."""
    try:
        return _Forward(raw.fileno(), closefd=False)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.lower()
        if "not recognised" in reason or "unknown format" in reason:
            raw.seek(0)
            return None
        raise


def _span(file: Any, source: Source) -> tuple[int, int]:
    """Return the first sample of a file or clip and the one past its last."""
    total = _length(file, source)
    low, high = RATES
    if not low <= file.samplerate <= high:
        raise InputError(f"{source}: its header says {file.samplerate} Hz, and audio has {low} to "
                         f"{high}; export the file again")
    if not isinstance(source, Clip):
        return 0, total
    first = round(source.start_s * file.samplerate)
    end = total if source.end_s is None else min(total, round(source.end_s * file.samplerate))
    if first >= end:
        raise InputError(f"{source}: lasts {total / file.samplerate:.2f} s, and from "
                         f"{source.start_s:g} s on nothing is left to read; correct the start and "
                         "the end in the list")
    return first, end


def _length(file: Any, path: Source) -> int:
    """Return the samples a channel; InputError when there are none, or nobody knows how many."""
    if file.frames == 0:
        raise InputError(f"{path}: holds no samples; copy or download it again")
    if file.frames > 1 << 60:       # FLAC written to a pipe, whose end libsndfile cannot read
        raise InputError(f"{path}: does not say how long it is; convert it to WAV or FLAC again")
    if isinstance(file, soundfile.SoundFile):       # FFmpeg's samples are counted
        _check_claim(file, path)
    return file.frames


def _check_claim(file: soundfile.SoundFile, path: Source) -> None:
    """Raise InputError for a header that claims more samples than the file can hold.

    Before anything of that size is made: a header of a few bytes can claim terabytes.
    """
    with open(path, "rb") as raw:
        if file.frames * file.channels <= _DENSE * os.fstat(raw.fileno()).st_size:
            return
        # In a descriptor of its own: the other's place is not to move.
        with soundfile.SoundFile(raw.fileno(), closefd=False) as other:
            other.seek(file.frames - 1)
            if len(other.read(1, dtype="float32", always_2d=True)):
                return
    raise InputError(f"{path}: claims {file.frames} samples, more than it holds; copy or download "
                     "it again")


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


__all__ = ["RATES", "SUFFIXES", "SURROUND", "AudioInfo", "Clip", "DiskRefused", "Source", "Writer",
           "blocks", "probe", "read", "remap", "resample", "resampled", "tags"]
