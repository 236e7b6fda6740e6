"""BSS Eval version 4 of source images: SDR, ISR, SIR and SAR of frames of a second, as in SiSEC.

The definitions are those of Vincent et al. 2006 (IEEE Trans. ASLP 14(4)) for images (Vincent et al.
2007, ICA), with one set of distortion filters for the whole song (Stöter, Liutkus and Ito 2018,
arXiv:1804.06267); the numbers are museval's. For one target, with s the true signal in a frame, ŝ
the estimate, q the part of ŝ that filters of 512 taps make of s alone, and p the part that they
make of the true signals of all targets together,

    SDR = |s|² / |ŝ − s|²    ISR = |s|² / |q − s|²    SIR = |q|² / |p − q|²    SAR = |p|² / |ŝ − p|²

The filters are the least-squares ones over the whole song: their normal equations are block
Toeplitz, of correlations at lags of 0 to 511 samples. Those are gathered block by block, and
energies of filtered frames are read off their spectra (Parseval), so nothing as long as a song is
transformed or filtered.

Where true signals have bands that are emptier than the rounding of 24-bit files, the filters are
free there, and SIR and SAR hang on rounding, here as in museval.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import scipy.fft
import scipy.linalg

MEASURES = ("sdr", "isr", "sir", "sar")
TAPS = 512          # of a distortion filter
LIMIT_DB = 100.0    # of a score, as in `metrics`: a perfect estimate stays a number
_FFT = 1 << 13      # samples of a block whose correlations are gathered
_BLOCKS = 4         # such blocks at once
_FRAMES = 4         # frames scored at once

Frames = dict[str, np.ndarray]      # measure -> dB of each frame, float64 [T]; NaN: not scored


class BssEval:
    """Scores estimates against the true signals of a song; what is only theirs is computed once.

    ``BssEval(references, window=rate)(estimates)`` returns ``{target: {measure: dB of frames}}``.
    """

    def __init__(self, references: Mapping[str, np.ndarray], *, window: int,
                 taps: int = TAPS) -> None:
        """references: target -> wave [C, N], all of one shape, of floats. window: samples of a
        frame; frames do not overlap, and of a song that is longer than one an unfinished last frame
        is left out.

        A target that is silent throughout is no part of what is solved, and has no score. Raises
        ValueError for waves of different shapes.
        """
        shapes = {wave.shape for wave in references.values()}
        if len(shapes) != 1 or window < 1:
            raise ValueError(f"references are waves of one shape [channels, samples], not {shapes},"
                             f" and a window is at least 1 sample, not {window}")
        (self._channels, self._samples), = shapes
        self._window, self._taps = min(window, self._samples), taps
        self._waves = {name: wave for name, wave in references.items() if sounds(wave).any()}
        if self._waves:
            self._sounding_T = self._sounding(self._waves.values())
            self._solve()

    def __call__(self, estimates: Mapping[str, np.ndarray]) -> dict[str, Frames]:
        """Score estimates of some or all targets, each like its reference.

        A frame in which any reference or any of the estimates is silent (its channels add up to
        nothing, as museval has it) is not scored: NaN. So are all frames of a target that is silent
        throughout, or whose estimate is, and those neither hinder nor help the others. SIR is NaN
        where there is no other target to interfere. Raises ValueError for a wave of another shape.
        """
        for name, wave in estimates.items():
            if wave.shape != (self._channels, self._samples):
                raise ValueError(f"the estimate of {name!r} has shape {wave.shape}, its song "
                                 f"{(self._channels, self._samples)}")
        heard = {name: wave for name, wave in estimates.items()
                 if name in self._waves and sounds(wave).any()}
        count = len(self._sounding_T) if self._waves else 0
        scores = {name: {m: np.full(count, np.nan) for m in MEASURES} for name in estimates}
        if not heard:
            return scores
        all_F, own_F = self._filters(heard)
        frames = np.flatnonzero(self._sounding_T & self._sounding(heard.values()))
        for some in np.split(frames, range(_FRAMES, len(frames), _FRAMES)):
            values_MKB = self._score(heard, some, all_F, own_F)
            for k, name in enumerate(heard):
                for measure, values_B in zip(MEASURES, values_MKB[:, k]):
                    scores[name][measure][some] = values_B
        return scores

    def _sounding(self, waves: Iterable[np.ndarray]) -> np.ndarray:
        """Return in which frames all of the waves sound, bool [T]."""
        count = self._samples // self._window
        return np.logical_and.reduce([
            sounds(wave)[:count * self._window].reshape(count, self._window).any(1)
            for wave in waves])

    def _solve(self) -> None:
        """Correlate the references with each other and factor their normal equations."""
        waves, channels, taps = list(self._waves.values()), self._channels, self._taps
        rows = len(waves) * channels
        lags_RRL = self._correlate()
        gram = np.empty((rows * taps, rows * taps), order="F")
        for i in range(rows):
            for j in range(i, rows):
                block = scipy.linalg.toeplitz(lags_RRL[i, j], lags_RRL[j, i])
                gram[i * taps:(i + 1) * taps, j * taps:(j + 1) * taps] = block
                gram[j * taps:(j + 1) * taps, i * taps:(i + 1) * taps] = block.T
        size = channels * taps
        self._own = {name: factor(gram[k * size:(k + 1) * size, k * size:(k + 1) * size])
                     for k, name in enumerate(self._waves)}
        # One target: what its own filters make is all there is.
        self._all = factor(gram) if len(waves) > 1 else next(iter(self._own.values()))

    def _correlate(self, others: Sequence[np.ndarray] = ()) -> np.ndarray:
        """Return Σ_n b[n]·a[n − lag], float64 [rows of a, rows of b, lags], of the channels a of
        the references and b of other waves, or of the references too.
        """
        waves, before = list(self._waves.values()), self._taps - 1
        length = max(_FFT, scipy.fft.next_fast_len(4 * self._taps, real=True))
        firsts = np.arange(-before, self._samples - before, length - before)
        total_FAB: np.ndarray | float = 0.0
        for some in np.split(firsts, range(_BLOCKS, len(firsts), _BLOCKS)):
            a_NRB = cut(waves, some, length=length)
            # Without what comes before the block, every pair of samples is in one block only.
            b_NRB = cut(others, some, length=length) if others else a_NRB.copy("K")
            b_NRB[:before] = 0
            a_FRB, b_FRB = scipy.fft.rfft(a_NRB, axis=0), scipy.fft.rfft(b_NRB, axis=0)
            total_FAB = total_FAB + np.matmul(
                a_FRB.conj(), np.ascontiguousarray(b_FRB.transpose(0, 2, 1)))
        lags_NAB = scipy.fft.irfft(total_FAB, n=length, axis=0)
        return np.ascontiguousarray(lags_NAB[:self._taps].transpose(1, 2, 0))

    def _filters(self, estimates: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return the spectra of the distortion filters, of all references and of each target alone.

        complex128 [F, K·C, J·C] and [F, K, C, C]: to the channels of K estimates, from those of J
        references or of its own one.
        """
        channels, count = self._channels, len(estimates)
        lags_ABL = self._correlate(list(estimates.values()))
        rows = lags_ABL.shape[0]
        right = lags_ABL.transpose(0, 2, 1).reshape(rows * self._taps, -1)
        all_ALB = scipy.linalg.cho_solve(self._all, right).reshape(rows, self._taps, -1)
        own_KCLC = np.empty((count, channels, self._taps, channels))
        for k, name in enumerate(estimates):
            j = list(self._waves).index(name) * channels
            right = lags_ABL[j:j + channels, k * channels:(k + 1) * channels]
            own_KCLC[k] = scipy.linalg.cho_solve(
                self._own[name], right.transpose(0, 2, 1).reshape(-1, channels)).reshape(
                    channels, self._taps, channels)
        length = self._length()
        all_FBA = np.ascontiguousarray(scipy.fft.rfft(
            all_ALB.transpose(1, 2, 0), n=length, axis=0))
        own_FKCC = np.ascontiguousarray(scipy.fft.rfft(
            own_KCLC.transpose(2, 0, 3, 1), n=length, axis=0))
        return all_FBA, own_FKCC

    def _length(self) -> int:
        """Return the samples, an even number, that hold a filtered frame with its tail."""
        return 2 * scipy.fft.next_fast_len(-(-(self._window + self._taps - 1) // 2), real=True)

    def _score(self, estimates: Mapping[str, np.ndarray], frames: np.ndarray, all_F: np.ndarray,
               own_F: np.ndarray) -> np.ndarray:
        """Return the measures of some frames in dB, float64 [measure, K, frame]."""
        count, channels, length = len(estimates), self._channels, self._length()
        names = list(self._waves)
        firsts = frames * self._window

        def spectra(waves: Sequence[np.ndarray]) -> np.ndarray:
            s_FRB = scipy.fft.rfft(cut(waves, firsts, length=length, sounding=self._window), axis=0)
            s_FRB[1:-1] *= np.sqrt(2)       # so that Σ|·|² counts negative frequencies too
            return s_FRB

        s_FRB = spectra(list(self._waves.values()))
        e_FRB = spectra(list(estimates.values()))
        own_FKCB = s_FRB.reshape(len(s_FRB), len(names), channels, -1)[
            :, [names.index(name) for name in estimates]]

        def energy(x_F: np.ndarray) -> np.ndarray:
            power = (x_F.real ** 2 + x_F.imag ** 2).sum(0) / length
            return power.reshape(count, channels, -1).sum(1)

        p_FRB = np.matmul(all_F, s_FRB)
        q_FRB = np.matmul(own_F, own_FKCB).reshape(p_FRB.shape)
        own_FRB = own_FKCB.reshape(p_FRB.shape)
        true_KB = energy(own_FRB)
        scores = np.stack([
            decibels(true_KB, energy(e_FRB - own_FRB)), decibels(true_KB, energy(q_FRB - own_FRB)),
            decibels(energy(q_FRB), energy(p_FRB - q_FRB)),
            decibels(energy(p_FRB), energy(e_FRB - p_FRB))])
        if len(names) == 1:
            scores[MEASURES.index("sir")] = np.nan
        return scores


def median(frames: Frames) -> dict[str, float | None]:
    """Return the median of the frames with a score, as SiSEC has it; None where there is none."""
    return {measure: None if np.isnan(values).all() else float(np.nanmedian(values))
            for measure, values in frames.items()}


def sounds(wave_CN: np.ndarray) -> np.ndarray:
    """Return at which samples the channels do not add up to nothing, bool [N]."""
    return wave_CN.sum(0) != 0


def cut(waves: Sequence[np.ndarray], firsts: np.ndarray, *, length: int,
        sounding: int | None = None) -> np.ndarray:
    """Cut the channels of waves [C, N] to float64 [length, channels of all, first].

    Zeros stand before and after the waves, and after `sounding` samples of each piece.
    """
    channels, samples = waves[0].shape
    pieces = np.zeros((len(waves) * channels, len(firsts), length))
    for number, first in enumerate(firsts):
        start, stop = max(first, 0), min(first + (sounding or length), samples)
        for k, wave in enumerate(waves):
            pieces[k * channels:(k + 1) * channels, number, start - first:stop - first] = (
                wave[:, start:stop])
    return pieces.transpose(2, 0, 1)        # the transform reads samples that lie side by side


def factor(gram: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the Cholesky factor of a matrix that is positive definite but for rounding.

    The diagonal grows by 2⁻⁵², as museval's; where that is too little, as for true signals of which
    one is the sum of others, by what it takes: from 10⁻¹³ of its mean on. Raises ValueError for a
    matrix that is no such thing.
    """
    level = float(np.mean(np.diag(gram)))
    for ridge in (np.finfo(float).eps, *(level * 10.0 ** k for k in range(-13, 0))):
        shifted = gram.copy(order="F")      # as LAPACK wants it, and can write over it
        np.fill_diagonal(shifted, shifted.diagonal() + ridge)
        try:
            return scipy.linalg.cho_factor(shifted, lower=True, overwrite_a=True,
                                           check_finite=False)
        except np.linalg.LinAlgError:
            continue
    raise ValueError("the matrix holds no correlations: it is far from positive definite")


def decibels(signal: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return 10·log10(signal / noise), kept within ±LIMIT_DB."""
    ratio = np.maximum(signal, 1e-30) / np.maximum(noise, 1e-30)
    return np.clip(10 * np.log10(ratio), -LIMIT_DB, LIMIT_DB)
