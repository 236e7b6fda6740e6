"""A model that takes songs apart: one wave, a stream of blocks, or many songs at once."""

import contextlib
import copy
import dataclasses
import hashlib
import itertools
import json
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from stemsep import audio, checkpoint, stages, stream
from stemsep.config import REST, Config, to_dict
from stemsep.errors import InputError
from stemsep.estimate import Estimator, Variables, make_estimator
from stemsep.jobs import song_name
from stemsep.models import PREPARED
from stemsep.outputs import Form, write_song
from stemsep.parallel import DataParallel
from stemsep.quality import Quality
from stemsep.stft import Stft
from stemsep.window_batches import Tag, Window, WindowBatches
from stemsep.windows import Windows

MOST_CHANNELS = 64      # of a wave; one with more has its samples in their place
Song = TypeVar("Song", bound="Passage")


class Separator:
    """Takes songs apart: ``separator(wave_CN, rate)`` returns ``{stem: wave_CN}``.

    Windows on one grid of frames of the whole song go through a device a batch at a time, wave to
    wave, and are cross-faded there and added up here: there are no seams, and lengths are exact.
    Memory is bounded by the batch and not by the song. It holds no state of a song: threads may
    share it.
    """

    def __init__(self, config: Config, *variables: Variables, quality: Quality = Quality(),
                 devices: DataParallel | None = None, estimators: Sequence[Callable] = (),
                 shared: bool = False) -> None:
        """config: a checked one. variables: of the network; of several, each with its own of
        `estimators`, the estimates are averaged. The batch is rounded up to a multiple of the
        devices. estimators: replace the network; called like one. shared: a mono model gives all
        channels of a song one mask, from their mean, which is half the work for stereo; else each
        channel has its own.
        """
        quality.check()
        self.config, self.quality = config, quality
        self.stems = tuple(config.targets)
        self.channels = config.audio.channels
        self.stft = Stft(config.audio.sample_rate, config.audio.n_fft, config.audio.hop)
        self._devices = devices or DataParallel(config.parallel, local=True)
        batch = config.separate.batch if quality.batch is None else quality.batch
        overlap = config.separate.overlap if quality.overlap is None else quality.overlap
        frames = config.data.window_frames
        self.advance = max(1, round(frames * (1 - overlap)))    # frames from a window to the next
        apart = self.channels == 1 and not shared       # a network sees channels as windows
        if shared and (self.channels > 1 or config.model.estimate == "direct"):
            raise InputError("shared masks need a model with audio.channels 1 and estimate 'mask' "
                             "or 'complex'")
        if quality.highs == "rest" and self.rest is None:
            raise InputError("highs 'rest' gives what lies above the model's band to the stem that "
                             "is the rest of a song, and this model has none; leave it out")
        own = dataclasses.replace(make_estimator(config), shared=shared)
        self.windows = Windows(
            tuple(estimators) or (own,) * len(variables), self.stft, frames, apart, quality.wiener,
            self.rest if quality.highs == "rest" else None)
        self._batches = WindowBatches(
            self.windows, self._devices, batch=batch, stems=len(self.stems))
        self._place(variables)

    @classmethod
    def load(cls, run: str | Path, *more: str | Path, quality: Quality = Quality(),
             devices: DataParallel | None = None, **settings: Any) -> "Separator":
        """Return the separator of a run, its best checkpoint by validation, or of an exported file.

        more: others whose estimates are averaged with its own: of the same targets, spectrogram and
        window. settings: of `Quality`, by name, as overlap=0.75. Raises InputError, with the file
        or the field, for what cannot be used.
        """
        config, variables = checkpoint.load(run)
        loaded = [(config, variables)]
        for other in more:
            loaded.append(checkpoint.load(other))
            _check_alike(config, loaded[-1][0], str(run), str(other))
        quality = Quality(**settings) if settings else quality
        return cls(config, *(variables for _, variables in loaded), quality=quality,
                   devices=devices, estimators=[make_estimator(config) for config, _ in loaded])

    def with_variables(self, *variables: Variables) -> "Separator":
        """Return this separator with other parameters of the same network; it compiles nothing
        anew.
        """
        other = copy.copy(self)
        other._place(variables)
        return other

    def _place(self, variables: Sequence[Variables]) -> None:
        """Put parameters on the devices, with what makes calls faster beside them."""
        self._variables = tuple(
            estimator.prepare(own) if isinstance(estimator, Estimator) else own
            for estimator, own in zip(
                self.windows.estimators, self._devices.replicate(variables), strict=True))
        self._fingerprint: str | None = None    # when it was asked for

    def fingerprint(self) -> str:
        """Return what tells this model from others: its configuration and parameters, which are
        read once.
        """
        if self._fingerprint is not None:
            return self._fingerprint
        found = hashlib.sha256(json.dumps(to_dict(self.config), sort_keys=True).encode())
        trained = [{name: own[name] for name in own if name != PREPARED} for own in self._variables]
        for leaf in jax.tree.leaves(self._devices.get(trained)):
            found.update(np.asarray(leaf).tobytes())
        self._fingerprint = found.hexdigest()
        return self._fingerprint

    @property
    def rest(self) -> int | None:
        """Which stem is the rest of a song, beside other stems, if one is."""
        found = [place for place, stem in enumerate(self.stems)
                 if REST in self.config.targets[stem]]
        return found[0] if found else None

    def __call__(self, wave_CN: np.ndarray, rate: int, *,
                 residual: bool = False) -> dict[str, np.ndarray]:
        """Separate a wave, float32 [C, N] at `rate` Hz, into waves of the same shape.

        residual: as in `stream`. Raises ValueError for other shapes, for whole numbers, whose full
        scale is not ±1, for a wave without samples, or with NaN.
        """
        wave_CN = _checked(wave_CN)
        if not wave_CN.size or wave_CN.shape[0] > MOST_CHANNELS:
            raise ValueError(f"a wave is float32 [channels, samples], not {list(wave_CN.shape)}; "
                             "soundfile reads [samples, channels]: give it as wave.T")
        stems_SCN = np.empty((len(self.stems), *wave_CN.shape), np.float32)
        done = 0
        for block_SCN in self.stream([wave_CN], rate, wave_CN.shape[0], residual=residual):
            stems_SCN[..., done:done + block_SCN.shape[-1]] = block_SCN
            done += block_SCN.shape[-1]
        return dict(zip(self.stems, stems_SCN))

    def stream(self, blocks: Iterable[np.ndarray], rate: int, channels: int, *,
               residual: bool = False, grid: float = 0.0,
               name: str = "the song") -> Iterator[np.ndarray]:
        """Separate blocks, float32 [channels, n] of any lengths, into blocks [S, channels, n].

        Those are of other lengths, but together exactly as long. grid: stems are rounded to
        multiples of it. residual: the last stem is what the others, so rounded, leave of the
        mixture, so that all sum to it. Raises InputError, with the name, where the model cannot
        take so many channels, and for a residual where the last stem is not the rest of a song; and
        ValueError as a call does.
        """
        return self._alone(Passage(self, blocks, rate, channels, residual=residual, grid=grid,
                                   name=name))

    def _alone(self, passage: "Passage") -> Iterator[np.ndarray]:
        """Yield the stems of a song by itself, in the thread of who takes them."""
        estimates = self._through((None, row) for row in passage.rows())
        return passage.stems(row for _, row in estimates if row is not None)

    def _through(
        self, rows: Iterable[tuple[Tag, Window | None]], *, times: stages.Times | None = None,
    ) -> Iterator[tuple[Tag, Window | None]]:
        return self._batches.through(self._variables, rows, times=times)

    def each(self, items: Iterable[Tag], open_item: Callable[[Tag], Song],
             finish: Callable[[Tag, Song, Iterator[np.ndarray]], Any], *, writers: int = 2,
             readers: int = 2, times: stages.Times | None = None
             ) -> Generator[tuple[Tag, Any], None, None]:
        """Separate many songs: batches are filled across them, and reading, the device and
        finishing work at the same time. Yields each item with what `finish` returned, or the
        exception that ended it.

        open_item: makes an item's `Passage`, which is closed in any case; finish: is given that and
        its stems as they come, and raised what opening or reading raised. Both run in threads.
        times: the seconds of the stages "decode", "device" and "encode" are added there.
        """
        entries = ((item, list[Song]()) for item in items)      # items may be equal, these are not
        opened: dict[int, Song] = {}        # by id, until it is closed

        def read(entry: tuple[Tag, list[Song]]) -> Iterator[Window]:
            song = open_item(entry[0])
            opened[id(song)] = song
            entry[1].append(song)
            yield from song.rows()

        def write(entry: tuple[Tag, list[Song]], rows: Iterator[Window]) -> Any:
            item, held = entry
            try:
                first = next(rows, None)        # raises what opening raised
                return finish(item, held[0], held[0].stems(itertools.chain(
                    [] if first is None else [first], rows)))
            finally:
                if held:
                    opened.pop(id(held[0])).close()

        work = stages.conveyed(
            entries, read, lambda rows: self._through(rows, times=times), write,
            depth=2 * self._batches.most, readers=readers, writers=writers, times=times)
        try:
            with contextlib.closing(work):
                for (item, _), result in work:
                    yield item, result
        finally:
            for song in opened.values():        # the work was given up
                song.close()

    def separate_file(self, path: str | Path, output: str | Path, *,
                      form: Form = Form(names="{stem}.wav"),
                      progress: Callable[[int], Any] = lambda samples: None) -> dict[str, Path]:
        """Separate a file into files of its rate, channels and length below `output`.

        form: how they are written. Returns the path of each stem and mix. progress: is called with
        the samples just done. The files appear under their names when all are complete. Warns where
        stems went beyond full scale and something was done about it. Raises InputError for a file
        that cannot be used.
        """
        form.check(self.stems, alone=True)
        info = audio.probe(path)
        passage = Passage(self, audio.blocks(path, 1 << 16), info.sample_rate, info.channels,
                          residual=form.residual, grid=form.grid, name=str(path))
        named = form.files(song_name(Path(path)), self.stems)
        files = {label: Path(output) / file for label, file in named.items()}
        peak = write_song(
            self._alone(passage), list(files.values()), form.weights(self.stems), form,
            sample_rate=info.sample_rate, channels=info.channels, samples=info.samples,
            tags=audio.tags(path), progress=progress)
        if said := form.clipping(peak):
            warnings.warn(f"{path}: {said}", stacklevel=2)
        return files

    def describe(self) -> str:
        """Return in words what batches it has separated so far, and on what."""
        return self._batches.describe()

    def peak_bytes(self) -> int | None:
        """Return the most memory of a device that was in use, or None where it is not counted."""
        return self._devices.peak_bytes()

    def check_channels(self, channels: int, name: str) -> None:
        """Raise InputError where the model cannot take a song of so many channels."""
        if self.channels > 1 and channels not in (1, self.channels):
            raise InputError(
                f"{name}: {channels} channels, and this model separates stereo; mix the song down "
                "to stereo, or use a model with audio.channels 1, which takes any number")

    def check_residual(self) -> None:
        """Raise InputError where the last stem is not the rest of a song: what the others leave of
        a mixture would be another sound than its name says.
        """
        if self.rest != len(self.stems) - 1:
            raise InputError(
                f"--residual gives {self.stems[-1]!r} all that "
                f"{', '.join(self.stems[:-1]) or 'no stem'} leaves of the song, and this model's "
                "last target is not the rest; leave it out")


