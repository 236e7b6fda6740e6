"""Devices: the only file that says pmap, shard_map, mesh or process.

A step is written for one device; its only collectives are means over the axis `AXIS`.
`DataParallel` maps it over all devices, with the state replicated and the batch split.
"""

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable

import jax
import jaxlib
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from stemsep import flops, memory
from stemsep.errors import InputError

AXIS = "data"

# Versions of jaxlib in which a CPU's Fourier transform hands its parts to the threads that it runs
# on itself: several at a time wait for each other for ever. The guard against it that 0.10.2 and
# 0.11.0 have is told of in github.com/openxla/xla/issues/46345.
HANGING = ("0.11.1", "0.11.2")


@dataclass(frozen=True)
class Program:
    """A mapped step that was compiled ahead of its first call; it is called as the step was."""

    call: Callable
    compile_s: float  # or the time to load it from the cache of compiled programs
    flops: float  # of one call, on all devices
    argument_bytes: int  # of one device, state and batch
    temp_bytes: int  # of one device, what is computed between

    def __call__(self, *arguments: Any) -> Any:
        return self.call(*arguments)


def prepare(*, accelerators: bool = True) -> None:
    """Set what JAX must know before it starts: compiler flags, the compilation cache, the other
    processes; and the C library: what becomes of memory.

    Call it first in every command that computes. Several processes are joined when a launcher
    (launch/local.sh) set STEMSEP_COORDINATOR, STEMSEP_PROCESSES and STEMSEP_PROCESS, or
    STEMSEP_CLUSTER=auto on a cluster that JAX knows. accelerators: False leaves them, and their
    memory, to the processes that this one hands its work to.
    """
    if not accelerators:
        jax.config.update("jax_platforms", "cpu")
    memory.prepare()
    flag = "--xla_cpu_experimental_ynn_fusion_type"
    version = tuple(int(part) for part in jaxlib.__version__.split(".")[:2])
    flags = os.environ.get("XLA_FLAGS", "")
    if flag not in flags and (0, 10) <= version < (
        0,
        12,
    ):  # XLA ends the process at a flag that it does not know
        os.environ["XLA_FLAGS"] = f"{flags} {flag}=-individual_convolution".strip()
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if not cache:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        jax.config.update("jax_compilation_cache_dir", os.path.join(home, "stemsep", "xla"))
    if "STEMSEP_COORDINATOR" in os.environ:
        try:
            count, own = (int(os.environ[f"STEMSEP_{n}"]) for n in ("PROCESSES", "PROCESS"))
        except (KeyError, ValueError) as error:
            raise InputError(
                "STEMSEP_COORDINATOR is set, so STEMSEP_PROCESSES and STEMSEP_PROCESS must be "
                "numbers; start through launch/local.sh"
            ) from error
        jax.distributed.initialize(os.environ["STEMSEP_COORDINATOR"], count, own)
    elif os.environ.get("STEMSEP_CLUSTER") == "auto":
        jax.distributed.initialize()


def one_process(command: str) -> None:
    """Raise InputError where a launcher started several processes of a command made for one."""
    if jax.process_count() > 1:
        raise InputError(
            f"{command} runs as one process, which uses all devices of its machine; start only "
            "python -m stemsep.train and python -m stemsep.separate as several"
        )


def index_in_batch(per_device: int) -> jax.Array:
    """Within a mapped function: return the global number of each of this device's windows, int
    [per_device].
    """
    return jax.lax.axis_index(AXIS) * per_device + jax.numpy.arange(per_device)


