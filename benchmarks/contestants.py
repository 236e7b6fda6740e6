"""Contestants in processes of their own, which are timed in turns.

No framework disturbs another's threads, flags or memory, and the peak memory of each is its own.
"""

import multiprocessing
import os
import resource
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

# Of a GPU's memory each process takes what it needs, not all that is there.
SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true",
          "TF_CPP_MIN_LOG_LEVEL": "2"}


class Contestant:
    """A call that `make(*arguments)` returns in a process of its own; calling it does the work
    there, and returns the seconds that it took by that process's clock.

    make: a function of a module, which the process imports; it returns the call, and what is to be
    known of it (facts that belong into its line of JSON). environment: set in that process before
    anything else. Raises RuntimeError with the process's own words when it fails.
    """

    def __init__(self, make: Callable[..., tuple[Callable[[], Any], dict[str, Any]]],
                 *arguments: Any, environment: Mapping[str, str] | None = None) -> None:
        context = multiprocessing.get_context("spawn")      # JAX and TensorStore die in forks
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, make, arguments, dict(environment or {})), daemon=True)
        self._process.start()
        theirs.close()
        self.facts: dict[str, Any] = self._answer()

    def __call__(self) -> float:
        self._pipe.send("call")
        return self._answer()

    def peak_memory_bytes(self) -> int:
        """Return the most memory that it has used, of the device where it counts."""
        self._pipe.send("memory")
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _answer(self) -> Any:
        try:
            good, answer = self._pipe.recv()
        except EOFError:
            self._process.join(10)
            raise RuntimeError(
                f"a contestant ended by itself, with status {self._process.exitcode}") from None
        if not good:
            raise RuntimeError(answer)
        return answer


def process_peak_bytes() -> int:
    """Return the most memory that this process has used."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def _serve(pipe: Connection, make: Callable[..., Any], arguments: tuple[Any, ...],
           environment: dict[str, str]) -> None:
    os.environ.update(environment)
    try:
        call, facts = make(*arguments)
        peak: Callable[[], int] = facts.pop("peak", process_peak_bytes)
        pipe.send((True, facts))
        while True:
            asked = pipe.recv()
            if asked == "memory":
                pipe.send((True, peak()))
                continue
            begin_s = time.perf_counter()
            call()
            pipe.send((True, time.perf_counter() - begin_s))
    except EOFError:
        pass            # the other end is closed: nothing more is asked
    except Exception:
        pipe.send((False, traceback.format_exc()))
