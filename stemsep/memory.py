"""What becomes of the memory that this process gives back, where the C library is GNU's."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM = 1 << 26     # bytes free at the end of the heap from which on they return to the system


def prepare() -> None:
    """Let pieces of up to 32 MiB stay with the process; call it before threads have begun.

    What threads keep for themselves, `kept` does not reach: there is one heap for all of them.
    """
    _options(arena_max=1, mmap_threshold=1 << 25, trim_threshold=_TRIM)


def keep() -> None:
    """Let this process keep all of it from now on, after `prepare`.

    A program of XLA takes its memory at every call and gives it back after it. By default such
    large pieces return to the system, which clears every page when it lends them anew: on CPU a
    fifth of the time of a step. For calls that all take the same: pieces of many sizes would leave
    holes that the next large one does not fit into.
    """
    _options(mmap_max=0, trim_threshold=-1)


@contextmanager
def kept() -> Iterator[None]:
    """Let this process `keep` all of it for a while. What it has at the end is there for what comes
    then.
    """
    keep()
    try:
        yield
    finally:
        _options(mmap_max=1 << 16, trim_threshold=_TRIM)     # as before: its default, ours


def _options(**options: int) -> None:
    """Set options of GNU's malloc, where it is there: mallopt(3); the numbers are its malloc.h's.
    """
    numbers = {"trim_threshold": -1, "mmap_threshold": -3, "mmap_max": -4, "arena_max": -8}
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for name, value in options.items():
        mallopt(numbers[name], value)
