"""A drummer: takes a groove, makes it the song's own, varies it over the sections, fills and crashes."""

from collections.abc import Sequence

import numpy as np

from stemsep.datasets.form import Bar, Event
from stemsep.datasets.grooves import DRUMS, FILL_RUNS, TIME_KEEPERS, groove
from stemsep.datasets.harmony import pick

Pattern = dict[str, str]

_VELOCITY = {"X": 112.0, "x": 92.0, "o": 46.0, "?": 74.0}
_ORCHESTRA_KIT = 48
# Seconds until a drum has rung out; all others are short.
_RING_S = {"open": 0.5, "ride": 1.2, "ride2": 1.2, "bell": 1.2, "crash": 2.5, "crash2": 2.5, "china": 1.8,
           "splash": 1.0, "tom1": 0.4, "tom2": 0.45, "tom3": 0.5, "tom4": 0.6, "tom5": 0.7, "tom6": 0.8}
# The orchestra kit has timpani where other kits have hats and cymbals.
_ORCHESTRA = {"hat": "triangle1", "open": "crash2", "pedal": "tamb", "ride": "ride2", "bell": "triangle2",
              "crash": "crash2", "china": "ride2"}
_LOUDER = {"hat": ("open", "ride", "crash", "hat", "open"), "ride": ("crash", "bell", "ride", "open"),
           "open": ("crash", "china", "ride", "open"), "rim": ("snare",)}
_SOFTER = {"open": ("hat",), "crash": ("hat", "ride"), "china": ("hat", "open"), "snare": ("rim", "snare", "snare")}


