"""Compare two files of results: which of them got slower.

    python -m benchmarks.compare OLD.jsonl NEW.jsonl --fail_over=1.1

Lines belong together that tell of the same work on the same device: all that they say, but what was
measured and when, where, and of which revision. Of several in one file the last one counts. Prints
a table of both medians and of new over old, of seconds, or of bytes where no time was taken. With
--fail_over the status is 1 when one of them takes more than so many times as much.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from absl import flags

from stemsep import command
from stemsep.errors import InputError

# What says which work was done; a line has some of them.
IDENTITY = (
    "benchmark", "who", "config", "model", "widths", "what", "variation", "scaling", "mapping",
    "direction", "cache", "codec", "chunk_frames", "shard_frames", "shape_BTFC", "batch", "dtype",
    "frames", "window_frames", "n_fft", "hop", "audio_s", "song_s", "songs", "stems", "channels",
    "sample_rate", "overlap", "tracks", "audio_h", "steps", "minutes", "hours", "machine", "device",
    "devices", "virtual", "place", "cpu", "cores",
)
VALUES = ("median_s", "peak_memory_bytes", "step_s")      # the first that a line has is compared
Key = tuple[tuple[str, str], ...]


def read(path: str | Path) -> dict[Key, dict[str, Any]]:
    """Return the lines of a file by what they tell of; raises InputError for what is no such file.
    """
    found: dict[Key, dict[str, Any]] = {}
    for number, text in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            found[identity(line)] = line
        except (ValueError, TypeError, KeyError) as problem:
            raise InputError(f"{path}: line {number} is no result of a benchmark") from problem
    return found


def identity(line: dict[str, Any]) -> Key:
    """Return what a result is the result of; raises KeyError for what is none."""
    line["benchmark"]
    return tuple((name, json.dumps(line[name])) for name in IDENTITY if name in line)


def value(line: dict[str, Any]) -> tuple[str, float] | None:
    """Return the name and the value of what is compared, or None where a line has neither."""
    return next(((name, line[name]) for name in VALUES if name in line), None)


def table(old: dict[Key, dict[str, Any]], new: dict[Key, dict[str, Any]],
          ) -> list[tuple[str, str, float, float, float]]:
    """Return a row for each result that both have: what of, the name of the value, old, new, and
    new over old.
    """
    rows = []
    for key in old:
        first, second = value(old[key]), value(new.get(key, {}))
        if first and second and first[0] == second[0]:
            times = second[1] / first[1] if first[1] else math.inf
            rows.append((label(key, old), first[0], first[1], second[1], times))
    return rows


def label(key: Key, among: Iterable[Key]) -> str:
    """Return in words what a result is of: what all results of its benchmark share is left out."""
    parts = dict(key)
    others = [dict(other) for other in among if dict(other)["benchmark"] == parts["benchmark"]]
    told = [str(json.loads(parts["benchmark"]))]
    for name, text in key[1:]:
        if name == "who" or any(other.get(name) != text for other in others):
            told.append(f"{name if name != 'who' else ''} {json.loads(text)}".strip())
    return ", ".join(told)


def show(rows: list[tuple[str, str, float, float, float]], *, limit: float) -> int:
    """Print the table, and which rows are over the limit, if there is one; returns how many."""
    width = max((len(row[0]) for row in rows), default=0)
    slower = [row for row in rows if limit and row[4] > limit]
    for row in rows:
        name, what, before, after, times = row
        mark = "  more than before" if row in slower else ""
        unit = "s" if what.endswith("_s") else "B"
        print(f"{name:<{width}}  {before:10.4g} {unit}  {after:10.4g} {unit}  {times:6.2f}{mark}")
    for name, what, _, _, times in slower:
        print(f"{name}: {what} is {times:.2f} of what it was, over {limit}")
    return len(slower)


def run(arguments: list[str]) -> int:
    """Compare two files; returns the status of the command."""
    if len(arguments) != 2:
        raise InputError("give two files of JSON lines, as in python -m benchmarks.compare OLD NEW")
    old, new = ({key: line for key, line in read(path).items() if value(line)}
                for path in arguments)
    rows = table(old, new)
    slower = show(rows, limit=flags.FLAGS.fail_over)
    print(f"{len(rows)} results are in both; {len(old) - len(rows)} of the old and "
          f"{len(new) - len(rows)} of the new are in one only")
    if not rows and flags.FLAGS.fail_over:
        raise InputError("the files have no result in common, so nothing is held to --fail_over")
    return 1 if slower else 0


if __name__ == "__main__":
    flags.DEFINE_float("fail_over", 0.0, "times as much as before that is too much; 0: none is",
                       lower_bound=0.0)
    flags.FLAGS.set_gnu_getopt(True)        # flags may follow the files
    command.run(run)
