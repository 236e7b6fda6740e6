"""The engine `ray`: the items of a task on a Ray cluster, the extra `ray`.

It joins the cluster that RAY_ADDRESS names (as `ray start` prints it, or `auto`), whose machines
have stemsep installed and see the same files, or starts one on this machine.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stemsep.engine import TRIES, WorkerDied
from stemsep.errors import InputError


def run(attempt: Callable[[Any], Any], items: Sequence[Any], *,
        workers: int, devices: float = 0) -> Iterator[tuple[Any, Any]]:
    """Yield (item, what `attempt` returned or WorkerDied) as `engine.run` does.

    attempt: catches what the task raises. Raises InputError when Ray is not installed, its cluster
    is not there, or has no such devices.
    """
    if not items:
        return
    ray, own = _joined(workers)
    try:
        have = ray.cluster_resources()
        if devices > have.get("GPU", 0):
            raise InputError(f"a worker is to have {devices:g} GPUs, and the Ray cluster has "
                             f"{have.get('GPU', 0):g}; give fewer devices per worker")
        remote = ray.remote(num_cpus=1, num_gpus=devices, max_retries=TRIES - 1)(_call)
        shared = ray.put(attempt)
        most = workers or int(have["GPU"] // devices if devices else have.get("CPU", 1))
        waiting, running = iter(items), {}
        for item in waiting:
            running[remote.remote(shared, item)] = item
            while len(running) >= most:
                yield _next(ray, running)
        while running:
            yield _next(ray, running)
    finally:
        if own:
            ray.shutdown()


def _call(attempt: Callable[[Any], Any], item: Any) -> Any:
    return attempt(item)


def _joined(workers: int) -> tuple[Any, bool]:
    """Return the module ray once it is connected, and whether that was done here."""
    try:
        import ray
    except ImportError as error:
        raise InputError("the engine 'ray' needs the package ray; install it (pip install "
                         "ray), or use the engine 'local'") from error
    if ray.is_initialized():
        return ray, False
    address = os.environ.get("RAY_ADDRESS")
    try:
        if address:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        else:
            ray.init(num_cpus=workers or None, include_dashboard=False, log_to_driver=False,
                     logging_level=logging.ERROR, _metrics_export_port=None)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"Ray cannot be reached at {address or 'this machine'} "
                         f"({str(error).splitlines()[0]}); correct RAY_ADDRESS, or unset it to "
                         "start Ray here") from error
    return ray, True


def _next(ray: Any, running: dict[Any, Any]) -> tuple[Any, Any]:
    """Wait for the next of the running calls, and take it out."""
    (ready,), _ = ray.wait(list(running), num_returns=1)
    item = running.pop(ready)
    try:
        return item, ray.get(ready)
    except ray.exceptions.RayError as error:
        return item, WorkerDied(f"its process died {TRIES} times "
                                f"({str(error).splitlines()[0].rstrip('.')})")
