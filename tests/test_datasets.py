"""Songs on disk become tracks: each file in one stem, each song in one split, faults in words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemsep import datasets
from stemsep.audio import Clip
from stemsep.config import REST
from stemsep.datasets import musdb, recipes
from stemsep.datasets.recipes import StemFile
from stemsep.datasets.slakh import split_by_number
from stemsep.datasets.splits import split_by_name
from stemsep.datasets.tracks import SPLITS
from stemsep.errors import InputError
from tests import trees

ROOT = Path(__file__).parent.parent
BAND = {"S00": 128, "S01": 33, "S02": 0, "S03": 25, "S04": 53}


def stem_file(name: str, **known: Any) -> StemFile:
    return StemFile(Clip(Path(name)), Path(name).stem, **known)


def names(track: datasets.Track) -> dict[str, list[str]]:
    return {stem: [path.name for path in paths] for stem, paths in track.stems.items()}


def fault(source: str, *stems: str, recipe: str = "") -> str:
    """Return the sentence that a source is refused with."""
    with pytest.raises(InputError) as caught:
        datasets.tracks(source, stems=stems or ("drums", REST), recipe=recipe)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Grouping


def test_every_program_is_one_instrument() -> None:
    programs = sorted(p for programs in recipes.INSTRUMENTS.values() for p in programs)
    assert programs == list(range(129))


def test_every_file_is_in_one_stem() -> None:
    stems = (*recipes.INSTRUMENTS, "lead", REST)
    files = [stem_file(f"S{p}.flac", program_num=p) for p in range(129)]
    files += [stem_file(name) for name in ("lead.wav", "Vocals.wav", "noise.wav")]
    grouped = recipes.group(files, stems, recipes.NO_RECIPE)
    assert {p for paths in grouped.values() for p in paths} == {f.clip for f in files}
    assert sum(map(len, grouped.values())) == len(files)
    assert grouped[REST] == (Clip(Path("noise.wav")),)
    assert grouped["lead"] == (Clip(Path("lead.wav")),)


@pytest.mark.parametrize("file, stem", [
    (stem_file("S00.flac", program_num=128), "drums"),
    (stem_file("S00.flac", is_drum=True), "drums"),
    (stem_file("S00.flac", program_num=39), "bass"),
    (stem_file("S00.flac", inst_class="Bass"), "bass"),
    (stem_file("S00.flac", inst_class="Strings (continued)"), REST),
    (stem_file("S00.flac"), REST),
    (stem_file("BASS.wav", program_num=0), "bass"),
    (stem_file("voice.wav"), "vocals"),
    (stem_file("singing.wav"), "vocals"),
    (stem_file("S00.flac", program_num=85), "vocals"),
])
def test_what_a_file_belongs_to(file: StemFile, stem: str) -> None:
    grouped = recipes.group([file], ("drums", "bass", "vocals", REST), recipes.NO_RECIPE)
    assert grouped == {s: (file.clip,) if s == stem else () for s in grouped}


def test_without_rest_the_others_are_left_out() -> None:
    files = [stem_file("drums.wav"), stem_file("bass.wav")]
    grouped = recipes.group(files, ("drums",), recipes.NO_RECIPE)
    assert grouped == {"drums": (Clip(Path("drums.wav")),)}


# Recipes


def write_recipe(path: Path, key: str, **groups: list) -> str:
    lines = [f"Mixing key: {key}", "Recipes:"]
    for stem, values in groups.items():
        lines += [f"  {stem}:", *(f"    - {value}" for value in values)]
    path.write_text("\n".join(lines))
    return str(path)


def test_the_shipped_recipe_counts_percussion_as_drums() -> None:
    recipe = recipes.load(str(ROOT / "configs" / "recipes" / "drums_and_percussion.yaml"))
    files = [stem_file(f"S{p:03d}.flac", program_num=p) for p in range(129)]
    grouped = recipes.group(files, ("drums", REST), recipe)
    assert [int(clip.path.stem[1:]) for clip in grouped["drums"]] == [*range(112, 119), 128]


@pytest.mark.parametrize("key, values, file", [
    ("plugin_name", ["a_piano.nkm"], stem_file("S00.wav", plugin_name="A_Piano.nkm")),
    ("inst_class", ["Chromatic Percussion"],
     stem_file("S00.wav", inst_class="chromatic percussion")),
    ("name", ["S07"], stem_file("S07.wav")),
    ("program_num", [0, 128], stem_file("S00.wav", is_drum=True)),
])
def test_mixing_keys(tmp_path: Path, key: str, values: list, file: StemFile) -> None:
    recipe = recipes.load(write_recipe(tmp_path / "recipe.yaml", key, Favourites=values))
    grouped = recipes.group([file], ("favourites", "drums", REST), recipe)
    assert grouped["favourites"] == (file.clip,)


def test_a_recipe_overrides_an_instrument(tmp_path: Path) -> None:
    recipe = recipes.load(write_recipe(tmp_path / "r.yaml", "program_num", Piano=[0, 1], Keys=[4]))
    files = [stem_file(f"S0{p}.wav", program_num=p) for p in (0, 4, 6)]
    grouped = recipes.group(files, ("piano", "keys", REST), recipe)
    assert {s: [path.name for path in p] for s, p in grouped.items()} == {
        "piano": ["S00.wav"], "keys": ["S04.wav"], REST: ["S06.wav"]}


@pytest.mark.parametrize("content, words", [
    ("Mixing key: [", "cannot be read"), ("drums", "is no recipe"), ("Recipes: {}", "is no recipe"),
    ("Mixing key: colour\nRecipes: {a: [1]}", "the mixing key cannot be 'colour'; choices: inst_"),
    ("Mixing key: name\nRecipes: {a: 1}", "'a' needs a list of values, not 1"),
    ("Mixing key: name\nRecipes: {a: [1], b: [1]}", "'1' is in both 'a' and 'b'"),
])
def test_faults_of_recipes(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "recipe.yaml").write_text(content)
    with pytest.raises(InputError) as caught:
        recipes.load(str(tmp_path / "recipe.yaml"))
    assert "recipe.yaml: " in str(caught.value) and words in str(caught.value)
    with pytest.raises(InputError, match="none.yaml: cannot be read .No such file"):
        recipes.load(str(tmp_path / "none.yaml"))


# Layouts


def test_slakh(tmp_path: Path) -> None:
    for split in (*SPLITS, "omitted"):
        trees.slakh_track(tmp_path / split / f"Track_{split}", BAND, samples=10)
    tracks = datasets.tracks(f"slakh:{tmp_path}", stems=("drums", "bass", "vocals", REST))
    assert [(t.split, t.name) for t in tracks] == sorted((s, f"Track_{s}") for s in SPLITS)
    assert names(tracks[0]) == {"drums": ["S00.flac"], "bass": ["S01.flac"],
                                "vocals": ["S04.flac"], REST: ["S02.flac", "S03.flac"]}
    assert tracks[0].mixture == Clip(tmp_path / "test" / "Track_test" / "mix.flac")


def test_slakh_as_published(tmp_path: Path) -> None:
    """BabySlakh's faults: side by side, WAV, audio_rendered false, entries and values missing."""
    song = trees.slakh_track(tmp_path / "Track00001", {"S00": 128, "S01": None}, samples=10,
                             suffix=".wav", audio_rendered=False)
    trees.write(song / "stems" / "S02.wav", trees.noise(10))        # not in the metadata
    metadata = song / "metadata.yaml"
    metadata.write_text(metadata.read_text() + "  S03: null\n  S04: {program_num: none}\n")
    for stem in ("S03", "S04"):
        trees.write(song / "stems" / f"{stem}.wav", trees.noise(10))
    (song / "stems" / "._S00.wav").write_bytes(b"what macOS leaves")
    (song / "MIDI").mkdir()
    track, = datasets.tracks(f"slakh:{tmp_path}", stems=("drums", REST))
    assert names(track) == {"drums": ["S00.wav"],
                            REST: ["S01.wav", "S02.wav", "S03.wav", "S04.wav"]}


