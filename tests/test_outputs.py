"""What is written of a song: names, formats, mixes, tags, and what goes beyond full scale."""

import dataclasses
import os
import resource
import time
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from stemsep import audio
from stemsep.errors import InputError
from stemsep.jobs import plan, read_list, shard
from stemsep.outputs import Form, write_song
from tests import trees

STEMS = ("drums", "bass", "rest")
RATE = 44100


def waves(samples: int = 30000, channels: int = 2, peak: float = 0.5) -> np.ndarray:
    """Return tones, float32 [S, channels, N], as a lossy encoder keeps them."""
    times_s = np.arange(samples) / RATE
    tones = [np.sin(2 * np.pi * hertz * times_s) for hertz in (220, 330, 550)]
    return np.repeat(np.float32(peak) * np.array(tones, np.float32)[:, None], channels, 1)


def write(folder: Path, stems_SCN: np.ndarray, form: Form, *, rate: int = RATE,
          tags: dict[str, str] = {}) -> tuple[dict[str, Path], float]:
    form.check(STEMS)
    files = {label: folder / file for label, file in form.files("a song", STEMS).items()}
    blocks = np.array_split(stems_SCN, 7, axis=2) if stems_SCN.shape[2] > 7 else [stems_SCN]
    peak = write_song(iter(blocks), list(files.values()), form.weights(STEMS), form,
                      sample_rate=rate, channels=stems_SCN.shape[1], samples=stems_SCN.shape[2],
                      tags=tags)
    return files, peak


@pytest.mark.parametrize("suffix, bits, error_db", [
    ("wav", None, -150), ("wav", 24, -120), ("wav", 16, -75), ("flac", None, -120),
    ("flac", 16, -75), ("ogg", None, -25), ("mp3", None, -25)])
@pytest.mark.parametrize("samples", [1, 1000, 30000])
def test_every_format_keeps_length_rate_and_sound(
    tmp_path: Path, suffix: str, bits: int | None, error_db: float, samples: int
) -> None:
    stems_SCN = waves(samples)
    files, _ = write(tmp_path, stems_SCN, Form(names=f"{{stem}}/{{name}}.{suffix}", bits=bits))
    assert list(files) == list(STEMS)
    for path, wave_CN in zip(files.values(), stems_SCN):
        assert path == tmp_path / path.parent.name / f"a song.{suffix}"
        read, rate = audio.read(path)
        assert rate == RATE and read.shape == wave_CN.shape
        if samples == 30000:
            error = ((read - wave_CN) ** 2).sum() / (wave_CN ** 2).sum()
            assert 10 * np.log10(error + 1e-30) < error_db
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize("suffix, rate, written", [
    ("opus", 44100, 48000), ("opus", 48000, 48000), ("mp3", 96000, 48000), ("mp3", 7000, 8000),
    ("ogg", 96000, 96000), ("flac", 96000, 96000), ("opus", 8000, 48000)])
def test_a_rate_that_a_format_has_not_is_the_next(
    tmp_path: Path, suffix: str, rate: int, written: int
) -> None:
    samples = rate
    files, _ = write(tmp_path, waves(samples), Form(names=f"{{name}}/{{stem}}.{suffix}"), rate=rate)
    info = audio.probe(files["drums"])
    # Opus of 8 kHz is played at 8 kHz by libsndfile, which wrote it.
    assert info.sample_rate in (written, rate)
    assert info.samples == audio.resampled(samples, rate, info.sample_rate)


def test_mixes_and_chosen_stems(tmp_path: Path) -> None:
    stems_SCN = waves()
    form = Form(stems=("bass",), mixes=(("drums", "rest"), ("bass", "drums", "rest")))
    files, _ = write(tmp_path, stems_SCN, form)
    assert list(files) == ["bass", "drums+rest", "bass+drums+rest"]
    np.testing.assert_allclose(audio.read(files["drums+rest"])[0], stems_SCN[0] + stems_SCN[2],
                               atol=1e-6)
    np.testing.assert_allclose(audio.read(files["bass+drums+rest"])[0], stems_SCN.sum(0), atol=1e-6)
    np.testing.assert_array_equal(audio.read(files["bass"])[0], stems_SCN[1])


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_what_goes_beyond_full_scale(tmp_path: Path, suffix: str) -> None:
    stems_SCN = waves(peak=1.0) * np.array([1.25, 0.5, 0.1], np.float32)[:, None, None]
    names, bits = f"{{name}}/{{stem}}.{suffix}", 16 if suffix == "wav" else None
    tolerance = 1e-4 if suffix in ("wav", "flac") else 0.1

    form = Form(names=names, bits=bits)     # all quieter alike
    files, peak = write(tmp_path, stems_SCN, form)
    assert peak == pytest.approx(1.25, rel=1e-3)
    assert "1.94 dB beyond" in form.clipping(peak) and "quieter" in form.clipping(peak)
    for path, wave_CN in zip(files.values(), stems_SCN):
        np.testing.assert_allclose(audio.read(path)[0], wave_CN / peak, atol=tolerance)

    form = Form(names=names, bits=bits, clip="clamp")
    files, peak = write(tmp_path, stems_SCN, form)
    assert "cut off" in form.clipping(peak)
    for path, wave_CN in zip(files.values(), stems_SCN):
        np.testing.assert_allclose(audio.read(path)[0], wave_CN.clip(-1, 1), atol=3 * tolerance)
    with pytest.raises(InputError, match="--clip=keep needs samples that go beyond"):
        Form(names=names, bits=bits, clip="keep").check(STEMS)


