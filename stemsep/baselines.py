"""What a model's scores stand beside: estimates without training, from nothing to the truth."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from stemsep import stream
from stemsep.errors import InputError
from stemsep.section import unknown
from stemsep.stft import Stft

MIXTURE = "mixture"         # the mixture itself as the estimate of every target
HPSS = "hpss"               # percussive and harmonic sound (Fitzgerald 2010), split by librosa
IRM = "irm"                 # ideal ratio masks, made of the true stems: what a mask can reach
BASELINES = (MIXTURE, HPSS, IRM)


def check(names: Iterable[str]) -> None:
    """Raise InputError for a name that is no baseline."""
    for name in names:
        if name not in BASELINES:
            raise InputError(unknown("there is no baseline", name, BASELINES))


def hpss(wave_CN: np.ndarray, targets: Sequence[str]) -> dict[str, np.ndarray]:
    """Split a song by librosa's median filters, at its defaults: percussive sound is "drums".

    Harmonic sound is the other of two targets. Targets of another name have no such estimate.
    """
    if "drums" not in targets:
        return {}
    # Here, because librosa is slow to import.
    import librosa
    from librosa.decompose import hpss as median_filters

    spec_CFT = librosa.stft(wave_CN)
    parts = dict(zip(("harmonic", "drums"), median_filters(spec_CFT)))
    others = [target for target in targets if target != "drums"]
    if len(others) == 1:
        parts[others[0]] = parts["harmonic"]
    return {target: librosa.istft(parts[target], length=wave_CN.shape[1])
            for target in targets if target in parts}


def irm(mixture: Iterable[np.ndarray], references: Sequence[Iterable[np.ndarray]], stft: Stft, *,
        channels: int, size: int) -> Iterator[np.ndarray]:
    """Mask the mixture by |s|² / (Σ|s|² + |r|²), as SiSEC's IRM2; yields [S, channels, n].

    s: the true signals, of which the mixture leaves r; each channel has masks of its own. Mixture
    and references: blocks [channels, size], the last ones shorter.
    """
    heard = stream.Mixture(mixture, channels, size=size)
    specs = zip(stream.analyse(heard, stft), *(stream.analyse(blocks, stft)
                                               for blocks in references))

    def masked() -> Iterator[np.ndarray]:
        for mix_CTF, *true in specs:
            true_SCTF = np.stack(true)
            power_SCTF = np.abs(true_SCTF) ** 2
            total_CTF = power_SCTF.sum(0) + np.abs(mix_CTF - true_SCTF.sum(0)) ** 2
            yield mix_CTF * (power_SCTF / np.maximum(total_CTF, np.finfo(np.float32).tiny))

    return stream.synthesise(masked(), stft, heard)
