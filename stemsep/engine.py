"""Run a task over many items, in processes here or on a Ray cluster; one that is killed takes no
other with it.

Engines: `local` spawns processes on this machine. `ray` hands the items to a Ray cluster (the extra
`ray`), or to one that it starts here. `spmd` is for a job that a launcher starts many times (Slurm,
MPI, launch/local.sh): each process does its `share` of the items, with local workers.
"""

import functools
import multiprocessing
import os
import pickle
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any, TypeVar

from stemsep.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

ENGINES = ("local", "spmd", "ray")
TRIES = 2       # of an item whose worker dies; one that kills two workers is at fault itself
# Each worker with a thread a core would be in the others' way. The libraries that the task's module
# imports read this, so it is set before the task is received.
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
# Which process this is and of how many, as launchers say it: ours, Slurm, Open MPI, MPICH.
_LAUNCHERS = (("STEMSEP_PROCESS", "STEMSEP_PROCESSES"), ("SLURM_PROCID", "SLURM_NTASKS"),
              ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE"))


class WorkerDied(RuntimeError):
    """The process that worked on an item was killed or crashed at every try."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rank() -> tuple[int, int]:
    """Return which of how many processes of a launched job this is, by the launcher's variables.

    Raises InputError when no launcher says so.
    """
    for own, count in _LAUNCHERS:
        if own in os.environ and count in os.environ:
            try:
                found = int(os.environ[own]), int(os.environ[count])
            except ValueError:
                found = -1, 0
            if not 0 <= found[0] < found[1]:
                raise InputError(f"{own}={os.environ[own]!r} of {count}={os.environ[count]!r} is "
                                 "no process of a job; start it with launch/local.sh, srun or "
                                 "mpirun")
            return found
    raise InputError("the engine 'spmd' is for jobs of several processes, and no launcher set "
                     f"{' or '.join(own for own, _ in _LAUNCHERS)}; start it with launch/local.sh, "
                     "srun or mpirun, or use the engine 'local'")


def share(items: Sequence[Item], engine: str) -> Sequence[Item]:
    """Return the items that this process is to do: all of them, but with `spmd` every n-th.

    To be called on a list that is the same in all processes, before anything of it is done.
    """
    if engine != "spmd":
        return items
    own, count = rank()
    return items[own::count]


def run(task: Callable[[Item], Result], items: Iterable[Item], *, workers: int = 0,
        engine: str = "local", devices: float = 0) -> Iterator[tuple[Item, Result | Exception]]:
    """Yield (item, result or the exception that the task raised) as items are done, in any order.

    workers: processes, 0 for one a core; with one, or for one item, the task runs in this process.
    Of a Ray cluster it is the number of tasks at a time, 0 for as many as it has room for, one a
    core; devices: GPUs that it gives each of them. Task,
    items and results are pickled; the task is a function of a module that can be imported, or a
    partial of one. Workers are spawned, never forked (TensorStore and JAX break in a forked child),
    and end when this process does, however it ends.
    """
    if engine == "ray":
        from stemsep import ray_engine  # an extra

        yield from ray_engine.run(functools.partial(attempt, task), list(items), workers=workers,
                                  devices=devices)
        return
    waiting = deque((item, 1) for item in items)
    workers = min(workers or cores(), len(waiting))
    if workers <= 1:
        for item, _ in waiting:
            yield item, attempt(task, item)
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
                    if tries < TRIES:
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
            connection.send(attempt(task, connection.recv()))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass


def _end_with_parent() -> None:
    """End at once when the parent is gone: an orphan would write on while the next run begins."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def attempt(task: Callable[[Item], Result], item: Item) -> Result | Exception:
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
