"""Checkpoints through Orbax: host arrays, so that they restore on any number of devices; written
asynchronously.

A run is a folder: `checkpoints/` (Orbax), `config.json` and `log.jsonl`. A checkpoint holds the
model (parameters, their average, batch statistics), the optimiser, and the configuration, so it can
be used without its config file.
"""

import dataclasses
import json
import math
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from stemsep import config as configs
from stemsep.config import Config
from stemsep.errors import InputError
from stemsep.state import TrainState

# Settings that decide what the parameters are, or what their validation loss means; a run cannot go
# on with others.
FIXED = (
    "audio", "data.targets", "data.stems", "loss", "optim.name", "optim.frozen", "model.name",
    "model.widths", "model.estimate", "model.mask", "model.features", "model.bins", "model.bands",
    "model.bin_affine", "model.norm", "model.power", "model.consistency",
)


class Checkpoints:
    """The checkpoints of a run: the newest `keep` and the best by validation loss.

    source: where the songs come from that it is validated on. Losses on songs of another source,
    from before a change of it, say nothing about which checkpoint is the best.
    """

    def __init__(
        self, workdir: str | Path, *, source: str = "", keep: int = 2, read_only: bool = False
    ) -> None:
        self.workdir = Path(workdir).absolute()
        self._songs = zlib.crc32(source.encode())

        def rank(metrics: dict[str, float]) -> float:
            return _negative_loss(metrics) if metrics.get("songs") == self._songs else -math.inf

        newest_and_best = policies.AnyPreservationPolicy(
            [policies.LatestN(keep), policies.BestN(get_metric_fn=rank, n=1)]
        )
        options = ocp.CheckpointManagerOptions(
            best_fn=_negative_loss,
            preservation_policy=newest_and_best,
            read_only=read_only,
            create=not read_only,
            cleanup_tmp_directories=not read_only,
        )
        self._manager = ocp.CheckpointManager(
            self.workdir / "checkpoints",
            options=options,
            item_names=("model", "optimiser", "config"),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()  # waits for what is still being written

    def latest(self) -> int | None:
        """Return the newest committed step, or None."""
        return self._manager.latest_step()

    def best(self) -> int | None:
        """Return the step with the lowest loss on the songs that the newest was validated on, or
        None without any.
        """
        newest = self.latest()
        if newest is None:
            return None
        metrics = {step: self._manager.metrics(step) or {} for step in self._manager.all_steps()}
        songs = metrics[newest].get("songs")
        losses = {
            step: known["loss"] for step, known in metrics.items()
            if "loss" in known and known.get("songs") == songs
        }
        return min(losses, key=lambda step: (losses[step], -step), default=newest)

    def save(
        self, step: int, state: TrainState, *, config: Config, scores: dict[str, Any] | None
    ) -> None:
        """Save a state of host arrays; returns before it is written.

        scores: of the validation, which rank it: "loss", "sdr" where songs were separated, and "of"
        "raw" or "ema", the parameters that they are of.
        """
        known = {name: value for name, value in (scores or {}).items() if value is not None}
        self._manager.save(
            step,
            metrics={**known, "songs": self._songs},
            args=ocp.args.Composite(
                model=ocp.args.StandardSave(_model(state)),
                optimiser=ocp.args.StandardSave(_optimiser(state)),
                config=ocp.args.JsonSave(configs.to_dict(config)),
            ),
        )

    def config(self, step: int) -> Config:
        """Return the configuration that a step was trained with."""
        restored = self._manager.restore(
            step, args=ocp.args.Composite(config=ocp.args.JsonRestore())
        )
        return configs.from_dict(restored["config"])

    def raw(self, step: int) -> dict[str, Any]:
        """Return all arrays of a step as they are stored, {"model": ..., "optimiser": ...}, in
        nested dicts.
        """
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                model=ocp.args.StandardRestore(), optimiser=ocp.args.StandardRestore()
            ),
        )
        return {"model": restored["model"], "optimiser": restored["optimiser"]}

    def delete(self, step: int) -> None:
        """Remove the checkpoint of a step."""
        self._manager.delete(step)

    def restore(self, step: int, like: TrainState) -> TrainState:
        """Return the state of a step as host arrays; `like` gives its structure and shapes."""
        shapes = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                model=ocp.args.StandardRestore(_model(shapes)),
                optimiser=ocp.args.StandardRestore(_optimiser(shapes)),
            ),
        )
        model, optimiser = restored["model"], restored["optimiser"]
        return TrainState(
            step=optimiser["step"],
            params=model["params"],
            batch_stats=model.get("batch_stats", {}),
            ema=model.get("ema"),
            opt_state=optimiser["opt_state"],
            guide=optimiser["guide"],
        )

    def variables(self, step: int) -> dict[str, Any]:
        """Return what separation uses, host arrays: averaged parameters where there are any, batch
        statistics.
        """
        restored = self._manager.restore(
            step, args=ocp.args.Composite(model=ocp.args.StandardRestore())
        )["model"]
        params = restored.get("ema") or restored["params"]
        return jax.tree.map(
            np.asarray, {"params": params, "batch_stats": restored.get("batch_stats") or {}}
        )