def test_slakh_side_by_side_has_its_original_splits() -> None:
    splits = split_by_number([f"Track{number:05d}" for number in range(1, 2101)])
    assert [list(splits.values()).count(split) for split in SPLITS] == [1500, 375, 225]
    assert splits["Track01500"] == "train" and splits["Track01501"] == "validation"
    some = [f"Track{number:05d}" for number in range(1, 21)]
    assert split_by_number(some) == split_by_name(some)


def test_folders(tmp_path: Path) -> None:
    stems = {name: trees.noise(10) for name in ("drums", "Vocals", "other", "mixture")}
    trees.song(tmp_path / "a song", stems, suffix=".flac")
    (tmp_path / "a song" / "cover.jpg").write_bytes(b"no sound")
    (tmp_path / ".cache").mkdir()
    track, = datasets.tracks(f"folders:{tmp_path}", stems=("drums", "vocals", REST))
    assert names(track) == {"drums": ["drums.flac"], "vocals": ["Vocals.flac"],
                            REST: ["other.flac"]}
    assert track.mixture is not None and track.mixture.name == "mixture.flac"
    assert track.name == "a song" and track.split == "train"


@pytest.mark.parametrize("folder, split", [
    ("train", "train"), ("valid", "validation"), ("val", "validation"), ("test", "test"),
    ("Training", "train"),
])
def test_split_folders(tmp_path: Path, folder: str, split: str) -> None:
    trees.song(tmp_path / folder / "one", {"drums": trees.noise(10)})
    trees.song(tmp_path / "validation" / "two", {"drums": trees.noise(10)})
    tracks = datasets.tracks(f"folders:{tmp_path}", stems=("drums",))
    assert {track.name: track.split for track in tracks} == {"one": split, "two": "validation"}


