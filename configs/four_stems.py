"""Vocals, drums, bass and other in stereo, as MUSDB18: python -m stemsep.train --config
configs/four_stems.py

44.1 kHz stereo, on MUSDB18-HQ or on folders of songs with vocals, drums, bass and other:
    --config.data.source=musdb:/data/musdb18hq
Without a source it trains on demo songs in stereo. Hardware, hours and SDR: not yet measured.
"""

from stemsep.config import Config


def get_config() -> Config:
    c = Config(name="four_stems")
    c.audio.sample_rate, c.audio.channels, c.audio.n_fft, c.audio.hop = 44100, 2, 4096, 1024
    c.data.source, c.data.demo.channels = "demo:data/demo_stereo", 2
    c.data.targets = {"vocals": ["vocals"], "drums": ["drums"], "bass": ["bass"], "other": "rest"}
    c.data.window_frames = 128  # 3 s
    c.model.name, c.model.estimate, c.model.mask = "unet", "mask", "softmax"
    c.model.features, c.model.bin_affine, c.model.bins = "log", True, 2048
    c.loss.terms, c.loss.balance = {"complex_l1": 1.0}, "equal"
    c.optim.lr, c.optim.schedule, c.optim.warmup_steps = 1e-3, "cosine", 1000
    c.optim.weight_decay, c.optim.clip_norm, c.optim.ema_decay = 1e-2, 5.0, 0.999
    c.train.steps, c.train.batch, c.train.save_every = 100000, 16, 2000
    return c
