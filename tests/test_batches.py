"""Windows are a function of (seed, step), drawn as configured, whatever reads them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stemsep import batches
from stemsep.batches import VALIDATION, Batches, track_weights, window_ids
from stemsep.config import Config, to_dict
from stemsep.errors import InputError
from stemsep.parallel import DataParallel
from stemsep.store import Record, Store
from stemsep.store.records import LEVEL_FRAMES, SILENCE_DB
from tests.test_train import config, run  # noqa: F401  (a fixture)

ROOT = Path(__file__).parent.parent
LENGTHS = np.array([100, 1, 400, 16])


def test_windows_are_a_function_of_seed_and_step() -> None:
    def draw(step: int) -> np.ndarray:
        return window_ids(1, step, LENGTHS, window=16, batch=64, stems=3, remix=0.5)

    first = draw(2)
    assert np.array_equal(first, draw(2))
    assert not np.array_equal(first, draw(3))
    assert not np.array_equal(first, draw(VALIDATION))
    track, frame = first[..., 0], first[..., 1]
    assert (frame >= 0).all() and (frame <= np.maximum(LENGTHS[track] - 16, 0)).all()


@pytest.mark.parametrize("remix, low, high", [(0.0, 0.0, 0.0), (1.0, 0.99, 1.0), (0.5, 0.4, 0.6)])
def test_remix_is_the_share_of_windows_drawn_apart(remix: float, low: float, high: float) -> None:
    ids = window_ids(0, 0, LENGTHS, window=16, batch=2000, stems=2, remix=remix)
    apart = (ids[:, 0] != ids[:, 1]).any(-1).mean()
    assert low <= apart <= high


@pytest.mark.parametrize("weights", [None, (1.0, 1.0, 0.5, 0.0)])
def test_tracks_are_drawn_in_proportion_to_length_and_weight(
    weights: tuple[float, ...] | None
) -> None:
    factors = None if weights is None else np.array(weights)
    ids = window_ids(0, 0, LENGTHS, window=16, batch=20000, stems=1, remix=1.0, weights=factors)
    shares = np.bincount(ids[:, 0, 0], minlength=4) / len(ids)
    wanted = LENGTHS * (1 if factors is None else factors)
    np.testing.assert_allclose(shares, wanted / wanted.sum(), atol=0.01)


def record(name: str, levels: tuple[tuple[int, ...], ...]) -> Record:
    frames = LEVEL_FRAMES * max(map(len, levels))
    return Record(name, "train", frames, frames, (), (), levels, (), {})


# Of ten passages the first stem sounds in one, the second in all, the third nowhere.
RECORDS = [record("quiet", ((SILENCE_DB,) * 10, (-20,) * 10, ())),
           record("loud", ((-90, -90, -90, -10, -70, *(SILENCE_DB,) * 5), (-20,) * 10, ()))]


@pytest.mark.parametrize("remix", [0.0, 1.0])
@pytest.mark.parametrize("sounding", [0.0, 0.5, 1.0])
def test_windows_are_drawn_where_their_stem_sounds(remix: float, sounding: float) -> None:
    sounds = [batches.passages(RECORDS, stem) for stem in range(3)]
    np.testing.assert_array_equal(sounds[0], [[1, 3 * LEVEL_FRAMES]])
    assert [len(found) for found in sounds] == [1, 20, 0]
    lengths = np.array([one.frames for one in RECORDS])
    ids = window_ids(0, 0, lengths, window=8, batch=6000, stems=3, remix=remix, sounding=sounding,
                     sounds=sounds)
    first = ids[..., 1]
    assert (first >= 0).all() and (first <= lengths[0] - 8).all()
    assert remix or (ids == ids[:, :1]).all()
    begin = 3 * LEVEL_FRAMES
    heard = (ids[:, 0, 0] == 1) & (ids[:, 0, 1] > begin - 8)
    heard &= ids[:, 0, 1] < begin + LEVEL_FRAMES
    chance = (LEVEL_FRAMES + 7) / (lengths[0] - 7) / 2      # without looking for it
    # A window from one place looks for one of its stems, so for the first in a third of the cases.
    chosen = sounding if remix else sounding / 3
    assert heard.mean() == pytest.approx(chosen + (1 - chosen) * chance, abs=0.02)


def test_what_is_drawn_without_the_options_stays_as_it_was() -> None:
    """A run of an earlier version goes on with the windows it would have seen."""
    ids = window_ids(3, 5, LENGTHS, window=16, batch=2, stems=2, remix=0.5)
    assert ids.tolist() == DRAWN


DRAWN = [[[0, 28], [2, 265]], [[2, 68], [2, 68]]]


def test_weights_go_by_the_names_of_tracks() -> None:
    def weights(patterns: dict[str, float]) -> list[float]:
        found = track_weights(RECORDS, patterns)
        assert found is not None
        return found.tolist()

    assert track_weights(RECORDS, {}) is None
    assert weights({"lou*": 3.0}) == [1.0, 3.0]
    assert weights({"l*": 2, "*": 0.5}) == [0.5, 2.0]
    with pytest.raises(InputError, match="'Live' matches no track of the 2 for training, as 'qui"):
        track_weights(RECORDS, {"Live": 2.0})
    with pytest.raises(InputError, match="all tracks have the weight 0"):
        track_weights(RECORDS, {"*": 0.0})


def test_reading_ahead_keeps_to_its_memory(config: Config) -> None:  # noqa: F811
    store, devices = Store.open(config.store), DataParallel("pmap")
    config.data.prefetch = 7
    ahead = Batches(store, "train", config, devices)
    assert ahead.batch_bytes == 4 * 2 * 16 * 1 * 33 * 2 * 2 and ahead.depth == 7
    config.train.batch = 4096       # 17.3 MB a batch
    config.data.prefetch_mb = 40
    assert Batches(store, "train", config, devices).depth == 2
    config.data.prefetch_mb = 1
    assert Batches(store, "train", config, devices).depth == 1


def test_weights_and_sounding_train(config: Config, tmp_path: Path) -> None:  # noqa: F811
    config.data.weights, config.data.sounding = {"song1": 0.0}, 1.0
    store = Store.open(config.store)
    batch = Batches(store, "train", config, DataParallel("pmap"))
    names = [one.name for one in batch.records]
    for _ in batch.stream(0, 3):
        pass
    drawn = {names[track] for step in range(50) for track in batch.ids(step)[..., 0].flat}
    assert drawn == {"song0", "song2"}
    assert run(config, tmp_path / "run")


def test_mixup_adds_another_passage_of_the_same_stem(config: Config) -> None:  # noqa: F811
    devices = DataParallel("pmap")
    devices.put = lambda batch: batch["stems"]      # type: ignore[method-assign]
    store = Store.open(config.store)

    def read() -> tuple[Batches, np.ndarray]:
        batches = Batches(store, "train", config, devices)
        return batches, np.stack([stems for _, stems in batches.stream(0, 20)])

    plain, plain_stems = read()
    assert plain.second(0) is None
    config.augment.mixup, config.augment.mixup_db = 0.25, (-6.0, -3.0)
    mixing, stems = read()
    gains = []
    for step in range(20):
        second = mixing.second(step)
        assert second is not None
        ids, gain_BS = second
        np.testing.assert_array_equal(mixing.ids(step), plain.ids(step))
        for place, stem in np.ndindex(gain_BS.shape):
            track, first = ids[place, stem]
            passage = store.read(mixing.records[track], int(first), 16, stems=[stem]).result()[0]
            want = plain_stems[step, place, stem] + gain_BS[place, stem] * passage
            np.testing.assert_allclose(stems[step, place, stem], want, atol=2e-3)
        gains.append(gain_BS)
    drawn = np.concatenate(gains).ravel()
    assert 0.15 < (drawn > 0).mean() < 0.35
    assert 0.501 < drawn[drawn > 0].min() and drawn.max() < 0.708


PROGRAM = """
import json, sys
import numpy as np
from stemsep import parallel
from stemsep.batches import Batches
from stemsep.config import from_dict
from stemsep.store import Store

