"""Augmentation of a batch of stems on the device.

The mixture is formed afterwards, so it is always the sum of the stems.
"""

import jax
import jax.numpy as jnp

from stemsep.bands import triangles
from stemsep.config import AugmentConfig

EQ_POINTS = 6  # where a random equaliser is set, evenly on a logarithmic frequency axis


def augment(keys_B: jax.Array, stems_BSTFC: jax.Array, config: AugmentConfig) -> jax.Array:
    """Give each stem of each window a gain, an equaliser and, in stereo, a width of its own.

    Gains are uniform in dB within config.gain_db; equalisers are smooth curves over frequency,
    uniform within ±config.equalise_db at `EQ_POINTS` frequencies and linear in dB between them.
    keys_B: one key a window, so that a window is augmented alike on any number of devices.
    """
    if stems_BSTFC.shape[-1] == 2:
        stems_BSTFC = widen(keys_B, stems_BSTFC, config)
    stems, bins = stems_BSTFC.shape[1], stems_BSTFC.shape[3]
    low, high = config.gain_db
    curves_PF = triangles(bins, EQ_POINTS, knee_bins=1)

    def gains_db(key: jax.Array) -> jax.Array:
        gain_key, eq_key = jax.random.split(key)
        gains_S1 = jax.random.uniform(gain_key, (stems, 1), minval=low, maxval=high)
        settings_SP = jax.random.uniform(eq_key, (stems, EQ_POINTS), minval=-1.0)
        return gains_S1 + config.equalise_db * settings_SP @ curves_PF

    gains_BSF = 10 ** (jax.vmap(gains_db)(keys_B) / 20)
    return stems_BSTFC * gains_BSF[:, :, None, :, None]


def widen(keys_B: jax.Array, stems_BSTFC: jax.Array, config: AugmentConfig) -> jax.Array:
    """Scale what differs between the two channels of each stem, uniformly within config.width: by 1
    it stays, by 0 the stem is mono, by −1 its channels are swapped. A share config.mono of the
    windows is mono altogether.
    """
    low, high = config.width

    def factors(key: jax.Array) -> jax.Array:
        width_key, mono_key = jax.random.split(jax.random.fold_in(key, 1))
        factor_S = jax.random.uniform(width_key, stems_BSTFC.shape[1:2], minval=low, maxval=high)
        return jnp.where(jax.random.uniform(mono_key) < config.mono, 0, factor_S)

    factor_BS11 = jax.vmap(factors)(keys_B)[:, :, None, None]
    left, right = stems_BSTFC[..., 0], stems_BSTFC[..., 1]
    middle, side = (left + right) / 2, factor_BS11 * (left - right) / 2
    return jnp.stack([middle + side, middle - side], -1)
