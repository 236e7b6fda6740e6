"""What all tests share: one cache of compiled programs, so that nothing is compiled twice."""

import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Set before JAX is imported, and inherited by the commands that tests start.
_CACHE = Path(tempfile.gettempdir()) / "stemsep-test-xla"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


@pytest.fixture
def small_disk() -> Iterator[None]:
    """A limit of 64 KiB a file; the system refuses to write more, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
