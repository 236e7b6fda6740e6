"""What a page plays and shows of a track: gathered while the track is scored, kept as small files.
"""

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stemsep.report import image, sound

MIXTURE, ESTIMATE, REFERENCE, ERROR = "mixture", "estimate", "reference", "error"
KINDS = (ESTIMATE, REFERENCE, ERROR)    # of each target; the error is estimate − reference
FLOOR = 1e-6        # of the loudest target's energy: −60 dB counts as silence
QUIET_DB = -80.0    # no point of a mixture that is quieter has the lightest colour


@dataclass(frozen=True)
class Lane:
    """One sound of a track: of which target (none of the mixture), its picture, its audio."""

    target: str
    kind: str
    picture: str        # data URI of a PNG
    sound: str          # data URI


@dataclass(frozen=True)
class Heard:
    """The excerpt of a track as a page has it."""

    first_s: float      # where it begins in the track
    seconds: float
    rate: int           # of the track, in Hz
    lanes: tuple[Lane, ...]


class Listener:
    """Keeps an excerpt of some tracks: ``excerpt = listener.begin("test/song", 44100)``.

    names: of all tracks that are scored; at most `tracks` of them, evenly spread, are kept,
    `seconds` of each. Which they are depends neither on the order of scoring nor on the scores, and
    several threads may score at once, each its own track. Memory: two excerpts of each track that
    is being scored; of the others what the page holds.
    """

    def __init__(self, names: Sequence[str], *, seconds: float, tracks: int) -> None:
        count = min(tracks, len(names)) if seconds > 0 else 0
        self._wanted = {names[k * len(names) // count] for k in range(count)}
        self._seconds = seconds
        self._heard: dict[str, Heard] = {}
        self._lock = threading.Lock()

    def begin(self, name: str, rate: int) -> "Excerpt | None":
        """Return what gathers the excerpt of a track, or None for a track that is not kept."""
        return Excerpt(self, name, rate, self._seconds) if name in self._wanted else None

    def keep(self, name: str, heard: Heard) -> None:
        """Take the excerpt of a track."""
        with self._lock:
            self._heard[name] = heard

    @property
    def heard(self) -> dict[str, Heard]:
        """The excerpts so far, by name."""
        with self._lock:
            return dict(self._heard)


@dataclass(frozen=True)
class Piece:
    """About a second of a track: waves [1 + 2·targets, C, n] (mixture, references, estimates), and
    the energy of each reference [targets].
    """

    waves_LCN: np.ndarray
    energies: np.ndarray


class Excerpt:
    """Gathers one track block by block and keeps the stretch where its targets sound most.

    That is the stretch whose references have the highest geometric mean of energies, so one in
    which all of them sound where there is one (a silent one counts as 60 dB below the loudest). The
    first of equals is kept. Stretches begin at whole steps of about a second.
    """

    def __init__(self, listener: Listener, name: str, rate: int, seconds: float) -> None:
        self._listener, self._name, self._rate = listener, name, rate
        self._count = max(1, round(seconds))                        # pieces of a stretch
        self._size = max(1, round(seconds * rate / self._count))    # samples of a piece
        self._targets: tuple[str, ...] = ()
        self._held: list[np.ndarray] = []                           # less than a piece
        self._recent: deque[Piece] = deque(maxlen=self._count)
        self._pieces = 0
        self._best: tuple[int, list[Piece]] = (0, [])
        self._best_score = -np.inf

    def add(self, mix_CN: np.ndarray, references: Mapping[str, np.ndarray],
            estimates: Mapping[str, np.ndarray]) -> None:
        """Take the next block, float32 [C, n]: of the mixture and, by target, of the references and
        of the model's estimates.
        """
        self._targets = tuple(references)
        block_LCN = np.stack([mix_CN, *references.values(),
                              *(estimates[target] for target in references)])
        held = sum(part.shape[-1] for part in self._held)
        first = 0
        while held + block_LCN.shape[-1] - first >= self._size:
            last = first + self._size - held
            self._take([*self._held, block_LCN[..., first:last]])
            self._held, held, first = [], 0, last
        self._held.append(block_LCN[..., first:])

    def _take(self, parts: list[np.ndarray]) -> None:
        """Take a piece; a stretch that is complete with it may be the best."""
        waves_LCN = np.concatenate(parts, -1)
        references = waves_LCN[1:1 + len(self._targets)]
        self._recent.append(Piece(waves_LCN, (references ** 2).sum((1, 2), dtype=np.float64)))
        self._pieces += 1
        if len(self._recent) == self._count:
            energies = np.sum([piece.energies for piece in self._recent], 0)
            score = float(np.log(energies + FLOOR * max(energies.max(), 1e-9)).sum())
            if score > self._best_score:
                self._best_score = score
                self._best = self._pieces - self._count, list(self._recent)

    def keep(self) -> None:
        """Draw and encode the best stretch, a whole track that is shorter, and hand it over."""
        first, pieces = self._best
        parts = [piece.waves_LCN for piece in pieces or self._recent]
        parts += [] if pieces else self._held
        self._best, self._held = (0, []), []
        self._recent.clear()
        if not parts:       # a track without a sample
            return
        waves_LCN = np.concatenate(parts, -1)
        self._listener.keep(self._name, Heard(
            first * self._size / self._rate, waves_LCN.shape[-1] / self._rate, self._rate,
            lanes(waves_LCN, self._targets, self._rate)))


def lanes(waves_LCN: np.ndarray, targets: Sequence[str], rate: int) -> tuple[Lane, ...]:
    """Return the lanes of a track from its mixture, references and estimates,
    [1 + 2·targets, C, N]: the mixture, then estimate, reference and error of each target.

    Pictures have one scale of colours, whose top is the loudest point of the mixture. Sounds have
    one gain, lower than 1 where one of them would clip.
    """
    count = len(targets)
    named = {("", MIXTURE): waves_LCN[0]}
    for number, target in enumerate(targets, 1):
        reference, estimate = waves_LCN[number], waves_LCN[count + number]
        named |= {(target, ESTIMATE): estimate, (target, REFERENCE): reference,
                  (target, ERROR): estimate - reference}
    gain = sound.gain(list(named.values()))
    top_db = max(QUIET_DB, float(image.spectrogram(waves_LCN[0], rate).max()))
    return tuple(Lane(
        target, kind,
        sound.data_uri(image.png(image.spectrogram(wave_CN, rate), top_db), "image/png"),
        sound.encode(wave_CN, rate, gain=gain)) for (target, kind), wave_CN in named.items())
