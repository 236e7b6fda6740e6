"""museval's BSS Eval v4, whose numbers ours are, and which ours are timed against."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np


def bss_eval(references_JCN: np.ndarray, estimates_JCN: np.ndarray, *, window: int) -> np.ndarray:
    """Return SDR, ISR, SIR and SAR of each target in each frame, float64 [4, J, T], as museval.

    Raises ValueError for a target or an estimate that is silent throughout.
    """
    true, estimated = (np.moveaxis(waves.astype(np.float64), 1, 2)
                       for waves in (references_JCN, estimates_JCN))
    return np.stack(_metrics().bss_eval(true, estimated, window=window, hop=window)[:4])


def _metrics() -> ModuleType:
    """Load museval/metrics.py by itself: the package imports stempeg, which wants the programs
    ffmpeg and ffprobe that nothing here needs.
    """
    found = importlib.util.find_spec("museval")
    if found is None or found.origin is None:
        raise ImportError("museval is missing; pip install museval")
    spec = importlib.util.spec_from_file_location(
        "museval_metrics", Path(found.origin).parent / "metrics.py")
    assert spec is not None and spec.loader is not None     # for the types: the file is there
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
