"""What a configuration must fulfil: the choices, the ranges, and the contradictions that are found
before any work starts.
"""

from typing import Any

from stemsep.errors import InputError
from stemsep.section import lookup, unknown

REST = "rest"  # in `data.targets`: everything that no other target names

CHOICES: dict[str, tuple[str, ...]] = {
    "parallel": ("pmap", "shard_map"),
    "audio.surround": ("refuse", "front", "downmix"),
    "data.engine": ("local", "spmd", "ray"),
    "model.name": ("unet", "strided", "tfc_tdf"),
    "model.norm": ("batch", "group"),
    "model.estimate": ("direct", "mask", "complex"),
    "model.consistency": ("none", "equal", "power"),
    "model.mask": ("sigmoid", "softmax"),
    "model.features": ("magnitude", "log", "whitened"),
    "model.dtype": ("float32", "bfloat16"),
    "loss.balance": ("energy", "equal", "dynamic"),
    "optim.name": ("adamw", "adam", "sgd", "lion", "muon"),
    "optim.schedule": ("cosine", "step", "constant", "plateau"),
    "train.nonfinite": ("stop", "skip"),
}
LOSSES = ("magnitude_l1", "complex_l1", "complex_mse", "complex_rms", "snr", "wave_l1", "l1_snr",
          "si_sdr", "multires")
DECIBELS = ("snr", "l1_snr", "si_sdr")  # losses that have no lowest value, 0 the least of all
WAVES = ("wave_l1", "l1_snr", "si_sdr", "multires")  # losses that need the inverse STFT
RANGES: dict[str, tuple[float, float]] = {
    "audio.sample_rate": (1000, 768000),
    "audio.channels": (1, 2),
    "audio.n_fft": (16, 65536),
    "audio.hop": (1, 32768),
    "data.demo.tracks": (1, 10**6),
    "data.demo.seconds": (1, 3600),
    "data.demo.channels": (1, 2),
    "data.window_frames": (2, 65536),
    "data.prefetch": (1, 1024),
    "data.prefetch_mb": (1, 10**9),
    "data.sounding": (0, 1),
    "data.workers": (0, 1024),
    "data.variation.copies": (0, 1000),
    "seed": (0, 2**31 - 1),
    "data.demo.seed": (0, 2**31 - 1),
    "data.variation.seed": (0, 2**31 - 1),
    "augment.remix": (0, 1),
    "augment.mixup": (0, 1),
    "augment.equalise_db": (0, 60),
    "augment.tilt_db": (0, 60),
    "augment.polarity": (0, 1),
    "augment.swap": (0, 1),
    "augment.mono": (0, 1),
    "augment.drop": (0, 1),
    "augment.mask_time": (0, 1),
    "augment.mask_frequency": (0, 1),
    "model.dropout": (0, 0.99),
    "model.norm_momentum": (0, 1),
    "model.blocks": (1, 100),
    "model.bottleneck": (1, 1000),
    "model.bins": (0, 32769),
    "model.power": (0.1, 1),
    "loss.power": (0.1, 1),
    "loss.balance_steps": (1, 10**9),
    "optim.lr": (0, 10),
    "optim.weight_decay": (0, 10),
    "optim.warmup_steps": (0, 10**9),
    "optim.momentum": (0, 0.9999),
    "optim.plateau_patience": (1, 10**6),
    "optim.plateau_factor": (0.01, 0.99),
    "optim.clip_norm": (0, 10**6),
    "optim.accumulate": (1, 10**4),
    "optim.ema_decay": (0, 0.999999),
    "train.steps": (0, 10**9),
    "train.batch": (1, 10**6),
    "train.save_every": (1, 10**9),
    "train.validate_every": (0, 10**9),
    "train.keep": (1, 1000),
    "train.validate_windows": (1, 10**6),
    "train.validate_songs": (0, 10**4),
    "train.validate_song_s": (0.1, 36000),
    "train.patience": (0, 10**6),
    "train.nonfinite_limit": (1, 10**6),
    "train.log_every": (1, 10**9),
    "log.song_s": (0, 3600),
    "separate.overlap": (0, 0.95),
    "separate.batch": (0, 10**5),
}


