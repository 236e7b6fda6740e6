"""Augmentation of a batch of stems on the device. The mixture is formed afterwards, so it is always
their sum.
"""

import jax

from stemsep.config import AugmentConfig


def augment(keys_B: jax.Array, stems_BSTFC: jax.Array, config: AugmentConfig) -> jax.Array:
    """Give each stem of each window a gain of its own, uniform in dB within config.gain_db.

    keys_B: one key a window, so that a window is augmented alike on any number of devices.
    """
    low, high = config.gain_db
    stems = stems_BSTFC.shape[1]
    gain_db_BS = jax.vmap(lambda key: jax.random.uniform(key, (stems,), minval=low, maxval=high))(
        keys_B
    )
    return stems_BSTFC * (10 ** (gain_db_BS / 20))[:, :, None, None, None]
