"""Scores of whole songs: the right references, honest counts, baselines, and words for a fault."""

import csv
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

from benchmarks.peers import museval_metrics
from stemsep import audio, report
from stemsep.audio import Clip
from stemsep.baselines import BASELINES, hpss, irm
from stemsep.checkpoint import Checkpoints
from stemsep.config import Config
from stemsep.datasets.tracks import Track
from stemsep.errors import InputError
from stemsep.estimate import make_estimator
from stemsep.evaluate import evaluate, evaluate_source, find_tracks
from stemsep.files import write_json
from stemsep.separator import Separator
from stemsep.state import create
from stemsep.stft import Stft
from tests.test_separate import RATE, identity, separator, tiny
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


def test_ideal_masks_part_what_lies_apart(tmp_path: Path) -> None:
    """Of stems that share no bin they are nearly perfect, of stems that share all better than the
    mixture.
    """
    low, high = (0.1 * np.sin(np.arange(40000) * pitch).astype(np.float32)[None]
                 for pitch in (0.1, 2.0))
    for name, drums, rest, least in (("apart", low, high, 40),
                                     ("noise", noise(40000, seed=1), noise(40000, seed=2), 5)):
        one = track(tmp_path / name, {"drums": [drums], "rest": [rest]})
        scores = scores_of(one, baselines=["irm", "mixture"])
        for target in ("drums", "accompaniment"):
            assert scores["irm"][target]["sdr"] > scores["mixture"][target]["sdr"] + least


def test_ideal_masks_leave_a_share_to_what_no_stem_has() -> None:
    """Stems that make up the mixture get all of it, in blocks of any size; half of it is masked by
    a half.
    """
    stft = Stft(RATE, 256, 64)
    a, b = noise(5000, channels=2, seed=1), noise(5000, channels=2, seed=2)

    def masked(mix: np.ndarray, *stems: np.ndarray, size: int = 700) -> np.ndarray:
        blocks = [[wave[:, n:n + size] for n in range(0, 5000, size)] for wave in (mix, *stems)]
        return np.concatenate(list(irm(blocks[0], blocks[1:], stft, channels=2, size=size)), -1)
    np.testing.assert_allclose(masked(a + b, a, b).sum(0), a + b, atol=1e-6)
    np.testing.assert_allclose(masked(a + b, a, b), masked(a + b, a, b, size=5000), atol=1e-6)
    np.testing.assert_allclose(masked(a, a / 2)[0], a / 2, atol=1e-6)
    assert (masked(0 * a, 0 * a) == 0).all()


def test_bss_eval_of_a_set_is_the_median_of_museval_s_medians(tmp_path: Path) -> None:
    """Each target's, over frames of a second and over tracks; a silent one is not scored."""
    stems = [{"drums": noise(3 * RATE + n, seed=n), "rest": noise(3 * RATE + n, seed=n + 9)}
             for n in (1, 2, 3)]
    stems[0]["drums"][:, RATE:2 * RATE] = 0
    tracks = [track(tmp_path / str(n), {name: [wave] for name, wave in waves.items()})
              for n, waves in enumerate(stems)]
    silent = track(tmp_path / "silent", {"drums": [], "rest": [noise(2 * RATE)]})
    results = evaluate(separator(), [*tracks, silent], baselines=BASELINES, bss_eval=True)
    medians = []
    for waves, scored in zip(stems, results["tracks"]):
        true = np.stack(list(waves.values()))
        estimates = np.stack(list(separator()(true.sum(0), RATE).values()))
        medians.append(np.nanmedian(museval_metrics.bss_eval(true, estimates, window=RATE), 2))
        for k, target in enumerate(("drums", "accompaniment")):
            own = scored["scores"]["model"][target]
            np.testing.assert_allclose([own[f"bss_{m}"] for m in ("sdr", "isr", "sir", "sar")],
                                       medians[-1][:, k], atol=1e-3)
    last = results["tracks"][3]["scores"]
    assert set(last) == {"model", *BASELINES}
    assert last["irm"]["drums"]["bss_sdr"] is last["model"]["accompaniment"]["bss_sir"] is None
    assert last["mixture"]["accompaniment"]["bss_sdr"] == 100
    summary = results["summary"]["model"]["drums"]
    assert summary["bss_sir"]["count"] == 3
    assert summary["bss_sir"]["median"] == pytest.approx(np.median(medians, 0)[2, 0], abs=1e-3)
    header, line, *_ = report.table(results).splitlines()
    assert header.endswith("v4 SDR   v4 ISR   v4 SIR   v4 SAR")
    assert line.endswith(f"{summary['bss_sar']['median']:.2f}")


