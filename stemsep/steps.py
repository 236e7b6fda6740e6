"""The train step and the validation of one device: pure functions that `parallel` maps over all."""

from typing import Any, Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from stemsep import parallel
from stemsep.augment import augment
from stemsep.config import Config
from stemsep.estimate import Estimator
from stemsep.losses import LOSSES, energy_weights
from stemsep.parallel import AXIS
from stemsep.state import TrainState
from stemsep.store import Store


def make_train_step(
    estimator: Estimator, tx: optax.GradientTransformation, alpha_S: np.ndarray, config: Config
) -> Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]:
    """Return step(state, batch) -> (state, metrics) for one of the devices that are mapped over
    `AXIS`.

    batch: {"stems": float16 [B, S, T, C, F, 2]} of this device. Gradients, losses and batch
    statistics are averaged over the devices, so any number of them gives the same training up to
    rounding.
    """
    loss_fn, names = LOSSES[config.loss.name], list(config.targets)
    decay, places = config.optim.ema_decay, members(config)

    def step(train_state: TrainState, batch: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        key = jax.random.fold_in(jax.random.key(config.seed), train_state.step)
        drop_key, augment_key = jax.random.split(key)
        stems_BSTFC = complex_stems(batch["stems"])
        windows = parallel.index_in_batch(len(stems_BSTFC))
        keys_B = jax.vmap(lambda i: jax.random.fold_in(augment_key, i))(windows)
        stems_BSTFC = augment(keys_B, stems_BSTFC, config.augment)
        mix_BTFC, targets_BSTFC = mixed(stems_BSTFC, places)

        def loss_of(params: Any) -> tuple[jax.Array, Any]:
            variables = {"params": params, "batch_stats": train_state.batch_stats}
            estimate_BSTFC, batch_stats = estimator.train(variables, mix_BTFC, dropout=drop_key)
            losses_S = loss_fn(estimate_BSTFC, targets_BSTFC)
            return jnp.dot(alpha_S, losses_S), (losses_S, batch_stats)

        grads, (losses_S, batch_stats) = jax.grad(loss_of, has_aux=True)(train_state.params)
        grads, losses_S, batch_stats = jax.lax.pmean((grads, losses_S, batch_stats), AXIS)
        updates, opt_state = tx.update(grads, train_state.opt_state, train_state.params)
        params = optax.apply_updates(train_state.params, updates)
        ema = None
        if decay:  # a plain mean at first, so that the random start is forgotten
            rate = jnp.maximum(1 - decay, 1 / (train_state.step + 1.0))
            ema = optax.incremental_update(params, train_state.ema, rate)
        metrics = {
            "loss": jnp.dot(alpha_S, losses_S),
            "gradient_norm": optax.tree.norm(grads),
            **{f"loss_{name}": losses_S[i] for i, name in enumerate(names)},
        }
        return TrainState(train_state.step + 1, params, batch_stats, ema, opt_state), metrics

    return step


def make_validation(
    estimator: Estimator, alpha_S: np.ndarray, config: Config
) -> Callable[[TrainState, Any], Any]:
    """Return validate(state, batch) -> the losses that `make_train_step` reports, without
    augmentation or dropout.
    """
    loss_fn, names = LOSSES[config.loss.name], list(config.targets)
    places = members(config)

    def validation(train_state: TrainState, batch: Any) -> dict[str, jax.Array]:
        mix_BTFC, targets_BSTFC = mixed(complex_stems(batch["stems"]), places)
        losses_S = loss_fn(estimator(train_state.variables(), mix_BTFC), targets_BSTFC)
        losses_S = jax.lax.pmean(losses_S, AXIS)
        return {
            "loss": jnp.dot(alpha_S, losses_S),
            **{f"loss_{name}": losses_S[i] for i, name in enumerate(names)},
        }

    return validation


def members(config: Config) -> list[list[int]]:
    """Return for each target the places of the store's stems that add up to it."""
    return [[config.stems.index(stem) for stem in stems] for stems in config.targets.values()]


def mixed(stems_BSTFC: jax.Array, places: list[list[int]]) -> tuple[jax.Array, jax.Array]:
    """Return the mixture [B, T, F, C] of all stems, and the targets [B, targets, T, F, C], each the
    sum of the stems at its places.
    """
    targets = [sum(stems_BSTFC[:, place] for place in own) for own in places]
    return stems_BSTFC.sum(1), jnp.stack(targets, 1)


def complex_stems(stems_BSTCF2: jax.Array) -> jax.Array:
    """Turn what the store holds, float16 [B, S, T, C, F, 2], into complex64 [B, S, T, F, C]."""
    parts = jnp.swapaxes(stems_BSTCF2.astype(jnp.float32), 3, 4)
    return jax.lax.complex(parts[..., 0], parts[..., 1])


def stem_weights(config: Config, store: Store) -> np.ndarray:
    """Return the weight of each target's loss, float32 [S]: given, equal, or by the energies of the
    train split.
    """
    if config.loss.alpha:
        return np.array(config.loss.alpha, np.float32)
    if config.loss.balance == "equal":
        return np.full(len(config.targets), 1 / len(config.targets), np.float32)
    records = store.tracks("train")
    frames = sum(record.frames for record in records)
    norms_S = np.array([record.norms for record in records]).sum(0) / frames
    # Of unrelated stems the powers add up.
    norms = [np.sqrt((norms_S[own] ** 2).sum()) for own in members(config)]
    return energy_weights(np.array(norms)).astype(np.float32)