def test_musdb_validates_with_the_songs_of_the_field(tmp_path: Path) -> None:
    held_out = "Leaf - Summerghost"
    for split, name in (("train", held_out), ("train", "Leaf - Come Around"),
                        ("test", "BKS - Too")):
        trees.song(tmp_path / split / name, {
            stem: trees.noise(10) for stem in ("vocals", "drums", "bass", "other", "mixture")})
    tracks = datasets.tracks(f"musdb:{tmp_path}", stems=("vocals", "drums", "bass", REST))
    assert {track.name: track.split for track in tracks} == {
        held_out: "validation", "Leaf - Come Around": "train", "BKS - Too": "test"}
    assert all(names(track)[REST] == ["other.wav"] for track in tracks)
    assert all(track.mixture and track.mixture.name == "mixture.wav" for track in tracks)
    assert set(musdb.hold_out([f"own {n}" for n in range(30)]).values()) == {"train", "validation"}


def test_songs_without_validation_folder_give_some_of_the_training_songs(tmp_path: Path) -> None:
    for split, count in (("train", 20), ("test", 5)):
        for number in range(count):
            trees.song(tmp_path / split / f"song {number}", {"drums": trees.noise(10)})
    tracks = datasets.tracks(f"folders:{tmp_path}", stems=("drums",))
    splits = [track.split for track in tracks]
    assert splits.count("test") == 5 and 1 <= splits.count("validation") <= 6
    assert len(tracks) == 25


# Splits by name


@pytest.mark.parametrize("count", range(9))
def test_each_split_has_a_song_while_they_last(count: int) -> None:
    for seed in range(20):
        songs = [f"{seed} {number}" for number in range(count)]
        splits = split_by_name(songs)
        assert set(splits) == set(songs)
        assert set(splits.values()) >= set(SPLITS[:count])


def test_splits_are_shares_that_hold() -> None:
    songs = [f"song {number}" for number in range(2000)]
    splits = split_by_name(songs)
    shares = np.array([list(splits.values()).count(split) for split in SPLITS]) / 2000
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.03)
    assert split_by_name(songs[::-1]) == splits
    further = split_by_name([*songs, "another"])
    assert all(further[song] == splits[song] for song in songs)


# Faults


