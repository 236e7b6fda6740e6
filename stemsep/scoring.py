"""Scores of songs, each by a thread of its own: reading, Fourier transforms and sums let go of
Python's lock, so songs are scored beside each other while the device has work from all of them.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from stemsep import audio, baselines, engine, report
from stemsep.audio import Clip
from stemsep.baselines import HPSS, IRM, MIXTURE
from stemsep.bss_eval import MEASURES, BssEval, median
from stemsep.datasets.tracks import Track
from stemsep.errors import InputError
from stemsep.metrics import Scores
from stemsep.separator import Separator
from stemsep.stream import Tape

MODEL = "model"
BLOCK = 1 << 17             # samples scored at once

Waves = dict[str, np.ndarray]       # target -> float32 [C, N]


def score_tracks(separator: Separator, tracks: Iterable[Track], *, names: Sequence[str],
                 bss_eval: bool, workers: int, listener: report.Listener | None,
                 progress: Callable[[], Any]) -> list[dict[str, Any] | InputError]:
    """Return the scores of each track by the separator and the named baselines, as `score_track`
    does, or why it has none, in the order of the tracks.

    workers: tracks at a time, 0 for one a core; each takes the memory of its own song only, and of
    two batches on the device. listener: gets what can be heard. progress: is called after each
    track.
    """
    stop = threading.Event()
    score = partial(score_track, separator, names=names, bss_eval=bss_eval,
                    listener=listener, stop=stop, turn=threading.Lock())
    with ThreadPoolExecutor(workers or engine.cores(), thread_name_prefix="score") as pool:
        futures: list[Future] = [pool.submit(score, track) for track in tracks]
        try:
            for future in as_completed(futures):
                if not isinstance(future.exception(), InputError):
                    future.result()
                progress()
        except BaseException:
            stop.set()      # else the songs that are begun would be scored to their end
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [problem if isinstance(problem := future.exception(), InputError) else future.result()
            for future in futures]


def score_track(separator: Separator, track: Track, *, names: Sequence[str], bss_eval: bool,
                listener: report.Listener | None, stop: threading.Event,
                turn: threading.Lock) -> dict[str, Any]:
    """Separate one song and score each method: its name, split, length and scores in dB.

    bss_eval: with BSS Eval, for which true signals and estimates are kept as a whole. stop: set, it
    ends with InputError before the song does. turn: one song at a time begins, so that the network
    is compiled once. Raises InputError for a file that is no good.
    """
    song, targets = Song(track), list(separator.stems)
    clips = {target: [path for stem in stems for path in track.stems.get(stem, ())]
             for target, stems in separator.config.targets.items()}
    whole = {HPSS: baselines.hpss(song.whole(), targets)} if HPSS in names else {}
    streams = {MODEL: begun(separator.stream(
        song.mixture(), song.rate, song.channels, name=song.name), turn)}
    if IRM in names:
        streams[IRM] = baselines.irm(
            song.mixture(), [song.blocks(files) for files in clips.values()],
            separator.stft.at_rate(song.rate), channels=song.channels, size=BLOCK)
    tapes = {name: Tape((stems_SCN.reshape(-1, stems_SCN.shape[-1]) for stems_SCN in stems_of),
                        len(targets) * song.channels) for name, stems_of in streams.items()}
    kept: dict[str, Waves] = {name: {target: song.silence() for target in targets}
                              for name in ("truth", *tapes)} if bss_eval else {}
    excerpt = listener.begin(f"{track.split}/{track.name}", song.rate) if listener else None
    sums: dict[str, dict[str, Scores]] = {}
    first = 0
    for mix_CN, *true in zip(song.mixture(), *map(song.blocks, clips.values())):
        if stop.is_set():
            raise InputError(f"{song.name}: was not scored to its end; run the same command again")
        here = slice(first, first + mix_CN.shape[1])
        estimates = {name: dict(zip(targets, tape.take(mix_CN.shape[1]).reshape(-1, *mix_CN.shape)))
                     for name, tape in tapes.items()}
        if excerpt:
            excerpt.add(mix_CN, dict(zip(targets, true)), estimates[MODEL])
        for name, waves in {**estimates, "truth": dict(zip(targets, true))}.items():
            for target, wave_CN in waves.items() if bss_eval else ():
                kept[name][target][:, here] = wave_CN
        if MIXTURE in names:
            estimates[MIXTURE] = dict.fromkeys(targets, mix_CN)
        for name, waves in whole.items():
            estimates[name] = {target: wave_CN[:, here] for target, wave_CN in waves.items()}
        for target, true_CN in zip(targets, true):
            for name, waves in estimates.items():
                if target in waves:
                    own = sums.setdefault(name, {})
                    own.setdefault(target, Scores()).add(true_CN, waves[target])
        first = here.stop
    if excerpt:
        excerpt.keep()
    scores: dict[str, dict[str, dict[str, float | None]]] = {
        name: {target: {"sdr": s.sdr(), "si_sdr": s.si_sdr()} for target, s in own.items()}
        for name, own in sums.items()}
    if bss_eval:
        mixture = {MIXTURE: dict.fromkeys(targets, song.whole())} if MIXTURE in names else {}
        add_bss_eval(scores, kept.pop("truth"), {**kept, **whole, **mixture}, window=song.rate)
    return {"name": track.name, "split": track.split, "sample_rate": song.rate,
            "seconds": song.samples / song.rate, "scores": scores}


def add_bss_eval(scores: dict[str, dict[str, dict[str, float | None]]], truth: Waves,
                 methods: dict[str, Waves], *, window: int) -> None:
    """Add bss_sdr, bss_isr, bss_sir and bss_sar to the scores of each method and target: medians
    over frames of `window` samples, None where no frame can be scored.
    """
    score = BssEval(truth, window=window)
    for name, waves in methods.items():
        for target, frames in score(waves).items():
            found = median(frames)
            scores[name][target].update({f"bss_{m}": found[m] for m in MEASURES})


def begun(blocks: Iterator[np.ndarray], turn: threading.Lock) -> Iterator[np.ndarray]:
    """Return the same blocks, of which the first is made while no other thread makes its own."""
    with turn:
        first = next(blocks, None)
    return blocks if first is None else chain([first], blocks)


class Song:
    """The audio of a track, at the rate and with the channels of its mixture.

    As long as the longest file; silence follows the end of the others. Without a file of the
    mixture, the stems add up to it.
    """

    def __init__(self, track: Track) -> None:
        stems = [clip for clips in track.stems.values() for clip in clips]
        self._mixture = [track.mixture] if track.mixture else stems
        if not self._mixture:
            raise InputError(f"{track.name}: has no audio files; add those of its stems")
        self._infos = {clip: audio.probe(clip) for clip in [*self._mixture, *stems]}
        self.name = str(self._mixture[0])
        self.rate = self._infos[self._mixture[0]].sample_rate
        self.channels = max(self._infos[clip].channels for clip in self._mixture)
        self.samples = max(audio.resampled(info.samples, info.sample_rate, self.rate)
                           for info in self._infos.values())

    def mixture(self) -> Iterator[np.ndarray]:
        """Yield the mixture as `blocks` does."""
        return self.blocks(self._mixture)

    def whole(self) -> np.ndarray:
        """Return the mixture, [C, N]."""
        return np.concatenate(list(self.mixture()), 1)

    def silence(self) -> np.ndarray:
        """Return a wave as long as the song, float32 [C, N], to be written over."""
        return np.zeros((self.channels, self.samples), np.float32)

    def blocks(self, clips: Sequence[Clip]) -> Iterator[np.ndarray]:
        """Yield the sum of the files, or silence for none: [C, BLOCK], the last shorter."""
        tapes = [Tape(self._read(clip), self.channels) for clip in clips]
        for first in range(0, self.samples, BLOCK):
            total_CN = np.zeros((self.channels, min(BLOCK, self.samples - first)), np.float32)
            for tape in tapes:
                total_CN += tape.take(total_CN.shape[1])
            yield total_CN

    def _read(self, clip: Clip) -> Iterator[np.ndarray]:
        waves = audio.resample(audio.blocks(clip, BLOCK), self._infos[clip].sample_rate, self.rate)
        for block_CN in waves:
            yield audio.remap(block_CN, self.channels, clip)
