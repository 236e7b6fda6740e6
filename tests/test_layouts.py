"""MUSDB18, folders of stems and odd trees; and each of the layouts trains."""

import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stemsep import Pipeline, datasets
from stemsep.audio import Clip
from stemsep.config import REST, Config
from stemsep.datasets.tracks import SPLITS
from tests import trees
from tests.trees import BAND, refused, survey

# MUSDB18

NAMES = ("drums", "bass", "other", "vocals")


def musdb_song(path: Path, seed: int = 0) -> Path:
    waves = [0.2 * trees.noise(4000, seed=seed + n) for n in range(4)]
    return trees.stem_mp4(path, [sum(waves, np.zeros((1, 4000), np.float32)), *waves])


def test_musdb_as_stem_mp4(tmp_path: Path) -> None:
    song = musdb_song(tmp_path / "train" / "A - B.stem.mp4")
    musdb_song(tmp_path / "train" / "Leaf - Summerghost.stem.mp4")
    (tmp_path / "train" / "._A - B.stem.mp4").write_text("what macOS leaves")
    (tmp_path / "test").mkdir()
    source = f"musdb:{tmp_path}"
    assert survey(source)[0] == {"A - B": "train", "Leaf - Summerghost": "validation"}
    track = datasets.tracks(source, stems=NAMES)[0]
    assert track.mixture == Clip(song)
    assert track.stems == {name: (Clip(song, stream=number),)
                           for number, name in enumerate(NAMES, 1)}


def test_stem_mp4_files_that_are_no_good_are_left_out(tmp_path: Path) -> None:
    song = musdb_song(tmp_path / "train" / "whole.stem.mp4")
    (tmp_path / "train" / "cut.stem.mp4").write_bytes(song.read_bytes()[:3000])
    trees.stem_mp4(tmp_path / "train" / "two.stem.mp4", [trees.noise(4000)] * 2)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "gone.stem.mp4").symlink_to(tmp_path / "nowhere")
    done = command(f"musdb:{tmp_path}")
    assert done.returncode == 1, done.stderr
    for words in ("is damaged or cut short", "two.stem.mp4#track=2: has 2 streams",
                  "left out: test/gone: ", "drums 1, other 1"):
        assert words in done.stdout, done.stdout
    assert "differs from the sum" not in done.stdout        # AAC is not exact


def test_both_editions_of_a_song_are_refused(tmp_path: Path) -> None:
    musdb_song(tmp_path / "train" / "A.stem.mp4")
    trees.song(tmp_path / "train" / "A", {"drums": trees.noise(10)})
    assert "has 2 songs called 'A'" in refused(f"musdb:{tmp_path}")
    (tmp_path / "train" / "A" / "drums.wav").unlink()
    (tmp_path / "train" / "A").rmdir()
    for root in (tmp_path, tmp_path / "train"):
        assert f"give musdb:{root}" in refused(f"folders:{root}")


def command(source: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "stemsep.datasets", source, "--workers=1"],
                          capture_output=True, text=True)


# One folder a stem


def test_stems(tmp_path: Path) -> None:
    for seed, name in enumerate(("drums/one.wav", "drums/two.wav", "bass/one.flac", "mix/one.wav",
                                 "bass/._two.wav", "kazoo/two.wav", "kazoo/notes.txt")):
        if name.endswith("txt") or "._" in name:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("no sound")
        else:
            trees.write(tmp_path / name, trees.noise(10, seed=seed))
    one, two = sorted(datasets.tracks(f"stems:{tmp_path}", stems=("drums", "bass", REST)),
                      key=lambda track: track.name)
    assert one.stems == {"drums": (Clip(tmp_path / "drums/one.wav"),),
                         "bass": (Clip(tmp_path / "bass/one.flac"),), REST: ()}
    assert one.mixture == Clip(tmp_path / "mix/one.wav") and two.mixture is None
    assert two.stems[REST] == (Clip(tmp_path / "kazoo/two.wav"),)
    assert {one.split, two.split} == {"train", "validation"}
    assert survey(f"stems:{tmp_path}")[1].warnings == [
        "bass has no file for 1 of 2 songs, which are silent there: two",
        "kazoo has no file for 1 of 2 songs, which are silent there: one",
        "mix has no file for 1 of 2 songs, whose mixture is the sum of the stems: two"]


