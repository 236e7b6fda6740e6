"""What stemsep's preprocessing and loader are measured against: the ways of librosa and HDF5."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import librosa
import numpy as np

from stemsep.datasets.tracks import Track


def preprocess_track(track: Track, folder: Path, *, sample_rate: int, n_fft: int, hop: int,
                     segment_s: float = 2.0) -> None:
    """Write a track as songSourceSeparator does.

    Every stem file is loaded and resampled by librosa, stems are added up, and each segment of 2 s
    of the mixture and of every stem, the last one padded, is transformed by itself; magnitudes in
    decibels and phases go to one HDF5 file a track.
    """
    waves = []
    for clips in track.stems.values():
        files = [librosa.load(clip.path, sr=sample_rate, mono=True)[0] for clip in clips]
        waves.append(np.sum(files, axis=0) if files else None)
    samples = max(len(wave) for wave in waves if wave is not None)
    stems = [np.zeros(samples, np.float32) if wave is None else wave for wave in waves]
    size = round(segment_s * sample_rate)
    with h5py.File(folder / f"{track.split}-{track.name}.h5", "w") as file:
        for name, wave in zip(["mixture", *track.stems], [np.sum(stems, axis=0), *stems]):
            magnitudes, phases = [], []
            for first in range(0, samples, size):
                segment = wave[first:first + size]
                segment = np.pad(segment, (0, size - len(segment)))
                spec = librosa.stft(segment, n_fft=n_fft, hop_length=hop)
                magnitudes.append(librosa.amplitude_to_db(np.abs(spec)))
                phases.append(np.angle(spec))
            file[f"{name}/magnitude"] = np.array(magnitudes, np.float32)
            file[f"{name}/phase"] = np.array(phases, np.float32)


def write_array(path: Path, array_STCF2: np.ndarray, *, chunk_frames: int) -> None:
    """Write a track's spectrograms as one HDF5 dataset, compressed by gzip, h5py's default."""
    with h5py.File(path, "w") as file:
        chunks = (1, min(chunk_frames, array_STCF2.shape[1]), *array_STCF2.shape[2:])
        file.create_dataset("stems", data=array_STCF2, chunks=chunks, compression="gzip")


class Reader:
    """Reads windows of files of `write_array`, all of which stay open.

    Together they keep `cache_bytes` of chunks, as a store does: HDF5 would keep 8 MB a file, which
    is all of a short song and nothing of a long one.
    """

    def __init__(self, paths: Sequence[Path], *, cache_bytes: int = 64 << 20) -> None:
        self._arrays = [h5py.File(path, "r", rdcc_nbytes=cache_bytes // len(paths))["stems"]
                        for path in paths]

    def batch(self, ids: np.ndarray, frames: int) -> np.ndarray:
        """Return float16 [B, S, T, C, F, 2] of windows as `stemsep.batches.window_ids` gives them.
        """
        shape = (*ids.shape[:2], frames, *self._arrays[0].shape[2:])
        batch = np.zeros(shape, np.float16)
        for window, places in zip(batch, ids):
            for stem, (track, first) in enumerate(places):
                found = self._arrays[track][stem, first:first + frames]
                window[stem, :len(found)] = found
        return batch

    def close(self) -> None:
        """Close the files."""
        for array in self._arrays:
            array.file.close()
