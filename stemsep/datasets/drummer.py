"""A drummer: makes a groove the song's own, varies it over the sections, fills and crashes."""

from collections.abc import Sequence

import numpy as np

from stemsep.datasets.form import Bar, Event
from stemsep.datasets.grooves import DRUMS, FILL_RUNS, TIME_KEEPERS, groove
from stemsep.datasets.harmony import pick

Pattern = dict[str, str]        # a drum's hits, in the letters of grooves.py

_VELOCITY = {"X": 112.0, "x": 92.0, "o": 46.0, "?": 74.0}
# Seconds until a drum has rung out; all others are short.
_RING_S = {"open": 0.5, "ride": 1.2, "ride2": 1.2, "bell": 1.2, "crash": 2.5, "crash2": 2.5,
           "china": 1.8, "splash": 1.0, "tom1": 0.4, "tom2": 0.45, "tom3": 0.5, "tom4": 0.6,
           "tom5": 0.7, "tom6": 0.8}
# The map has two of some drums; a kit uses one, mostly the first.
_TWINS = {"kick": "kick2", "snare": "snare2", "ride": "ride2"}
_HATS = (DRUMS["hat"], DRUMS["pedal"], DRUMS["open"])

ORCHESTRA_KIT = 48
# It has timpani where other kits have hats and cymbals.
_ORCHESTRA = {"hat": "triangle1", "open": "crash2", "pedal": "tamb", "ride": "ride2",
              "bell": "triangle2", "crash": "crash2", "china": "ride2"}

# What a drum's hits move to in loud and in soft sections, and when the toms take over.
_LOUDER = {"hat": ("open", "ride", "crash", "hat", "open", "ride"), "rim": ("snare",),
           "ride": ("crash", "bell", "ride", "open"), "open": ("crash", "china", "ride", "open")}
_SOFTER = {"open": ("hat",), "crash": ("hat", "ride"), "china": ("hat", "open"),
           "snare": ("rim", "snare", "snare")}
_TO_TOMS = {"hat": "tom6", "open": "tom6", "ride": "tom5", "snare": "tom3", "crash": "tom6",
            "rim": "tom4"}
_WITH_HATS = (*TIME_KEEPERS, "rim", "tamb", "maracas", "cabasa")
_WITH_KICK = ("kick", "clap", "maracas")


