"""The demo songs: Slakh's layout, stems that add up, the same bytes whoever makes them, nothing
half done."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from stemsep.datasets import demo
from stemsep.datasets import songs as songs_module
from stemsep.errors import InputError
from tests import trees

SMALL: dict[str, Any] = {"tracks": 3, "seconds": 3.0, "seed": 7}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file()}


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("songs") / "demo"
    assert demo.make(root, **SMALL, workers=1, progress=False) == 3
    return root


def test_the_layout_is_slakhs(songs: Path) -> None:
    seen = [path.name for path in songs.iterdir() if not path.name.startswith(".")]
    assert sorted(seen) == ["demo.json", "test", "train", "validation"]
    tracks = sorted(songs.glob("*/Track*"))
    assert sorted(track.name for track in tracks) == ["Track00001", "Track00002", "Track00003"]
    for track in tracks:
        metadata = yaml.safe_load((track / "metadata.yaml").read_text())
        assert list(metadata) == ["UUID", "audio_dir", "lmd_midi_dir", "midi_dir",
                                  "normalization_factor", "normalized", "overall_gain", "stems",
                                  "target_peak"]
        names = list(metadata["stems"])
        assert names == [f"S{number:02d}" for number in range(len(names))]
        assert content(track).keys() == {"mix.flac", "all_src.mid", "metadata.yaml",
                                         *(f"stems/{name}.flac" for name in names),
                                         *(f"MIDI/{name}.mid" for name in names)}
        for stem in metadata["stems"].values():
            assert list(stem) == ["audio_rendered", "inst_class", "integrated_loudness", "is_drum",
                                  "midi_program_name", "midi_saved", "plugin_name", "program_num"]
            assert stem["is_drum"] == (stem["program_num"] == 128)
            assert stem["is_drum"] == (stem["inst_class"] == "Drums")


def test_the_mix_is_the_exact_sum_of_its_stems_and_nothing_clips(songs: Path) -> None:
    for track in songs.glob("*/Track*"):
        mix, rate = soundfile.read(track / "mix.flac", dtype="int16", always_2d=True)
        assert rate == 44100 and mix.shape == (3 * 44100, 1)
        total = np.zeros(mix.shape, np.int64)
        for path in track.glob("stems/*.flac"):
            stem, _ = soundfile.read(path, dtype="int16", always_2d=True)
            assert 0 < np.abs(stem.astype(int)).max() < 32767
            total += stem
        np.testing.assert_array_equal(total, mix)
        assert 10 ** (-9.1 / 20) < np.abs(total).max() / 32767 < 10 ** (-0.29 / 20)


def test_the_same_bytes_with_another_number_of_workers(songs: Path, tmp_path: Path) -> None:
    assert demo.make(tmp_path / "demo", **SMALL, workers=2, progress=False) == 3
    assert content(tmp_path / "demo") == content(songs)


def test_another_seed_gives_other_songs(songs: Path, tmp_path: Path) -> None:
    demo.make(tmp_path / "demo", tracks=1, seconds=3.0, seed=8, workers=1, progress=False)
    first = "train/Track00001/mix.flac"
    assert (tmp_path / "demo" / first).read_bytes() != (songs / first).read_bytes()


def test_an_interrupted_run_goes_on_with_what_is_missing(songs: Path, tmp_path: Path) -> None:
    root = tmp_path / "demo"
    shutil.copytree(songs, root)
    assert demo.make(root, **SMALL, workers=1, progress=False) == 0
    [track] = (root / "test").iterdir()
    half_done = root / f".{track.name}-x"
    half_done.mkdir()
    (track / "mix.flac").rename(half_done / "mix.flac")
    shutil.rmtree(track)
    assert demo.make(root, **SMALL, workers=1, progress=False) == 1
    assert content(root) == content(songs)


def test_a_song_that_fails_leaves_nothing_behind(tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(songs_module.soundfile, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        demo.make(tmp_path / "demo", tracks=1, seconds=1.0, workers=1, progress=False)
    assert list(content(tmp_path)) == ["demo/.lock", "demo/demo.json"]


@trees.small_disk()
def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Track00001: cannot be written; free some space"):
        demo.make(tmp_path / "demo", tracks=1, seconds=4.0, workers=1, progress=False)
    assert list(content(tmp_path)) == ["demo/.lock", "demo/demo.json"]


def test_two_processes_make_every_song_once(songs: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "stemsep.datasets.demo", f"--output={tmp_path / 'demo'}",
            "--workers=1", *(f"--{name}={value}" for name, value in SMALL.items())]
    both = [subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    made = sorted(out.split(": ")[1].strip() for out, _ in said)
    assert made == ["0 songs made, 3 were there", "3 songs made, 0 were there"]
    assert content(tmp_path / "demo") == content(songs)


def test_a_song_whose_worker_dies_is_named(tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo.engine, "run", lambda task, items, **_: (
        (item, demo.engine.WorkerDied("its process died 2 times")) for item in items))
    with pytest.raises(InputError, match="Track00001: could not be made, its process died 2 times"):
        demo.make(tmp_path / "demo", tracks=1, seconds=1.0, progress=False)


@pytest.mark.parametrize(("name", "value"), [("seed", 8), ("tracks", 4), ("seconds", 4.0),
                                             ("channels", 2)])
def test_other_settings_are_refused_by_name(songs: Path, name: str, value: float) -> None:
    settings = {**SMALL, name: value}
    with pytest.raises(InputError,
                       match=f"made with {name} .* not {value}; choose another folder or delete"):
        demo.make(songs, **settings, progress=False)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="no folder of demo songs"):
        demo.make(tmp_path, **SMALL, progress=False)
    assert content(tmp_path) == {"thesis.txt": b"mine"}


def test_a_font_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere.sf2: no such SoundFont"):
        demo.make(tmp_path / "demo", **SMALL, soundfonts=["nowhere.sf2"], progress=False)
    (tmp_path / "text.sf2").write_text("not a font at all, but long enough to be read as one")
    with pytest.raises(InputError, match="text.sf2: not a SoundFont"):
        demo.make(tmp_path / "demo", **SMALL, soundfonts=[tmp_path / "text.sf2"], workers=1,
                  progress=False)


def test_stereo_songs_differ_between_their_channels(tmp_path: Path) -> None:
    demo.make(tmp_path / "demo", tracks=1, seconds=3.0, channels=2, workers=1, progress=False)
    [track] = (tmp_path / "demo/train").iterdir()
    mix, _ = soundfile.read(track / "mix.flac", dtype="int16")
    total = sum(soundfile.read(path, dtype="int16")[0].astype(int)
                for path in track.glob("stems/*.flac"))
    np.testing.assert_array_equal(total, mix)
    assert mix.shape == (3 * 44100, 2) and np.any(mix[:, 0] != mix[:, 1])


@pytest.mark.parametrize("tracks", [1, 2, 3, 10, 24, 100])
def test_tracks_are_split_as_promised(tracks: int) -> None:
    splits = [demo.split_of(index, tracks) for index in range(tracks)]
    counts = {split: splits.count(split) for split in ("train", "validation", "test")}
    assert sum(counts.values()) == tracks and counts["train"] >= max(1, 0.6 * tracks - 1)
    if tracks >= 3:
        assert counts["validation"] == max(1, round(0.08 * tracks))
        assert counts["test"] == max(1, round(0.12 * tracks))


def test_the_record_names_the_settings(songs: Path) -> None:
    record = json.loads((songs / "demo.json").read_text())
    assert record == {**SMALL, "channels": 1, "soundfonts": ["TimGM6mb.sf2"],
                      "generator": demo.GENERATOR}


def test_a_worker_loads_neither_jax_nor_librosa_and_the_command_says_what_is_wrong() -> None:
    code = ("import sys, stemsep.datasets.demo as demo\n"
            "import stemsep.engine, pyloudnorm, pretty_midi.constants\n"
            "assert not {'jax', 'librosa', 'tensorstore', 'numba'} & set(sys.modules)\n"
            "demo.main()")
    ended = subprocess.run([sys.executable, "-c", code, "--output=unused", "a.sf2"],
                           capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.strip() == "error: a.sf2: no such SoundFont; give .sf2 or .sf3 files"
