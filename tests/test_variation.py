"""Copies at another pitch and tempo: what they sound like, and that preprocessing makes, keeps and
removes them as it does tracks.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from stemsep import variation
from stemsep.batches import Batches
from stemsep.config import Config
from stemsep.datasets.tracks import SPLITS, Track, Variation
from stemsep.errors import InputError
from stemsep.parallel import DataParallel
from stemsep.preprocess import Summary, preprocess
from stemsep.store import Record, Store, records
from stemsep.store.__main__ import run as store_command
from stemsep.store.verify import verify
from tests import trees

ROOT = Path(__file__).parent.parent
RATE = 22050


# What it sounds like


def varied(wave_CN: np.ndarray, *, semitones: float = 0.0, tempo: float = 1.0, stem: str = "bass",
           rate: int = RATE, cuts: int = 1) -> np.ndarray:
    """Return a wave at another pitch and tempo, given in so many blocks of unequal lengths."""
    places = np.sort(np.random.default_rng(cuts).integers(0, wave_CN.shape[1], cuts - 1))
    blocks = variation.vary(
        np.split(wave_CN, places, axis=1), Variation("a", semitones, tempo, ("drums",)), stem,
        samples=wave_CN.shape[1], channels=len(wave_CN), rate=rate)
    return np.concatenate(list(blocks), axis=1)


def sine(hz: float, *, seconds: float = 4.0) -> np.ndarray:
    phase_N = 2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(phase_N)).astype(np.float32)[None]


def peak_hz(wave_CN: np.ndarray) -> float:
    middle_N = wave_CN[0, RATE // 2:-RATE // 2]
    spectrum_F = np.abs(np.fft.rfft(middle_N * np.hanning(len(middle_N)), 1 << 20))
    return float(np.argmax(spectrum_F)) * RATE / (1 << 20)


def bursts(seconds: float, *, seed: int) -> np.ndarray:
    """Return short bursts of noise, every half second one."""
    rng, wave_CN = np.random.default_rng(seed), np.zeros((1, round(seconds * RATE)), np.float32)
    for start in range(RATE // 2, wave_CN.shape[1] - RATE // 4, RATE // 2):
        wave_CN[:, start:start + 100] = 0.3 * rng.standard_normal(100)
    return wave_CN


def centres_s(wave_CN: np.ndarray, *, tempo: float) -> np.ndarray:
    """Return when the bursts of `bursts` sound, by the centre of their energy."""
    found = []
    for start in range(RATE // 2, round(wave_CN.shape[1] * tempo) - RATE // 4, RATE // 2):
        first = round((start - RATE // 8) / tempo)
        power_N = wave_CN[0, first:first + round(RATE / 4 / tempo)] ** 2
        found.append(first + float(power_N @ np.arange(len(power_N)) / power_N.sum()))
    return np.array(found) / RATE


def test_three_semitones_up() -> None:
    high = varied(sine(440), semitones=3)
    assert abs(peak_hz(high) / 523.25 - 1) < 0.005
    assert high.shape == (1, 4 * RATE)
    loudness_db = 20 * np.log10(high[:, RATE:-RATE].std() / sine(440).std())
    assert abs(loudness_db) < 1      # at the borders of its bands Rubber Band loses half a dB


@pytest.mark.parametrize("tempo", [1.25, 0.8])
def test_another_tempo_at_the_same_pitch(tempo: float) -> None:
    wave = varied(sine(440), tempo=tempo)
    assert wave.shape == (1, round(4 * RATE / tempo))
    assert abs(peak_hz(wave) / 440 - 1) < 0.005


@pytest.mark.parametrize("tempo, semitones", [(1.25, 0.0), (1.12, 2.0), (0.8, -2.0), (1.0, 3.0)])
def test_attacks_move_by_the_tempo_alike_in_every_stem(tempo: float, semitones: float) -> None:
    want_s = (np.arange(1, 20) * (RATE // 2) + 50) / RATE / tempo
    for seed, stem in ((1, "drums"), (2, "bass")):
        wave = varied(bursts(10, seed=seed), tempo=tempo, semitones=semitones, stem=stem)
        np.testing.assert_allclose(centres_s(wave, tempo=tempo), want_s, atol=0.002)


def test_how_a_stem_is_cut_changes_nothing() -> None:
    wave = trees.noise(50_000, channels=2)
    whole = varied(wave, semitones=1.5, tempo=0.93)
    np.testing.assert_array_equal(varied(wave, semitones=1.5, tempo=0.93, cuts=9), whole)


def test_what_is_not_varied_is_the_same_to_the_bit() -> None:
    wave = trees.noise(20_000)
    np.testing.assert_array_equal(varied(wave, semitones=2, stem="drums"), wave)
    silent = varied(np.zeros((2, 30_000), np.float32), semitones=2, tempo=1.1)
    assert silent.shape[1] and not silent.any()


@pytest.mark.parametrize("samples", [1, 10, 300])
def test_short_waves(samples: int) -> None:
    assert varied(trees.noise(samples), tempo=1.25).shape[1] == round(samples / 1.25)
    assert varied(trees.noise(samples), tempo=0.8, stem="drums").shape[1] == round(samples / 0.8)


# Which copies there are


def configured(folder: Path, *, layout: str = "folders", **settings: object) -> Config:
    c = Config(name="test")
    c.data.source, c.data.store = f"{layout}:{folder / 'songs'}", str(folder / "store")
    c.data.targets = {"drums": ["drums"], "others": "rest"}
    c.data.workers = 1
    c.audio.sample_rate, c.audio.n_fft, c.audio.hop = trees.RATE, 64, 16
    c.data.window_frames, c.train.batch = 8, 4
    c.data.variation.copies = 2
    for name, value in settings.items():
        setattr(c.data.variation, name, value)
    return c.check()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Songs of drums, bass and piano: two to train on, one each to validate and to test."""
    for number, place in enumerate(("train/a", "train/b", "validation/c", "test/d")):
        trees.song(tmp_path / "songs" / place, {
            name: trees.noise(4000 + 500 * number, seed=10 * number + stem)
            for stem, name in enumerate(("drums", "bass", "piano"))})
    return tmp_path