class Drummer:
    """Plays one song; `hits(bars)` gives its events. Everything is drawn from the generator it is made with.

    grooves, layers: names from the tables that it may take. busy: 0..1, how much it alters and fills.
    """

    def __init__(self, rng: np.random.Generator, grooves: Sequence[str], layers: Sequence[str],
                 *, kit: int, step_s: float, busy: float) -> None:
        self.rng, self.grooves, self.layers = rng, grooves, layers
        self.kit, self.step_s, self.busy = kit, step_s, busy
        self.patterns: dict[str, Pattern] = {}
        self.home: Pattern | None = None
        self.gains = {drum: float(rng.uniform(0.78, 1.08)) for drum in DRUMS}
        self.crashes = pick(rng, (("crash",), ("crash", "crash2"), ("crash", "crash2", "splash", "china")))
        self.crash_share = pick(rng, (0.9, 0.75, 0.4))
        self.runs = [pick(rng, list(FILL_RUNS)) for _ in range(4)]

    def hits(self, bars: Sequence[Bar]) -> list[Event]:
        """Play all bars."""
        events: list[Event] = []
        for index, bar in enumerate(bars):
            following = bars[index + 1] if index + 1 < len(bars) else bar
            entering = bar.number == 0 and (index == 0 or self.rng.random() < self.crash_share)
            events += self._bar(bar, following, crash=entering)
        return events

    def _bar(self, bar: Bar, following: Bar, *, crash: bool) -> list[Event]:
        if bar.drums == "none":
            return []
        if bar.drums == "swell":
            return self._swell(bar)
        if bar.drums == "build":
            return self._build(bar)
        pattern = self._reduced(self._pattern(bar.kind, bar), bar.drums)
        fill = self._fill_length(bar, following)
        kept = bar.steps - fill
        chars = [(drum, step, hits[(bar.number * bar.steps + step) % len(hits)])
                 for drum, hits in pattern.items() for step in range(kept)]
        events = [self._hit(bar, drum, step, _VELOCITY[char]) for drum, step, char in chars
                  if char != "-" and (char != "?" or self.rng.random() < 0.4)]
        if self.rng.random() < 0.25 * self.busy and kept > 4:
            events.append(self._hit(bar, pick(self.rng, ("kick", "snare", "open")), int(self.rng.integers(kept)), 70.0))
        if crash and bar.drums in ("full", "toms", "alone"):
            events += self._crash(bar)
        if fill:
            events += self._fill(bar, kept, fill)
        return events

    def _hit(self, bar: Bar, drum: str, step: float, velocity: float, *, ring: float = 1.0) -> Event:
        name = _ORCHESTRA.get(drum, drum) if self.kit == _ORCHESTRA_KIT else drum
        loud = velocity * self.gains[drum]
        return bar.start + step, ring * _RING_S.get(name, 0.2) / self.step_s, DRUMS[name], loud

    def _pattern(self, kind: str, bar: Bar) -> Pattern:
        """Return the section's groove: the song's own, changed for this kind of section, always the same."""
        if self.home is None:
            self.home = self._own(bar.steps)
        if kind not in self.patterns:
            fresh = self._own(bar.steps) if self.rng.random() < 0.2 else dict(self.home)
            swaps = _LOUDER if bar.level > 0.8 else _SOFTER if bar.level < 0.5 else {}
            pattern: Pattern = {}
            for drum, hits in fresh.items():
                name = pick(self.rng, swaps[drum]) if drum in swaps and self.rng.random() < 0.6 else drum
                # A crash or an open hat is not played on every eighth or faster: keep the beats.
                if name != drum and name in ("crash", "china", "open") and self.rng.random() < 0.7:
                    hits = "".join(char if step % 4 == 0 else "-" for step, char in enumerate(hits))
                pattern[name] = hits
            for layer in self.layers:
                if self.rng.random() < 0.25 + 0.35 * bar.level:
                    pattern.update(groove(layer)[1])
            self.patterns[kind] = pattern
        return self.patterns[kind]

    def _own(self, steps: int) -> Pattern:
        """Take a groove and alter it, or now and then make one up."""
        if self.rng.random() < 0.12 or not self.grooves:
            return random_groove(self.rng, steps)
        pattern = dict(groove(pick(self.rng, self.grooves))[1])
        for drum, hits in pattern.items():
            pattern[drum] = self._altered(drum, hits)
        feel = self.rng.random()
        if feel < 0.06:         # half time: kick and snare stretched over two bars
            for drum in pattern.keys() - set(TIME_KEEPERS):
                pattern[drum] = "".join(char + "-" for char in pattern[drum])
        elif feel < 0.1:        # double time
            for drum in pattern.keys() - set(TIME_KEEPERS):
                pattern[drum] = pattern[drum][::2] * 2
        if self.rng.random() < 0.08:
            pattern = {drum: hits for drum, hits in pattern.items() if drum not in TIME_KEEPERS} or pattern
        return pattern

    def _altered(self, drum: str, hits: str) -> str:
        """Move, add or leave out hits, more of them for a busy drummer; off the strong beats."""
        chars = list(hits)
        share = self.busy * {"kick": 0.16, "snare": 0.1, "rim": 0.08}.get(drum, 0.05)
        for step, chance in enumerate(self.rng.random(len(chars))):
            if chance < share and step % 4:
                ghost = "o" if drum in ("snare", "rim") else "x"
                chars[step] = "-" if chars[step] in "xo" else ghost if step % 2 == 0 or self.busy > 0.5 else "?"
        return "".join(chars)

    def _reduced(self, pattern: Pattern, drums: str) -> Pattern:
        if drums == "kick":
            return {drum: hits for drum, hits in pattern.items() if drum in ("kick", "clap", "maracas")}
        if drums == "hats":
            keeps = TIME_KEEPERS + ("rim", "tamb", "maracas", "cabasa")
            return {drum: hits for drum, hits in pattern.items() if drum in keeps}
        if drums == "toms":
            moved = {"hat": "tom6", "open": "tom6", "ride": "tom5", "snare": "tom3", "crash": "tom6", "rim": "tom4"}
            return {moved.get(drum, drum): hits for drum, hits in pattern.items()}
        if "open" in pattern and "hat" in pattern:      # one foot: an open hat is no closed one
            shut = "".join("-" if wide != "-" else char for char, wide in zip(pattern["hat"], pattern["open"]))
            return {**pattern, "hat": shut}
        return pattern

    def _crash(self, bar: Bar) -> list[Event]:
        choke = 0.06 if self.rng.random() < 0.08 else 1.0
        events = [self._hit(bar, pick(self.rng, self.crashes), 0, 116.0, ring=choke)]
        if self.rng.random() < 0.2:
            events.append(self._hit(bar, "crash2", 0, 112.0, ring=choke))
        return events + [self._hit(bar, "kick", 0, 114.0)]

    def _fill_length(self, bar: Bar, following: Bar) -> int:
        """Decide how many steps at the bar's end are a fill; 0 for none."""
        if bar.drums not in ("full", "toms", "alone"):
            return 0
        chance = 0.35 + 0.5 * self.busy if bar.last else 0.35 * self.busy if bar.number % 4 == 3 else 0.06
        if self.rng.random() > chance:
            return 0
        beats = pick(self.rng, (1, 1, 2, 2, 3, 4)) if bar.last else pick(self.rng, (1, 1, 2))
        return min(beats * 4, bar.steps)

    def _fill(self, bar: Bar, first: int, length: int) -> list[Event]:
        run = FILL_RUNS[pick(self.rng, self.runs)].split()
        if self.rng.random() < 0.08:                    # a stop instead of a fill
            return [self._hit(bar, drum, first, 110.0, ring=0.1) for drum in ("kick", "crash")]
        pace = pick(self.rng, (1.0, 1.0, 1.0, 2.0, 2 / 3, 0.5, 4 / 3))
        count = int(round(length / pace))
        crescendo = pick(self.rng, (0.0, 0.2, 0.45))
        holes = pick(self.rng, (0.0, 0.0, 0.2, 0.4))
        cycle = self.rng.random() < 0.4                 # drum by drum, or all strokes on one before the next
        events = []
        for stroke in range(count):
            drum = run[stroke % len(run)] if cycle else run[stroke * len(run) // count]
            if self.rng.random() < holes:
                continue
            loud = 108 * (1 - crescendo * (1 - stroke / count)) * (1.0 if stroke % 2 == 0 else 0.9)
            events.append(self._hit(bar, drum, first + stroke * pace, loud))
            if drum == "snare" and self.rng.random() < 0.12:        # flam
                events.append(self._hit(bar, "snare2", first + stroke * pace - 0.03 / self.step_s, loud * 0.6))
        if self.rng.random() < 0.4:
            events += [self._hit(bar, "kick", first + step, 96.0) for step in range(0, length, 4)]
        return events

    def _build(self, bar: Bar) -> list[Event]:
        """A snare roll that grows louder and, half way, faster; the kick keeps the beat."""
        pace = 2 if bar.number < bar.of / 2 else 1
        drum = pick(self.rng, ("snare", "clap")) if bar.number == 0 else "snare"
        events = []
        for step in range(0, bar.steps, pace):
            grown = (bar.number + step / bar.steps) / bar.of
            events.append(self._hit(bar, drum, step, 50 + 65 * grown))
            if step % bar.beat == 0:
                events.append(self._hit(bar, "kick", step, 100.0))
        return events

    def _swell(self, bar: Bar) -> list[Event]:
        """Mallets on a cymbal, louder towards the section's end."""
        events = []
        for half_step in range(2 * bar.steps):
            grown = (bar.number + half_step / (2 * bar.steps)) / bar.of
            events.append(self._hit(bar, "crash2", half_step / 2, 12 + 70 * grown ** 2))
        return events


def random_groove(rng: np.random.Generator, steps: int) -> Pattern:
    """Make up a groove: hits fall more often on strong steps, the snare mostly on back beats."""
    strength = np.array([1.0 if step % 8 == 0 else 0.6 if step % 4 == 0 else 0.4 if step % 2 == 0 else 0.15
                         for step in range(steps)])
    def line(chance: np.ndarray) -> str:
        return "".join("-" if draw > share else pick(rng, "Xxx" if share > 0.5 else "xo")
                       for draw, share in zip(rng.random(steps), chance))
    spacing = pick(rng, (1, 2, 2, 4))
    keeper = pick(rng, TIME_KEEPERS[:4])
    backbeat = np.where(np.arange(steps) % 8 == 4, 0.95, 0.06)
    pattern = {
        "kick": "X" + line(strength * rng.uniform(0.4, 1.0))[1:],
        pick(rng, ("snare", "snare", "rim", "clap")): line(backbeat if rng.random() < 0.7 else strength * 0.4),
        keeper: line(np.where(np.arange(steps) % spacing == 0, 0.96, 0.05)),
    }
    if rng.random() < 0.4:
        extra = pick(rng, ("tom4", "tom6", "cowbell", "tamb", "conga1", "maracas", "wood1", "open"))
        pattern.setdefault(extra, line(strength[::-1] * 0.6))
    return pattern
