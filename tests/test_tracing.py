"""--profile_steps: a trace of these steps and no others, or a sentence why there is none."""

import gzip
import json
from pathlib import Path

import pytest

from stemsep import tracing, train
from stemsep.config import to_dict
from stemsep.errors import InputError
from tests import runs


def traced_steps(workdir: Path) -> set[int]:
    """The steps of training that the traces in a run's folder name."""
    steps = set()
    for path in (workdir / "profile").rglob("*perfetto_trace.json.gz"):
        with gzip.open(path, "rt") as file:
            events = json.load(file)
        for event in events["traceEvents"] if isinstance(events, dict) else events:
            if event.get("name") == "train" and "step_num" in event.get("args", {}):
                steps.add(int(event["args"]["step_num"]))
    return steps


def test_a_command_writes_the_trace_of_its_steps(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(to_dict(runs.tiny(tmp_path))))
    done = runs.command("--config", tmp_path / "config.json", "--workdir", tmp_path / "run",
                        "--profile_steps=3:4")
    assert done.returncode == 0, done.stderr
    assert f"a trace of the steps 3 to 4 will be in {tmp_path}/run/profile" in done.stdout
    assert len(list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))) == 1
    assert traced_steps(tmp_path / "run") == {3, 4}
    done = runs.command("--config", tmp_path / "config.json", "--profile_steps=4:3")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "--profile_steps=4:3 is no range of steps; write the first and the last" in done.stderr


def test_of_a_range_that_the_run_does_in_part_there_is_that_part(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config = runs.tiny(tmp_path).check()
    train.train(config, tmp_path / "run", profile=(5, 100))
    assert "a trace of the steps 5 to 6" in capsys.readouterr().out
    assert traced_steps(tmp_path / "run") == {5, 6}


@pytest.mark.parametrize("steps, start, words", [
    ((7, 9), 0, "--profile_steps=7:9: no trace, as this run does steps 1 to 6"),
    ((1, 3), 3, "--profile_steps=1:3: no trace, as this run does steps 4 to 6"),
    ((1, 3), 6, "no trace, as this run does no steps any more"),
])
def test_a_range_outside_of_the_run_is_said(
    tmp_path: Path, steps: tuple[int, int], start: int, words: str
) -> None:
    with tracing.Trace(tmp_path, steps, start=start, stop=6, visible=True) as trace:
        assert words in trace.note
        for step in range(start + 1, 7):
            trace.before(step)
            trace.after(step, [])
    assert not (tmp_path / "profile").exists()


def test_a_run_that_ends_within_the_range_still_writes_its_trace(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        with tracing.Trace(tmp_path, (1, 3), start=0, stop=6, visible=True) as trace:
            trace.before(1)
            trace.after(1, [])
            raise KeyboardInterrupt
    assert traced_steps(tmp_path) == {1}


def test_only_the_main_process_traces(tmp_path: Path) -> None:
    with tracing.Trace(tmp_path, (1, 2), start=0, stop=6, visible=False) as trace:
        trace.before(1)
        trace.after(1, [])
    assert trace.note == "" and not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["5", "a:b", "3:", ":3", "9:3", "0:3", "-1:3", "1:2:3", "1.5:2"])
def test_a_wrong_range_is_one_sentence(text: str) -> None:
    with pytest.raises(InputError, match="is no range of steps"):
        tracing.parse(text)


def test_a_right_range() -> None:
    assert tracing.parse("10:12") == (10, 12) and tracing.parse("3:3") == (3, 3)
    assert tracing.parse("") is None
