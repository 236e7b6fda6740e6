"""The benchmarks run, and tell what they measured in lines that can be read again."""

import functools
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from benchmarks import timer, train_step
from stemsep import models
from stemsep.config import ModelConfig
from stemsep.errors import InputError

HAS_TORCH = importlib.util.find_spec("torch") is not None


@pytest.mark.parametrize("model", sorted(train_step.WIDTHS))
def test_train_step_writes_a_line_for_each_contestant(model: str, tmp_path: Path) -> None:
    output = tmp_path / "new" / "results.jsonl"
    train_step.compare(
        model, (1, 8, 8, 1), widths=(2, 3), dtype="float32", peers=["torch"], repeats=2,
        output=str(output),
    )
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["who"] for line in lines] == ["stemsep", "torch"][:1 + HAS_TORCH]
    for line in lines:
        assert (line["model"], line["shape_BTFC"], line["repeats"]) == (model, [1, 8, 8, 1], 2)
        assert 0 < line["median_s"] <= line["p90_s"]
        # 8 frames of 512 samples at 44.1 kHz
        assert line["audio_s_per_s"] * line["median_s"] == pytest.approx(8 * 512 / 44100)
        assert line["peak_memory_bytes"] > 1e6 and line["versions"]["jax"] == jax.__version__
    assert lines[0]["program_bytes"] > 0


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch, a peer, is not installed")
@pytest.mark.parametrize("model", sorted(train_step.WIDTHS))
def test_peer_has_the_same_parameters(model: str) -> None:
    from benchmarks.peers import torch_unet
    widths = train_step.WIDTHS[model]
    config = ModelConfig(name=model, widths=widths)
    ours = models.build(config, bins=512, channels=2, outputs=3)
    params = jax.eval_shape(
        lambda: ours.init(jax.random.key(0), jnp.zeros((1, 32, 64, 2)), train=False)
    )["params"]
    theirs = torch_unet.build(model, channels=2, outputs=3, widths=widths, dropout=0.4)
    assert sorted(leaf.size for leaf in jax.tree.leaves(params)) == sorted(
        parameter.numel() for parameter in theirs.parameters()
    )


def test_turns_are_interleaved_and_warmed_up() -> None:
    order: list[str] = []
    calls = {name: functools.partial(order.append, name) for name in "ab"}
    seconds = timer.take_turns(calls, repeats=2, warmup=1)
    assert "".join(order) == "ab" + "abab"
    assert {name: len(taken) for name, taken in seconds.items()} == {"a": 2, "b": 2}


def test_waiting_carries_the_state_on() -> None:
    seen = []

    def step(state: int, other: str) -> tuple[int, str]:
        seen.append((state, other))
        return state + 1, other

    call = timer.waiting(step, 5, "x")
    call()
    call()
    assert seen == [(5, "x"), (6, "x")]


def test_summary_ranks() -> None:
    assert timer.summary([3.0, 1.0, 2.0]) == {"median_s": 2.0, "p90_s": 3.0, "repeats": 3}


@pytest.mark.parametrize("text", ["16x128x512", "16x0x512x1", "16,128,512,1", "axbxcxd"])
def test_a_wrong_shape_is_refused_in_words(text: str) -> None:
    with pytest.raises(InputError, match="batch x frames x bins x channels"):
        train_step.parse_shape(text)


def test_the_command_shows_its_flags() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.train_step", "--shapes", "1x2x3"], capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: --shapes 1x2x3")
