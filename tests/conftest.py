"""What all tests share: one cache of compiled programs, so that nothing is compiled twice, and XLA
started as the commands start it, so that they compute to the bit what tests compute here.
"""

import os
import tempfile
from pathlib import Path

# Set before JAX is imported, and inherited by the commands that tests start.
_CACHE = Path(tempfile.gettempdir()) / "stemsep-test-xla"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

from stemsep import parallel  # noqa: E402

parallel.prepare()