def test_any_number_of_workers_scores_the_same_in_the_same_order(tmp_path: Path) -> None:
    tracks = [track(tmp_path / str(n), {"drums": [noise(9000 - 900 * n, seed=n)],
                                        "rest": [noise(5000, seed=n + 9)]}) for n in range(6)]
    tracks[2].stems["drums"][0].path.write_text("no audio")
    found = []
    for workers in (1, 4, 0):
        results = evaluate(separator(), tracks, baselines=BASELINES, bss_eval=True,
                           workers=workers)
        assert list(results["errors"]) == ["test/2"] and results.pop("wall_s") > 0
        found.append(results)
    assert [one["name"] for one in found[0]["tracks"]] == ["0", "1", "3", "4", "5"]
    assert found[0] == found[1] == found[2]
    with pytest.raises(InputError, match="workers is -1"):
        evaluate(separator(), tracks, workers=-1)


def test_a_fault_of_ours_ends_all(tmp_path: Path) -> None:
    """It is no song's fault, and is not told as one; songs that are not begun are left."""
    class Broken(Separator):
        def __init__(self) -> None:
            super().__init__(tiny(), {}, estimators=[lambda *given, **settings: None])

        def stream(self, *arguments: Any, **settings: Any) -> Any:
            seen.append(1)
            time.sleep(0.05)        # 40 of them take two workers a second: time to be told
            raise RuntimeError("ours")
    seen: list[int] = []
    tracks = [track(tmp_path / str(n), {"drums": [noise(900)]}) for n in range(40)]
    with pytest.raises(RuntimeError, match="ours"):
        evaluate(Broken(), tracks, workers=2)
    assert len(seen) < 40


def test_an_interrupt_ends_the_songs_that_are_begun(tmp_path: Path) -> None:
    short = track(tmp_path / "short", {"drums": [noise(900)], "rest": []})
    long = track(tmp_path / "long", {"drums": [np.tile(noise(60000), 100)], "rest": []})

    def interrupt() -> None:
        raise KeyboardInterrupt
    begin_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        evaluate(identity(), [short, *[long] * 20], workers=2, progress=interrupt)
    interrupted_s = time.monotonic() - begin_s
    evaluate(identity(), [long])
    assert interrupted_s < 5 * (time.monotonic() - begin_s - interrupted_s) + 1


def test_the_table_of_commas_holds_what_the_json_does(tmp_path: Path) -> None:
    for name in ("one", 'a "b", c'):
        song(tmp_path / "songs" / "test" / name, {"drums": noise(3000), "bass": noise(2000)})
    song(tmp_path / "songs" / "test" / "silent", {"drums": 0 * noise(2500), "bass": noise(2500)})
    evaluate_source(separator(), f"folders:{tmp_path / 'songs'}", "test", output=tmp_path,
                    checkpoint="run", baselines=["mixture", "hpss"], bss_eval=True)
    results = json.loads((tmp_path / "scores.json").read_text())
    with open(tmp_path / "scores.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for one in results["tracks"]:
        for method, targets in one["scores"].items():
            for target, measures in targets.items():
                row = rows.pop(0)
                assert (row["name"], row["split"], float(row["seconds"]), row["method"],
                        row["target"]) == (one["name"], "test", one["seconds"], method, target)
                assert {m: float(row[m]) if row[m] else None for m in measures} == measures
    assert not rows and len(measures) == 6


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


@pytest.mark.parametrize(("flag", "words"), [
    ("--workers=-1", "workers"), ("--workers=two", "workers"), ("--bss_eval=maybe", "bss_eval"),
    ("--baselines=imr", "did you mean 'irm'"), ("--output=/dev/null/here", "/dev/null/here")])
def test_a_wrong_flag_is_told_in_words(flag: str, words: str, tmp_path: Path) -> None:
    save_run(tmp_path / "run", tiny())
    song(tmp_path / "songs" / "test" / "one", {"drums": noise(400)})
    done = subprocess.run(
        [sys.executable, "-m", "stemsep.evaluate", f"--checkpoint={tmp_path / 'run'}",
         f"--source=folders:{tmp_path / 'songs'}", f"--output={tmp_path}", flag],
        capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("scores.*"))
