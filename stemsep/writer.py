"""Audio files on their way to the disk: WAV and FLAC, block by block, complete or not there."""

import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import soundfile

from stemsep.errors import InputError

_SUBTYPES = {"WAV": {32: "FLOAT", 24: "PCM_24", 16: "PCM_16"}, "FLAC": {24: "PCM_24", 16: "PCM_16"}}
_FLAC_RATE = 655350     # what its headers can say, in Hz
_WAV_BYTES = (1 << 32) - (1 << 16)  # what a WAV file's 32-bit sizes can count, less its header


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
