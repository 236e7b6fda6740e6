"""Separate songs.

    python -m stemsep.separate --checkpoint runs/drums --output separated SONG_OR_FOLDER...

Writes OUTPUT/<song>/<stem>.wav at the song's own rate, channels and length. Nothing is resampled: a
song is analysed at its own rate with frames as long, and bins as wide, as those of training, so the
network sees in the lowest bins what it knows, and no high frequencies are cut.
"""

import copy
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from tqdm import tqdm

from stemsep import audio, checkpoint, command, log, parallel, stream
from stemsep.config import REST, Config
from stemsep.errors import InputError
from stemsep.estimate import Variables, make_estimator
from stemsep.jobs import plan
from stemsep.parallel import DataParallel
from stemsep.stft import Stft


class Separator:
    """Takes songs apart: ``separator(wave_CN, rate)`` returns ``{stem: wave_CN}``.

    Windows of one spectrogram of the whole song go through the network a batch at a time, are
    cross-faded, and are transformed back together: there are no seams, and lengths are exact.
    Memory is bounded by the batch and not by the song.
    """

    def __init__(self, config: Config, variables: Variables, *, overlap: float | None = None,
                 batch: int | None = None, devices: DataParallel | None = None,
                 estimator: Callable | None = None, shared: bool = False) -> None:
        """config: a checked one. overlap, batch: replace those of config.separate; the batch is
        rounded up to a multiple of the devices. estimator: replaces the network; called like one.
        shared: a mono model gives all channels of a song one mask, from their mean, which is half
        the work for stereo; else each channel has its own.
        """
        overlap = config.separate.overlap if overlap is None else overlap
        batch = config.separate.batch if batch is None else batch
        if not 0 <= overlap <= 0.95:
            raise InputError(f"overlap is {overlap}; it is a share of a window, from 0 to 0.95")
        if batch < 1:
            raise InputError(f"batch is {batch}; it must be at least 1")
        self.config = config
        self.stems = tuple(config.targets)
        self.channels = config.audio.channels
        self.stft = Stft(config.audio.sample_rate, config.audio.n_fft, config.audio.hop)
        self._devices = devices or DataParallel(config.parallel, local=True)
        self._batch = -(-batch // self._devices.size) * self._devices.size
        self._frames = config.data.window_frames
        self._advance = max(1, round(self._frames * (1 - overlap)))
        self._weights = stream.fade(self._frames)
        self._shared = shared
        if shared and (self.channels > 1 or config.model.estimate == "direct"):
            raise InputError("shared masks need a model with audio.channels 1 and estimate 'mask' "
                             "or 'complex'")
        self._estimate = estimator or (
            make_estimator(config).shared if shared else make_estimator(config))
        self._variables = self._devices.replicate(variables)
        self._run = self._devices.map(self._body, split=True)      # compiled once a sample rate

    @classmethod
    def load(cls, run: str | Path, *, overlap: float | None = None, batch: int | None = None,
             devices: DataParallel | None = None) -> "Separator":
        """Return the separator of a run, its best checkpoint by validation, or of an exported file.
        """
        config, variables = checkpoint.load(run)
        return cls(config, variables, overlap=overlap, batch=batch, devices=devices)

    def with_variables(self, variables: Variables) -> "Separator":
        """Return this separator with other parameters of the same network; it compiles nothing
        anew.
        """
        other = copy.copy(self)
        other._variables = self._devices.replicate(variables)
        return other

    def __call__(self, wave_CN: np.ndarray, rate: int, *,
                 residual: bool = False) -> dict[str, np.ndarray]:
        """Separate a wave, float32 [C, N] at `rate` Hz, into waves of the same shape.

        residual: as in `stream`. Raises ValueError for other shapes, and for whole numbers, whose
        full scale is not ±1.
        """
        if wave_CN.ndim != 2 or not np.issubdtype(wave_CN.dtype, np.floating):
            raise ValueError("a wave is float32 [channels, samples] within ±1, "
                             f"not {wave_CN.dtype} {list(wave_CN.shape)}")
        wave_CN = wave_CN.astype(np.float32, copy=False)
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
        take so many channels, and for a residual where the last stem is not the rest of a song.
        """
        self.check_channels(channels, name)
        if residual:
            self.check_residual()
        stft = self.stft.at_rate(rate)
        mixture = stream.Mixture(blocks, channels, size=self._advance * stft.hop, keep=residual)
        doubled = channels < self.channels      # mono: both channels of the model hear it
        heard = (np.repeat(block, 2, 0) for block in mixture) if doubled else mixture
        windows = stream.cut_windows(stream.analyse(heard, stft), frames=self._frames,
                                     advance=self._advance)
        width = channels if self._shared else self.channels     # channels that a network sees
        rows = self._estimates(np.moveaxis(window_CTF[first:first + width], 0, -1)
                               for window_CTF in windows
                               for first in range(0, len(window_CTF), width))
        specs = stream.blend(rows, self._weights, advance=self._advance,
                             channels=max(channels, self.channels))
        for stems_SCN in stream.synthesise(specs, stft, mixture):
            if doubled:
                stems_SCN = stems_SCN.mean(1, keepdims=True)
            if grid:
                stems_SCN = np.round(stems_SCN / grid) * grid
            if residual:
                mix_CN = mixture.take(stems_SCN.shape[-1])
                stems_SCN[-1] = mix_CN - stems_SCN[:-1].sum(0)
            yield stems_SCN

    def separate_file(self, path: str | Path, output: str | Path, *, residual: bool = False,
                      bits: int = 32,
                      progress: Callable[[int], Any] = lambda samples: None) -> dict[str, Path]:
        """Separate a file into OUTPUT/<stem>.wav, of its rate, channels and length.

        Returns the path of each stem. residual: as in `stream`. bits: 32 (float, which never
        clips), 24 or 16. progress: is called with the samples just done. The files appear under
        their names when all are complete. Raises InputError for a file that cannot be used.
        """
        info = audio.probe(path)
        self.check_channels(info.channels, str(path))
        paths = {stem: Path(output) / f"{stem}.wav" for stem in self.stems}
        peaks_S = np.zeros(len(paths))
        with ExitStack() as stack:
            writers = [stack.enter_context(audio.Writer(
                stem, info.sample_rate, info.channels, bits=bits, samples=info.samples))
                for stem in paths.values()]
            for stems_SCN in self.stream(
                    audio.blocks(path, self._advance * self.stft.hop), info.sample_rate,
                    info.channels, residual=residual, grid=0 if bits == 32 else 2.0 ** (1 - bits)):
                for writer, wave_CN in zip(writers, stems_SCN):
                    writer.write(wave_CN)
                peaks_S = np.maximum(peaks_S, np.abs(stems_SCN).max((1, 2)))
                progress(stems_SCN.shape[-1])
            for writer in writers:      # a disk that fills up now leaves no stem without the others
                writer.close()
        for stem_path, peak in zip(paths.values(), peaks_S):
            if bits < 32 and peak > 1:
                tell(f"{stem_path}: clipped, its peak is {20 * np.log10(peak):.1f} dB above full "
                     "scale; --bits 32 keeps it")
        return paths

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
        last = self.stems[-1]
        if REST not in self.config.targets[last]:
            raise InputError(
                f"--residual gives {last!r} all that {', '.join(self.stems[:-1]) or 'no stem'} "
                "leaves of the song, and this model's last target is not the rest; leave it out")

    def _estimates(self, rows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the weighted stems [S, T, F, C] of each row, in order.

        While the host waits for one batch or works on it, the device has the next one.
        """
        running = None
        for batch, count in self._batches(rows):
            started = self._run(self._variables, self._devices.put({"mix": batch})), count
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
        # Magnitudes grow with √n_fft, at one frame period; the network knows those of training.
        scale = math.sqrt(self.stft.n_fft / (2 * (mix_BTFC.shape[2] - 1)))
        return self._estimate(variables, mix_BTFC, scale=scale) * self._weights[:, None, None]


def separate_songs(separator: Separator, jobs: list[tuple[Path, Path]], *, residual: bool = False,
                   bits: int = 32) -> int:
    """Separate each (song, folder); returns how many could not be.

    Those are named on stderr while the rest goes on. Shows a progress bar and prints a summary.
    """
    seconds, failed, started = [seconds_of(path) for path, _ in jobs], 0, time.monotonic()
    rates = {separator.stft.sample_rate}    # those that need no word
    with log.progress(math.ceil(sum(seconds)), "separate", unit="s") as bar:
        done_s = 0.0
        for path, folder in jobs:
            bar.set_description_str(path.name)
            try:
                rate = audio.probe(path).sample_rate
                if rate not in rates:
                    rates.add(rate)
                    tell(f"{path} and others of {rate} Hz are separated at that rate; the model "
                         f"was trained at {separator.stft.sample_rate} Hz")

                def progress(samples: int, rate: int = rate) -> None:
                    nonlocal done_s
                    done_s += samples / rate
                    bar.update(int(done_s) - bar.n)
                    speed = done_s / (time.monotonic() - started)
                    bar.set_postfix_str(f"{speed:.1f} times real time", refresh=False)
                separator.separate_file(path, folder, residual=residual, bits=bits,
                                        progress=progress)
            except InputError as problem:
                failed += 1
                tell(f"error: {problem}")
    wall_s = time.monotonic() - started
    print(f"{len(jobs) - failed} of {len(jobs)} songs separated: {sum(seconds):.0f} s of audio in "
          f"{wall_s:.0f} s, {sum(seconds) / wall_s:.1f} times real time")
    return failed


def seconds_of(path: Path) -> float:
    """Return the length of a song, or 0 for one that cannot be read."""
    try:
        info = audio.probe(path)
    except InputError:
        return 0.0
    return info.samples / info.sample_rate


def tell(sentence: str) -> None:
    """Print a sentence on stderr, beside a progress bar if there is one."""
    tqdm.write(sentence, file=sys.stderr)


def main() -> None:
    """Run the command."""
    checkpoint_flag = flags.DEFINE_string(
        "checkpoint", None, "a training run, as in runs/drums, or an exported model.safetensors",
        required=True)
    output = flags.DEFINE_string("output", "separated", "stems go to OUTPUT/<song>/<stem>.wav")
    residual = flags.DEFINE_bool(
        "residual", False, "the last stem is what the others leave of the mixture: all sum to it")
    overlap = flags.DEFINE_float(
        "overlap", None, "share of a window that the next one covers again; default: the model's")
    batch = flags.DEFINE_integer(
        "batch", None, "windows at once: more are faster and take memory; default: the model's")
    bits = flags.DEFINE_enum(
        "bits", "32", ["16", "24", "32"], "of a sample; 32 is float, which never clips")
    flags.FLAGS.set_gnu_getopt(True)        # flags may follow songs

    def run(arguments: list[str]) -> int:
        if not arguments:
            raise InputError("no song given; name audio files, or folders of them")
        jobs = plan(arguments, output.value)
        if not jobs:
            raise InputError(f"{', '.join(arguments)}: holds no audio files; name a WAV or FLAC "
                             "file, or a folder of them")
        parallel.prepare()
        separator = Separator.load(checkpoint_flag.value, overlap=overlap.value, batch=batch.value)
        if residual.value:
            separator.check_residual()
        devices = DataParallel(local=True)      # several processes: each has songs of its own
        mine = jobs[devices.process::devices.processes]
        failed = separate_songs(separator, mine, residual=residual.value, bits=int(bits.value))
        devices.wait_for_all("separated")       # one that leaves early would end the others
        return 1 if failed else 0

    command.run(run)


if __name__ == "__main__":
    main()
