"""Augmentation of a batch of stems on the device.

The mixture is formed afterwards, so it is always the sum of the stems.
"""

import jax

from stemsep.bands import triangles
from stemsep.config import AugmentConfig

EQ_POINTS = 6  # where a random equaliser is set, evenly on a logarithmic frequency axis


def augment(keys_B: jax.Array, stems_BSTFC: jax.Array, config: AugmentConfig) -> jax.Array:
    """Give each stem of each window a gain and an equaliser of its own.

    Gains are uniform in dB within config.gain_db; equalisers are smooth curves over frequency,
    uniform within ±config.equalise_db at `EQ_POINTS` frequencies and linear in dB between them.
    keys_B: one key a window, so that a window is augmented alike on any number of devices.
    """
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
