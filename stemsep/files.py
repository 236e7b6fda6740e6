"""Files that appear whole or not at all, and folders that one process writes to at a time."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LOCK, PART = ".lock", ".part"  # what these functions leave, or a killed process


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write JSON under another name, then rename: the file is there whole or not at all.

    Folders on the way are made. Raises ValueError for NaN, which JSON has not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PART)
    try:
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(values, file, indent=1, ensure_ascii=False, allow_nan=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep other processes out of a folder while it is written to.

    wait: until the other is done; else BlockingIOError is raised at once. The lock ends with the
    process, however that ends.
    """
    with open(folder / LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but what a killed process left before its first file."""
    return all(path.name == LOCK or path.name.endswith(PART) for path in folder.iterdir())
