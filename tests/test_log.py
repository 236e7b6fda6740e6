"""The log of a run: every line once, in log.jsonl and in the sinks; a full disk stops nothing."""

import importlib.util
import io
import json
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from stemsep import log, sinks, train
from stemsep.checkpoint import Checkpoints
from stemsep.config import Config, from_dict, to_dict
from stemsep.errors import InputError
from tests import runs, trees
from tests.test_train import lines

RATE = 8000


class Memory:
    """A sink that keeps what it gets, and fails from a step on."""

    name = "Memory"

    def __init__(self, *, fails_at: int = 10**9) -> None:
        self.got: list[tuple[str, int, Any]] = []
        self._fails_at = fails_at

    def scalars(self, step: int, values: Any) -> None:
        if step >= self._fails_at:
            raise OSError(28, "No space left on device")
        self.got.append(("scalars", step, dict(values)))

    def text(self, step: int, name: str, text: str) -> None:
        self.got.append(("text", step, text))

    def song(self, step: int, name: str, picture_HWC: Any, waves: Any, rate: int) -> None:
        self.got.append(("song", step, (name, picture_HWC, dict(waves), rate)))

    def close(self) -> None:
        self.got.append(("close", 0, None))


def opened(folder: Path, *given: log.Sink, start: int = 0, song_s: float = 0.5) -> log.Log:
    return log.Log(folder, start=start, steps=10, seconds_a_step=1.0, visible=True,
                   get=lambda metrics: metrics, sinks=given, song_s=song_s)


