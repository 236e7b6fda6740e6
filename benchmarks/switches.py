"""What every switch of training costs and does: time of a step, memory, and the loss after some.

    python -m benchmarks.switches --config configs/demo.py --steps 100 --output results.jsonl

Each variation changes one setting of the configuration. All train on the same batches; their steps
are timed in turns after that, and compared with those of the configuration as it is. One line of
JSON each: the loss that it minimises at the first and over the last tenth of the steps, the SDR of
validation songs, and what a step takes. The store is made when it is missing.
"""

import math
from typing import Any, Callable

import numpy as np

from benchmarks import timer
from stemsep import optim, parallel, preprocess, state, steps
from stemsep.batches import Batches
from stemsep.config import Config, from_dict, to_dict
from stemsep.estimate import make_estimator
from stemsep.parallel import AXIS, DataParallel
from stemsep.store import Store
from stemsep.validation import Validation

VARIATIONS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "remat": {"model.remat": True},
    "accumulate 4": {"optim.accumulate": 4},
    "bfloat16": {"model.dtype": "bfloat16"},
    "group norm": {"model.norm": "group"},
    "complex": {"model.estimate": "complex"},
    "complex, consistent": {"model.estimate": "complex", "model.consistency": "power"},
    "power 0.5": {"model.power": 0.5},
    "no average": {"optim.ema_decay": 0.0},
    "skip what is not finite": {"train.nonfinite": "skip"},
    "clip": {"optim.clip_norm": 1.0},
    **{name: {"optim.name": name} for name in ("adam", "sgd", "muon")},
    "lion": {"optim.name": "lion", "optim.lr": 1e-4},
    **{f"loss {name}": {"loss.terms": {name: 1.0}} for name in (
        "magnitude_l1", "complex_l1", "complex_mse", "complex_rms", "snr", "wave_l1", "l1_snr",
        "si_sdr", "multires")},
    "loss complex_l1 of power 0.5": {"loss.terms": {"complex_l1": 1.0}, "loss.power": 0.5},
    "dynamic weights": {"loss.balance": "dynamic", "loss.balance_steps": 20},
    "all augmentation": {"augment.mixup": 0.2, "augment.polarity": 0.5, "augment.tilt_db": 3.0,
                         "augment.drop": 0.1, "augment.mask_time": 0.1,
                         "augment.mask_frequency": 0.1, "augment.highs_db": {"rest": (0.0, 9.0)}},
}


def compare(config: Config, *, steps: int, repeats: int, output: str) -> None:
    """Train with each variation, then time their steps in turns; a line each."""
    preprocess.preprocess(config)
    store = Store.open(config.store, preprocess.store_spec(config))
    lines, seconds = {}, {}
    for name, changes in VARIATIONS.items():
        lines[name], call = trained(changed(config, changes), store, steps)
        base = timed(config, store)
        taken = timer.take_turns({"base": base, name: call}, repeats=repeats)
        seconds[name] = taken
        timer.write(output, {
            "benchmark": "switches", "config": config.name, "variation": name, "changes": changes,
            "steps": steps, **lines[name], **timer.summary(taken[name]),
            "step_s_per_base_s": float(np.median(
                np.array(taken[name]) / np.array(taken["base"]))),
            **timer.machine("jax", "jaxlib", "flax", "optax"),
        })


def changed(config: Config, changes: dict[str, Any]) -> Config:
    """Return the checked configuration with some settings changed, by their dotted names."""
    values = to_dict(config)
    for path, value in changes.items():
        section, name = path.split(".")
        values[section][name] = value
    return from_dict(values)


def trained(config: Config, store: Store, count: int) -> tuple[dict[str, Any], Callable[[], None]]:
    """Train for `count` steps; return what came out, and a call that does one more step."""
    step, now, batches, validation = made(config, store)
    program = validation.devices.compiled(step, now, batches.example())
    losses = []
    for _, batch in batches.stream(0, count):
        now, metrics = program(now, batch)
        losses.append(metrics["loss"])
    values = [float(validation.devices.get(loss)) for loss in losses]
    scores = validation(now, validation.devices.get(now)).scores["raw"]
    last = max(1, math.ceil(count / 10))
    return {
        "loss_first": values[0], "loss_last": float(np.mean(values[-last:])),
        "validation_loss": scores["loss"], "validation_sdr": scores.get("sdr"),
        "program_bytes": program.argument_bytes + program.temp_bytes,
        "compile_s": program.compile_s,
    }, timer.waiting(program, now, next(batches.stream(count, count + 1))[1])


def timed(config: Config, store: Store) -> Callable[[], None]:
    """Return a call that does a step of a configuration."""
    step, now, batches, _ = made(config, store)
    return timer.waiting(step, now, next(batches.stream(0, 1))[1])


def made(config: Config, store: Store) -> tuple[Callable, Any, Batches, Validation]:
    """Return the step of a configuration, its first state, its batches and its validation."""
    devices = DataParallel(config.parallel)
    estimator = make_estimator(config, axis_name=AXIS)
    tx, alpha_S = optim.make(config.optim, config.train.steps), steps.stem_weights(config, store)
    step = devices.map(steps.make_train_step(estimator, tx, config), donate=True)
    fresh = state.create(estimator, tx, alpha_S, seed=config.seed,
                         frames=config.data.window_frames, ema=bool(config.optim.ema_decay))
    held_out = "validation" if store.tracks("validation") else "train"
    return (step, devices.replicate(fresh), Batches(store, "train", config, devices),
            Validation(store, held_out, estimator, alpha_S, config, devices))


def main(config: Config, *, steps: int, repeats: int, output: str) -> None:
    """Run the command."""
    parallel.prepare()
    compare(config, steps=steps, repeats=repeats, output=output)


if __name__ == "__main__":
    timer.run(main, steps=(100, "that each variation trains for"), repeats=(5, "rounds of timing"))
