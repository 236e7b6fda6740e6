"""Optimisers and learning-rate schedules, from the configuration to Optax."""

import jax
import optax

from stemsep.config import OptimConfig


def schedule(config: OptimConfig, steps: int) -> optax.Schedule:
    """Return the learning rate as a function of the step, with a linear warm-up.

    "step" is the paper's: lr for the first half, a tenth of it for the second (arXiv:1810.11520,
    section 4).
    """
    rest = max(1, steps - config.warmup_steps)
    shapes = {
        "constant": lambda: optax.constant_schedule(config.lr),
        "cosine": lambda: optax.cosine_decay_schedule(config.lr, rest),
        "step": lambda: optax.piecewise_constant_schedule(config.lr, {max(1, rest // 2): 0.1}),
    }
    after = shapes[config.schedule]()
    if not config.warmup_steps:
        return after
    # From lr/warm-up on: a first step with rate 0 would be wasted.
    ramp = optax.linear_schedule(
        config.lr / config.warmup_steps, config.lr, max(1, config.warmup_steps - 1)
    )
    return optax.join_schedules([ramp, after], [config.warmup_steps])


def make(config: OptimConfig, steps: int) -> optax.GradientTransformation:
    """Return the optimiser of a run of `steps` steps; weight decay touches kernels only, no scales
    or offsets.
    """
    rate = schedule(config, steps)

    def kernels(params: optax.Params) -> optax.Params:
        return jax.tree.map(lambda p: p.ndim > 2, params)

    makers = {
        "adamw": lambda: optax.adamw(rate, weight_decay=config.weight_decay, mask=kernels),
        # Adam with L2: the decay is part of the gradient, as in the paper's PyTorch code.
        "adam": lambda: optax.chain(
            optax.add_decayed_weights(config.weight_decay, kernels), optax.adam(rate)
        ),
    }
    # With clipping or without, the state has one structure: a run can go on with either.
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    return optax.chain(clip, makers[config.name]())