def test_faults_of_sources(tmp_path: Path) -> None:
    assert "layouts: slakh, musdb, folders, stems, list, demo" in fault("musdb")
    assert "layouts: slakh, musdb, folders, stems, list, demo" in fault("tapes:/data")
    assert "no source; give layout:path" in fault("slakh:")
    assert "there is no such folder" in fault(f"slakh:{tmp_path}/none")
    (tmp_path / "file").write_text("")
    assert "is a file" in fault(f"slakh:{tmp_path}/file")
    (tmp_path / "empty").mkdir()
    assert "holds no songs" in fault(f"folders:{tmp_path}/empty")
    trees.song(tmp_path / "mixed" / "train" / "song", {"drums": trees.noise(10)})
    trees.song(tmp_path / "mixed" / "another", {"drums": trees.noise(10)})
    assert "another: lies beside the folder 'train'" in fault(f"folders:{tmp_path}/mixed")


def test_unknown_stems_list_the_known_ones(tmp_path: Path) -> None:
    trees.song(tmp_path / "songs" / "song", {"kazoo": trees.noise(10)})
    recipe = write_recipe(tmp_path / "recipe.yaml", "name", Winds=["kazoo"])
    sentence = fault(f"folders:{tmp_path}/songs", "drumms", recipe=recipe)
    assert "no stem 'drumms'; did you mean 'drums'?" in sentence
    assert all(name in sentence for name in ("vocals", "kazoo", "winds", "rest"))
    trees.slakh_track(tmp_path / "slakh" / "Track00001", BAND, samples=10)
    assert "S01" not in fault(f"slakh:{tmp_path}/slakh", "drumms")


def test_a_mistyped_stem_of_a_recipe_is_named(tmp_path: Path) -> None:
    trees.slakh_track(tmp_path / "Track00001", BAND, samples=10)
    source = f"slakh:{tmp_path}"
    recipe = write_recipe(tmp_path / "recipe.yaml", "program_num", Drumz=[128], Keys=[0])
    assert "no target names: 'drumz'; did you mean 'drums'?" in fault(source, "drums",
                                                                      recipe=recipe)
    recipe = write_recipe(tmp_path / "recipe.yaml", "program_num", Kits=[128])
    assert "no target names: 'kits'; choices: drums" in fault(source, "drums", recipe=recipe)
    # A recipe may make more than is asked for.
    recipe = write_recipe(tmp_path / "recipe.yaml", "program_num", Drums=[128], Keys=[0])
    datasets.tracks(source, stems=("drums", REST), recipe=recipe)


def test_a_recipe_may_be_its_text(tmp_path: Path) -> None:
    path = write_recipe(tmp_path / "recipe.yaml", "program_num", Drums=[112])
    text = recipes.text(path)
    assert recipes.load(text) == recipes.load(path) and recipes.text(text) == text
    with pytest.raises(InputError, match="the recipe: is no recipe"):
        recipes.load("a\nb\n")


def test_a_faulty_song_does_not_stop_the_others(tmp_path: Path) -> None:
    songs = [trees.slakh_track(tmp_path / "train" / f"Track0000{n}", BAND, samples=10)
             for n in range(6)]
    trees.slakh_track(tmp_path / "validation" / "Track00006", BAND, samples=10)
    for path in (songs[0] / "stems").iterdir():
        path.unlink()
    (songs[1] / "metadata.yaml").unlink()
    (songs[2] / "metadata.yaml").write_text("stems: [")
    (songs[3] / "metadata.yaml").write_text("UUID: 0")
    trees.write(songs[4] / "stems" / "S00.wav", trees.noise(10))
    faults: dict[str, InputError] = {}
    tracks = datasets.tracks(f"slakh:{tmp_path}", stems=("drums", REST), faults=faults)
    assert [track.name for track in tracks] == ["Track00005", "Track00006"]
    words = ["holds no stem files", "metadata.yaml: cannot be read", "no metadata of Slakh",
             "no metadata of Slakh", "holds both S00.flac and S00.wav"]
    for number, expected in enumerate(words):
        assert expected in str(faults[f"train/Track0000{number}"])
    assert "holds no stem files" in fault(f"slakh:{tmp_path}")
