"""Augmentation of a batch of stems on the device.

The mixture is formed afterwards, so it is always the sum of the stems. What a window gets is a
function of its key alone, whatever device it is on; so what joins windows, remixing and mixup, is
part of drawing them (`stemsep.batches`), where the other passage may come from any song.
"""

import jax
import jax.numpy as jnp
import numpy as np

from stemsep.bands import triangles
from stemsep.config import AugmentConfig, Config

_HIGHS_HZ = 700     # where they begin; an octave above they have their whole gain
EQ_POINTS = 6  # where a random equaliser is set, evenly on a logarithmic frequency axis


def augment(keys_B: jax.Array, stems_BSTFC: jax.Array, config: AugmentConfig, *,
            highs_2SF: np.ndarray | None = None) -> jax.Array:
    """Give each stem of each window a gain, an equaliser, highs, a sign and, in stereo, a width of
    its own; silence some stems, and a stretch of time and of frequency in all stems of a window.

    Shares and ranges are config's, see there. keys_B: one key a window, so that a window is
    augmented alike on any number of devices. highs_2SF: see `highs`.
    """
    if stems_BSTFC.shape[-1] == 2:
        stems_BSTFC = widen(keys_B, swap(keys_B, stems_BSTFC, config), config)
    factors_BSF = factors(keys_B, stems_BSTFC.shape, config, highs_2SF=highs_2SF)
    stems_BSTFC = stems_BSTFC * factors_BSF[:, :, None, :, None]
    if config.mask_time or config.mask_frequency:
        kept_BTF = kept(keys_B, stems_BSTFC.shape, config)
        stems_BSTFC = jnp.where(kept_BTF[:, None, :, :, None], stems_BSTFC, 0)
    return stems_BSTFC


def highs(config: Config) -> np.ndarray | None:
    """Return the least and the most gain of what is high of each stem, in dB at every bin, float32
    [2, S, F], or None where `augment.highs_db` has none.
    """
    if not config.augment.highs_db:
        return None
    ranges_S2 = np.array([config.augment.highs_db.get(stem, (0, 0)) for stem in config.stems])
    bins_hz_F = np.fft.rfftfreq(config.audio.n_fft, 1 / config.audio.sample_rate)
    share_F = np.clip(np.log2(np.maximum(bins_hz_F, 1) / _HIGHS_HZ), 0, 1)
    return (ranges_S2.T[:, :, None] * share_F).astype(np.float32)


def factors(keys_B: jax.Array, shape: tuple[int, ...], config: AugmentConfig, *,
            highs_2SF: np.ndarray | None = None) -> jax.Array:
    """Return what each stem is multiplied by, float32 [B, S, F]: gain, equaliser, tilt, highs,
    sign, and 0 for a silenced stem.

    shape: of the stems, [B, S, T, F, C]. Gains are uniform in dB within config.gain_db; equalisers
    are smooth curves over frequency, uniform within ±config.equalise_db at `EQ_POINTS` frequencies
    and linear in dB between them; a tilt is a straight line over the same axis, uniform within
    ±config.tilt_db from end to end, and 0 dB in the middle; highs_2SF: see `highs`.
    """
    stems, bins = shape[1], shape[3]
    low, high = config.gain_db
    curves_PF = triangles(bins, EQ_POINTS, knee_bins=1)
    slope_P = jnp.linspace(-0.5, 0.5, EQ_POINTS)

    def of_window(key: jax.Array) -> jax.Array:
        gain_key, eq_key = jax.random.split(key)
        tilt_key, sign_key, drop_key = jax.random.split(jax.random.fold_in(key, 2), 3)
        gains_S1 = jax.random.uniform(gain_key, (stems, 1), minval=low, maxval=high)
        settings_SP = jax.random.uniform(eq_key, (stems, EQ_POINTS), minval=-1.0)
        tilts_S1 = jax.random.uniform(tilt_key, (stems, 1), minval=-1.0)
        settings_SP = config.equalise_db * settings_SP + config.tilt_db * tilts_S1 * slope_P
        decibels_SF = gains_S1 + settings_SP @ curves_PF
        if highs_2SF is not None:
            least_SF, most_SF = highs_2SF
            draw_S1 = jax.random.uniform(jax.random.fold_in(key, 5), (stems, 1))
            decibels_SF += least_SF + draw_S1 * (most_SF - least_SF)
        factors_SF = 10 ** (decibels_SF / 20)
        turned_S1 = jax.random.uniform(sign_key, (stems, 1)) < config.polarity
        draw_S1 = jax.random.uniform(drop_key, (stems, 1))
        stays_S1 = (draw_S1 >= config.drop) | (draw_S1 == draw_S1.max())
        return jnp.where(stays_S1, jnp.where(turned_S1, -factors_SF, factors_SF), 0)

    return jax.vmap(of_window)(keys_B)


def swap(keys_B: jax.Array, stems_BSTFC: jax.Array, config: AugmentConfig) -> jax.Array:
    """Swap the two channels of a share config.swap of the stems."""
    if not config.swap:
        return stems_BSTFC

    def of_window(key: jax.Array) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(key, 3), stems_BSTFC.shape[1:2]) < config.swap

    swapped_BS = jax.vmap(of_window)(keys_B)
    return jnp.where(swapped_BS[:, :, None, None, None], stems_BSTFC[..., ::-1], stems_BSTFC)


def widen(keys_B: jax.Array, stems_BSTFC: jax.Array, config: AugmentConfig) -> jax.Array:
    """Scale what differs between the two channels of each stem, uniformly within config.width: by 1
    it stays, by 0 the stem is mono, by −1 its channels are swapped. A share config.mono of the
    windows is mono altogether.
    """
    low, high = config.width

    def of_window(key: jax.Array) -> jax.Array:
        width_key, mono_key = jax.random.split(jax.random.fold_in(key, 1))
        factor_S = jax.random.uniform(width_key, stems_BSTFC.shape[1:2], minval=low, maxval=high)
        return jnp.where(jax.random.uniform(mono_key) < config.mono, 0, factor_S)

    factor_BS11 = jax.vmap(of_window)(keys_B)[:, :, None, None]
    left, right = stems_BSTFC[..., 0], stems_BSTFC[..., 1]
    middle, side = (left + right) / 2, factor_BS11 * (left - right) / 2
    return jnp.stack([middle + side, middle - side], -1)


def kept(keys_B: jax.Array, shape: tuple[int, ...], config: AugmentConfig) -> jax.Array:
    """Return which points of each window stay, bool [B, T, F]: all but one stretch of frames and
    one of bins, of random widths up to config.mask_time and config.mask_frequency
    (arXiv:1904.08779, section 2).

    shape: of the stems, [B, S, T, F, C].
    """
    frames, bins = shape[2:4]

    def outside(key: jax.Array, size: int, widest: float) -> jax.Array:
        width_key, first_key = jax.random.split(key)
        width = jax.random.uniform(width_key) * widest * size
        first = jax.random.uniform(first_key) * (size - width)
        place = jnp.arange(size)
        return (place < first) | (place >= first + width)

    def of_window(key: jax.Array) -> jax.Array:
        time_key, frequency_key = jax.random.split(jax.random.fold_in(key, 4))
        stays_T = outside(time_key, frames, config.mask_time)
        stays_F = outside(frequency_key, bins, config.mask_frequency)
        return stays_T[:, None] & stays_F

    return jax.vmap(of_window)(keys_B)
