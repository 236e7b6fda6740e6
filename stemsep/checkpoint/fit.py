"""Whether what is stored fits this version of stemsep, and its own settings."""

from typing import Any

import jax

from stemsep import __version__
from stemsep import config as configs
from stemsep import selection
from stemsep.config import Config
from stemsep.errors import InputError
from stemsep.estimate import make_estimator


def as_config(values: dict[str, Any], where: str, *, version: str) -> Config:
    """Return the configuration that a version stored; settings that it did not have are those of
    the defaults.

    Raises InputError, naming `where`, for settings that this version does not have.
    """
    try:
        return configs.from_dict(values)
    except InputError as error:
        raise InputError(
            f"{where}: its settings were stored by {_writer(version)}, and this one ({__version__})"
            f" cannot use them: {error}; use the version that wrote it, or train anew"
        ) from error


def parameters(config: Config) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what separation with a configuration needs: "params/..." and
    "batch_stats/...".
    """
    estimator = make_estimator(config)
    return shapes(
        jax.eval_shape(lambda: estimator.init(jax.random.key(0), config.data.window_frames))
    )


def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array, or of what is known of it, by its path."""
    return {name: tuple(leaf.shape) for name, leaf in selection.leaves(tree).items()}


def check(
    found: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]], where: str, *,
    version: str,
) -> None:
    """Raise InputError, naming `where` and one array, if stored arrays are not those wanted."""
    for name in sorted({*wanted, *found}, key=lambda name: (not name.startswith("params/"), name)):
        if found.get(name) == wanted.get(name):
            continue
        if name not in found:
            what = f"it lacks {name}, {list(wanted[name])} by its settings"
        elif name not in wanted:
            what = f"it has {name}, {list(found[name])}, which its settings do not make"
        else:
            what = f"{name} is {list(found[name])}, by its settings {list(wanted[name])}"
        raise InputError(
            f"{where}: {what}; it was edited, or its version ({_writer(version)}) made another "
            "network of them: use the version that wrote it, or train anew"
        )


def _writer(version: str) -> str:
    return f"stemsep {version}" if version else "an unknown version of stemsep"
