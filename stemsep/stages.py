"""Work in stages that run at the same time: reading ahead, the device, and finishing.

Each stage is an iterator; threads and short queues stand between them, so memory is bounded and no
stage waits for another longer than it must. NumPy, SciPy, libsndfile and JAX work without Python's
lock.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from queue import Full, Queue
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Row = TypeVar("Row")
Result = TypeVar("Result")


class Times:
    """Seconds that each stage was at work, added up over threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def add(self, stage: str, seconds: float) -> None:
        with self._lock:
            self.seconds[stage] += seconds

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Add the seconds that a block takes."""
        begin = time.perf_counter()
        yield
        self.add(stage, time.perf_counter() - begin)

    def shares(self, wall_s: float) -> str:
        """Return in words which share of a time songs were read, separated and written."""
        return ", ".join(f"{stage} {100 * self.seconds[stage] / wall_s:.0f} %"
                         for stage in ("decode", "device", "encode"))


class _End:
    """What follows the last of a queue: the error that ended it, if one did."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class Cancelled(Exception):
    """The work was given up: what waits for more is to clean up after itself."""


class Ahead(Iterator[Row]):
    """An iterator that runs in a thread of its own, from now on, `depth` items ahead of its taker.

    What it raises is raised to the taker, after the items before. `close` ends it early. times: the
    seconds that it worked go there, as `stage`.
    """

    def __init__(self, rows: Iterable[Row], depth: int, *, times: Times | None = None,
                 stage: str = "") -> None:
        self._queue: Queue[Any] = Queue(depth)
        self._closed = threading.Event()
        self._abandoned = threading.Event()     # nobody has this, to take from it or close it
        self._ended = False
        self._times, self._stage = times or Times(), stage
        self._thread = threading.Thread(target=self._work, args=(rows,), daemon=True)
        try:
            self._thread.start()
        except KeyboardInterrupt:
            self._abandoned.set()
            raise

    def _work(self, rows: Iterable[Row]) -> None:
        end = _End()
        try:
            begin, source = time.perf_counter(), iter(rows)
            for row in source:
                self._times.add(self._stage, time.perf_counter() - begin)
                self._put(row)
                if self._closed.is_set() or self._abandoned.is_set():
                    break
                begin = time.perf_counter()
            if isinstance(source, Generator):
                source.close()
        except BaseException as error:
            end = _End(error)
        self._put(end)

    def _put(self, row: Any) -> None:
        while not self._abandoned.is_set():
            try:
                return self._queue.put(row, timeout=1)
            except Full:
                pass

    def __next__(self) -> Row:
        if self._ended:
            raise StopIteration
        row = self._queue.get()
        if isinstance(row, _End):
            self._ended = True
            if row.error is not None:
                raise row.error
            raise StopIteration
        return row

    def close(self) -> None:
        """End the thread; what it had ready is dropped."""
        self._closed.set()
        while not self._ended:
            self._ended = isinstance(self._queue.get(), _End)
        self._thread.join()


class _Outlet(Generic[Item, Row, Result]):
    """The last stage of one item: a thread that makes a result of the rows it is given."""

    def __init__(self, item: Item, finish: Callable[[Item, Iterator[Row]], Result], depth: int,
                 times: Times) -> None:
        self.item = item
        self.result: Result | Exception = Cancelled()
        self._finish, self._times = finish, times
        self._queue: Queue[Any] = Queue(depth)
        self._ended, self._waited_s = False, 0.0
        self._thread = threading.Thread(target=self._work, daemon=True)
        try:
            self._thread.start()
        except KeyboardInterrupt:       # who made this will never have it
            self._queue.put_nowait(_End(Cancelled()))
            raise

    def put(self, row: Row | _End) -> None:
        self._queue.put(row)

    def join(self) -> "tuple[Item, Result | Exception]":
        self._thread.join()
        return self.item, self.result

    def _rows(self) -> Iterator[Row]:
        while True:
            begin = time.perf_counter()
            row = self._queue.get()
            self._waited_s += time.perf_counter() - begin
            if isinstance(row, _End):
                self._ended = True
                if row.error is not None:
                    raise row.error
                return
            yield row

    def _work(self) -> None:
        begin = time.perf_counter()
        try:
            self.result = self._finish(self.item, self._rows())
        except Exception as error:
            self.result = error
        self._times.add("encode", time.perf_counter() - begin - self._waited_s)
        while not self._ended:      # who puts must not wait for ever
            self._ended = isinstance(self._queue.get(), _End)


def conveyed(
    items: Iterable[Item], read: Callable[[Item], Iterator[Row]],
    through: Callable[[Iterator[tuple[Item, Row | None]]], Iterator[tuple[Item, Row | None]]],
    finish: Callable[[Item, Iterator[Row]], Result], *, depth: int, readers: int = 2,
    writers: int = 2, times: Times | None = None,
) -> Generator[tuple[Item, Result | Exception], None, None]:
    """Yield each item with what `finish` makes of its rows, or with the exception that ended it.

    read: the rows of an item, in a thread; `readers` items are read at once. through: is given all
    rows with their item, one item after the other, None after the last of each, and returns as many
    in the same order: so it may join rows of several items. finish: is given the rows that come
    back, in a thread; what `read` raised is raised there. Of both `depth` rows are kept waiting.
    """
    times = times or Times()
    upcoming, reading = iter(items), deque[tuple[Item, Ahead[Row]]]()
    ends = deque[_End]()        # of the items whose last row was read
    outlets = deque[_Outlet]()

    def rows() -> Iterator[tuple[Item, Row | None]]:
        while True:
            while len(reading) < readers and (item := next(upcoming, None)) is not None:
                reading.append((item, Ahead(read(item), depth, times=times, stage="decode")))
            if not reading:
                return
            item, ahead = reading[0]
            end = _End()
            try:
                for row in ahead:
                    yield item, row
            except Exception as error:
                end = _End(error)
            ends.append(end)
            reading.popleft()
            yield item, None

    def joined() -> tuple[Item, Result | Exception]:
        done = outlets[0].join()    # it stays there if this is interrupted
        outlets.popleft()
        return done

    open_outlet: _Outlet | None = None
    try:
        for item, row in through(rows()):
            if open_outlet is None:
                if len(outlets) == writers:
                    yield joined()
                open_outlet = _Outlet(item, finish, depth, times)
                outlets.append(open_outlet)
            open_outlet.put(ends.popleft() if row is None else row)
            if row is None:
                open_outlet = None
        while outlets:
            yield joined()
    finally:
        if open_outlet is not None:
            open_outlet.put(_End(Cancelled()))
        for outlet in outlets:
            outlet.join()
        for _, ahead in reading:
            ahead.close()
