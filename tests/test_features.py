"""What the network sees does not change with what should change no mask."""

import jax.numpy as jnp
import numpy as np
import pytest

from stemsep.bands import singles_then_bands, triangles
from stemsep.features import FEATURES


def spectrum(frames: int = 16, bins: int = 200, channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.exponential(size=(2, frames, bins, channels)).astype(np.float32)


@pytest.mark.parametrize("bins", [1, 9, 512, 1025])
def test_triangles_add_up_to_one_and_reach_both_ends(bins: int) -> None:
    bands_PF = triangles(bins, 6, knee_bins=2)
    np.testing.assert_allclose(bands_PF.sum(0), 1, rtol=1e-5)
    assert bands_PF[0, 0] == 1 and (bins == 1 or bands_PF[-1, -1] == pytest.approx(1, abs=1e-5))


@pytest.mark.parametrize("bins, singles, shared", [(1025, 96, 96), (129, 64, 16), (20, 10, 10),
                                                   (9, 1, 1)])
def test_bands_keep_the_low_bins_and_share_the_others(bins: int, singles: int,
                                                      shared: int) -> None:
    bands_PF = singles_then_bands(bins, singles, shared)
    assert bands_PF.shape == (singles + shared, bins)
    np.testing.assert_allclose(bands_PF.sum(0), 1, rtol=1e-5)
    np.testing.assert_array_equal(bands_PF[:singles, :singles], np.eye(singles))
    steps_P = np.diff(bands_PF.argmax(1))      # from peak to peak, to the nearest bin
    assert steps_P.min() >= 1 and (np.diff(steps_P) >= -1).all()
    assert bands_PF[-1, -1] == pytest.approx(1, abs=1e-3)


def test_triangles_widen_with_frequency_above_the_knee() -> None:
    widths_P = triangles(1025, 24, knee_bins=8).sum(1)
    assert (np.diff(widths_P[1:-1]) > 0).all()


def seen_as(name: str, seen_BTFC: np.ndarray) -> np.ndarray:
    return np.asarray(FEATURES[name](jnp.asarray(seen_BTFC, jnp.float32)))


@pytest.mark.parametrize("name", ["log", "whitened"])
def test_loudness_is_not_seen(name: str) -> None:
    np.testing.assert_allclose(seen_as(name, 1e-3 * spectrum()), seen_as(name, spectrum()),
                               rtol=1e-4)


def test_a_smooth_equaliser_is_hardly_seen_by_whitened_features() -> None:
    seen, slope_db = spectrum(), np.linspace(-20, 20, 200)
    equalised = seen * (10 ** (slope_db / 20))[:, None]
    assert np.abs(seen_as("whitened", equalised) - seen_as("whitened", seen)).max() < 0.2
    assert np.abs(seen_as("log", equalised) - seen_as("log", seen)).max() > 1


def test_whitened_features_keep_what_changes_over_time() -> None:
    """A stroke 10 dB above its band is seen alike at a loud frequency and at a quiet one."""
    seen = np.ones((1, 32, 200, 1))
    seen[:, 8] *= 10 ** 0.5
    seen[:, :, :100] *= 100
    features_TF = seen_as("whitened", seen)[0, :, :, 0]
    strokes_F = features_TF[8] - features_TF[9]
    assert strokes_F[20] == pytest.approx(strokes_F[180], abs=0.02) and strokes_F[20] > 0.5


def test_whitened_features_keep_the_balance_of_the_channels() -> None:
    seen = np.concatenate([spectrum(), 0.1 * spectrum()], -1)
    left, right = np.moveaxis(seen_as("whitened", seen), -1, 0)
    assert left.mean() > 3 * right.mean()


def test_magnitudes_are_seen_as_they_are() -> None:
    np.testing.assert_array_equal(seen_as("magnitude", spectrum()), spectrum())


@pytest.mark.parametrize("name", FEATURES)
def test_silence_is_seen_as_zeros(name: str) -> None:
    seen = spectrum(channels=2)
    seen[1] = 0
    seen[0, :, 50:] = 0
    features = seen_as(name, seen)
    assert np.isfinite(features).all() and not features[1].any() and not features[0, :, 50:].any()