def test_float_keeps_what_goes_beyond_full_scale(tmp_path: Path) -> None:
    stems_SCN, form = waves(peak=3.0), Form()
    files, peak = write(tmp_path, stems_SCN, form)
    assert not form.clipping(peak)
    np.testing.assert_array_equal(audio.read(files["drums"])[0], stems_SCN[0])


@pytest.mark.parametrize("suffix, bits", [("wav", None), ("wav", 16), ("flac", None)])
def test_the_same_stems_are_the_same_bytes(tmp_path: Path, suffix: str, bits: int | None) -> None:
    """Whenever they are written: a run that was stopped equals one that was not."""
    found = []
    for _ in range(2):
        names = f"{{name}}/{{stem}}.{suffix}"
        files, _ = write(tmp_path, waves(3000), Form(names=names, bits=bits),
                         tags={"title": "x"})
        found.append([path.read_bytes() for path in files.values()])
        time.sleep(1.1)     # the clock of such files has seconds
    assert found[0] == found[1]


@pytest.mark.parametrize("form", [Form(), Form(bits=16), Form(bits=16, clip="clamp")])
def test_what_is_asked_for_twice_is_one_file(tmp_path: Path, form: Form) -> None:
    """Each file holds what its name says, however stems and mixes repeat each other."""
    form = dataclasses.replace(form, stems=("bass", "bass", "drums"),
                               mixes=(("bass",), ("drums", "rest"), ("drums", "rest"), ("rest",)))
    stems_SCN = waves(3000)
    files, _ = write(tmp_path, stems_SCN, form)
    assert list(files) == ["bass", "drums", "drums+rest", "rest"]
    for label, path in files.items():
        expected = sum(stems_SCN[STEMS.index(stem)] for stem in label.split("+"))
        np.testing.assert_allclose(audio.read(path)[0], expected, atol=1e-4)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_tags_go_with_the_stems(tmp_path: Path, suffix: str) -> None:
    tags = {"title": "Schön", "artist": "Jemand", "date": "1999", "genre": "Rock"}
    files, _ = write(tmp_path, waves(), Form(names=f"{{name}}.{{stem}}.{suffix}"), tags=tags)
    found = audio.tags(files["drums"])
    assert {name: found.get(name) for name in ("title", "artist", "date")} == {
        name: tags[name] for name in ("title", "artist", "date")}