def run(folder: Path, *, layout: str = "folders", **settings: object) -> Summary:
    return preprocess(configured(folder, layout=layout, **settings), progress=False)


def stored(folder: Path) -> dict[str, Record]:
    store = Store.open(folder / "store")
    return {record.name: record for split in SPLITS for record in store.tracks(split)}


def contents(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*")
            if path.is_file() and not path.name.startswith(".lock")}


def drawn(config: Config, *names: str) -> dict[str, Variation | None]:
    tracks = [Track(name, "train", {}) for name in names]
    return {track.name: track.variation for track in variation.with_copies(tracks, config)}


def test_pitch_and_tempo_are_a_function_of_seed_track_and_number(tmp_path: Path) -> None:
    few = drawn(configured(tmp_path), "a")
    many = drawn(configured(tmp_path, copies=50), "z", "a", "b")
    assert list(few) == ["a", "a~1", "a~2"] and few["a"] is None
    assert few == {name: many[name] for name in few}
    found = [v for v in many.values() if v]
    assert len(found) == len(set(found)) == 150
    assert all(-2 <= v.semitones <= 2 and 0.88 <= v.tempo <= 1.12 for v in found)
    assert min(v.semitones for v in found) < -1.5 and max(v.semitones for v in found) > 1.5
    assert min(v.tempo for v in found) < 0.91 and max(v.tempo for v in found) > 1.09
    other = drawn(configured(tmp_path, seed=1), "a")["a~1"]
    assert other != few["a~1"] and other and other.unpitched == ("drums",)
    both = drawn(configured(tmp_path, drums=True), "a")["a~1"]
    assert both and few["a~1"] and both.unpitched == ()
    assert (both.semitones, both.tempo) == (few["a~1"].semitones, few["a~1"].tempo)


def test_copies_are_tracks_of_the_train_split_alone(folder: Path) -> None:
    assert len(run(folder).written) == 8
    tracks, store = stored(folder), Store.open(folder / "store")
    assert [r.name for r in store.tracks("train")] == ["a", "a~1", "a~2", "b", "b~1", "b~2"]
    assert [len(store.tracks(split)) for split in ("validation", "test")] == [1, 1]
    assert all(tracks[name].variation is None for name in "abcd")
    config = configured(folder)
    for name, wanted in drawn(config, "a", "b").items():
        record = tracks[name]
        assert record.variation == wanted and record.sources == tracks[name[0]].sources
        assert record.samples == variation.varied_samples(tracks[name[0]].samples, wanted)
        assert record.frames == store.spec.stft.frames(record.samples)
    assert not [fault for _, faults in verify(store) for fault in faults]

    batches = Batches(store, "train", config, DataParallel("pmap"))
    seen = {batches.records[track].name for step in range(20)
            for track in batches.ids(step)[..., 0].ravel()}
    assert seen == {"a", "a~1", "a~2", "b", "b~1", "b~2"}


