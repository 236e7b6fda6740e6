"""A folder of songs that a command makes: the record of its settings, and one maker at a time."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from stemsep import files
from stemsep.errors import InputError


@contextmanager
def alone(root: Path, *, shared: bool = False) -> Iterator[None]:
    """Wait until no other process makes songs in the folder, and say so.

    shared: others that share the work are let in too.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(files.locked(root, shared=shared))
        except BlockingIOError:
            tqdm.write(f"{root}: another process is making songs there; waiting for it",
                       file=sys.stderr)
            stack.enter_context(files.locked(root, wait=True, shared=shared))
        yield


def check(path: Path, settings: dict[str, Any], *, songs: str) -> None:
    """Raise InputError when the folder of a record holds something else, or songs of other
    settings.

    songs: what they are called, as in "demo songs".
    """
    record, root = read(path), path.parent
    if record is None:
        if root.exists() and not (root.is_dir() and files.is_empty(root)):
            raise InputError(f"{root} exists and is no folder of {songs} (it has no {path.name}); "
                             "choose another folder")
        return
    for name, value in settings.items():
        if record.get(name) != value:
            raise InputError(f"{root} holds {songs} made with {name} {record.get(name)!r}, "
                             f"not {value!r}; choose another folder or delete this one")


def read(path: Path) -> dict[str, Any] | None:
    """Return the record, or None where there is none; a damaged one raises InputError."""
    try:
        record = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as problem:
        raise InputError(f"{path} is damaged ({problem}); delete the folder or choose "
                         "another") from problem
    return record if isinstance(record, dict) else {}
