"""Songs from MIDI files: tracks are functions of their files whoever makes them, and whenever."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from stemsep import datasets, engine, train
from stemsep.config import Config
from stemsep.datasets import fluid, midi, midi_collection, midi_songs
from stemsep.datasets.score import Bend, Note, Part, Song, write_midi
from stemsep.errors import InputError
from stemsep.preprocess import preprocess
from tests import trees
from tests.sine_font import LOOPED, RATE, hertz_of, sine_font


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three songs, a copy of one, a broken file and one that is hidden."""
    root = tmp_path_factory.mktemp("collection")
    for number, name in enumerate(("a.mid", "deep/er/b.MIDI", "deep/c.kar")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_midi(small_song(number), root / name)
    shutil.copy(root / "a.mid", root / "z.mid")
    (root / "broken.mid").write_bytes(b"MThd and nothing else")
    (root / "._a.mid").write_bytes(b"what a Mac leaves")
    (root / "notes.txt").write_text("not music")
    return root


def small_song(number: int) -> Song:
    melody = tuple(Note(0.2 * i, 0.2 * i + 0.15, 60 + (number * i) % 12, 80 + i) for i in range(6))
    kit = tuple(Note(0.25 * i, 0.25 * i + 0.1, (36, 42, 38, 42)[i % 4], 100) for i in range(5))
    return Song(1.5, 120.0, "", "", (Part("drums", 0, True, kit), Part("keys", 4, False, melody)))


@pytest.fixture(scope="module")
def font(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("font") / "sine.sf2"
    sine_font(path, {(0, 0): [LOOPED], (128, 0): [{}]})
    return path


def make(collection: Path, output: Path, font: Path, **settings: Any) -> midi.Summary:
    return midi.make(collection, output, soundfonts=[font], progress=False,
                     **{"workers": 1, "variations": 2, **settings})


@pytest.fixture(scope="module")
def made(collection: Path, font: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("made") / "songs"
    summary = make(collection, output, font)
    assert len(summary.made) == 6 and not summary.there and not summary.failed
    assert summary.left_out == {"broken.mid": "is cut off in the middle",
                                "z.mid": "is the same file as a.mid"}
    return output


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file()}


def audio(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in content(folder).items() if name.endswith(".flac")}


def split_of(output: Path) -> dict[str, str]:
    """Digest and variation -> split of every track there is."""
    found = {}
    for path in output.glob("*/Track*/metadata.yaml"):
        metadata = yaml.safe_load(path.read_text())
        found[f"{metadata['midi_sha256']} {metadata['variation']}"] = path.parts[-3]
    return found


def test_tracks_are_songs_of_slakh(made: Path) -> None:
    tracks = datasets.tracks(f"slakh:{made}", stems=None)
    assert sorted(track.name for track in tracks) == [f"Track{n:05d}" for n in range(1, 7)]
    assert all(track.stems["drums"] and track.stems["piano"] for track in tracks)
    assert {track.split for track in tracks} == {"train", "validation", "test"}


def test_the_mix_is_the_exact_sum_of_its_stems_and_nothing_clips(made: Path) -> None:
    for track in made.glob("*/Track*"):
        mix, rate = soundfile.read(track / "mix.flac", dtype="int16", always_2d=True)
        stems = [soundfile.read(path, dtype="int16", always_2d=True)[0].astype(int)
                 for path in track.glob("stems/*.flac")]
        assert rate == 44100 and 2.9 < len(mix) / rate < 3.3
        np.testing.assert_array_equal(sum(stems), mix)
        assert max(np.abs(stem).max() for stem in stems) < 32767


def test_variations_of_a_song_are_in_one_split_and_differ(made: Path) -> None:
    songs: dict[str, list[Path]] = {}
    for path in made.glob("*/Track*/metadata.yaml"):
        songs.setdefault(yaml.safe_load(path.read_text())["midi_file"], []).append(path)
    assert sorted(songs) == ["a.mid", "deep/c.kar", "deep/er/b.MIDI"]
    for first, second in songs.values():
        assert first.parents[1] == second.parents[1]
        assert (first.parent / "mix.flac").read_bytes() != (second.parent / "mix.flac").read_bytes()


def test_two_workers_make_the_same_bytes(collection: Path, font: Path, made: Path,
                                         tmp_path: Path) -> None:
    make(collection, tmp_path / "songs", font, workers=2)
    assert content(tmp_path / "songs") == content(made)


def test_processes_of_a_job_share_the_songs(collection: Path, font: Path, made: Path,
                                            tmp_path: Path) -> None:
    output, root = tmp_path / "songs", Path(__file__).parent.parent
    line = [str(root / "launch" / "local.sh"), "2", sys.executable, "-m", "stemsep.datasets.midi",
            f"--midi={collection}", f"--output={output}", "--variations=2", "--workers=1",
            "--engine=spmd", "--soundfont", str(font)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    assert "2 tracks made" in done.stdout and "4 tracks made" in done.stdout
    assert content(output) == content(made)


@pytest.mark.slow
def test_ray_makes_the_same_bytes(collection: Path, font: Path, made: Path,
                                  tmp_path: Path) -> None:
    line = [sys.executable, "-m", "stemsep.datasets.midi", f"--midi={collection}",
            f"--output={tmp_path / 'songs'}", "--variations=2", "--workers=2", "--engine=ray",
            "--soundfont", str(font)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "songs") == content(made)


def test_another_run_makes_nothing(collection: Path, font: Path, made: Path,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(made)
    monkeypatch.setattr(midi_songs, "parse", None)      # not even read
    summary = make(collection, made, font)
    assert len(summary.there) == 6 and not summary.made and "broken.mid" in summary.left_out
    assert content(made) == before


def test_killed_and_resumed_is_as_undisturbed(collection: Path, font: Path, made: Path,
                                              tmp_path: Path) -> None:
    output = tmp_path / "songs"
    line = [sys.executable, "-m", "stemsep.datasets.midi", f"--midi={collection}",
            f"--output={output}", "--variations=2", "--workers=2", "--soundfont", str(font)]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline_s = time.monotonic() + 60
    while not list(output.glob("*/Track*")) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (output / ".Track00002-unfinished").mkdir(exist_ok=True)
    assert 0 < len(list(output.glob("*/Track*")))
    ended = subprocess.run(line, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr      # broken files alone are no failure
    assert "left out: z.mid: is the same file as a.mid" in ended.stdout
    assert content(output) == content(made)


def test_further_files_change_nothing_that_is_there(collection: Path, font: Path, made: Path,
                                                    tmp_path: Path) -> None:
    shutil.copytree(collection, tmp_path / "midi")
    shutil.copytree(made, tmp_path / "songs")
    write_midi(small_song(7), tmp_path / "midi/0.mid")
    summary = make(tmp_path / "midi", tmp_path / "songs", font)
    assert len(summary.made) == 2 and len(summary.there) == 6
    before = {name.split("/", 1)[1]: data for name, data in audio(made).items()}
    after = {name.split("/", 1)[1]: data for name, data in audio(tmp_path / "songs").items()}
    assert before.items() <= after.items()      # in whichever split


def test_a_changed_file_is_made_anew_and_one_that_is_gone_is_kept(
        collection: Path, font: Path, made: Path, tmp_path: Path) -> None:
    shutil.copytree(collection, tmp_path / "midi")
    shutil.copytree(made, tmp_path / "songs")
    make(tmp_path / "midi", tmp_path / "songs", font)       # this is where the collection is now
    write_midi(small_song(8), tmp_path / "midi/deep/c.kar")
    (tmp_path / "midi/deep/er/b.MIDI").unlink()
    summary = make(tmp_path / "midi", tmp_path / "songs", font)
    assert len(summary.made) == 2 and len(summary.there) == 4
    assert "deep/c.kar has changed: its song is made anew" in summary.notes
    assert "songs that are kept, although their MIDI files are gone: 1" in summary.notes
    tracks = sorted(path.name for path in (tmp_path / "songs").glob("*/Track*"))
    assert len(tracks) == 6 and not list((tmp_path / "songs").glob(".Track*"))


def test_another_collection_is_refused(font: Path, made: Path, tmp_path: Path) -> None:
    write_midi(small_song(9), tmp_path / "a.mid")
    before = content(made)
    with pytest.raises(InputError, match="has 0 of 3; choose another folder"):
        make(tmp_path, made, font)
    assert content(made) == before


def test_the_same_collection_may_move_and_its_files_be_renamed(
        collection: Path, font: Path, made: Path, tmp_path: Path) -> None:
    shutil.copytree(collection, tmp_path / "midi")
    shutil.copytree(made, tmp_path / "songs")
    (tmp_path / "midi/deep/c.kar").rename(tmp_path / "midi/y.mid")
    summary = make(tmp_path / "midi", tmp_path / "songs", font)
    assert not summary.made and len(summary.there) == 6
    assert audio(tmp_path / "songs") == audio(made)


def test_folders_of_splits_decide(font: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("train/a.mid", "valid/x/b.mid", "test/c.mid")):
        (tmp_path / "midi" / name).parent.mkdir(parents=True)
        write_midi(small_song(number), tmp_path / "midi" / name)
    shutil.copy(tmp_path / "midi/test/c.mid", tmp_path / "midi/train/c.mid")
    write_midi(small_song(5), tmp_path / "midi/stray.mid")
    summary = make(tmp_path / "midi", tmp_path / "songs", font, dry_run=True)
    assert [note.split("/")[0] for note in summary.notes] == [
        "test", "test", "train", "train", "validation", "validation"]
    assert list(summary.left_out) == ["stray.mid", "train/c.mid"]
    assert not (tmp_path / "songs").exists()        # a dry run writes nothing


def test_splits_hold_while_a_collection_grows() -> None:
    def splits(count: int) -> dict[str, str]:
        entries = {midi_songs.digest(bytes([n])): midi_collection.Entry(str(n), 1.0, 1, number=n)
                   for n in range(count)}
        return midi_collection.divide(midi_collection.Index("", entries))
    for fewer, more in ((50, 51), (50, 200)):
        before, after = splits(fewer), splits(more)
        assert sum(before[key] != after[key] for key in before) <= 2
    counts = list(splits(200).values())
    assert 10 <= counts.count("validation") <= 30 and 10 <= counts.count("test") <= 30


def test_its_own_output_is_no_part_of_a_collection(collection: Path, font: Path,
                                                   tmp_path: Path) -> None:
    shutil.copytree(collection, tmp_path / "midi")
    make(tmp_path / "midi", tmp_path / "midi/songs", font, variations=1)
    summary = make(tmp_path / "midi", tmp_path / "midi/songs", font, variations=1)
    assert len(summary.there) == 3 and not summary.made and len(summary.left_out) == 2


def test_a_song_that_fails_stops_no_other(collection: Path, font: Path, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch,
                                          capsys: pytest.CaptureFixture) -> None:
    def fail(song: Song, *_: Any, seed: Sequence[int], **__: Any) -> list:
        if len(failures) < 2:
            failures.append(InputError("a string broke") if failures else KeyError("bridge"))
            raise failures[-1]
        return []

    failures: list[Exception] = []
    monkeypatch.setitem(midi_songs.RENDERERS, "demo", fail)
    summary = make(collection, tmp_path / "songs", font, variations=1)
    assert list(summary.failed) == ["a.mid, variation 1", "deep/c.kar, variation 1"]
    assert summary.left_out["deep/er/b.MIDI"] == "nothing of it can be heard with these fonts"
    assert midi._tell("songs", summary, dry_run=False) == 1
    said = capsys.readouterr()
    assert "failed: a.mid, variation 1: KeyError: 'bridge'" in said.err and "raise" in said.err
    assert "failed: deep/c.kar, variation 1: a string broke\n" in said.err
    monkeypatch.undo()
    summary = make(collection, tmp_path / "songs", font, variations=1)
    assert len(summary.made) == 2 and "deep/er/b.MIDI" in summary.left_out


def test_a_worker_that_dies_is_named(collection: Path, font: Path, tmp_path: Path,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    def run(task: Any, items: Sequence[Any], **_: Any) -> Any:
        return ((item, engine.WorkerDied("its process died 2 times")) for item in items)

    monkeypatch.setattr(midi.engine, "run", run)
    summary = make(collection, tmp_path / "songs", font)
    assert list(summary.failed) == ["a.mid", "broken.mid", "deep/c.kar", "deep/er/b.MIDI"]


@trees.small_disk()
def test_a_full_disk_is_told_for_the_song(collection: Path, font: Path, tmp_path: Path) -> None:
    summary = make(collection, tmp_path / "songs", font, variations=1, channels=2)
    assert "cannot be written; free some space" in str(summary.failed["a.mid, variation 1"])
    assert not list((tmp_path / "songs").glob("*/Track*")) and not audio(tmp_path / "songs")


@pytest.mark.parametrize(("name", "value"), [("seed", 8), ("variations", 3), ("seconds", 1.0),
                                             ("channels", 2)])
def test_other_settings_are_refused_by_name(collection: Path, font: Path, made: Path, name: str,
                                            value: float) -> None:
    with pytest.raises(InputError, match=f"holds songs of MIDI files made with {name} .* not "
                                         f"{value}; choose another folder or delete this one"):
        make(collection, made, font, **{name: value})


def test_other_fonts_are_refused_and_their_order_does_not_matter(
        collection: Path, font: Path, made: Path, tmp_path: Path) -> None:
    sine_font(tmp_path / "sine.sf2", {(0, 0): [LOOPED], (128, 1): [{}]})
    with pytest.raises(InputError, match="made with soundfonts .*sine.sf2"):
        make(collection, made, tmp_path / "sine.sf2")
    fonts = [font, tmp_path / "sine.sf2"]
    assert midi._fonts(fonts) == midi._fonts([*fonts[::-1], font])


def test_what_cannot_be_used_is_one_sentence(collection: Path, font: Path, tmp_path: Path) -> None:
    output = tmp_path / "songs"
    sine_font(tmp_path / "piano.sf2", {(0, 0): [LOOPED]})
    with pytest.raises(InputError, match=r"piano.sf2: has no drum kits \(bank 128\)"):
        make(collection, output, tmp_path / "piano.sf2")
    with pytest.raises(InputError, match="nowhere.sf2: no such SoundFont"):
        make(collection, output, tmp_path / "nowhere.sf2")
    with pytest.raises(InputError, match="nowhere: there is no such folder"):
        make(tmp_path / "nowhere", output, font)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: holds no MIDI files \(.mid, .midi, .kar\)"):
        make(tmp_path / "empty", output, font)
    with pytest.raises(InputError, match="'timidity' is none; choose demo, fluidsynth"):
        make(collection, output, font, renderer="timidity")
    assert not output.exists()
    output.mkdir()
    (output / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="no folder of songs of MIDI files"):
        make(collection, output, font)
    (output / "thesis.txt").rename(output / midi.RECORD)
    with pytest.raises(InputError, match="midi.json is damaged"):
        make(collection, output, font)


def test_a_damaged_index_is_named(collection: Path, font: Path, made: Path,
                                  tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "songs")
    for text in ("{", '{"songs": {"x": {"colour": "red"}}}', '{"songs": []}'):
        (tmp_path / "songs" / midi_collection.INDEX).write_text(text)
        with pytest.raises(InputError, match="midi_songs.json is damaged"):
            make(collection, tmp_path / "songs", font)


def test_where_no_file_is_a_song_the_command_says_so(tmp_path: Path) -> None:
    (tmp_path / "broken.mid").write_bytes(b"no music")
    line = [sys.executable, "-m", "stemsep.datasets.midi"]
    ended = subprocess.run([*line, f"--midi={tmp_path}", f"--output={tmp_path / 'songs'}"],
                           capture_output=True, text=True)
    assert ended.returncode == 1 and "left out: broken.mid: is no MIDI file" in ended.stdout
    assert ended.stderr.strip().endswith("error: no MIDI file there is a song that can be made; "
                                         "see above why")
    ended = subprocess.run(line, capture_output=True, text=True)
    assert ended.stderr.strip() == ("error: --midi is missing; give the folder that holds the "
                                    "MIDI files")


def test_a_changed_file_is_not_rendered_under_its_old_name(collection: Path, font: Path,
                                                           tmp_path: Path) -> None:
    job = midi_songs.Job(collection / "a.mid", "a.mid", "0" * 64, 0, tmp_path / "train/Track00001")
    with pytest.raises(InputError, match="changed while songs were made"):
        midi_songs.make_track(job, seconds=0, seed=0, channels=1, fonts=[str(font)],
                              renderer="demo")


def test_the_record_names_the_settings(made: Path, font: Path) -> None:
    written = json.loads((made / midi.RECORD).read_text())
    fonts = written.pop("soundfonts")
    assert written == {"variations": 2, "seconds": 0.0, "channels": 1, "seed": 0,
                       "renderer": "demo", "generator": midi.GENERATOR}
    assert [name.split()[0] for name in fonts] == [font.name]


# ---- FluidSynth ----

def fluidsynth_or_skip() -> None:
    try:
        fluid.check()
    except InputError as problem:
        pytest.skip(str(problem))


def test_a_missing_fluidsynth_is_one_sentence(collection: Path, font: Path, tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    fluid._library.cache_clear()
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    with pytest.raises(InputError, match=r"FluidSynth is missing .* .pip install pyfluidsynth"):
        make(collection, tmp_path / "songs", font, renderer="fluidsynth")
    fluid._library.cache_clear()


def test_fluidsynth_plays_pitches_bends_and_lengths(font: Path) -> None:
    fluidsynth_or_skip()
    sine = midi_songs.load_font(str(font))
    note = Part("sine", 0, False, (Note(0.5, 1.5, 69, 100),))
    settings: dict[str, int | float] = {"synth.reverb.active": 0, "synth.chorus.active": 0}

    def play(part: Part, channels: int = 1) -> np.ndarray:
        return fluid.play(sine, part, seconds=2.0, channels=channels, sample_rate=RATE,
                          settings=settings)

    wave = play(note)
    assert wave.shape == (1, 2 * RATE) and wave.dtype == np.float32
    np.testing.assert_array_equal(wave, play(note))
    np.testing.assert_allclose(play(note, 2).mean(axis=0), wave[0], atol=1e-6)
    assert np.abs(wave[0, :RATE // 2 - 64]).max() == 0
    assert np.abs(wave[0, round(1.8 * RATE):]).max() < 0.01 * np.abs(wave).max()
    held = slice(round(0.6 * RATE), round(1.4 * RATE))
    assert hertz_of(wave[0, held]) == pytest.approx(441, rel=2e-3)
    octave = play(dataclasses.replace(note, bends=(Bend(0.0, 12.0),)))
    # FluidSynth 2.3 takes a range of 12 semitones for 12 · 127 / 128.
    assert hertz_of(octave[0, held]) == pytest.approx(882, rel=8e-3)


def test_fluidsynth_makes_songs_whose_stems_add_up(collection: Path, font: Path,
                                                   tmp_path: Path) -> None:
    fluidsynth_or_skip()
    for output, workers in ((tmp_path / "one", 1), (tmp_path / "two", 2)):
        summary = make(collection, output, font, renderer="fluidsynth", channels=2,
                       workers=workers)
        assert len(summary.made) == 6 and not summary.failed
    assert content(tmp_path / "one") == content(tmp_path / "two")
    for track in (tmp_path / "one").glob("*/Track*"):
        stems = [soundfile.read(path, dtype="int16")[0].astype(int)
                 for path in track.glob("stems/*.flac")]
        mix = soundfile.read(track / "mix.flac", dtype="int16")[0]
        np.testing.assert_array_equal(sum(stems), mix)
        assert len(stems) == 2 and np.abs(mix.astype(int)).max() > 0.3 * 32767


# ---- training ----

def test_songs_of_midi_files_train(made: Path, tmp_path: Path) -> None:
    c = Config(name="midi")
    c.audio.sample_rate, c.audio.n_fft, c.audio.hop = 8000, 256, 128
    c.data.source, c.data.store = f"slakh:{made}", str(tmp_path / "store")
    c.data.targets = {"drums": ["drums"], "others": "rest"}
    c.data.window_frames = 16
    c.model.name, c.model.widths = "strided", (4, 8)
    c.train.steps, c.train.batch, c.train.save_every, c.train.log_every = 2, 2, 2, 1
    c.train.validate_windows = 2
    c.check()
    preprocess(c, progress=False)
    train.train(c, tmp_path / "run")
    lines = (tmp_path / "run/log.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines if "loss" in json.loads(line)]
    assert len(losses) == 2 and np.all(np.isfinite(losses))
