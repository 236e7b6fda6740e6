"""The configuration of a run, for --config: python -m stemsep.train --config runs/demo"""

import json
from pathlib import Path

from stemsep.config import Config
from stemsep.errors import InputError
from stemsep.section import build, check_types

CONFIG = "config.json"  # in a run's folder


def is_run(path: str) -> bool:
    """Whether a path given as --config is a run's folder or a stored configuration."""
    return Path(path).is_dir() or path.endswith(".json")


def get_config(path: str) -> Config:
    """Return the configuration stored in a run's folder, or in a file that `to_dict` was written
    to; not yet checked as a whole, so that it can be overridden.

    Raises InputError where it is missing, damaged, or of a version with other settings.
    """
    file = Path(path) / CONFIG if Path(path).is_dir() else Path(path)
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"--config {path}: there is no {file.name} here; give a configuration, the workdir of "
            "a training run, or its config.json"
        ) from error
    except OSError as error:
        raise InputError(f"--config {path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(
            f"--config {path}: {file.name} is damaged ({error}); give the file in configs/ that it "
            "was made of"
        ) from error
    try:
        config = build(Config, values, "config")
        check_types(config, "config")
    except InputError as error:
        raise InputError(
            f"--config {path}: stored by {_writer(file.parent)}, or edited: {error}; take that "
            "setting out of it"
        ) from error
    return config


def _writer(run: Path) -> str:
    """Return the version that a run was last started with, as its run.jsonl has it."""
    try:
        newest = json.loads((run / "run.jsonl").read_text(encoding="utf-8").splitlines()[-1])
        return f"stemsep {newest['versions']['stemsep'] or 'of an unknown version'}"
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return "another version of stemsep"
