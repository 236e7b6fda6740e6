"""What goes wrong with checkpoints, in words: disks and buckets that refuse, damaged files."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stemsep.checkpoint.folder import in_bucket
from stemsep.errors import InputError
from stemsep.store.places import reason

# How TensorStore begins a sentence about what a disk or a bucket refuses.
_REFUSALS = ("RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "UNAVAILABLE", "DEADLINE_EXCEEDED",
             "UNAUTHENTICATED", "ABORTED", "NOT_FOUND")
_CLIENTS = ("gcsfs", "aiohttp", "google.")  # whose errors are those of a bucket


@contextmanager
def reachable(place: Any) -> Iterator[None]:
    """Turn what a bucket says when it cannot be opened into an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if not in_bucket(place):
            raise
        raise InputError(
            f"{place}: the bucket cannot be used ({' '.join(str(error).split())}); check its name "
            "and your credentials (gcloud auth application-default login)"
        ) from error


@contextmanager
def readable(place: Any) -> Iterator[None]:
    """Turn what Orbax says of a damaged file that it reads of every checkpoint into an InputError.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{place}: the scores of a checkpoint are damaged ({str(error).splitlines()[0]}); "
            f"delete the folder {place}/checkpoints/STEP whose metrics/metrics is no JSON"
        ) from error


def refusal(error: BaseException | None) -> str | None:
    """Return the words in which the system, or a bucket, refused to write, and None where an error
    is something else; TensorStore tells it as a ValueError, and Orbax as whatever it meets.
    """
    while error is not None:
        if isinstance(error, OSError) or "os_error_code" in str(error):
            return getattr(error, "strerror", None) or reason(error)  # type: ignore[arg-type]
        if str(error).startswith(_REFUSALS) or type(error).__module__.startswith(_CLIENTS):
            return str(error).splitlines()[0]
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def late_writes_unsaid() -> Iterator[None]:
    """Keep TensorStore from printing a trace for each write that ends after Orbax has given up what
    it belongs to: the event loop that it would tell is closed.
    """
    before = sys.unraisablehook

    def hook(problem: Any) -> None:
        if str(problem.exc_value) != "Event loop is closed":
            before(problem)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        if sys.unraisablehook is hook:
            sys.unraisablehook = before


@contextmanager
def looking_unsaid() -> Iterator[None]:
    """Keep Orbax from warning, once a load, that a run is only looked at."""
    logger = logging.getLogger("absl")

    def wanted(record: logging.LogRecord) -> bool:
        return "read_only=True" not in record.msg and "is read only" not in record.msg

    logger.addFilter(wanted)
    try:
        yield
    finally:
        logger.removeFilter(wanted)


@contextmanager
def undamaged(run: Any, step: int) -> Iterator[None]:
    """Turn what Orbax says of a damaged checkpoint into an InputError that names it."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, OSError) as error:
        if not (run / "checkpoints" / str(step)).exists():
            raise InputError(
                f"{run}: checkpoint {step} is gone; the run that trains here has a newer or better "
                "one now: give the same command again"
            ) from error
        raise InputError(
            f"{run}: checkpoint {step} is damaged; delete the folder {run}/checkpoints/{step} to "
            "go on from the one before"
        ) from error