class DataParallel:
    """All devices of all processes as one: the state on each of them, the batch split over them."""

    def __init__(
        self, mapping: str = "pmap", *, devices: list[Any] | None = None, local: bool = False
    ) -> None:
        """devices: all, unless given. local: this process's only, which then works by itself.

        That is mapped by shard_map where there are several processes: pmap would wait for all.
        Raises InputError for a CPU and a jaxlib that would hang there.
        """
        self.mapping = "shard_map" if local and jax.process_count() > 1 else mapping
        self.devices = devices or (jax.local_devices() if local else jax.devices())
        self.process, self.processes = jax.process_index(), jax.process_count()
        self.size = len(self.devices)
        mine = [d for d in self.devices if d.process_index == self.process]
        self.local_size = len(mine)
        if self.are_the_host and jaxlib.__version__ in HANGING:
            raise InputError(
                f"jaxlib {jaxlib.__version__} hangs on a CPU when Fourier transforms are computed "
                "at the same time; install another one: pip install 'jax>=0.10.2,<0.12,!=0.11.1,"
                "!=0.11.2'"
            )
        # pmap speaks of this process's devices, shard_map of everybody's.
        self._mesh = Mesh(np.array(mine if mapping == "pmap" else self.devices), (AXIS,))

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that prints and writes logs."""
        return self.process == 0

    @property
    def are_the_host(self) -> bool:
        """Whether the devices are the CPU, whose memory and cores the work around them shares."""
        return self.devices[0].platform == "cpu"

    def describe(self) -> str:
        """Return the devices in words, as in "1 cpu" or "8 NVIDIA H100"."""
        return f"{self.size} {self.devices[0].device_kind}"

    def facts(self) -> dict[str, Any]:
        """Return what is stored about the devices of a run."""
        return {
            "device": self.devices[0].device_kind,
            "devices": self.size,
            "processes": self.processes,
            "parallel": self.mapping,
        }

    def check_batch(self, batch: int, field: str, *, parts: int = 1) -> None:
        """Raise InputError when a batch cannot be split evenly over the devices, in so many parts
        on each of them.
        """
        if batch % (self.size * parts):
            more = -(-batch // (self.size * parts)) * self.size * parts
            over = f"{self.size} devices" + (f" in {parts} parts each" if parts > 1 else "")
            raise InputError(
                f"{field} is {batch}, which does not divide over {over}; set it to {more}"
            )

    def share(self, batch: int) -> slice:
        """Return which windows of a global batch this process reads."""
        mine = batch // self.processes
        return slice(self.process * mine, (self.process + 1) * mine)

    def replicate(self, tree: Any) -> Any:
        """Put arrays of the host on every device; each leaf must be the same in every process."""
        sharding = NamedSharding(self._mesh, PartitionSpec())
        return jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree
        )

    def put(self, batch: Any) -> Any:
        """Split this process's share of a batch, arrays [B/processes, ...] of the host, over its
        devices.
        """
        sharding = NamedSharding(self._mesh, PartitionSpec(AXIS))

        def place(x: np.ndarray) -> jax.Array:
            if self.mapping == "pmap":
                x = x.reshape(self.local_size, -1, *x.shape[1:])
            return jax.make_array_from_process_local_data(sharding, x)

        return jax.tree.map(place, batch)

    def map(self, body: Callable, *, donate: bool = False, split: bool = False) -> Callable:
        """Map `body(replicated, batch)` over the devices.

        donate: the first argument is used up. split: the output is split like the batch; else
        `body` must return the same on every device, in a tuple of two trees when it donates (the
        new state and what it reports).
        """
        given = (0,) if donate else ()
        if self.mapping == "pmap":
            return jax.pmap(
                body, AXIS, in_axes=(None, 0), out_axes=0 if split else None, donate_argnums=given
            )
        spec = PartitionSpec(AXIS) if split else PartitionSpec()
        mapped = jax.shard_map(
            body,
            mesh=self._mesh,
            in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
            out_specs=spec,
            check_vma=False,
        )
        return jax.jit(mapped, donate_argnums=given)

    def compiled(self, mapped: Callable, *arguments: Any) -> Program:
        """Compile what `map` returned for arguments as it will be called with; they are not used
        up.
        """
        begin_s = time.perf_counter()
        program = mapped.lower(*arguments).compile()  # type: ignore[attr-defined]
        compile_s = time.perf_counter() - begin_s
        # Both count what is done at least: the compiler all operations, but see flops.py.
        counts = (program.cost_analysis() or {}).get("flops", 0.0), flops.count(mapped, *arguments)
        memory = program.memory_analysis()
        # Of several processes pmap makes global arrays first, which its program by itself does not;
        # its first call then finds the program in the cache.
        global_arrays = self.mapping == "pmap" and self.processes > 1
        return Program(
            call=mapped if global_arrays else program,
            compile_s=compile_s,
            flops=max(counts) * self.size,
            argument_bytes=memory.argument_size_in_bytes if memory else 0,
            temp_bytes=memory.temp_size_in_bytes if memory else 0,
        )

    def peak_tflops(self, dtype: str) -> float | None:
        """Return the most TFLOP/s of all devices in "bfloat16" or "float32", or None."""
        one = flops.peak_tflops(self.devices[0].device_kind, dtype)
        return one and one * self.size

    def memory_bytes(self) -> int | None:
        """Return the memory of one device that a program may use, or None where it is not counted,
        as on a CPU.
        """
        return self._counted().get("bytes_limit")

    def free_bytes(self) -> int | None:
        """Return what is still free of it."""
        counted = self._counted()
        if "bytes_limit" not in counted:
            return None
        return counted["bytes_limit"] - counted["bytes_in_use"]

    def peak_bytes(self) -> int | None:
        """Return the most of it that was in use at once."""
        return self._counted().get("peak_bytes_in_use")

    def _counted(self) -> dict[str, int]:
        mine = next(d for d in self.devices if d.process_index == self.process)
        return mine.memory_stats() or {}

    @contextmanager
    def preemption(self) -> Iterator[Callable[[], bool]]:
        """Within it a notice to stop, SIGTERM, does not end the process: `asked()` says so.

        All processes of a job ask as often, and are told at the same time, whichever of them had
        the notice.
        """
        if self.processes > 1:  # a handler of ours would take the notice from JAX
            from jax.experimental.multihost_utils import reached_preemption_sync_point

            asked = itertools.count()   # the processes agree on a number that none has reached
            yield lambda: reached_preemption_sync_point(next(asked))
        elif threading.current_thread() is not threading.main_thread():
            yield lambda: False  # only the main thread hears signals
        else:
            heard = threading.Event()
            before = signal.signal(signal.SIGTERM, lambda *_: heard.set())
            try:
                yield heard.is_set
            finally:
                signal.signal(signal.SIGTERM, before)

    def wait_for_all(self, what: str) -> None:
        """Wait until every process is here: the main one has prepared what the others will open."""
        if self.processes > 1:
            # A collective would give up after half a minute; preprocessing may take hours.
            from orbax.checkpoint.multihost import get_barrier_sync_fn

            get_barrier_sync_fn()(key=what, timeout_ms=7 * 24 * 3600 * 1000)

    def get(self, tree: Any) -> Any:
        """Return replicated arrays as numpy arrays of the host."""
        # Asked for in words, which a transfer guard lets pass, and all on their way at once.
        return jax.device_get(jax.tree.map(lambda x: x.addressable_data(0), tree))

    def add_up(self, array: np.ndarray) -> np.ndarray:
        """Return the sum of the arrays of the host that all processes give, which all call it."""
        if self.processes == 1:
            return array
        from jax.experimental.multihost_utils import process_allgather

        return np.asarray(process_allgather(array)).sum(0)

    def get_split(self, tree: Any) -> Any:
        """Return what a split map returned as numpy arrays [B, ...]; for one process."""

        def join(x: jax.Array) -> np.ndarray:
            array = jax.device_get(x)
            return array.reshape(-1, *array.shape[2:]) if self.mapping == "pmap" else array

        return jax.tree.map(join, tree)
