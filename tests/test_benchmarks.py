"""The benchmarks run, and tell what they measured in lines that can be read again."""

import functools
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import (
    bss_eval, loader, long_run, preprocess, stft, store_layout, switches, timer, train_step,
    variation
)
from benchmarks.peers import hdf5
from stemsep import checks, models
from stemsep.batches import Batches
from stemsep.config import Config, ModelConfig
from stemsep.errors import InputError
from stemsep.parallel import DataParallel
from stemsep.preprocess import preprocess as build
from stemsep.store import Store

HAS_TORCH = importlib.util.find_spec("torch") is not None
HAS_KERAS = importlib.util.find_spec("tensorflow") is not None


@pytest.mark.parametrize("model", sorted(train_step.WIDTHS))
def test_train_step_writes_a_line_for_each_contestant(model: str, tmp_path: Path) -> None:
    output = tmp_path / "new" / "results.jsonl"
    train_step.compare(
        model, (1, 8, 8, 1), widths=(2, 3), dtype="float32", peers=["torch_channels_last"],
        repeats=2, output=str(output),
    )
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["who"] for line in lines] == ["stemsep", "torch_channels_last"][:1 + HAS_TORCH]
    assert "ratio" not in lines[0]
    for line in lines[1:]:
        assert line["peer"] == line["who"] and line["ratio"] > 0
    for line in lines:
        assert (line["model"], line["shape_BTFC"], line["repeats"]) == (model, [1, 8, 8, 1], 2)
        assert 0 < line["median_s"] <= line["p90_s"]
        # 8 frames of 512 samples at 44.1 kHz
        assert line["audio_s_per_s"] * line["median_s"] == pytest.approx(8 * 512 / 44100)
        assert line["peak_memory_bytes"] > 1e6 and line["versions"]["jax"] == jax.__version__
        # All do the same work, whatever they add to it.
        assert line["tflops_per_s"] * line["median_s"] == pytest.approx(
            lines[0]["tflops_per_s"] * lines[0]["median_s"])
    assert lines[0]["program_bytes"] > 0


