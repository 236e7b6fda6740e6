"""What training makes of its losses and scores so far: weights of the targets, the factor of the
learning rate, and whether it is over.

It is a part of the state, small arrays, so a resumed run goes on with it and every process has the
same.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stemsep.config import Config, LossConfig

Guide = dict[str, Any]

_TEMPERATURE = 2.0  # of the dynamic weight average, as in its paper


def start(alpha_S: np.ndarray) -> Guide:
    """Return the guide of step 0; alpha_S: the weights of the targets' losses."""
    alpha_S = np.asarray(alpha_S, np.float32)
    return {
        "alpha": alpha_S,
        "updates": np.zeros((), np.int32),      # steps that were not skipped
        "loss_sum": np.zeros_like(alpha_S),     # of this period of the dynamic weight average
        "loss_before": np.zeros_like(alpha_S),  # mean of the period before
        "rate": np.ones((), np.float32),        # factor of the learning rate
        "best": np.full((), -np.inf, np.float32),
        "since_best": np.zeros((), np.int32),   # validations without a better score
        "since_change": np.zeros((), np.int32),  # the same, since the rate was last lowered
    }


def weigh(guide: Guide, losses_S: jax.Array, done: jax.Array, config: LossConfig) -> Guide:
    """Return the guide after a step, on the device: at the end of each config.balance_steps steps
    the weights of a "dynamic" balance follow how fast the losses fell.

    losses_S: the step's. done: steps done with it. α_i ∝ exp(r_i / 2), r_i the mean loss of the
    period over that of the one before (arXiv:1803.10704, eq. 7; for separation
    arXiv:2003.10414). They sum to 1 and are equal for the first two periods.
    """
    if config.balance != "dynamic" or config.alpha:
        return guide
    total_S = guide["loss_sum"] + losses_S
    mean_S, before_S = total_S / config.balance_steps, guide["loss_before"]
    ratio_S = mean_S / jnp.maximum(before_S, 1e-12)
    alpha_S = jnp.where((before_S > 0).all(), jax.nn.softmax(ratio_S / _TEMPERATURE),
                        guide["alpha"])
    ends = done % config.balance_steps == 0
    new = {"alpha": alpha_S, "loss_sum": jnp.zeros_like(total_S), "loss_before": mean_S}
    old = {**guide, "loss_sum": total_S}
    return {**guide, **{name: jnp.where(ends, new[name], old[name]) for name in new}}


def anew(guide: Guide) -> Guide:
    """Return the guide without a best score: those to come are of other songs or another kind."""
    fresh = start(guide["alpha"])
    return {**guide, **{name: fresh[name] for name in ("best", "since_best", "since_change")}}


def judge(guide: Guide, score: float, config: Config) -> Guide:
    """Return the guide after a validation, on the host; a higher score is better.

    The schedule "plateau" lowers the learning rate after config.optim.plateau_patience validations
    without a better score, and waits as long again.
    """
    better = score > guide["best"]
    since_change = 0 if better else int(guide["since_change"]) + 1
    rate = float(guide["rate"])
    if config.optim.schedule != "plateau":
        rate = 1.0
    elif since_change >= config.optim.plateau_patience:
        rate, since_change = rate * config.optim.plateau_factor, 0
    return {
        **guide,
        "best": np.float32(score) if better else guide["best"],
        "since_best": np.int32(0 if better else int(guide["since_best"]) + 1),
        "since_change": np.int32(since_change),
        "rate": np.float32(rate),
    }


def is_over(guide: Guide, config: Config) -> bool:
    """Whether training ends early: config.train.patience validations without a better score."""
    return bool(config.train.patience and guide["since_best"] >= config.train.patience)
