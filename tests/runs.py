"""Runs of a tiny network on a store of noise."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from stemsep.config import Config
from stemsep.store import Store, StoreSpec

ROOT = Path(__file__).parent.parent


def tiny(folder: Path) -> Config:
    """Six steps, with a checkpoint every three and a log point every two; its store is there.
    Dropout, remixing and gains are on.
    """
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


def write_store(config: Config) -> None:
    audio = config.audio
    store = Store.create(
        config.store,
        StoreSpec(audio.sample_rate, audio.channels, audio.n_fft, audio.hop, config.stems),
    )
    rng = np.random.default_rng(0)
    for number, split in enumerate(("train", "train", "train", "validation")):
        waves = [
            [(scale * rng.standard_normal((1, 4000))).astype(np.float32)]
            for scale in np.linspace(0.1, 0.3, len(config.stems))
        ]
        store.write_track(split, f"song{number}", samples=4000, waves=waves, sources={})


def command(
    *arguments: str | Path, folder: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess:
    """Run ``python -m stemsep.train`` with arguments; returns what it printed."""
    return subprocess.run(
        [sys.executable, "-m", "stemsep.train", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", **environment},
        cwd=folder, capture_output=True, text=True, timeout=300,
    )
