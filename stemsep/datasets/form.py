"""The form of a song: which sections follow each other, and their bars and chords."""

from dataclasses import dataclass

import numpy as np

from stemsep.datasets.harmony import Chord, draw_progression, pick

# One note as players write it: first step, length in steps, pitch, velocity. Steps are sixteenths
# from the start of the first bar; fractions of a step are rolls, flams and strums.
Event = tuple[float, float, int, float]

# What may follow a section, and how loud and full each one is (0..1).
_NEXT = {
    "intro": ("verse", "verse", "riff"), "verse": ("chorus", "chorus", "verse", "lift", "riff"),
    "lift": ("chorus",), "chorus": ("verse", "bridge", "break", "solo", "riff", "chorus", "outro"),
    "riff": ("verse", "chorus", "solo"), "bridge": ("chorus", "break", "solo"),
    "break": ("chorus", "verse", "lift"), "solo": ("chorus", "verse", "break"),
    "outro": ("intro", "verse"),
}
_FIRST = ("intro", "verse", "verse", "chorus", "chorus", "chorus", "riff", "bridge", "solo",
          "break")
_LEVELS = {"intro": 0.45, "verse": 0.6, "lift": 0.72, "chorus": 0.95, "riff": 0.85, "bridge": 0.65,
           "break": 0.3, "solo": 0.85, "outro": 0.6}
_SHORT = ("intro", "break", "lift", "riff")

# What the drummer does in a section.
_DRUMMING = {
    "intro": ("full", "full", "full", "hats", "kick", "none", "toms", "alone", "swell"),
    "break": ("none", "kick", "hats", "alone", "swell", "toms", "full"),
    "bridge": ("full", "full", "full", "toms", "hats", "kick", "none"),
    "lift": ("full", "full", "build", "toms"),
    "verse": ("full",) * 9 + ("hats", "kick", "none"),
    "outro": ("full", "full", "full", "none", "swell"),
}


@dataclass(frozen=True, slots=True)
class Meter:
    """Steps that a bar and a beat have: 16 and 4 for 4/4, 12 and 4 for 3/4, 12 and 6 for 6/8."""

    steps: int = 16
    beat: int = 4


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: where it starts, its size and beat in steps, its place in its section, its chords.

    chords: (step within the bar, chord), the first at step 0. level: 0..1, how loud and full.
    drums: what the drummer does: full, none, kick, hats, toms, build, swell, or alone, when all
    others rest. stops: after its first beat the band is silent, but for singers and drum fills.
    """

    start: int
    steps: int
    beat: int
    kind: str
    number: int
    of: int
    chords: tuple[tuple[int, Chord], ...]
    level: float
    drums: str
    stops: bool

    @property
    def last(self) -> bool:
        return self.number == self.of - 1

    def chord_at(self, step: float) -> Chord:
        """Find the chord that sounds at a step of this bar."""
        return next(chord for first, chord in reversed(self.chords) if first <= step)

    def spans(self) -> list[tuple[int, int, Chord]]:
        """List the bar's chords as (first step, number of steps, chord)."""
        ends = [first for first, _ in self.chords[1:]] + [self.steps]
        return [(first, end - first, chord) for (first, chord), end in zip(self.chords, ends)]


def draw_form(rng: np.random.Generator, meter: Meter, *, tonic: int, family: str,
              steps: float) -> list[Bar]:
    """Draw sections until their bars last `steps` steps, beginning anywhere in a song."""
    kind = pick(rng, _FIRST)
    chords_of: dict[str, tuple[list[Chord], float]] = {}
    bars: list[Bar] = []
    while len(bars) * meter.steps < steps:
        if kind not in chords_of:       # a verse that comes back has the same chords
            chords_of[kind] = (draw_progression(rng, family, tonic),
                               pick(rng, (1.0, 1.0, 1.0, 1.0, 2.0, 0.5)))
        bars += _section(rng, meter, kind, *chords_of[kind], first_bar=len(bars))
        kind = pick(rng, _NEXT[kind])
    return bars


def _section(rng: np.random.Generator, meter: Meter, kind: str, chords: list[Chord],
             chords_a_bar: float, *, first_bar: int) -> list[Bar]:
    size = pick(rng, (2, 4, 4, 4, 8) if kind in _SHORT else (4, 4, 8, 8))
    drums = pick(rng, _DRUMMING.get(kind, ("full",)))
    size = min(size, {"alone": 4, "build": 4, "swell": 2}.get(drums, size))
    level = float(np.clip(_LEVELS[kind] + rng.normal(0, 0.1), 0.15, 1.0))
    stops_at = size - 1 if drums == "full" and rng.random() < 0.1 else None
    bars = []
    for number in range(size):
        place = int(number * chords_a_bar)
        inside = [(0, chords[place % len(chords)])]
        if chords_a_bar > 1:
            half = meter.beat * (meter.steps // meter.beat // 2)
            inside.append((half, chords[(place + 1) % len(chords)]))
        bars.append(Bar((first_bar + number) * meter.steps, meter.steps, meter.beat, kind, number,
                        size, tuple(inside), level, drums, number == stops_at))
    return bars
