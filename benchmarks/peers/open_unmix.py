"""Separation by Open-Unmix (Stöter et al. 2019, JOSS 4(41)): its package, random parameters."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import soundfile
import torch

# Of its model `umxhq`: stereo, STFT 4096/1024 at 44.1 kHz, the network sees up to 16 kHz, and the
# estimates go through one iteration of its Wiener filter.
N_FFT, HOP, HIDDEN, TOP_HZ, RATE, ITERATIONS = 4096, 1024, 512, 16000, 44100, 1


def make_separate(stems: tuple[str, ...], *, threads: int) -> Callable[[Path, Path], None]:
    """Return a call that separates a stereo file into a folder, with a network for each stem.

    It is made for 44.1 kHz; a file of another rate is taken as if it had that one.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = _model()
    bins, seen = N_FFT // 2 + 1, round(TOP_HZ / RATE * N_FFT) + 1
    networks = {stem: model.OpenUnmix(nb_bins=bins, nb_channels=2, hidden_size=HIDDEN, max_bin=seen)
                for stem in stems}
    separator = model.Separator(networks, niter=ITERATIONS, sample_rate=float(RATE), n_fft=N_FFT,
                                n_hop=HOP, nb_channels=2).eval()

    @torch.inference_mode()
    def separate(song: Path, folder: Path) -> None:
        wave_NC, rate = soundfile.read(song, dtype="float32", always_2d=True)
        waves_SCN = separator(torch.from_numpy(wave_NC.T.copy())[None])[0]
        for stem, wave_CN in zip(stems, waves_SCN):
            soundfile.write(folder / f"{stem}.wav", wave_CN.numpy().T, rate, subtype="FLOAT")

    return separate


def _model() -> ModuleType:
    """Import its model. Its package imports torchaudio, which often does not fit the PyTorch that
    is there, and of which separation needs nothing: where it cannot be imported, an empty module
    stands for it.
    """
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        empty = ModuleType("torchaudio")
        empty.__spec__ = importlib.util.spec_from_loader("torchaudio", None)
        sys.modules["torchaudio"] = empty
    from openunmix import model

    return model
