"""Small trees of songs: noise of a second or two at 8 kHz, laid out as the datasets are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml

RATE = 8000


def noise(samples: int, *, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Return float32 [channels, samples] that 16 bits hold exactly."""
    steps = np.random.default_rng(seed).integers(-8000, 8000, (channels, samples))
    return (steps / 32768).astype(np.float32)


def write(path: Path, wave_CN: np.ndarray, *, rate: int = RATE) -> Path:
    """Write a 16-bit file in the format of its suffix, with the folders on the way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave_CN.T, rate, subtype="PCM_16")
    return path


def song(folder: Path, stems: Mapping[str, np.ndarray], *, suffix: str = ".wav",
         rate: int = RATE) -> Path:
    """Write a song of the layout `folders`: a file a stem."""
    for name, wave_CN in stems.items():
        write(folder / f"{name}{suffix}", wave_CN, rate=rate)
    return folder


def slakh_track(folder: Path, programs: Mapping[str, int | None], *, samples: int = RATE,
                suffix: str = ".flac", seed: int = 0, **metadata: Any) -> Path:
    """Write a song of the layout `slakh`: stem -> its program, 128 for drums, None for unknown.

    metadata: entries added to that of every stem.
    """
    entries = {}
    for number, (stem, program) in enumerate(programs.items()):
        write(folder / "stems" / f"{stem}{suffix}", noise(samples, seed=seed + number))
        entries[stem] = {"audio_rendered": False, "is_drum": program == 128, **metadata}
        if program is not None:
            entries[stem]["program_num"] = program
    write(folder / f"mix{suffix}", noise(samples, seed=seed + 99))
    (folder / "metadata.yaml").write_text(yaml.safe_dump({"UUID": folder.name, "stems": entries}))
    return folder
