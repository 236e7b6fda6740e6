"""Time preprocessing beside songSourceSeparator's way, and count the memory of a long track.

    python -m benchmarks.preprocess --config configs/drums.py --output results.jsonl

Needs h5py (the extra `benchmark`). The songs are those of the configuration, demo songs without a
source, read from the page cache; every store is made anew. A line of JSON each: one worker, two
workers, songSourceSeparator's way (one process), and a 3-hour stereo FLAC track.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from absl import flags

from benchmarks import timer
from stemsep import command, datasets, preprocess
from stemsep.config import Config, from_dict, to_dict

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


def compare(config: Config, *, repeats: int, output: str) -> None:
    """Time one worker, two, and the peer in turns; a line each."""
    from benchmarks.peers import hdf5  # only now: h5py may be missing

    preprocess.preprocess(config)       # demo songs are made, and everything is in the page cache
    tracks = datasets.tracks(config.data.source, stems=config.stems, recipe=config.data.recipe)
    stft = preprocess.store_spec(config).stft
    done: dict[str, float] = {}

    with tempfile.TemporaryDirectory() as folder:

        def ours(workers: int) -> None:
            values = to_dict(config)
            values["data"] |= {"store": f"{folder}/store", "workers": workers}
            shutil.rmtree(f"{folder}/store", ignore_errors=True)
            summary = preprocess.preprocess(from_dict(values), progress=False)
            assert not summary.failed
            done[f"stemsep, {workers} workers"] = summary.audio_h

        def peer() -> None:
            done["songSourceSeparator's way"] = sum(hdf5.preprocess_track(
                track, Path(folder), sample_rate=stft.sample_rate, n_fft=stft.n_fft, hop=stft.hop)
                for track in tracks) / 3600

        calls = {"stemsep, 1 workers": lambda: ours(1), "stemsep, 2 workers": lambda: ours(2),
                 "songSourceSeparator's way": peer}
        seconds = timer.take_turns(calls, repeats=repeats, warmup=0)
    facts = timer.machine("numpy", "scipy", "soundfile", "soxr", "tensorstore", "librosa", "h5py")
    for who, taken in seconds.items():
        processes = 2 if "2" in who else 1
        times = timer.summary(taken)
        timer.write(output, {
            "benchmark": "preprocess", "who": who, "config": config.name, **times,
            "tracks": len(tracks), "audio_h": round(done[who], 4),
            "audio_h_per_core_minute": done[who] * 60 / times["median_s"] / processes,
            "speed_of_1_worker": statistics.median(
                one / own for one, own in zip(seconds["stemsep, 1 workers"], taken)), **facts})


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


def define_flags() -> Any:
    """Define the command's flags; returns that of the configuration."""
    flags.DEFINE_integer("repeats", 5, "rounds of timing", lower_bound=1)
    flags.DEFINE_float("long_hours", 3.0, "of the long track; 0 leaves it out", lower_bound=0)
    flags.DEFINE_string("output", "", "file of JSON lines to append to")
    return command.define_config()


if __name__ == "__main__":
    holder = define_flags()

    def main(argv: list[str]) -> None:
        """Run the command."""
        command.no_arguments(argv)
        config = command.checked_config(holder)
        compare(config, repeats=flags.FLAGS.repeats, output=flags.FLAGS.output)
        if flags.FLAGS.long_hours:
            long_track(flags.FLAGS.long_hours, output=flags.FLAGS.output)

    command.run(main, config=True)
