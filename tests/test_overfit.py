"""A network can learn: two songs by heart, in 300 steps."""

from pathlib import Path

import pytest

from stemsep import evaluate, train
from stemsep.config import Config
from stemsep.separator import Separator

SONGS = ("Track00003", "Track00011")        # whose drums a mask can take out to 20 dB


@pytest.mark.slow
@pytest.mark.parametrize("estimate", ["mask", "complex"])
def test_two_songs_are_learned_by_heart(estimate: str, tmp_path: Path) -> None:
    """Drums of more than 15 dB SDR in each, from their audio files, as `evaluate` scores them."""
    c = Config(name="overfit")
    c.audio.sample_rate, c.audio.n_fft, c.audio.hop = 22050, 1024, 256
    c.data.source, c.data.store = f"demo:{tmp_path / 'songs'}", str(tmp_path / "store")
    c.data.demo.tracks, c.data.demo.seconds = 16, 6.0
    c.data.weights = {**dict.fromkeys(SONGS, 1.0), "*": 0.0}
    c.data.window_frames, c.augment.remix, c.augment.gain_db = 64, 0.0, (0.0, 0.0)
    c.model.name, c.model.widths, c.model.dropout = "strided", (16, 32, 64, 128), 0.0
    c.model.estimate, c.model.features, c.model.bin_affine = estimate, "log", True
    c.model.norm_momentum = 0.9
    c.loss.terms, c.loss.balance = {"snr": 1.0}, "equal"
    c.optim.name, c.optim.lr, c.optim.schedule, c.optim.warmup_steps = "muon", 1e-2, "cosine", 20
    c.train.steps, c.train.batch, c.train.save_every, c.train.validate_songs = 300, 4, 300, 0
    train.train(c.check(), tmp_path / "run")
    separator = Separator.load(tmp_path / "run")
    tracks, _ = evaluate.find_tracks(c.data.source, "train", separator)
    results = evaluate.evaluate(separator, [song for song in tracks if song.name in SONGS])
    sdr = {song["name"]: song["scores"]["model"]["drums"]["sdr"] for song in results["tracks"]}
    assert sdr.keys() == set(SONGS) and min(sdr.values()) > 15, sdr
