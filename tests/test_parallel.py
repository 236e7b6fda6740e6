"""What a command sets before JAX starts."""

import subprocess
import sys

import pytest

from stemsep import parallel
from stemsep.errors import InputError
from tests.runs import ROOT

_FAULTS = """
import resource
from threading import Thread
import numpy as np
from stemsep import memory, parallel
def take(size):
    np.empty(size, np.uint8).fill(1)
def in_a_thread(size):      # as XLA does
    thread = Thread(target=take, args=(size,))
    thread.start()
    thread.join()
def faults(size=1 << 27):
    for _ in range(2):
        in_a_thread(size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        in_a_thread(size)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
parallel.prepare()
smaller = faults(31 << 20)
before = faults()
with memory.kept():
    within = faults()
print(before, within, faults(1 << 28), smaller)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="an option of GNU's malloc")
def test_memory_given_back_is_not_cleared_anew_by_the_system() -> None:
    """A program of XLA takes its memory at every call: 128 MiB are 32768 pages of 4 KiB, or 64 of
    2 MiB.
    """
    done = subprocess.run([sys.executable, "-c", _FAULTS], text=True, check=True, cwd=ROOT,
                          capture_output=True)
    before, within, after, smaller = map(int, done.stdout.split())
    assert min(before, after) >= 10 * 64
    assert within < min(before, after) / 10
    assert smaller < min(before, after) / 10


def test_a_jaxlib_that_hangs_on_a_cpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    parallel.DataParallel()
    monkeypatch.setattr(parallel.jaxlib, "__version__", parallel.HANGING[0])
    with pytest.raises(InputError, match="jaxlib 0.11.1 hangs on a CPU .* install another one"):
        parallel.DataParallel()
