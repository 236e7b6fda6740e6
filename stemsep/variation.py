"""Copies of training tracks at another pitch and tempo, all stems of a track alike.

Rubber Band (through pylibrb, the extra `variation`) stretches a stem as it comes, block by block.
Its finer engine, offline, keeps the length to the sample, and the place of an attack to about a
millisecond in every stem, whatever sounds in it: the stems of a copy still belong together.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from stemsep import stream
from stemsep.config import Config
from stemsep.datasets.tracks import Track, Variation
from stemsep.errors import InputError

_SPLIT = "train"        # validation and test are songs as they are
_DRUMS = "drums"
# Samples that Rubber Band is given at once. It looks at the time once a block: with 512 attacks are
# within 1.5 ms of where they should be, with 16384 up to 9 ms off.
_TAKEN = 512
_GIVEN = 1 << 14        # samples of a block that is yielded


def with_copies(tracks: Sequence[Track], config: Config) -> list[Track]:
    """Return the tracks, each of the split train followed by its copies.

    They are called <name>~1, <name>~2, ... Pitch and tempo of each are functions of
    (config.data.variation.seed, the track's name, its number): uniform in semitones, and in the
    logarithm of the tempo. Raises InputError when a song is called as a copy would be.
    """
    names, found = {(track.split, track.name) for track in tracks}, list[Track]()
    for track in tracks:
        found.append(track)
        for number in range(1, config.data.variation.copies + 1 if track.split == _SPLIT else 1):
            name = f"{track.name}~{number}"
            if (track.split, name) in names:
                raise InputError(f"{track.split}/{name}: a variation of {track.name!r} would have "
                                 "the same name; rename the song, or set "
                                 "config.data.variation.copies to 0")
            found.append(dataclasses.replace(track, name=name,
                                             variation=_draw(track.name, number, config)))
    return found


def _draw(name: str, number: int, config: Config) -> Variation:
    settings = config.data.variation
    rng = np.random.default_rng((settings.seed, number, *name.encode()))
    # Rounded, so that the record says all of it and another machine's logarithm does not matter.
    semitones = round(rng.uniform(*settings.semitones), 2)
    slowest, fastest = settings.tempo
    tempo = round(math.exp(rng.uniform(math.log(slowest), math.log(fastest))), 3)
    unpitched = (_DRUMS,) if _DRUMS in config.stems and semitones and not settings.drums else ()
    return Variation(name, semitones, tempo, unpitched)


def check_installed(config: Config) -> None:
    """Raise InputError when tracks are to be varied and the extra is missing."""
    if config.data.variation.copies:
        _library()


def varied_samples(samples: int, variation: Variation | None) -> int:
    """Return how many samples a track of `samples` has in its variation: N / tempo."""
    return max(1, round(samples / variation.tempo)) if variation else samples


def vary(blocks: Iterable[np.ndarray], variation: Variation | None, stem: str, *, samples: int,
         channels: int, rate: int) -> Iterator[np.ndarray]:
    """Return a stem at another pitch and tempo, as it comes; float32 [channels, n].

    blocks: of any lengths, `samples` of them in all (silence follows what is missing); how they are
    cut changes nothing. Of a variation all together have `varied_samples(samples, variation)`
    samples. Memory does not grow with the length. Formants move with the pitch. A stem whose pitch
    and tempo stay is passed on as it is. Raises InputError without pylibrb.
    """
    if variation is None:
        return iter(blocks)
    semitones = 0.0 if stem in variation.unpitched else variation.semitones
    if semitones or variation.tempo != 1:
        blocks = _stretch(blocks, semitones, variation.tempo, samples=samples, channels=channels,
                          rate=rate)
    return stream.cut_blocks(blocks, channels, samples=varied_samples(samples, variation),
                             size=_GIVEN)


def _stretch(blocks: Iterable[np.ndarray], semitones: float, tempo: float, *, samples: int,
             channels: int, rate: int) -> Iterator[np.ndarray]:
    """Yield what Rubber Band makes of a stem; N / tempo samples, or some less of a short one."""
    rubber = _library()
    option = rubber.Option
    stretcher = rubber.RubberBandStretcher(
        sample_rate=rate, channels=channels, initial_time_ratio=1 / tempo,
        initial_pitch_scale=2 ** (semitones / 12),
        # Together: the stereo image stays.
        options=option.PROCESS_OFFLINE | option.ENGINE_FINER | option.CHANNELS_TOGETHER)
    stretcher.set_max_process_size(_TAKEN)
    # The finer engine learns nothing but this from studying a song beforehand.
    stretcher.set_expected_input_duration(samples)
    left = samples
    for block_CN in stream.cut_blocks(blocks, channels, samples=samples, size=_TAKEN):
        left -= block_CN.shape[1]
        stretcher.process(np.ascontiguousarray(block_CN), final=left == 0)
        while count := stretcher.available():
            yield np.array(stretcher.retrieve(count))


def _library() -> Any:
    try:
        import pylibrb  # an extra
    except ImportError as error:
        raise InputError("config.data.variation.copies needs the package pylibrb; install it (pip "
                         "install pylibrb), or set it to 0") from error
    return pylibrb
