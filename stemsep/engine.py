"""Run a task over many items in spawned processes that may be killed without taking the rest with them."""

import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_TRIES = 2      # of an item whose worker dies; one that kills two workers is at fault itself
# Each worker is one thread: as many workers as cores with as many threads each only get in each other's way.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


class WorkerDied(RuntimeError):
    """The process that worked on an item was killed or crashed, at every try."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(task: Callable[[Item], Result], items: Iterable[Item], *,
        workers: int = 0) -> Iterator[tuple[Item, Result | Exception]]:
    """Yield (item, result or the exception that the task raised) as items are done, in no particular order.

    workers: processes, 0 for one a core; with one, or for one item, the task runs in this process. Task, items and
    results are pickled; the task is a function of a module that can be imported, or a partial of one. Workers are spawned, never forked
    (TensorStore and JAX break in a forked child), and end when this process does, however it ends.
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
                try:
                    connection.send(item)
                except BrokenPipeError:
                    pass        # it died before it got the item; the read below finds out
                busy[connection] = process, item, tries
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                process, item, tries = busy.pop(connection)
                try:
                    result = connection.recv()
                except (EOFError, ConnectionResetError):
                    process.join()
                    if tries < _TRIES:
                        waiting.append((item, tries + 1))
                    else:
                        yield item, WorkerDied(f"its process died {tries} times, the last with code {process.exitcode}"
                                               " (-9: killed, often for want of memory; use fewer data.workers)")
                    continue
                idle.append((process, connection))
                yield item, result
    finally:
        for process, _ in [*idle, *((process, None) for process, *_ in busy.values())]:
            process.kill()
            process.join()


def _start(task: Callable) -> tuple[Any, Connection]:
    """Start a worker; returns its process and our end of the line to it."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    before, main = {name: os.environ.get(name) for name in _ONE_THREAD}, sys.modules["__main__"]
    os.environ.update(_ONE_THREAD)      # read by the libraries when the worker imports them
    # A worker would import the program that was started, and with train.py all of JAX; it needs the task's module only.
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        process = multiprocessing.get_context("spawn").Process(target=_work, args=(task, theirs), daemon=True)
        process.start()
    finally:
        sys.modules["__main__"] = main
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    theirs.close()      # or its end would stay open here when the worker dies, and we would wait for ever
    return process, ours


def _work(task: Callable, connection: Connection) -> None:
    """What a worker does: take items until it is ended."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        while True:
            connection.send(_attempt(task, connection.recv()))
    except (EOFError, KeyboardInterrupt):
        pass


def _end_with_parent() -> None:
    """End at once when the parent is gone, or an orphan would write on while the next run has begun."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _attempt(task: Callable[[Item], Result], item: Item) -> Result | Exception:
    try:
        return task(item)
    except Exception as error:
        return error
