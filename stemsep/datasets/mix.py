"""One song's targets from its stem files to a folder of audio files.

Kept apart from the command, because worker processes import the module of what they run.
"""

import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stemsep import audio, files, stream
from stemsep.datasets.tracks import Track

MIXTURE = "mixture"             # the file of all stems of a song
RECORD = ".mixdown.json"        # in the folder of a song: what it was made of
UNFINISHED = ".unfinished"      # in the output: songs that are being written
_BLOCK = 1 << 16                # samples written at once

Job = tuple[Track, dict[str, Any]]      # a song, and what its record is to say


@dataclass(frozen=True)
class Form:
    """What the files are like. rate, channels: 0 for the song's own, the most of its files (two
    channels at most). mixture: a file of all stems is written too.
    """

    format: str = "flac"
    bits: int = 24
    rate: int = 0
    channels: int = 0
    surround: str = "refuse"
    gain_db: float = 0.0
    mixture: bool = False


def write_song(job: Job, *, output: Path, form: Form) -> dict[str, float]:
    """Write the targets of one song; returns by how many dB each file that clips is too loud.

    The song's folder `output/<split>/<name>` appears with all its files and the record, in place of
    the one that was there. Raises InputError for a file that cannot be used; then that one stays.
    """
    track, record = job
    folder = output / UNFINISHED / track.split / track.name
    peaks = _write_files(track, record["targets"], folder, form)
    sizes = {path.name: path.stat().st_size for path in peaks}
    files.write_json(folder / RECORD, {**record, "files": sizes})
    place = output / track.split / track.name
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        place.rename(folder.with_name(f".{folder.name}.old"))
    folder.rename(place)
    return {path.name: 20 * math.log10(peak) for path, peak in peaks.items()
            if form.bits < 32 and peak > 1}


def _write_files(track: Track, targets: dict[str, list[str]], folder: Path,
                 form: Form) -> dict[Path, float]:
    """Write a file a target, block by block; returns the peak of each."""
    clips = {clip for own in track.stems.values() for clip in own}
    infos = {clip: audio.probe(clip) for clip in clips}
    rate = form.rate or max(info.sample_rate for info in infos.values())
    channels = form.channels or min(2, max(info.channels for info in infos.values()))
    samples = max(audio.resampled(info.samples, info.sample_rate, rate) for info in infos.values())
    parts = [[clip for stem in stems for clip in track.stems[stem]] for stems in targets.values()]
    if form.mixture:        # has the stems of no target too
        parts.append([clip for clip in clips if not any(clip in part for part in parts)])
    waves = [stream.cut_blocks(
        stream.add_files(part, infos, rate=rate, channels=channels, surround=form.surround)
        if part else (), channels, samples=samples, size=_BLOCK) for part in parts]
    names = [*targets, MIXTURE] if form.mixture else list(targets)
    peaks = {folder / f"{name}.{form.format}": 0.0 for name in names}
    with ExitStack() as stack:
        writers = [stack.enter_context(audio.Writer(path, rate, channels, bits=form.bits,
                                                    samples=samples)) for path in peaks]
        for blocks_CN in zip(*waves):
            blocks = [_rounded(block_CN, form) for block_CN in blocks_CN]
            if form.mixture:        # the sum of what the files hold, to the last bit
                blocks = [*blocks[:-1], np.sum([_clipped(block, form) for block in blocks], 0)]
            for path, writer, block in zip(peaks, writers, blocks):
                peaks[path] = max(peaks[path], float(np.abs(block).max()))
                writer.write(_clipped(block, form))
    return peaks


def _rounded(wave_CN: np.ndarray, form: Form) -> np.ndarray:
    """Return a wave with the gain, rounded to what the file holds: sums of such are exact."""
    if form.gain_db:
        wave_CN = wave_CN * np.float32(10 ** (form.gain_db / 20))
    if form.bits == 32:
        return wave_CN
    steps = np.float32(2 ** (form.bits - 1))
    return np.round(wave_CN * steps) / steps


def _clipped(wave_CN: np.ndarray, form: Form) -> np.ndarray:
    """Return a wave as the file holds it: whole numbers end at full scale."""
    if form.bits == 32:
        return wave_CN
    return np.clip(wave_CN, np.float32(-1), np.float32(1 - 2.0 ** (1 - form.bits)))
