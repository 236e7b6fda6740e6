"""The collectives of a compiled step, counted in its HLO text, and what they cost on paper.

A ring all-reduce of n devices moves 2(n − 1)/n of the bytes over each link (Patarasuk & Yuan 2009,
"Bandwidth optimal all-reduce algorithms for clusters of workstations"), so it takes

    2(n − 1)/n · bytes / bandwidth        seconds,

beside which each collective takes its latency, however little it moves. Batch norm over all devices
has four of them a layer that no work can hide, so for few windows a device latency is what costs.
The efficiency of data-parallel training is

    step / (step + collectives · latency + 2(n − 1)/n · bytes / bandwidth)

when nothing overlaps, the worst, and step / max(step, 2(n − 1)/n · bytes / bandwidth) when all of
it does, the best. The latency is assumed, and told with the numbers.

Bandwidths are those of one device in one direction, in bytes a second, by the makers' public pages:
an H100 SXM has 18 NVLinks of 50 GB/s both ways together, 900 GB/s, hence 450 GB/s in one direction
(nvidia.com/en-us/data-center/h100, the data sheet); a TPU v5e chip 1600 Gbit/s over four links
(cloud.google.com/tpu/docs/v5e), of which a ring through a 4×4 slice uses one in a direction: 50
GB/s.
"""

import math
import re
from dataclasses import dataclass

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute",
         "collective-broadcast", "ragged-all-to-all")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2, "s32": 4, "u32": 4,
          "f32": 4, "s64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16}
# "%name = (f32[3]{0}, f32[]) all-reduce(...)"; what begins asynchronously has its end elsewhere.
_LINE = re.compile(
    r"^\s*(?:ROOT )?%?[\w.-]+ = (?P<shape>.+?) (?P<kind>" + "|".join(KINDS)
    + r")(?P<start>-start)?\((?P<operands>.*)$", re.MULTILINE)
_SHAPE = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_REGION = re.compile(r"to_apply=%?([\w.-]+)")
_SOURCE = re.compile(r'op_name="([^"]*)"')


@dataclass(frozen=True)
class Collective:
    """One collective of a program: its kind, the bytes of its result on a device, the operation
    that it combines by ("add", or "" where it combines nothing), and where it comes from.
    """

    kind: str
    bytes: int
    combines: str
    source: str


def collectives(hlo: str) -> list[Collective]:
    """Return the collectives of a compiled program's text, `program.as_text()`; one in the body of
    a loop counts once.
    """
    found = []
    for match in _LINE.finditer(hlo):
        sizes, rest = _sizes(match["shape"]), match["operands"]
        if match["start"] and match["kind"] != "all-reduce":
            # What goes in stands before what comes out, and counters may follow.
            sizes = _sizes(match["shape"].partition("), (")[2]) or sizes[1:2]
        region, source = _REGION.search(rest), _SOURCE.search(rest)
        found.append(Collective(match["kind"], sum(sizes),
                                _combined(hlo, region[1]) if region else "",
                                source[1] if source else ""))
    return found


@dataclass(frozen=True)
class Machine:
    """Devices in a ring: how many, of which kind as `stemsep.parallel` names it, bytes a second
    from one to the next.
    """

    devices: int
    kind: str
    bytes_per_s: float

    def moved_bytes(self, size: float) -> float:
        """Return what each device sends for a ring all-reduce of so many bytes."""
        return 2 * (self.devices - 1) / self.devices * size

    def seconds(self, size: float) -> float:
        """Return the time of a ring all-reduce of so many bytes, but for its latency."""
        return self.moved_bytes(size) / self.bytes_per_s

    def efficiency(self, size: float, step_s: float, *, latency_s: float) -> dict[str, float]:
        """Return the predicted efficiency of weak scaling, without overlap and with all of it.

        latency_s: of all collectives of a step together.
        """
        sent_s = self.seconds(size)
        return {"efficiency_no_overlap": step_s / (step_s + latency_s + sent_s),
                "efficiency_overlapped": step_s / max(step_s, sent_s)}


MACHINES = {
    "8xH100 NVLink": Machine(8, "NVIDIA H100", 450e9),
    "v5e-16": Machine(16, "TPU v5e", 50e9),
}


def _sizes(shape: str) -> list[int]:
    """Return the bytes of each array of a shape's text."""
    return [_BYTES[kind] * math.prod(int(n) for n in dims.split(",") if n)
            for kind, dims in _SHAPE.findall(shape)]


def _combined(hlo: str, region: str) -> str:
    """Return the operation of a computation of two arguments, as "add"."""
    body = re.search(rf"^%?{re.escape(region)} .*?\{{$(.*?)^\}}", hlo, re.MULTILINE | re.DOTALL)
    root = body and re.search(r"ROOT .*? = \S+ (\w+)\(", body[1])
    return root[1] if root else ""
