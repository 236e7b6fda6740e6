"""The engine gives every item its answer, whatever becomes of the workers."""

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stemsep import engine
from stemsep.errors import InputError


def square_or_fail(number: int) -> int:
    if number == 3:
        raise ValueError("three is not squared")
    return number ** 2


def die(number: int, *, marks: Path, times: int) -> int:
    """Kill the process that works on item 1, `times` times."""
    mark = marks / str(len(list(marks.iterdir())))
    if number == 1 and len(list(marks.iterdir())) < times:
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def environment(_: int) -> tuple[str | None, bool]:
    return os.environ.get("OMP_NUM_THREADS"), "jax" in sys.modules


def start_and_wait(number: int, *, folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(60)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_has_its_answer(workers: int) -> None:
    answers = dict(engine.run(square_or_fail, range(6), workers=workers))
    failure = answers.pop(3)
    assert answers == {0: 0, 1: 1, 2: 4, 4: 16, 5: 25}
    assert isinstance(failure, ValueError) and str(failure) == "three is not squared"
    assert "square_or_fail" in failure.__notes__[0]


@pytest.mark.parametrize("times", [1, 2])
def test_a_killed_worker_is_tried_again_then_reported(tmp_path: Path, times: int) -> None:
    task = functools.partial(die, marks=tmp_path, times=times)
    answers = dict(engine.run(task, range(4), workers=2))
    assert {number: answers[number] for number in (0, 2, 3)} == {0: 0, 2: 2, 3: 3}
    if times == 1:
        assert answers[1] == 1
    else:
        assert isinstance(answers[1], engine.WorkerDied) and "-9" in str(answers[1])


def test_workers_are_slim() -> None:
    before = os.environ.get("OMP_NUM_THREADS")
    assert {answer for _, answer in engine.run(environment, range(2), workers=2)} == {("1", False)}
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    # No `if __name__ == "__main__"`: a worker does not import the program that was started.
    program = (
        "import functools, pathlib\n"
        "from stemsep import engine\n"
        "from tests.test_engine import start_and_wait\n"
        f"task = functools.partial(start_and_wait, folder=pathlib.Path({str(tmp_path)!r}))\n"
        "list(engine.run(task, range(2), workers=2))\n")
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parent.parent)
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    parent.kill()
    parent.wait()
    workers = [int(path.name) for path in tmp_path.iterdir()]
    wait_until(lambda: not any(map(alive, workers)))
    assert len(workers) == 2 and not any(map(alive, workers))


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for the condition, a minute at most."""
    end_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end_s, "it did not happen within a minute"
        time.sleep(0.02)


def test_processes_of_a_job_share_the_items(monkeypatch: pytest.MonkeyPatch) -> None:
    items = list(range(10))
    assert engine.share(items, "local") == items == engine.share(items, "ray")
    for own, count in (("STEMSEP_PROCESS", "STEMSEP_PROCESSES"), ("SLURM_PROCID", "SLURM_NTASKS")):
        shares = []
        for process in range(3):
            monkeypatch.setenv(own, str(process))
            monkeypatch.setenv(count, "3")
            shares.append(engine.share(items, "spmd"))
        assert sorted(item for share in shares for item in share) == items and len(shares[0]) == 4
        monkeypatch.setenv(own, "3")
        with pytest.raises(InputError, match=f"{own}='3' of {count}='3' is no process of a job"):
            engine.share(items, "spmd")
        monkeypatch.delenv(own)
    with pytest.raises(InputError, match="no launcher set STEMSEP_PROCESS or SLURM_PROCID"):
        engine.rank()


RAY = """
import functools, pathlib, sys
from stemsep import engine
from stemsep.errors import InputError
from tests.test_engine import die, square_or_fail

if __name__ == "__main__":
    answers = dict(engine.run(square_or_fail, range(6), workers=2, engine="ray"))
    failure = answers.pop(3)
    assert answers == {0: 0, 1: 1, 2: 4, 4: 16, 5: 25}, answers
    assert str(failure) == "three is not squared", failure
    for times in (1, 2):
        marks = pathlib.Path(sys.argv[1]) / str(times)
        marks.mkdir()
        task = functools.partial(die, marks=marks, times=times)
        answers = dict(engine.run(task, range(4), workers=2, engine="ray"))
        assert {n: answers[n] for n in (0, 2, 3)} == {0: 0, 2: 2, 3: 3}, answers
        if times == 1:
            assert answers[1] == 1, answers
        else:
            assert isinstance(answers[1], engine.WorkerDied), answers
    print("as it should be")
"""


@pytest.mark.slow
def test_ray_gives_the_same_answers(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(RAY)
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, str(program), str(tmp_path)], cwd=root, text=True,
                          capture_output=True, timeout=300, env={**os.environ,
                                                                 "PYTHONPATH": str(root)})
    assert done.returncode == 0 and "as it should be" in done.stdout, done.stderr


def test_a_missing_ray_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match="needs the package ray; install it .pip install ray"):
        list(engine.run(square_or_fail, range(2), engine="ray"))
