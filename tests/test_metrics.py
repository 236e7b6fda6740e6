"""Scores: known values, the same from any blocks, and no number where there is none."""

import numpy as np
import pytest

from stemsep.metrics import Scores


def signals() -> tuple[np.ndarray, np.ndarray]:
    """Return a signal and a noise orthogonal to it, 20 dB below it."""
    rng = np.random.default_rng(0)
    s, n = rng.normal(size=(2, 2, 5000))
    n -= s * (n * s).sum() / (s * s).sum()
    n *= 0.1 * np.sqrt((s * s).sum() / (n * n).sum())
    return s.astype(np.float32), n.astype(np.float32)


def test_known_values() -> None:
    s, n = signals()
    scores = Scores().add(s, s + n)
    assert scores.sdr() == pytest.approx(20, abs=1e-3)
    assert scores.si_sdr() == pytest.approx(20, abs=1e-3)


def test_only_si_sdr_ignores_volume() -> None:
    s, n = signals()
    quiet = Scores().add(s, 0.5 * (s + n))
    assert quiet.si_sdr() == pytest.approx(20, abs=1e-3)
    assert quiet.sdr() == pytest.approx(-10 * np.log10(0.25 + 0.0025), abs=1e-3)


def test_blocks_of_any_size_in_any_order_score_as_the_whole() -> None:
    s, n = signals()
    whole, parts = Scores().add(s, s + n), Scores()
    for block in (slice(4000, 5000), slice(0, 1), slice(1, 4000)):
        parts.add(s[:, block], (s + n)[:, block])
    assert parts.sdr() == pytest.approx(whole.sdr(), abs=1e-9)
    assert parts.si_sdr() == pytest.approx(whole.si_sdr(), abs=1e-9)


def test_a_silent_reference_is_not_scored() -> None:
    s, _ = signals()
    for estimate in (s, 0 * s):
        scores = Scores().add(0 * s, estimate)
        assert (scores.scored, scores.sdr(), scores.si_sdr()) == (False, None, None)


def test_perfect_and_silent_estimates_are_numbers() -> None:
    s, _ = signals()
    assert Scores().add(s, s).sdr() == 100
    assert Scores().add(s, s).si_sdr() == 100
    assert Scores().add(s, 0 * s).sdr() == 0
    assert Scores().add(s, 0 * s).si_sdr() == 0
