"""Optimisers and learning-rate schedules, from the configuration to Optax."""

from typing import Any

import jax
import optax
from optax.contrib import MuonDimensionNumbers, muon

from stemsep import selection
from stemsep.config import OptimConfig


def schedule(config: OptimConfig, steps: int) -> optax.Schedule:
    """Return the learning rate as a function of the step, with a linear warm-up.

    "step" is the paper's: lr for the first half, a tenth of it for the second (arXiv:1810.11520,
    section 4). "plateau" is constant here: what validation makes of it is part of the state, see
    `stemsep.guide`.
    """
    rest = max(1, steps - config.warmup_steps)
    shapes = {
        "constant": lambda: optax.constant_schedule(config.lr),
        "plateau": lambda: optax.constant_schedule(config.lr),
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

    "adam" and "sgd" (with Nesterov's momentum) add the decay to the gradient, as the paper's
    PyTorch code does; "adamw", "lion" (arXiv:2302.06675) and "muon" decay apart from it. "muon"
    orthogonalises the updates of kernels as matrices of all taps and inputs by outputs, scaled to
    the size of Adam's (arXiv:2502.16982, section 2.2); its other parameters go through AdamW.
    config.frozen and config.lr_factors choose parameters by patterns, see `stemsep.selection`.
    """
    rate = schedule(config, steps)
    decay = config.weight_decay
    betas = dict(zip(("b1", "b2"), config.betas))
    decayed = optax.add_decayed_weights(decay, kernels)
    makers = {
        "adamw": lambda: optax.adamw(rate, **betas, weight_decay=decay, mask=kernels),
        "adam": lambda: optax.chain(decayed, optax.adam(rate, **betas)),
        "sgd": lambda: optax.chain(decayed, optax.sgd(rate, config.momentum, nesterov=True)),
        "lion": lambda: optax.lion(rate, **betas, weight_decay=decay, mask=kernels),
        "muon": lambda: muon(
            rate, weight_decay=decay, weight_decay_mask=kernels, consistent_rms=0.2,
            muon_weight_dimension_numbers=matrices,
            **{f"adam_{name}": beta for name, beta in betas.items()},
        ),
    }
    # With clipping or without, the state has one structure: a run can go on with either.
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    factors = [selection.scaled(config.lr_factors)] if config.lr_factors else []
    return selection.frozen(optax.chain(clip, makers[config.name](), *factors), config.frozen)


def kernels(params: optax.Params) -> Any:
    """Return which parameters are kernels, by their names: a tree of bools."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def matrices(params: optax.Params) -> Any:
    """Return how Muon is to see each kernel [..., out] as a matrix; None for other parameters."""
    def of(parameter: jax.Array, is_kernel: bool) -> MuonDimensionNumbers | None:
        last = parameter.ndim - 1
        return MuonDimensionNumbers(tuple(range(last)), last) if is_kernel else None

    return jax.tree.map(of, params, kernels(params))
