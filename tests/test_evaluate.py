"""Scores of whole songs: the right references, honest counts, baselines, and words for a fault."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

from stemsep import audio, report
from stemsep.audio import Clip
from stemsep.baselines import hpss
from stemsep.checkpoint import Checkpoints
from stemsep.config import Config
from stemsep.datasets.tracks import Track
from stemsep.errors import InputError
from stemsep.estimate import make_estimator
from stemsep.evaluate import evaluate, evaluate_source, find_tracks
from stemsep.files import write_json
from stemsep.separate import Separator
from stemsep.state import create
from tests.test_separate import RATE, identity, tiny
from tests.trees import noise, song, write


def track(folder: Path, stems: Mapping[str, list[np.ndarray]], *, mixture: np.ndarray | None = None,
          rate: int = RATE) -> Track:
    """Write a track, each stem the sum of several files."""
    files = {stem: tuple(Clip(write(folder / f"{stem}{number}.wav", wave_CN))
                         for number, wave_CN in enumerate(waves)) for stem, waves in stems.items()}
    clip = None if mixture is None else Clip(write(folder / "mix.flac", mixture, rate=rate))
    return Track(folder.name, "test", files, clip)


def scores_of(one: Track, **settings: Any) -> dict[str, Any]:
    results = evaluate(identity(), [one], **settings)
    assert not results["errors"]
    return results["tracks"][0]["scores"]


def test_the_mixture_scores_as_theory_says(tmp_path: Path) -> None:
    """Unrelated stems of equal power: the mixture is 0 dB from each. The identity model equals it.
    """
    one = track(tmp_path / "a", {"drums": [noise(200000, seed=1)], "rest": [noise(200000, seed=2)]})
    scores = scores_of(one)
    for target in ("drums", "accompaniment"):
        assert scores["mixture"][target]["sdr"] == pytest.approx(0, abs=0.1)
        for measure, value in scores["mixture"][target].items():
            assert scores["model"][target][measure] == pytest.approx(value, abs=1e-4)


def test_references_are_sums_of_files(tmp_path: Path) -> None:
    """Two drum files that make up the mixture: it is a perfect estimate, and the rest is silent."""
    a, b = noise(150000, seed=1), noise(140000, seed=2)
    mixture = a.copy()
    mixture[:, :140000] += b
    one = track(tmp_path / "a", {"drums": [a, b], "rest": []}, mixture=mixture)
    results = evaluate(identity(), [one])
    scores = results["tracks"][0]["scores"]
    assert scores["mixture"]["drums"]["sdr"] == 100
    assert scores["model"]["drums"]["sdr"] > 90
    assert scores["model"]["accompaniment"] == {"sdr": None, "si_sdr": None}
    silent = results["summary"]["model"]["accompaniment"]["sdr"]
    assert silent == {"mean": None, "median": None, "count": 0}


def test_a_reference_of_another_rate_and_channel_count_is_converted(tmp_path: Path) -> None:
    """The mixture is the drums at twice the rate in stereo: it is them, but for the resampling."""
    slow = np.cumsum(noise(20000), axis=1)
    slow = (0.2 * (slow - slow.mean()) / np.abs(slow).max()).astype(np.float32)  # low sounds only
    times = np.arange(40000) / 2
    fast = np.interp(times, np.arange(20000), slow[0]).astype(np.float32)[None]
    one = track(tmp_path / "a", {"drums": [slow], "rest": []}, mixture=np.repeat(fast, 2, 0),
                rate=2 * RATE)
    assert scores_of(one)["mixture"]["drums"]["sdr"] > 25


def test_means_and_medians_count_what_was_scored(tmp_path: Path) -> None:
    loud = [track(tmp_path / str(n), {"drums": [(n / 8 * noise(5000, seed=n)).astype(np.float32)],
                                      "rest": [noise(5000, seed=9)]}) for n in (1, 2, 6)]
    silent = track(tmp_path / "silent", {"drums": [], "rest": [noise(5000)]})
    results = evaluate(identity(), [*loud, silent])
    values = [t["scores"]["mixture"]["drums"]["sdr"] for t in results["tracks"]]
    assert values[3] is None
    summary = results["summary"]["mixture"]["drums"]["sdr"]
    assert summary == {"mean": pytest.approx(np.mean(values[:3])), "median": values[1], "count": 3}
    assert results["summary"]["mixture"]["accompaniment"]["sdr"]["count"] == 4


def test_a_fault_is_recorded_and_the_rest_goes_on(tmp_path: Path) -> None:
    good = track(tmp_path / "good", {"drums": [noise(3000)], "rest": []})
    bad = track(tmp_path / "bad", {"drums": [noise(3000)], "rest": []})
    bad.stems["drums"][0].path.write_text("no audio")
    empty = Track("empty", "test", {"drums": (), "rest": ()})
    done: list[int] = []
    results = evaluate(identity(), [bad, good, empty], progress=lambda: done.append(1))
    assert [t["name"] for t in results["tracks"]] == ["good"]
    assert "drums0.wav" in results["errors"]["test/bad"] and len(done) == 3
    assert "no audio files" in results["errors"]["test/empty"]
    table = report.table(results)
    assert "not scored: test/bad" in table and "good" in table and "1 tracks" in table


def test_hpss_finds_the_clicks(tmp_path: Path) -> None:
    clicks = np.zeros((1, 40000), np.float32)
    clicks[:, ::4000] = 0.9
    tone = (0.1 * np.sin(np.arange(40000) * 0.3)).astype(np.float32)[None]
    one = track(tmp_path / "a", {"drums": [clicks], "rest": [tone]})
    scores = scores_of(one, baselines=["mixture", "hpss"])
    for target in ("drums", "accompaniment"):
        assert scores["hpss"][target]["sdr"] > scores["mixture"][target]["sdr"] + 6
    assert hpss(tone, ["vocals"]) == {} and set(hpss(tone, ["drums", "a", "b"])) == {"drums"}
    with pytest.raises(InputError, match="did you mean 'hpss'"):
        evaluate(identity(), [one], baselines=["hps"])


def test_an_empty_split_says_what_there_is(tmp_path: Path) -> None:
    song(tmp_path / "train" / "one", {"drums": noise(1000), "bass": noise(1000)})
    source = f"folders:{tmp_path}"
    with pytest.raises(InputError, match=r"no tracks in split 'test'.*train \(1\)"):
        find_tracks(source, "test", identity())
    for split in ("train", "all"):
        (one,), faults = find_tracks(source, split, identity())
        assert (one.name, set(one.stems), faults) == ("one", {"drums", "rest"}, {})


def test_the_picture_shows_time_and_frequency(tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    waves = {"mixture": noise(RATE, channels=2), "drums": np.zeros((2, RATE), np.float32)}
    report.picture(tmp_path / "deep" / "song.png", waves, RATE, title="a song")
    assert (tmp_path / "deep" / "song.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match="pip install matplotlib"):
        report.picture(tmp_path / "song.png", waves, RATE)


def test_json_is_whole_or_absent(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "scores.json", {"sdr": float("nan")})
    assert not list(tmp_path.iterdir())
    write_json(tmp_path / "new" / "scores.json", {"sdr": None})
    assert json.loads((tmp_path / "new" / "scores.json").read_text()) == {"sdr": None}


def save_run(workdir: Path, config: Config) -> Separator:
    """Save a run of an untrained network; returns its separator."""
    state = create(make_estimator(config), optax.sgd(0.1), np.full(2, 0.5), seed=0, frames=16,
                   ema=False)
    state = jax.tree.map(np.asarray, state)
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save(1, state, config=config, scores={"loss": 1.0})
    return Separator(config, state.candidates()["raw"])


def test_a_table_is_shown_before_the_disk_is_needed(tmp_path: Path) -> None:
    song(tmp_path / "songs" / "test" / "one", {"drums": noise(1000), "bass": noise(1000)})
    (tmp_path / "out" / "scores.json").mkdir(parents=True)      # cannot be written over
    shown: list[str] = []
    with pytest.raises(OSError):
        evaluate_source(identity(), f"folders:{tmp_path / 'songs'}", "test",
                        output=tmp_path / "out", checkpoint="run", show=shown.append)
    assert "drums" in shown[0]


def test_commands_separate_and_evaluate_a_run(tmp_path: Path) -> None:
    """From a saved run and files alone, the same stems and scores as in this process."""
    config = tiny()
    separator = save_run(tmp_path / "run", config)
    song(tmp_path / "songs" / "test" / "one", {"drums": noise(4000), "bass": noise(4000, seed=1)})
    (tmp_path / "songs" / "bad.wav").write_text("no audio")

    def command(name: str, *arguments: object) -> subprocess.CompletedProcess:
        line = [sys.executable, "-m", f"stemsep.{name}", f"--checkpoint={tmp_path / 'run'}"]
        return subprocess.run([*line, *map(str, arguments)], capture_output=True, text=True,
                              timeout=300)
    separated = command("separate", tmp_path / "songs", "--output", tmp_path / "out")
    assert separated.returncode == 1 and "bad.wav: is no audio" in separated.stderr
    assert "Traceback" not in separated.stderr
    drums = tmp_path / "out" / "test" / "one" / "bass" / "drums.wav"
    wave_CN, rate = audio.read(drums)
    np.testing.assert_allclose(wave_CN, separator(noise(4000, seed=1), rate)["drums"], atol=1e-5)

    scored = command("evaluate", f"--source=folders:{tmp_path / 'songs'}", "--output",
                     tmp_path / "report")
    assert scored.returncode == 0, scored.stderr
    results = json.loads((tmp_path / "report" / "scores.json").read_text())
    tracks, _ = find_tracks(f"folders:{tmp_path / 'songs'}", "test", separator)
    expected = evaluate(separator, tracks)["summary"]["model"]["drums"]["sdr"]["mean"]
    assert results["summary"]["model"]["drums"]["sdr"]["mean"] == pytest.approx(expected, abs=1e-3)
    assert f"{expected:.2f}" in scored.stdout
