"""What is written is read back; what is half written is not there; what is damaged is said."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from stemsep.errors import InputError
from stemsep.store import Record, Store, StoreSpec
from stemsep.store.spectra import half
from tests import trees

# Small shards, so that a short track has several and ends within one.
SPEC = StoreSpec(sample_rate=8000, channels=2, n_fft=64, hop=16, stems=("drums", "bass", "rest"),
                 chunk_frames=8, shard_frames=64)
SOURCES = {"drums": (("song/drums.wav", 100, 1),), "bass": (), "rest": (("song/o.wav", 7, 2),)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store", SPEC)


def folder(store: Store) -> Path:
    return Path(str(store.place))


def waves(samples: int) -> list[np.ndarray | None]:
    """Two stems with sound and a silent one between them."""
    drums, rest = (trees.noise(samples, channels=2, seed=seed) for seed in range(2))
    return [drums, None, rest]


def blocks(stems: list[np.ndarray | None]) -> list[list[np.ndarray] | None]:
    """Each stem as it comes from files: in blocks of some lengths."""
    return [None if wave is None else np.split(wave, range(777, wave.shape[1], 777), axis=1)
            for wave in stems]


def write(store: Store, name: str = "a song", *, samples: int = 3000) -> Record:
    return store.write_track("train", name, samples=samples, waves=blocks(waves(samples)),
                             sources=SOURCES)


def expected(samples: int = 3000) -> np.ndarray:
    """The spectrograms [T, S, C, F, 2] that `write` should store, before rounding to float16."""
    silence = np.zeros((2, samples), np.float32)
    wave_SCN = np.stack([silence if wave is None else wave for wave in waves(samples)])
    spec_SCTF = SPEC.stft.analyse(wave_SCN)
    return np.stack([spec_SCTF.real, spec_SCTF.imag], axis=-1).transpose(2, 0, 1, 3, 4)


@pytest.mark.parametrize("samples", [1, 63, 64 * 16 - 16, 64 * 16 - 15, 3000])
def test_what_is_written_is_read(store: Store, samples: int) -> None:
    record = write(store, samples=samples)
    assert record.frames == SPEC.stft.frames(samples)
    read = store.read(record, 0, record.frames, stems=[0, 1, 2]).result().swapaxes(0, 1)
    assert read.dtype == np.float16
    np.testing.assert_array_equal(read, expected(samples).astype(np.float16))


@pytest.mark.parametrize("stems", [[0], [1], [2, 0], [2, 1, 0], [0, 2], [1, 1, 0]])
@pytest.mark.parametrize("first, frames", [(0, 5), (60, 70), (180, 40), (188, 3), (400, 4)])
def test_windows(store: Store, stems: list[int], first: int, frames: int) -> None:
    record = write(store)
    padded = np.pad(expected(), [(0, 500)] + [(0, 0)] * 4)[first:first + frames, stems]
    read = store.read(record, first, frames, stems=stems).result().swapaxes(0, 1)
    np.testing.assert_array_equal(read, padded.astype(np.float16))


def test_half_rounds_as_numpy_does() -> None:
    rng = np.random.default_rng(0)
    values = rng.choice([-1, 1], 300000) * 10.0 ** rng.uniform(-9, 4.8, 300000)
    steps = np.arange(1 << 16, dtype=np.uint16).view(np.float16)        # every float16 there is
    exact = steps[np.isfinite(steps)].astype(np.float64)
    ties = (exact[:-1] + exact[1:]) / 2                                 # halfway between two
    values = np.concatenate([values, exact, ties[np.abs(ties) < 65504]]).astype(np.float32)
    values = values[:len(values) // 2 * 2].reshape(-1, 2)
    np.testing.assert_array_equal(half(values).view(np.uint16),
                                  values.astype(np.float16).view(np.uint16))


def test_record_holds_what_weights_need(store: Store) -> None:
    record = write(store)
    assert Store.open(folder(store)).tracks("train") == [record]
    parts_TSM = expected().astype(np.float64).reshape(record.frames, 3, -1)
    norms_S = np.linalg.norm(parts_TSM, axis=-1).sum(axis=0)
    np.testing.assert_allclose(np.array(record.norms), norms_S, rtol=1e-6)
    power_S = [0.0 if wave is None else np.var(wave) + wave.mean() ** 2 for wave in waves(3000)]
    np.testing.assert_allclose(np.array(record.power), np.array(power_S), rtol=1e-5)
    assert record.sources == SOURCES and record.samples == 3000


def test_zarr_reads_it(store: Store) -> None:
    record = write(store)
    array = zarr.open_array(folder(store) / "train" / record.name, mode="r")
    assert array.metadata.zarr_format == 3 and array.dtype == np.float16
    assert array.metadata.dimension_names == ("frame", "stem", "channel", "bin", "part")
    np.testing.assert_array_equal(array[:], expected().astype(np.float16))


def test_many_threads_read(store: Store) -> None:
    records = [write(store, f"song {number}", samples=2000 + number) for number in range(3)]
    other, wrong = Store.open(folder(store)), []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(30):
            record = records[rng.integers(3)]
            first = int(rng.integers(record.frames - 8))
            window = other.read(record, first, 8, stems=[2]).result().swapaxes(0, 1)
            whole = expected(record.samples)[first:first + 8, [2]].astype(np.float16)
            if not np.array_equal(window, whole):
                wrong.append((record.name, first))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_track_without_record_is_not_there(store: Store) -> None:
    record = write(store)
    (folder(store) / "index" / "train" / "a song.json").unlink()
    (folder(store) / "index" / "train" / "left.json.part").write_text("{")
    (folder(store) / "train" / "a song" / "c.0.0.0.0.0.__lock").write_text("stale")
    assert store.tracks("train") == []
    with store.writing():
        assert not (folder(store) / "train" / "a song").exists()
        assert write(store) == record
    left = [p.name for p in folder(store).rglob("*") if p.suffix in (".part", ".__lock")]
    assert not left


def test_failure_in_the_middle_leaves_no_record(store: Store) -> None:
    write(store)
    with pytest.raises(InputError, match="train/a song: stem 'rest' is far beyond full scale"):
        store.write_track("train", "a song", samples=1000, sources=SOURCES,
                          waves=[None, None, [np.full((2, 1000), 1e6, np.float32)]])
    assert store.tracks("train") == []


@pytest.mark.parametrize("level, fits", [(1000.0, True), (60000.0, False), (np.nan, False)])
def test_float16_is_enough_or_it_is_said(store: Store, level: float, fits: bool) -> None:
    wave_CN = np.full((2, 500), level, np.float32)
    if fits:
        record = store.write_track("test", "x", samples=500, waves=[[wave_CN]] * 3, sources=SOURCES)
        assert np.isfinite(store.read(record, 0, 30, stems=[0]).result()).all()
    else:
        with pytest.raises(InputError, match="does not fit into float16; scale its files"):
            store.write_track("test", "x", samples=500, waves=[[wave_CN]] * 3, sources=SOURCES)


def test_a_track_written_again_is_the_new_one(store: Store) -> None:
    write(store, samples=3000)
    record = write(store, samples=500)
    read = store.read(record, 0, record.frames, stems=[0, 1, 2]).result().swapaxes(0, 1)
    np.testing.assert_array_equal(read, expected(500).astype(np.float16))
    store.remove("train", "a song")
    assert store.tracks("train") == [] and not (folder(store) / "train" / "a song").exists()


@pytest.mark.parametrize("change, words", [
    ({"hop": 32}, "hop 16, the configuration says 32"),
    ({"sample_rate": 44100}, "sample_rate 8000, the configuration says 44100"),
    ({"stems": ("drums",)}, "stems drums, bass, rest, the configuration says drums"),
])
def test_other_settings_are_refused(store: Store, change: dict, words: str) -> None:
    assert Store.create(folder(store), SPEC).spec == SPEC
    with pytest.raises(InputError) as caught:
        Store.create(folder(store), StoreSpec(**{**vars(SPEC), **change}))
    assert words in str(caught.value) and "config.data.store" in str(caught.value)


def test_faults_of_stores(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none: is no store; make it with"):
        Store.open(tmp_path / "none")
    with pytest.raises(InputError, match="is a folder with other files"):
        Store.create(tmp_path, SPEC)
    record = write(store)
    (folder(store) / "index" / "train" / "b.json").write_text("{")
    with pytest.raises(InputError, match="b.json: is damaged; delete it"):
        store.tracks("train")
    (folder(store) / "train" / "a song" / "c.1.0.0.0.0").unlink()
    with pytest.raises(InputError, match="the store is damaged"):
        Store.open(folder(store)).read(record, 60, 10, stems=[0]).result()
    values = json.loads((folder(store) / "spec.json").read_text())
    (folder(store) / "spec.json").write_text(json.dumps({**values, "format": 99}))
    with pytest.raises(InputError, match="another version"):
        Store.open(folder(store))
    (folder(store) / "spec.json").write_text("{")
    with pytest.raises(InputError, match="spec.json: is damaged"):
        Store.open(folder(store))


@trees.small_disk()
def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store", replace(SPEC, shard_frames=4096))
    with pytest.raises(InputError, match="a song: cannot be written .File too large.; free some"):
        write(store, samples=400000)
    assert store.tracks("train") == []


def test_a_kill_before_the_first_file_spoils_nothing(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "spec.json.part").write_text("{")
    store = Store.create(tmp_path / "store", SPEC)
    (folder(store) / "train" / "Op. 1.part").mkdir(parents=True)   # a song's name, no leftover
    with store.writing():
        assert not list(folder(store).glob("*.part"))


def test_only_one_writes(store: Store) -> None:
    with store.writing():
        with pytest.raises(InputError, match="another process is writing to it"):
            with Store.open(folder(store)).writing():
                pass
    with store.writing():
        pass
