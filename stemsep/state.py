"""The state of training: arrays only."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from stemsep import guide
from stemsep.estimate import Estimator


class TrainState(struct.PyTreeNode):
    """What a step replaces. `ema` is the averaged parameters, or None where none are kept."""

    step: jax.Array  # int32 []: steps done
    params: Any
    batch_stats: Any
    ema: Any
    opt_state: Any
    guide: Any  # see stemsep.guide

    def candidates(self) -> dict[str, dict[str, Any]]:
        """Return the variables that separation may use, by what their parameters are: "raw", and
        "ema" where there is an average.
        """
        found = {"raw": self.params} if self.ema is None else {"raw": self.params, "ema": self.ema}
        return {name: {"params": params, "batch_stats": self.batch_stats}
                for name, params in found.items()}


def create(
    estimator: Estimator, tx: optax.GradientTransformation, alpha_S: np.ndarray, *, seed: int,
    frames: int, ema: bool,
) -> TrainState:
    """Return the state at step 0.

    alpha_S: weights of the targets' losses. frames: of a window. ema: keep averaged parameters.
    """
    variables = estimator.init(jax.random.key(seed), frames)
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        ema=params if ema else None,
        opt_state=tx.init(params),
        guide=guide.start(alpha_S),
    )
