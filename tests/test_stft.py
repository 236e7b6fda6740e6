"""The laws of the STFT: an exact inverse, one meaning at every rate, host == device."""

import jax.numpy as jnp
import numpy as np
import pytest

from stemsep.stft import Stft

# Hops that divide the window, that do not, and the longest one.
SHAPES = [(256, 64), (256, 100), (250, 77), (64, 32), (16, 1)]
LENGTHS = [1, 2, 63, 255, 1001, 4096]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("n_fft, hop", SHAPES)
def test_inverse_is_exact(n_fft: int, hop: int, samples: int) -> None:
    stft, wave_CN = Stft(8000, n_fft, hop), noise(2, samples)
    spec_CTF = stft.analyse(wave_CN)
    assert spec_CTF.shape == (2, stft.frames(samples), stft.bins)
    assert spec_CTF.dtype == np.complex64
    back_CN = stft.synthesise(spec_CTF, samples)
    assert back_CN.dtype == np.float32
    np.testing.assert_allclose(back_CN, wave_CN, atol=1e-5)


@pytest.mark.parametrize("n_fft, hop, samples", [(256, 64, 1001), (250, 77, 100)])
def test_host_and_device_agree(n_fft: int, hop: int, samples: int) -> None:
    stft, wave_CN = Stft(8000, n_fft, hop), noise(2, samples)
    spec_CTF = stft.analyse(wave_CN)
    on_device = stft.analyse(jnp.asarray(wave_CN), xp=jnp)
    np.testing.assert_allclose(on_device, spec_CTF, atol=1e-5)
    np.testing.assert_allclose(stft.synthesise(on_device, samples, xp=jnp), wave_CN, atol=1e-5)


def test_is_linear() -> None:
    stft, (a, b) = Stft(8000, 256, 64), noise(2, 3000)
    np.testing.assert_allclose(stft.analyse(0.5 * a - 2 * b),
                               0.5 * stft.analyse(a) - 2 * stft.analyse(b), atol=1e-5)


def test_frames_are_centred_on_multiples_of_the_hop() -> None:
    stft, wave_N = Stft(8000, 256, 64), np.zeros(2000, np.float32)
    wave_N[7 * 64] = 1
    assert np.abs(stft.analyse(wave_N)).sum(1).argmax() == 7


def test_energy_is_kept() -> None:
    """Orthonormal scaling: Hann² overlapped by 75 % sums to 1.5, so energies do as well."""
    stft, wave_N = Stft(8000, 256, 64), noise(50000)
    twice_TF = np.abs(stft.analyse(wave_N)) ** 2 * 2  # a bin stands for two
    assert twice_TF.sum() == pytest.approx(1.5 * (wave_N ** 2).sum(), rel=0.02)


def test_another_number_of_frames_is_an_error() -> None:
    stft = Stft(8000, 256, 64)
    with pytest.raises(ValueError, match="frames"):
        stft.synthesise(stft.analyse(noise(1000)), 1100)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("trained", [Stft(22050, 1024, 256), Stft(44100, 2048, 512)])
def test_at_rate_keeps_frame_period_and_bin_spacing(trained: Stft, rate: int) -> None:
    stft = trained.at_rate(rate)
    assert stft.hop / rate == pytest.approx(trained.hop / trained.sample_rate, abs=0.5 / rate)
    assert stft.n_fft / rate == pytest.approx(trained.n_fft / trained.sample_rate, abs=1 / rate)
    assert trained.at_rate(trained.sample_rate) == trained
    wave_N = noise(5000)
    back_N = stft.synthesise(stft.analyse(wave_N), 5000)
    np.testing.assert_allclose(back_N, wave_N, atol=1e-5)


@pytest.mark.parametrize("rate", [11025, 16000, 48000])
def test_a_song_looks_the_same_at_every_rate(rate: int) -> None:
    """One tone, two rates: the same bins of the same frames, magnitudes as the root of n_fft."""
    trained = Stft(8000, 512, 128)
    stft = trained.at_rate(rate)

    def tone(at: int) -> np.ndarray:
        return np.sin(2 * np.pi * 1000 * np.arange(2 * at) / at).astype(np.float32)
    here, there = np.abs(trained.analyse(tone(8000))), np.abs(stft.analyse(tone(rate)))
    scale = np.sqrt(trained.n_fft / stft.n_fft)
    # n_fft is even, so that a bin may be wider or narrower by 1 in 700: 0.04 bins at bin 64.
    np.testing.assert_allclose(scale * there[5:100, 60:69], here[5:100, 60:69], atol=0.2)
    assert here.max() > 5
