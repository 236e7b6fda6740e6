"""A model as one file: what separation needs of a checkpoint, as safetensors.

Its arrays are "params/..." and "batch_stats/..."; its metadata say which stemsep wrote it and hold
the whole configuration as JSON, so the file is used like a run.
"""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from flax.traverse_util import unflatten_dict
from safetensors.numpy import save

from stemsep import __version__
from stemsep import config as configs
from stemsep import selection
from stemsep.checkpoint import fit
from stemsep.config import Config
from stemsep.errors import InputError
from stemsep.files import write_bytes

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Exported:
    """What a file holds. of: "raw" or "ema". scores: of the validation of its step, if any."""

    config: Config
    variables: dict[str, Any]
    step: int
    of: str
    scores: dict[str, Any]
    versions: dict[str, str]


def write(path: Path, model: Exported) -> None:
    """Write a model, whole or not at all; raises InputError where the system refuses."""
    leaves = selection.leaves(model.variables)
    arrays = {name: np.ascontiguousarray(leaf) for name, leaf in leaves.items()}
    metadata = {
        "stemsep": __version__,
        "config": json.dumps(configs.to_dict(model.config), ensure_ascii=False),
        "step": str(model.step),
        "of": model.of,
        "scores": json.dumps(model.scores),
        "versions": json.dumps(model.versions),
        "crc32": str(_crc(arrays)),
    }
    try:
        write_bytes(path, save(arrays, metadata))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); free some space, or give "
                         "another file") from error


def read(path: Path) -> Exported:
    """Return what an exported file holds, host arrays.

    Raises InputError for a file that is missing, damaged, or not of stemsep.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; check the path") from error
    except safetensors.SafetensorError as error:
        raise InputError(
            f"{path}: is no model that stemsep exported, or is damaged ({error}); make it again "
            "with python -m stemsep.checkpoint export RUN"
        ) from error
    if "stemsep" not in metadata or "config" not in metadata:
        raise InputError(
            f"{path}: was not exported by stemsep, so it does not say which network it is; give "
            "what python -m stemsep.checkpoint export RUN writes"
        )
    try:
        values, scores, versions = (
            json.loads(metadata[name]) for name in ("config", "scores", "versions")
        )
        step, of, crc = int(metadata["step"]), metadata["of"], int(metadata["crc32"])
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: its metadata are damaged ({error}); export it again") from error
    if crc != _crc(arrays):
        raise InputError(f"{path}: is damaged: its arrays are not those written; export it again")
    version = metadata["stemsep"]
    config = fit.as_config(values, str(path), version=version)
    fit.check(fit.shapes(arrays), fit.parameters(config), str(path), version=version)
    variables = {"batch_stats": {}, **unflatten_dict(arrays, sep="/")}
    return Exported(config, variables, step, of, scores, {**versions, "stemsep": version})


def _crc(arrays: dict[str, np.ndarray]) -> int:
    crc = 0
    for name in sorted(arrays):
        crc = zlib.crc32(np.ascontiguousarray(arrays[name]).data, crc)
    return crc
