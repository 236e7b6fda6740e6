"""What is known of a store and of its tracks without reading a spectrogram."""

from dataclasses import dataclass
from typing import Any

from stemsep.stft import Stft

# stem -> (name, size in bytes, time of change in ns) of each of its files
Sources = dict[str, tuple[tuple[str, int, int], ...]]


@dataclass(frozen=True)
class StoreSpec:
    """What the tracks of a store have in common; stems in the order of the arrays' axis S."""

    sample_rate: int
    channels: int
    n_fft: int
    hop: int
    stems: tuple[str, ...]

    @property
    def stft(self) -> Stft:
        return Stft(self.sample_rate, self.n_fft, self.hop)


@dataclass(frozen=True)
class Record:
    """The commit record of a track.

    norms: for each stem Σₜ ‖Xₜ‖₂, where Xₜ are the magnitudes of all channels and bins of frame t.
    Divided by `frames` it is the mean ‖s‖₂ of the weights αᵢ ∝ 1 / mean‖sᵢ‖₂ (Oh et al. 2018).
    power: for each stem the mean of its squared samples, over channels and time.
    checksums: for each stem the CRC-32 of what each of its shards holds, none where it is silent.
    sources: the files that the track was made of, as they were then.
    """

    name: str
    split: str
    samples: int
    frames: int
    norms: tuple[float, ...]
    power: tuple[float, ...]
    checksums: tuple[tuple[int, ...], ...]
    sources: Sources


def from_json(values: dict[str, Any]) -> Record:
    """Return the record that a JSON file holds; KeyError, TypeError or ValueError if it is none."""
    sources = {stem: tuple((name, size, time_ns) for name, size, time_ns in files)
               for stem, files in values["sources"].items()}
    return Record(**{**values, "norms": tuple(values["norms"]), "power": tuple(values["power"]),
                     "checksums": tuple(map(tuple, values["checksums"])),
                     "sources": sources})
