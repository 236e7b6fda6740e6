"""log.jsonl, and the metrics that an interrupted run has not yet written to it."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from stemsep.files import write_json

Metrics = list[tuple[int, Any]]  # steps, and what each reports by its names


def put_aside(path: Path, metrics: Metrics) -> None:
    """Keep the metrics since the last log point, in a file of their own."""
    # As text: JSON has no infinity, which a skipped step may tell.
    write_json(path, {"metrics": [
        (step, {name: repr(float(value)) for name, value in values.items()})
        for step, values in metrics]})


def aside(path: Path, start: int) -> Metrics:
    """Return the metrics that were put aside at step `start`, float32; of another step, or none:
    [].
    """
    try:
        kept = json.loads(path.read_text())["metrics"]
        metrics = [(step, {name: np.float32(value) for name, value in values.items()})
                   for step, values in kept]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return metrics if metrics and metrics[-1][0] == start else []


class Lines:
    """log.jsonl, opened for appending, without what an interrupted run wrote after step `start`, or
    of its validation where that is owed.

    A line that cannot be written is lost; `failed_now` then says why, once, until one was written.
    """

    def __init__(self, path: Path, start: int, *, owed: bool = False) -> None:
        kept = []
        if path.exists():
            for line in path.read_text().splitlines():
                try:
                    record = json.loads(line)
                    again = owed and record["step"] == start and "validation_best" in record
                    if record["step"] <= start and not again:
                        kept.append(line + "\n")
                except (ValueError, KeyError, TypeError):
                    pass  # the line that a killed run left unfinished
        scratch = path.with_suffix(".tmp")
        scratch.write_text("".join(kept))
        os.replace(scratch, path)
        self._path, self._broken, self.failed_now = path, False, ""
        self._file = open(path, "ab", buffering=0)

    def write(self, record: dict[str, Any]) -> None:
        line = (b"\n" if self._broken else b"") + json.dumps(record).encode() + b"\n"
        self.failed_now = ""
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._broken = False
        except OSError as problem:
            if not self._broken:
                self.failed_now = f"{self._path} cannot be written to ({problem.strerror})"
            self._broken = True

    def close(self) -> None:
        self._file.close()