def test_the_store_holds_the_varied_stems(folder: Path) -> None:
    run(folder)
    store, record = Store.open(folder / "store"), stored(folder)["b~1"]
    window_STCF2 = store.read(record, 0, record.frames, stems=[0, 1]).result()
    drums, bass, piano = (trees.noise(4500, seed=10 + stem) for stem in range(3))
    waves = [np.concatenate(list(variation.vary(
        [wave], record.variation, stem, samples=4500, channels=1, rate=trees.RATE)), axis=1)
        for stem, wave in (("drums", drums), ("rest", bass + piano))]
    assert {wave.shape[1] for wave in waves} == {record.samples}
    spec_SCTF = store.spec.stft.analyse(np.stack(waves))
    parts_SCTF2 = np.stack([spec_SCTF.real, spec_SCTF.imag], axis=-1).astype(np.float16)
    np.testing.assert_array_equal(window_STCF2, parts_SCTF2.transpose(0, 2, 1, 3, 4))


def test_workers_make_the_same_copies(folder: Path) -> None:
    run(folder)
    (folder / "store").rename(folder / "alone")
    done = subprocess.run(command(folder, "--config.data.workers=2"), cwd=ROOT, timeout=300,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert contents(folder / "store") == contents(folder / "alone")


def names(tracks: list[str]) -> list[str]:
    return sorted(track.split("/")[1] for track in tracks)


def test_only_what_changed_is_varied_again(folder: Path, capsys: pytest.CaptureFixture) -> None:
    run(folder, copies=1)
    more = run(folder)
    assert names(more.written) == ["a~2", "b~2"] and len(more.kept) == 6 and not more.removed

    assert names(run(folder, drums=True).written) == ["a~1", "a~2", "b~1", "b~2"]
    assert "train/a~1 is made anew because of config.data.variation\n" in capsys.readouterr().out
    assert len(run(folder, drums=True).kept) == 8

    trees.song(folder / "songs" / "train" / "a", {"bass": trees.noise(4000, seed=77)})
    assert names(run(folder, drums=True).written) == ["a", "a~1", "a~2"]

    none = run(folder, copies=0)
    assert names(none.removed) == ["a~1", "a~2", "b~1", "b~2"] and names(none.kept) == list("abcd")
    assert "train/b~2 is no longer wanted (config.data.variation)\n" in capsys.readouterr().out
    assert list(stored(folder)) == ["a", "b", "c", "d"]
    assert not list((folder / "store").glob("*/*~*"))


def test_the_copies_go_with_their_song(folder: Path, capsys: pytest.CaptureFixture) -> None:
    run(folder)
    shutil.rmtree(folder / "songs" / "train" / "b")
    assert names(run(folder).removed) == ["b", "b~1", "b~2"]
    assert "train/b~1 is no longer in the source\n" in capsys.readouterr().out


def test_copies_of_a_song_that_cannot_be_listed_stay(tmp_path: Path) -> None:
    for split, name in (("train", "Track1"), ("train", "Track2"), ("validation", "Track3")):
        trees.slakh_track(tmp_path / "songs" / split / name, trees.BAND, samples=2000)
    assert len(run(tmp_path, layout="slakh").written) == 7
    (tmp_path / "songs" / "train" / "Track1" / "metadata.yaml").write_text("stems: [")
    summary = run(tmp_path, layout="slakh")
    assert list(summary.failed) == ["train/Track1"] and not summary.removed
    assert len(stored(tmp_path)) == 7


def test_a_run_that_was_killed_goes_on(folder: Path) -> None:
    line = command(folder, "--config.data.workers=1")
    assert subprocess.run(line, cwd=ROOT, timeout=300, capture_output=True).returncode == 0
    (folder / "store").rename(folder / "undisturbed")
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list((folder / "store").glob("train/*~*")) and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -9
    # As a kill may leave it too: the spectrogram of a copy without a record.
    (folder / "store" / "train" / "b~2").mkdir(exist_ok=True)
    before = len(stored(folder))
    resumed = run(folder)
    assert before < 8 and len(resumed.written) == 8 - before and len(resumed.kept) == before
    assert contents(folder / "store") == contents(folder / "undisturbed")


def test_stores_from_before_variations_are_read(folder: Path) -> None:
    run(folder, copies=0)
    values = vars(stored(folder)["a"])
    assert records.from_json({k: v for k, v in values.items() if k != "variation"}) == \
        stored(folder)["a"]


def test_a_store_tells_of_its_variations(folder: Path, capsys: pytest.CaptureFixture) -> None:
    run(folder, tempo=(1.1, 1.1))
    capsys.readouterr()
    store_command(["info", str(folder / "store")])
    said = capsys.readouterr().out
    assert "train: 4 of the tracks are variations of others (semitones -" in said
    assert "tempo 1.100 to 1.100)" in said and "validation:" not in said


# What is refused, and what is only told


def test_without_the_library_nothing_begins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pylibrb", None)
    with pytest.raises(InputError, match="pip install pylibrb"):
        run(folder)
    assert not (folder / "store").exists()
    assert len(run(folder, copies=0).written) == 4


@pytest.mark.parametrize("change, words", [
    (dict(semitones=(2, -2)),
     "semitones: 2.0 to -2.0 is no range; give two numbers, the lower first, both within -12 and"),
    (dict(tempo=(0.1, 1)), "tempo: 0.1 to 1.0 is no range"),
    (dict(tempo=(1, float("nan"))), "is no range"),
    (dict(copies=-1), "copies is -1"),
    (dict(semitones=(0, 0), tempo=(1, 1)), "would be the same as their tracks"),
])
def test_bad_settings_are_refused(tmp_path: Path, change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as caught:
        configured(tmp_path, **change)  # type: ignore[arg-type]
    assert words in str(caught.value) and "config.data.variation" in str(caught.value)


def test_a_song_called_as_a_copy_is_refused(folder: Path) -> None:
    (folder / "songs" / "train" / "b").rename(folder / "songs" / "train" / "a~2")
    with pytest.raises(InputError, match="train/a~2: a variation of 'a' would have the same name"):
        run(folder)
    assert not (folder / "store").exists()


def command(folder: Path, *arguments: str) -> list[str]:
    config = folder / "config.py"
    config.write_text(
        "from stemsep.config import Config\n\n\ndef get_config():\n    c = Config(name='test')\n"
        f"    c.data.source, c.data.store = 'folders:{folder / 'songs'}', '{folder / 'store'}'\n"
        "    c.data.targets = {'drums': ['drums'], 'others': 'rest'}\n"
        f"    c.audio.sample_rate, c.audio.n_fft, c.audio.hop = {trees.RATE}, 64, 16\n"
        "    return c\n")
    return [sys.executable, "-m", "stemsep.preprocess", "--config", str(config),
            "--config.data.variation.copies=2", *arguments]


def test_dry_run_lists_the_copies(folder: Path) -> None:
    dry = subprocess.run(
        command(folder, "--dry_run", "--config.data.variation.tempo=(1.05,1.05)"), cwd=ROOT,
        timeout=300, capture_output=True, text=True)
    assert dry.returncode == 0 and not (folder / "store").exists(), dry.stderr
    assert "to write: train/a\n" in dry.stdout and "8 tracks to write" in dry.stdout
    assert "to write: train/a~1 (a, " in dry.stdout and " semitones, tempo 1.050)" in dry.stdout
    assert "c~1" not in dry.stdout


@pytest.mark.slow
def test_a_long_stem_takes_no_more_memory_than_a_short_one() -> None:
    peaks = []
    for minutes in (1, 30):
        program = (
            "import sys\n"
            "from pathlib import Path\n"
            "import numpy as np\n"
            "from stemsep import variation\n"
            "from stemsep.datasets.tracks import Variation\n"
            f"minute, minutes = 60 * {trees.RATE}, {minutes}\n"
            "noise = np.random.default_rng(0).standard_normal((1, minute)).astype(np.float32)\n"
            "blocks = variation.vary((0.1 * noise for _ in range(minutes)),\n"
            "                        Variation('a', 1.0, 0.9), 'bass', samples=minutes * minute,\n"
            f"                        channels=1, rate={trees.RATE})\n"
            "print(sum(block.shape[1] for block in blocks))\n"
            "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n")
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True,
                              text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        samples, peak = map(int, done.stdout.split())
        assert samples == round(minutes * 60 * trees.RATE / 0.9)
        peaks.append(peak / 1024)
    # The stem is 58 MB as float32.
    assert peaks[1] < peaks[0] + 10, peaks
