"""What a command sets before JAX starts."""

import subprocess
import sys

import pytest

from tests.runs import ROOT

_FAULTS = """
import resource, sys
import numpy as np
from stemsep import parallel
if sys.argv[1] == "prepared":
    parallel.prepare()
def take():
    np.empty(1 << 27, np.uint8).fill(1)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(2):
    take()
before = faults()
for _ in range(10):
    take()
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="an option of GNU's malloc")
def test_memory_given_back_is_not_cleared_anew_by_the_system() -> None:
    """A program of XLA takes its memory at every call: 128 MiB are 32768 pages of 4 KiB, or 64 of
    2 MiB.
    """
    def faults(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", _FAULTS, how], text=True, check=True, cwd=ROOT,
                              capture_output=True)
        return int(done.stdout)

    prepared, usual = faults("prepared"), faults("usual")
    assert usual >= 10 * 64
    assert prepared < usual / 10
