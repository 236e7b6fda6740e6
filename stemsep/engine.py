"""Run a task over many items, in spawned processes; one that is killed takes no other with it."""

import multiprocessing
import os
import pickle
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_TRIES = 2      # of an item whose worker dies; one that kills two workers is at fault itself
# Each worker with a thread a core would be in the others' way. The libraries that the task's module
# imports read this, so it is set before the task is received.
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


class WorkerDied(RuntimeError):
    """The process that worked on an item was killed or crashed at every try."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(task: Callable[[Item], Result], items: Iterable[Item], *,
        workers: int = 0) -> Iterator[tuple[Item, Result | Exception]]:
    """Yield (item, result or the exception that the task raised) as items are done, in any order.

    workers: processes, 0 for one a core; with one, or for one item, the task runs in this process.
    Task, items and results are pickled; the task is a function of a module that can be imported,
    or a partial of one. Workers are spawned, never forked (TensorStore and JAX break in a forked
    child), and end when this process does, however it ends.
    """
    waiting = deque((item, 1) for item in items)
    workers = min(workers or cores(), len(waiting))
    if workers <= 1:
        for item, _ in waiting:
            yield item, _attempt(task, item)
        return
    busy: dict[Connection, tuple[Any, Item, int]] = {}
    idle: list[tuple[Any, Connection]] = []
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                process, connection = idle.pop() if idle else _start(task)
                item, tries = waiting.popleft()
                busy[connection] = process, item, tries
                try:
                    connection.send(item)
                except BrokenPipeError:
                    pass        # it died while it was idle; the read below finds out
            for connection in [c for c in wait(list(busy)) if isinstance(c, Connection)]:
                process, item, tries = busy.pop(connection)
                try:
                    result = connection.recv()
                except (EOFError, ConnectionResetError):
                    process.join()
                    if tries < _TRIES:
                        waiting.append((item, tries + 1))
                    else:
                        yield item, WorkerDied(f"its process died {tries} times (code "
                                               f"{process.exitcode}; -9 is want of memory, often)")
                    continue
                idle.append((process, connection))
                yield item, result
    finally:
        for process in [p for p, _ in idle] + [p for p, *_ in busy.values()]:
            process.kill()
            process.join()


def _start(task: Callable) -> tuple[Any, Connection]:
    """Start a worker; returns its process and our end of the line to it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    # A worker would import the program that was started, with the trainer all of JAX, although it
    # needs only the task's module.
    main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        process = context.Process(target=_work, args=(theirs,), daemon=True)
        process.start()
    finally:
        sys.modules["__main__"] = main
    theirs.close()      # open here, it would keep us from seeing that the worker died
    ours.send(task)
    return process, ours


def _work(connection: Connection) -> None:
    """What a worker does: take the task, then items until it is ended."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(_ONE_THREAD)
    try:
        task = connection.recv()
        while True:
            connection.send(_attempt(task, connection.recv()))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass


def _end_with_parent() -> None:
    """End at once when the parent is gone: an orphan would write on while the next run begins."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _attempt(task: Callable[[Item], Result], item: Item) -> Result | Exception:
    """Return the result or the exception, with its traceback as a note: pickling loses it."""
    try:
        return task(item)
    except Exception as error:
        error.add_note("".join(traceback.format_tb(error.__traceback__)))
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:       # it does not survive the journey, as those of some libraries
            return RuntimeError(f"{type(error).__name__}: {error}\n{error.__notes__[-1]}")
        return error
