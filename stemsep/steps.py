"""The train step and the validation of one device: pure functions that `parallel` maps over all."""

from typing import Any, Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from stemsep import guide, losses, parallel, selection
from stemsep.augment import augment, highs
from stemsep.config import Config
from stemsep.estimate import Estimator, Variables
from stemsep.losses import Loss, energy_weights
from stemsep.models import prefer_fast
from stemsep.parallel import AXIS
from stemsep.state import TrainState
from stemsep.stft import Stft
from stemsep.store import Store

Metrics = dict[str, jax.Array]
Gradient = tuple[Any, jax.Array, Any]  # of the parameters; losses [S]; new batch statistics


def make_train_step(
    estimator: Estimator, tx: optax.GradientTransformation, config: Config
) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
    """Return step(state, batch) -> (state, metrics) for one of the devices that are mapped over
    `AXIS`.

    batch: {"stems": float16 [B, S, T, C, F, 2]} of this device. Gradients, losses and batch
    statistics are averaged over the devices, so any number of them gives the same training up to
    rounding; so does any number of parts, config.optim.accumulate, but that batch norm sees one
    part at a time. With config.train.nonfinite "skip", a step whose loss or gradient is not finite
    changes nothing but the count of steps, and its metrics say "skipped".
    """
    gradient = accumulated(make_gradient(estimator, config), config.optim.accumulate)
    plateau, skips = config.optim.schedule == "plateau", config.train.nonfinite == "skip"
    decay, names = config.optim.ema_decay, list(config.targets)

    def step(train_state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        windows = parallel.index_in_batch(len(batch["stems"]))
        results = gradient(train_state, batch["stems"], windows)
        grads, losses_S, batch_stats = jax.lax.pmean(results, AXIS)
        batch_stats = selection.kept(config.optim.frozen, train_state.batch_stats, batch_stats)
        updates, opt_state = tx.update(grads, train_state.opt_state, train_state.params)
        if plateau:
            updates = jax.tree.map(lambda u: u * train_state.guide["rate"], updates)
        params = optax.apply_updates(train_state.params, updates)
        ema = None
        updates_done = train_state.guide["updates"] + 1
        if decay:  # a plain mean at first, so that the random start is forgotten
            rate = jnp.maximum(1 - decay, 1.0 / updates_done)
            ema = optax.incremental_update(params, train_state.ema, rate)
            ema = selection.kept(config.optim.frozen, train_state.ema, ema)
        done = train_state.step + 1
        guided = guide.weigh(train_state.guide, losses_S, done, config.loss)
        guided = {**guided, "updates": updates_done}
        new_state = TrainState(done, params, batch_stats, ema, opt_state, guided)
        metrics = {
            **told(losses_S, train_state.guide["alpha"], names),
            "gradient_norm": optax.tree.norm(grads),
        }
        if skips:
            good = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["gradient_norm"])
            old_state = train_state.replace(step=done)
            new_state = jax.tree.map(lambda new, old: jnp.where(good, new, old),
                                     new_state, old_state)
            metrics["skipped"] = 1.0 - good
        return new_state, metrics

    return step


def make_gradient(
    estimator: Estimator, config: Config
) -> Callable[[TrainState, jax.Array, jax.Array], Gradient]:
    """Return gradient(state, stems, windows) of the mean loss of windows, float16 [B, S, T, C, F,
    2], that have these places in the global batch, int [B].
    """
    loss_fn, places, highs_2SF = make_loss(config), members(config), highs(config)

    def gradient(train_state: TrainState, stems: jax.Array, windows: jax.Array) -> Gradient:
        key = jax.random.fold_in(jax.random.key(config.seed), train_state.step)
        drop_key, augment_key = jax.random.split(key)
        keys_B = jax.vmap(lambda i: jax.random.fold_in(augment_key, i))(windows)
        stems_BSTFC = augment(keys_B, complex_stems(stems), config.augment,
                              highs_2SF=highs_2SF)
        mix_BTFC, targets_BSTFC = mixed(stems_BSTFC, places)

        def loss_of(params: Any) -> tuple[jax.Array, Any]:
            params = selection.stopped(config.optim.frozen, params)
            variables = {"params": params, "batch_stats": train_state.batch_stats}
            estimate_BSTFC, batch_stats = estimator.train(
                variables, mix_BTFC, dropout=drop_key, windows=windows)
            losses_S = loss_fn(estimate_BSTFC, targets_BSTFC)
            return jnp.dot(train_state.guide["alpha"], losses_S), (losses_S, batch_stats)

        grads, (losses_S, batch_stats) = jax.grad(loss_of, has_aux=True)(train_state.params)
        return grads, losses_S, batch_stats

    return gradient


