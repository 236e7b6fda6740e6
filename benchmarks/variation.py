"""Time preprocessing with and without copies at another pitch and tempo.

    python -m benchmarks.variation --config configs/drums.py --output results.jsonl

Needs pylibrb (the extra `variation`). The songs are those of the configuration, demo songs without
a source, read from the page cache; every store is made anew by a command of its own with one worker
on one core, start included. A line of JSON each.
"""

import statistics
import tempfile
from typing import Any

from benchmarks import preprocess as songs
from benchmarks import timer
from stemsep import audio, datasets, preprocess, variation
from stemsep.config import Config, from_dict, to_dict
from stemsep.datasets.tracks import Track


def with_copies(config: Config, copies: int) -> Config:
    """Return the configuration with so many copies of each training track."""
    values = to_dict(config)
    values["data"]["variation"]["copies"] = copies
    return from_dict(values)


def hours(tracks: list[Track]) -> float:
    """Return the hours of the stem files that are read for these tracks."""
    infos = [audio.probe(clip) for t in tracks for clips in t.stems.values() for clip in clips]
    return sum(info.samples / info.sample_rate for info in infos) / 3600


def main(config: Config, *, repeats: int, output: str) -> None:
    """Time both in turns; a line each."""
    configs = {"no copies": with_copies(config, 0), "a copy of each": with_copies(config, 1)}
    preprocess.preprocess(configs["no copies"])     # demo songs are made, and in the page cache
    tracks = datasets.tracks(config.data.source, stems=config.stems, recipe=config.data.recipe)
    both = variation.with_copies(tracks, configs["a copy of each"])
    audio_h = {"no copies": hours(tracks), "a copy of each": hours(both)}
    cpu_s: dict[str, list[float]] = {name: [] for name in configs}
    with tempfile.TemporaryDirectory() as folder:
        calls = {name: songs.run(own, *songs.CONTESTANTS["stemsep, 1 worker on 1 core"],
                                 folder=folder, cpu_s=cpu_s[name])
                 for name, own in configs.items()}
        seconds = timer.take_turns(calls, repeats=repeats, warmup=0)
    spent_s = {name: statistics.median(taken) for name, taken in cpu_s.items()}
    more_s = spent_s["a copy of each"] - spent_s["no copies"]
    copies: dict[str, Any] = {"copies_h_per_core_minute": 60 / more_s * (
        audio_h["a copy of each"] - audio_h["no copies"])}
    for name, taken in seconds.items():
        timer.write(output, {
            "benchmark": "variation", "who": name, "config": config.name, **timer.summary(taken),
            "sample_rate": config.audio.sample_rate, "channels": config.audio.channels,
            "tracks": len(tracks if name == "no copies" else both),
            "audio_h": round(audio_h[name], 4), "cpu_s": spent_s[name],
            "audio_h_per_core_minute": audio_h[name] * 60 / spent_s[name],
            **(copies if name != "no copies" else {}),
            **timer.machine("numpy", "scipy", "soundfile", "soxr", "tensorstore", "pylibrb")})


if __name__ == "__main__":
    timer.run(main, repeats=(3, "rounds of timing"))
