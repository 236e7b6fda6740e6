"""stemsep: train networks that take songs apart into their instruments, and separate songs with
them.

Axes. Arrays whose axes matter carry them as a suffix of their name (``wave_CN``, ``mix_BTFC``):

    B batch    S stem    C audio channel    N sample    T frame    F frequency bin

Importing this package imports neither JAX nor anything else that is slow; the public names are
loaded when they are first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["Pipeline", "Separator", "__version__"]

_PUBLIC = {"Separator": "stemsep.separator", "Pipeline": "stemsep.pipeline"}


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'stemsep' has no attribute {name!r}")
