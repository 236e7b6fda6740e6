"""Time the separation of whole files, reading and writing included, beside PyTorch and Open-Unmix,
and count its memory.

    python -m benchmarks.separate --config configs/drums.py --peers torch_channels_last,open_unmix

The network has random parameters and the song is noise at the model's rate, stereo FLAC: neither
changes the time. `torch_channels_last` is the same network in PyTorch, `open_unmix` another one,
Open-Unmix as its package has it, with a network for each of as many stems. Every contestant's
timing is a line of JSON; ours has the share of the time that each stage was at work, which together
are more than 1 where they overlap. Then a line each for --minutes of a song in a process of its
own, with its peak memory.
"""

import functools
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable

import jax
import numpy as np
import soundfile
from absl import flags

from benchmarks import timer
from benchmarks.contestants import SHARED, Contestant
from stemsep import collection, command, parallel, stages
from stemsep.collection import Settings
from stemsep.config import Config, from_dict, to_dict
from stemsep.errors import InputError
from stemsep.estimate import make_estimator
from stemsep.jobs import Job
from stemsep.separator import Separator

PEERS = {"torch_channels_last": "torch", "open_unmix": "openunmix"}     # and their packages
_MEMORY = """
import json, sys
from benchmarks import separate
from stemsep import provenance
separate.once(json.loads(sys.argv[1]), sys.argv[2], sys.argv[3])
print(provenance.peak_memory_bytes())
"""


def main(argv: list[str]) -> None:
    """Run the command."""
    command.no_arguments(argv)
    f = flags.FLAGS
    config = command.checked_config(f["config"])
    if unknown := sorted(set(f.peers) - set(PEERS)):
        raise InputError(f"--peers {','.join(unknown)}: choose of {', '.join(PEERS)}")
    parallel.prepare()
    with tempfile.TemporaryDirectory() as folder:
        compare(config, Path(folder), song_s=f.song_s, peers=f.peers, repeats=f.repeats,
                output=f.output)
        for minutes in f.minutes:
            memory(config, Path(folder), float(minutes), output=f.output)


def compare(config: Config, folder: Path, *, song_s: float, peers: list[str], repeats: int,
            output: str) -> None:
    """Time ours and the peers' separation of one file in turns; write a line each."""
    song = write_song(folder / "song.flac", config, song_s)
    times = stages.Times()
    others = make_peers(config, song, folder / "theirs", peers)
    calls: dict[str, Callable[[], Any]] = {
        "stemsep": make_ours(config, song, folder / "ours", times), **others}
    try:
        for call in calls.values():     # compiled, and the caches are warm
            call()
        times.seconds.clear()
        seconds = timer.take_turns(calls, repeats=repeats, warmup=0)
    finally:
        for other in others.values():
            other.close()
    packages = {"torch", *(PEERS[who] for who in calls if who != "stemsep")}
    facts = timer.machine("jax", "jaxlib", "flax", *sorted(packages))
    for who, taken in seconds.items():
        found = timer.summary(taken)
        line: dict[str, Any] = {
            "benchmark": "separate", "who": who, "config": config.name, "song_s": song_s,
            "dtype": config.model.dtype if who == "stemsep" else "float32",
            "channels": 2, "sample_rate": config.audio.sample_rate,
            "batch": config.separate.batch, "overlap": config.separate.overlap, **found,
            "audio_s_per_s": song_s / found["median_s"], **facts}
        if who == "stemsep":
            line["share_of_time"] = {stage: round(worked_s / sum(taken), 3)
                                     for stage, worked_s in times.seconds.items()}
        else:
            line |= timer.compared(seconds, who)
            print(f"ours has {line['ratio']:.2f} of the speed of {who}")
        timer.write(output, line)


