"""Windows of songs on their way through the devices: batches, each of one shape, across songs."""

import threading
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from stemsep import stages
from stemsep.estimate import Variables
from stemsep.parallel import DataParallel, Program
from stemsep.stft import Stft
from stemsep.windows import Windows

_MOST_WINDOWS = 64      # of a batch, where as many as fit are wanted; a song has a few hundred
_UNCOUNTED = 8          # the same where a device does not count its memory, as a CPU
_USED = 0.8             # of what is free of it, which is not in one piece
Tag = TypeVar("Tag")


class Window(NamedTuple):
    """A window of a song, float32 [C, N], or of its stems, [S, C, N]."""

    wave: np.ndarray
    weights: np.ndarray     # of its frames, for the cross-fade
    frames: int             # of it that the next one does not begin with
    stft: Stft
    shift: int


Entries = list[tuple[Tag, Window | None]]
Batch = dict[str, np.ndarray]       # "mix" [B, C, N] and the "weights" of its frames [B, T]


class WindowBatches:
    """Takes windows of songs through the devices, a batch at a time: ``through(variables, rows)``.

    It holds nothing of a song or a model but the compiled programs: threads, and separators with
    other parameters of the same networks, may share it.
    """

    def __init__(self, windows: Windows, devices: DataParallel, *, batch: int, stems: int) -> None:
        """batch: windows that are separated at once, rounded up to a multiple of the devices; 0 is
        as many as these have memory for. stems: that come of each.
        """
        self.windows, self._devices, self._stems = windows, devices, stems
        self._fitted = batch == 0 and devices.free_bytes() is not None
        self.most = batch or (_MOST_WINDOWS if self._fitted else _UNCOUNTED)
        # By the shape of a batch: one for each sample rate and number of channels.
        self._programs: dict[tuple[int, ...], Program] = {}
        self._sizes: dict[tuple[int, ...], int] = {}    # windows of a batch, by their shape
        self._compiling = threading.Lock()

    def describe(self) -> str:
        """Return in words what batches there were so far, and on what."""
        sizes = ", ".join(f"{rows} windows of {channels} channel{'s'[:channels > 1]}"
                          for (channels, _), rows in self._sizes.items())
        return f"batches of {sizes or 'nothing'} on {self._devices.describe()}"

    def through(
        self, variables: tuple[Variables, ...], rows: Iterable[tuple[Tag, Window | None]], *,
        times: stages.Times | None = None,
    ) -> Iterator[tuple[Tag, Window | None]]:
        """Yield for windows of songs those of their stems, in order; None passes.

        variables: of each network, on the devices. Each row comes with any tag. While the host
        works on one batch, the device has the next one; one that is the host takes its memory only
        when the one before is done. times: the seconds of the stages "device" and "compile" are
        added there.
        """
        times = times or stages.Times()
        running: tuple[Entries[Tag], Any] | None = None
        for entries, batch in self._batches(variables, rows, times):
            result = None
            if running and self._devices.are_the_host:
                with times.of("device"):
                    jax.block_until_ready(running[1])
            if batch is not None:
                program = self._program(variables, *batch, times)
                result = program(variables, self._devices.put(batch[1]))
            if running:
                yield from self._finished(*running, times)
            running = entries, result
        if running:
            yield from self._finished(*running, times)

    def _finished(self, entries: Entries[Tag], result: Any,
                  times: stages.Times) -> Iterator[tuple[Tag, Window | None]]:
        with times.of("device"):
            stems = iter(() if result is None else self._devices.get_split(result))
        for tag, window in entries:
            yield tag, None if window is None else window._replace(wave=next(stems))

    def _batches(
        self, variables: tuple[Variables, ...], rows: Iterable[tuple[Tag, Window | None]],
        times: stages.Times,
    ) -> Iterator[tuple[Entries[Tag], tuple[Stft, Batch] | None]]:
        """Yield batches of windows of one STFT, zeros filling the last of it, and what is in them,
        with what only passes between.
        """
        entries: Entries[Tag] = []
        batch: Batch | None = None
        count, stft = 0, self.windows.trained
        for tag, window in rows:
            if window is not None:
                # A length stands for one STFT: window and hop grow with the rate.
                if batch is not None and batch["mix"].shape[1:] != window.wave.shape:
                    yield entries, (stft, batch)
                    entries, batch = [], None
                if batch is None:       # a new one each time: the device may still read the last
                    batch = self._silence(self._size(variables, window, times), window)
                    count, stft = 0, window.stft
                batch["mix"][count], batch["weights"][count] = window.wave, window.weights
                count += 1
            entries.append((tag, window))
            if batch is not None and count == len(batch["mix"]):
                yield entries, (stft, batch)
                entries, batch = [], None
        if entries:
            yield entries, None if batch is None else (stft, batch)

    def _silence(self, size: int, like: Window) -> Batch:
        return {"mix": np.zeros((size, *like.wave.shape), np.float32),
                "weights": np.zeros((size, self.windows.frames), np.float32)}

    def _size(self, variables: tuple[Variables, ...], window: Window,
              times: stages.Times) -> int:
        """Return how many such windows are a batch: a mono model sees each channel as one."""
        shape, devices = window.wave.shape, self._devices.size
        if shape not in self._sizes:
            wanted = max(1, self.most // (len(window.wave) if self.windows.apart else 1))
            rows = -(-wanted // devices)
            if self._fitted:
                rows = max(1, min(rows, self._room(variables, window, times)))
            self._sizes[shape] = rows * devices
        return self._sizes[shape]

    def _room(self, variables: tuple[Variables, ...], window: Window,
              times: stages.Times) -> int:
        """Return how many such windows a device has room for, going by what one of them takes."""
        silence = self._silence(self._devices.size, window)
        one = self._program(variables, window.stft, silence, times)
        # Of two batches what comes in and goes out is there at once.
        each = one.temp_bytes + 2 * window.wave.nbytes * (1 + self._stems)
        return int(_USED * (self._devices.free_bytes() or 0) / each)

    def _program(self, variables: tuple[Variables, ...], stft: Stft, batch: Batch,
                 times: stages.Times) -> Program:
        """Return what separates batches of such a shape, of songs of this STFT, compiled once."""
        shape = batch["mix"].shape
        with self._compiling:
            if shape not in self._programs:
                with times.of("compile"):
                    mapped = self._devices.map(self.windows.make_separation(stft), split=True)
                    self._programs[shape] = self._devices.compiled(
                        mapped, variables, self._devices.put(batch))
            return self._programs[shape]
