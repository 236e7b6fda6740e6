"""Time one train step (forward, L1 loss, gradient, AdamW) of our networks, beside other frameworks.

    python -m benchmarks.train_step --peers torch_channels_last,keras --output results.jsonl

Every contestant's timing is one line of JSON; each runs in a process of its own, all in turns.
Shapes are batch × frames × bins × channels. With --inference it is the network's output alone. The
peers: `plain_xla`, our network of the textbook's operators without compiler flags; `torch`, eager;
`torch_channels_last`, the same in the memory format that suits it; `torch_compile` and `torch_amp`
(bfloat16), that compiled or under autocast; `torch_compile_amp`, both; `keras` with tf.function.
TFLOP/s count the multiplications and additions of the network, whoever does them.
"""

import importlib.util
import os
from typing import Any, Callable

import jax
import jax.numpy as jnp
import optax
from absl import flags

from benchmarks import timer
from benchmarks.contestants import SHARED, Contestant, out_of_memory
from stemsep import command, flops, models, parallel
from stemsep.config import AudioConfig, ModelConfig
from stemsep.errors import InputError

PEERS = ("plain_xla", "torch", "torch_channels_last", "torch_compile", "torch_amp",
         "torch_compile_amp", "keras")
WIDTHS = {"unet": (32, 64, 128, 256, 512), "strided": (16, 32, 64, 128, 256)}
OUTPUTS = 2


def main(argv: list[str]) -> None:
    """Run the command."""
    command.no_arguments(argv)
    f = flags.FLAGS
    shapes = [parse_shape(shape) for shape in f.shapes]
    settings: dict[str, Any] = {
        "widths": tuple(map(int, f.widths)) or WIDTHS[f.model], "dtype": f.dtype,
        "repeats": f.repeats, "inference": f.inference, "output": f.output}
    os.environ.update(SHARED)       # this process looks at the devices only
    parallel.prepare()
    for shape in shapes:
        some = within_memory(f.model, shape, peers=parse_peers(f.peers), **settings)
        if not some and f.peers:
            within_memory(f.model, shape, peers=[], **settings)


def within_memory(name: str, shape: tuple[int, ...], **settings: Any) -> bool:
    """Compare as `compare` does; where memory ends, say so and return False."""
    try:
        compare(name, shape, **settings)
    except RuntimeError as problem:
        if not out_of_memory(problem):
            raise
        among = ", ".join(["stemsep", *settings["peers"]])
        print(f"{name} {shape} in {settings['dtype']}: memory ends with {among}: left out")
        return False
    return True


def compare(
    name: str, shape: tuple[int, ...], *, widths: tuple[int, ...], dtype: str, peers: list[str],
    repeats: int, inference: bool = False, output: str,
) -> None:
    """Time ours and the peers' step in turns; write a line each, and print the ratios."""
    config = ModelConfig(name=name, widths=widths, dtype=dtype)
    contestants = {"stemsep": Contestant(make_ours, config, shape, inference, False,
                                         environment=SHARED),
                   **make_peers(config, shape, peers, inference=inference)}
    try:
        leave_out_uncompiled(contestants)
        seconds = timer.take_turns(contestants, repeats=repeats)
        memory = {who: one.peak_memory_bytes() for who, one in contestants.items()}
    finally:
        for contestant in contestants.values():
            contestant.close()
    packages = {who.partition("_")[0] for who in peers} & {"torch", "keras"}
    facts = timer.machine("jax", "jaxlib", "flax", *sorted(packages))
    audio, count = AudioConfig(), contestants["stemsep"].facts["flops"]
    window_s = shape[0] * shape[1] * audio.hop / audio.sample_rate
    for who, taken in seconds.items():
        times, ratio = timer.summary(taken), timer.compared(seconds, who)
        used = contestants[who].facts.get("dtype", "float32")
        line = {
            "benchmark": "inference" if inference else "train_step", "who": who, **ratio,
            "model": name, "widths": widths, "shape_BTFC": shape, "dtype": used, **times,
            "audio_s_per_s": window_s / times["median_s"], "hop_samples": audio.hop,
            "sample_rate": audio.sample_rate, "peak_memory_bytes": memory[who],
            **timer.work(count, float(times["median_s"]), used), **facts,
        }
        if who == "plain_xla":
            line["xla_flags"] = ""
        if who == "stemsep":
            line["program_bytes"] = contestants[who].facts["program_bytes"]
        else:
            print(f"{name} {shape}: ours has {ratio['ratio']:.2f} of the speed of {who}")
        timer.write(output, line)


def parse_shape(text: str) -> tuple[int, ...]:
    """Return the sizes of "16x128x512x1", or raise InputError."""
    sizes = text.split("x")
    if len(sizes) != 4 or not all(size.isdigit() and int(size) for size in sizes):
        raise InputError(f"--shapes {text}: write batch x frames x bins x channels: 16x128x512x1")
    return tuple(map(int, sizes))


def parse_peers(names: list[str]) -> list[str]:
    """Return the names of peers, of which "all" is all, or raise InputError."""
    if unknown := sorted(set(names) - {*PEERS, "all"}):
        raise InputError(f"--peers {','.join(unknown)}: choose of all, {', '.join(PEERS)}")
    return list(PEERS) if "all" in names else names


