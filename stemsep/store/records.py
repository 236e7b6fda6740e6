"""What is known of a store and of its tracks without reading a spectrogram."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stemsep.datasets.tracks import Variation
from stemsep.stft import Stft

# stem -> (name, size in bytes, time of change in ns) of each of its files
Sources = dict[str, tuple[tuple[str, int, int], ...]]


LEVEL_FRAMES = 32       # that a level of `Record.levels` describes
SILENCE_DB = -120       # the lowest level


@dataclass(frozen=True)
class StoreSpec:
    """What the tracks of a store have in common; stems in the order of the arrays' axis S.

    surround: what became of files of more than two channels, as in `audio.remap`. chunk_frames,
    shard_frames: of the arrays; their defaults are the result of benchmarks/store_layout.py.
    """

    sample_rate: int
    channels: int
    n_fft: int
    hop: int
    stems: tuple[str, ...]
    surround: str = "refuse"
    chunk_frames: int = 32
    shard_frames: int = 4096

    @property
    def stft(self) -> Stft:
        return Stft(self.sample_rate, self.n_fft, self.hop)

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """The shape of one frame of a stem: channels, bins, and the two parts."""
        return self.channels, self.stft.bins, 2

    def shards(self, frames: int) -> Iterator[tuple[int, int]]:
        """Yield the first frame and the number of frames of each shard of a stem."""
        for first in range(0, frames, self.shard_frames):
            yield first, min(self.shard_frames, frames - first)


@dataclass(frozen=True)
class Record:
    """The commit record of a track.

    norms: for each stem Σₜ ‖Xₜ‖₂, where Xₜ are the magnitudes of all channels and bins of frame t.
    Divided by `frames` it is the mean ‖s‖₂ of the weights αᵢ ∝ 1 / mean‖sᵢ‖₂ (Oh et al. 2018).
    power: for each stem the mean of its squared samples, over channels and time.
    levels: for each stem the mean ‖Xₜ‖₂ of every LEVEL_FRAMES frames in dB, SILENCE_DB at least;
    none where it is silent throughout.
    checksums: for each stem the CRC-32 of what each of its shards holds, none where it is silent.
    sources: the files that the track was made of, as they were then.
    variation: of which track it is a copy, and how it differs; None of a track as it is.
    """

    name: str
    split: str
    samples: int
    frames: int
    norms: tuple[float, ...]
    power: tuple[float, ...]
    levels: tuple[tuple[int, ...], ...]
    checksums: tuple[tuple[int, ...], ...]
    sources: Sources
    variation: Variation | None = None


def from_json(values: dict[str, Any]) -> Record:
    """Return the record that a JSON file holds; KeyError, TypeError or ValueError if it is none."""
    sources = {stem: tuple((name, size, time_ns) for name, size, time_ns in files)
               for stem, files in values["sources"].items()}
    # Stores without variations were written before there were any.
    varied = values.get("variation")
    variation = varied and Variation(**{**varied, "unpitched": tuple(varied["unpitched"])})
    return Record(**{**values, "norms": tuple(values["norms"]), "power": tuple(values["power"]),
                     "levels": tuple(map(tuple, values["levels"])),
                     "checksums": tuple(map(tuple, values["checksums"])),
                     "sources": sources, "variation": variation})