def accumulated(
    gradient: Callable[[TrainState, jax.Array, jax.Array], Gradient], parts: int
) -> Callable[[TrainState, jax.Array, jax.Array], Gradient]:
    """Return a gradient of the same windows that takes them in so many parts, one after the other,
    and returns the mean: only one part's activations are in memory at a time, but on a CPU, where
    the parts are unrolled for speed.
    """
    if parts == 1:
        return gradient

    def over_parts(train_state: TrainState, stems: jax.Array, windows: jax.Array) -> Gradient:
        divided = [x.reshape(parts, -1, *x.shape[1:]) for x in (stems, windows)]

        def add(total: Gradient, part: list[jax.Array]) -> tuple[Gradient, None]:
            return jax.tree.map(jnp.add, total, gradient(train_state, *part)), None

        shapes = jax.eval_shape(gradient, train_state, *[x[0] for x in divided])
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        # In a loop XLA computes gradients on one core of a CPU, ten times more slowly.
        unroll = parts if prefer_fast() else 1
        total, _ = jax.lax.scan(add, nothing, divided, unroll=unroll)
        return jax.tree.map(lambda x: x / parts, total)

    return over_parts


def make_validation(
    estimator: Estimator, alpha_S: np.ndarray, config: Config
) -> Callable[[Variables, Any], Metrics]:
    """Return validate(variables, batch) -> the losses that `make_train_step` reports, without
    augmentation or dropout. alpha_S: the weights of the targets' losses, the same at every step.
    """
    loss_fn, names, places = make_loss(config), list(config.targets), members(config)

    def validation(variables: Variables, batch: Any) -> Metrics:
        mix_BTFC, targets_BSTFC = mixed(complex_stems(batch["stems"]), places)
        losses_S = loss_fn(estimator(variables, mix_BTFC), targets_BSTFC)
        return told(jax.lax.pmean(losses_S, AXIS), alpha_S, names)

    return validation


def make_loss(config: Config) -> Loss:
    """Return the loss of a configuration, of each target by itself."""
    c = config.audio
    return losses.make(config.loss.terms, Stft(c.sample_rate, c.n_fft, c.hop),
                       resolutions=config.loss.resolutions, power=config.loss.power)


def told(losses_S: jax.Array, alpha_S: Any, names: list[str]) -> Metrics:
    """Return the weighted loss and those of the targets, by name."""
    return {
        "loss": jnp.dot(alpha_S, losses_S),
        **{f"loss_{name}": losses_S[i] for i, name in enumerate(names)},
    }


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
    train split. The dynamic weight average starts with equal ones.
    """
    if config.loss.alpha:
        return np.array(config.loss.alpha, np.float32)
    if config.loss.balance != "energy":
        return np.full(len(config.targets), 1 / len(config.targets), np.float32)
    records = store.tracks("train")
    frames = sum(record.frames for record in records)
    norms_S = np.array([record.norms for record in records]).sum(0) / frames
    # Of unrelated stems the powers add up.
    norms = [np.sqrt((norms_S[own] ** 2).sum()) for own in members(config)]
    return energy_weights(np.array(norms)).astype(np.float32)
