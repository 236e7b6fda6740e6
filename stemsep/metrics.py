"""Scores of separated stems against the true ones, gathered block by block: memory does not grow
with the song.
"""

from dataclasses import dataclass

import numpy as np


@dataclass
class Scores:
    """Sums over a song from which SDR and SI-SDR follow; add blocks of any size, in any order."""

    reference: float = 0.0  # Σ s²
    estimate: float = 0.0  # Σ ŝ²
    product: float = 0.0  # Σ s·ŝ
    error: float = 0.0  # Σ (s − ŝ)²

    def add(self, reference_CN: np.ndarray, estimate_CN: np.ndarray) -> "Scores":
        """Add a block of both signals, of one shape; returns itself."""
        s, e = reference_CN.astype(np.float64).ravel(), estimate_CN.astype(np.float64).ravel()
        self.reference += float(s @ s)
        self.estimate += float(e @ e)
        self.product += float(s @ e)
        self.error += float((s - e) @ (s - e))
        return self

    @property
    def scored(self) -> bool:
        """A silent reference has no score: every ratio to its energy is meaningless."""
        return self.reference > 0

    def sdr(self) -> float | None:
        """Global signal-to-distortion ratio in dB, 10·log10(Σs² / Σ(s − ŝ)²), as in the Music
        Demixing Challenge (arXiv:2108.13559, eq. 3); None for a silent reference.
        """
        return decibels(self.reference, self.error) if self.scored else None

    def si_sdr(self) -> float | None:
        """Scale-invariant SDR in dB (Le Roux et al. 2019, eq. 3); None for a silent reference."""
        if not self.scored:
            return None
        target = self.product**2 / self.reference
        return decibels(target, max(self.estimate - target, 0.0))


def decibels(signal: float, noise: float) -> float:
    """Return 10·log10(signal / noise), kept within ±100 dB so that a perfect or silent estimate
    stays a number.
    """
    return float(np.clip(10 * np.log10(max(signal, 1e-30) / max(noise, 1e-30)), -100.0, 100.0))
