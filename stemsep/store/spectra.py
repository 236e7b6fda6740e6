"""A stem as it comes, block by block, turned into the shards that a store holds."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from stemsep import stream
from stemsep.errors import InputError
from stemsep.store.records import LEVEL_FRAMES, SILENCE_DB, StoreSpec

_MAX_FLOAT16 = 65504.0
_STEP_FRAMES = 128          # that are transformed at once: their spectra stay in the cache


@dataclass
class Loudness:
    """How loud a stem is, as far as it went: see `Record`."""

    squares: float = 0.0        # of all samples
    norms: list[np.ndarray] = field(default_factory=list)

    @property
    def norm(self) -> float:
        """Σₜ ‖Xₜ‖₂."""
        return sum(float(norms_T.sum(dtype=np.float64)) for norms_T in self.norms)

    def levels(self) -> tuple[int, ...]:
        """Return the mean norm of every LEVEL_FRAMES frames in dB."""
        norms_T = np.concatenate(self.norms)
        firsts = np.arange(0, len(norms_T), LEVEL_FRAMES)
        counts = np.diff(np.append(firsts, len(norms_T)))
        means = np.add.reduceat(norms_T, firsts) / counts
        floor = 10 ** (SILENCE_DB / 20)
        return tuple(np.rint(20 * np.log10(np.maximum(means, floor))).astype(int).tolist())


def transform(blocks: Iterable[np.ndarray], spec: StoreSpec, samples: int, loudness: Loudness, *,
              name: str) -> Iterator[tuple[int, np.ndarray, bool]]:
    """Yield (first frame, shard float16 [T, C, F, 2], whether anything sounds in it).

    blocks: float32 [C, n], `samples` of them in all; silence follows what is missing. `loudness`
    is brought up to date with every shard. Memory is that of one shard. Raises InputError, naming
    the stem, when a spectrogram is beyond what float16 can hold.
    """
    stft = spec.stft
    pieces = _measured(stream.cut_blocks(blocks, spec.channels, samples=samples,
                                         size=_STEP_FRAMES * stft.hop), loudness)
    spectra = stream.analyse(pieces, stft)
    held = np.zeros((spec.channels, 0, stft.bins), np.complex64)
    for first, count in spec.shards(stft.frames(samples)):
        shard_TCF2 = np.empty((count, *spec.frame_shape), np.float16)
        filled, sounds = 0, False
        while filled < count:
            spec_CTF = held if held.shape[1] else next(spectra)
            held = spec_CTF[:, count - filled:]
            parts_TCF2 = spec_CTF[:, :count - filled].transpose(1, 0, 2)[..., None].view(np.float32)
            norms_T = np.sqrt(np.einsum("tcfp,tcfp->t", parts_TCF2, parts_TCF2))
            # No part exceeds its frame's norm: only a suspect norm asks for a look at the parts.
            fits = norms_T.max() <= _MAX_FLOAT16 or np.abs(parts_TCF2).max() <= _MAX_FLOAT16
            if not fits:
                raise InputError(f"{name} is far beyond full scale, its spectrogram does not fit "
                                 "into float16; scale its files to ±1")
            shard_TCF2[filled:filled + len(norms_T)] = half(parts_TCF2)
            filled += len(norms_T)
            loudness.norms.append(norms_T)
            sounds = sounds or bool(norms_T.any())
        yield first, shard_TCF2, sounds


def _measured(pieces: Iterable[np.ndarray], loudness: Loudness) -> Iterator[np.ndarray]:
    for piece_CN in pieces:
        loudness.squares += float(np.vdot(piece_CN, piece_CN))
        yield piece_CN


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