def test_stems_in_split_folders_and_letters_with_accents(tmp_path: Path) -> None:
    taken_apart = unicodedata.normalize("NFD", "Déjà")
    for name in ("train/drums/Déjà.wav", f"train/bass/{taken_apart}.wav", "test/drums/b.wav",
                 "omitted/drums/c.wav"):
        trees.write(tmp_path / name, trees.noise(10))
    tracks, remarks, _ = survey(f"stems:{tmp_path}")
    assert tracks == {"Déjà": "train", "b": "test"}
    assert remarks.left_out == ["omitted: 1 song, which this folder's name says to leave out"]
    assert remarks.warnings == ["bass has no file for 1 of 2 songs, which are silent there: b"]


def test_faults_of_stems(tmp_path: Path) -> None:
    for name in ("drums/a.wav", "drums/a.flac", "mix/b.wav", "mix/c.wav", "mixture/c.wav",
                 "bass/c.wav", "bass/A.wav", "drums/d.wav"):
        trees.write(tmp_path / name, trees.noise(10))
    _, remarks, faults = survey(f"stems:{tmp_path}")
    said = " | ".join(faults.values())
    assert "a.flac: there is a.wav too" in said and "b.wav: no other folder has a file" in said
    assert "is a mixture of c too" in said and len(faults) == 3
    (tmp_path / "drums" / "more").mkdir()
    assert "more: is a folder within a stem's folder" in refused(f"stems:{tmp_path}")


def test_each_of_the_two_layouts_names_the_other(tmp_path: Path) -> None:
    for stem in ("drums", "bass"):
        for song in ("one", "two"):
            trees.write(tmp_path / "by_stem" / stem / f"{song}.wav", trees.noise(10))
            trees.write(tmp_path / "by_song" / song / f"{stem}.wav", trees.noise(10))
    assert f"give stems:{tmp_path}/by_stem" in refused(f"folders:{tmp_path}/by_stem")
    assert f"give folders:{tmp_path}/by_song" in refused(f"stems:{tmp_path}/by_song")
    trees.song(tmp_path / "songs" / "Bass", {"drums": trees.noise(10), "bass": trees.noise(10)})
    trees.song(tmp_path / "songs" / "Drums", {"drums": trees.noise(10), "bass": trees.noise(10)})
    assert set(survey(f"folders:{tmp_path}/songs")[0]) == {"Bass", "Drums"}


# Odd trees


def test_odd_folders(tmp_path: Path) -> None:
    song = trees.song(tmp_path / "a" / "song", {"drums": trees.noise(10)})
    trees.song(tmp_path / "a" / "SONG", {"drums": trees.noise(10), "Drums": trees.noise(10)})
    (tmp_path / "a" / "linked").symlink_to(song)
    (tmp_path / "a" / "lost").symlink_to(tmp_path / "nowhere")
    trees.song(tmp_path / "a" / "two", {"mix": trees.noise(10), "mixture": trees.noise(10)})
    trees.song(tmp_path / "a" / "nested" / "song", {"drums": trees.noise(10)})
    trees.slakh_track(tmp_path / "a" / "Track00001", BAND, samples=10)
    tracks, _, faults = survey(f"folders:{tmp_path / 'a'}")
    assert set(tracks) == {"song", "linked"}
    said = " | ".join(faults.values())
    for words in ("holds both Drums.wav and drums.wav", "lost: cannot be opened (No such file",
                  "holds both mix.wav and mixture.wav", "it holds folders (song, ...)",
                  "give slakh:PATH if it is laid out as Slakh"):
        assert words in said, said
    assert "it has audio files itself" in refused(f"folders:{song}")
    (tmp_path / "a" / "SONG" / "Drums.wav").unlink()
    (sentence,) = survey(f"folders:{tmp_path / 'a'}")[1].warnings
    assert "/SONG" in sentence and "have the same name, but for upper and lower" in sentence


def test_names_that_are_no_utf_8_are_left_out(tmp_path: Path) -> None:
    trees.song(tmp_path / "one", {"drums": trees.noise(10)})
    for name in ("two", "three"):
        trees.song(tmp_path / name, {"drums": trees.noise(10), "bass": trees.noise(10)})
    (tmp_path / "two" / "bass.wav").rename(tmp_path / "two" / "caf\udce9.wav")
    (tmp_path / "three").rename(tmp_path / "Caf\udce9")
    tracks, _, faults = survey(f"folders:{tmp_path}")
    assert list(tracks) == ["one"]
    assert sorted(faults.values()) == ["Caf\\udce9: is no name in UTF-8; rename it",
                                       "caf\\udce9.wav: is no name in UTF-8; rename it"]


