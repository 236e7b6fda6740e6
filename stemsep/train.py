"""Training: python -m stemsep.train --config configs/drums.py [--workdir runs/drums]"""

import time
from collections import deque
from pathlib import Path
from typing import Callable

import jax
import numpy as np
import optax
from absl import flags

from stemsep import (
    command, datasets, optim, parallel, preprocess, sinks, state, stored, summary, tracing
)
from stemsep.batches import Batches
from stemsep.checkpoint import Checkpoints, check_same_run, undamaged
from stemsep.config import Config, from_dict, to_dict
from stemsep.datasets import recipes
from stemsep.estimate import Estimator, make_estimator
from stemsep.files import write_json
from stemsep.log import Log, Sink, check_finite
from stemsep.parallel import AXIS, DataParallel
from stemsep.state import TrainState
from stemsep.steps import make_train_step, make_validation, stem_weights
from stemsep.store import Store
from stemsep.store.places import place
from stemsep.tracing import Trace

AHEAD = 2  # steps that may be queued on the device; more would only fill its memory with batches


def train(
    config: Config, workdir: str | Path, *, profile: tuple[int, int] | None = None
) -> Path:
    """Train the network of a checked configuration, or go on where its workdir stopped.

    profile: the first and the last step of which a trace is written. Returns the workdir. A missing
    store is built first. Raises InputError when the workdir holds another network, when the batch
    does not divide over the devices, when a sink of the log is missing, and when the loss stops
    being finite.
    """
    workdir, config = Path(workdir), with_recipe(config)
    devices = DataParallel(config.parallel)
    sinks.check(config, main=devices.is_main)
    devices.check_batch(config.train.batch, "config.train.batch")
    store = open_store(config, devices)
    batches = Batches(store, "train", config, devices)
    held_out = "validation" if store.tracks("validation") else "train"
    if held_out == "train" and devices.is_main:
        print(f"{config.data.source}: no tracks in the split 'validation'; the songs of training "
              "validate, so the best checkpoint is not chosen on unseen ones")
    checked = Batches(store, held_out, config, devices)

    estimator = make_estimator(config, axis_name=AXIS)
    tx = optim.make(config.optim, config.train.steps)
    alpha_S = stem_weights(config, store)
    step_fn = devices.map(make_train_step(estimator, tx, alpha_S, config), donate=True)
    validate_fn = devices.map(make_validation(estimator, alpha_S, config))

    with Checkpoints(
        workdir, source=config.data.source, keep=config.train.keep
    ) as checkpoints:
        train_state, start, notes = begin(checkpoints, config, estimator, tx)
        unfinished = start < config.train.steps
        outlets: list[Sink] = []
        if devices.is_main and unfinished:
            outlets = sinks.make(config, workdir, start=start)
            write_json(workdir / stored.CONFIG, to_dict(config))  # --config takes it
        train_state = devices.replicate(train_state)
        with (
            Log(workdir, start=start, steps=config.train.steps, visible=devices.is_main,
                seconds_a_step=seconds_a_step(config), get=devices.get,
                sinks=outlets, song_s=config.log.song_s) as log,
            Trace(workdir, profile, start=start, stop=config.train.steps,
                  visible=devices.is_main) as trace,
        ):
            for note in filter(None, [*notes, trace.note]):
                log.say(note)
            if unfinished:
                log.say(f"compiling the step for {devices.describe()}")
                step_fn = devices.compiled(step_fn, train_state, batches.example())
                summary.begin(log, workdir, config, batches, checked, devices, train_state,
                              alpha_S, step_fn, start=start)
            running: deque = deque()
            stream = batches.stream(start, config.train.steps)
            done = start
            while done < config.train.steps:
                with log.waiting():
                    _, batch = next(stream)
                trace.before(done + 1)
                train_state, metrics = step_fn(train_state, batch)
                done += 1
                trace.after(done, metrics)
                log.step(done, metrics)
                running.append(metrics)
                if len(running) > AHEAD:
                    jax.block_until_ready(running.popleft())
                if due(done, config.train.log_every):
                    log.point()
                if due(done, config.train.save_every) or done == config.train.steps:
                    log.flush()
                    scores = validate(validate_fn, checked, train_state, config, devices)
                    check_finite(done, "validation loss", scores["loss"])
                    at_host = devices.get(train_state)
                    checkpoints.save(done, at_host, config=config, loss=scores["loss"])
                    log.validation(done, scores)
    return workdir


