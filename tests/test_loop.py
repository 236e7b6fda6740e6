"""The loop of training keeps its devices busy: nothing is compiled twice, nothing read too early,
and what a step needs is there before it."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stemsep import train
from stemsep.config import Config, from_dict, to_dict
from stemsep.log import Log
from stemsep.parallel import DataParallel, Program
from tests import runs

Event = tuple[str, Any]


@pytest.fixture(params=["pmap", "shard_map"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Config:
    """Twelve steps, logged every two, saved every three, judged every six."""
    c = runs.tiny(tmp_path)
    c.parallel = request.param
    c.train.steps, c.train.log_every, c.train.save_every, c.train.validate_every = 12, 2, 3, 6
    return c.check()


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Event]]:
    """What happens in a run, in order: ("compile", what), ("step", done), ("validation", done)."""
    happened: list[Event] = []

    def noted(name: str, method: Callable) -> Callable:
        def call(log: Log, done: int, *args: Any, **settings: Any) -> None:
            happened.append((name, done))
            method(log, done, *args, **settings)
        return call

    def compiling(event: str, duration_secs: float, **facts: str | int) -> None:
        if event.startswith("/jax/core/compile/"):      # tracing, lowering, and the compiler
            happened.append(("compile", f"{event} {facts.get('fun_name')}"))

    for name in ("step", "validation"):
        monkeypatch.setattr(Log, name, noted(name, getattr(Log, name)))
    jax.monitoring.register_event_duration_secs_listener(compiling)
    yield happened
    jax.monitoring.unregister_event_duration_listener(compiling)


def stepping(monkeypatch: pytest.MonkeyPatch, around: Callable[[Callable, Any, Any], Any]) -> None:
    """Let `around(step, state, batch)` do every step of training."""
    compiled = DataParallel.compiled

    def replaced(devices: DataParallel, mapped: Callable, *arguments: Any) -> Program:
        program = compiled(devices, mapped, *arguments)
        if "stems" not in arguments[1]:     # the separation of validation
            return program
        return dataclasses.replace(
            program, call=lambda state, batch: around(program.call, state, batch))

    monkeypatch.setattr(DataParallel, "compiled", replaced)


def test_nothing_compiles_after_the_first_step_and_the_first_validation(
    config: Config, tmp_path: Path, events: list[Event]
) -> None:
    train.train(config, tmp_path / "run")
    first, judged = events.index(("step", 1)), events.index(("validation", 6))
    assert any("backend_compile" in what for name, what in events[:first] if name == "compile")
    between = events[first:events.index(("step", 6)) + 1]       # with a save, after step 3
    assert between == [("step", done) for done in range(1, 7)]
    assert events[judged:] == [("validation", 6), *[("step", done) for done in range(7, 13)],
                               ("validation", 12)]


def test_another_shape_would_be_seen_to_compile(events: list[Event]) -> None:
    twice = jax.jit(lambda x: 2 * x)
    arrays = [jax.device_put(np.zeros(size, np.float32)) for size in (3, 4, 4)]
    compiled = []
    for array in arrays:
        events.clear()
        twice(array)
        compiled.append(any("backend_compile" in what for _, what in events))
    assert compiled == [True, True, False]


def test_the_loop_moves_nothing_that_it_was_not_told_to(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU the guard sees what goes to the device: a number or an array of numpy's among the
    arguments of a step. That nothing is read unasked it sees on accelerators only; here the next
    test does.
    """
    loop = train.loop

    def guarded(*arguments: Any, **more: Any) -> tuple[int, bool]:
        with jax.transfer_guard("disallow"):
            with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
                jnp.zeros(1) + np.ones(1, np.float32)
            return loop(*arguments, **more)

    monkeypatch.setattr(train, "loop", guarded)
    train.train(config, tmp_path / "run")


class Pending:
    """A metric on the device, which may be waited for, and read by `DataParallel.get` only."""

    def __init__(self, array: Any, told: Callable[[str], None]) -> None:
        self._array, self._told = array, told

    def __bool__(self) -> bool:
        raise AssertionError("the loop waits for a metric")

    def is_ready(self) -> bool:
        return self._array.is_ready()

    def block_until_ready(self) -> "Pending":
        self._told("waited")
        return self

    def addressable_data(self, index: int) -> jax.Array:
        self._told("read")
        return self._array.addressable_data(index)


@pytest.fixture
def told(config: Config, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Of a run: ("put", step, done), ("waited", step, done) and ("read", step, done): for which
    step a batch was put, and which step's metrics were waited for or read, after how many steps.
    """
    happened: list[tuple[str, int, int]] = []
    done, given = 0, 0

    def pending(step: Callable, state: Any, batch: Any) -> Any:
        nonlocal done
        state, metrics = step(state, batch)
        done += 1

        def tell(what: str, of: int = done) -> None:
            if (what, of, done) not in happened:        # once for all of a step's metrics
                happened.append((what, of, done))

        return state, {name: Pending(array, tell) for name, array in metrics.items()}

    def put(devices: DataParallel, batch: Any) -> Any:
        nonlocal given
        on_devices = original(devices, batch)
        if "stems" not in batch:        # a mixture to separate in validation
            return on_devices
        if given:           # the first is the example that the step is compiled for
            happened.append(("put", given, done))
        given += 1
        return on_devices

    original = DataParallel.put
    monkeypatch.setattr(DataParallel, "put", put)
    stepping(monkeypatch, pending)
    return happened


def test_metrics_are_read_one_log_point_late(
    config: Config, tmp_path: Path, told: list[tuple[str, int, int]]
) -> None:
    values = to_dict(config)
    values["train"] |= {"save_every": 12, "validate_every": 12}
    train.train(from_dict(values), tmp_path / "run")
    read = [(of, done) for what, of, done in told if what == "read"]
    # Those of steps 1 and 2 after step 4, and so on; at the end nothing is left unread.
    assert read == [(1, 4), (2, 4), (3, 6), (4, 6), (5, 8), (6, 8), (7, 10), (8, 10),
                    (9, 12), (10, 12), (11, 12), (12, 12)]


def test_a_batch_is_put_while_the_step_before_runs(
    config: Config, tmp_path: Path, told: list[tuple[str, int, int]]
) -> None:
    """Two steps are queued on the device when the next one's batch goes there: neither has been
    waited for.
    """
    values = to_dict(config)
    values["train"] |= {"save_every": 12, "validate_every": 12}
    train.train(from_dict(values), tmp_path / "run")
    order = [(what, of) for what, of, _ in told]
    for step in range(2, 13):
        assert ("waited", step - 1) not in order[:order.index(("put", step))]
    assert [(of, done) for what, of, done in told if what == "waited"] == [
        (done - train.AHEAD, done) for done in range(train.AHEAD + 1, 13)]


def test_a_batch_is_float16_and_the_state_before_is_given_up(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a state only what the host holds as well may live on: on a CPU the two share memory."""
    given_up = []

    def watched(step: Callable, state: Any, batch: Any) -> Any:
        assert {leaf.dtype for leaf in jax.tree.leaves(batch)} == {jnp.dtype("float16")}
        new_state, metrics = step(state, batch)
        given_up.append([leaf.is_deleted() for leaf in jax.tree.leaves(state)])
        assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((new_state, batch)))
        return new_state, metrics

    stepping(monkeypatch, watched)
    train.train(config, tmp_path / "run")
    assert len(given_up) == 12
    for done in (2, 3, 5, 6, 8, 9, 11, 12):     # others follow a start, a save or a validation
        assert all(given_up[done - 1]), done
