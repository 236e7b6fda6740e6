"""Training: python -m stemsep.train --config configs/drums.py [--workdir runs/drums]"""

import time
from collections import deque
from pathlib import Path
from typing import Any, Callable

import jax
import numpy as np
import optax
from absl import flags

from stemsep import (
    command, datasets, finetune, guide, memory, optim, parallel, preprocess, selection, sinks,
    state, stored, summary, tracing
)
from stemsep.batches import Batches
from stemsep.checkpoint import Checkpoints, check_same_run, in_bucket, local, undamaged
from stemsep.config import Config, from_dict, to_dict
from stemsep.datasets import recipes
from stemsep.errors import Stopped
from stemsep.estimate import Estimator, make_estimator
from stemsep.files import write_json
from stemsep.log import Log, Sink, check_finite
from stemsep.parallel import AXIS, DataParallel
from stemsep.state import TrainState
from stemsep.steps import make_train_step, stem_weights
from stemsep.store import Store
from stemsep.store.places import place
from stemsep.tracing import Trace
from stemsep.validation import Interrupted, Validation, identity

AHEAD = 2  # steps that may be queued on the device; more would only fill its memory with batches


def train(
    config: Config, workdir: str | Path, *, profile: tuple[int, int] | None = None
) -> str | Path:
    """Train the network of a checked configuration, or go on where its workdir stopped.

    workdir: a folder or gs://bucket/path; of a run in a bucket the log lies in runs/<config.name>.
    profile: the first and the last step of which a trace is written. Returns the workdir. A missing
    store is built first. Raises InputError when the workdir holds another network or another run
    trains in it, when the batch does not divide over the devices, when a sink of the log is
    missing, when the loss stops being finite, and when the last checkpoint cannot be saved; Stopped
    when SIGTERM has stopped it: its state is saved, and the same call goes on from there.
    """
    run, config = workdir, with_recipe(config)
    workdir = local(run, config.name)
    devices = DataParallel(config.parallel)
    sinks.check(config, main=devices.is_main)
    devices.check_batch(config.train.batch, "config.train.batch", parts=config.optim.accumulate)
    finetune.check(config.train.init, run)
    store = open_store(config, devices)
    batches = Batches(store, "train", config, devices)
    held_out = "validation" if store.tracks("validation") else "train"
    if held_out == "train" and devices.is_main:
        print(f"{config.data.source}: no tracks in the split 'validation'; the songs of training "
              "validate, so the best checkpoint is not chosen on unseen ones")
    estimator = make_estimator(config, axis_name=AXIS)
    tx, alpha_S = optim.make(config.optim, config.train.steps), stem_weights(config, store)
    step_fn = devices.map(make_train_step(estimator, tx, config), donate=True)
    validation = Validation(store, held_out, estimator, alpha_S, config, devices)

    with devices.preemption() as asked_to_stop, Checkpoints(
        run, source=identity(config), keep=config.train.keep, process=devices.process
    ) as checkpoints:
        train_state, start, owed, notes = begin(checkpoints, config, estimator, tx, alpha_S)
        unfinished = owed or start < config.train.steps
        outlets: list[Sink] = []
        if devices.is_main and unfinished:
            outlets = sinks.make(config, workdir, start=start)
            write_json(workdir / stored.CONFIG, to_dict(config))  # --config takes it
        train_state = devices.replicate(train_state)
        with (
            Log(workdir, start=start, owed=owed, steps=config.train.steps, visible=devices.is_main,
                seconds_a_step=seconds_a_step(config), get=devices.get,
                sinks=outlets, song_s=config.log.song_s,
                skips_allowed=skips_allowed(config),
                skipped=checkpoints.skipped(start)) as log,
            Trace(workdir, profile, start=start, stop=config.train.steps,
                  visible=devices.is_main) as trace,
        ):
            checkpoints.say = log.say
            if in_bucket(run):
                log.say(f"checkpoints go to {run}, the log to {workdir}")
            for note in filter(None, [*notes, trace.note]):
                log.say(note)
            if start < config.train.steps:
                log.say(f"compiling the step for {devices.describe()}")
                step_fn = devices.compiled(step_fn, train_state, batches.example())
                summary.begin(log, workdir, config, batches, validation.windows, devices,
                              train_state, alpha_S, step_fn, start=start)
            with memory.kept():
                done, stopped = loop(train_state, start, step_fn, batches, validation, checkpoints,
                                     log, trace, asked_to_stop, owed=owed)
    if stopped:
        raise Stopped(f"stopped by SIGTERM after step {done}, which is saved in {run}; the same "
                      "command goes on from there" if devices.is_main else "")
    return run