class Drummer:
    """Plays one song; `hits(bars)` gives its events, drawn from the generator that it is made with.

    grooves, layers: names from the tables that it may take. busy: 0..1, how much it alters and
    fills.
    """

    def __init__(self, rng: np.random.Generator, grooves: Sequence[str], layers: Sequence[str], *,
                 kit: int, step_s: float, busy: float) -> None:
        self.rng, self.grooves, self.layers = rng, grooves, layers
        self.step_s, self.busy = step_s, busy
        self.patterns: dict[str, Pattern] = {}          # one for each kind of section
        self.gains = {drum: float(rng.uniform(0.78, 1.08)) for drum in DRUMS}
        self.crashes = pick(rng, (("crash",), ("crash", "crash2"),
                                  ("crash", "crash2", "splash", "china")))
        self.crash_share = pick(rng, (0.9, 0.75, 0.4))
        self.rides_crashes = rng.random() < 0.3         # crashes every four bars of loud sections
        self.runs = [pick(rng, list(FILL_RUNS)) for _ in range(4)]
        self.own = {drum: twin for drum, twin in _TWINS.items() if rng.random() < 0.25}
        if kit == ORCHESTRA_KIT:
            self.own |= _ORCHESTRA
        self.home: Pattern = {}

    def hits(self, bars: Sequence[Bar]) -> list[Event]:
        """Play all bars."""
        self.home = self._own(bars[0].steps)
        events: list[Event] = []
        for bar in bars:
            if bar.drums == "swell":
                events += self._swell(bar)
            elif bar.drums == "build":
                events += self._build(bar)
            elif bar.drums != "none":
                events += self._bar(bar)
        return self._shut(events)

    def _bar(self, bar: Bar) -> list[Event]:
        pattern = self._reduced(self._pattern(bar), bar.drums)
        fill = self._fill_length(bar)
        kept = bar.beat if bar.stops else bar.steps - fill
        first = bar.number * bar.steps
        events = []
        for drum, hits in pattern.items():
            for step in range(kept):
                letter = hits[(first + step) % len(hits)]
                if letter != "-" and (letter != "?" or self.rng.random() < 0.4):
                    events.append(self._hit(bar, drum, step, _VELOCITY[letter]))
        if self.rng.random() < 0.25 * self.busy and kept:
            drum = pick(self.rng, ("kick", "snare", "open"))
            events.append(self._hit(bar, drum, int(self.rng.integers(kept)), 70.0))
        events += self._crash(bar)
        return events + self._fill(bar, bar.steps - fill, fill) if fill else events

    def _hit(self, bar: Bar, drum: str, step: float, velocity: float, *,
             ring: float = 1.0) -> Event:
        name = self.own.get(drum, drum)
        length = ring * _RING_S.get(name, 0.2) / self.step_s
        return bar.start + step, length, DRUMS[name], velocity * self.gains[drum]

    def _pattern(self, bar: Bar) -> Pattern:
        """Return the section's groove: the song's own, changed for this kind of section."""
        if bar.kind not in self.patterns:
            fresh = self._own(bar.steps) if self.rng.random() < 0.2 else self.home
            swaps = _LOUDER if bar.level > 0.8 else _SOFTER if bar.level < 0.5 else {}
            pattern: Pattern = {}
            for drum, hits in fresh.items():
                name = drum
                if drum in swaps and self.rng.random() < 0.6:
                    name = pick(self.rng, swaps[drum])
                # Few play crashes or open hats on every eighth: most keep to the beats.
                if name != drum and name in ("crash", "china", "open") and self.rng.random() < 0.7:
                    hits = "".join(hit if step % 4 == 0 else "-" for step, hit in enumerate(hits))
                pattern[name] = hits
            for layer in self.layers:
                if self.rng.random() < 0.25 + 0.35 * bar.level:
                    pattern.update(groove(layer)[1])
            self.patterns[bar.kind] = pattern
        return self.patterns[bar.kind]

    def _own(self, steps: int) -> Pattern:
        """Take a groove and alter it, or now and then make one up."""
        if not self.grooves or self.rng.random() < 0.1:
            return random_groove(self.rng, steps)
        pattern = {drum: self._altered(drum, hits)
                   for drum, hits in groove(pick(self.rng, self.grooves))[1]}
        feel = self.rng.random()
        for drum in [drum for drum in pattern if drum not in TIME_KEEPERS]:
            if feel < 0.06:         # half time: kick and snare stretched over two bars
                pattern[drum] = "".join(hit + "-" for hit in pattern[drum])
            elif feel < 0.1:        # double time
                pattern[drum] = pattern[drum][::2] * 2
        if feel > 0.93:             # no time keeper
            without = {drum: hits for drum, hits in pattern.items() if drum not in TIME_KEEPERS}
            pattern = without or pattern
        return pattern

    def _altered(self, drum: str, hits: str) -> str:
        """Add or leave out hits off the beats, more of them for a busy drummer."""
        share = self.busy * {"kick": 0.16, "snare": 0.1, "rim": 0.08}.get(drum, 0.05)
        added = "o" if drum in ("snare", "rim") else "x"
        altered = ""
        for step, (hit, chance) in enumerate(zip(hits, self.rng.random(len(hits)))):
            changes = chance < share and step % 4 > 0
            altered += hit if not changes else added if hit == "-" else "?"
        return altered

    def _reduced(self, pattern: Pattern, drums: str) -> Pattern:
        if drums in ("kick", "hats"):
            keeps = _WITH_KICK if drums == "kick" else _WITH_HATS
            return {drum: hits for drum, hits in pattern.items() if drum in keeps}
        if drums == "toms":
            return {_TO_TOMS.get(drum, drum): hits for drum, hits in pattern.items()}
        return pattern

    def _crash(self, bar: Bar) -> list[Event]:
        enters = bar.number == 0 and self.rng.random() < self.crash_share
        again = self.rides_crashes and bar.number % 4 == 0 and bar.level > 0.8
        if not (enters or again) or bar.drums not in ("full", "toms", "alone"):
            return []
        choked = 0.06 if self.rng.random() < 0.08 else 1.0
        events = [self._hit(bar, pick(self.rng, self.crashes), 0, 116.0, ring=choked),
                  self._hit(bar, "kick", 0, 114.0)]
        if self.rng.random() < 0.2:
            events.append(self._hit(bar, "crash2", 0, 112.0, ring=choked))
        return events

    def _fill_length(self, bar: Bar) -> int:
        """Decide how many steps at the bar's end are a fill; 0 for none."""
        if bar.drums not in ("full", "toms", "alone"):
            return 0
        if bar.stops:
            return pick(self.rng, (0, bar.beat, bar.steps - bar.beat))
        every_four = bar.number % 4 == 3
        chance = 0.35 + 0.5 * self.busy if bar.last else 0.35 * self.busy if every_four else 0.05
        if self.rng.random() > chance:
            return 0
        return min(4 * pick(self.rng, (1, 1, 2, 2, 3, 4) if bar.last else (1, 1, 2)), bar.steps)

    def _fill(self, bar: Bar, first: int, length: int) -> list[Event]:
        if self.rng.random() < 0.08:                    # a stop instead of a fill
            return [self._hit(bar, drum, first, 110.0, ring=0.1) for drum in ("kick", "crash")]
        run = FILL_RUNS[pick(self.rng, self.runs)].split()
        pace = pick(self.rng, (1.0, 1.0, 1.0, 2.0, 2 / 3, 0.5, 4 / 3))      # steps a stroke
        crescendo = pick(self.rng, (0.0, 0.2, 0.45))
        holes = pick(self.rng, (0.0, 0.0, 0.2, 0.4))
        in_turn = self.rng.random() < 0.4       # else all strokes on one drum before the next
        count = round(length / pace)
        events = []
        for stroke in range(count):
            if self.rng.random() < holes:
                continue
            drum = run[stroke % len(run)] if in_turn else run[stroke * len(run) // count]
            step = first + stroke * pace
            loud = 108 * (1 - crescendo * (1 - stroke / count)) * (0.9 if stroke % 2 else 1.0)
            events.append(self._hit(bar, drum, step, loud))
            if drum == "snare" and self.rng.random() < 0.12:        # a flam
                events.append(self._hit(bar, "snare2", step - 0.03 / self.step_s, 0.6 * loud))
        if self.rng.random() < 0.4:
            events += [self._hit(bar, "kick", first + step, 96.0) for step in range(0, length, 4)]
        return events

    def _build(self, bar: Bar) -> list[Event]:
        """Roll the snare, louder and, from half way on, faster; the kick keeps the beat."""
        pace = 2 if bar.number < bar.of / 2 else 1
        events = [self._hit(bar, "kick", step, 100.0) for step in range(0, bar.steps, bar.beat)]
        for step in range(0, bar.steps, pace):
            grown = (bar.number + step / bar.steps) / bar.of
            events.append(self._hit(bar, "snare", step, 50 + 65 * grown))
        return events

    def _swell(self, bar: Bar) -> list[Event]:
        """Roll on a cymbal, louder towards the section's end."""
        events = []
        for half_step in range(2 * bar.steps):
            grown = (bar.number + half_step / (2 * bar.steps)) / bar.of
            events.append(self._hit(bar, "crash2", half_step / 2, 12 + 70 * grown ** 2))
        return events

    def _shut(self, events: Sequence[Event]) -> list[Event]:
        """Let the next stroke of the hi-hat end an open one: a kit has only one."""
        shut: list[Event] = []
        next_step = float("inf")
        opened = DRUMS["open"]
        taken = {start for start, _, pitch, _ in events if pitch == opened}
        for start, length, pitch, loud in sorted(events, reverse=True):
            if pitch == DRUMS["hat"] and start in taken:
                continue
            if pitch == opened:
                length = max(0.5, min(length, next_step - start))
            next_step = start if pitch in _HATS else next_step
            shut.append((start, length, pitch, loud))
        return shut


def random_groove(rng: np.random.Generator, steps: int) -> Pattern:
    """Make up a groove: hits fall more often on strong steps, the snare mostly on back beats."""
    step = np.arange(steps)
    strength = np.select([step % 8 == 0, step % 4 == 0, step % 2 == 0], [1.0, 0.6, 0.4], 0.15)

    def line(share: np.ndarray) -> str:
        return "".join("-" if draw > chance else pick(rng, "Xxx" if chance > 0.5 else "xo")
                       for draw, chance in zip(rng.random(steps), share))

    backbeat = np.where(step % 8 == 4, 0.95, 0.06)
    every = np.where(step % pick(rng, (1, 2, 2, 4)) == 0, 0.96, 0.05)
    pattern = {
        "kick": "X" + line(strength * rng.uniform(0.4, 1.0))[1:],
        pick(rng, ("snare", "snare", "snare", "rim", "clap")):
            line(backbeat if rng.random() < 0.7 else strength * 0.4),
        pick(rng, TIME_KEEPERS[:4]): line(every),
    }
    if rng.random() < 0.4:
        extra = pick(rng, ("tom4", "tom6", "cowbell", "tamb", "conga1", "maracas", "wood1", "open"))
        pattern.setdefault(extra, line(strength[::-1] * 0.6))
    return pattern
