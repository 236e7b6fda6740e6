"""What a user waits for is timed: separation, the first step, whole commands."""

import importlib.util
import json
from pathlib import Path

import pytest

from benchmarks import compile, end_to_end, separate
from benchmarks.contestants import Contestant
from tests.runs import tiny

HAS_TORCH = importlib.util.find_spec("torch") is not None
HAS_UNMIX = importlib.util.find_spec("openunmix") is not None


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_first_step_is_timed_with_either_cache(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    compile.compare(tiny(tmp_path), repeats=1, output=str(output))
    cold, warm = lines_of(output)
    assert (cold["cache"], warm["cache"]) == ("cold", "warm")
    for line in (cold, warm):
        assert 0 < line["imported_s"] < line["median_s"] < line["command_s"]
        assert 0 < line["compile_s"] < line["median_s"]


def test_commands_are_timed_whole(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    config = tiny(tmp_path)
    end_to_end.separate(config, songs=2, song_s=1.0, repeats=1, output=str(output))
    end_to_end.training(config, steps=6, output=str(output))
    songs, steps = lines_of(output)
    assert (songs["what"], steps["what"]) == ("separate", "train")
    assert songs["songs_per_hour"] * songs["median_s"] == pytest.approx(2 * 3600)
    assert songs["audio_s_per_s"] * songs["median_s"] == pytest.approx(2)
    assert 0 <= steps["input_wait"] <= 1 and steps["steps_per_s"] > 0
    assert min(songs["peak_memory_bytes"], steps["peak_memory_bytes"]) > 50e6


def test_a_command_that_fails_is_told() -> None:
    with pytest.raises(RuntimeError, match="stemsep.separate failed.*--checkpoint"):
        end_to_end.run("stemsep.separate", "song.wav")


def test_separation_is_compared(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    separate.compare(tiny(tmp_path), tmp_path, song_s=1.0, peers=list(separate.PEERS), repeats=1,
                     output=str(output))
    ours, *theirs = lines_of(output)
    assert "decode" in ours["share_of_time"] and "ratio" not in ours
    assert [line["peer"] for line in theirs] == [
        *["torch_channels_last"] * HAS_TORCH, *["open_unmix"] * (HAS_TORCH and HAS_UNMIX)]


def test_a_contestant_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        Contestant(divmod, 1, 0)()
