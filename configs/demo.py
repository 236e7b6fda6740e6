"""Demo: python -m stemsep --config configs/demo.py

Composes an hour of songs, trains a drum separator for real music and separates with it, on a
laptop's CPU. Hardware, hours and SDR: not yet measured.
"""

from stemsep.config import Config


def get_config() -> Config:
    c = Config(name="demo")
    c.audio.sample_rate, c.audio.channels, c.audio.n_fft, c.audio.hop = 22050, 1, 1024, 256
    c.data.source = "demo:data/demo_songs"
    c.data.demo.tracks, c.data.demo.seconds = 112, 36.0
    c.data.window_frames = 128

    c.model.name = "strided"
    c.model.widths = (16, 32, 64, 128, 256)
    c.model.estimate, c.model.mask = "mask", "softmax"
    c.model.features, c.model.bins, c.model.bin_affine = "log", 512, True
    c.model.dropout = 0.0

    c.loss.name, c.loss.balance = "complex_l1", "equal"
    c.optim.lr, c.optim.schedule, c.optim.warmup_steps = 1e-3, "cosine", 50
    c.optim.ema_decay = 0.99
    c.train.steps, c.train.batch, c.train.save_every = 1170, 16, 390
    return c