@trees.small_disk()
def test_a_full_disk_leaves_no_stem(tmp_path: Path) -> None:
    for form in (Form(), Form(bits=16), Form(bits=16, clip="clamp")):
        with pytest.raises(InputError, match="cannot be written.*free some space"):
            write(tmp_path, waves(100000), form)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_disk_that_fills_up_is_told_whenever_it_does(tmp_path: Path) -> None:
    """What is kept for later may still be in memory when the disk is full."""
    for samples in (100, 17000, 30000):
        with trees.small_disk(), pytest.raises(audio.DiskRefused, match="free some space"):
            resource.setrlimit(resource.RLIMIT_FSIZE,
                               (10, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
            write(tmp_path, waves(samples), Form(bits=16))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_name_that_cannot_be_is_no_full_disk(tmp_path: Path) -> None:
    """Another song would fare better; one of the longest names is written."""
    (tmp_path / "file").touch()
    (tmp_path / "drums.wav").mkdir()
    for path in (tmp_path / ("n" * 252 + ".wav"), tmp_path / "file" / "x.wav",
                 tmp_path / "drums.wav"):
        for form in (Form(), Form(bits=16)):
            with pytest.raises(InputError, match="cannot be written.*another") as told:
                write_song(iter([waves(10)[:1]]), [path], np.ones((1, 1)), form, sample_rate=RATE,
                           channels=2, samples=10, tags={})
            assert not isinstance(told.value, audio.DiskRefused)
    longest = [tmp_path / (letter + "n" * 250 + ".wav") for letter in "ab"]
    write_song(iter([waves(10)[:2]]), longest, np.eye(2), Form(bits=16), sample_rate=RATE,
               channels=2, samples=10, tags={})
    assert all(audio.probe(path).samples == 10 for path in longest)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["drums.wav", "file", *(path.name for path in longest)])


@pytest.mark.parametrize("settings, words", [
    ({"names": "{stem}.wav"}, "lacks {name}"), ({"names": "{name}.wav"}, "lacks {stem}"),
    ({"names": "{nam}/{stem}.wav"}, "no field 'nam'; did you mean 'name'"),
    ({"names": "{name/{stem}.wav"}, "--names"), ({"names": "/{name}/{stem}.wav"}, "leaves the"),
    ({"names": "{name}/{stem}.m4a"}, "no format '.m4a'"), ({"names": "{name}/{stem}"}, "no format"),
    ({"names": "{name!r}/{stem}.wav"}, "fields with"),
    ({"names": "../{name}/{stem}.wav"}, "leaves the folder"), ({"stems": ("drum",)}, "no stem 'dr"),
    ({"mixes": (("drums", "vocals"),)}, "no stem 'vocals'"), ({"quality": 1.5}, "from 0 to 1"),
    ({"names": "{name}/{stem}.flac", "bits": 32}, "FLAC cannot be written with 32 bits"),
    ({"names": "{name}/{stem}.mp3", "bits": 16}, "MP3 cannot .* has a quality instead"),
    ({"clip": "loud"}, "--clip has no choice 'loud'"),
])
def test_wrong_forms_are_sentences(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Form(**settings).check(STEMS)


def test_songs_of_lists_patterns_and_shards(tmp_path: Path) -> None:
    for name in ("a.wav", "b.flac", "deep/c.mp3", "deep/er/d.wav", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    pattern = str(tmp_path / "**" / "*.wav")
    assert [job.name for job in plan([pattern], "out")] == ["a", "d"]
    (tmp_path / "list").write_text(f"# mine\n{tmp_path / 'a.wav'}\n\n  {tmp_path / 'deep'}  \n")
    jobs = plan(read_list(str(tmp_path / "list")), "out")
    assert [job.name for job in jobs] == ["a", "c", "er/d"]
    parts = [shard(jobs, f"{part}/2") for part in (1, 2)]
    assert sorted(parts[0] + parts[1], key=jobs.index) == jobs and len(parts[0]) == 2
    for wrong in ("0/2", "3/2", "2", "a/b"):
        with pytest.raises(InputError, match="is not as 2/8"):
            shard(jobs, wrong)
    (tmp_path / "noise").write_bytes(os.urandom(100))
    with pytest.raises(InputError, match="is no text"):
        read_list(str(tmp_path / "noise"))


def test_a_second_run_finds_the_same_songs(tmp_path: Path) -> None:
    """Stems that lie among the songs are none, wherever the folder of the outputs is."""
    folder = tmp_path / "in"
    for name in ("a.wav", "deep/b.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for output in (folder / "out", folder / "deep" / "out", tmp_path, tmp_path / "out"):
        for argument in (str(folder), str(folder / "**" / "*.wav"), str(folder / "*" / "*.wav")):
            jobs = plan([argument], output)
            for job in jobs:
                (output / job.name).mkdir(parents=True, exist_ok=True)
                (output / job.name / "drums.wav").touch()
            assert jobs and plan([argument], output) == jobs
            for job in jobs:
                (output / job.name / "drums.wav").unlink()
    for argument in (str(folder), str(folder / "**" / "*.wav")):
        with pytest.raises(InputError, match="is also the folder of the outputs"):
            plan([argument], folder)
    assert [job.name for job in plan([str(folder / "*.wav")], folder)] == ["a"]


def test_a_second_run_finds_the_same_songs_in_a_bucket() -> None:
    memory = fsspec.filesystem("memory")
    for name in ("a.wav", "deep/mix.wav", "out/a/drums.wav", "x/../../y.wav"):
        memory.pipe_file(f"/planned/{name}", b"")
    for argument in ("memory://planned", "memory://planned/**/*.wav"):
        names = {job.name for job in plan([argument], "memory://planned/out")}
        assert len(names) == 3 and not any(".." in name or "drums" in name for name in names)
    assert len(plan(["memory://planned"], "memory://elsewhere")) == 4
    assert len(plan(["memory://planned/out"], "memory://planned")) == 1
    with pytest.raises(InputError, match="is also the folder of the outputs"):
        plan(["memory://planned/"], "memory://planned")


def test_every_name_is_one_below_the_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                             ) -> None:
    """Whatever is given; what cannot be looked at is separated, which says why it cannot be."""
    monkeypatch.chdir(tmp_path)
    Path("loop.wav").symlink_to("loop.wav")
    fsspec.filesystem("memory").store.clear()
    odd = ["loop.wav", "..wav", "...wav", "n" * 300 + ".wav", "a\0b.wav", "{name}.wav",
           "memory://", "memory://nothing/", "a\u2028b.wav", "line\nfeed.wav"]
    jobs = plan(odd, "out")
    assert len({job.name for job in jobs}) == len(odd)
    for job in jobs:
        assert "/" not in job.name and job.name not in ("", ".", "..")


def test_a_list_has_names_of_any_bytes(tmp_path: Path) -> None:
    names = [b"a\xe9.wav", "b\u2028\x85é.wav".encode(), b"#c.wav", b"d\x0b.wav"]
    (tmp_path / "list").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(names))
    assert [os.fsencode(name) for name in read_list(str(tmp_path / "list"))] == [
        names[0], names[1], names[3]]
