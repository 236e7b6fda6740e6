"""Augmentation changes stems within its ranges, alike on any number of devices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stemsep.augment import EQ_POINTS, augment, highs
from stemsep.bands import triangles
from stemsep.config import AugmentConfig, Config
from stemsep.steps import mixed


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


def changed_ones(config: AugmentConfig, windows: int = 200, bins: int = 257) -> np.ndarray:
    """Return what stems of ones become, complex [B, S, T, F]."""
    keys_B = jax.random.split(jax.random.key(0), windows)
    stems = jnp.ones((windows, 3, 8, bins, 1), jnp.complex64)
    return np.asarray(augment(keys_B, stems, config))[..., 0]


FLAT: dict[str, Any] = {"gain_db": (0.0, 0.0)}


def test_tilts_are_lines_over_the_logarithm_of_frequency() -> None:
    changed_BSF = np.abs(changed_ones(AugmentConfig(**FLAT, tilt_db=6.0))[:, :, 0])
    decibels_BSF = 20 * np.log10(changed_BSF)
    ends_BS = decibels_BSF[..., -1] - decibels_BSF[..., 0]
    assert 5 < np.abs(ends_BS).max() <= 6.001
    axis_F = np.log1p(np.arange(257)) / np.log(257)
    np.testing.assert_allclose(decibels_BSF, ends_BS[..., None] * (axis_F - 0.5), atol=1e-3)


def test_highs_of_a_stem_are_within_its_range_and_all_below_stays() -> None:
    config = Config()
    config.data.targets = {"drums": ["drums"], "bass": ["bass"], "others": "rest"}
    config.audio.sample_rate, config.audio.n_fft, config.audio.hop = 22400, 64, 16   # 350 Hz a bin
    config.augment = AugmentConfig(**FLAT, highs_db={"bass": (-2.0, 8.0), "rest": (3.0, 3.0)})
    keys_B = jax.random.split(jax.random.key(0), 200)
    stems = jnp.ones((200, 3, 4, 33, 1), jnp.complex64)
    changed = augment(keys_B, stems, config.augment, highs_2SF=highs(config.check()))
    decibels_BSF = 20 * np.log10(np.abs(changed))[:, :, 0, :, 0]
    np.testing.assert_allclose(decibels_BSF[:, :, :3], 0, atol=1e-4)    # up to 700 Hz
    drums_BF, bass_BF, rest_BF = np.moveaxis(decibels_BSF[..., 4:], 1, 0)
    np.testing.assert_allclose(drums_BF, 0, atol=1e-4)
    np.testing.assert_allclose(rest_BF, 3, atol=1e-4)
    np.testing.assert_allclose(bass_BF, np.broadcast_to(bass_BF[:, :1], bass_BF.shape), atol=1e-4)
    assert -2 <= bass_BF.min() < -1.5 and 7.5 < bass_BF.max() <= 8
    np.testing.assert_allclose(decibels_BSF[:, 1, 3], np.log2(1.5) * bass_BF[:, 0], atol=1e-4)


def test_signs_are_turned_for_the_share_of_stems() -> None:
    turned = changed_ones(AugmentConfig(**FLAT, polarity=0.25))
    assert (turned == turned[:, :, :1, :1]).all() and set(np.unique(turned)) == {-1, 1}
    assert 0.2 < (turned[:, :, 0, 0] == -1).mean() < 0.3


def test_channels_are_swapped_for_the_share_of_stems() -> None:
    keys_B = jax.random.split(jax.random.key(0), 200)
    stems = jnp.broadcast_to(jnp.array([1.0, 0.5], jnp.complex64), (200, 3, 2, 5, 2))
    got = np.asarray(augment(keys_B, stems, AugmentConfig(**FLAT, swap=0.25))).real
    np.testing.assert_allclose(got.sum(-1), 1.5)
    assert 0.2 < (got[:, :, 0, 0, 0] == 0.5).mean() < 0.3


def test_stems_are_silenced_but_never_all_of_them() -> None:
    silent_BS = (changed_ones(AugmentConfig(**FLAT, drop=0.3)) == 0).all((2, 3))
    assert 0.25 < silent_BS.mean() < 0.35
    silent_BS = (changed_ones(AugmentConfig(**FLAT, drop=1.0)) == 0).all((2, 3))
    assert (silent_BS.sum(1) == 2).all()


def test_masked_stretches_are_the_same_in_all_stems() -> None:
    config = AugmentConfig(**FLAT, mask_time=0.5, mask_frequency=0.25)
    silent_BSTF = changed_ones(config) == 0
    assert (silent_BSTF == silent_BSTF[:, :1]).all()
    frames, bins = silent_BSTF[:, 0].all(2).sum(1), silent_BSTF[:, 0].all(1).sum(1)
    assert frames.max() == 4 and frames.min() == 0
    assert 50 < bins.max() <= 65 and bins.min() < 5
    for silent_TF in silent_BSTF[:, 0]:
        # One stretch of each, and nothing else.
        rows, columns = silent_TF.all(1), silent_TF.all(0)
        assert (np.diff(rows.astype(int)) == 1).sum() + rows[0] <= 1
        assert (np.diff(columns.astype(int)) == 1).sum() + columns[0] <= 1
        np.testing.assert_array_equal(silent_TF, rows[:, None] | columns)


def test_the_mixture_is_the_sum_of_stems_after_all_of_it() -> None:
    """What the network hears is what its targets add up to, whatever was done to them."""
    config = AugmentConfig(equalise_db=3.0, tilt_db=3.0, polarity=0.5, swap=0.5, width=(-1.0, 1.0),
                           mono=0.2, drop=0.3, mask_time=0.3, mask_frequency=0.3)
    rng = np.random.default_rng(0)
    stems = jnp.asarray(rng.normal(size=(16, 3, 8, 33, 2)), jnp.complex64)
    changed = augment(jax.random.split(jax.random.key(0), 16), stems, config)
    assert np.abs(np.asarray(changed - stems)).max() > 0.1
    mix_BTFC, targets_BSTFC = mixed(changed, [[0], [1, 2]])
    np.testing.assert_allclose(targets_BSTFC.sum(1), mix_BTFC, atol=1e-5)


def test_a_window_is_augmented_alike_wherever_it_is() -> None:
    keys_B = jax.random.split(jax.random.key(1), 4)
    stems = jnp.ones((4, 2, 3, 5, 1), jnp.complex64)
    config = AugmentConfig(equalise_db=3.0, polarity=0.5, drop=0.3, mask_time=0.5)
    whole = augment(keys_B, stems, config)
    halves = [augment(keys_B[i:i + 2], stems[i:i + 2], config) for i in (0, 2)]
    np.testing.assert_array_equal(whole, jnp.concatenate(halves))
