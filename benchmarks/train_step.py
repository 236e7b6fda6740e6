"""Time one train step (forward, L1 loss, gradient, AdamW) of our networks, beside other frameworks.

    python -m benchmarks.train_step --peers torch --output results.jsonl

Every contestant's timing is one line of JSON. Shapes are batch × frames × bins × channels.
"""

import importlib.util
import os
import statistics
from typing import Any, Callable

import jax
import jax.numpy as jnp
import optax
from absl import flags

from benchmarks import timer
from stemsep import command, models, parallel
from stemsep.config import AudioConfig, ModelConfig
from stemsep.errors import InputError

PEERS = ("torch",)
WIDTHS = {"unet": (32, 64, 128, 256, 512), "strided": (16, 32, 64, 128, 256)}
OUTPUTS = 2


def main(argv: list[str]) -> None:
    """Run the command."""
    command.no_arguments(argv)
    shapes = [parse_shape(shape) for shape in flags.FLAGS.shapes]
    parallel.prepare()
    for shape in shapes:
        compare(
            flags.FLAGS.model, shape,
            widths=tuple(map(int, flags.FLAGS.widths)) or WIDTHS[flags.FLAGS.model],
            dtype=flags.FLAGS.dtype, peers=flags.FLAGS.peers, repeats=flags.FLAGS.repeats,
            output=flags.FLAGS.output,
        )


def compare(
    name: str, shape: tuple[int, ...], *, widths: tuple[int, ...], dtype: str, peers: list[str],
    repeats: int, output: str,
) -> None:
    """Time ours and the peers' step in turns; write a line each, and print the ratios."""
    config = ModelConfig(name=name, widths=widths, dtype=dtype)
    ours, program_bytes = make_ours(config, shape)
    calls = {"stemsep": ours, **make_peers(config, shape, peers)}
    seconds = timer.take_turns(calls, repeats=repeats)
    facts = timer.machine("jax", "jaxlib", "flax", *(set(calls) & set(PEERS)))
    audio = AudioConfig()
    window_s = shape[0] * shape[1] * audio.hop / audio.sample_rate
    for who, taken in seconds.items():
        times = timer.summary(taken)
        line = {
            "benchmark": "train_step", "who": who, "model": name, "widths": widths,
            "shape_BTFC": shape, "dtype": dtype if who == "stemsep" else "float32", **times,
            "audio_s_per_s": window_s / times["median_s"], "hop_samples": audio.hop,
            "sample_rate": audio.sample_rate, "peak_memory_bytes": timer.peak_memory_bytes(),
            **facts,
        }
        if who == "stemsep":
            line["program_bytes"] = program_bytes
        else:
            line["peer_s_per_our_s"] = statistics.median(
                theirs / mine for theirs, mine in zip(taken, seconds["stemsep"], strict=True)
            )
            print(f"{name} {shape}: {who} takes {line['peer_s_per_our_s']:.2f} of our time")
        timer.write(output, line)


def parse_shape(text: str) -> tuple[int, ...]:
    """Return the sizes of "16x128x512x1", or raise InputError."""
    sizes = text.split("x")
    if len(sizes) != 4 or not all(size.isdigit() and int(size) for size in sizes):
        raise InputError(f"--shapes {text}: write batch x frames x bins x channels: 16x128x512x1")
    return tuple(map(int, sizes))


def make_ours(config: ModelConfig, shape: tuple[int, ...]) -> tuple[Callable[[], None], int]:
    """Return a call that does one step, and the memory of its program in bytes."""
    network = models.build(config, bins=shape[2], channels=shape[3], outputs=OUTPUTS)
    optimiser = optax.adamw(1e-3, weight_decay=1e-6)
    x_key, y_key, init_key, drop_key = jax.random.split(jax.random.key(0), 4)
    x_BTFC = jax.random.uniform(x_key, shape)
    y_BTFK = jax.random.uniform(y_key, (*shape[:3], OUTPUTS))
    variables = jax.jit(lambda: network.init(init_key, x_BTFC[:1], train=False))()

    def loss(params: Any, stats: Any, key: jax.Array) -> Any:
        y, new = network.apply(
            {"params": params, "batch_stats": stats}, x_BTFC, train=True,
            mutable=["batch_stats"], rngs={"dropout": key},
        )
        return jnp.abs(jax.nn.relu(y.astype(jnp.float32)) - y_BTFK).mean(), new["batch_stats"]

    def step(state: Any) -> Any:
        params, stats, memory, key = state
        key, now = jax.random.split(key)
        (value, stats), gradient = jax.value_and_grad(loss, has_aux=True)(params, stats, now)
        updates, memory = optimiser.update(gradient, memory, params)
        return (optax.apply_updates(params, updates), stats, memory, key), value

    params = variables["params"]
    state = params, variables["batch_stats"], optimiser.init(params), drop_key
    program = jax.jit(step, donate_argnums=0).lower(state).compile()
    return timer.waiting(program, state), timer.program_bytes(program)


def make_peers(
    config: ModelConfig, shape: tuple[int, ...], peers: list[str]
) -> dict[str, Callable[[], None]]:
    """Return the steps of the peers that are installed; say which are not."""
    calls = {}
    for peer in peers:
        if importlib.util.find_spec(peer) is None:
            print(f"{peer} is not installed: left out")
            continue
        from benchmarks.peers import torch_unet  # only now: its framework may be missing
        calls[peer] = torch_unet.make_train_step(
            config.name, shape, outputs=OUTPUTS, widths=config.widths, dropout=config.dropout,
            threads=len(os.sched_getaffinity(0)),
        )
    return calls


def define_flags() -> None:
    """Define the command's flags."""
    flags.DEFINE_multi_enum("peers", [], PEERS, "frameworks to compare with")
    flags.DEFINE_enum("model", "strided", sorted(WIDTHS), "the network")
    flags.DEFINE_list("widths", [], "channels of its levels; empty: the usual ones")
    flags.DEFINE_list("shapes", ["16x128x512x1"], "batch x frames x bins x channels")
    flags.DEFINE_string("dtype", "float32", "of our computation")
    flags.DEFINE_integer("repeats", 10, "rounds of timing", lower_bound=1)
    flags.DEFINE_string("output", "", "file of JSON lines to append to")


if __name__ == "__main__":
    define_flags()
    command.run(main)
