"""Separate songs: ``python -m stemsep.separate --checkpoint runs/drums --output separated SONG_OR_FOLDER...``

Writes OUTPUT/<song>/<stem>.wav at the song's own rate, channels and length. Nothing is resampled: a song is analysed
at its own rate with frames as long, and bins as wide, as those of training, and the network sees the bins it knows.
"""

import math
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable

import jax
import numpy as np
from absl import flags
from tqdm import tqdm

from stemsep import audio, checkpoint, command, parallel, stream
from stemsep.config import Config
from stemsep.errors import InputError
from stemsep.estimate import Variables, make_estimator
from stemsep.parallel import DataParallel
from stemsep.stft import Stft


class Separator:
    """Takes songs apart with a trained network: ``separator(wave_CN, rate)`` returns ``{stem: wave_CN}``.

    Windows of one spectrogram of the whole song go through the network a batch at a time, are cross-faded, and are
    transformed back together, so there are no seams and lengths are exact. Memory is bounded by the batch.
    """

    def __init__(self, config: Config, variables: Variables, *, overlap: float | None = None,
                 batch: int | None = None, devices: DataParallel | None = None,
                 estimator: Callable | None = None) -> None:
        """config: checked. overlap, batch: replace those of config.separate; the batch is rounded up to a multiple of
        the devices. estimator: replaces the network; called as an `Estimator`.
        """
        overlap = config.separate.overlap if overlap is None else overlap
        batch = config.separate.batch if batch is None else batch
        if not 0 <= overlap <= 0.95:
            raise InputError(f"overlap is {overlap}; it is the share of a window, between 0 and 0.95")
        if batch < 1:
            raise InputError(f"batch is {batch}; it must be at least 1")
        self.stems = tuple(config.targets)
        self.channels = config.audio.channels
        self.stft = Stft(config.audio.sample_rate, config.audio.n_fft, config.audio.hop)
        self._devices = devices or DataParallel(config.parallel, local=True)
        self._batch = -(-batch // self._devices.size) * self._devices.size
        self._frames = config.data.window_frames
        self._advance = max(1, round(self._frames * (1 - overlap)))
        self._weights = stream.fade(self._frames)
        self._estimate = estimator or make_estimator(config)
        self._variables = self._devices.replicate(variables)
        self._run = self._devices.map(self._body, split=True)      # compiled once a sample rate

    @classmethod
    def load(cls, run: str | Path, *, overlap: float | None = None, batch: int | None = None,
             devices: DataParallel | None = None) -> "Separator":
        """Return the separator of a run: its best checkpoint by validation."""
        config, variables = checkpoint.load(run)
        return cls(config, variables, overlap=overlap, batch=batch, devices=devices)

    def __call__(self, wave_CN: np.ndarray, rate: int, *, residual: bool = False) -> dict[str, np.ndarray]:
        """Separate a wave, float32 [C, N] at `rate` Hz, into waves of the same shape; `residual` as in `stream`.

        Raises ValueError for another number of axes or whole numbers: full scale is ±1.
        """
        if wave_CN.ndim != 2 or not np.issubdtype(wave_CN.dtype, np.floating):
            raise ValueError(f"a wave is float32 [channels, samples] within ±1, not {wave_CN.dtype} {wave_CN.shape}")
        wave_CN = wave_CN.astype(np.float32, copy=False)
        stems_SCN = np.empty((len(self.stems), *wave_CN.shape), np.float32)
        done = 0
        for block_SCN in self.stream([wave_CN], rate, wave_CN.shape[0], residual=residual):
            stems_SCN[..., done:done + block_SCN.shape[-1]] = block_SCN
            done += block_SCN.shape[-1]
        return dict(zip(self.stems, stems_SCN))

    def stream(self, blocks: Iterable[np.ndarray], rate: int, channels: int, *, residual: bool = False,
               name: str = "the song", grid: float = 0.0) -> Iterator[np.ndarray]:
        """Separate blocks, float32 [channels, n] of any lengths, into blocks [S, channels, n] of others.

        Together they are exactly as long as the song. residual: the last stem is the mixture less the others, so
        that they sum to it. grid: stems are rounded to multiples of this step, before that. `name` is for errors:
        InputError where the model cannot take that many channels.
        """
        self.check_channels(channels, name)
        stft = self.stft.at_rate(rate)
        mixture = stream.Mixture(blocks, channels, size=self._advance * stft.hop, keep=residual)
        doubled = channels < self.channels      # mono for a stereo model: both of its channels hear the same
        inner: Iterable[np.ndarray] = (np.repeat(block, 2, 0) for block in mixture) if doubled else mixture
        specs = stream.analyse(inner, stft)
        windows = stream.cut_windows(specs, frames=self._frames, advance=self._advance)
        rows = self._estimates(row for window in windows for row in self._rows(window))
        done = stream.blend(rows, self._weights, advance=self._advance, channels=max(channels, self.channels))
        for stems_SCN in stream.synthesise(done, stft, mixture):
            stems_SCN = stems_SCN.mean(1, keepdims=True) if doubled else stems_SCN
            if grid:
                stems_SCN = np.round(stems_SCN / grid) * grid
            if residual:
                stems_SCN[-1] = mixture.take(stems_SCN.shape[-1]) - stems_SCN[:-1].sum(0)
            yield stems_SCN

    def separate_file(self, path: str | Path, output: str | Path, *, residual: bool = False, bits: int = 32,
                      progress: Callable[[int], None] = lambda samples: None) -> dict[str, Path]:
        """Separate a file into OUTPUT/<stem>.wav, at its own rate, channels and length; returns the stems' paths.

        residual: as in `stream`. bits: 32 (float: nothing clips), 24 or 16. progress: called with samples done.
        Each file appears under its name when all are complete. Raises InputError for a file that cannot be used.
        """
        info = audio.probe(path)
        blocks = audio.blocks(path, max(4096, self._advance * self.stft.hop))
        paths = {stem: Path(output) / f"{stem}.wav" for stem in self.stems}
        peaks_S = np.zeros(len(paths))
        with ExitStack() as stack:
            self.check_channels(info.channels, str(path))       # before any file is begun
            writers = [stack.enter_context(audio.Writer(stem, info.sample_rate, info.channels, bits=bits,
                                                        samples=info.samples)) for stem in paths.values()]
            for stems_SCN in self.stream(blocks, info.sample_rate, info.channels, residual=residual, name=str(path),
                                         grid=0 if bits == 32 else 2.0 ** (1 - bits)):
                for writer, wave_CN in zip(writers, stems_SCN):
                    writer.write(wave_CN)
                peaks_S = np.maximum(peaks_S, np.abs(stems_SCN).max((1, 2)))
                progress(stems_SCN.shape[-1])
        for stem, peak in zip(paths.values(), peaks_S):
            if bits < 32 and peak > 1:
                tell(f"{stem}: clipped, its peak is {20 * np.log10(peak):.1f} dB above full scale; --bits 32 keeps it")
        return paths

    def check_channels(self, channels: int, name: str) -> None:
        """Raise InputError where the model cannot take a song of so many channels."""
        if self.channels > 1 and channels not in (1, self.channels):
            raise InputError(f"{name}: {channels} channels, but this model was trained on stereo; mix the song down to "
                             "stereo, or use a model trained with audio.channels = 1, which takes any number")

    def _rows(self, window_CTF: np.ndarray) -> Iterator[np.ndarray]:
        """Yield what the network sees of a window, [T, F, model's channels]: a mono model, channel by channel."""
        for first in range(0, len(window_CTF), self.channels):
            yield np.moveaxis(window_CTF[first:first + self.channels], 0, -1)

    def _estimates(self, rows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the weighted stems [S, T, F, C] of each row, in order; one batch is always being computed."""
        running = None
        for batch in self._batches(rows):
            started = self._run(self._variables, self._devices.put({"mix": batch[0]})), batch[1]
            if running:
                yield from self._devices.get_split(running[0])[:running[1]]
            running = started
        if running:
            yield from self._devices.get_split(running[0])[:running[1]]

    def _batches(self, rows: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, int]]:
        """Yield batches of one shape, zeros filling the last, and how many rows each holds."""
        batch, count = np.zeros(0), 0
        for row in rows:
            if count == 0:      # a new one each time: the device may still read the last
                batch = np.zeros((self._batch, *row.shape), np.complex64)
            batch[count] = row
            count += 1
            if count == self._batch:
                yield batch, count
                count = 0
        if count:
            yield batch, count

    def _body(self, variables: Variables, batch: dict[str, jax.Array]) -> jax.Array:
        """Estimate the stems of windows, weighted for the cross-fade."""
        mix_BTFC = batch["mix"]
        # Magnitudes grow with the square root of the STFT's length; the network knows those of training.
        scale = math.sqrt(self.stft.n_fft / (2 * (mix_BTFC.shape[2] - 1)))
        return self._estimate(variables, mix_BTFC, scale=scale) * self._weights[:, None, None]


def plan(arguments: Iterable[str | Path], output: str | Path) -> list[tuple[Path, Path]]:
    """Return each song with the folder of its stems: OUTPUT/<name>, in a folder's subfolders OUTPUT/<subfolder>/<name>.

    A folder stands for the audio files in it, at any depth, but those under OUTPUT. Songs of one name get folders of
    their own: song, song.flac, song (3). A path that is not there is kept; separating it says so.
    """
    output = Path(output)
    songs: dict[Path, Path] = {}    # resolved path, so that a song named twice is separated once -> its name
    for argument in map(Path, arguments):
        if not argument.is_dir():
            songs.setdefault(argument, Path(argument.name))
            continue
        for path in sorted(argument.rglob("*")):
            if path.suffix.lower() in audio.SUFFIXES and path.is_file() and not path.name.startswith(".") \
                    and output.resolve() not in path.resolve().parents:
                songs.setdefault(path, path.relative_to(argument))
    jobs, taken, seen = [], set(), set()
    for path, name in songs.items():
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        names = [name.with_suffix(""), name, *(name.with_name(f"{name.stem} ({n})") for n in range(3, len(songs) + 3))]
        folder = next(folder for folder in names if str(folder).casefold() not in taken)
        taken.add(str(folder).casefold())
        jobs.append((path, output / folder))
    return jobs


def separate_songs(separator: Separator, jobs: list[tuple[Path, Path]], *, residual: bool = False,
                   bits: int = 32) -> int:
    """Separate each (song, folder); returns how many could not be, each named on stderr while the rest goes on."""
    infos = [probe_or_none(path) for path, _ in jobs]
    seconds = sum(info.samples / info.sample_rate for info in infos if info)
    failed, started = 0, time.monotonic()
    with tqdm(total=round(seconds, 1), unit="s", disable=None) as bar:
        for (path, folder), info in zip(jobs, infos):
            bar.set_description_str(path.name)
            rate = info.sample_rate if info else separator.stft.sample_rate
            if rate != separator.stft.sample_rate:
                tell(f"{path}: {rate} Hz; the model was trained at {separator.stft.sample_rate} Hz and separates it at "
                     "its own rate")

            def progress(samples: int, rate: int = rate) -> None:
                bar.update(samples / rate)
                bar.set_postfix_str(f"{bar.n / (time.monotonic() - started):.1f} times real time")
            try:
                separator.separate_file(path, folder, residual=residual, bits=bits, progress=progress)
            except InputError as problem:
                failed += 1
                tell(f"error: {problem}")
    wall_s = time.monotonic() - started
    print(f"{len(jobs) - failed} of {len(jobs)} songs separated: {seconds:.0f} s of audio in {wall_s:.0f} s, "
          f"{seconds / wall_s:.1f} times real time")
    return failed


def probe_or_none(path: Path) -> audio.AudioInfo | None:
    """Return what the header of a song says, or None for one that cannot be read."""
    try:
        return audio.probe(path)
    except InputError:
        return None


def tell(sentence: str) -> None:
    """Print a sentence on stderr, beside a progress bar if there is one."""
    tqdm.write(sentence, file=sys.stderr)


def main(arguments: list[str]) -> int:
    """Separate the songs of the command line; returns the exit status."""
    values: Any = flags.FLAGS
    jobs = plan(arguments, values.output)
    if not jobs:
        raise InputError(f"no song in {' '.join(arguments)}: no audio files there; give a WAV or FLAC file or a folder"
                         if arguments else "no song given; name audio files or folders behind the flags")
    parallel.prepare()
    devices = DataParallel(local=True)
    separator = Separator.load(values.checkpoint, overlap=values.overlap, batch=values.batch)
    failed = separate_songs(separator, jobs[devices.process::devices.processes], residual=values.residual,
                            bits=int(values.bits))
    return 1 if failed else 0


def define_flags() -> None:
    """Define the flags of the command."""
    flags.DEFINE_string("checkpoint", None, "the folder of a training run, as in runs/drums", required=True)
    flags.DEFINE_string("output", "separated", "folder for OUTPUT/<song>/<stem>.wav")
    flags.DEFINE_bool("residual", False, "the last stem is the mixture less the others, so that they sum to it")
    flags.DEFINE_float("overlap", None, "share of a window that the next one covers again; default: the model's")
    flags.DEFINE_integer("batch", None, "windows at once; more is faster and takes memory; default: the model's")
    flags.DEFINE_enum("bits", "32", ["16", "24", "32"], "of a sample; 32 is float, which never clips")


if __name__ == "__main__":
    define_flags()
    command.run(main)
