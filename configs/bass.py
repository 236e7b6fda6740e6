"""Bass and accompaniment: python -m stemsep.train --config configs/bass.py

22.05 kHz mono with the strided U-Net and a mask: bass lives below 5 kHz, and the mask of the
highest bins serves all above them, so a song keeps its own rate. Without a source it trains on the
demo songs:
    --config.data.source=slakh:/data/slakh2100
Hardware, hours and SDR: not yet measured.
"""

from stemsep.config import Config


def get_config() -> Config:
    c = Config(name="bass")
    c.audio.sample_rate, c.audio.channels, c.audio.n_fft, c.audio.hop = 22050, 1, 2048, 512
    c.data.targets = {"bass": ["bass"], "accompaniment": "rest"}
    c.data.window_frames = 128  # 3 s
    c.model.name, c.model.widths, c.model.dropout = "strided", (16, 32, 64, 128, 256, 512), 0.0
    c.model.estimate, c.model.mask = "mask", "softmax"
    c.model.features, c.model.bin_affine = "log", True
    c.loss.terms, c.loss.balance = {"complex_l1": 1.0}, "energy"
    c.optim.schedule, c.optim.ema_decay = "cosine", 0.999
    c.train.steps, c.train.batch, c.train.save_every = 20000, 16, 1000
    return c
