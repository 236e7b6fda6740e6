"""Drums and accompaniment, as songSourceSeparator: python -m stemsep.train --config
configs/drums.py

Its network (Spectrogram-Channels U-Net, 11.4 M parameters) and settings: 16 kHz mono, STFT
2048/512, windows of 2 s, drums (General MIDI 112-118 and kits) against everything else, on Slakh:
    --config.data.source=slakh:/data/slakh2100
Without a source it trains on the demo songs. Hardware, hours and SDR: not yet measured.
"""

from pathlib import Path

from stemsep.config import Config


def get_config() -> Config:
    c = Config(name="drums")
    c.audio.sample_rate, c.audio.channels, c.audio.n_fft, c.audio.hop = 16000, 1, 2048, 512
    c.data.targets = {"drums": ["drums"], "accompaniment": "rest"}
    c.data.recipe = str(Path(__file__).with_name("recipes") / "drums_and_percussion.yaml")
    c.data.window_frames = 63  # 2 s
    c.model.name, c.model.estimate = "unet", "direct"
    c.train.steps, c.train.batch, c.train.save_every = 40000, 16, 1000
    return c
