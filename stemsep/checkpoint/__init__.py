"""Checkpoints through Orbax: host arrays, so that they restore on any number of devices; written
asynchronously.

A run is a folder, or gs://bucket/path: `checkpoints/` (Orbax), and beside it, or where the run lies
in a bucket in a local folder, `config.json` and `log.jsonl`. A checkpoint holds the model
(parameters, their average, batch statistics), the optimiser, and the configuration, so it can be
used without its config file. `exported` is what separation needs of one, as one file.
"""

from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

from stemsep.checkpoint import exported
from stemsep.checkpoint.checkpoints import Checkpoints
from stemsep.checkpoint.faults import reachable, undamaged
from stemsep.checkpoint.folder import folder, in_bucket, local
from stemsep.checkpoint.ranking import best_of
from stemsep.checkpoint.resuming import check_same_run, flatten
from stemsep.config import Config
from stemsep.errors import InputError

__all__ = ["Checkpoints", "best_of", "check_same_run", "flatten", "in_bucket", "is_file", "load",
           "local", "opened", "undamaged"]


def load(run: str | Path) -> tuple[Config, dict[str, Any]]:
    """Return the configuration and the variables of a run's best checkpoint, or of an exported
    file.

    Raises InputError when there is no run, no finished checkpoint, or no such file at the path.
    """
    if is_file(run):
        model = exported.read(Path(run))
        return model.config, model.variables
    with opened(run) as (checkpoints, step):
        return checkpoints.config(step), checkpoints.variables(step)


def is_file(run: str | Path) -> bool:
    """Whether a path is that of an exported file, by its name or because it is a file."""
    return not in_bucket(run) and (
        Path(run).is_file() or Path(run).suffix == exported.SUFFIX and not Path(run).is_dir())


@contextmanager
def opened(run: str | Path) -> Iterator[tuple[Checkpoints, int]]:
    """Open a run, or its folder checkpoints/, to read it; gives its checkpoints, and the best step.

    Raises InputError where there is no checkpoint, and for a damaged one.
    """
    place = folder(run)
    with reachable(place):
        if place.name == "checkpoints" and not (place / "checkpoints").exists():
            place = place.parent
        if not (place / "checkpoints").is_dir():
            raise InputError(
                f"{run}: no checkpoint here; give the workdir of a training run, as in "
                "--checkpoint runs/demo, or a file that python -m stemsep.checkpoint export wrote"
            )
    with Checkpoints(place, read_only=True) as checkpoints:
        step = checkpoints.best()
        if step is None:
            raise InputError(
                f"{run}: the run has not saved a checkpoint yet; train it for "
                "config.train.save_every steps"
            )
        with undamaged(place, step):
            yield checkpoints, step
