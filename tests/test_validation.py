"""What a run is judged by: whole songs, separated as `separate` does it, however many processes."""

from pathlib import Path

import jax
import numpy as np
import pytest

from stemsep import optim, state
from stemsep.config import Config
from stemsep.estimate import make_estimator
from stemsep.metrics import Scores
from stemsep.parallel import AXIS, DataParallel
from stemsep.separator import Separator
from stemsep.state import TrainState
from stemsep.steps import stem_weights
from stemsep.store import Store
from stemsep.validation import Validation, mean_sdr, rank, spread
from tests import runs, trees


@pytest.fixture
def config(tmp_path: Path) -> Config:
    c = runs.tiny(tmp_path)
    store = Store.open(c.store)
    for number, samples in enumerate((6000, 40, 5000)):
        waves = [[trees.noise(samples, seed=10 * number + stem)] for stem in range(2)]
        store.write_track("validation", f"held_out{number}", samples=samples, waves=waves,
                          sources={})
    return c


def judging(config: Config, devices: DataParallel) -> tuple[Validation, TrainState]:
    store = Store.open(config.store)
    estimator, alpha_S = make_estimator(config, axis_name=AXIS), stem_weights(config, store)
    fresh = state.create(estimator, optim.make(config.optim, 1), alpha_S, seed=0, frames=16,
                         ema=True)
    fresh = fresh.replace(ema=jax.tree.map(lambda p: 0.5 * p, fresh.params))
    return Validation(store, "validation", estimator, alpha_S, config, devices), fresh


def test_the_score_is_the_sdr_of_separated_songs(config: Config) -> None:
    """As the middle of a stored song, transformed back, gives it; of both kinds of parameters."""
    config.train.validate_song_s = 0.5
    config.check()
    devices = DataParallel(config.parallel)
    validation, fresh = judging(config, devices)
    verdict = validation(devices.replicate(fresh), fresh)
    names = [song.name for song in validation.songs]
    assert names == ["held_out0", "held_out1", "held_out2", "song3"]
    stft = Store.open(config.store).spec.stft
    for name, variables in fresh.candidates().items():
        separator, found = Separator(config, variables), []
        for record in validation.songs:
            frames = min(record.frames, 126)
            first = (record.frames - frames) // 2
            spec = Store.open(config.store).read(record, first, frames, stems=[0, 1]).result()
            parts = np.moveaxis(spec.astype(np.float32), 2, 1)
            waves_SCN = stft.interior(parts[..., 0] + 1j * parts[..., 1])
            estimates = separator(waves_SCN.sum(0), 8000)
            found.append([Scores().add(wave, estimates[stem]).sdr()
                          for wave, stem in zip(waves_SCN, estimates)])
        scores = verdict.scores[name]
        want_S = np.mean(np.array(found, float), 0)
        assert scores["sdr_drums"] == pytest.approx(want_S[0], abs=1e-4)
        assert scores["sdr_accompaniment"] == pytest.approx(want_S[1], abs=1e-4)
        assert scores["sdr"] == pytest.approx(want_S.mean(), abs=1e-4)
    assert set(verdict.heard) == {"held_out0", "held_out1", "held_out2", "song3"}
    assert set(verdict.heard["held_out0"]) == {"mixture", "drums", "accompaniment"}
    assert verdict.score == max(rank(scores) for scores in verdict.scores.values())


def test_processes_share_the_songs_and_add_up_what_they_found(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = DataParallel(config.parallel)
    validation, fresh = judging(config.check(), devices)
    at_device, found = devices.replicate(fresh), []
    whole = validation(at_device, fresh)

    def alone(array: np.ndarray) -> np.ndarray:
        found.append(array)
        return array

    monkeypatch.setattr(devices, "add_up", alone)
    devices.processes = 2
    for devices.process in (0, 1):
        validation(at_device, fresh)
    sdr_MS = found[0] + found[1]
    for sdr, name in zip(sdr_MS, ("raw", "ema")):
        assert whole.scores[name]["sdr"] == pytest.approx(sdr.mean(), abs=1e-5)
    assert all((part == 0).all((0, 2)).any() for part in found)


def test_without_songs_the_loss_ranks() -> None:
    assert rank({"loss": 0.5}) == -0.5 and rank({"loss": 0.5, "sdr": 3.0}) == 3.0
    assert rank({"loss": 0.5, "sdr": None}) == -0.5


def test_silent_targets_have_no_score() -> None:
    scores = mean_sdr(np.array([[1.0, np.nan], [3.0, np.nan]]), ["drums", "bass"])
    assert scores == {"sdr": 2.0, "sdr_drums": 2.0, "sdr_bass": None}
    assert mean_sdr(np.full((2, 1), np.nan), ["drums"])["sdr"] is None


def test_songs_are_spread_over_all() -> None:
    records = list(range(10))
    assert spread(records, 3) == [1, 5, 8]      # type: ignore[arg-type]
    assert spread(records, 20) == records       # type: ignore[arg-type]
    assert spread(records, 0) == []             # type: ignore[arg-type]