def with_recipe(config: Config) -> Config:
    """Return the configuration with its recipe's text for its path, so that a run is whole without
    the file.
    """
    values = to_dict(config)
    values["data"]["recipe"] = recipes.text(config.data.recipe)
    return from_dict(values)


def open_store(config: Config, devices: DataParallel) -> Store:
    """Return the store of a configuration, built or brought up to date first when its source is at
    hand.
    """
    layout, source = datasets.parse(config.data.source)
    here = source.exists() or layout == "demo"
    if here or not place(config.store, config.data.endpoint).exists():
        if devices.is_main or config.data.engine == "spmd":
            preprocess.preprocess(config)
    elif devices.is_main:
        print(f"{config.data.source} is not here; training on {config.store} as it is")
    devices.wait_for_all("store")
    return Store.open(config.store, preprocess.store_spec(config), endpoint=config.data.endpoint)


def validate(
    validate_fn: Callable,
    checked: Batches,
    train_state: TrainState,
    config: Config,
    devices: DataParallel,
) -> dict[str, float]:
    """Return the mean losses over the fixed windows of validation."""
    results = [
        validate_fn(train_state, batch) for _, batch in checked.fixed(config.train.validate_windows)
    ]
    values = [devices.get(result) for result in results]
    return {name: float(np.mean([value[name] for value in values])) for name in values[0]}


def begin(
    checkpoints: Checkpoints, config: Config, estimator: Estimator, tx: optax.GradientTransformation
) -> tuple[TrainState, int, list[str]]:
    """Return the state to start from, its step, and what to say about it: fresh, or the newest
    checkpoint's.
    """
    latest = checkpoints.latest()
    if latest is None:
        fresh = state.create(
            estimator,
            tx,
            seed=config.seed,
            frames=config.data.window_frames,
            ema=bool(config.optim.ema_decay),
        )
        return fresh, 0, []
    with undamaged(checkpoints.workdir, latest):
        stored = checkpoints.config(latest)
    changed = check_same_run(stored, config, checkpoints.workdir)
    shapes = jax.eval_shape(
        lambda: state.create(
            estimator,
            tx,
            seed=config.seed,
            frames=config.data.window_frames,
            ema=bool(config.optim.ema_decay),
        )
    )
    with undamaged(checkpoints.workdir, latest):
        restored = checkpoints.restore(latest, shapes)
    if latest >= config.train.steps:
        note = f"{checkpoints.workdir}: already trained for {latest} steps; nothing to do"
        idle = [f"{change}, which changes nothing any more" for change in changed]
        return restored, latest, [note, *idle]
    return restored, latest, [f"going on from step {latest} of {checkpoints.workdir}", *changed]


def seconds_a_step(config: Config) -> float:
    """Return the seconds of audio that a step sees."""
    return (
        config.train.batch * config.data.window_frames * config.audio.hop / config.audio.sample_rate
    )


def due(done: int, every: int) -> bool:
    """Whether something that happens every so many steps happens after `done` of them."""
    return done % every == 0


def main() -> None:
    """Run the command."""
    config_flag = command.define_config()
    workdir_flag = flags.DEFINE_string(
        "workdir", None, "where checkpoints and the log go; default: runs/<config.name>"
    )
    profile_flag = flags.DEFINE_string(
        "profile_steps", "", "first:last, steps of which a trace is written to WORKDIR/profile"
    )

    def run(argv: list[str]) -> None:
        command.no_arguments(argv)
        config = command.checked_config(config_flag)
        profile = tracing.parse(profile_flag.value)
        parallel.prepare()
        begin_s = time.perf_counter()
        workdir = train(config, workdir_flag.value or f"runs/{config.name}", profile=profile)
        if DataParallel().is_main:
            minutes = (time.perf_counter() - begin_s) / 60
            print(f"trained in {minutes:.1f} min; the run is {workdir}")

    command.run(run, config=True)


if __name__ == "__main__":
    main()
