"""Time our STFT and its inverse beside librosa, scipy and PyTorch.

    python -m benchmarks.stft --output results.jsonl

Ours are two: `stemsep`, on the host, and `stemsep_jitted`, of the same code, on JAX's device, where
its input and output stay. First all must give the same spectrogram to 1e-5 of its norm, and the
wave again to 1e-4. Then a line of JSON for each of them, length, channels, resolution and
direction: `ratio` is the speed of ours on the host over the peer's, `ratio_of_jitted` that of ours
on the device.
"""

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import timer
from benchmarks.peers import stfts
from stemsep import command, parallel
from stemsep.errors import InputError
from stemsep.stft import Stft

RATE = 44100
HOST, DEVICE = "stemsep", "stemsep_jitted"


def compare(seconds: float, channels: int, n_fft: int, hop: int, *, repeats: int,
            output: str) -> None:
    """Check that all agree on noise of a length, and time them in turns; a line each."""
    rng = np.random.default_rng(0)
    wave_CN = rng.normal(0, 0.1, (channels, round(seconds * RATE))).astype(np.float32)
    stft = Stft(RATE, n_fft, hop)
    pairs = {HOST: ours(stft, wave_CN), DEVICE: jitted(stft, wave_CN), **stfts.installed(
        wave_CN, n_fft=n_fft, hop=hop, threads=len(os.sched_getaffinity(0)))}
    specs = {name: analyse() for name, (analyse, _) in pairs.items()}
    check(specs, pairs, stft, wave_CN)

    def back(name: str) -> Callable[[], Any]:
        return lambda: pairs[name][1](specs[name])

    packages = ["numpy", "jax", *sorted({name.partition("_")[0] for name in pairs} - {HOST})]
    facts = timer.machine(*dict.fromkeys([*packages, "scipy"]))
    for direction, calls in (("analyse", {name: pair[0] for name, pair in pairs.items()}),
                             ("synthesise", {name: back(name) for name in pairs})):
        taken = timer.take_turns(calls, repeats=repeats)
        for name in taken:
            times = timer.summary(taken[name])
            ratios = {} if name in (HOST, DEVICE) else {
                **timer.compared(taken, name),
                "ratio_of_jitted": timer.compared(taken, name, ours=DEVICE)["ratio"]}
            timer.write(output, {
                "benchmark": "stft", "who": name, **ratios, "direction": direction,
                "n_fft": n_fft, "hop": hop, "audio_s": seconds, "channels": channels,
                "sample_rate": RATE, "dtype": "float32", "shape_CN": wave_CN.shape, **times,
                "audio_s_per_s": seconds / times["median_s"], **facts})


def ours(stft: Stft, wave_CN: np.ndarray) -> stfts.Pair:
    """Return ours on the host."""
    return (lambda: stft.analyse(wave_CN),
            lambda spec: stft.synthesise(spec, wave_CN.shape[-1]))


def jitted(stft: Stft, wave_CN: np.ndarray) -> stfts.Pair:
    """Return ours on the device."""
    wave = jnp.asarray(wave_CN)
    analyse = jax.jit(lambda wave: stft.analyse(wave, xp=jnp))
    synthesise = jax.jit(lambda spec: stft.synthesise(spec, wave_CN.shape[-1], xp=jnp))
    return (lambda: jax.block_until_ready(analyse(wave)),
            lambda spec: jax.block_until_ready(synthesise(spec)))


def check(specs: dict[str, Any], pairs: dict[str, stfts.Pair], stft: Stft,
          wave_CN: np.ndarray) -> None:
    """Raise RuntimeError where one of them gives another spectrogram than ours, or not the wave."""
    frames = wave_CN.shape[-1] // stft.hop + 1      # the others leave out a last, incomplete hop
    wanted_CTF = specs[HOST][:, :frames]
    for name, spec in specs.items():
        found = np.asarray(spec.cpu() if name.startswith("torch") else spec)
        if name not in (HOST, DEVICE):
            first = 0
            if name == "scipy":
                first = stfts.scipy_first(wave_CN, n_fft=stft.n_fft, hop=stft.hop)
            found = found[..., first:first + frames].swapaxes(-1, -2) / np.sqrt(stft.n_fft)
        error = np.linalg.norm(found[:, :frames] - wanted_CTF) / np.linalg.norm(wanted_CTF)
        if not error < 1e-5:
            raise RuntimeError(f"{name}: its spectrogram differs from ours by {error:.1e}")
        again = pairs[name][1](spec)
        again_CN = np.asarray(again.cpu() if name.startswith("torch") else again)
        error = np.abs(again_CN - wave_CN).max() / np.abs(wave_CN).max()
        if not error < 1e-4:
            raise RuntimeError(f"{name}: its inverse differs from the wave by {error:.1e}")


def parse(name: str, texts: list[str], parts: int) -> list[tuple[int, ...]]:
    """Return the numbers of "4096/1024", or raise InputError."""
    found = [tuple(int(part) for part in text.split("/") if part.isdigit()) for text in texts]
    if any(len(numbers) != parts or not min(numbers) for numbers in found):
        raise InputError(f"--{name} {','.join(texts)}: write {'n_fft/hop' if parts > 1 else '1,2'}")
    return found


def main(argv: list[str]) -> None:
    """Run the command."""
    command.no_arguments(argv)
    f = flags.FLAGS
    resolutions = parse("resolutions", f.resolutions, 2)
    channels = [count for count, in parse("channels", f.channels, 1)]
    lengths_s = [float(count) for count, in parse("seconds", f.seconds, 1)]
    parallel.prepare()
    for seconds in lengths_s:
        for count in channels:
            for n_fft, hop in resolutions:
                compare(seconds, count, n_fft, hop, repeats=f.repeats, output=f.output)


def define_flags() -> None:
    """Define the command's flags."""
    flags.DEFINE_list("seconds", ["30", "180"], "lengths of the audio")
    flags.DEFINE_list("channels", ["1", "2"], "of the audio")
    flags.DEFINE_list("resolutions", ["2048/512", "4096/1024"], "n_fft/hop in samples")
    flags.DEFINE_integer("repeats", 10, "rounds of timing", lower_bound=1)
    flags.DEFINE_string("output", "", "file of JSON lines to append to")


if __name__ == "__main__":
    define_flags()
    command.run(main)
