"""What is said of a source: what is there, what is left out, and what is wrong with the audio."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stemsep import audio, datasets
from stemsep.datasets.inspect import Look, look, summary, twins
from stemsep.errors import InputError
from tests import trees


def looks(folder: Path, *, listen: bool = True) -> list[Look]:
    return [look(track, listen=listen)
            for track in datasets.tracks(f"folders:{folder}", stems=None)]


def warnings(folder: Path) -> str:
    (found,) = looks(folder)
    return " | ".join(found.warnings)


def test_a_sound_song_has_no_warnings(tmp_path: Path) -> None:
    drums, bass = trees.noise(5000, seed=1), trees.noise(5000, seed=2)
    trees.song(tmp_path / "a", {"drums": drums, "bass": bass, "mixture": drums + bass})
    (found,) = looks(tmp_path)
    assert found.warnings == [] and set(found.stems) == {"drums", "bass"}
    assert found.seconds == 5000 / trees.RATE and found.formats == {(trees.RATE, 1): 3}
    assert set(found.prints) == {"drums.wav", "bass.wav", "mixture.wav"}
    (fast,) = looks(tmp_path, listen=False)
    assert fast.formats == found.formats and not fast.prints


def test_a_mixture_that_is_another_is_named(tmp_path: Path) -> None:
    drums, bass = trees.noise(5000, seed=1), trees.noise(5000, seed=2)
    trees.song(tmp_path / "a", {"drums": drums, "bass": bass, "mixture": drums})
    assert warnings(tmp_path) == ("mixture.wav differs from the sum of the stems by 0 dB of its "
                                  "level")


def test_silence_clipping_and_offsets_are_named(tmp_path: Path) -> None:
    loud = trees.noise(5000)
    loud[0, 100:104] = 1.0
    loud[0, 300:303] = 1.0      # three may be chance
    loud[0, 500:520] = -1.0
    trees.song(tmp_path / "a", {"drums": loud, "bass": np.zeros((1, 5000), np.float32),
                                "guitar": trees.noise(5000, seed=1) * 0.5 + np.float32(0.1)})
    said = warnings(tmp_path)
    assert "drums.wav is clipped in 2 places" in said and "bass.wav is silent" in said
    assert "guitar.wav has a constant offset of 0.1" in said


@pytest.mark.parametrize("other, words", [
    ({"rate": 16000}, "differ in sample rate: 8000, 16000"), ({"channels": 2}, "in channels: 1, 2"),
    ({"samples": 4000}, "in samples: 4000, 5000")])
def test_files_of_several_formats_are_named(tmp_path: Path, other: dict, words: str) -> None:
    trees.write(tmp_path / "a" / "drums.wav", trees.noise(5000))
    wave_CN = trees.noise(other.get("samples", 5000), channels=other.get("channels", 1), seed=1)
    trees.write(tmp_path / "a" / "bass.wav", wave_CN, rate=other.get("rate", trees.RATE))
    assert words in warnings(tmp_path) and warnings(tmp_path).count("differ in") == 1


def test_twins_are_found_in_any_format_but_silence_has_none(tmp_path: Path) -> None:
    silence = np.zeros((1, 5000), np.float32)
    same = trees.noise(5000, seed=3)
    for number, split in enumerate(("train", "train", "test")):
        trees.song(tmp_path / split / f"song{number}", {
            "drums": trees.noise(5000, seed=number), "bass": silence})
    trees.write(tmp_path / "train" / "song0" / "piano.wav", same)
    trees.write(tmp_path / "test" / "song2" / "organ.flac", same)
    trees.write(tmp_path / "test" / "song2" / "organ2.flac", same)      # twice in one song: no harm
    found = [look(track) for track in datasets.tracks(f"folders:{tmp_path}", stems=None)]
    split = next(one.split for one in found if one.name == "song0")
    (sentence,) = twins(found)
    assert sentence.startswith("the same audio in several splits: ")
    assert f"{split}/song0/piano.wav" in sentence and "test/song2/organ.flac" in sentence


def test_the_summary_counts(tmp_path: Path) -> None:
    for number in range(3):
        trees.song(tmp_path / "train" / f"song{number}", {"drums": trees.noise(8000, seed=number)})
    trees.song(tmp_path / "test" / "last", {"kazoo": trees.noise(8000, channels=2)})
    text = summary("folders:x", looks(tmp_path), {"train/bad": InputError("bad.wav: is empty")},
                   datasets.Remarks(["omitted: 2 songs"], ["odd"]))
    assert "left out: omitted: 2 songs" in text and "warning: odd" in text
    assert "not all files have the same number of channels: 1 in 3, 2 in 1" in text
    assert "sample rate:" not in text
    assert "drums 3, kazoo 1" in text and "left out: train/bad: bad.wav: is empty" in text
    assert "3 of 8000 Hz and 1 channel, 1 of 8000 Hz and 2 channels" in text


def test_the_command(tmp_path: Path) -> None:
    trees.slakh_track(tmp_path / "train" / "Track00001", {"S00": 128, "S01": 33}, samples=800)
    trees.slakh_track(tmp_path / "test" / "Track00002", {"S00": 128, "S01": 0}, samples=800, seed=5)
    (tmp_path / "test" / "Track00002" / "stems" / "S01.flac").write_text("no audio")
    line = [sys.executable, "-m", "stemsep.datasets", f"slakh:{tmp_path}"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "bass 1, drums 1" in done.stdout and "S01.flac: is no audio" in done.stdout
    assert "mix.flac differs from the sum of the stems" in done.stdout
    done = subprocess.run([*line[:-1], "slakh"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "no source" in done.stderr


def test_long_files_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However they are cut, the same is found."""
    drums = trees.noise(5000)
    drums[0, 998:1002] = 1.0
    trees.song(tmp_path / "a", {"drums": drums, "bass": trees.noise(5000, seed=1)})
    (whole,) = looks(tmp_path)
    for size in (700, 1000, 333):
        monkeypatch.setattr("stemsep.datasets.inspect._BLOCK", size)
        (cut,) = looks(tmp_path)
        assert cut == whole and "drums.wav is clipped in 1 place" in cut.warnings
    assert audio.probe(tmp_path / "a" / "drums.wav").samples == 5000
