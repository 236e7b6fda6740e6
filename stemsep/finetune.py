"""Fine-tuning: a run that starts from the parameters of another."""

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from stemsep import checkpoint, selection
from stemsep.errors import InputError
from stemsep.state import TrainState

_SHOWN = 8  # names in a line


def check(path: str, run: str | os.PathLike) -> None:
    """Raise InputError where a new run is to start from what is not there, before any work."""
    begun = checkpoint.in_bucket(run) or any((Path(run) / "checkpoints").glob("[0-9]*"))
    if path and not begun and not checkpoint.in_bucket(path) and not Path(path).exists():
        raise InputError(f"config.train.init: {path}: no such run or exported file; give a run's "
                         "folder, as in runs/drums, or what stemsep.checkpoint export wrote")


def start_from(path: str, fresh: TrainState) -> tuple[TrainState, list[str]]:
    """Return the state of step 0 with what fits of a run's or an exported file's parameters and
    batch statistics, and what to say about it.

    What fits has the same name and shape: of a model of other stems or another size all but what
    depends on them. The rest stays as it was drawn. Raises InputError where nothing fits.
    """
    _, variables = checkpoint.load(path)
    params, taken, left = fitted(variables["params"], fresh.params)
    if not taken:
        raise InputError(
            f"config.train.init: no parameter of {path} has the name and the shape of one of this "
            "network; give a run of the same config.model.name, or leave it out")
    statistics, _, _ = fitted(variables["batch_stats"], fresh.batch_stats)
    state = fresh.replace(params=params, batch_stats=statistics,
                          ema=None if fresh.ema is None else params)
    notes = [f"starting from {path}: {len(taken)} of {len(taken) + len(left)} parameters fit"]
    if left:
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        notes.append(f"new at their start: {', '.join(left[:_SHOWN])}{more}")
    return state, notes


def fitted(stored: Any, fresh: Any) -> tuple[Any, list[str], list[str]]:
    """Return the fresh tree with the stored leaves that fit in their places, the names of those,
    and what is left: each name with both shapes.
    """
    known = selection.leaves(stored)
    taken, left = [], []

    def choose(path: tuple, own: Any) -> Any:
        name = selection.name(path)
        other = known.get(name)
        if other is not None and np.shape(other) == np.shape(own):
            taken.append(name)
            return np.asarray(other, own.dtype)
        was = "missing there" if other is None else f"{list(np.shape(other))} there"
        left.append(f"{name} ({list(np.shape(own))}, {was})")
        return own

    return jax.tree_util.tree_map_with_path(choose, fresh), taken, left