def make_ours(config: ModelConfig, shape: tuple[int, ...], inference: bool, plain: bool,
              ) -> tuple[Callable[[], None], dict[str, Any]]:
    """Return a call that does one step, or one inference, and what is to be known of its program.

    plain: of the textbook's operators, and without our compiler flags.
    """
    if not plain:
        parallel.prepare()
    network = models.build(config, bins=shape[2], channels=shape[3], outputs=OUTPUTS)
    textbook = network.clone(fast=False)
    init_key, x_key = jax.random.split(jax.random.key(0))
    x_BTFC = jax.random.uniform(x_key, shape)
    variables = jax.jit(lambda: network.init(init_key, x_BTFC[:1], train=False))()
    make = make_inference if inference else make_step
    step, state = make(textbook if plain else network, variables, x_BTFC)
    program = jax.jit(step, donate_argnums=0).lower(state).compile()
    counted, _ = make(textbook, variables, x_BTFC)
    return timer.waiting(program, state, kept=not (plain or inference)), {
        "program_bytes": timer.program_bytes(program), "dtype": config.dtype,
        "flops": flops.count(counted, variables if inference else state),
        "peak": timer.peak_memory_bytes}


def make_step(network: Any, variables: Any, x_BTFC: jax.Array) -> tuple[Callable, Any]:
    """Return step(state) -> (state, loss) and the first state."""
    optimiser = optax.adamw(1e-3, weight_decay=1e-6)
    y_key, drop_key = jax.random.split(jax.random.key(1))
    y_BTFK = jax.random.uniform(y_key, (*x_BTFC.shape[:3], OUTPUTS))

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
    return step, (params, variables["batch_stats"], optimiser.init(params), drop_key)


def make_inference(network: Any, variables: Any, x_BTFC: jax.Array) -> tuple[Callable, Any]:
    """Return step(state) -> (state, output); its state is the parameters, which stay as they are,
    and as in separation what the operators make of them alone.
    """
    def step(state: Any) -> Any:
        return state, models.infer(network, state, x_BTFC)

    return step, models.prepare(network, variables)


def make_peers(
    config: ModelConfig, shape: tuple[int, ...], peers: list[str], *, inference: bool
) -> dict[str, Contestant]:
    """Return the peers that are installed, getting ready; say which are not."""
    found = {}
    threads = len(os.sched_getaffinity(0))
    for peer in peers:
        package, _, variant = peer.partition("_")
        if peer == "plain_xla":
            found[peer] = Contestant(make_ours, config, shape, inference, True,
                                     environment={**SHARED, "XLA_FLAGS": ""})
            continue
        needed = {"torch": "torch", "keras": "tensorflow"}[package]
        if importlib.util.find_spec(needed) is None or importlib.util.find_spec(package) is None:
            print(f"{peer}: {needed} is not installed: left out")
            continue
        found[peer] = Contestant(make_peer, package, variant, config, shape, inference, threads,
                                 environment=SHARED)
    return found


def leave_out_uncompiled(contestants: dict[str, Contestant]) -> None:
    """Wait until all are ready; those of which a compiler is missing go, with a word."""
    for who, contestant in list(contestants.items()):
        try:
            contestant.facts
        except RuntimeError as problem:
            if "_compile" not in who or out_of_memory(problem):
                raise
            words = str(problem).strip().splitlines()[-1]
            print(f"{who} needs a compiler that is not here: left out ({words})")
            contestants.pop(who).close()


def make_peer(package: str, variant: str, config: ModelConfig, shape: tuple[int, ...],
              inference: bool, threads: int) -> tuple[Callable[[], None], dict[str, Any]]:
    """Return a call that does one step of a peer, and what is to be known of it."""
    layers: dict[str, Any] = {"outputs": OUTPUTS, "widths": config.widths,
                              "dropout": config.dropout, "threads": threads,
                              "inference": inference}
    if package == "keras":
        from benchmarks.peers import keras_unet  # only now: its framework may be missing

        return keras_unet.make_step(config.name, shape, **layers)
    from benchmarks.peers import torch_unet

    return torch_unet.make_step(config.name, shape, variant=variant, **layers)


def define_flags() -> None:
    """Define the command's flags."""
    flags.DEFINE_list("peers", [], f"what to compare with: all, or {', '.join(PEERS)}")
    flags.DEFINE_bool("inference", False, "the network's output alone, in place of a step")
    flags.DEFINE_enum("model", "strided", sorted(WIDTHS), "the network")
    flags.DEFINE_list("widths", [], "channels of its levels; empty: the usual ones")
    flags.DEFINE_list("shapes", ["16x128x512x1"], "batch x frames x bins x channels")
    flags.DEFINE_string("dtype", "float32", "of our computation")
    flags.DEFINE_integer("repeats", 10, "rounds of timing", lower_bound=1)
    flags.DEFINE_string("output", "", "file of JSON lines to append to")


if __name__ == "__main__":
    define_flags()
    command.run(main)
