"""Runs of a tiny network on a store of noise, for the tests of what a run tells and stores."""

import os
import subprocess
import sys
from pathlib import Path

from stemsep.config import Config
from tests.test_train import write_store

ROOT = Path(__file__).parent.parent


def tiny(folder: Path) -> Config:
    """Six steps, with a checkpoint every three and a log point every two; its store is there."""
    c = Config(name="tiny")
    c.audio.sample_rate, c.audio.n_fft, c.audio.hop = 8000, 64, 32
    c.data.source, c.data.store = f"folders:{folder / 'songs'}", str(folder / "store")
    c.data.window_frames = 16
    c.model.name, c.model.widths, c.model.dropout, c.model.estimate = "strided", (4, 8), 0.3, "mask"
    c.loss.terms = {"complex_l1": 1.0}
    c.optim.ema_decay, c.optim.lr = 0.9, 1e-2
    c.train.steps, c.train.batch, c.train.save_every, c.train.log_every = 6, 4, 3, 2
    c.train.validate_windows = 4
    write_store(c)
    return c


def command(
    *arguments: str | Path, folder: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess:
    """Run ``python -m stemsep.train`` with arguments; returns what it printed."""
    return subprocess.run(
        [sys.executable, "-m", "stemsep.train", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", **environment},
        cwd=folder, capture_output=True, text=True, timeout=300,
    )