def test_inference_is_compared_with_the_textbook_operators(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    train_step.compare("strided", (1, 8, 8, 1), widths=(2, 3), dtype="bfloat16",
                       peers=["plain_xla"], repeats=1, inference=True, output=str(output))
    ours, plain = lines_of(output)
    assert ours["benchmark"] == "inference" and plain["peer"] == "plain_xla"
    assert plain["xla_flags"] == "" and ours["dtype"] == plain["dtype"] == "bfloat16"


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch, a peer, is not installed")
@pytest.mark.parametrize("variant", ["", "channels_last", "amp"])
@pytest.mark.parametrize("inference", [False, True])
def test_torch_runs_in_every_way(variant: str, inference: bool) -> None:
    from benchmarks.peers import torch_unet
    call, facts = torch_unet.make_step("unet", (1, 8, 8, 1), outputs=2, widths=(2, 3), dropout=0.4,
                                       threads=1, variant=variant, inference=inference)
    call()
    assert facts["dtype"] == ("bfloat16" if variant == "amp" else "float32")


def test_peers_are_chosen_by_name() -> None:
    assert train_step.parse_peers(["all"]) == list(train_step.PEERS)
    assert train_step.parse_peers(["torch", "keras"]) == ["torch", "keras"]
    with pytest.raises(InputError, match="--peers theano: choose of all, plain_xla, torch"):
        train_step.parse_peers(["torch", "theano"])


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


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch, a peer, is not installed")
@pytest.mark.parametrize("model, multiple", [("unet", 4), ("strided", 8)])
def test_peer_takes_any_size(model: str, multiple: int) -> None:
    import torch

    from benchmarks.peers import torch_unet
    network = torch_unet.build(model, channels=1, outputs=3, widths=(2, 3, 4), dropout=0.4).eval()
    x_1CTF = torch.rand(1, 1, 17, 10)
    padded = torch.zeros(1, 1, -(-17 // multiple) * multiple, -(-10 // multiple) * multiple)
    padded[:, :, :17, :10] = x_1CTF
    assert torch.equal(network(x_1CTF), network(padded)[:, :, :17, :10])


@pytest.mark.skipif(not HAS_KERAS, reason="TensorFlow, a peer, is not installed")
@pytest.mark.parametrize("model", sorted(train_step.WIDTHS))
def test_keras_has_the_same_parameters(model: str) -> None:
    from benchmarks.peers import keras_unet
    widths = train_step.WIDTHS[model]
    ours = models.build(ModelConfig(name=model, widths=widths), bins=64, channels=2, outputs=3)
    params = jax.eval_shape(
        lambda: ours.init(jax.random.key(0), jnp.zeros((1, 32, 64, 2)), train=False)
    )["params"]
    theirs = keras_unet.build(model, (1, 32, 64, 2), outputs=3, widths=widths, dropout=0.4)
    assert sorted(leaf.size for leaf in jax.tree.leaves(params)) == sorted(
        int(np.prod(weight.shape)) for weight in theirs.trainable_weights)


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


def test_who_takes_the_time_itself_is_believed() -> None:
    assert timer.take_turns({"a": lambda: 42.0}, repeats=2, warmup=0) == {"a": [42.0, 42.0]}


def test_a_ratio_is_our_speed_over_theirs() -> None:
    seconds = {"stemsep": [1.0, 2.0, 4.0], "other": [3.0, 2.0, 8.0]}
    assert timer.compared(seconds, "stemsep") == {}
    assert timer.compared(seconds, "other") == {"peer": "other", "ratio": 2.0}


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


@pytest.fixture
def demo(tmp_path: Path) -> Config:
    """A configuration of three short demo songs."""
    c = Config(name="tiny")
    c.audio.sample_rate, c.audio.n_fft, c.audio.hop = 8000, 512, 256
    c.data.source, c.data.store = f"demo:{tmp_path / 'songs'}", str(tmp_path / "store")
    c.data.demo.tracks, c.data.demo.seconds, c.data.window_frames = 3, 2.0, 16
    c.model.widths, c.model.name, c.train.batch = (4, 8), "strided", 4
    c.train.validate_windows = 4
    return c.check()


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_preprocessing_is_compared(demo: Config, tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    preprocess.compare(demo, repeats=1, output=str(output))
    preprocess.long_track(0.001, output=str(output))
    *timed, memory = lines_of(output)
    assert [line["who"] for line in timed] == list(preprocess.CONTESTANTS)
    assert all(line["cpu_s"] > 0 and line["audio_h"] > 0 for line in timed)
    assert 50e6 < memory["peak_memory_bytes"] < 1e9


def test_copies_are_timed(demo: Config, tmp_path: Path) -> None:
    variation.main(demo, repeats=1, output=str(tmp_path / "results.jsonl"))
    without, with_copies = lines_of(tmp_path / "results.jsonl")
    assert with_copies["tracks"] > without["tracks"] == 3
    # Of songs of a second the difference of two times may have any sign.
    assert np.isfinite(with_copies["copies_h_per_core_minute"])


def test_readers_are_compared(demo: Config, tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    loader.compare(demo, steps=2, repeats=1, output=str(output))
    loader.input_wait(demo, 20, output=str(output))
    *timed, wait = lines_of(output)
    assert [(line["who"], line["cache"]) for line in timed] == [
        (who, cache) for cache in ("warm", "cold")
        for who in ("stemsep", "h5py, gzip", *["torch DataLoader"] * HAS_TORCH)]
    assert all(line["GB_per_s"] > 0 for line in timed) and 0 <= wait["input_wait"] <= 1


def test_hdf5_holds_the_same_windows(demo: Config, tmp_path: Path) -> None:
    """What the loader is compared with reads the same numbers."""
    build(demo)
    store = Store.open(demo.store)
    batches = Batches(store, "train", demo, DataParallel("pmap"))
    (record,) = batches.records
    whole = store.read(record, 0, record.frames, stems=[0, 1]).result()
    hdf5.write_array(tmp_path / "a.h5", whole, chunk_frames=8)
    reader = hdf5.Reader([tmp_path / "a.h5"])
    (_, batch), = batches.stream(0, 1)
    stems = np.asarray(batch["stems"])      # with an axis of devices
    np.testing.assert_array_equal(reader.batch(batches.ids(0), 16), stems.reshape(stems.shape[1:]))
    reader.close()


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch, a peer, is not installed")
def test_workers_read_the_same_windows(tmp_path: Path) -> None:
    from benchmarks.peers import torch_loader
    array = np.random.default_rng(0).normal(size=(2, 30, 1, 5, 2)).astype(np.float16)
    hdf5.write_array(tmp_path / "a.h5", array, chunk_frames=8)
    loader = torch_loader.Loader(
        [tmp_path / "a.h5"], lambda step: np.array([[[0, step], [0, 2 * step]]]), 4, workers=1)
    for steps in (range(0, 3), range(3, 4)):
        for step, batch in zip(steps, loader.batches(steps.start, steps.stop), strict=True):
            wanted = np.stack([array[0, step:step + 4], array[1, 2 * step:2 * step + 4]])[None]
            np.testing.assert_array_equal(batch, wanted)


def test_bss_eval_is_compared_with_museval(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    bss_eval.compare(stems=2, channels=1, rate=4000, seconds=2, repeats=1, output=str(output))
    ours, museval = lines_of(output)
    assert (ours["who"], museval["who"]) == ("stemsep", "museval") and "museval" in ours["versions"]
    assert ours["max_difference_db"] < 1e-3
    assert museval["peer"] == "museval" and "ratio" not in ours
    assert museval["ratio"] == pytest.approx(museval["median_s"] / ours["median_s"])


def test_transforms_agree_and_are_compared(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    stft.compare(0.5, 2, 256, 64, repeats=1, output=str(output))
    lines = lines_of(output)
    who = ["stemsep", "stemsep_jitted", "librosa", "scipy", *["torch"] * HAS_TORCH]
    assert [(line["direction"], line["who"]) for line in lines] == [
        (direction, name) for direction in ("analyse", "synthesise") for name in who]
    assert all(("ratio" in line) == ("ratio_of_jitted" in line) == (line["who"] in who[2:])
               for line in lines)


def test_a_transform_that_differs_is_noticed() -> None:
    wave = np.random.default_rng(0).normal(size=(1, 1000)).astype(np.float32)
    transform = stft.Stft(44100, 64, 16)
    right = stft.ours(transform, wave)
    spec = right[0]()
    with pytest.raises(RuntimeError, match="scipy: its spectrogram differs"):
        stft.check({"stemsep": spec, "scipy": spec.swapaxes(1, 2)},
                   {"stemsep": right, "scipy": right}, transform, wave)


def test_layouts_are_compared(demo: Config, tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    store_layout.compare(demo, tracks=1, steps=1, repeats=1, output=str(output))
    lines = lines_of(output)
    assert len(lines) == len(set(store_layout.LAYOUTS)) == len(store_layout.LAYOUTS)
    sizes = {line["codec"]: line["size_of_raw"] for line in lines if line["chunk_frames"] == 32}
    assert sizes["none"] > sizes["zstd 3"] > 0


def test_switches_are_trained_and_timed_beside_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ("as it is", "accumulate 4", "loss si_sdr", "muon")
    monkeypatch.setattr(switches, "VARIATIONS",
                        {name: switches.VARIATIONS[name] for name in chosen})
    config = switches.changed(long_run.tiny(tmp_path, 20), {"train.batch": 4})
    output = tmp_path / "results.jsonl"
    switches.compare(config, steps=3, repeats=2, output=str(output))
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["variation"] for line in lines] == list(chosen)
    assert all(line["step_s_per_base_s"] > 0 and line["loss_last"] != line["loss_first"]
               for line in lines)
    assert lines[0]["loss_first"] == pytest.approx(lines[3]["loss_first"], rel=1e-5)


def test_every_switch_is_a_configuration(tmp_path: Path) -> None:
    """Beside it, every loss and every optimiser is among them."""
    config = switches.changed(long_run.tiny(tmp_path, 20),
                              {"train.batch": 4, "data.window_frames": 160})
    for changes in switches.VARIATIONS.values():
        switches.changed(config, changes)
    losses = {name for changes in switches.VARIATIONS.values()
              for name in changes.get("loss.terms", {})}
    assert losses == set(checks.LOSSES)
    assert {changes.get("optim.name", "adamw") for changes in switches.VARIATIONS.values()} == set(
        checks.CHOICES["optim.name"])


@pytest.mark.slow
def test_a_long_run_takes_no_more_memory_and_leaves_few_checkpoints(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    subprocess.run([sys.executable, "-m", "benchmarks.long_run", "--steps=8000",
                    f"--output={output}"], check=True, capture_output=True, timeout=300)
    line = json.loads(output.read_text())
    assert line["growth"] < 0.02, line["memory_bytes"]
    assert len(line["memory_bytes"]) == 20 and 0 <= line["input_wait"] <= 1
    assert line["checkpoints_kept"][-2:] == [7600, 8000] and len(line["checkpoints_kept"]) <= 3
