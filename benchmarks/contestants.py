"""Contestants in processes of their own, which are timed in turns.

No framework disturbs another's threads, flags or memory, and the peak memory of each is its own.
"""

import functools
import multiprocessing
import os
import re
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from stemsep import provenance

# Of a GPU's memory each process takes what it needs, not all that is there.
SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true",
          "TF_CPP_MIN_LOG_LEVEL": "2"}


class Contestant:
    """A call that `make(*arguments)` returns in a process of its own; calling it does the work
    there, and returns the seconds that it took by that process's clock.

    make: a function of a module, which the process imports; it returns the call, and what is to be
    known of it (facts that belong into its line of JSON). environment: set in that process before
    anything else. Several that are made one after the other get ready at the same time: who asks
    one for its facts, or calls it, waits for it. Raises RuntimeError then, with the process's own
    words, when it failed.
    """

    def __init__(self, make: Callable[..., tuple[Callable[[], Any], dict[str, Any]]],
                 *arguments: Any, environment: Mapping[str, str] | None = None) -> None:
        context = multiprocessing.get_context("spawn")      # JAX and TensorStore die in forks
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, make, arguments, dict(environment or {})), daemon=True)
        self._process.start()
        theirs.close()

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """What is to be known of it; waits until it is ready."""
        return self._answer()

    def __call__(self) -> float:
        self.facts      # asked for first, as they are its first answer
        self._pipe.send("call")
        return self._answer()

    def peak_memory_bytes(self) -> int:
        """Return the most memory that it has used, of the device where it counts."""
        self._pipe.send("memory")
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        if "facts" not in self.__dict__:        # it may be compiling for a long time yet
            self._process.terminate()
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


def out_of_memory(problem: RuntimeError) -> bool:
    """Whether what a contestant said when it failed is that there was no more memory, of a GPU in
    the words of JAX and PyTorch, or of the machine, whose system then ends the process.
    """
    return re.search(r"RESOURCE_EXHAUSTED|[Oo]ut ?[Oo]f ?[Mm]emory|MemoryError|with status -9",
                     str(problem)) is not None


def _serve(pipe: Connection, make: Callable[..., Any], arguments: tuple[Any, ...],
           environment: dict[str, str]) -> None:
    os.environ.update(environment)
    try:
        call, facts = make(*arguments)
        peak: Callable[[], int] = facts.pop("peak", provenance.peak_memory_bytes)
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