def loop(
    train_state: TrainState, start: int, step_fn: Callable, batches: Batches,
    validation: Validation, checkpoints: Checkpoints, log: Log, trace: Trace,
    asked_to_stop: Callable[[], bool], *, owed: bool = False,
) -> tuple[int, bool]:
    """Train from step `start` on; returns the steps done, and whether SIGTERM has ended it.

    owed: the state is due a validation that it lacks, which comes first. The order counts: what a
    step reports is read a log point later, and so late that the device never waits for it; a state
    is saved when all of its metrics were found finite.
    """
    config, devices = validation.config, validation.devices
    running: deque = deque()
    stream = batches.stream(start, config.train.steps)
    done, judges, saves = start, owed, False
    while True:
        if judges:
            judged_state = judged(train_state, done, validation, checkpoints, log, asked_to_stop)
            if judged_state is None or is_over(judged_state, done, devices, config, log):
                return done, judged_state is None
            train_state = judged_state
        if done >= config.train.steps:
            return done, False
        if done > start and asked_to_stop():
            if not saves:
                log.interrupt()
                checkpoints.save(done, devices.get(train_state), config=config, scores=None,
                                 skipped=log.skipped)
            return done, True
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
            checkpoints.check()
        judges = is_judged(done, config)
        saves = judges or due(done, config.train.save_every)
        if saves:
            log.flush()
        if saves and not judges:
            checkpoints.save(done, devices.get(train_state), config=config, scores=None,
                             skipped=log.skipped)


def judged(
    train_state: TrainState, done: int, validation: Validation, checkpoints: Checkpoints, log: Log,
    asked_to_stop: Callable[[], bool],
) -> TrainState | None:
    """Validate, save and tell of a state; returns it with what its score makes of the guide, or
    None where SIGTERM interrupts it: then the state is saved as it is, and owes its validation.
    """
    config, devices = validation.config, validation.devices
    at_host = devices.get(train_state)
    try:
        verdict = validation(train_state, at_host, asked_to_stop)
    except Interrupted:
        checkpoints.save(done, at_host, config=config, scores=None, skipped=log.skipped)
        return None
    scores = verdict.scores[verdict.best]
    check_finite(done, "validation loss", float(scores["loss"] or 0))
    at_host = at_host.replace(guide=guide.judge(at_host.guide, verdict.score, config))
    # Told first: a run that is killed in between goes on from before, or owes it, and tells it
    # again.
    log.validation(done, verdict.scores, best=verdict.best,
                   best_score=float(at_host.guide["best"]))
    checkpoints.save(done, at_host, config=config, scores={**scores, "of": verdict.best},
                     skipped=log.skipped)
    log.songs(done, verdict.heard, config.audio.sample_rate)
    return train_state.replace(guide=devices.replicate(at_host.guide))


def is_judged(done: int, config: Config) -> bool:
    """Whether a state is validated after so many steps."""
    every = config.train.validate_every or config.train.save_every
    return done == config.train.steps or due(done, every)


def is_over(
    train_state: TrainState, done: int, devices: DataParallel, config: Config, log: Log
) -> bool:
    """Whether training ends before its last step, which is told."""
    if not guide.is_over(devices.get(train_state.guide), config):
        return False
    log.say(f"step {done}: no better score in {config.train.patience} validations; training ends "
            "here")
    return True


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


def begin(
    checkpoints: Checkpoints, config: Config, estimator: Estimator,
    tx: optax.GradientTransformation, alpha_S: np.ndarray,
) -> tuple[TrainState, int, bool, list[str]]:
    """Return the state to start from, fresh, with another run's parameters or the newest
    checkpoint's; its step; whether it is due a validation that it lacks, as where SIGTERM
    interrupted that; and what to say about it.
    """
    def fresh() -> TrainState:
        return state.create(estimator, tx, alpha_S, seed=config.seed,
                            frames=config.data.window_frames, ema=bool(config.optim.ema_decay))

    latest = checkpoints.latest()
    if latest is None:
        first, notes = fresh(), list[str]()
        if config.train.init:
            first, notes = finetune.start_from(config.train.init, first)
        check_patterns(config, first.params)
        return first, 0, False, notes
    with undamaged(checkpoints.workdir, latest):
        stored = checkpoints.config(latest)
    changed = check_same_run(stored, config, checkpoints.workdir)
    with undamaged(checkpoints.workdir, latest):
        restored = checkpoints.restore(latest, jax.eval_shape(fresh))
    check_patterns(config, restored.params)
    if identity(stored) != identity(config):
        restored = restored.replace(guide=guide.anew(restored.guide))
        changed = [*changed, "validation is of other songs or windows: its best score starts anew"]
    over = guide.is_over(restored.guide, config)
    owed = (not over and latest <= config.train.steps and is_judged(latest, config)
            and not checkpoints.scores(latest))
    if over or latest >= config.train.steps and not owed:
        why = ", until no score was better" if over else ""
        note = f"{checkpoints.workdir}: already trained for {latest} steps{why}; nothing to do"
        idle = [f"{change}, which changes nothing any more" for change in changed]
        return restored, max(latest, config.train.steps), False, [note, *idle]
    going_on = f"going on from step {latest} of {checkpoints.workdir}"
    return restored, latest, owed, [going_on, *changed]


def check_patterns(config: Config, params: Any) -> None:
    """Raise InputError for patterns of the optimiser's that fit no parameter, or freeze all."""
    optim = config.optim
    selection.check(optim.frozen, params, "config.optim.frozen")
    selection.check(optim.lr_factors, params, "config.optim.lr_factors")
    selection.check_some_trained(optim.frozen, params, "config.optim.frozen")


def skips_allowed(config: Config) -> int:
    """Return how many steps in a row may be skipped because they are not finite."""
    return config.train.nonfinite_limit if config.train.nonfinite == "skip" else 0


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
        "workdir", None,
        "where checkpoints and the log go, a folder or gs://bucket/path; default: "
        "runs/<config.name>"
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
