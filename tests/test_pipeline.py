"""The whole path, as commands and from Python, on a few seconds of demo songs."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stemsep import Pipeline, Separator
from stemsep.config import Config

ROOT = Path(__file__).parent.parent
SMALL = [
    "--config.data.demo.tracks=4", "--config.data.demo.seconds=4", "--config.train.batch=2",
    "--config.train.validate_windows=2",
]


def command(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def places(tmp_path: Path) -> list[str]:
    source, store = f"demo:{tmp_path / 'songs'}", tmp_path / "store"
    return [f"--config.data.source={source}", f"--config.data.store={store}"]


@pytest.mark.slow
def test_the_demo_command_does_it_all(tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = command(
        "stemsep", "--config", "configs/demo.py", "--workdir", str(run), *places(tmp_path), *SMALL,
        "--config.train.steps=3", "--config.train.save_every=3",
    )
    assert done.returncode == 0, done.stderr
    for words in ("hpss", "mixture", "SDR", "drums.wav", "accompaniment.wav", "spectrograms.png"):
        assert words in done.stdout
    assert "report.html" in done.stdout and (run / "report" / "report.html").exists()
    scores = json.loads((run / "report" / "scores.json").read_text())
    assert scores["summary"]["model"]["drums"]["sdr"]["count"] >= 1
    (folder,) = (run / "separated").iterdir()
    assert (folder / "spectrograms.png").read_bytes().startswith(b"\x89PNG")
    (song,) = (tmp_path / "songs" / "test").iterdir()
    mixture, rate = soundfile.read(song / "mix.flac")
    for stem in ("drums", "accompaniment"):
        wave, stem_rate = soundfile.read(folder / f"{stem}.wav")
        assert (stem_rate, wave.shape) == (rate, mixture.shape) and np.isfinite(wave).all()


@pytest.mark.slow
@pytest.mark.parametrize("name, window", [
    ("drums", 63), ("vocals", 32), ("bass", 64), ("four_stems", 32)])
def test_a_config_trains_from_nothing(tmp_path: Path, name: str, window: int) -> None:
    done = command(
        "stemsep.train", "--config", f"configs/{name}.py", "--workdir", str(tmp_path / "run"),
        *places(tmp_path), *SMALL, "--config.train.steps=3",
        f"--config.data.window_frames={window}",
    )
    assert done.returncode == 0, done.stderr
    assert "step 3: validation" in done.stdout + done.stderr
    separator = Separator.load(tmp_path / "run")
    noise = np.random.default_rng(0).standard_normal((separator.channels, 12345)) * 0.1
    stems = separator(noise.astype(np.float32), 44100, residual=True)
    np.testing.assert_allclose(sum(stems.values()), noise, atol=1e-6)


def small(tmp_path: Path) -> Config:
    """A configuration that trains in seconds on folders of noise."""
    c = Config(name="small")
    c.audio.sample_rate, c.audio.n_fft, c.audio.hop = 8000, 64, 32
    c.data.source, c.data.store = f"folders:{tmp_path / 'songs'}", str(tmp_path / "store")
    c.data.window_frames = 16
    c.model.name, c.model.widths, c.model.estimate = "strided", (4, 8), "mask"
    c.train.steps, c.train.batch, c.train.save_every, c.train.validate_windows = 2, 2, 2, 2
    rng = np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        folder = tmp_path / "songs" / split / f"{split} song"
        folder.mkdir(parents=True)
        stems = 0.1 * rng.standard_normal((2, 3000))
        for name, wave in zip(("drums", "guitar", "mixture"), [*stems, stems.sum(0)]):
            soundfile.write(folder / f"{name}.wav", wave, 8000, subtype="FLOAT")
    return c


def test_pipeline_in_python(tmp_path: Path) -> None:
    pipeline = Pipeline(small(tmp_path), workdir=tmp_path / "run")
    song = tmp_path / "songs" / "test" / "test song" / "mixture.wav"
    stems = pipeline.preprocess().train().separate(song)
    assert list(stems) == ["drums", "accompaniment"]
    assert stems["drums"] == tmp_path / "run" / "separated" / "test song" / "drums.wav"
    assert soundfile.info(stems["drums"]).frames == 3000
    scores = pipeline.evaluate()
    assert [track["name"] for track in scores["tracks"]] == ["test song"]
    assert json.loads((tmp_path / "run" / "report" / "scores.json").read_text()) == scores
    assert "test song" in (tmp_path / "run" / "report" / "report.html").read_text()
    assert pipeline.example() == song
    picture = pipeline.picture(song, stems)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_each_step_of_the_pipeline_can_be_called_alone(tmp_path: Path) -> None:
    config = small(tmp_path)
    Pipeline(config, workdir=tmp_path / "run").train()      # builds the store by itself
    again = Pipeline(config, workdir=tmp_path / "run")      # as another process would
    song = tmp_path / "songs" / "test" / "test song" / "mixture.wav"
    stems = again.separate(song, tmp_path / "elsewhere")
    assert stems["accompaniment"] == tmp_path / "elsewhere" / "accompaniment.wav"


def test_without_mixtures_there_is_no_example(tmp_path: Path) -> None:
    config = small(tmp_path)
    (tmp_path / "songs" / "test" / "test song" / "mixture.wav").unlink()
    pipeline = Pipeline(config, workdir=tmp_path / "run").train()
    assert pipeline.example() is None
    assert pipeline.evaluate()["summary"]["model"]["drums"]["sdr"]["count"] == 1


@pytest.mark.parametrize("arguments, words", [
    (["stemsep", "--config", "configs/demo.py", "--song", "nowhere.wav"], "nowhere.wav"),
    (["stemsep.train", "--config", "configs/nowhere.py"], "no such file"),
    (["stemsep.train"], "--config is missing"),
    (["stemsep.train", "--config", "configs/drums.py", "3"], "'3' belongs to no flag"),
    (["stemsep.separate", "--checkpoint", "nowhere", "song.wav"], "no checkpoint here"),
])
def test_mistakes_are_one_sentence(arguments: list[str], words: str) -> None:
    done = command(*arguments)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: ") and words in done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1