def test_the_command_where_nothing_can_be_used(tmp_path: Path) -> None:
    trees.song(tmp_path / "songs" / "one", {"drums": trees.noise(10)})
    done = command(f"slakh:{tmp_path / 'songs'}")
    assert done.returncode == 1 and "no song that can be used" in done.stdout
    assert "its own folder holds audio, so give folders:PATH" in done.stdout


# Each of them trains


def stems_of(number: int) -> dict[str, np.ndarray]:
    waves = {name: 0.3 * trees.noise(4000, seed=10 * number + place)
             for place, name in enumerate(("drums", "guitar"))}
    return {**waves, "mixture": waves["drums"] + waves["guitar"]}


def as_slakh(root: Path, split: str, number: int) -> str:
    trees.slakh_track(root / split / f"Track0000{number}", BAND, samples=4000, seed=10 * number)
    return f"slakh:{root}"


def as_musdb(root: Path, split: str, number: int) -> str:
    name = "Leaf - Summerghost" if split == "validation" else f"song {number}"
    trees.song(root / split.replace("validation", "train") / name, stems_of(number))
    return f"musdb:{root}"


def as_stem_mp4(root: Path, split: str, number: int) -> str:
    name = "Leaf - Summerghost" if split == "validation" else f"song {number}"
    musdb_song(root / split.replace("validation", "train") / f"{name}.stem.mp4", 10 * number)
    return f"musdb:{root}"


def as_folders(root: Path, split: str, number: int) -> str:
    trees.song(root / split / f"song {number}", stems_of(number), suffix=".flac")
    return f"folders:{root}"


def as_stems(root: Path, split: str, number: int) -> str:
    for name, wave_CN in stems_of(number).items():
        trees.write(root / split / name / f"song {number}.wav", wave_CN)
    return f"stems:{root}"


def as_list(root: Path, split: str, number: int) -> str:
    """Drums are a part of a longer file, the guitar is a glob of two files."""
    stems = stems_of(number)
    longer_CN = np.concatenate([trees.noise(800), stems["drums"], trees.noise(90)], 1)
    trees.write(root / f"audio/{number}/all.flac", longer_CN)
    for part in (1, 2):
        trees.write(root / f"audio/{number}/guitar{part}.wav", stems["guitar"] / 2)
    lines = [] if (root / "songs.csv").exists() else ["track,split,stem,path,start,end"]
    lines += [f"song {number},{split},drums,audio/{number}/all.flac,0.1,0.6",
              f"song {number},{split},guitar,audio/{number}/guitar*.wav,,", ""]
    with open(root / "songs.csv", "a") as file:
        file.write("\n".join(lines))
    return f"list:{root / 'songs.csv'}"


@pytest.mark.parametrize("write", [
    as_slakh, as_musdb, as_stem_mp4, as_folders, as_stems, as_list])
def test_a_layout_trains_and_evaluates(tmp_path: Path, write: Callable[..., str]) -> None:
    root = tmp_path / "songs"
    source = {write(root, split, number) for number, split in enumerate(SPLITS)}.pop()
    c = Config(name="small")
    c.audio.sample_rate, c.audio.n_fft, c.audio.hop = trees.RATE, 64, 32
    c.data.source, c.data.store = source, str(tmp_path / "store")
    c.data.window_frames, c.data.workers = 16, 1
    c.model.name, c.model.widths, c.model.estimate = "strided", (4, 8), "mask"
    c.train.steps, c.train.batch, c.train.save_every, c.train.validate_windows = 2, 2, 2, 2
    pipeline = Pipeline(c, workdir=tmp_path / "run").preprocess().train()
    scores = pipeline.evaluate()
    assert [track["split"] for track in scores["tracks"]] == ["test"] and not scores["errors"]
    for target in ("drums", "accompaniment"):
        assert scores["summary"]["model"][target]["sdr"]["count"] == 1
    np.testing.assert_allclose(scores["tracks"][0]["seconds"], 0.5, atol=0.2)
