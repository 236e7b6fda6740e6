"""The short-time Fourier transform and its inverse, on the host and on a device, with the same
code.

Centre padded with zeros, periodic Hann, orthonormal scaling (1/√n_fft), so that a spectrogram of
audio within ±1 stays within float16. Frame t is centred on sample t·hop; the inverse divides the
overlapped frames by the sum of the squared windows (Griffin & Lim 1984, eq. 6), which is exact for
any hop ≤ n_fft/2.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft


@dataclass(frozen=True)
class Stft:
    """An STFT: hashable, so that jitted functions may close over it or take it as a static
    argument.

    n_fft and hop in samples. `xp` of the methods is numpy (scipy's FFT on the host) or `jax.numpy`.
    """

    sample_rate: int
    n_fft: int
    hop: int

    @property
    def bins(self) -> int:
        return self.n_fft // 2 + 1

    def frames(self, samples: int) -> int:
        """Return the number of frames of a signal: every sample lies between two frame centres."""
        return -(-samples // self.hop) + 1

    def window(self) -> np.ndarray:
        """Return the periodic Hann window, float32 [n_fft]."""
        return _hann(self.n_fft)

    def analyse(self, wave: Any, *, xp: Any = np) -> Any:
        """Transform float32 [..., N] to complex64 [..., T, F], T = frames(N)."""
        samples = wave.shape[-1]
        frames = self.frames(samples)
        tail = (frames - 1) * self.hop + self.n_fft // 2 - samples
        padded = xp.pad(wave, [(0, 0)] * (wave.ndim - 1) + [(self.n_fft // 2, tail)])
        return self.transform(self.cut(padded, frames, xp=xp), xp=xp)

    def cut(self, padded: Any, frames: int, *, xp: Any = np) -> Any:
        """Cut [..., (frames - 1)·hop + n_fft] into overlapping frames [..., frames, n_fft]."""
        if xp is np:
            view = np.lib.stride_tricks.sliding_window_view(padded, self.n_fft, axis=-1)
            return view[..., : (frames - 1) * self.hop + 1 : self.hop, :]
        # Frames as rows of neighbouring hops: the gradient is a sum of slices, not a scatter.
        pieces = -(-self.n_fft // self.hop)
        samples = (frames + pieces - 1) * self.hop
        missing = max(0, samples - padded.shape[-1])    # of the last hop, if it is not a whole one
        hops = xp.pad(padded, [(0, 0)] * (padded.ndim - 1) + [(0, missing)])[..., :samples]
        hops = hops.reshape(*hops.shape[:-1], -1, self.hop)
        joined = xp.concatenate([hops[..., k : k + frames, :] for k in range(pieces)], axis=-1)
        return joined[..., : self.n_fft]

    def transform(self, frames: Any, *, xp: Any = np) -> Any:
        """Window and transform frames float32 [..., n_fft] to complex64 [..., F]."""
        rfft = scipy.fft.rfft if xp is np else xp.fft.rfft
        return rfft(frames * (self.window() / np.float32(np.sqrt(self.n_fft))), axis=-1)

    def inverse_frames(self, spec: Any, *, xp: Any = np) -> Any:
        """Transform complex64 [..., F] back to windowed frames float32 [..., n_fft], ready to be
        overlapped.
        """
        irfft = scipy.fft.irfft if xp is np else xp.fft.irfft
        frames = irfft(spec, n=self.n_fft, axis=-1)
        frames *= self.window() * np.float32(np.sqrt(self.n_fft))   # on the host in place
        return frames

    def overlap_add(self, frames: Any, *, xp: Any = np) -> Any:
        """Add frames [..., T, n_fft] at their places: [..., (T + ⌈n_fft/hop⌉ - 1)·hop]; zeros
        follow the last frame.
        """
        count, pieces = frames.shape[-2], -(-self.n_fft // self.hop)
        lead, missing = [(0, 0)] * (frames.ndim - 2), pieces * self.hop - self.n_fft
        if missing:     # of the last hop
            frames = xp.pad(frames, lead + [(0, 0), (0, missing)])
        if xp is np:
            total = np.zeros(frames.shape[:-2] + (count + pieces - 1, self.hop), frames.dtype)
            for k in range(pieces):
                total[..., k : k + count, :] += frames[..., k * self.hop : (k + 1) * self.hop]
        else:
            total = sum(
                xp.pad(
                    frames[..., k * self.hop : (k + 1) * self.hop],
                    lead + [(k, pieces - 1 - k), (0, 0)],
                )
                for k in range(pieces)
            )
        return total.reshape(*total.shape[:-2], -1)

    def weight(self, frames: int) -> np.ndarray:
        """Return the sum of the squared windows of `frames` frames, float32, as long as
        `overlap_add` returns.
        """
        few = min(frames, 2 * -(-self.n_fft // self.hop))       # of more, those between are alike
        weight = self.overlap_add(np.broadcast_to(self.window() ** 2, (few, self.n_fft)))
        first, between, last = np.split(weight, [few // 2 * self.hop, (few // 2 + 1) * self.hop])
        return np.concatenate([first, np.tile(between, frames - few + 1), last])

    def synthesise(self, spec: Any, samples: int, *, xp: Any = np) -> Any:
        """Transform complex64 [..., T, F] back to float32 [..., samples], exactly as long as asked.

        ``synthesise(analyse(x), N) == x`` for every N >= 1. Raises ValueError when T is not
        frames(samples).
        """
        frames = spec.shape[-2]
        if frames != self.frames(samples):
            raise ValueError(
                f"{frames} frames cannot give {samples} samples; that takes {self.frames(samples)}"
            )
        start = self.n_fft // 2
        wave = self.overlap_add(self.inverse_frames(spec, xp=xp), xp=xp)[
            ..., start : start + samples
        ]
        return wave / self.weight(frames)[start : start + samples]

    def interior(self, spec: Any, *, xp: Any = np) -> Any:
        """Transform frames from within a song, complex64 [..., T, F], to the samples that no other
        frame would have touched: float32 [..., T·hop − n_fft + hop], from n_fft/2 − hop after the
        centre of the first frame on.
        """
        inside = slice(self.n_fft - self.hop, spec.shape[-2] * self.hop)
        wave = self.overlap_add(self.inverse_frames(spec, xp=xp), xp=xp)[..., inside]
        return wave / self.weight(spec.shape[-2])[inside]

    def at_rate(self, sample_rate: int) -> "Stft":
        """Return the STFT with the same frame period and bin spacing at another sample rate, to the
        nearest sample.

        A network trained on this STFT sees the same spectrum in the lowest bins of the other one,
        at any rate: no resampling is needed to separate a song at its own rate.
        """
        ratio = sample_rate / self.sample_rate
        n_fft = max(4, 2 * round(self.n_fft * ratio / 2))
        return Stft(sample_rate, n_fft, min(n_fft // 2, max(1, round(self.hop * ratio))))


@functools.lru_cache(maxsize=16)
def _hann(n_fft: int) -> np.ndarray:
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    window = window.astype(np.float32)
    window.flags.writeable = False
    return window
