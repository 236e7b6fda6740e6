"""Small trees of songs: noise of a second or two at 8 kHz, laid out as the datasets are."""

import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from stemsep import datasets
from stemsep.config import REST
from stemsep.errors import InputError

RATE = 8000
BAND = {"S00": 128, "S01": 33}       # stems of Slakh and their programs


@contextmanager
def small_disk() -> Iterator[None]:
    """A limit of 64 KiB a file; the system refuses to write more, as it does on a full disk.

    Around a test, not a fixture: what pytest itself prints may go to a file that is longer.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


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


def stem_mp4(path: Path, waves: Sequence[np.ndarray], *, rate: int = RATE) -> Path:
    """Write a song of MUSDB18: a stream of AAC for each [1, samples]."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        streams = [container.add_stream("aac", rate=rate, layout="mono") for _ in waves]
        for stream, wave_CN in zip(streams, waves):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave_CN), "fltp", "mono")
            frame.sample_rate, frame.pts = rate, 0
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)
    return path


def survey(source: str) -> tuple[dict[str, str], datasets.Remarks, dict[str, str]]:
    """Return name -> split of the tracks of a source, the remarks, and the faults."""
    faults: dict[str, InputError] = {}
    remarks = datasets.Remarks()
    found = datasets.tracks(source, stems=None, faults=faults, remarks=remarks)
    return ({track.name: track.split for track in found}, remarks,
            {name: str(fault) for name, fault in faults.items()})


def refused(source: str) -> str:
    """Return the sentence that a source is refused with."""
    with pytest.raises(InputError) as caught:
        datasets.tracks(source, stems=("drums", REST))
    assert "\n" not in str(caught.value)
    return str(caught.value)
