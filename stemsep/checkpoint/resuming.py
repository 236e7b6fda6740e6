"""With which settings a run may go on."""

import json
from pathlib import Path
from typing import Any

from stemsep import config as configs
from stemsep.config import Config
from stemsep.errors import InputError

# Settings that decide what the parameters are, or what their validation loss means; a run cannot go
# on with others.
FIXED = (
    "audio", "data.targets", "data.stems", "loss", "optim.name", "optim.frozen", "model.name",
    "model.widths", "model.blocks", "model.bottleneck", "model.estimate", "model.mask",
    "model.features", "model.bins", "model.bands", "model.bin_affine", "model.norm", "model.power",
    "model.consistency",
)
# Settings by names of the user's: they are compared whole, with their order.
_PAIRS = ("augment.highs_db", "data.targets", "data.weights", "optim.lr_factors", "loss.terms")


def check_same_run(stored: Config, given: Config, workdir: Path) -> list[str]:
    """Return the settings that changed since a run was saved, as sentences.

    Raises InputError when one of them makes it another network.
    """
    was, now = flatten(configs.to_dict(stored)), flatten(configs.to_dict(given))
    changed = [name for name in now if was.get(name) != now[name]]
    ema = bool(stored.optim.ema_decay) != bool(given.optim.ema_decay)
    for name in changed:
        fixed = any(name == other or name.startswith(f"{other}.") for other in FIXED)
        if fixed or ema and name == "optim.ema_decay":
            raise InputError(
                f"{workdir}: its checkpoint is of another {_kind(name)}, config.{name} was "
                f"{was.get(name)!r} and is {now[name]!r}; give another --workdir, or the settings "
                "that it was made with"
            )
    return [f"config.{name} was {was.get(name)!r}, is {now[name]!r}" for name in changed]


def _kind(name: str) -> str:
    return {"loss": "loss", "optim": "optimiser"}.get(name.split(".")[0], "network")


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as {"optim.lr": ...}; those of `_PAIRS` are lists of pairs, and lists
    stand for tuples.
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        path = prefix + name
        if path in _PAIRS:
            flat[path] = json.loads(json.dumps(list(value.items())))
        elif isinstance(value, dict):
            flat.update(flatten(value, path + "."))
        else:
            flat[path] = json.loads(json.dumps(value))
    return flat
