"""Which checkpoints of a run are the best, and which are kept."""

import dataclasses
from collections.abc import Sequence
from typing import Any


def best_of(scores: dict[int, dict[str, Any]]) -> int | None:
    """Return the best of some steps by the scores that they were saved with, or None without any.

    Of those that were validated on the songs that the newest was validated on: the highest "sdr"
    where the newest has one, else the lowest "loss"; of equal ones the newest. Where none was
    validated, the newest.
    """
    validated = {step: own for step, own in scores.items() if "loss" in own}
    if not validated:
        return max(scores, default=None)
    newest = validated[max(validated)]
    by_sdr = "sdr" in newest
    ranks = {
        step: own["sdr"] if by_sdr else -own["loss"] for step, own in validated.items()
        if own.get("songs") == newest.get("songs") and ("sdr" in own or not by_sdr)
    }
    return max(ranks, key=lambda step: (ranks[step], step))


@dataclasses.dataclass(frozen=True)
class NewestAndBest:
    """Which checkpoints Orbax keeps: the newest `keep`, and the best."""

    keep: int

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Return which of Orbax's checkpoints stay, as its `PreservationPolicy` asks."""
        scores = {known.step: known.metrics or {} for known in checkpoints}
        kept = {*sorted(scores)[-self.keep:], best_of(scores)}
        return [known.step in kept for known in checkpoints]
