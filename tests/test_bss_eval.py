"""BSS Eval: museval's numbers on the same signals, and no number where there is none."""

import numpy as np
import pytest
import scipy.signal

from benchmarks.bss_eval import ours, signals
from benchmarks.peers import museval_metrics
from stemsep.bss_eval import MEASURES, BssEval, factor, median

RATE = 4000


def same_as_museval(true: np.ndarray, estimates: np.ndarray, window: int = RATE) -> np.ndarray:
    """Return the scores, [measure, target, frame], which are museval's to 1e-3 dB, up to ±100 dB.
    """
    scores = ours(true, estimates, window=window)
    expected = museval_metrics.bss_eval(true, estimates, window=window)
    np.testing.assert_allclose(scores, np.clip(expected, -100, 100), rtol=0, atol=1e-3)
    return scores


@pytest.mark.parametrize(("stems", "channels", "samples"), [
    (2, 1, 14321), (3, 1, 2 * RATE), (4, 1, 9000), (2, 2, 8765), (3, 2, 9001), (2, 1, 1234),
    (2, 1, 300), (2, 3, 5000)])
def test_the_numbers_are_those_of_museval(stems: int, channels: int, samples: int) -> None:
    """Of songs that are no whole number of frames, or shorter than one, or than the filters."""
    scores = same_as_museval(*signals(stems, channels, samples))
    assert scores.shape == (4, stems, max(1, samples // RATE)) and np.isfinite(scores).all()


def test_frames_in_which_anything_is_silent_are_museval_s_too() -> None:
    true, estimates = signals(3, 2, 6 * RATE + 99)
    true[0, :, 900:2 * RATE + 5] = 0        # the second frame, and parts of two
    estimates[2, :, 3 * RATE:4 * RATE] = 0
    true[1, 0, 4 * RATE:5 * RATE] = 0.1     # channels that add up to nothing count as silence
    true[1, 1, 4 * RATE:5 * RATE] = -0.1
    scores = same_as_museval(true, estimates)
    assert np.isnan(scores).any((0, 1)).tolist() == [False, True, False, True, True, False]


@pytest.mark.parametrize("bits", [16, 24])
def test_music_without_high_frequencies_is_museval_s_too(bits: int) -> None:
    """Nothing above a quarter of the band but rounding, as of files that were MP3. (In floats that
    are not rounded the system is singular, and museval's SIR moves by 3 dB with the order of the
    targets.)
    """
    low = scipy.signal.butter(8, 0.25, output="sos")
    true, estimates = (np.round(scipy.signal.sosfilt(low, waves) * 2 ** (bits - 1))
                       / 2 ** (bits - 1) for waves in signals(2, 1, 3 * RATE))
    same_as_museval(true, estimates)


def test_a_target_that_is_silent_throughout_changes_nothing_for_the_others() -> None:
    true, estimates = signals(3, 1, 3 * RATE)
    names = ["a", "b", "c"]
    true[1] = 0
    scores = BssEval(dict(zip(names, true)), window=RATE)(dict(zip(names, estimates)))
    expected = same_as_museval(true[[0, 2]], estimates[[0, 2]])
    for name, values in zip(("a", "c"), np.moveaxis(expected, 1, 0)):
        np.testing.assert_allclose([scores[name][m] for m in MEASURES], values, atol=1e-9)
    assert median(scores["b"]) == dict.fromkeys(MEASURES)
    silent = BssEval({"a": true[1], "b": true[1]}, window=RATE)({"a": estimates[0]})
    assert median(silent["a"]) == dict.fromkeys(MEASURES)


def test_a_silent_or_missing_estimate_changes_nothing_for_the_others() -> None:
    """It has no score, but its true signal still interferes."""
    true, estimates = signals(3, 2, 2 * RATE)
    score = BssEval(dict(zip("abc", true)), window=RATE)
    whole, some = score(dict(zip("abc", estimates))), score({"c": estimates[2], "a": estimates[0]})
    silent = score({"a": estimates[0], "b": 0 * estimates[1], "c": estimates[2]})
    for name in "ac":
        for measure in MEASURES:
            np.testing.assert_allclose(some[name][measure], whole[name][measure], atol=1e-9)
            np.testing.assert_allclose(silent[name][measure], whole[name][measure], atol=1e-9)
    assert median(silent["b"]) == dict.fromkeys(MEASURES) and "b" not in some


def test_one_target_has_nothing_that_interferes() -> None:
    true, estimates = signals(1, 1, 2 * RATE)
    scores = BssEval({"a": true[0]}, window=RATE)({"a": estimates[0]})
    expected = museval_metrics.bss_eval(true, estimates, window=RATE)
    for measure in ("sdr", "isr", "sar"):
        np.testing.assert_allclose(scores["a"][measure], expected[MEASURES.index(measure), 0],
                                   atol=1e-3)
    assert median(scores["a"])["sir"] is None


def test_a_perfect_estimate_stays_a_number() -> None:
    true, _ = signals(2, 2, 2 * RATE)
    assert (ours(true, true, window=RATE) == 100).all()


def test_a_filter_is_forgiven_by_all_but_sdr_and_isr() -> None:
    true, _ = signals(2, 1, 4 * RATE)
    filtered = scipy.signal.lfilter([0.5, 0.3, 0.1], [1], true).astype(np.float32)
    sdr, isr, sir, sar = ours(true, filtered, window=RATE).mean((1, 2))
    assert sdr < 10 and isr == pytest.approx(sdr, abs=0.1) and min(sir, sar) > 25


def test_references_that_are_sums_of_others_are_scored() -> None:
    """Targets may overlap: the system is singular, and what can be made of it is not."""
    true, estimates = signals(2, 1, 3 * RATE)
    both = {"a": true[0], "b": true[1], "a+b": true.sum(0)}
    scores = BssEval(both, window=RATE)({"a": estimates[0], "b": estimates[1]})
    expected = ours(true, estimates, window=RATE)
    for k, name in enumerate("ab"):
        np.testing.assert_allclose([scores[name][m] for m in MEASURES], expected[:, k], atol=0.01)
    with pytest.raises(ValueError, match="no correlations"):
        factor(-np.eye(2))


def test_waves_of_different_shapes_are_refused() -> None:
    wave = np.ones((1, 100), np.float32)
    with pytest.raises(ValueError, match="one shape"):
        BssEval({"a": wave, "b": wave[:, 1:]}, window=10)
    with pytest.raises(ValueError, match="estimate of 'a' has shape"):
        BssEval({"a": wave}, window=10)({"a": wave[:, 1:]})
