"""Slakh2100 in all its editions: its lists of splits, its faults, and what is said of them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stemsep import datasets
from stemsep.config import REST
from stemsep.datasets import slakh_lists
from stemsep.datasets.tracks import SPLITS
from stemsep.errors import InputError
from tests import trees
from tests.trees import BAND, refused, survey


def slakh(root: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        trees.slakh_track(root / name, BAND, samples=10, seed=10 * seed)


def split_list(root: Path, content: object, name: str = "list.json") -> str:
    """Write a list of splits and return the source that names it."""
    (root / name).write_text(json.dumps(content))
    return f"slakh:{root}#splits={name}"


PUBLISHED = {       # as splits_v2.json and redux.json have it
    "Track00001": {"action": None},
    "Track00002": {"action": "move", "source_split": "train", "destination_split": "test"},
    "Track00003": {"action": "omit", "source_split": "train"},
    "Track00004": {"action": None},
    "Track01501": {"action": None},
    "Track01876": {"action": "move", "source_split": "test", "destination_split": "validation"},
}


@pytest.mark.parametrize("place", [
    lambda name: name,                                              # side by side
    lambda name: f"{slakh_lists.original_split(name)}/{name}",      # as Slakh2100 is unpacked
    lambda name: f"omitted/{name}" if name == "Track00003" else f"train/{name}",
])
def test_a_published_list_says_the_splits(tmp_path: Path, place: Callable[[str], str]) -> None:
    there = [name for name in PUBLISHED if name != "Track00004"] + ["Track00009"]
    slakh(tmp_path, *map(place, there))
    tracks, remarks, faults = survey(split_list(tmp_path, PUBLISHED))
    assert tracks == {"Track00001": "train", "Track00002": "test", "Track01501": "validation",
                      "Track01876": "validation"} and not faults
    assert remarks.left_out == [
        "1 song that list.json omits: Track00003",
        "1 song without a split in list.json: Track00009",
        "1 song of list.json that the dataset lacks: Track00004"]


def test_a_list_may_be_plain_and_lie_elsewhere(tmp_path: Path) -> None:
    slakh(tmp_path / "songs", "Track00001", "mine", "train/Track01501")
    content = {"train": ["Track01501"], "valid": ["mine"], "omitted": ["Track00001"]}
    split_list(tmp_path, content)
    tracks, remarks, _ = survey(f"slakh:{tmp_path / 'songs'}#splits={tmp_path / 'list.json'}")
    assert tracks == {"Track01501": "train", "mine": "validation"}
    assert remarks.left_out == ["1 song that list.json omits: Track00001"]


def test_the_original_splits_of_a_tree_that_was_sorted_anew(tmp_path: Path) -> None:
    slakh(tmp_path, "test/Track00002", "omitted/Track00003", "train/Track01600", "train/other")
    tracks, remarks, _ = survey(f"slakh:{tmp_path}#splits=orig")
    assert tracks == {"Track00002": "train", "Track00003": "train", "Track01600": "validation"}
    assert remarks.left_out == ["1 song without a split in the original splits: other"]


@pytest.mark.parametrize("content, words", [
    ([], "is no list of splits"), ({}, "is no list of splits"), ({"a": 1}, "is no list of splits"),
    ({"Track00001": {"moved": True}}, "is no list of splits"),
    ({"Track00001": {"action": "mov"}}, "no action 'mov'; did you mean 'move'?"),
    ({"Track00001": {"action": "move"}}, "Track00001: there is no split 'None'"),
    ({"song": {"action": None}}, "song stays in its original split"),
    ({"tran": ["Track00001"]}, "no split 'tran'; did you mean 'train'?"),
    ({"train": ["a"], "test": ["a"]}, "a is in both 'train' and 'test'"),
    ({"train": ["a"]}, "list.json has no split for any of its 1 song (Track00001)"),
])
def test_faults_of_lists_of_splits(tmp_path: Path, content: object, words: str) -> None:
    slakh(tmp_path, "Track00001")
    assert words in refused(split_list(tmp_path, content))


def test_faults_around_lists_of_splits(tmp_path: Path) -> None:
    slakh(tmp_path, "train/Track00001")
    assert "none.json: cannot be read" in refused(f"slakh:{tmp_path}#splits=none.json")
    slakh(tmp_path, "omitted/Track00001")
    assert "in both 'omitted' and 'train'" in refused(f"slakh:{tmp_path}#splits=orig")
    (tmp_path / "list.json").write_text("[")
    assert "list.json: is no JSON" in slakh_fault(tmp_path / "list.json")
    assert "goes with slakh: only" in refused(f"folders:{tmp_path}#splits=orig")
    assert "goes with slakh: only" in refused(f"slakh:{tmp_path}#splits=")
    assert "Track00001: is a song itself" in refused(f"slakh:{tmp_path}/train/Track00001")


def slakh_fault(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        slakh_lists.load(path)
    return str(caught.value)


def test_babyslakh_is_split_by_name(tmp_path: Path) -> None:
    names = [f"Track{number:05d}" for number in range(1, 21)]
    for name in names:
        trees.slakh_track(tmp_path / name, BAND, samples=10, suffix=".wav")
    tracks, remarks, faults = survey(f"slakh:{tmp_path}")
    assert sorted(tracks) == names and set(tracks.values()) == set(SPLITS)
    assert not faults and remarks == datasets.Remarks()


def test_bad_renders_and_omitted_songs_are_left_out_and_said(tmp_path: Path) -> None:
    trees.slakh_track(tmp_path / "train" / "Track01500", {"S11": 0, "S12": 1, "S13": 2}, samples=10)
    slakh(tmp_path, "omitted/Track00003", "omitted/Track00004")
    (track,) = datasets.tracks(f"slakh:{tmp_path}", stems=("piano",))
    assert [clip.name for clip in track.stems["piano"]] == ["S11.flac"] and track.mixture is None
    _, remarks, _ = survey(f"slakh:{tmp_path}")
    assert remarks.left_out == [
        "omitted: 2 songs, which this folder's name says to leave out",
        "train/Track01500: S12.flac is known to be badly rendered",
        "train/Track01500: S13.flac is known to be badly rendered",
        "train/Track01500: mix.flac, which has them in it: the sum of the other stems is the "
        "mixture"]
    (track,) = datasets.tracks(f"demo:{tmp_path}", stems=("piano",))
    assert len(track.stems["piano"]) == 3 and track.mixture      # demo songs have such names too


def test_metadata_is_survived_and_missing_audio_said(tmp_path: Path) -> None:
    song = trees.slakh_track(tmp_path / "Track00001", {"S00": 128}, samples=10)
    (song / "metadata.yaml").write_text(
        "stems: {S00: {program_num: '128'}, S01: {audio_rendered: true}, 3: null, "
        "S02: {audio_rendered: false}}")
    (track,) = datasets.tracks(f"slakh:{tmp_path}", stems=("drums", REST))
    assert [clip.name for clip in track.stems["drums"]] == ["S00.flac"]
    _, remarks, _ = survey(f"slakh:{tmp_path}")
    (sentence,) = remarks.warnings
    assert sentence == ("train/Track00001: metadata.yaml calls S01 rendered, and no such file is "
                        "there")


def test_the_same_midi_file_in_two_splits_is_said(tmp_path: Path) -> None:
    slakh(tmp_path, "train/Track00001", "train/Track00002", "test/Track00003")
    for split, name in (("train", "Track00001"), ("test", "Track00003")):
        metadata = tmp_path / split / name / "metadata.yaml"
        metadata.write_text(metadata.read_text().replace(f"UUID: {name}", "UUID: 1a81"))
    _, remarks, _ = survey(f"slakh:{tmp_path}")
    (sentence,) = remarks.warnings
    assert "2 songs play MIDI files" in sentence and "test/Track00003" in sentence