def steps(into: log.Log, first: int, last: int) -> None:
    for step in range(first, last + 1):
        into.step(step, {name: jnp.float32(step) for name in ("loss", "gradient_norm")})
        into.point()
    into.flush()
    into.validation(last, {"raw": {"loss": 0.5, "sdr_drums": 3.0}}, best="raw", best_score=3.0)


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def song(channels: int = 1, peak: float = 0.5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    drums_CN = rng.uniform(-peak, peak, (channels, RATE)).astype(np.float32)
    return {"mixture": 2 * drums_CN, "drums": drums_CN}


def events(folder: Path) -> list[Any]:
    """All TensorBoard events of a folder, as a reader of the format sees them: files by name,
    checksums verified, and those forgotten that a later start says it writes again.
    """
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.record_writer import masked_crc32c

    seen: list[Any] = []
    for path in sorted(folder.glob("*.tfevents.*"), key=lambda path: path.stat().st_ctime_ns):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (size,) = struct.unpack_from("<Q", data, place)
            (sum_of_size,) = struct.unpack_from("<I", data, place + 8)
            (sum_of_event,) = struct.unpack_from("<I", data, place + 12 + size)
            content = data[place + 12: place + 12 + size]
            assert sum_of_size == masked_crc32c(data[place: place + 8])
            assert sum_of_event == masked_crc32c(content)
            event = Event.FromString(content)
            if event.HasField("session_log") and event.session_log.status == SessionLog.START:
                seen = [older for older in seen if older.step < event.step]
            seen.append(event)
            place += 16 + size
    return seen


def curves(folder: Path) -> list[tuple[int, str, float]]:
    """(step, name, value) of every scalar that TensorBoard shows, without the speeds."""
    return [(event.step, value.tag, value.simple_value)
            for event in events(folder) for value in event.summary.value
            if value.WhichOneof("value") == "simple_value" and not value.tag.startswith("speed/")]


def test_every_line_goes_to_the_sinks_with_its_group(tmp_path: Path) -> None:
    sink = Memory()
    with opened(tmp_path, sink) as into:
        steps(into, 1, 2)
    scalars = [(step, values) for kind, step, values in sink.got if kind == "scalars"]
    assert [step for step, _ in scalars] == [1, 2, 2] == [r["step"] for r in records(tmp_path)]
    assert scalars[0][1]["train/loss"] == 1.0 and scalars[0][1]["speed/steps_per_s"] > 0
    assert scalars[2][1] == {"validation/loss": 0.5, "validation/sdr_drums": 3.0,
                             "validation/best_score": 3.0}
    assert sink.got[-1][0] == "close"


def test_a_validation_that_is_owed_is_told_once(tmp_path: Path) -> None:
    """That of the step it goes on from is dropped; earlier ones, and metrics, stay."""
    with opened(tmp_path) as first:
        steps(first, 1, 2)
        steps(first, 3, 4)
    whole = records(tmp_path)
    with log.Log(tmp_path, start=4, owed=True, steps=10, seconds_a_step=1.0, visible=True,
                 get=lambda metrics: metrics) as second:
        second.validation(4, {"raw": {"loss": 0.5, "sdr_drums": 3.0}}, best="raw", best_score=3.0)
    assert records(tmp_path) == whole
    assert sum("validation_best" in record for record in whole) == 2


def test_a_sink_that_fails_is_left_out_and_training_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    failing, sound = Memory(fails_at=2), Memory()
    with opened(tmp_path, failing, sound) as into:
        steps(into, 1, 4)
    assert [step for kind, step, _ in failing.got] == [1]
    assert [step for kind, step, _ in sound.got if kind == "scalars"] == [1, 2, 3, 4, 4]
    said = "".join(capsys.readouterr())
    assert said.count("Memory cannot be written to (No space left on device)") == 1


@trees.small_disk()
def test_a_full_disk_costs_lines_of_the_log_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with opened(tmp_path) as into:
        into.write({"step": 1, "loss": 1.0})
        into.write({"step": 2, "note": "x" * (1 << 16)})
        into.write({"step": 3, "note": "y" * (1 << 16)})
    said = "".join(capsys.readouterr())
    assert said.count("log.jsonl cannot be written to") == 1 and "training goes on" in said
    with opened(tmp_path, start=5) as into:         # what was cut is no line
        into.write({"step": 6, "loss": 2.0})
    assert [record["step"] for record in records(tmp_path)] == [1, 6]


def test_songs_are_drawn_cut_and_within_full_scale(tmp_path: Path) -> None:
    sink = Memory()
    waves = song(channels=6, peak=1.0)      # the mixture reaches 2
    with opened(tmp_path, sink, song_s=0.5) as into:
        into.songs(3, {"My song": waves}, RATE)
        into.songs(6, {"My song": waves, "other": waves}, RATE)
    got = [(step, *what) for kind, step, what in sink.got if kind == "song"]
    assert [(step, name, list(heard)) for step, name, _, heard, _ in got] == [
        (3, "My song", ["mixture", "drums"]), (6, "My song", ["drums"]),
        (6, "other", ["mixture", "drums"])]
    _, _, picture_HWC, heard, rate = got[0]
    assert picture_HWC.dtype == np.uint8 and picture_HWC.shape[2] == 3 and picture_HWC.std() > 1
    assert rate == RATE and heard["drums"].shape == (2, RATE // 2)
    assert np.abs(heard["mixture"]).max() == pytest.approx(1.0)
    np.testing.assert_allclose(heard["mixture"], 2 * heard["drums"], rtol=1e-5)


def test_without_sinks_or_seconds_songs_cost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log.pictures, "figure", lambda *_, **__: pytest.fail("drawn for nobody"))
    sink = Memory()
    with opened(tmp_path) as into:
        into.songs(1, {"a": song()}, RATE)
    with opened(tmp_path, sink, song_s=0.0) as into:
        into.songs(1, {"a": song()}, RATE)
    assert not [kind for kind, *_ in sink.got if kind == "song"]


def test_tensorboard_reads_back_what_was_logged(tmp_path: Path) -> None:
    waves = song()
    with opened(tmp_path, sinks.TensorBoard(tmp_path / "tb", start=0)) as into:
        into.text(0, "summary", "two\nlines")
        steps(into, 1, 2)
        into.songs(2, {"My song": waves}, RATE)
    assert curves(tmp_path / "tb") == [
        (1, "train/loss", 1.0), (1, "train/gradient_norm", 1.0),
        (2, "train/loss", 2.0), (2, "train/gradient_norm", 2.0),
        (2, "validation/loss", 0.5), (2, "validation/sdr_drums", 3.0),
        (2, "validation/best_score", 3.0)]
    values = [(event.step, value) for event in events(tmp_path / "tb")
              for value in event.summary.value]
    texts = [value.tensor.string_val[0].decode() for _, value in values if value.HasField("tensor")]
    assert texts == ["    two\n    lines\n"]
    (picture,) = [(step, value.image) for step, value in values if value.HasField("image")]
    assert picture[0] == 2 and picture[1].encoded_image_string.startswith(b"\x89PNG")
    heard = {value.tag: value.audio for _, value in values if value.HasField("audio")}
    assert set(heard) == {"songs/My song/mixture", "songs/My song/drums"}
    wave_N, rate = soundfile.read(io.BytesIO(heard["songs/My song/drums"].encoded_audio_string))
    assert rate == RATE
    np.testing.assert_allclose(wave_N, waves["drums"][0, : RATE // 2], atol=1e-4)


def test_tensorboard_shows_no_step_twice_after_resuming(tmp_path: Path) -> None:
    for start, last in ((0, 5), (3, 6)):        # killed after 5, whose checkpoint is of 3
        with opened(tmp_path, sinks.TensorBoard(tmp_path / "tb", start=start), start=start) as into:
            steps(into, start + 1, last)
    seen = [step for step, tag, _ in curves(tmp_path / "tb") if tag == "train/loss"]
    assert seen == [1, 2, 3, 4, 5, 6]
    losses = [r for r in records(tmp_path) if "loss" in r]
    assert [record["step"] for record in losses] == seen


def test_a_resumed_run_has_the_curves_of_an_uninterrupted_one(tmp_path: Path) -> None:
    config = runs.tiny(tmp_path)
    config.log.tensorboard = True
    config.check()
    train.train(config, tmp_path / "whole")
    train.train(config, tmp_path / "parts")
    with Checkpoints(tmp_path / "parts") as checkpoints:
        checkpoints.delete(6)
    train.train(config, tmp_path / "parts")
    whole, parts = (curves(tmp_path / name / "tensorboard") for name in ("whole", "parts"))
    assert whole == parts and {step for step, *_ in whole} == {2, 3, 4, 6}
    assert {tag for _, tag, _ in whole} >= {"train/loss", "train/loss_drums", "validation/loss"}
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
    before = sorted((tmp_path / "parts" / "tensorboard").iterdir())
    train.train(config, tmp_path / "parts")     # a finished run begins no events
    assert before == sorted((tmp_path / "parts" / "tensorboard").iterdir())


def test_tensorboard_needs_nothing_of_tensorflow(tmp_path: Path) -> None:
    program = ("import sys; from pathlib import Path; from stemsep.sinks import TensorBoard; "
               "TensorBoard(Path(sys.argv[1]), start=0).scalars(1, {'train/loss': 1.0}); "
               "bad = {m.split('.')[0] for m in sys.modules} & {'tensorflow', 'tensorboard'}; "
               "sys.exit(str(bad) if bad else 0)")
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=runs.ROOT,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("setting, package, words", [
    (("tensorboard", True), "tensorboardX", "config.log.tensorboard needs.*pip install tensorbo"),
    (("wandb", "songs"), "wandb", "config.log.wandb needs.*pip install wandb; .*--config.log.wan"),
    (("wandb", "songs"), "matplotlib", "pip install matplotlib"),
])
def test_a_missing_extra_is_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: tuple, package: str, words: str
) -> None:
    config = Config()
    setattr(config.log, *setting)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec",
                        lambda name: None if name == package else found(name))
    with pytest.raises(InputError, match=words):
        train.train(config.check(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_of_weights_and_biases_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leftbehind").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not sinks._installed("leftbehind") and sinks._installed("numpy")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="Weights & Biases is not installed")
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_CONSOLE": "off",
                        "WANDB__DISABLE_STATS": "true"}.items():
        monkeypatch.setenv(name, value)


def offline_records(workdir: Path) -> list[Any]:
    """The records of all offline runs of a workdir, oldest first.

    A file of W&B is a header of 7 bytes, then LevelDB's log: blocks of 32 KiB with pieces of
    records, each after its checksum, length and kind (1 a whole one, 2 first, 3 middle, 4 last).
    """
    from wandb.proto import wandb_internal_pb2

    found = []
    for path in sorted(workdir.glob("wandb/offline-run-*/*.wandb"),
                       key=lambda path: path.stat().st_mtime_ns):
        data, place, whole = path.read_bytes(), 7, b""
        while place + 7 <= len(data):
            if (left := -place % 32768) and left < 7:
                place += left
                continue
            size, kind = struct.unpack_from("<HB", data, place + 4)
            whole += data[place + 7: place + 7 + size]
            place += 7 + size
            if kind in (1, 4):
                found.append(wandb_internal_pb2.Record.FromString(whole))
                whole = b""
    return found


def history(record: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json)
            for item in record.history.item}


def test_weights_and_biases_offline_goes_on_as_the_same_run(tmp_path: Path, offline: None) -> None:
    config = from_dict({**to_dict(Config(name="mine")), "log": {"wandb": "songs"}})
    for start, last in ((0, 2), (2, 3)):
        with opened(tmp_path, sinks.WeightsAndBiases(config, tmp_path), start=start) as into:
            steps(into, start + 1, last)
            into.songs(last, {"My song": song()}, RATE)
    for _ in range(300):        # its service writes in its own time, on a busy machine after us
        found = offline_records(tmp_path)
        rows = [history(record) for record in found
                if record.WhichOneof("record_type") == "history"]
        if any(row["_step"] == 3 and "train/loss" in row for row in rows):
            break
        time.sleep(0.2)
    started = [record.run for record in found if record.WhichOneof("record_type") == "run"]
    ids = {run.run_id for run in started}
    assert ids == {(tmp_path / "wandb" / "id").read_text()}
    assert {(run.project, run.display_name) for run in started} == {("songs", "mine")}
    logged = {(row["_step"], name): value for row in rows for name, value in row.items()}
    assert [logged[step, "train/loss"] for step in (1, 2, 3)] == [1.0, 2.0, 3.0]
    assert logged[2, "validation/loss"] == 0.5
    assert logged[3, "songs/My song._type"] == "image-file"
    assert logged[3, "songs/My song/drums._type"] == "audio-file"


def test_weights_and_biases_that_refuses_is_one_sentence(tmp_path: Path) -> None:
    """Before any work: there is no key on this machine, and nobody to ask for it."""
    pytest.importorskip("wandb", reason="Weights & Biases is not installed")
    config = runs.tiny(tmp_path)
    config.log.wandb = "songs"
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    done = runs.command("--config", tmp_path / "config.json", f"--workdir={tmp_path / 'run'}",
                        WANDB_MODE="online", WANDB_API_KEY="", HOME=str(tmp_path),
                        NETRC=str(tmp_path / "none"))
    assert done.returncode == 1 and not done.stdout and not (tmp_path / "run").exists()
    said = done.stderr.strip().splitlines()
    assert said[-1].startswith("error: config.log.wandb 'songs': No API key configured")
    assert said[-1].endswith("run `wandb login`, or set WANDB_MODE=offline")


def test_weights_and_biases_offline_asks_for_no_key(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="Weights & Biases is not installed")
    config = runs.tiny(tmp_path)
    config.log.wandb = "songs"
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    done = runs.command("--config", tmp_path / "config.json", f"--workdir={tmp_path / 'run'}",
                        WANDB_MODE="offline", WANDB_API_KEY="", HOME=str(tmp_path),
                        WANDB_SILENT="true")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "run" / "wandb").glob("offline-run-*"))) == 1
    rows = [history(record) for record in offline_records(tmp_path / "run")
            if record.WhichOneof("record_type") == "history"]
    assert [row["_step"] for row in rows if "validation/loss" in row] == [3, 6]
