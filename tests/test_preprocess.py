"""Songs become a store: what is in it, what is done again and what is not, and what is said."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stemsep import audio
from stemsep.config import Config
from stemsep.datasets.tracks import SPLITS
from stemsep.errors import InputError
from stemsep.preprocess import Summary, preprocess
from stemsep.store import Record, Store
from tests import trees

ROOT = Path(__file__).parent.parent


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """Four songs of drums, bass and piano, each with its own length."""
    for number in range(4):
        trees.song(tmp_path / "songs" / f"song {number}", {
            name: trees.noise(4000 + 100 * number, seed=10 * number + place)
            for place, name in enumerate(("drums", "bass", "piano"))})
    return tmp_path / "songs"


def configured(songs: Path, *, layout: str = "folders", workers: int = 1) -> Config:
    c = Config(name="test")
    c.data.source, c.data.store = f"{layout}:{songs}", str(songs.parent / "store")
    c.data.targets = {"drums": ["drums"], "others": "rest"}
    c.data.workers = workers
    c.audio.sample_rate, c.audio.n_fft, c.audio.hop = trees.RATE, 64, 16
    return c


def run(songs: Path, **settings: str | int) -> Summary:
    config = configured(songs, **settings)  # type: ignore[arg-type]
    return preprocess(config.check(), progress=False)


def records(songs: Path) -> dict[str, Record]:
    store = Store.open(songs.parent / "store")
    return {record.name: record for split in SPLITS for record in store.tracks(split)}


def stored(songs: Path, name: str) -> np.ndarray:
    """Return what the store holds of a track: [T, S, C, F, 2]."""
    record, store = records(songs)[name], Store.open(songs.parent / "store")
    window = store.read(record, 0, record.frames, stems=range(len(store.spec.stems))).result()
    return window.swapaxes(0, 1)


def transformed(songs: Path, *stems: np.ndarray) -> np.ndarray:
    """Return what a store of `songs` should hold of a track with these stems."""
    spec_SCTF = Store.open(songs.parent / "store").spec.stft.analyse(np.stack(stems))
    parts = np.stack([spec_SCTF.real, spec_SCTF.imag], axis=-1).astype(np.float16)
    return parts.transpose(2, 0, 1, 3, 4)


def test_the_store_holds_the_sums_of_the_files(songs: Path) -> None:
    summary = run(songs)
    assert len(summary.written) == 4 and not summary.failed
    np.testing.assert_allclose(summary.audio_h, 3 * (4 * 4000 + 600) / trees.RATE / 3600)
    drums, bass, piano = (trees.noise(4200, seed=20 + place) for place in range(3))
    np.testing.assert_array_equal(stored(songs, "song 2"), transformed(songs, drums, bass + piano))


def test_workers_make_the_same_store(songs: Path, tmp_path: Path) -> None:
    run(songs)
    alone = contents(tmp_path / "store")
    (tmp_path / "store").rename(tmp_path / "alone")
    run(songs, workers=2)
    assert contents(tmp_path / "store") == alone


def contents(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*")
            if path.is_file() and not path.name.startswith(".lock")}


def test_only_what_is_missing_or_changed_is_done(songs: Path,
                                                 capsys: pytest.CaptureFixture) -> None:
    assert len(run(songs).written) == 4
    before = records(songs)
    again = run(songs)
    assert len(again.kept) == 4 and not again.written and not again.removed

    trees.song(songs / "song 1", {"drums": trees.noise(4100, seed=77)})
    for path in (songs / "song 2").iterdir():
        path.unlink()
    (songs / "song 2").rmdir()
    capsys.readouterr()
    changed = run(songs)
    assert [name.split("/")[1] for name in changed.written] == ["song 1"]
    assert [name.split("/")[1] for name in changed.removed] == ["song 2"]
    said = capsys.readouterr().out
    assert "song 1 is made anew because of song 1/drums.wav\n" in said
    assert "song 2 is no longer in the source" in said
    now = records(songs)
    assert set(now) == {"song 0", "song 1", "song 3"} and now["song 0"] == before["song 0"]
    np.testing.assert_array_equal(stored(songs, "song 1")[:, :1],
                                  transformed(songs, trees.noise(4100, seed=77)))


def test_another_grouping_is_a_change(songs: Path, tmp_path: Path) -> None:
    run(songs)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("Mixing key: name\nRecipes:\n  drums: [drums, bass]\n")
    config = configured(songs)
    config.data.recipe = str(recipe)
    assert len(preprocess(config, progress=False).written) == 4
    drums, bass, piano = (trees.noise(4000, seed=place) for place in range(3))
    np.testing.assert_array_equal(stored(songs, "song 0"), transformed(songs, drums + bass, piano))


@pytest.mark.parametrize("change, words", [
    (lambda c: setattr(c.audio, "hop", 8), "hop 16, the configuration says 8"),
    (lambda c: setattr(c.data, "targets", {"piano": ["piano"]}),
     "stems drums, rest, the configuration says piano"),
])
def test_changed_settings_are_refused(songs: Path, change: Callable, words: str) -> None:
    run(songs)
    config = configured(songs)
    change(config)
    with pytest.raises(InputError) as caught:
        preprocess(config, progress=False)
    assert words in str(caught.value) and "config.data.store" in str(caught.value)


def test_stems_of_unequal_length_are_padded_and_said(songs: Path,
                                                     capsys: pytest.CaptureFixture) -> None:
    trees.song(songs / "song 0", {"bass": trees.noise(3000), "piano": trees.noise(2000, seed=9)})
    run(songs)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert len(said) == 1 and "song 0" in said[0]
    assert "bass.wav, piano.wav (from 0.250 s, the longest stem lasts 0.500 s)" in said[0]
    drums, rest = trees.noise(4000), np.zeros((1, 4000), np.float32)
    rest[:, :3000] += trees.noise(3000)
    rest[:, :2000] += trees.noise(2000, seed=9)
    np.testing.assert_array_equal(stored(songs, "song 0"), transformed(songs, drums, rest))


def test_files_of_several_rates_and_channels(songs: Path) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)[None].astype(np.float32) / 4
    for path in (songs / "song 0").iterdir():
        path.unlink()
    trees.write(songs / "song 0" / "bass.wav", np.repeat(tone, 2, axis=0), rate=16000)
    trees.write(songs / "song 0" / "piano.wav", tone, rate=16000)
    trees.write(songs / "song 0" / "guitar.wav", tone[:, ::2], rate=8000)
    run(songs)
    assert records(songs)["song 0"].samples == 8000 and records(songs)["song 0"].norms[0] == 0
    inside = slice(50, -50)         # the ends of the resampled tone ring
    want = transformed(songs, np.zeros_like(tone[:, ::2]), 3 * tone[:, ::2])[inside]
    np.testing.assert_allclose(stored(songs, "song 0")[inside], want, atol=2e-3)


def test_stereo_store(songs: Path) -> None:
    trees.song(songs / "song 0", {"drums": trees.noise(4000, channels=2, seed=5)})
    config = configured(songs)
    config.audio.channels = 2
    preprocess(config, progress=False)
    mono = trees.noise(4000, seed=1) + trees.noise(4000, seed=2)
    np.testing.assert_array_equal(stored(songs, "song 0"), transformed(
        songs, trees.noise(4000, channels=2, seed=5), np.repeat(mono, 2, axis=0)))


def spoil(path: Path, how: str) -> None:
    """Make the audio file one that cannot be used."""
    if how == "no number":
        soundfile.write(path, np.full(100, np.nan), trees.RATE, subtype="FLOAT")
    elif how == "six channels":
        trees.write(path, trees.noise(100, channels=6))
    elif how == "dead link":
        path.unlink()
        path.symlink_to("nowhere.wav")
    else:
        content = path.read_bytes()
        path.write_bytes({"empty": b"", "text": b"words " * 99, "cut short": content[:2000]}[how])


@pytest.mark.parametrize("how, words", [
    ("empty", "the file is empty"), ("text", "no audio that can be read"),
    ("cut short", "is cut short"), ("no number", "sample 0 is not a number"),
    ("six channels", "6 channels cannot become 1"), ("dead link", "No such file"),
])
def test_a_bad_file_is_recorded_and_the_rest_goes_on(songs: Path, how: str, words: str,
                                                     capsys: pytest.CaptureFixture) -> None:
    bad = songs / "song 1" / "piano.wav"
    spoil(bad, how)
    summary = run(songs)
    (name, reason), = summary.failed.items()
    assert name.endswith("/song 1") and str(bad) in reason and words in reason
    assert f"failed: {name}: {reason}\n" in capsys.readouterr().err
    assert set(records(songs)) == {"song 0", "song 2", "song 3"}
    assert not list((songs.parent / "store").glob("*/song 1"))

    bad.unlink()
    trees.write(bad, trees.noise(4100))
    mended = run(songs)
    assert mended.written == [name] and len(mended.kept) == 3 and not mended.failed


def test_a_track_that_went_bad_is_no_longer_in_the_store(songs: Path) -> None:
    run(songs)
    spoil(songs / "song 1" / "piano.wav", "cut short")
    assert len(run(songs).failed) == 1
    assert set(records(songs)) == {"song 0", "song 2", "song 3"}


def test_slakh_with_a_faulty_track(tmp_path: Path) -> None:
    for number in range(3):
        trees.slakh_track(tmp_path / "songs" / "train" / f"Track0000{number}",
                          {"S00": 128, "S01": 0}, samples=1000)
        trees.slakh_track(tmp_path / "songs" / "validation" / f"Track0001{number}",
                          {"S00": 128, "S01": 0}, samples=1000)
    metadata = tmp_path / "songs" / "train" / "Track00001" / "metadata.yaml"
    assert len(run(tmp_path / "songs", layout="slakh").written) == 6
    metadata.write_text("stems: [")
    summary = run(tmp_path / "songs", layout="slakh")
    assert list(summary.failed) == ["train/Track00001"] and not summary.removed
    assert len(summary.kept) == 5


def test_a_target_without_sound_is_said(songs: Path, capsys: pytest.CaptureFixture) -> None:
    config = configured(songs)
    config.data.targets = {"drums": ["drums"], "vocals": ["vocals"], "others": "rest"}
    preprocess(config, progress=False)
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1 and "target 'vocals' has no sound in any of the " in warnings[0]


def test_a_target_alone_still_has_the_rest_in_its_mixture(songs: Path) -> None:
    (songs / "song 3" / "bass.wav").unlink()
    config = configured(songs)
    config.data.targets, config.model.mask = {"bass": ["bass"]}, "sigmoid"
    assert len(preprocess(config, progress=False).written) == 4
    store = Store.open(config.store)
    assert store.spec.stems == ("bass", "rest")
    (song,) = [r for split in SPLITS for r in store.tracks(split) if r.name == "song 3"]
    assert song.norms[0] == 0 and song.norms[1] > 0


def test_demo_songs_are_made(tmp_path: Path) -> None:
    config = configured(tmp_path / "songs", layout="demo")
    config.data.demo.tracks, config.data.demo.seconds = 3, 1.0
    summary = preprocess(config, progress=False)
    assert len(summary.written) == 3 and not summary.failed
    record = next(iter(records(tmp_path / "songs").values()))
    assert record.samples == trees.RATE and max(record.power) > 0
    assert audio.probe(next((tmp_path / "songs").rglob("mix.flac"))).sample_rate > trees.RATE


# The command


def command(songs: Path, *arguments: str) -> list[str]:
    config = songs.parent / "config.py"
    config.write_text(
        "from stemsep.config import Config\n\n\ndef get_config():\n    c = Config(name='test')\n"
        f"    c.data.source, c.data.store = 'folders:{songs}', '{songs.parent / 'store'}'\n"
        "    c.data.targets = {'drums': ['drums'], 'others': 'rest'}\n"
        f"    c.audio.sample_rate, c.audio.n_fft, c.audio.hop = {trees.RATE}, 64, 16\n"
        "    return c\n")
    return [sys.executable, "-m", "stemsep.preprocess", "--config", str(config), *arguments]


def execute(arguments: Sequence[str]) -> subprocess.CompletedProcess:
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_command_tells_by_its_status_that_tracks_failed(songs: Path) -> None:
    spoil(songs / "song 1" / "piano.wav", "text")
    done = execute(command(songs, "--config.data.workers=1"))
    assert done.returncode == 1, done.stderr
    assert "3 tracks written" in done.stdout and "1 failed" in done.stdout
    assert "piano.wav: is no audio that can be read here" in done.stderr
    assert "Traceback" not in done.stderr
    refused = execute(command(songs, "--config.data.source=folders:/nowhere"))
    assert refused.returncode == 1 and "there is no such folder" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_dry_run_writes_nothing_and_says_what_would_be_done(songs: Path) -> None:
    dry = execute(command(songs, "--dry_run"))
    assert dry.returncode == 0 and not (songs.parent / "store").exists(), dry.stderr
    assert "4 tracks to write (0.00 GB of audio files), 0 to keep" in dry.stdout
    assert execute(command(songs)).returncode == 0
    before = contents(songs.parent / "store")
    trees.song(songs / "song 1", {"drums": trees.noise(4100, seed=77)})
    shutil.rmtree(songs / "song 2")
    dry = execute(command(songs, "--dry_run"))
    assert "1 tracks to write" in dry.stdout and "2 to keep, 1 to remove" in dry.stdout
    assert "drums.wav" in dry.stdout and "song 2 is no longer in the source" in dry.stdout
    assert contents(songs.parent / "store") == before


def test_dry_run_makes_no_demo_songs(songs: Path) -> None:
    missing = songs.parent / "demo"
    dry = execute(command(songs, "--dry_run", f"--config.data.source=demo:{missing}"))
    assert dry.returncode == 0 and "24 demo songs would be made" in dry.stdout, dry.stderr
    assert not missing.exists()


def test_processes_of_a_launched_job_share_the_tracks(songs: Path, tmp_path: Path) -> None:
    run(songs)
    (tmp_path / "store").rename(tmp_path / "alone")
    line = [str(ROOT / "launch" / "local.sh"), "3",
            *command(songs, "--config.data.engine=spmd", "--config.data.workers=1")]
    done = execute(line)
    assert done.returncode == 0, done.stderr
    # Not by lines: those of several processes meet where Python does not buffer them.
    assert sorted(map(int, re.findall(r": (\d+) tracks written", done.stdout))) == [
        1, 1, 2], done.stdout + done.stderr
    assert contents(tmp_path / "store") == contents(tmp_path / "alone")
    shutil.rmtree(songs / "song 2")
    again = execute(line)
    assert again.returncode == 0 and again.stdout.count("1 removed") == 1, again.stderr
    alone = execute(command(songs, "--config.data.engine=spmd"))
    assert alone.returncode == 1 and "no launcher set STEMSEP_PROCESS" in alone.stderr


def test_a_long_track_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    peaks = []
    for minutes in (1, 40):
        folder = tmp_path / f"{minutes}" / "songs"
        noise = np.tile(trees.noise(60 * trees.RATE), (1, minutes))
        trees.song(folder / "a", {"drums": noise, "bass": noise[:, ::-1]}, suffix=".flac")
        program = (
            "import sys\n"
            "from stemsep import preprocess\n"
            "from stemsep.datasets.tracks import Track\n"
            "from stemsep.audio import Clip\n"
            "from stemsep.store import Store, StoreSpec\n"
            "from pathlib import Path\n"
            "folder = Path(sys.argv[1])\n"
            "spec = StoreSpec(8000, 1, 512, 64, ('drums', 'rest'))\n"
            "store = Store.create(folder.parent / 'store', spec)\n"
            "track = Track('a', 'train', {'drums': (Clip(folder / 'a/drums.flac'),),\n"
            "                             'rest': (Clip(folder / 'a/bass.flac'),)})\n"
            "preprocess.write_track((track, {}), store_path=str(store.place))\n"
            "status = Path('/proc/self/status').read_text()\n"
            "print(status.split('VmHWM:')[1].split()[0])\n")
        done = execute([sys.executable, "-c", program, str(folder)])
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout) / 1024)
    # A stem is 77 MB as float32, its spectrogram 309 MB. TensorStore may keep 64 MB, and what the
    # allocator keeps of the shards differs from run to run.
    assert peaks[1] < peaks[0] + 154, peaks