parallel.prepare()
config = from_dict(json.load(open(sys.argv[1])))
devices = parallel.DataParallel(config.parallel)
kept = {}
devices.put = lambda batch: batch["stems"]
stream = Batches(Store.open(config.store), "train", config, devices).stream(
    int(sys.argv[3]), int(sys.argv[4]))
for step, stems in stream:
    kept[str(step)] = stems
np.savez(f"{sys.argv[2]}.{devices.process}.npz", **kept)
"""


def global_batches(config: Config, folder: Path, processes: int,  # noqa: F811
                   first: int, stop: int) -> dict[int, np.ndarray]:
    """Read some steps in so many processes; returns each step's batch, put together."""
    (folder / "config.json").write_text(json.dumps(to_dict(config)))
    output = folder / f"{processes}-{first}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "DEVICES": "1"}
    line = [str(ROOT / "launch" / "local.sh"), str(processes), sys.executable, "-c", PROGRAM,
            str(folder / "config.json"), str(output), str(first), str(stop)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    parts = [np.load(f"{output}.{process}.npz") for process in range(processes)]
    return {step: np.concatenate([part[str(step)] for part in parts])
            for step in range(first, stop)}


@pytest.mark.slow
def test_any_number_of_processes_reads_the_same_global_batches(
    config: Config, tmp_path: Path  # noqa: F811
) -> None:
    """Also where two processes stop and one goes on."""
    config.data.sounding, config.data.weights = 0.5, {"song0": 2.0}
    config.augment.mixup = 0.5
    whole = global_batches(config, tmp_path, 1, 0, 6)
    for processes in (2, 4):
        parts = global_batches(config, tmp_path, processes, 0, 3)
        for step, batch in parts.items():
            np.testing.assert_array_equal(batch, whole[step])
    moved = global_batches(config, tmp_path, 1, 3, 6)
    for step, batch in moved.items():
        np.testing.assert_array_equal(batch, whole[step])
    assert len({batch.tobytes() for batch in whole.values()}) == 6
