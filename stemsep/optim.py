"""Optimisers and learning-rate schedules, from the configuration to Optax."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from stemsep import selection
from stemsep.config import OptimConfig

_NEWTON_SCHULZ, _STEPS = (3.4445, -4.7750, 2.0315), 5


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
    makes the updates of kernels orthogonal, see `orthogonal`, after a momentum of 0.95; its other
    parameters go through AdamW without decay. config.frozen and config.lr_factors choose parameters
    by patterns, see `stemsep.selection`.
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
        "muon": lambda: optax.partition({
            "kernel": optax.chain(
                optax.trace(0.95, nesterov=True), optax.stateless(_orthogonal_tree),
                optax.add_decayed_weights(decay), optax.scale_by_learning_rate(rate),
            ),
            "other": optax.adamw(rate, **betas, weight_decay=0.0),
        }, _parts),
    }
    # With clipping and factors or without, the state has one structure: runs go on with either.
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    whole = optax.chain(clip, makers[config.name](), selection.scaled(config.lr_factors))
    return selection.frozen(whole, config.frozen)


def kernels(params: optax.Params) -> Any:
    """Return which parameters are kernels, by their names: a tree of bools."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def orthogonal(update: jax.Array) -> jax.Array:
    """Return the update of a kernel [..., out] with all singular values near 1, as a matrix of all
    taps and inputs by outputs, scaled to Adam's root mean square of 0.2 (Muon: Jordan et al., 2024;
    arXiv:2502.16982, section 2.2).

    Newton and Schulz's five steps X ← X(aI + bG + cG²), G = XᵀX, are polynomials of the first G,
    so they are taken of small square matrices alone: a fifth of the work of a tall X. In full
    precision, since the eigenvalues of G are squares.
    """
    with jax.default_matmul_precision("highest"):
        return _orthogonal(update)


def _orthogonal(update: jax.Array) -> jax.Array:
    x_MN = update.reshape(-1, update.shape[-1])
    rows, columns = x_MN.shape
    x_MN = x_MN / (jnp.linalg.norm(x_MN) + 1e-8)
    gram = x_MN.T @ x_MN if rows > columns else x_MN @ x_MN.T
    a, b, c = _NEWTON_SCHULZ
    product = None
    for step in range(_STEPS):
        factor = a * jnp.eye(len(gram)) + b * gram + c * gram @ gram
        product = factor if product is None else product @ factor
        if step < _STEPS - 1:
            gram = factor @ gram @ factor
    y_MN = x_MN @ product if rows > columns else product @ x_MN
    return (0.2 * max(rows, columns) ** 0.5 * y_MN).reshape(update.shape)


def _parts(params: optax.Params) -> Any:
    return jax.tree.map(lambda kernel: "kernel" if kernel else "other", kernels(params))


def _orthogonal_tree(updates: optax.Updates, params: optax.Params | None) -> optax.Updates:
    return jax.tree.map(orthogonal, updates)
