"""Files that appear whole or not at all, and folders that one process writes to at a time."""

import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LOCK, PART = ".lock", ".part"  # what these functions leave, or a killed process


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write JSON for people to read, as `write_bytes` does; raises ValueError for NaN, which JSON
    has not.
    """
    write_bytes(path, json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)
                .encode() + b"\n")


def write_bytes(path: Path, data: bytes) -> None:
    """Write under another name, then rename: the file is there whole or not at all.

    Folders on the way are made. Of processes that write at the same time the last one counts.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}{PART}")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def locked(folder: Path, *, wait: bool = False, shared: bool = False,
           name: str = LOCK) -> Iterator[None]:
    """Keep other processes out of a folder while it is written to.

    wait: until the other is done; else BlockingIOError is raised at once. shared: others that share
    are let in too. The lock ends with the process, however that ends.
    """
    with open(folder / name, "w") as lock:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(lock, kind | (0 if wait else fcntl.LOCK_NB))
        yield


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but what a killed process left before its first file."""
    return all(path.name.startswith(LOCK) or path.name.endswith(PART) for path in folder.iterdir())
