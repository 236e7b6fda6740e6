"""Collections: what is done is left out, what fails is named, and a kill at any moment costs
nothing that was finished.
"""

import errno
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import soundfile

from stemsep import audio, collection
from stemsep.collection import Manifest, Settings
from stemsep.errors import InputError
from stemsep.jobs import Job, plan
from stemsep.outputs import Form
from stemsep.quality import Quality
from stemsep.separate import separate_songs
from stemsep.separator import Separator
from tests import trees
from tests.test_evaluate import save_run
from tests.test_separate import error_db, identity, separator, tiny

ROOT = Path(__file__).parent.parent
RATE = 8000


def songs(folder: Path, count: int = 5) -> Path:
    """Write songs of many lengths, rates and channels."""
    for number in range(count):
        trees.write(folder / f"{number:03}.wav", rate=(RATE, 11025)[number % 5 == 4],
                    wave_CN=trees.noise(300 + 1700 * number % 9000, channels=1 + number % 2,
                                        seed=number))
    return folder


def separated(folder: Path, output: Path, **settings: Any) -> tuple[int, list[dict[str, Any]]]:
    """Separate a folder; returns how many failed, and the lines of the manifest."""
    form = settings.pop("form", Form())
    own = settings.pop("separator", None) or separator()
    failed = separate_songs(own, plan([folder], output),
                            Settings(("a run",), str(output), own.quality, form), **settings)
    return failed, records(output)


def records(output: Path) -> list[dict[str, Any]]:
    """Return the lines of the manifests; of songs that end together any may be the first."""
    return [json.loads(line) for path in sorted(output.glob("manifest*.jsonl"))
            for line in path.read_text().split("\n")[:-1]]


def contents(output: Path) -> dict[str, bytes]:
    return {str(path.relative_to(output)): path.read_bytes()
            for path in sorted(output.rglob("*")) if path.is_file() and "manifest" not in path.name}


def test_a_collection_is_its_songs(tmp_path: Path) -> None:
    """Batches are filled across songs, and each song has the stems that it has alone."""
    folder = songs(tmp_path / "in", 9)
    failed, lines = separated(folder, tmp_path / "out")
    assert failed == 0 and sorted(line["name"] for line in lines) == [f"{n:03}" for n in range(9)]
    for line in lines:
        wave_CN, rate = audio.read(line["song"])
        assert (line["seconds"], line["samples"]) == (wave_CN.shape[1] / rate, wave_CN.shape[1])
        for stem, expected_CN in separator()(wave_CN, rate).items():
            path = tmp_path / "out" / line["files"][stem]
            assert line["bytes"][line["files"][stem]] == path.stat().st_size
            assert error_db(audio.read(path)[0], expected_CN) < -80


def test_what_is_done_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder, output = songs(tmp_path / "in"), tmp_path / "out"
    separated(folder, output)
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.wav")}
    assert separated(folder, output)[0] == 0
    assert "nothing is left to do: 5 were done already" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in output.rglob("*.wav")}

    (output / "001" / "drums.wav").unlink()                             # a stem that is gone,
    (output / "002" / "drums.wav").write_bytes(b"cut")                  # one that is cut,
    trees.write(folder / "003.wav", trees.noise(999))                   # a song that changed,
    trees.write(folder / "new.wav", trees.noise(999))                   # one that is new
    _, lines = separated(folder, output)
    assert sorted(line["name"] for line in lines[5:]) == ["001", "002", "003", "new"]
    _, lines = separated(folder, output, again=True)
    assert len(lines) == 9 + 6
    # Other settings and another model are other stems.
    _, lines = separated(folder, output, form=Form(bits=16))
    assert len(lines) == 9 + 6 + 6
    _, lines = separated(folder, output, separator=identity())
    assert len(lines) == 9 + 6 + 6 + 6


