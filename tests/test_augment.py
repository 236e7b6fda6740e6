"""Augmentation changes stems within its ranges, alike on any number of devices."""

import jax
import jax.numpy as jnp
import numpy as np

from stemsep.augment import EQ_POINTS, augment
from stemsep.bands import triangles
from stemsep.config import AugmentConfig


def test_gains_are_within_their_range_and_each_stem_has_its_own() -> None:
    keys_B = jax.random.split(jax.random.key(0), 200)
    stems = jnp.ones((200, 2, 3, 5, 1), jnp.complex64)
    gains = np.abs(augment(keys_B, stems, AugmentConfig(gain_db=(-8.0, 6.0))))
    decibels = 20 * np.log10(gains)
    assert decibels.min() >= -8.001 and decibels.max() <= 6.001
    assert decibels.min() < -7 and decibels.max() > 5
    one = np.broadcast_to(gains[:, :, :1, :1], gains.shape)  # a window and stem has one gain
    np.testing.assert_allclose(gains, one, rtol=1e-6)
    assert abs(np.corrcoef(decibels[:, 0, 0, 0, 0], decibels[:, 1, 0, 0, 0])[0, 1]) < 0.2


def test_equalisers_are_smooth_and_within_their_range() -> None:
    keys_B = jax.random.split(jax.random.key(0), 50)
    stems = jnp.ones((50, 2, 1, 257, 1), jnp.complex64)
    config = AugmentConfig(gain_db=(0.0, 0.0), equalise_db=6.0)
    decibels = 20 * np.log10(np.abs(augment(keys_B, stems, config)))[:, :, 0, :, 0]
    assert np.abs(decibels).max() <= 6.001 and decibels.std(-1).min() > 0
    # From one bin to the next no more than the slope between two neighbouring settings.
    steps = np.abs(np.diff(triangles(257, EQ_POINTS, knee_bins=1), axis=1)).max(0)
    assert (np.abs(np.diff(decibels)) <= 12 * steps + 1e-3).all()


def test_widths_keep_the_middle_and_scale_the_side() -> None:
    keys_B = jax.random.split(jax.random.key(0), 200)
    stems = jnp.broadcast_to(jnp.array([1.0, 0.5], jnp.complex64), (200, 3, 2, 5, 2))
    config = AugmentConfig(gain_db=(0.0, 0.0), width=(-1.0, 1.0), mono=0.25)
    left, right = np.moveaxis(np.asarray(augment(keys_B, stems, config)), -1, 0)
    np.testing.assert_allclose(left + right, 1.5, rtol=1e-5)
    factors_BS = ((left - right) / 0.5).real[:, :, 0, 0]
    assert -1 <= factors_BS.min() < -0.9 and 0.9 < factors_BS.max() <= 1.001
    mono_B = (factors_BS == 0).all(1)
    assert ((factors_BS == 0).any(1) == mono_B).all() and 0.15 < mono_B.mean() < 0.35
    assert abs(np.corrcoef(factors_BS[~mono_B, 0], factors_BS[~mono_B, 1])[0, 1]) < 0.2


def test_stereo_stays_as_it_is_unless_asked() -> None:
    stems = jnp.asarray(np.random.default_rng(0).normal(size=(4, 2, 3, 5, 2)), jnp.complex64)
    keys_B = jax.random.split(jax.random.key(0), 4)
    np.testing.assert_allclose(augment(keys_B, stems, AugmentConfig(gain_db=(0.0, 0.0))), stems,
                               rtol=1e-5, atol=1e-6)


def test_a_window_is_augmented_alike_wherever_it_is() -> None:
    keys_B = jax.random.split(jax.random.key(1), 4)
    stems = jnp.ones((4, 2, 3, 5, 1), jnp.complex64)
    config = AugmentConfig(equalise_db=3.0)
    whole = augment(keys_B, stems, config)
    halves = [augment(keys_B[i:i + 2], stems[i:i + 2], config) for i in (0, 2)]
    np.testing.assert_array_equal(whole, jnp.concatenate(halves))