class Passage:
    """A song on its way through a separator: its windows going in, its stems coming out."""

    def __init__(self, separator: Separator, blocks: Iterable[np.ndarray], rate: int, channels: int,
                 *, residual: bool = False, grid: float = 0.0, name: str = "the song") -> None:
        """As `Separator.stream`; raises what that raises, and ValueError at a block of other
        channels, or with NaN.
        """
        separator.check_channels(channels, name)
        if residual:
            separator.check_residual()
        low, high = audio.RATES
        if not low <= rate <= high:
            raise InputError(f"{name}: a sample rate of {rate} Hz; audio has {low} to {high}")
        blocks = (_checked(block, channels) for block in blocks)
        self.rate, self.channels = rate, channels
        self._separator, self._residual, self._grid = separator, residual, grid
        self._stft = stft = separator.stft.at_rate(rate)
        self._size = separator.advance * stft.hop     # samples from a window to the next
        self._doubled = channels < separator.channels   # mono: both channels of the model hear it
        shifts = separator.quality.shifts
        self._fade, self._weight = stream.fade(separator.windows.frames), lru_cache(2)(stft.weight)
        # Windows of another shift begin elsewhere, and so do the frames within a hop.
        self._delays = [round(self._size * shift / shifts) for shift in range(shifts)]
        self._mixtures = [
            stream.Mixture(itertools.chain([np.zeros((channels, delay), np.float32)], copied),
                           channels, size=self._size, keep=residual and shift == 0)
            for shift, (delay, copied) in enumerate(
                zip(self._delays, stream.copies(blocks, shifts)))]

    def close(self) -> None:
        """Let go of what belongs to the song, when its stems are done or given up."""

    def rows(self) -> Iterator[Window]:
        """Yield the windows, the shifts in turn."""
        shifts = (self._windows(mixture, shift) for shift, mixture in enumerate(self._mixtures))
        for turn in itertools.zip_longest(*shifts):
            yield from (window for window in turn if window is not None)

    def _windows(self, mixture: stream.Mixture, shift: int) -> Iterator[Window]:
        heard = (np.repeat(block, 2, 0) for block in mixture) if self._doubled else mixture
        stft, advance = self._stft, self._separator.advance
        frames, samples = self._separator.windows.frames, self._separator.windows.samples(stft)
        waves = stream.cut_windows(stream.padded(heard, stft), samples=samples, advance=self._size)
        for wave_CN, before, after in stream.neighbours(waves, -(-frames // advance) - 1):
            known = (wave_CN.shape[1] - stft.n_fft) // stft.hop + 1     # the last may have fewer
            weights = stream.cross_fade(self._fade, advance=advance, before=before, after=after)
            weights[known:] = 0
            yield Window(stream.fit(wave_CN, samples), weights, advance if after else known, stft,
                         shift)

    def stems(self, rows: Iterable[Window]) -> Iterator[np.ndarray]:
        """Yield the stems [S, channels, n] of what the separator's networks made of the rows."""
        dealt = stream.deal(((row.shift, row) for row in rows), len(self._delays))
        waves = [
            stream.overlapped(((row.wave, self._weight(row.frames), self._size) for row in own),
                              mixture, skip=self._stft.n_fft // 2)
            for own, mixture in zip(dealt, self._mixtures)]
        for stems_SCN in stream.mean(waves, self._delays, size=self._size):
            if self._doubled:
                stems_SCN = stems_SCN.mean(1, keepdims=True)
            if self._grid:
                with np.errstate(over="ignore"):    # infinities are told where they are written
                    stems_SCN = np.round(stems_SCN / self._grid) * self._grid
            if self._residual:
                mix_CN = self._mixtures[0].take(stems_SCN.shape[-1])
                stems_SCN[-1] = mix_CN - stems_SCN[:-1].sum(0)
            yield stems_SCN


def _checked(wave_CN: np.ndarray, channels: int | None = None) -> np.ndarray:
    """Return a wave as float32; raises ValueError for what is none, or not of so many channels."""
    if wave_CN.ndim != 2 or not np.issubdtype(wave_CN.dtype, np.floating) or (
            channels not in (None, len(wave_CN))):
        raise ValueError(f"a wave is float32 [{channels or 'channels'}, samples] within ±1, not "
                         f"{wave_CN.dtype} {list(wave_CN.shape)}")
    if not np.isfinite(wave_CN).all():
        raise ValueError("a wave has samples that are not a number or infinite")
    return wave_CN.astype(np.float32, copy=False)


def _check_alike(config: Config, other: Config, run: str, other_run: str) -> None:
    """Raise InputError where the estimates of two models cannot be averaged."""
    def facts(config: Config) -> dict[str, Any]:
        audio = config.audio
        return {"data.targets": config.targets, "audio.sample_rate": audio.sample_rate,
                "audio.channels": audio.channels, "audio.n_fft": audio.n_fft,
                "audio.hop": audio.hop, "data.window_frames": config.data.window_frames}

    ours, theirs = facts(config), facts(other)
    for field, value in ours.items():
        same = list(value) == list(theirs[field]) if isinstance(value, dict) else (
            value == theirs[field])
        if not same:
            raise InputError(f"{other_run}: its config.{field} is {theirs[field]!r}, that of {run} "
                             f"{value!r}; only models with the same one can be averaged")