def load(run: str | Path) -> tuple[Config, dict[str, Any]]:
    """Return the configuration and the variables of a run's best checkpoint.

    Raises InputError when there is no run or no finished checkpoint at the path.
    """
    run = Path(run)
    if run.name == "checkpoints" and not (run / "checkpoints").exists():
        run = run.parent
    if not (run / "checkpoints").is_dir():
        raise InputError(
            f"{run}: no checkpoint here; give the workdir of a training run, "
            "as in --checkpoint runs/demo"
        )
    with Checkpoints(run, read_only=True) as checkpoints:
        step = checkpoints.best()
        if step is None:
            raise InputError(
                f"{run}: the run has not saved a checkpoint yet; train it for "
                "config.train.save_every steps"
            )
        with undamaged(run, step):
            return checkpoints.config(step), checkpoints.variables(step)


@contextmanager
def undamaged(run: Path, step: int) -> Iterator[None]:
    """Turn what Orbax says of a damaged checkpoint into an InputError that names it."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(
            f"{run}: checkpoint {step} is damaged; delete the folder {run}/checkpoints/{step} to "
            "go on from the one before"
        ) from error


def check_same_run(stored: Config, given: Config, workdir: Path) -> list[str]:
    """Return the settings that changed since a run was saved, as sentences.

    Raises InputError when one of them makes it another network.
    """
    was, now = flatten(configs.to_dict(stored)), flatten(configs.to_dict(given))
    changed = [name for name in now if was.get(name) != now[name]]
    ema = bool(stored.optim.ema_decay) != bool(given.optim.ema_decay)
    for name in changed:
        if name.startswith(FIXED) or ema and name == "optim.ema_decay":
            raise InputError(
                f"{workdir}: its checkpoint is of another {_kind(name)}, config.{name} was "
                f"{was.get(name)!r} and is {now[name]!r}; give another --workdir, or the settings "
                "that it was made with"
            )
    return [f"config.{name} was {was.get(name)!r}, is {now[name]!r}" for name in changed]


def _kind(name: str) -> str:
    return {"loss": "loss", "optim": "optimiser"}.get(name.split(".")[0], "network")


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as {"optim.lr": ...}; targets and weights are pairs, as their order
    counts, and lists stand for tuples.
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        path = prefix + name
        if path in ("data.targets", "data.weights", "optim.lr_factors"):
            flat[path] = [[target, stems] for target, stems in value.items()]
        elif isinstance(value, dict):
            flat.update(flatten(value, path + "."))
        else:
            flat[path] = json.loads(json.dumps(value))
    return flat


def _model(state: TrainState) -> dict[str, Any]:
    """Return the part of a state that separation needs; what is empty is left out, as Orbax cannot
    hold it.
    """
    parts = {f.name: getattr(state, f.name) for f in dataclasses.fields(state)}
    return {name: parts[name] for name in ("params", "batch_stats", "ema") if parts[name]}


def _optimiser(state: TrainState) -> dict[str, Any]:
    """Return the part of a state that only training needs."""
    return {"step": state.step, "opt_state": state.opt_state, "guide": state.guide}


def _negative_loss(metrics: dict[str, float]) -> float:
    return -metrics.get("loss", math.inf)