def memory(config: Config, folder: Path, minutes: float, *, output: str) -> None:
    """Write the peak memory of a process that separates a song of so many minutes."""
    song = write_song(folder / "long.flac", config, 60 * minutes)
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY, json.dumps(to_dict(config)), str(song),
         str(folder / "long")], capture_output=True, text=True, check=True)
    timer.write(output, {
        "benchmark": "separate_memory", "config": config.name, "minutes": minutes, "channels": 2,
        "sample_rate": config.audio.sample_rate, "batch": config.separate.batch,
        "peak_memory_bytes": int(done.stdout.split()[-1]), **timer.machine("jax", "jaxlib")})
    for path in (folder / "long").rglob("*.wav"):
        length = soundfile.info(path).frames
        if length != soundfile.info(song).frames:
            raise RuntimeError(f"{path} has {length} samples, the song has another number")
        path.unlink()


def once(config: dict[str, Any], song: str, output: str) -> None:
    """Separate a file, as a process of its own."""
    parallel.prepare()
    make_ours(from_dict(config), Path(song), Path(output), stages.Times())()


def write_song(path: Path, config: Config, seconds: float) -> Path:
    """Write stereo noise, second by second."""
    rate, rng = config.audio.sample_rate, np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", rate, 2, "PCM_16") as file:
        left = round(seconds * rate)
        while left > 0:
            wave_NC = rng.normal(0, 0.1, (min(left, rate), 2))
            file.write(wave_NC.astype(np.float32))
            left -= len(wave_NC)
    return path


def make_ours(config: Config, song: Path, output: Path,
              times: stages.Times) -> Callable[[], None]:
    """Return a call that separates the file as the command does."""
    variables = make_estimator(config).init(jax.random.key(0), config.data.window_frames)
    separator = Separator(config, variables)
    settings = Settings((), str(output))

    def separate() -> None:
        (_, record), = collection.separate_jobs(separator, [Job(str(song), "song")], settings,
                                                times=times)
        if record["status"] != "done":
            raise RuntimeError(record["error"])

    return separate


def make_peers(config: Config, song: Path, output: Path,
               peers: list[str]) -> dict[str, Contestant]:
    """Return the peers that are installed, each in a process of its own; say which are not."""
    found: dict[str, Contestant] = {}
    for peer in peers:
        if not all(map(importlib.util.find_spec, ("torch", PEERS[peer]))):
            print(f"{peer} is not installed: left out")
            continue
        model = config.model
        known = model.name in ("unet", "strided") and model.features == "magnitude" and not (
            model.bands or model.bins or model.estimate == "complex")
        if peer != "open_unmix" and not known:
            raise InputError(f"--peers {peer}: has the networks unet and strided on magnitudes of "
                             "all bins; use --config configs/drums.py")
        output.mkdir(exist_ok=True)
        found[peer] = Contestant(make_peer, peer, to_dict(config), song, output,
                                 environment=SHARED)
    return found


def make_peer(peer: str, config: dict[str, Any], song: Path,
              output: Path) -> tuple[Callable[[], None], dict[str, Any]]:
    """Return a call that separates the file as a peer does, and no facts."""
    threads = len(os.sched_getaffinity(0))
    if peer == "open_unmix":
        from benchmarks.peers import open_unmix  # only now: its framework may be missing

        unmix = open_unmix.make_separate(tuple(from_dict(config).targets), threads=threads)
        return functools.partial(unmix, song, output), {}
    from benchmarks.peers import torch_separate

    separate = torch_separate.make_separate(from_dict(config), threads=threads)
    return functools.partial(separate, song, output), {}


def define_flags() -> None:
    """Define the command's flags."""
    flags.DEFINE_list("peers", [], f"what to compare with, of {', '.join(PEERS)}")
    flags.DEFINE_float("song_s", 180.0, "length of the song in seconds", lower_bound=0.01)
    flags.DEFINE_integer("repeats", 5, "rounds of timing", lower_bound=1)
    flags.DEFINE_list("minutes", ["10", "180"], "lengths of which the memory is counted")
    flags.DEFINE_string("output", "", "file of JSON lines to append to")
    command.define_config()


if __name__ == "__main__":
    define_flags()
    command.run(main, config=True)
