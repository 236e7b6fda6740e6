"""Separation in PyTorch as its users write it: read, transform, windows in batches, write."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch.nn import functional

from benchmarks.peers import torch_unet
from stemsep.config import Config


def make_separate(config: Config, *, threads: int) -> Callable[[Path, Path], None]:
    """Return a call that separates a file into a folder, with random parameters.

    The network, the windows, their overlap and batch are those of a configuration whose estimate is
    "direct" or a softmax "mask" of magnitudes; batch norm and dropout are as at inference.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model, stems = config.model, list(config.targets)
    network = torch_unet.build(
        model.name, channels=1, outputs=len(stems), widths=model.widths, dropout=model.dropout)
    network = network.to(memory_format=torch.channels_last).eval()
    n_fft, hop, frames = config.audio.n_fft, config.audio.hop, config.data.window_frames
    advance, size = round(frames * (1 - config.separate.overlap)), config.separate.batch or 8
    fade_T = torch.from_numpy(np.sin(np.pi * (np.arange(frames) + 0.5) / frames) ** 2).float()
    window = torch.hann_window(n_fft)

    def estimate(mix_BTF: torch.Tensor) -> torch.Tensor:
        modulus_B1TF = mix_BTF.abs()[:, None]
        output_BSTF = network(modulus_B1TF)
        if model.estimate == "mask":
            return functional.softmax(output_BSTF, 1) * mix_BTF[:, None]
        phase_B1TF = mix_BTF[:, None] / modulus_B1TF.clamp(min=1e-9)
        return functional.relu(output_BSTF) * phase_B1TF

    def channel(wave_N: torch.Tensor) -> torch.Tensor:
        spec_TF = torch.stft(wave_N, n_fft, hop, window=window, return_complex=True).T
        total = spec_TF.shape[0]
        count = max(1, -(-(total - frames) // advance) + 1)
        padded = functional.pad(spec_TF, (0, 0, 0, (count - 1) * advance + frames - total))
        found = torch.zeros(len(stems), *padded.shape, dtype=torch.complex64)
        weight_T = torch.zeros(len(padded))
        for first in range(0, count, size):
            places = [n * advance for n in range(first, min(first + size, count))]
            batch = torch.stack([padded[place:place + frames] for place in places])
            for place, stems_STF in zip(places, estimate(batch)):
                found[:, place:place + frames] += stems_STF * fade_T[:, None]
                weight_T[place:place + frames] += fade_T
        found = (found / weight_T[:, None])[:, :total]
        return torch.istft(found.transpose(1, 2), n_fft, hop, window=window, length=len(wave_N))

    @torch.inference_mode()
    def separate(song: Path, folder: Path) -> None:
        wave_NC, rate = soundfile.read(song, dtype="float32", always_2d=True)
        waves_CSN = torch.stack([channel(torch.from_numpy(wave_N.copy())) for wave_N in wave_NC.T])
        for number, stem in enumerate(stems):
            soundfile.write(folder / f"{stem}.wav", waves_CSN[:, number].numpy().T, rate,
                            subtype="FLOAT")

    return separate
