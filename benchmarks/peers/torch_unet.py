"""Both networks in PyTorch: the same layers, the same train step, as its users would write them."""

from typing import Any, Callable

import torch
from torch import nn
from torch.nn import functional


class Network(nn.Module):
    """What both have in common: sizes that cannot be halved often enough are padded, as ours are.
    """

    halvings: int

    def forward(self, x_BCTF: torch.Tensor) -> torch.Tensor:
        frames, bins = x_BCTF.shape[2:]
        multiple = 2 ** self.halvings
        missing = (0, -bins % multiple, 0, -frames % multiple)
        x = functional.pad(x_BCTF, missing) if any(missing) else x_BCTF
        return self.through(x)[:, :, :frames, :bins]

    def through(self, x: torch.Tensor) -> torch.Tensor:
        """Return the output for sizes that can be halved."""
        raise NotImplementedError


class UNet(Network):
    """Two 3×3 convolutions a level, max pooling down, 5×5 transposed convolutions up."""

    def __init__(self, *, channels: int, outputs: int, widths: tuple[int, ...], dropout: float):
        super().__init__()
        ways, self.halvings = [channels, *widths], len(widths) - 1
        self.down = nn.ModuleList(_convs(a, b) for a, b in zip(ways, ways[1:]))
        self.up, self.merge = nn.ModuleList(), nn.ModuleList()
        for below, width in zip(widths[:0:-1], widths[-2::-1]):
            self.up.append(nn.Sequential(_up(below, width), _norm(width), nn.ReLU()))
            self.merge.append(_convs(2 * width, width))
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Conv2d(widths[0], outputs, 1, bias=False)

    def through(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for level in self.down[:-1]:
            x = level(x)
            skips.append(x)
            x = functional.max_pool2d(x, 2)
        x = self.down[-1](x)
        for up, merge in zip(self.up, self.merge):
            x = merge(torch.cat([self.dropout(up(x)), skips.pop()], 1))
        return self.last(x)


class StridedUNet(Network):
    """5×5 convolutions of stride 2 down, transposed ones up."""

    def __init__(self, *, channels: int, outputs: int, widths: tuple[int, ...], dropout: float):
        super().__init__()
        ways, self.halvings = [channels, *widths], len(widths)
        self.down = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(a, b, 5, 2, 2, bias=False), _norm(b), nn.LeakyReLU(0.2)
            )
            for a, b in zip(ways, ways[1:])
        )
        self.up = nn.ModuleList()
        before = widths[-1]
        for level, width in enumerate(widths[-2::-1]):
            parts = [_up(before, width), _norm(width), nn.ReLU()]
            self.up.append(nn.Sequential(*parts, *[nn.Dropout(dropout)] * (level < 3)))
            before = 2 * width
        self.last = _up(before, outputs, bias=True)

    def through(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for level in self.down:
            x = level(x)
            skips.append(x)
        skips.pop()
        for up in self.up:
            x = torch.cat([up(x), skips.pop()], 1)
        return self.last(x)


def build(
    name: str, *, channels: int, outputs: int, widths: tuple[int, ...], dropout: float
) -> nn.Module:
    """Return the network that has the same layers as ours of this name."""
    network = {"unet": UNet, "strided": StridedUNet}[name]
    return network(channels=channels, outputs=outputs, widths=widths, dropout=dropout)


def make_step(
    name: str, shape: tuple[int, ...], *, outputs: int, widths: tuple[int, ...],
    dropout: float, threads: int, variant: str = "channels_last", inference: bool = False,
) -> tuple[Callable[[], None], dict[str, Any]]:
    """Return a call that does one train step, or one inference, and what is to be known of it.

    shape: batch, frames, bins, channels of the input. variant: "", eagerly in the format that
    PyTorch begins with; "channels_last", in the one that is fastest; and in that one "compile",
    "amp" (bfloat16) or "compile_amp".
    """
    batch, frames, bins, channels = shape
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = build(name, channels=channels, outputs=outputs, widths=widths, dropout=dropout)
    form: Any = {"device": device,
                 "memory_format": torch.channels_last if variant else torch.contiguous_format}
    network.to(**form).train(not inference)
    compiled = torch.compile(network) if "compile" in variant else network
    x_BCTF = torch.rand(batch, channels, frames, bins).to(**form)
    amp = torch.autocast(device, torch.bfloat16, enabled="amp" in variant)

    @torch.inference_mode()
    def infer() -> None:
        with amp:
            compiled(x_BCTF)
        _wait(device)

    call = infer
    if not inference:
        call = _train_step(
            network, compiled, x_BCTF, torch.rand(batch, outputs, frames, bins).to(**form), amp)
    call()          # a compiler that is missing shows here
    facts: dict[str, Any] = {"dtype": "bfloat16" if "amp" in variant else "float32"}
    if device == "cuda":
        facts["peak"] = torch.cuda.max_memory_allocated
    return call, facts


def _train_step(network: nn.Module, compiled: Any, x_BCTF: torch.Tensor, y_BKTF: torch.Tensor,
                amp: torch.autocast) -> Callable[[], None]:
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-6, fused=True)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with amp:
            loss = functional.l1_loss(functional.relu(compiled(x_BCTF)).float(), y_BKTF)
        loss.backward()
        optimiser.step()
        _wait(x_BCTF.device.type)

    return step


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _norm(width: int) -> nn.Module:
    return nn.BatchNorm2d(width, momentum=0.01)


def _up(inputs: int, outputs: int, *, bias: bool = False) -> nn.Module:
    return nn.ConvTranspose2d(inputs, outputs, 5, 2, 2, output_padding=1, bias=bias)


def _convs(inputs: int, outputs: int) -> nn.Module:
    parts: list[nn.Module] = []
    for before in (inputs, outputs):
        parts += [nn.Conv2d(before, outputs, 3, padding=1, bias=False), _norm(outputs), nn.ReLU()]
    return nn.Sequential(*parts)
