"""Vocals and accompaniment, as the paper (arXiv:1810.11520): python -m stemsep.train --config
configs/vocals.py

44.1 kHz, STFT 2048/512, windows of 2 s; the weight of the vocals' loss is the paper's for MUSDB18,
0.707, with the weights summing to 1. Folders of stems, one a song:
    --config.data.source=folders:/data/songs
Without a source it trains on the demo songs, whose singers are choir and voice programs. Hardware,
hours and SDR: not yet measured.
"""

from stemsep.config import Config


def get_config() -> Config:
    c = Config(name="vocals")
    c.audio.sample_rate, c.audio.channels, c.audio.n_fft, c.audio.hop = 44100, 1, 2048, 512
    c.data.targets = {"vocals": ["vocals"], "accompaniment": "rest"}
    c.data.window_frames = 173  # 2 s
    c.model.name, c.model.estimate = "unet", "direct"
    c.loss.alpha = (0.707, 0.293)
    c.train.steps, c.train.batch, c.train.save_every = 40000, 16, 1000
    return c
