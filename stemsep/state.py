"""The state of training: arrays only."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from stemsep.estimate import Estimator


@struct.dataclass
class TrainState:
    """What a step replaces. `ema` is the averaged parameters, or None where none are kept."""

    step: jax.Array  # int32 []: steps done
    params: Any
    batch_stats: Any
    ema: Any
    opt_state: Any

    def variables(self) -> dict[str, Any]:
        """Return what validation and separation use: the averaged parameters where there are any.
        """
        return {
            "params": self.params if self.ema is None else self.ema,
            "batch_stats": self.batch_stats,
        }


def create(
    estimator: Estimator, tx: optax.GradientTransformation, *, seed: int, frames: int, ema: bool
) -> TrainState:
    """Return the state at step 0; `frames` of a window."""
    variables = estimator.init(jax.random.key(seed), frames)
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        ema=params if ema else None,
        opt_state=tx.init(params),
    )
