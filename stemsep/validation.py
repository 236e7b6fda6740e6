"""What a run is judged by while it trains: losses on fixed windows, and the SDR of whole songs.

Both of the parameters as they are and of their average, where one is kept.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stemsep.batches import Batches
from stemsep.config import Config
from stemsep.estimate import Estimator, Variables
from stemsep.metrics import Scores
from stemsep.parallel import DataParallel
from stemsep.separator import Separator
from stemsep.state import TrainState
from stemsep.steps import make_validation, members
from stemsep.store import Record, Store

SDR = "sdr"


@dataclass(frozen=True)
class Verdict:
    """What a validation found.

    scores: of each candidate ("raw", "ema") the losses, and where songs are separated "sdr" and
    "sdr_<target>", in dB, None for a target that is silent in all of them. best: the candidate that
    is better. heard: name of a song -> its waves by what they are, [C, N], of the songs that this
    process separated.
    """

    scores: dict[str, dict[str, float | None]]
    best: str
    heard: dict[str, dict[str, np.ndarray]]

    @property
    def score(self) -> float:
        """What ranks checkpoints, the higher the better: the mean SDR, else the negative loss."""
        return rank(self.scores[self.best])


def rank(scores: dict[str, float | None]) -> float:
    """Return the mean SDR where there is one, else the negative loss: a higher one is better."""
    sdr, loss = scores.get(SDR), scores["loss"]
    assert loss is not None
    return -loss if sdr is None else sdr


def identity(config: Config) -> str:
    """Return what the scores of a configuration are of: only those of one identity compare."""
    train = config.train
    return repr((config.data.source, config.seed, train.batch, train.validate_windows,
                 train.validate_songs, train.validate_song_s))


class Interrupted(Exception):
    """A validation was given up, because the run is asked to stop."""


class Validation:
    """The validation of a run, made once and called as often as it is due.

    Every process calls it at the same steps: the windows are spread over all devices, the songs
    over the processes.
    """

    def __init__(self, store: Store, split: str, estimator: Estimator, alpha_S: np.ndarray,
                 config: Config, devices: DataParallel) -> None:
        self.config, self.devices, self._store = config, devices, store
        self.windows = Batches(store, split, config, devices)
        self._losses_of = devices.map(make_validation(estimator, alpha_S, config))
        stft = store.spec.stft
        long_enough = [record for record in self.windows.records  # for a sample of its own
                       if record.frames * stft.hop >= stft.n_fft]
        self.songs = spread(long_enough, config.train.validate_songs)
        self._separator: Separator | None = None    # compiled when the first song is due

    def __call__(self, train_state: TrainState, at_host: TrainState,
                 asked_to_stop: Callable[[], bool] = lambda: False) -> Verdict:
        """Judge a state on the devices and its copy of the host.

        asked_to_stop: asked after each batch of windows and each separation of a song, as often in
        every process; raises Interrupted when it says so.
        """
        def go_on() -> None:
            if asked_to_stop():
                raise Interrupted

        scores = {name: self._losses(variables, go_on)
                  for name, variables in train_state.candidates().items()}
        heard: dict[str, dict[str, np.ndarray]] = {}
        if self.songs:
            candidates = at_host.candidates()
            separators = [self._separating(variables) for variables in candidates.values()]
            sdr_KMS = np.zeros((len(candidates), len(self.songs), len(self.config.targets)),
                               np.float32)      # which is what processes exchange
            for first in range(0, len(self.songs), self.devices.processes):
                place = first + self.devices.process    # a song each, while any are left
                song = self.songs[place] if place < len(self.songs) else None
                if song is not None:
                    mix_CN, stems_SCN = self._waves(song)
                for k, separator in enumerate(separators):
                    if song is not None:
                        estimates = separator(mix_CN, self.config.audio.sample_rate)
                        sdr_KMS[k, place] = [
                            sdr_or_nan(stem_CN, estimate_CN)
                            for stem_CN, estimate_CN in zip(stems_SCN, estimates.values())]
                        heard[song.name] = {"mixture": mix_CN, **estimates}
                    go_on()
            for name, sdr_MS in zip(candidates, self.devices.add_up(sdr_KMS)):
                scores[name].update(mean_sdr(sdr_MS, list(self.config.targets)))
        return Verdict(scores, max(scores, key=lambda name: rank(scores[name])), heard)

    def _losses(self, variables: Variables,
                go_on: Callable[[], None]) -> dict[str, float | None]:
        """Return the mean losses over the fixed windows."""
        running: list[Any] = []
        values: list[dict[str, Any]] = []
        for _, batch in self.windows.fixed(self.config.train.validate_windows):
            before, running = running, [self._losses_of(variables, batch)]
            values += map(self.devices.get, before)     # while this one is computed
            go_on()
        values += map(self.devices.get, running)
        return {name: float(np.mean([value[name] for value in values])) for name in values[0]}

    def _waves(self, record: Record) -> tuple[np.ndarray, np.ndarray]:
        """Return mixture [C, N] and targets [S, C, N] of the middle of a song, as the store has it.
        """
        stft, train = self._store.spec.stft, self.config.train
        limit = int(train.validate_song_s * stft.sample_rate / stft.hop) + 1
        frames = min(record.frames, max(limit, -(-stft.n_fft // stft.hop)))
        stems_STCF2 = self._store.read(
            record, (record.frames - frames) // 2, frames,
            stems=range(len(self._store.spec.stems))).result().astype(np.float32)
        stems_SCTF = np.moveaxis(stems_STCF2[..., 0] + 1j * stems_STCF2[..., 1], 2, 1)
        stems_SCN = stft.interior(stems_SCTF)
        targets_SCN = np.stack([stems_SCN[own].sum(0) for own in members(self.config)])
        return stems_SCN.sum(0), targets_SCN

    def _separating(self, variables: Variables) -> Separator:
        """Return a separator with these parameters; all share one compiled program."""
        if self._separator is None:
            alone = DataParallel(self.config.parallel, local=True)
            self._separator = Separator(self.config, variables, devices=alone)
        return self._separator.with_variables(variables)


def spread(records: list[Record], count: int) -> list[Record]:
    """Return up to `count` of the records, evenly spread over them."""
    count = min(count, len(records))
    return [records[(2 * i + 1) * len(records) // (2 * count)] for i in range(count)]


def sdr_or_nan(reference_CN: np.ndarray, estimate_CN: np.ndarray) -> float:
    """Return the SDR in dB, NaN for a silent reference."""
    sdr = Scores().add(reference_CN, estimate_CN).sdr()
    return np.nan if sdr is None else sdr


def mean_sdr(sdr_MS: np.ndarray, targets: list[str]) -> dict[str, float | None]:
    """Return the mean SDR of each target over the songs where it sounds, and the mean of those."""
    means = {name: None if np.isnan(own).all() else float(np.nanmean(own))
             for name, own in zip(targets, sdr_MS.T)}
    heard = [mean for mean in means.values() if mean is not None]
    return {SDR: float(np.mean(heard)) if heard else None,
            **{f"{SDR}_{name}": mean for name, mean in means.items()}}
