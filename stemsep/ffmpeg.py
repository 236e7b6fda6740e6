"""Audio that libsndfile does not know (M4A, AAC, WMA, .stem.mp4, ...), through FFmpeg's libraries.

They come with the package `av`, the extra `ffmpeg`. A `Decoder` reads as a `soundfile.SoundFile`.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from stemsep.errors import InputError

_SHORT_S = 0.2      # that a file may lack of the length that its header gives, which is rounded
_RAW = 0x100        # AVFMT_GENERIC_INDEX: a format without an index, nor a length
_COUNTED: dict[tuple[int, ...], int] = {}       # (file, its state, stream) -> samples a channel


@contextmanager
def opened(raw: Any, stream: int, name: object) -> "Iterator[Decoder]":
    """Decode audio stream number `stream` of an open binary file.

    name: what errors call the file. Raises InputError when it is no audio, is damaged, has not so
    many streams, or when `av` is not installed.
    """
    try:
        import av  # an extra, and slow to import
    except ImportError as error:
        raise InputError(f"{name}: is no audio that libsndfile reads; install FFmpeg's libraries "
                         "(pip install av), or convert the file to WAV or FLAC") from error
    try:
        decoder = Decoder(raw, stream, name)
        try:
            yield decoder
        finally:
            decoder.close()
    except av.error.PermissionError as error:       # of the protocols, none is allowed
        raise InputError(f"{name}: is a list of other files, which is not followed; give the audio "
                         "itself") from error
    except av.error.FFmpegError as error:
        raw.seek(4)
        if isinstance(error, av.error.InvalidDataError) and raw.read(4) != b"ftyp":
            raise InputError(f"{name}: is no audio that can be read here; convert it to WAV or "
                             "FLAC") from error
        raise InputError(f"{name}: is damaged or cut short ({error.strerror}); copy or download it "
                         "again") from error


class _Bytes:
    """The bytes of a file, without its name, for PyAV.

    A damaged file sends it to places before the first byte; that is a number here and no exception,
    of which PyAV prints the traceback.
    """

    def __init__(self, raw: Any) -> None:
        self.read, self.tell, self._raw = raw.read, raw.tell, raw

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._raw.seek(place, whence)
        except (OSError, ValueError):
            return -errno.EINVAL


class Decoder:
    """One stream of a file, decoded from its beginning to its end."""

    _container: Any     # the rest is set by `_rewind`
    _stream: Any
    _held: np.ndarray
    _blocks: Iterator[np.ndarray]

    def __init__(self, raw: Any, stream: int, name: object) -> None:
        self._raw, self._number, self._name = raw, stream, name
        self._container = None
        self._rewind()
        codec = self._stream.codec_context
        self.samplerate, self.channels = int(codec.sample_rate), int(codec.channels)
        if not self.samplerate or not self.channels:        # it took other bytes for a format
            raise self._no_audio()

    @property
    def frames(self) -> int:
        """The samples a channel. No header counts them exactly: all is decoded once, to count."""
        status = os.fstat(self._raw.fileno())
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, self._number)
        if key not in _COUNTED:
            counted = sum(frame.samples for frame in self._container.decode(self._stream))
            expected_s = self._header_s()
            if counted / self.samplerate < expected_s - _SHORT_S:
                raise InputError(f"{self._name}: ends after {counted / self.samplerate:.2f} of "
                                 f"{expected_s:.2f} s; copy or download it again")
            _COUNTED[key] = counted
            self._rewind()
        return _COUNTED[key]

    def _header_s(self) -> float:
        """Return how long the header says the stream is, 0 where it does not: of a raw stream, as
        in .aac, FFmpeg guesses it from its first packets.
        """
        if self._container.format.flags & _RAW:
            return 0.0
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        alone = len(self._container.streams) == 1       # a picture may last longer
        return (self._container.duration or 0) / 1e6 if alone else 0.0

    def seek(self, sample: int) -> None:
        """Go to a sample, by decoding up to it: where FFmpeg seeks to is not exact."""
        self._rewind()
        while sample > 0 and len(skipped := self.read(min(sample, 1 << 16))):
            sample -= len(skipped)

    def read(self, samples: int, **_: Any) -> np.ndarray:
        """Return the next float32 [samples, C], fewer at the end."""
        parts, count = [self._held], len(self._held)
        while count < samples and (block := next(self._blocks, None)) is not None:
            parts.append(block)
            count += len(block)
        joined = np.concatenate(parts)
        self._held = joined[samples:]
        return joined[:samples]

    def copy_metadata(self) -> dict[str, str]:
        """Return the tags by the names that libsndfile gives them."""
        named = {name.lower(): value for name, value in self._container.metadata.items()}
        return {**named, "tracknumber": named.get("track", "")}

    def close(self) -> None:
        """Close the container; the file stays open."""
        if self._container is not None:
            self._container.close()

    def _rewind(self) -> None:
        """Open the container anew: a decoder that goes back keeps its noise, and decodes other
        samples than one that begins.
        """
        import av

        self.close()
        self._raw.seek(0)
        # A playlist must not open what it names: other files, addresses.
        self._container = av.open(_Bytes(self._raw), metadata_errors="replace",
                                  options={"protocol_whitelist": "none"})
        found = self._container.streams.audio
        if not found:
            raise self._no_audio()
        if self._number >= len(found):
            raise InputError(f"{self._name}: has {len(found)} streams of audio, not "
                             f"{self._number + 1}; download it again")
        self._stream = found[self._number]
        if self._stream.codec_context is None:      # nothing here decodes it
            raise self._no_audio()
        self._held = np.zeros((0, self._stream.codec_context.channels), np.float32)
        self._blocks = self._decoded()

    def _no_audio(self) -> InputError:
        return InputError(f"{self._name}: is no audio that can be read here; convert it to WAV or "
                          "FLAC")

    def _decoded(self) -> Iterator[np.ndarray]:
        """Yield all samples, float32 [n, C]."""
        import av

        convert = av.AudioResampler(format="flt", layout=self._stream.codec_context.layout,
                                    rate=self.samplerate)
        for frame in self._container.decode(self._stream):
            try:
                converted = convert.resample(frame)
            except ValueError as error:     # of another form than the first
                raise InputError(f"{self._name}: changes its sample rate or channels midway; "
                                 "convert it to WAV or FLAC") from error
            for block in converted:
                yield block.to_ndarray().reshape(-1, self.channels)
