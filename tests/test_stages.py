"""Stages that run at the same time: what they make is what they would make one after the other."""

import threading
import time
from collections.abc import Iterator

import pytest

from stemsep.errors import InputError
from stemsep.stages import Ahead, Cancelled, Times, conveyed

LENGTHS = {"a": 3, "b": 0, "c": 1, "d": 40, "e": 2}


def read(item: str) -> Iterator[str]:
    for number in range(LENGTHS[item]):
        yield f"{item}{number}"


def louder(rows: Iterator[tuple[str, str | None]]) -> Iterator[tuple[str, str | None]]:
    """As a device does: in batches of three, across items."""
    batch = []
    for item, row in rows:
        batch.append((item, row and row.upper()))
        if len(batch) == 3:
            yield from batch
            batch = []
    yield from batch


def joined(item: str, rows: Iterator[str]) -> str:
    return item + ":" + ",".join(rows)


@pytest.mark.parametrize("depth", [1, 3, 50])
@pytest.mark.parametrize("readers, writers", [(1, 1), (2, 2), (9, 3)])
def test_each_item_gets_its_own_rows_in_order(depth: int, readers: int, writers: int) -> None:
    done = list(conveyed(LENGTHS, read, louder, joined, depth=depth, readers=readers,
                         writers=writers))
    assert done == [(item, joined(item, (row.upper() for row in read(item)))) for item in LENGTHS]


def test_what_goes_wrong_costs_one_item() -> None:
    def broken_read(item: str) -> Iterator[str]:
        for number, row in enumerate(read(item)):
            if item == "d" and number == 20:
                raise InputError("d is cut short")
            yield row

    def broken_finish(item: str, rows: Iterator[str]) -> str:
        if item == "a":
            raise OSError("the disk is full")       # and takes no rows at all
        return joined(item, rows)

    done = dict(conveyed(LENGTHS, broken_read, louder, broken_finish, depth=2))
    assert isinstance(done["a"], OSError) and str(done["d"]) == "d is cut short"
    assert (done["b"], done["c"], done["e"]) == ("b:", "c:C0", "e:E0,E1")


def test_equal_items_are_each_its_own() -> None:
    """Two that are one object and both fail, the second after a row: each has its own error."""
    fault = iter([InputError("one"), InputError("two"), None])

    def failing(item: str) -> Iterator[str]:
        yield item
        if (error := next(fault)) is not None:
            raise error

    done = conveyed(["x", "x", "x"], failing, louder, joined, depth=9, readers=1)
    assert [str(result) for _, result in done] == ["one", "two", "x:X"]


@pytest.mark.parametrize("writers", [1, 2])
def test_an_interrupt_waits_for_what_is_being_finished(
    monkeypatch: pytest.MonkeyPatch, writers: int
) -> None:
    """Ctrl-C arrives while the oldest item is waited for: it is not left half finished."""
    before, finished = threading.active_count(), []
    join, interrupted = threading.Thread.join, threading.Event()

    def interrupt_once(thread: threading.Thread, timeout: float | None = None) -> None:
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt
        join(thread, timeout)

    def slow(item: str, rows: Iterator[str]) -> None:
        list(rows)
        interrupted.wait(60)
        time.sleep(0.2)
        finished.append(item)

    work = conveyed("ab", read, louder, slow, depth=2, writers=writers)
    monkeypatch.setattr(threading.Thread, "join", interrupt_once)
    with pytest.raises(KeyboardInterrupt):
        next(work)
    assert "a" in finished and threading.active_count() == before


@pytest.mark.parametrize("interrupted", [1, 2, 3, 4])
def test_an_interrupt_while_a_thread_starts_leaves_none(
    monkeypatch: pytest.MonkeyPatch, interrupted: int
) -> None:
    before, starts, start = threading.active_count(), 0, threading.Thread.start

    def interrupt_one(thread: threading.Thread) -> None:
        nonlocal starts
        starts += 1
        start(thread)
        if starts == interrupted:
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupt_one)
    with pytest.raises(KeyboardInterrupt):
        list(conveyed("adad", read, louder, joined, depth=3))
    for _ in range(100):
        if threading.active_count() == before:
            return
        time.sleep(0.05)
    assert threading.active_count() == before


def test_stages_run_at_the_same_time() -> None:
    """The second item is read before the first is finished: else this would wait for ever."""
    second_is_read = threading.Event()

    def reading(item: str) -> Iterator[str]:
        yield item
        if item == "second":
            second_is_read.set()

    def waiting(item: str, rows: Iterator[str]) -> bool:
        list(rows)
        return second_is_read.wait(timeout=60)

    done = conveyed(["first", "second"], reading, iter, waiting, depth=4)
    assert [result for _, result in done] == [True, True]


def test_no_stage_runs_away() -> None:
    """At most so many rows lie between reading and finishing."""
    read_so_far, most = 0, 0
    finished = 0

    def endless(item: str) -> Iterator[int]:
        nonlocal read_so_far
        for number in range(500):
            read_so_far += 1
            yield number

    def counting(item: str, rows: Iterator[int]) -> int:
        nonlocal finished, most
        for _ in rows:
            finished += 1
            most = max(most, read_so_far - finished)
        return finished

    assert list(conveyed(["x"], endless, iter, counting, depth=3)) == [("x", 500)]
    assert most <= 2 * 3 + 4        # two queues, and what each of four hands holds


def test_threads_end_when_the_work_is_given_up() -> None:
    before = threading.active_count()
    told: list[type] = []

    def finish(item: str, rows: Iterator[str]) -> None:
        try:
            list(rows)
        except BaseException as error:
            told.append(type(error))
            raise

    work = conveyed(LENGTHS, read, louder, finish, depth=1, writers=1)
    assert next(work)[0] == "a"     # the others are under way
    work.close()
    assert threading.active_count() == before
    assert set(told) <= {Cancelled}


def test_an_iterator_that_runs_ahead_is_the_iterator() -> None:
    times = Times()
    ahead = Ahead(iter(range(100)), 3, times=times, stage="decode")
    assert list(ahead) == list(range(100)) and next(ahead, None) is None
    assert times.seconds["decode"] >= 0

    def failing() -> Iterator[int]:
        yield 1
        raise KeyError("two")

    ahead = Ahead(failing(), 3)
    assert next(ahead) == 1
    with pytest.raises(KeyError, match="two"):
        next(ahead)


def test_an_iterator_that_is_closed_is_closed_within() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    ahead = Ahead(endless(), 2)
    assert next(ahead) == 1
    ahead.close()
    assert closed.is_set()
