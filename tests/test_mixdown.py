"""A mixdown is a source: its stems are the sums of the files, and all of them the mixture."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from stemsep import audio, datasets
from stemsep.datasets.mix import RECORD, UNFINISHED, Form
from stemsep.datasets.mixdown import Plan, mixdown, recipe_targets
from stemsep.errors import InputError
from tests import trees

ROOT = Path(__file__).parent.parent
TARGETS = {"drums": ["drums"], "keys": ["piano", "organ"], "others": "rest"}


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """Three songs in split folders; 16 bits hold their sums, and the last has no drums."""
    for number, split in enumerate(("train", "validation", "test")):
        stems = {name: trees.noise(4000 + 100 * number, seed=10 * number + place) / 8
                 for place, name in enumerate(("drums", "piano", "organ", "bass"))}
        stems = {name: (np.round(wave_CN * 32768) / 32768).astype(np.float32)
                 for name, wave_CN in stems.items() if (number, name) != (2, "drums")}
        trees.song(tmp_path / "songs" / split / f"song {number}", stems)
    return tmp_path / "songs"


def run(songs: Path, form: Form = Form(bits=16, mixture=True), **settings: Any) -> Plan:
    settings = {"targets": TARGETS, "workers": 1, "progress": False, **settings}
    return mixdown(f"folders:{songs}", songs.parent / "mixed", form=form, **settings)


def groups(root: Path, stems: tuple[str, ...]) -> dict[str, dict[str, np.ndarray]]:
    """Return what the stems of each song of `folders:root` sound like: split/name -> stem -> CN."""
    found = {}
    for track in datasets.tracks(f"folders:{root}", stems=stems):
        waves = {stem: [audio.read(clip)[0] for clip in clips]
                 for stem, clips in track.stems.items()}
        samples = max(wave.shape[1] for own in waves.values() for wave in own)
        found[f"{track.split}/{track.name}"] = {
            stem: sum(own, np.zeros((1, samples), np.float32)) for stem, own in waves.items()}
    return found


def test_a_mixdown_is_the_same_source(songs: Path, tmp_path: Path) -> None:
    plan = run(songs)
    assert len(plan.written) == 3 and not plan.failed
    direct = groups(songs, ("drums", "piano", "organ", "rest"))
    mixed = groups(tmp_path / "mixed", ("drums", "keys", "others", "rest"))
    assert set(mixed) == set(direct)
    for name, waves in direct.items():
        want = {"drums": waves["drums"], "keys": waves["piano"] + waves["organ"],
                "others": waves["rest"], "rest": np.zeros_like(waves["rest"])}
        for stem, wave_CN in want.items():
            np.testing.assert_array_equal(mixed[name][stem], wave_CN)
    assert not list(tmp_path.glob(f"mixed/{UNFINISHED}"))


@pytest.mark.parametrize("form", [
    Form(bits=16, mixture=True), Form(bits=24, mixture=True, gain_db=-3.7, channels=2),
    Form("wav", bits=16, mixture=True, rate=11025), Form("wav", bits=24, mixture=True, gain_db=20),
    Form("wav", bits=32, mixture=True, rate=16000, gain_db=1.3)])
@pytest.mark.parametrize("targets", [TARGETS, {"drums": ["drums"], "bass": ["bass"]}])
def test_targets_and_rest_are_the_mixture(songs: Path, tmp_path: Path, form: Form,
                                          targets: dict) -> None:
    plan = run(songs, form, targets=targets)
    assert len(plan.written) == 3
    for path in tmp_path.glob(f"mixed/*/*/mixture.{form.format}"):
        parts = [audio.read(path.with_name(f"{target}.{form.format}"))[0] for target in targets]
        mixture_CN, rate = audio.read(path)
        source = path.parent.name
        assert rate == (form.rate or trees.RATE) and len(mixture_CN) == max(form.channels, 1)
        samples = 4000 + 100 * int(source[-1])
        assert mixture_CN.shape[1] == audio.resampled(samples, trees.RATE, rate)
        if "others" in targets:
            tolerance = 1e-6 if form.bits == 32 else 0.0
            limit = np.inf if form.bits == 32 else 1 - 2.0 ** (1 - form.bits)
            np.testing.assert_allclose(mixture_CN, np.clip(sum(parts), -1, limit), rtol=0,
                                       atol=tolerance)
        elif not form.rate and form.gain_db <= 0:       # the mixture has what no target has
            files = [audio.read(file)[0] for file in songs.glob(f"*/{source}/*.wav")]
            want_CN = sum(files) * np.float32(10 ** (form.gain_db / 20))
            np.testing.assert_allclose(mixture_CN, np.broadcast_to(want_CN, mixture_CN.shape),
                                       rtol=0, atol=4 * 2.0 ** (1 - form.bits))


@pytest.mark.parametrize("form, kind, subtype", [
    (Form(), "FLAC", "PCM_24"), (Form(bits=16), "FLAC", "PCM_16"),
    (Form("wav", bits=32), "WAV", "FLOAT"), (Form("wav"), "WAV", "PCM_24")])
def test_formats(songs: Path, tmp_path: Path, form: Form, kind: str, subtype: str) -> None:
    run(songs, form)
    paths = [path for path in tmp_path.glob("mixed/*/*/*") if path.name != RECORD]
    assert len(paths) == 9 and "mixture" not in {path.stem for path in paths}
    infos = [soundfile.info(path) for path in paths]
    assert {(info.format, info.subtype) for info in infos} == {(kind, subtype)}


def test_a_song_has_the_rate_and_channels_of_its_files(songs: Path, tmp_path: Path) -> None:
    trees.write(songs / "train" / "song 0" / "bass.wav", trees.noise(9000, channels=2), rate=16000)
    run(songs)
    assert audio.probe(tmp_path / "mixed/train/song 0/keys.flac") == audio.AudioInfo(16000, 2, 9000)
    assert audio.probe(tmp_path / "mixed/test/song 2/keys.flac") == audio.AudioInfo(8000, 1, 4200)


def test_recipes_of_slakh_utils(tmp_path: Path) -> None:
    for split in ("train", "test"):
        trees.slakh_track(tmp_path / "songs" / split / f"Track-{split}",
                          {"S00": 128, "S01": 33, "S02": 0, "S03": 1}, plugin_name="x.nkm")
    recipe = tmp_path / "band.yaml"
    recipe.write_text("Mixing key: program_num\nRecipes:\n  Keys: [0, 1]\n  Low End: [33]\n")
    targets = recipe_targets(str(recipe))
    assert targets == {"keys": ["keys"], "low_end": ["low_end"], "residuals": "rest"}
    mixdown(f"slakh:{tmp_path / 'songs'}", tmp_path / "mixed", targets, recipe=str(recipe),
            workers=1, progress=False)
    folder = tmp_path / "mixed/train/Track-train"
    want = [trees.noise(8000, seed=seed) for seed in range(4)]
    np.testing.assert_array_equal(audio.read(folder / "residuals.flac")[0], want[0])
    np.testing.assert_array_equal(audio.read(folder / "low_end.flac")[0], want[1])
    np.testing.assert_array_equal(audio.read(folder / "keys.flac")[0], want[2] + want[3])
    only = mixdown(f"slakh:{tmp_path / 'songs'}", tmp_path / "other", targets, recipe=str(recipe),
                   split="test", workers=1, progress=False)
    assert only.written == ["test/Track-test"]


def stamps(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns
            for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_only_what_is_missing_or_changed_is_written(songs: Path, tmp_path: Path) -> None:
    run(songs)
    before = stamps(tmp_path / "mixed")
    again = run(songs)
    assert len(again.kept) == 3 and not again.written and stamps(tmp_path / "mixed") == before
    trees.write(songs / "train" / "song 0" / "bass.wav", trees.noise(4100, seed=77))
    (tmp_path / "mixed/validation/song 1/keys.flac").unlink()
    assert run(songs, dry=True).written == [] and stamps(tmp_path / "mixed").keys() < before.keys()
    assert run(songs).written == ["train/song 0", "validation/song 1"]
    assert len(run(songs, targets={"all": "rest"}).written) == 3
    names = {path.name for path in tmp_path.glob("mixed/*/*/*")}
    assert names == {RECORD, "all.flac", "mixture.flac"}
    assert len(run(songs, Form(bits=24)).written) == 3


def test_what_it_did_not_write_is_never_lost(songs: Path, tmp_path: Path,
                                             capsys: pytest.CaptureFixture) -> None:
    run(songs)
    own = trees.write(tmp_path / "mixed/train/song 0/mine.wav", trees.noise(10))
    trees.write(tmp_path / "mixed/test/song 2/drums.flac", trees.noise(10))     # edited: made anew
    plan = run(songs)
    assert list(plan.failed) == ["train/song 0"] and plan.written == ["test/song 2"]
    assert f"{own}: was not written by a mixdown" in plan.failed["train/song 0"] and own.exists()
    (tmp_path / "mixed/train/song 0" / RECORD).unlink()
    own.unlink()
    assert "drums.flac: was not written by" in run(songs).failed["train/song 0"]
    for path in (songs / "test/song 2").iterdir():
        path.unlink()
    (songs / "test/song 2").rmdir()
    capsys.readouterr()
    assert run(songs).gone == ["test/song 2"]
    assert "mixed/test/song 2 is no longer in the source" in capsys.readouterr().out


def test_a_bad_song_is_named_and_the_rest_goes_on(songs: Path, tmp_path: Path,
                                                  capsys: pytest.CaptureFixture) -> None:
    bad = songs / "train" / "song 0" / "bass.wav"
    bad.write_bytes(bad.read_bytes()[:3000])
    trees.write(songs / "test" / "song 2" / "bass.wav", trees.noise(4000, channels=6))
    plan = run(songs, workers=2)
    assert plan.written == ["validation/song 1"]
    assert f"{bad}: is cut short" in plan.failed["train/song 0"]
    assert "6 channels cannot become 2; set --surround to" in plan.failed["test/song 2"]
    assert "failed: train/song 0: " in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "mixed").iterdir()} == {".lock", "validation"}
    assert run(songs, Form(surround="downmix")).written == ["test/song 2", "validation/song 1"]


def test_clipping_is_said_with_what_helps(songs: Path, capsys: pytest.CaptureFixture) -> None:
    run(songs, Form(gain_db=40))
    said = capsys.readouterr().out
    assert "note: train/song 0 is beyond full scale and clipped: drums.flac by " in said
    gain_db = float(said.rpartition("--gain_db ")[2].split()[0])
    assert 0 < gain_db < 40
    run(songs, Form(gain_db=gain_db))
    assert "clip" not in capsys.readouterr().out
    run(songs, Form(gain_db=gain_db + 0.2))
    assert "clip" in capsys.readouterr().out
    run(songs, Form("wav", bits=32, gain_db=40))
    assert "clip" not in capsys.readouterr().out


@trees.small_disk()
def test_a_full_disk_is_one_sentence(songs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written .File too large.; free some space"):
        run(songs, Form("wav", bits=32, rate=192000))
    assert [path.name for path in (tmp_path / "mixed").iterdir()] == [".lock"]


@pytest.mark.parametrize("targets, words", [
    ({"mixture": ["drums"]}, "'mixture' cannot name a stem's file"),
    ({".x": ["drums"]}, "'.x' cannot name a stem's file"),
    ({"a": ["drums"], "b": ["drums"]}, "stem 'drums' is in both 'a' and 'b'"),
    ({"A b": ["drums"], "a_b": "rest"}, "'A b' and 'a_b' are one name"),
    ({"a/b": ["drums"]}, "cannot name a target"),
    ({"drums": ["drumz"]}, "there is no stem 'drumz'"),
])
def test_targets_that_cannot_be_written(songs: Path, targets: dict, words: str) -> None:
    with pytest.raises(InputError) as caught:
        run(songs, targets=targets)
    assert words in str(caught.value) and not (songs.parent / "mixed").exists()


def test_outputs_that_cannot_be_used(songs: Path, tmp_path: Path) -> None:
    file = trees.write(tmp_path / "other" / "file.wav", trees.noise(1))
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "train").write_text("")
    for place, words in ((songs / "mixed", "lies in the source"), (songs, "lies in the source"),
                         (file.parent, "holds 'file.wav', which no mixdown wrote"),
                         (tmp_path / "odd", "holds 'train', which no"), (file, "is a file")):
        with pytest.raises(InputError, match=words):
            mixdown(f"folders:{songs}", place, TARGETS)


# The command


def command(songs: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "stemsep.datasets.mixdown", f"folders:{songs}", "--output",
            str(songs.parent / "mixed"), *arguments]


def execute(line: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_command(songs: Path, tmp_path: Path) -> None:
    targets = f"--targets={TARGETS}"
    done = execute(command(songs, targets, "--dry_run"))
    assert done.returncode == 0 and "to write: train/song 0\n" in done.stdout, done.stderr
    assert not (tmp_path / "mixed").exists()
    done = execute(command(songs, targets, "--format=wav", "--bits=16", "--workers=2"))
    assert done.returncode == 0 and "3 songs written, 0 kept, 0 failed\n" in done.stdout
    (songs / "train" / "song 0" / "bass.wav").write_text("words")
    done = execute(command(songs, targets, "--format=wav", "--bits=16"))
    assert done.returncode == 1 and "2 kept, 1 failed" in done.stdout
    assert done.stderr.count("bass.wav: is no audio") == 1 and "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments, words", [
    ([], "--targets is missing"), (["more"], "give one source"),
    (["--targets={'mix': ['drums']}"], "error: --targets: 'mix' cannot name a stem's file"),
    (["--targets={'a': ['drums'], 'b': ['drums']}"], "error: --targets: stem 'drums' is in both"),
    (["--targets={'a': 'rest'}", "--bits=32"], "FLAC holds 16 or 24; give --format wav"),
    (["--targets={'a': 'rest'}", "--rate=44"], "--rate 44: is in Hz and at least 1000"),
    (["--targets={'a': 'rest'}", "--recipe=none.yaml"], "none.yaml: cannot be read"),
    (["--targets={'drumz': ['drumz']}"], "error: --targets: there is no stem 'drumz'"),
])
def test_mistakes_are_one_sentence(songs: Path, arguments: list[str], words: str) -> None:
    done = execute(command(songs, *arguments))
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and words in done.stderr


def test_killed_at_any_moment_no_song_is_half_there(songs: Path, tmp_path: Path) -> None:
    for number in range(3, 9):
        trees.song(songs / "train" / f"song {number}", {
            name: trees.noise(60000, seed=10 * number + place) / 8
            for place, name in enumerate(("drums", "piano", "bass"))})
    # A pipe that nobody writes to holds up its song, so that no run ends before it is killed.
    blocked = songs / "train" / "song 8" / "bass.wav"
    blocked.rename(tmp_path / "bass.wav")
    os.mkfifo(blocked)
    mixed, line = tmp_path / "mixed", command(songs, f"--targets={TARGETS}", "--workers=2")
    for least in (1, 4):
        process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
        while len(list(mixed.glob("*/*"))) < least:
            assert process.poll() is None
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for folder in (path for path in mixed.glob("*/*") if path.is_dir()):
            if folder.parent.name != UNFINISHED:
                sizes = json.loads((folder / RECORD).read_text())["files"]
                assert sizes == {path.name: path.stat().st_size for path in folder.iterdir()
                                 if path.name != RECORD} and len(sizes) == 3
    blocked.unlink()
    (tmp_path / "bass.wav").rename(blocked)
    done = execute(line)
    assert done.returncode == 0, done.stderr
    assert len(list(mixed.glob(f"*/*/{RECORD}"))) == 9 and not (mixed / UNFINISHED).exists()