def check(config: Any) -> None:
    """Check the names, numbers and combinations of a `stemsep.config.Config` of right types.

    Raises InputError with one sentence that names the field and the choices.
    """
    if not config.name or "/" in config.name:
        raise InputError(f"config.name {config.name!r} names a folder; give a word without '/'")
    for path, known in CHOICES.items():
        value = lookup(config, path)
        if value not in known:
            raise InputError(unknown(f"config.{path} cannot be", value, known))
    for path, (low, high) in RANGES.items():
        value = lookup(config, path)
        if not low <= value <= high:
            raise InputError(f"config.{path} is {value}; it must lie between {low} and {high}")
    check_audio(config)
    check_variation(config)
    check_targets(config)
    check_highs(config)
    check_model(config)
    check_loss(config)
    check_optim(config)


def check_audio(config: Any) -> None:
    """Check the STFT, and what augmentation does to it."""
    audio = config.audio
    if audio.n_fft % 2 or audio.hop > audio.n_fft // 2:
        raise InputError(
            f"config.audio: n_fft {audio.n_fft} must be even and hop {audio.hop} at most half "
            "of it"
        )
    for name, limit in (("gain_db", 200), ("mixup_db", 200), ("width", 10)):
        check_range(getattr(config.augment, name), -limit, limit, f"config.augment.{name}")


def check_highs(config: Any) -> None:
    """Check the highs of stems that augmentation changes, after the targets."""
    for stem, decibels in config.augment.highs_db.items():
        if stem not in config.stems:
            raise InputError(unknown("config.augment.highs_db names stem", str(stem),
                                     config.stems))
        check_range(decibels, -60, 60, f"config.augment.highs_db: {stem!r}")


def check_range(ends: Any, least: float, most: float, field: str) -> None:
    """Check that something is a range of numbers within two limits."""
    numbers = isinstance(ends, (tuple, list)) and len(ends) == 2 and all(
        isinstance(end, (int, float)) and not isinstance(end, bool) for end in ends)
    if not numbers or not least <= ends[0] <= ends[1] <= most:
        shown = f"{ends[0]} to {ends[1]}" if numbers else repr(ends)
        raise InputError(f"{field}: {shown} is no range; give two numbers, the lower first, both "
                         f"within {least} and {most}")


def check_variation(config: Any) -> None:
    """Check the pitch and the tempo of the copies of tracks."""
    variation = config.data.variation
    for name, least, most in (("semitones", -12, 12), ("tempo", 0.5, 2)):
        check_range(getattr(variation, name), least, most, f"config.data.variation.{name}")
    if variation.copies and variation.semitones == (0, 0) and variation.tempo == (1, 1):
        raise InputError(
            "config.data.variation: with semitones 0 to 0 and tempo 1 to 1 all copies would be "
            "the same as their tracks; widen one, or set copies to 0"
        )


def check_targets(config: Any) -> None:
    """Check what is separated, and which tracks are seen how often."""
    targets = config.data.targets
    if not targets:
        raise InputError(
            "config.data.targets is empty; name at least one, as in {'drums': ['drums']}"
        )
    seen: dict[str, str] = {}
    for name, stems in targets.items():
        if not isinstance(name, str) or not name or any(c in name for c in "/\\\0"):
            raise InputError(
                f"config.data.targets: {name!r} cannot name a target (it names a file)"
            )
        if stems == REST:
            stems = [REST]
        if (
            not isinstance(stems, (list, tuple))
            or not stems
            or not all(isinstance(s, str) for s in stems)
        ):
            raise InputError(
                f"config.data.targets: {name!r} needs a list of stems or 'rest', not {stems!r}"
            )
        for stem in stems:
            if stem in seen:
                raise InputError(
                    f"config.data.targets: stem {stem!r} is in both {seen[stem]!r} and {name!r}"
                )
            if config.data.stems and stem != REST and stem not in config.data.stems:
                raise InputError(
                    unknown(f"config.data.targets: {name!r} names stem", stem, config.data.stems)
                )
            seen[stem] = name
    check_patterns(config.data.weights, "config.data.weights")


def check_patterns(numbers: dict, field: str) -> None:
    """Check numbers by patterns of names."""
    for pattern, value in numbers.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not isinstance(pattern, str) or not number or not 0 <= value < 1e6:
            raise InputError(f"{field}: {pattern!r}: {value!r} must be a pattern of names and a "
                             "number from 0 on")


