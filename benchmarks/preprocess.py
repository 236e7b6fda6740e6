"""Time preprocessing beside songSourceSeparator's way, and count the memory of a long track.

    python -m benchmarks.preprocess --config configs/drums.py --output results.jsonl

Needs h5py (the extra `benchmark`). The songs are those of the configuration, demo songs without a
source, read from the page cache; every store is made anew, by a command of its own, start included.
A line of JSON each: one worker on one core and on all, two workers, songSourceSeparator's way (one
process), and a 3-hour stereo FLAC track.
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks import timer
from stemsep import audio, datasets, preprocess
from stemsep.config import Config, to_dict

_ON_CORES = """
import json, os, sys
os.sched_setaffinity(0, json.loads(sys.argv[2]))        # before any thread begins
"""
_OURS = """
from stemsep.config import from_dict
from stemsep.preprocess import preprocess
if __name__ == "__main__":
    assert not preprocess(from_dict(json.loads(sys.argv[1])), progress=False).failed
"""
_PEER = """
from pathlib import Path
from benchmarks.peers import hdf5
from stemsep import datasets
from stemsep.config import from_dict
config = from_dict(json.loads(sys.argv[1]))
a = config.audio
for track in datasets.tracks(config.data.source, stems=config.stems, recipe=config.data.recipe):
    hdf5.preprocess_track(track, Path(config.store), sample_rate=a.sample_rate, n_fft=a.n_fft,
                          hop=a.hop)
"""
_LONG = """
import sys
from pathlib import Path
from stemsep import preprocess
from stemsep.audio import Clip
from stemsep.datasets.tracks import Track
from stemsep.store import Store, StoreSpec
spec = StoreSpec(44100, 2, 4096, 1024, ("drums", "rest"))
store = Store.create(sys.argv[2], spec)
files = (Clip(Path(sys.argv[1])),)
preprocess.write_track((Track("long", "train", {"drums": files, "rest": files}), {}),
                       store_path=sys.argv[2])
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


# Of ours the peer, which may use all cores, is compared with the one that may use one.
OURS, PEER = "stemsep, 1 worker on 1 core", "songSourceSeparator's way"
# name -> (program, workers, cores that it may use; 0: all)
CONTESTANTS = {
    "stemsep, 1 worker": (_OURS, 1, 0),
    OURS: (_OURS, 1, 1),
    "stemsep, 2 workers": (_OURS, 2, 0),
    PEER: (_PEER, 1, 0),
}


def compare(config: Config, *, repeats: int, output: str) -> None:
    """Time the contestants in turns; a line each."""
    preprocess.preprocess(config)       # demo songs are made, and everything is in the page cache
    tracks = datasets.tracks(config.data.source, stems=config.stems, recipe=config.data.recipe)
    infos = [audio.probe(clip) for t in tracks for clips in t.stems.values() for clip in clips]
    audio_h = sum(info.samples / info.sample_rate for info in infos) / 3600
    cpu_s: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    with tempfile.TemporaryDirectory() as folder:
        calls = {name: run(config, *contestant, folder=folder, cpu_s=cpu_s[name])
                 for name, contestant in CONTESTANTS.items()}
        seconds = timer.take_turns(calls, repeats=repeats, warmup=0)
    facts = timer.machine("numpy", "scipy", "soundfile", "soxr", "tensorstore", "librosa", "h5py")
    for who, taken in seconds.items():
        timer.write(output, {
            "benchmark": "preprocess", "who": who, "config": config.name,
            **(timer.compared(seconds, who, ours=OURS) if who == PEER else {}),
            **timer.summary(taken), "tracks": len(tracks), "audio_h": round(audio_h, 4),
            "cpu_s": statistics.median(cpu_s[who]),
            "audio_h_per_core_minute": audio_h * 60 / statistics.median(cpu_s[who]),
            "speed_of_1_worker_on_1_core": statistics.median(
                one / own for one, own in zip(seconds[OURS], taken)),
            "audio_s_per_s": 3600 * audio_h / statistics.median(taken), **facts})


def run(config: Config, program: str, workers: int, cores: int, *, folder: str,
        cpu_s: list[float]) -> Callable[[], None]:
    """Return a call that runs a program on an empty folder, and adds its CPU time to `cpu_s`."""
    values = to_dict(config)
    values["data"] |= {"store": f"{folder}/store", "workers": workers}
    allowed = sorted(os.sched_getaffinity(0))[:cores or None]

    def call() -> None:
        shutil.rmtree(f"{folder}/store", ignore_errors=True)
        Path(f"{folder}/store").mkdir()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", _ON_CORES + program, json.dumps(values),
                        json.dumps(allowed)], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    return call


def long_track(hours: float, *, output: str) -> None:
    """Preprocess a long stereo FLAC track of noise and tones; a line with the peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        path, rng = Path(folder) / "long.flac", np.random.default_rng(0)
        tone = np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)[:, None] * [0.3, 0.2]
        with soundfile.SoundFile(path, "w", 44100, 2, "PCM_16") as file:
            for _ in range(round(hours * 3600)):
                file.write(tone + 0.05 * rng.standard_normal((44100, 2)))
        done = subprocess.run([sys.executable, "-c", _LONG, str(path), f"{folder}/store"],
                              capture_output=True, text=True, check=True)
    timer.write(output, {
        "benchmark": "preprocess_memory", "hours": hours, "sample_rate": 44100, "channels": 2,
        "stft": "4096/1024", "stems": 2, "peak_memory_bytes": int(done.stdout) * 1024,
        **timer.machine("numpy", "scipy", "soundfile", "tensorstore")})


def main(config: Config, *, long_hours: int, **settings: Any) -> None:
    """Run the benchmark."""
    compare(config, **settings)
    if long_hours:
        long_track(long_hours, output=settings["output"])


if __name__ == "__main__":
    timer.run(main, repeats=(5, "rounds of timing"),
              long_hours=(3, "of the long track; 0 leaves it out"))
