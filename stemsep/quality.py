"""The choices of separation that trade time for better stems."""

from dataclasses import dataclass

from stemsep.errors import InputError

HIGHS = ("masks", "rest")


@dataclass(frozen=True)
class Quality:
    """What may better the stems beyond the network's estimate, for more time.

    overlap, batch: replace those of config.separate; a batch of 0 is as many windows as devices
    have memory for. shifts: passes over the song, each with its windows elsewhere, whose stems are
    averaged. wiener: iterations of the multichannel Wiener filter over each window. highs: what is
    above the band that the network was trained on goes the way of the highest bins that it knows
    ("masks"), or all to the stem that is the rest ("rest").
    """

    overlap: float | None = None
    batch: int | None = None
    shifts: int = 1
    wiener: int = 0
    highs: str = "masks"

    def check(self) -> "Quality":
        """Raise InputError for what is out of range; returns itself."""
        if self.overlap is not None and not 0 <= self.overlap <= 0.95:
            raise InputError(f"overlap is {self.overlap}; it is a share of a window, from 0 to "
                             "0.95")
        if self.batch is not None and self.batch < 0:
            raise InputError(f"batch is {self.batch}; it is how many windows are separated at "
                             "once, 0 for as many as fit")
        if not 1 <= self.shifts <= 32:
            raise InputError(f"shifts is {self.shifts}; it is how many passes are averaged, from 1 "
                             "to 32")
        if not 0 <= self.wiener <= 10:
            raise InputError(f"wiener is {self.wiener}; it is how many iterations are made, from 0 "
                             "to 10")
        if self.highs not in HIGHS:
            raise InputError(f"highs is {self.highs!r}; choices: {', '.join(HIGHS)}")
        return self
