"""What a source holds, and what is wrong with it: headers, levels, sums and twins of every song."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from stemsep import audio
from stemsep.audio import Clip
from stemsep.datasets.listing import Remarks
from stemsep.datasets.tracks import SPLITS, Track
from stemsep.errors import InputError

_BLOCK = 1 << 18            # samples read at once
_SILENT_DB = -80.0          # a file whose peak is below this is silent
_CLIPPED_RUN = 4            # so many samples in a row at full scale are no chance
_FULL_SCALE = 0.99996       # 32767 / 32768 and what is above
_OFFSET = 0.01              # a mean this far from zero is no music
_MIX_DIFFERS_DB = -40.0     # re the mixture; sums of 16-bit stems differ by about −90 dB
_LOSSY_DIFFERS_DB = -10.0   # of MP3, AAC, ..., where the mixture was encoded by itself
_EXACT = frozenset((".wav", ".flac", ".aif", ".aiff", ".aifc", ".au", ".caf", ".rf64", ".w64"))


@dataclass
class Look:
    """What one track holds.

    seconds: of its longest file. stems: those that have files. formats: (sample rate, channels) of
    its files. warnings: sentences. prints: file -> fingerprint of its samples; silence has none.
    """

    name: str
    split: str
    seconds: float = 0.0
    stems: tuple[str, ...] = ()
    formats: Counter = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
    prints: dict[str, str] = field(default_factory=dict)


def look(track: Track, *, listen: bool = True) -> Look:
    """Look at the files of a track, and listen to them if asked: memory does not grow with them.

    Raises InputError for a file that cannot be read.
    """
    files = [path for paths in track.stems.values() for path in paths]
    files += [track.mixture] if track.mixture else []
    heard = tuple(stem for stem, paths in track.stems.items() if paths)
    found = Look(track.name, track.split, stems=heard)
    infos = {path: audio.probe(path) for path in files}
    found.seconds = max(info.samples / info.sample_rate for info in infos.values())
    found.formats.update((info.sample_rate, info.channels) for info in infos.values())
    for what in ("sample_rate", "channels", "samples"):
        values = sorted({getattr(info, what) for info in infos.values()})
        if len(values) > 1:
            found.warnings.append(f"its files differ in {what.replace('_', ' ')}: "
                                  f"{', '.join(map(str, values))}")
            break       # at another rate a file has other lengths too
    if listen:
        for path, name in _names(files).items():
            _listen(path, name, found)
        if track.mixture and len(set(infos.values())) == 1:
            _compare(track, found)
    return found


def _names(files: Sequence[Clip]) -> dict[Clip, str]:
    """Return what to call each file: its name, with its folder where several have that name."""
    same = Counter(file.name for file in files)
    return {file: file.name if same[file.name] == 1 else f"{file.path.parent.name}/{file.name}"
            for file in files}


def _listen(path: Clip, name: str, found: Look) -> None:
    """Find silence, clipping and a constant offset in a file, and take its fingerprint."""
    peak, clipped, digest = 0.0, 0, hashlib.blake2b(digest_size=16)
    total, samples, before_CN = 0.0, 0, np.zeros((1, _CLIPPED_RUN), bool)
    for block_CN in audio.blocks(path, _BLOCK):
        size_CN = np.abs(block_CN)
        peak = max(peak, float(size_CN.max()))
        total, samples = total + float(block_CN.sum(dtype=np.float64)), samples + block_CN.size
        digest.update(block_CN.T.tobytes())
        if peak >= _FULL_SCALE:
            before_CN = np.broadcast_to(before_CN, (len(size_CN), _CLIPPED_RUN))
            full_CN = np.concatenate([before_CN, size_CN >= _FULL_SCALE], 1)
            clipped += _clipped(full_CN)
            before_CN = full_CN[:, -_CLIPPED_RUN:]
    if peak < 10 ** (_SILENT_DB / 20):
        found.warnings.append(f"{name} is silent")
        return
    found.prints[name] = digest.hexdigest()
    if abs(total / samples) > _OFFSET:
        found.warnings.append(f"{name} has a constant offset of {total / samples:.3f}")
    if clipped:
        found.warnings.append(f"{name} is clipped in {clipped} place{'s' * (clipped > 1)}")


def _clipped(full_CN: np.ndarray) -> int:
    """Count where runs at full scale reach _CLIPPED_RUN samples; the first so many columns are the
    end of what came before.
    """
    windows = np.lib.stride_tricks.sliding_window_view(full_CN, _CLIPPED_RUN + 1, axis=1)
    return int((windows[..., 1:].all(-1) & ~windows[..., 0]).sum())


def _compare(track: Track, found: Look) -> None:
    """Warn where the stems do not add up to the mixture; all files are of one format."""
    assert track.mixture is not None
    stems = [audio.blocks(path, _BLOCK) for paths in track.stems.values() for path in paths]
    mixture_power = error_power = 0.0
    for mix_CN, *stems_CN in zip(audio.blocks(track.mixture, _BLOCK), *stems):
        mixture_power += float(np.square(mix_CN, dtype=np.float64).sum())
        error_power += float(np.square(mix_CN - sum(stems_CN), dtype=np.float64).sum())
    error_db = 10 * np.log10((error_power + 1e-12) / (mixture_power + 1e-12))
    exact = track.mixture.path.suffix.lower() in _EXACT
    if error_db > (_MIX_DIFFERS_DB if exact else _LOSSY_DIFFERS_DB):
        found.warnings.append(f"{track.mixture.name} differs from the sum of the stems by "
                              f"{error_db:.0f} dB of its level")


def twins(looks: Iterable[Look]) -> list[str]:
    """Return a sentence for all audio that is in several tracks: across splits it spoils scores."""
    places = defaultdict(list)
    for found in looks:
        for file, fingerprint in found.prints.items():
            places[fingerprint].append((found.split, f"{found.split}/{found.name}/{file}"))
    sentences = []
    for same in places.values():
        if len({name.rsplit("/", 1)[0] for _, name in same}) > 1:
            splits = len({split for split, _ in same}) > 1
            sentences.append(f"the same audio{' in several splits' if splits else ''}: "
                             + ", ".join(name for _, name in same))
    return sorted(sentences)


def summary(source: str, looks: Sequence[Look], faults: dict[str, InputError],
            remarks: Remarks) -> str:
    """Return what was found as lines of text."""
    lines = [source, f"  {'split':<12}{'tracks':>8}{'hours':>9}"]
    for split in SPLITS:
        own = [found for found in looks if found.split == split]
        if own:
            hours = sum(found.seconds for found in own) / 3600
            lines.append(f"  {split:<12}{len(own):>8}{hours:>9.2f}")
    stems = Counter(stem for found in looks for stem in found.stems)
    formats: Counter = sum((found.formats for found in looks), Counter())
    if looks:
        lines.append("stems, in so many tracks: " + ", ".join(
            f"{stem} {count}" for stem, count in stems.most_common()))
        lines.append("files: " + ", ".join(
            f"{count} of {rate} Hz and {channels} channel{'s' * (channels != 1)}"
            for (rate, channels), count in formats.most_common()))
    else:
        lines = [source, "no song that can be used"]
    lines += [f"left out: {sentence}" for sentence in remarks.left_out]
    lines += [f"left out: {name}: {why}" for name, why in sorted(faults.items())]
    lines += [f"warning: {sentence}" for sentence in remarks.warnings]
    lines += [f"warning: {sentence}" for sentence in _mixed(formats)]
    lines += [f"warning: {found.split}/{found.name}: {sentence}"
              for found in looks for sentence in found.warnings]
    lines += [f"warning: {sentence}" for sentence in twins(looks)]
    return "\n".join(lines)


def _mixed(formats: Counter) -> list[str]:
    """Return a sentence where not all files of a source have the same rate, or channels."""
    sentences = []
    for what, place in (("sample rate", 0), ("number of channels", 1)):
        counts: Counter = Counter()
        for form, count in formats.items():
            counts[form[place]] += count
        if len(counts) > 1:
            sentences.append(f"not all files have the same {what}: " + ", ".join(
                f"{value} in {count}" for value, count in counts.most_common()))
    return sentences
