"""The flags of separation, which several commands share."""

import sys

from absl import flags

from stemsep.outputs import CLIPS, NAMES, Form
from stemsep.quality import HIGHS, Quality


def define_quality() -> None:
    """Define the flags of `quality`, which other commands have too."""
    flags.DEFINE_float(
        "overlap", None, "share of a window that the next one covers again; default: the model's")
    flags.DEFINE_integer(
        "batch", None, "windows at once: more take memory; 0: as many as that of a GPU or TPU has "
        "room for, up to 64 (8 on a CPU); default: the model's")
    flags.DEFINE_integer(
        "shifts", 1, "passes over a song, its windows elsewhere in each; their stems are averaged")
    flags.DEFINE_integer(
        "wiener", 0, "iterations of the multichannel Wiener filter on the stems")
    flags.DEFINE_enum(
        "highs", "masks", HIGHS, "above the band of training: as the highest bins known, or all to "
        "the stem that is the rest")
    _shown("overlap", "batch", "shifts", "wiener", "highs")


def _shown(*names: str) -> None:
    """Have --help of the command show these flags, which a module of its own defines."""
    for name in names:
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])


def quality() -> Quality:
    """Return what the flags of `define_quality` say, checked."""
    f = flags.FLAGS
    return Quality(overlap=f.overlap, batch=f.batch, shifts=f.shifts, wiener=f.wiener,
                   highs=f.highs).check()


def define_form() -> None:
    """Define the flags of `form`."""
    flags.DEFINE_string(
        "names", NAMES, "path of each file below OUTPUT; its suffix is the format: .wav, .flac, "
        ".ogg (Vorbis), .opus or .mp3")
    flags.DEFINE_list("stems", [], "stems that are written; default: all")
    flags.DEFINE_list("mix", [], "sums to write beside the stems, as drums+bass,vocals+drums")
    flags.DEFINE_bool(
        "residual", False, "the last stem is what the others leave of the mixture: all sum to it")
    flags.DEFINE_enum(
        "bits", None, ["16", "24", "32"], "of a sample; default: 32 of WAV (float, which never "
        "clips), 24 of FLAC")
    flags.DEFINE_float("quality", 0.8, "of .ogg, .opus and .mp3, 0 to 1")
    flags.DEFINE_enum(
        "clip", None, CLIPS, "what becomes of stems beyond full scale: all of a song quieter, cut "
        "off, or kept (float only); default: kept in float, else quieter")
    _shown("names", "stems", "mix", "residual", "bits", "quality", "clip")


def form() -> Form:
    """Return what the flags of `define_form` say."""
    f = flags.FLAGS
    return Form(
        names=f.names, stems=tuple(f.stems), residual=f.residual, quality=f.quality, clip=f.clip,
        mixes=tuple(tuple(mix.split("+")) for mix in f.mix), bits=int(f.bits) if f.bits else None)