def check_model(config: Any) -> None:
    """Check the network against what it sees and what its output means."""
    model = config.model
    if not model.widths or min(model.widths) < 1:
        raise InputError(
            f"config.model.widths {model.widths} must hold at least one width, each at least 1"
        )
    if model.bins > config.audio.n_fft // 2 + 1:
        raise InputError(
            f"config.model.bins is {model.bins}; n_fft {config.audio.n_fft} has only "
            f"{config.audio.n_fft // 2 + 1}"
        )
    seen = model.bins or config.audio.n_fft // 2 + 1
    if model.bands and (len(model.bands) != 2 or min(model.bands) < 1
                        or sum(model.bands) > seen):
        raise InputError(
            f"config.model.bands {model.bands} must be two numbers, of bins seen one by one "
            f"and of bands that share the rest, at least 1 each and together at most {seen}"
        )
    if model.bands and model.estimate == "direct":
        raise InputError(
            "config.model.bands needs config.model.estimate 'mask' or 'complex': a magnitude "
            "belongs to one bin"
        )
    if model.estimate == "direct" and model.features != "magnitude":
        raise InputError(
            f"config.model.features {model.features!r} hides how loud the mixture is, and "
            "config.model.estimate 'direct' answers with magnitudes; set the features to "
            "'magnitude', or the estimate to 'mask' or 'complex'"
        )
    covered = any(REST in stems for stems in config.data.targets.values())
    if model.estimate == "mask" and model.mask == "softmax" and not covered:
        raise InputError(
            "config.model.mask 'softmax' divides the whole mixture among the targets, and none "
            "of config.data.targets is 'rest'; add one, or use 'sigmoid'"
        )
    if model.consistency != "none" and not covered:
        raise InputError(
            f"config.model.consistency {model.consistency!r} makes the targets add up to the "
            "mixture, and none of config.data.targets is 'rest'; add one, or set it to 'none'"
        )


def check_loss(config: Any) -> None:
    """Check the losses, and the weights of the targets."""
    loss, audio = config.loss, config.audio
    for name, weight in loss.terms.items():
        if name not in LOSSES:
            raise InputError(unknown("config.loss.terms has no loss", name, LOSSES))
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not 0 < weight < 1e6:
            raise InputError(f"config.loss.terms: the weight of {name!r} is {weight!r}; it must be "
                             "a number above 0")
    if not loss.terms:
        raise InputError("config.loss.terms is empty; name a loss, as in {'complex_l1': 1.0}")
    samples = (config.data.window_frames + 1) * audio.hop - audio.n_fft
    needed = max(loss.resolutions, default=0) if "multires" in loss.terms else 1
    heard = [name for name in loss.terms if name in WAVES]
    if heard and samples < needed:
        raise InputError(
            f"config.loss.terms: {heard[0]!r} compares the {max(0, samples)} samples that all "
            f"frames of a window cover, and needs {needed}; set config.data.window_frames to "
            f"{-(-(needed + audio.n_fft) // audio.hop) - 1} or more")
    if any(size < 4 or size % 4 for size in loss.resolutions) or not loss.resolutions:
        raise InputError(f"config.loss.resolutions {loss.resolutions}: sizes are multiples of 4")
    if any(not 0 <= alpha < 1e6 for alpha in loss.alpha):
        raise InputError(f"config.loss.alpha {loss.alpha}: weights are numbers from 0 on")
    if loss.alpha and not any(loss.alpha):
        raise InputError(f"config.loss.alpha {loss.alpha}: no target counts; give one a weight")
    if loss.alpha and len(loss.alpha) != len(config.data.targets):
        raise InputError(f"config.loss.alpha has {len(loss.alpha)} weights for "
                         f"{len(config.data.targets)} targets")
    endless = [name for name in loss.terms if name in DECIBELS]
    if loss.balance == "dynamic" and endless:
        raise InputError(
            f"config.loss.balance 'dynamic' compares how fast losses fall towards 0, and "
            f"{endless[0]!r} falls without end; choose 'equal', or another loss")


def check_optim(config: Any) -> None:
    """Check the optimiser's numbers, and that a batch can be divided."""
    optim, batch = config.optim, config.train.batch
    check_patterns(optim.lr_factors, "config.optim.lr_factors")
    whole = -(-batch // optim.accumulate) * optim.accumulate
    if optim.betas and (len(optim.betas) != 2 or not all(0 <= b < 1 for b in optim.betas)):
        raise InputError(f"config.optim.betas {optim.betas} must be two numbers from 0 to below 1")
    if batch % optim.accumulate:
        raise InputError(
            f"config.train.batch is {batch}, which does not divide into config.optim.accumulate "
            f"{optim.accumulate} parts; set config.train.batch to {whole}"
        )
