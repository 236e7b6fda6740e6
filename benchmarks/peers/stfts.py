"""The short-time Fourier transforms of librosa, scipy and PyTorch, as their users call them."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

# From what is analysed, and how long it is, to a call that analyses and one that transforms back.
# A spectrogram is [..., F, T], of frames centred on multiples of the hop, and not scaled.
Pair = tuple[Callable[[], Any], Callable[[Any], Any]]


def librosa(wave_CN: np.ndarray, *, n_fft: int, hop: int) -> Pair:
    """Return librosa's, with zeros beyond the ends."""
    from librosa import istft, stft  # only now: one of these may be missing

    return (lambda: stft(wave_CN, n_fft=n_fft, hop_length=hop, pad_mode="constant"),
            lambda spec: istft(spec, hop_length=hop, length=wave_CN.shape[-1]))


def scipy(wave_CN: np.ndarray, *, n_fft: int, hop: int) -> Pair:
    """Return those of scipy's ShortTimeFFT."""
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    transform = ShortTimeFFT(hann(n_fft, sym=False).astype(np.float32), hop, 1, phase_shift=None)
    return (lambda: transform.stft(wave_CN, axis=-1),
            lambda spec: transform.istft(spec, k1=wave_CN.shape[-1]))


def scipy_first(wave_CN: np.ndarray, *, n_fft: int, hop: int) -> int:
    """Return which of scipy's frames is centred on the first sample."""
    from scipy.signal import ShortTimeFFT

    return -ShortTimeFFT(np.ones(n_fft), hop, 1).p_min


def torch(wave_CN: np.ndarray, *, n_fft: int, hop: int, threads: int, device: str = "cpu") -> Pair:
    """Return PyTorch's, which stay on the device."""
    import torch as framework

    framework.set_num_threads(threads)
    wave = framework.from_numpy(wave_CN).to(device)
    window = framework.hann_window(n_fft, device=device)
    wait = framework.cuda.synchronize if device == "cuda" else lambda: None

    def analyse() -> Any:
        spec = framework.stft(wave, n_fft, hop, window=window, pad_mode="constant",
                              return_complex=True)
        wait()
        return spec

    def synthesise(spec: Any) -> Any:
        again = framework.istft(spec, n_fft, hop, window=window, length=wave.shape[-1])
        wait()
        return again

    return analyse, synthesise


def installed(wave_CN: np.ndarray, *, n_fft: int, hop: int, threads: int) -> dict[str, Pair]:
    """Return the peers by name; say which are not installed."""
    makers: dict[str, Callable[..., Pair]] = {
        "librosa": librosa, "scipy": scipy, "torch": functools.partial(torch, threads=threads)}
    pairs: dict[str, Pair] = {}
    for name, make in makers.items():
        try:
            pairs[name] = make(wave_CN, n_fft=n_fft, hop=hop)
        except ImportError:
            print(f"{name} is not installed: left out")
    if "torch" in pairs:
        import torch as framework

        if framework.cuda.is_available():
            pairs["torch_cuda"] = torch(wave_CN, n_fft=n_fft, hop=hop, threads=threads,
                                        device="cuda")
    return pairs
