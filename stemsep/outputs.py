"""What is written of a separated song: which stems and mixes, under which names, in which format,
and what becomes of samples beyond full scale.
"""

import math
import string
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from stemsep.errors import InputError
from stemsep.section import unknown
from stemsep.writer import FORMATS, Writer, check_bits, format_of, refusal

CLIPS = ("rescale", "clamp", "keep")
NAMES = "{name}/{stem}.wav"


@dataclass(frozen=True)
class Form:
    """How a song's stems are written.

    names: the path of each file, with the fields {name} (of the song, with its subfolders) and
    {stem}; its suffix is the format. stems: which are written; none: all. mixes: stems that are
    added to one file, as ("drums", "bass"), which is called drums+bass. residual: the last stem is
    what the others leave of the mixture. bits: of a sample; None is the most that the format has.
    quality: of a lossy format, 0 to 1. clip: what becomes of a song whose stems go beyond full
    scale: "rescale" makes all its files quieter alike, "clamp" cuts samples off, "keep" leaves them
    as they are, which only float can. None: "keep" where the file is float, else "rescale".
    """

    names: str = NAMES
    stems: tuple[str, ...] = ()
    mixes: tuple[tuple[str, ...], ...] = ()
    residual: bool = False
    bits: int | None = None
    quality: float = 0.8
    clip: str | None = None

    def check(self, stems: Sequence[str], *, alone: bool = False) -> "Form":
        """Raise InputError where a model of these stems cannot be written so; returns itself.

        alone: of one song, whose files need not have its name.
        """
        for name in {*self.stems, *(stem for mix in self.mixes for stem in mix)}:
            if name not in stems:
                raise InputError(unknown("this model has no stem", name, stems))
        check_names(self.names, ("stem",) if alone else ("name", "stem"))
        if self.bits is not None:
            check_bits(self.names, self.bits)
        if not 0 <= self.quality <= 1:
            raise InputError(f"--quality is {self.quality}; it goes from 0 to 1")
        if self.clip not in (None, *CLIPS):
            raise InputError(unknown("--clip has no choice", str(self.clip), CLIPS))
        if self.clip == "keep" and not self.unlimited:
            raise InputError(f"--clip=keep needs samples that go beyond full scale, and "
                             f"{self.names} holds none; write .wav with 32 bits, or leave it out")
        return self

    @property
    def unlimited(self) -> bool:
        """Whether files can go beyond full scale."""
        return format_of(self.names).name == "WAV" and self.bits in (None, 32)

    @property
    def rescales(self) -> bool:
        """Whether a song that goes beyond full scale is made quieter."""
        return not self.unlimited and self.clip in (None, "rescale")

    @property
    def grid(self) -> float:
        """The step of a sample of whole numbers, 0 of other ones."""
        form = format_of(self.names)
        bits = next(iter(form.subtypes)) if self.bits is None else self.bits
        return 2.0 ** (1 - bits) if bits in (16, 24) else 0.0

    def clipping(self, peak: float) -> str:
        """Return what was done about a song whose files peak so, or nothing if nothing was."""
        if peak <= 1 or self.unlimited:
            return ""
        over = f"its stems go {20 * np.log10(peak):.2f} dB beyond full scale"
        if self.clip == "clamp":
            return f"{over} and were cut off there; --clip=rescale makes them quieter instead"
        return f"{over}; all of them were made so much quieter; .wav with 32 bits keeps them"

    def files(self, name: str, stems: Sequence[str]) -> dict[str, str]:
        """Return the file of each stem and mix of a song, below the folder of the outputs."""
        return {label: self.names.format(name=name, stem=label) for label in self._parts(stems)}

    def weights(self, stems: Sequence[str]) -> np.ndarray:
        """Return which stems make up each file, float32 [files, stems]."""
        parts = self._parts(stems).values()
        return np.array([[stem in part for stem in stems] for part in parts], np.float32)

    def _parts(self, stems: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the stems of each file by its label: what is asked for twice is one file."""
        return {**{stem: (stem,) for stem in self.stems or stems},
                **{"+".join(mix): mix for mix in self.mixes}}


def check_names(names: str, needed: Sequence[str] = ("name", "stem")) -> None:
    """Raise InputError for a template under which files would meet, or that is none."""
    try:
        parsed = [part for part in string.Formatter().parse(names) if part[1] is not None]
    except ValueError as error:
        raise InputError(f"--names {names}: {error}; write it as {NAMES!r}") from error
    if any(spec or conversion for _, _, spec, conversion in parsed):
        raise InputError(f"--names {names}: has fields with ':' or '!'; write it as {NAMES!r}")
    if (suffix := Path(names).suffix.lower()) not in FORMATS:
        raise InputError(unknown(f"--names {names}: there is no format", suffix, FORMATS))
    fields = [str(field) for _, field, _, _ in parsed]
    for field in fields:
        if field not in ("name", "stem"):
            raise InputError(unknown(f"--names {names}: there is no field", field,
                                     ("name", "stem")))
    for field in needed:
        if field not in fields:
            raise InputError(f"--names {names}: lacks {{{field}}}, so files would overwrite each "
                             f"other; write it as {NAMES!r}")
    if Path(names).is_absolute() or ".." in Path(names).parts:
        raise InputError(f"--names {names}: leaves the folder of the outputs; give that as "
                         "--output")


def write_song(
    stems: Iterator[np.ndarray], files: Sequence[Path], weights: np.ndarray, form: Form, *,
    sample_rate: int, channels: int, samples: int, tags: Mapping[str, str],
    progress: Callable[[int], Any] = lambda samples: None,
) -> float:
    """Write the stems of a song, blocks float32 [S, channels, n], to its files.

    weights: which stems make up each file, [files, S]. The files appear under their names when all
    are complete. Returns the peak of all of them, 1 at full scale. Raises as `Writer`.
    """
    with ExitStack() as stack:
        # Of what must fit, the peak is known at the end: until then it is kept as it is.
        held = None
        if form.rescales:
            held = stack.enter_context(_Held(files[0].parent, len(files), channels))
        writers = [stack.enter_context(Writer(
            path, sample_rate, channels, bits=form.bits, samples=samples, quality=form.quality,
            tags=tags)) for path in files]
        peak = 0.0
        for stems_SCN in stems:
            # As they are where each file is one stem: a product would round.
            waves_OCN = stems_SCN if _plain(weights) else np.einsum(
                "os,scn->ocn", weights, stems_SCN)
            peak = max(float(np.abs(waves_OCN).max()), peak)
            if not math.isfinite(peak):
                raise InputError(f"{files[0]}: the network gave what is not a number; the song may "
                                 "be far too loud, or the checkpoint no good")
            if held is not None:
                held.append(waves_OCN)
            else:
                _write(writers, waves_OCN, clamp=not form.unlimited)
            progress(stems_SCN.shape[-1])
        if held is not None:
            for waves_OCN in held.again():
                _write(writers, waves_OCN if peak <= 1 else waves_OCN / np.float32(peak),
                       clamp=True)
        for writer in writers:      # a disk that fills up now leaves no stem without the others
            writer.close()
    return peak


def _plain(weights: np.ndarray) -> bool:
    return weights.shape[0] == weights.shape[1] and bool((weights == np.eye(len(weights))).all())


def _write(writers: Sequence[Writer], waves_OCN: np.ndarray, *, clamp: bool) -> None:
    for writer, wave_CN in zip(writers, waves_OCN):
        # A lossy encoder is to be given nothing that a player would cut.
        writer.write(wave_CN.clip(-1, 1) if clamp and writer.format.lossy else wave_CN)


class _Held:
    """Waves [O, C, n] that are written again later, in a file that has no name: whatever ends the
    process leaves nothing behind.
    """

    _BLOCK = 1 << 16        # samples a channel

    def __init__(self, folder: Path, outputs: int, channels: int) -> None:
        self._shape = outputs, channels
        self._folder = folder
        self._file: BinaryIO

    def __enter__(self) -> "_Held":
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self._folder)
        except OSError as error:
            raise refusal(self._folder, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._file.close()
        except OSError:
            pass        # what a full disk did not take was told already, or is not needed any more

    def append(self, waves_OCN: np.ndarray) -> None:
        try:
            self._file.write(np.moveaxis(waves_OCN, -1, 0).astype(np.float32).tobytes())
        except OSError as error:
            raise refusal(self._folder, error) from error

    def again(self) -> Iterator[np.ndarray]:
        """Yield all of it, in blocks."""
        try:
            self._file.seek(0)      # which writes what is still in memory
        except OSError as error:
            raise refusal(self._folder, error) from error
        row = int(np.prod(self._shape)) * 4
        while data := self._file.read(self._BLOCK * row):
            yield np.moveaxis(np.frombuffer(data, np.float32).reshape(-1, *self._shape), 0, -1)