def test_a_line_that_was_cut_is_no_line(tmp_path: Path) -> None:
    folder, output = songs(tmp_path / "in"), tmp_path / "out"
    separated(folder, output)
    manifest = output / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-40])
    cut = records_so_far(output)
    (job,) = (job for job in plan([folder], output)
              if job.name not in {record["name"] for record in cut})
    with Manifest(str(output)) as opened:
        model = separator().fingerprint()
        left = collection.unfinished(plan([folder], output), opened, model,
                                     Settings(("a run",), str(output)))
    assert left == [job]
    failed = separate_songs(separator(), left, Settings(("a run",), str(output)))
    lines = manifest.read_text().splitlines()
    assert failed == 0 and json.loads(lines[-1])["name"] == job.name and len(lines) == 6


def test_odd_names_are_known_again(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Bytes that are no text, ends of lines of other kinds, braces, the longest of names."""
    folder, output = tmp_path / "in", tmp_path / "out"
    names = [b"a\xe9.wav", "b\u2028\u0085.wav".encode(), b"{c} {stem}.wav", b"d\n\r.wav",
             b"e" * 251 + b".wav", "f\u0301\U0001f3b5.wav".encode()]
    for name in names:
        os.rename(trees.write(folder / "x.wav", trees.noise(900)),
                  os.path.join(os.fsencode(folder), name))
    for form in (Form(), Form(names="{stem}/{name}.wav")):
        failed, _ = separated(folder, output, form=form)
        assert failed == 0 and len(contents(output)) >= 2 * len(names)
        lines = (output / "manifest.jsonl").read_bytes()
        assert separated(folder, output, form=form)[0] == 0
        assert f"{len(names)} were done already" in capsys.readouterr().out
        assert lines == (output / "manifest.jsonl").read_bytes()


def test_a_stem_counts_for_the_song_that_wrote_it(tmp_path: Path) -> None:
    """Songs of one name and length, separated one after the other to one place, by any part."""
    output = tmp_path / "out"
    for seed, name in enumerate("xy"):
        trees.write(tmp_path / name / "song.wav", trees.noise(900, seed=seed))
    separated(tmp_path / "x", output)
    expected = contents(output)
    separated(tmp_path / "y", output, part="1/1")
    assert contents(output) != expected
    separated(tmp_path / "x", output)
    assert contents(output) == expected and len(records(output)) == 3
    separated(tmp_path / "x", output, part="1/1")
    assert len(records(output)) == 3


def test_other_batches_are_the_same_stems(tmp_path: Path) -> None:
    """Who has too little memory goes on with a smaller batch; a shift is another result."""
    folder, output = songs(tmp_path / "in"), tmp_path / "out"
    separated(folder, output)
    assert len(separated(folder, output, separator=separator(batch=1))[1]) == 5
    assert len(separated(folder, output, separator=separator(shifts=2))[1]) == 10


def test_a_song_that_changes_meanwhile_is_not_done(tmp_path: Path) -> None:
    """The stems are those of what was read."""
    job = Job(str(trees.write(tmp_path / "song.wav", trees.noise(900))), "song")
    settings, own = Settings((), str(tmp_path / "out")), separator()

    def replace(*_: object) -> None:
        trees.write(tmp_path / "new.wav", trees.noise(800)).replace(job.source)

    with Manifest(settings.output) as manifest:
        list(collection.separate_jobs(own, [job], settings, record=manifest.add, progress=replace))
    with Manifest(settings.output) as manifest:
        assert collection.unfinished([job], manifest, own.fingerprint(), settings) == [job]


def test_a_disk_without_locks_and_a_line_cut_in_a_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", none)
    (tmp_path / "manifest.jsonl").write_bytes('{"song": "ü'.encode()[:-1])
    with Manifest(str(tmp_path)) as manifest:
        manifest.add({"song": "b"})
    assert (tmp_path / "manifest.jsonl").read_bytes().splitlines()[1:] == [b'{"song": "b"}']


def test_two_processes_do_not_separate_into_one_folder(tmp_path: Path) -> None:
    with Manifest(str(tmp_path)):
        with pytest.raises(InputError, match="manifest.jsonl: another process separates into"):
            with Manifest(str(tmp_path)):
                pass
        with Manifest(str(tmp_path), "2/3"):
            pass


def test_parts_are_the_whole(tmp_path: Path) -> None:
    folder, jobs = songs(tmp_path / "in"), plan([songs(tmp_path / "in")], tmp_path / "out")
    for part in ("2/2", "1/2"):
        own, count = map(int, part.split("/"))
        separate_songs(separator(), jobs[own - 1::count],
                       Settings(("a run",), str(tmp_path / "out")), part=part)
    assert sorted(path.name for path in (tmp_path / "out").glob("manifest*")) == [
        "manifest.1-of-2.jsonl", "manifest.2-of-2.jsonl"]
    separated(folder, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    _, lines = separated(folder, tmp_path / "out")      # the whole knows of its parts
    assert len(lines) == 5


def spoil(folder: Path) -> dict[str, str]:
    """Add ten songs that are odd or bad; returns what is said of those that cannot be separated."""
    good = trees.noise(4000, channels=2)
    wave = trees.write(folder / "bad" / "whole.wav", good).read_bytes()
    flac = trees.write(folder / "bad" / "whole.flac", good).read_bytes()
    for path in (folder / "bad").iterdir():
        path.unlink()
    (folder / "bad" / "damaged.flac").write_bytes(flac[:len(flac) // 2])
    (folder / "bad" / "cut.wav").write_bytes(wave[:-1000])
    (folder / "bad" / "empty.wav").touch()
    (folder / "bad" / "text.wav").write_text("these are words")
    (folder / "bad" / "unreadable.wav").symlink_to(folder / "nowhere" / "song.wav")
    nan = good.copy()
    nan[1, 3999] = np.nan
    soundfile.write(folder / "bad" / "nan.wav", nan.T, RATE, subtype="FLOAT")
    trees.write(folder / "odd" / "silent.wav", np.zeros((2, 4000), np.float32))
    trees.write(folder / "odd" / "eight channels.wav", trees.noise(4000, channels=8))
    trees.write(folder / "odd" / "low.wav", trees.noise(4000), rate=4000)
    trees.write(folder / "odd" / "one sample.wav", trees.noise(1))
    return {"damaged.flac": "damaged or cut short", "cut.wav": "is cut short",
            "empty.wav": "the file is empty", "text.wav": "is no audio",
            "nan.wav": "sample 3999 is not a number"}


def test_two_hundred_songs_with_ten_bad_ones(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = songs(tmp_path / "in", 190)
    told = spoil(folder)
    failed, lines = separated(folder, tmp_path / "out")
    said = capsys.readouterr()
    status = Counter(line["status"] for line in lines)
    # A link to nowhere is no file of the folder.
    assert (failed, status["failed"], status["done"]) == (5, 5, 194)
    assert "194 of 199 songs separated" in said.out
    for name, words in told.items():
        (line,) = (line for line in lines if line["song"].endswith(name))
        assert words in line["error"] and f"error: {line['error']}" in said.err
        assert not (tmp_path / "out" / "bad" / Path(name).stem).exists() or not list(
            (tmp_path / "out" / "bad" / Path(name).stem).iterdir())
    for line in lines:
        if line["status"] == "done":
            info = audio.probe(line["song"])
            assert all(audio.probe(tmp_path / "out" / file) == info
                       for file in line["files"].values())
    assert len(contents(tmp_path / "out")) == 2 * 194
    failed, lines = separated(folder, tmp_path / "out")     # the bad ones are tried again
    assert failed == 5 and len(lines) == 199 + 5


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_stems(tmp_path: Path) -> None:
    """kill -9 at ten moments, each followed by the same command: nothing is done twice."""
    save_run(tmp_path / "run", tiny())
    folder = tmp_path / "in"
    for number in range(60):
        trees.write(folder / f"{number:02}.wav", trees.noise(120000, channels=2, seed=number % 7))

    def line(output: str) -> list[str]:
        return [sys.executable, "-m", "stemsep.separate", f"--checkpoint={tmp_path / 'run'}",
                f"--output={tmp_path / output}", "--bits=16", str(folder)]

    def finish(output: str) -> str:
        done = subprocess.run(line(output), cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    finish("undisturbed")
    rng, output = random.Random(0), tmp_path / "out"
    for kill in range(10):
        done_before = len(records_so_far(output))
        process = subprocess.Popen(line("out"), cwd=ROOT, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        while len(records_so_far(output)) < done_before + 4 and process.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        assert process.poll() is None
        process.kill()
        process.wait()
    assert "were done already" in finish("out")
    assert contents(output) == contents(tmp_path / "undisturbed")
    names = Counter(record["name"] for record in records_so_far(output))
    assert set(names) == {f"{number:02}" for number in range(60)} and set(names.values()) == {1}


def records_so_far(output: Path, part: str = "") -> list[dict[str, Any]]:
    found = []
    path = output / f"manifest.{part}jsonl"
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            pass        # just being written, or cut by the kill
    return found


def test_a_full_disk_ends_the_work(tmp_path: Path) -> None:
    """Another song would fare no better; what is done stays done."""
    folder = songs(tmp_path / "in", 2)
    trees.write(folder / "long.wav", trees.noise(200000))
    with trees.small_disk(), pytest.raises(InputError, match="long/.*.wav: cannot be written"):
        separated(folder, tmp_path / "out", form=Form(bits=16, clip="clamp"))
    assert sorted(line["name"] for line in records(tmp_path / "out")) == ["000", "001"]
    assert sorted(contents(tmp_path / "out")) == [
        f"{song}/{stem}.wav" for song in ("000", "001") for stem in ("accompaniment", "drums")]


def test_songs_and_stems_in_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsspec's memory stands for a bucket."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "fetched"))
    (tmp_path / "fetched").mkdir()
    memory = fsspec.filesystem("memory")
    memory.rm("/", recursive=True) if memory.exists("/in") else None
    folder = songs(tmp_path / "in", 3)
    (folder / "bad.wav").write_text("words")
    for path in folder.iterdir():
        memory.pipe_file(f"/in/disc 1/{path.name}", path.read_bytes())
    memory.pipe_file("/in/notes.txt", b"no song")
    output = "memory://out"
    jobs = plan(["memory://in", "memory://in/gone.wav"], output)
    assert [job.name for job in jobs] == [
        "disc 1/000", "disc 1/001", "disc 1/002", "disc 1/bad", "gone"]
    settings = Settings(("a run",), output, form=Form(names="{stem}/{name}.flac"))
    assert separate_songs(separator(), jobs, settings) == 2
    lines = [json.loads(line) for line in
             memory.cat_file("/out/manifest.jsonl").decode().splitlines()]
    assert ["memory://" in line.get("error", "memory://") for line in lines] == 5 * [True]
    assert len(memory.find("/out")) == 1 + 3 * 2
    (tmp_path / "stem.flac").write_bytes(memory.cat_file("/out/drums/disc 1/001.flac"))
    drums_CN = separator()(*audio.read(folder / "001.wav"))["drums"]
    assert error_db(audio.read(tmp_path / "stem.flac")[0], drums_CN) < -75
    assert not list((tmp_path / "fetched").iterdir())
    assert separate_songs(separator(), jobs, settings) == 2
    lines = memory.cat_file("/out/manifest.jsonl").decode().splitlines()
    assert len(lines) == 5 + 2      # only what had failed was tried again


def test_what_was_fetched_is_let_go_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, whenever a song goes wrong, and when the work is given up; it is told by address."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "fetched"))
    (tmp_path / "fetched").mkdir()
    memory, wave_CN = fsspec.filesystem("memory"), trees.noise(30000)
    memory.store.clear()
    for sample in (5, 29999, None):
        nan_CN = wave_CN.copy()
        if sample is not None:
            nan_CN[0, sample] = np.nan
        soundfile.write(tmp_path / "x.wav", nan_CN.T, RATE, subtype="FLOAT")
        for number in range(2):
            memory.pipe_file(f"/bad/{sample}-{number}.wav", (tmp_path / "x.wav").read_bytes())
    jobs = plan(["memory://bad"], tmp_path)
    settings = Settings((), str(tmp_path / "out"))
    for job, record in collection.separate_jobs(separator(), jobs, settings):
        if "None" not in job.name:
            assert f"{job.source}: sample {job.name[:-2]} is not a number" in record["error"]
    assert len(jobs) == 6 and not list((tmp_path / "fetched").iterdir())
    work = collection.separate_jobs(separator(), jobs, settings)
    next(work)
    work.close()
    assert not list((tmp_path / "fetched").iterdir())


@pytest.mark.parametrize("address, words", [
    ("nonsense://x/y.wav", "nonsense://x/y.wav: .*give a path, or an address"),
    ("memory://gone/y.wav", "memory://gone/y.wav: there is no such file")])
def test_addresses_that_lead_nowhere(address: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        jobs = plan([address], tmp_path)
        (_, record), = collection.separate_jobs(separator(), jobs, Settings((), str(tmp_path)))
        raise InputError(record["error"])


def test_a_worker_whose_disk_is_full_tells_what_it_did(tmp_path: Path) -> None:
    save_run(tmp_path / "run", tiny())
    folder = songs(tmp_path / "in", 2)
    trees.write(folder / "long.wav", trees.noise(200000))
    settings = Settings((str(tmp_path / "run"),), str(tmp_path / "out"),
                        form=Form(bits=16, clip="clamp"))
    with trees.small_disk():
        done, refused = collection.separate_chunk(settings, plan([folder], tmp_path / "out"))
    assert sorted(record["name"] for record in done) == ["000", "001"]
    assert isinstance(refused, audio.DiskRefused)


@pytest.mark.slow
def test_ray_makes_the_same_stems(tmp_path: Path) -> None:
    save_run(tmp_path / "run", tiny())
    folder = songs(tmp_path / "in", 6)
    (folder / "bad.wav").write_text("words")
    command = [sys.executable, "-m", "stemsep.separate", f"--checkpoint={tmp_path / 'run'}",
               str(folder)]
    for output, flags in (("one", []), ("many", ["--engine=ray", "--workers=2"])):
        done = subprocess.run([*command, f"--output={tmp_path / output}", *flags], cwd=ROOT,
                              capture_output=True, text=True, timeout=300)
        assert done.returncode == 1 and "bad.wav: is no audio" in done.stderr, done.stderr
        assert "6 of 7 songs separated" in done.stdout
    one, many = contents(tmp_path / "one"), contents(tmp_path / "many")
    assert one.keys() == many.keys() and len(one) == 12
    for name in one:
        error = error_db(audio.read(tmp_path / "many" / name)[0],
                         audio.read(tmp_path / "one" / name)[0])
        assert error < -80
    done = subprocess.run([*command, "--engine=ray", "--devices_per_worker=1",
                           f"--output={tmp_path / 'gpu'}"], cwd=ROOT, capture_output=True,
                          text=True, timeout=300)
    assert done.returncode == 1 and "is to have 1 GPUs, and the Ray cluster has 0" in done.stderr


def test_an_interrupt_leaves_whole_songs(tmp_path: Path) -> None:
    """Ctrl-C: the command ends soon, by one word, without half files; what was done stays done."""
    save_run(tmp_path / "run", tiny())
    for number in range(40):
        trees.write(tmp_path / "in" / f"{number:02}.wav", trees.noise(200000, seed=number % 7))
    process = subprocess.Popen(
        [sys.executable, "-m", "stemsep.separate", f"--checkpoint={tmp_path / 'run'}",
         f"--output={tmp_path / 'out'}", "--bits=16", str(tmp_path / "in")], cwd=ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while len(records_so_far(tmp_path / "out")) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "interrupted" in said and "Traceback" not in said
    done = {record["name"] for record in records_so_far(tmp_path / "out")}
    assert 3 <= len(done) < 40
    assert sorted(contents(tmp_path / "out")) == sorted(
        f"{name}/{stem}.wav" for name in done for stem in ("accompaniment", "drums"))


def test_launched_processes_share_the_songs_out(tmp_path: Path) -> None:
    save_run(tmp_path / "run", tiny())
    folder = songs(tmp_path / "in", 3)
    command = [sys.executable, "-m", "stemsep.separate", f"--checkpoint={tmp_path / 'run'}",
               f"--output={tmp_path / 'out'}", "--engine=spmd", str(folder)]
    for rank in range(2):
        environment = {**os.environ, "SLURM_PROCID": str(rank), "SLURM_NTASKS": "2"}
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300,
                              env=environment)
        assert done.returncode == 0, done.stderr
    assert [sorted(line["name"] for line in records_so_far(tmp_path / "out", f"{part}-of-2."))
            for part in (1, 2)] == [["000", "002"], ["001"]]


def test_songs_from_standard_input(tmp_path: Path) -> None:
    save_run(tmp_path / "run", tiny())
    folder = songs(tmp_path / "in", 3)
    done = subprocess.run(
        [sys.executable, "-m", "stemsep.separate", f"--checkpoint={tmp_path / 'run'}",
         f"--output={tmp_path / 'out'}", "--list=-", "--names={stem}/{name}.ogg",
         "--mix=drums+accompaniment", "--stems=drums", "--wiener=1", "--shifts=2"],
        input=f"{folder / '000.wav'}\n{folder / '002.wav'}\n", cwd=ROOT, capture_output=True,
        text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert sorted(contents(tmp_path / "out")) == [
        f"{stem}/{name}.ogg" for stem in ("drums+accompaniment", "drums")
        for name in ("000", "002")]


@pytest.mark.parametrize("flags, words", [
    (["--names={stem}.wav", "x.wav"], "--names {stem}.wav: lacks {name}"),
    (["--stems=guitar", "x.wav"], "this model has no stem 'guitar'"),
    (["--bits=16", "--clip=keep", "x.wav"], "--clip=keep needs"),
    (["--shifts=0", "x.wav"], "shifts is 0"), (["--wiener=99", "x.wav"], "wiener is 99"),
    (["--shard=3/2", "x.wav"], "--shard 3/2"), ([], "no song given"),
    (["--batch=-1", "x.wav"], "batch is -1"),
    (["--benchmark", "--engine=ray", "x.wav"], "--benchmark times this process with all its "
     "devices; leave out --engine=ray"),
    (["--benchmark", "--shard=1/2"], "leave out --shard"),
    (["--list=gone.txt"], "gone.txt"), (["--engine=spmd", "x.wav"], "no launcher set"),
    (["no*such.wav"], "no*such.wav: holds no audio files")])
def test_wrong_commands_are_sentences(
    tmp_path: Path, flags: list[str], words: str, shared_run: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stemsep.separate", f"--checkpoint={shared_run}",
         f"--output={tmp_path / 'out'}", *flags], cwd=ROOT, capture_output=True, text=True,
        timeout=300)
    assert done.returncode == 1 and done.stderr.startswith("error: ")
    assert words in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*.wav"))


@pytest.fixture(scope="module")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save_run(folder / "run", tiny())
    return folder / "run"


def test_a_benchmark_of_noise_keeps_nothing(tmp_path: Path, shared_run: Path) -> None:
    said = benchmark(tmp_path, f"--checkpoint={shared_run}", "--batch=0").stdout
    assert "60.0 s of audio" in said and "batches of 8 windows of 1 channel on 1 cpu" in said
    for word in ("times real time", "decode", "device", "encode", "compile", "GB at most"):
        assert word in said
    assert not list(tmp_path.rglob("*"))


def test_a_benchmark_of_songs_keeps_their_stems_where_asked(
    tmp_path: Path, shared_run: Path
) -> None:
    song = trees.write(tmp_path / "song.wav", trees.noise(9000, channels=2))
    (tmp_path / "bad.wav").write_text("no audio")
    for output in ([], [f"--output={tmp_path / 'out'}"], [f"--output={tmp_path / 'out'}"]):
        done = benchmark(tmp_path, f"--checkpoint={shared_run}", *output, str(song), "bad.wav")
        assert done.returncode == 1 and "bad.wav" in done.stderr
        assert "1.1 s of audio" in done.stdout      # though it was done already
        assert "batches of 4 windows of 2 channels" in done.stdout
        assert len(list(tmp_path.rglob("*.wav"))) == 2 + 2 * len(output)


def benchmark(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "stemsep.separate", "--benchmark", *arguments], cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}, capture_output=True,
        text=True, timeout=300)


def test_several_models_are_averaged(tmp_path: Path) -> None:
    one = save_run(tmp_path / "one", tiny())
    song_CN = trees.noise(9000, channels=2)
    stems = Separator.load(tmp_path / "one", tmp_path / "one")(song_CN, RATE)
    for stem, wave_CN in one(song_CN, RATE).items():
        assert error_db(stems[stem], wave_CN) < -80
    both = Separator(tiny(), *(s._variables[0] for s in (one, separator())),
                     estimators=[s.windows.estimators[0] for s in (one, separator())])
    for stem, wave_CN in both(song_CN, RATE).items():
        mean = (one(song_CN, RATE)[stem] + separator()(song_CN, RATE)[stem]) / 2
        assert error_db(wave_CN, mean) < -80
    other = tiny(channels=2)
    save_run(tmp_path / "stereo", other)
    with pytest.raises(InputError, match="stereo: its config.audio.channels is 2, that of .* 1"):
        Separator.load(tmp_path / "one", tmp_path / "stereo")


def test_settings_travel(tmp_path: Path) -> None:
    """A worker of a cluster is sent what it needs, hashable and picklable."""
    import pickle

    settings = Settings(("run",), "out", Quality(shifts=2), Form(stems=("drums",)))
    assert pickle.loads(pickle.dumps(settings)) == settings and hash(settings)
    assert isinstance(Job("a", "b"), Job)


def test_a_name_that_no_file_can_have_costs_one_song(tmp_path: Path) -> None:
    folder = songs(tmp_path / "in", 3)
    (tmp_path / "out" / "001" / "drums.wav").mkdir(parents=True)    # in its way
    jobs = [*plan([folder], tmp_path / "out"), Job(str(folder / "000.wav"), "x" * 300)]
    assert separate_songs(separator(), jobs, Settings((), str(tmp_path / "out"))) == 2
    failed = [line for line in records(tmp_path / "out") if line["status"] == "failed"]
    assert {line["name"] for line in failed} == {"001", "x" * 300}
    assert all("cannot be written (" in line["error"] and "another name" in line["error"]
               for line in failed)


def test_what_is_given_up_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Songs that were fetched ahead, or are half written, when the work ends early."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    memory = fsspec.filesystem("memory")
    folder = songs(tmp_path / "in", 6)
    (folder / "000.wav").write_text("words")
    for path in folder.iterdir():
        memory.pipe_file(f"/given up/{path.name}", path.read_bytes())
    before = threading.active_count()
    work = collection.separate_jobs(separator(), plan(["memory://given up"], "memory://stems"),
                                    Settings((), "memory://stems"))
    assert next(work)[1]["status"] == "failed"
    assert next(work)[1]["status"] == "done"
    work.close()
    assert not list((tmp_path / "temporary").iterdir()) and threading.active_count() == before


@pytest.mark.slow
def test_an_interrupt_leaves_no_half_file(tmp_path: Path) -> None:
    save_run(tmp_path / "run", tiny())
    folder = tmp_path / "in"
    for number in range(40):
        trees.write(folder / f"{number:02}.wav", trees.noise(300000, channels=2))
    process = subprocess.Popen(
        [sys.executable, "-m", "stemsep.separate", f"--checkpoint={tmp_path / 'run'}",
         f"--output={tmp_path / 'out'}", str(folder)], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    while len(records_so_far(tmp_path / "out")) < 2:
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and "interrupted" in said and "Traceback" not in said
    assert not list((tmp_path / "out").rglob(".*"))
    done = {line["name"] for line in records_so_far(tmp_path / "out")}
    assert {path.parent.name for path in (tmp_path / "out").rglob("*.wav")} == done
