"""The typed configuration: every setting, its type and its only default.

A file in configs/ is a delta (``c = Config(name="drums"); c.optim.lr = 4e-4; return c``); the
command line is a delta to that (``--config.optim.lr=3e-4``). `Config.check` finds contradictions
before any work starts and makes the configuration read-only. Imports no JAX.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from stemsep.errors import InputError
from stemsep.section import Section, build, check_types, lookup, unknown

REST = "rest"  # in `data.targets`: everything that no other target names

ESTIMATES = ("direct", "mask")
MASKS = ("sigmoid", "softmax")
FEATURES = ("magnitude", "log", "whitened")
MODELS = ("unet", "strided")
LOSSES = ("magnitude_l1", "complex_l1", "complex_rms")
BALANCES = ("energy", "equal")
OPTIMISERS = ("adamw", "adam")
SCHEDULES = ("cosine", "step", "constant")
MAPPINGS = ("pmap", "shard_map")
DTYPES = ("float32", "bfloat16")


@dataclass
class AudioConfig(Section):
    """The spectrogram that the network sees; lengths in samples."""

    sample_rate: int = 44100  # Hz that songs are resampled to for training
    channels: int = 1  # 1: stereo is averaged; 2: mono is doubled
    n_fft: int = 2048
    hop: int = 512


@dataclass
class DemoConfig(Section):
    """The songs that `demo:PATH` composes and renders when they are missing."""

    tracks: int = 24
    seconds: float = 20.0
    seed: int = 0
    channels: int = 1
    soundfonts: tuple[str, ...] = ()  # further .sf2/.sf3 files beside the default font


@dataclass
class DataConfig(Section):
    """The songs, what is separated from them, and how they are read."""

    source: str = "demo:data/demo"  # layout:path
    store: str = ""  # empty: data/stores/<name>
    # What the network separates: target -> the stems that make it up, or "rest".
    targets: dict = field(default_factory=lambda: {"drums": ["drums"], "accompaniment": REST})
    stems: tuple[str, ...] = ()  # stems kept apart in the store; empty: those that the targets name
    # YAML that groups stem files, a path or the text; empty: General MIDI instruments, file names.
    recipe: str = ""
    window_frames: int = 128
    prefetch: int = 4  # batches read ahead of the step
    workers: int = 0  # processes that preprocess; 0: one a core
    demo: DemoConfig = field(default_factory=DemoConfig)


@dataclass
class AugmentConfig(Section):
    """What varies a window on the device, for each stem by itself."""

    remix: float = 1.0  # share of windows whose targets are drawn each by itself, from any song
    gain_db: tuple[float, float] = (-8.0, 6.0)
    equalise_db: float = 0.0  # of a random equaliser a stem, up or down


@dataclass
class ModelConfig(Section):
    """The network, what it sees, and what its output means."""

    name: str = "unet"
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)  # channels a level; the last is the middle
    dropout: float = 0.4
    norm_momentum: float = 0.99  # of the running statistics of batch norm
    dtype: str = "float32"  # of the computation; parameters are float32
    estimate: str = "direct"  # what the outputs mean: magnitudes, or masks of the mixture
    mask: str = "softmax"  # over stems, or "sigmoid" a stem
    features: str = "magnitude"  # what the network sees: see stemsep.features
    bins: int = 0  # lowest bins that the network sees; masks repeat the last above; 0: all
    # (lowest bins seen one by one, bands that share the others), of which masks are made; (): all
    # bins one by one.
    bands: tuple[int, ...] = ()
    bin_affine: bool = False  # a learned scale and offset per bin of the input


@dataclass
class LossConfig(Section):
    """What training minimises."""

    name: str = "magnitude_l1"
    balance: str = "energy"  # weights of the targets: the paper's rule, or "equal"
    alpha: tuple[float, ...] = ()  # given weights, one a target; they replace the balance


@dataclass
class OptimConfig(Section):
    """The optimiser and its learning rate over the steps."""

    name: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-6
    schedule: str = (
        "step"  # the paper's: lr for the first half of the steps, a tenth for the second
    )
    warmup_steps: int = 0
    clip_norm: float = 0.0  # of the whole gradient; 0: no clipping
    ema_decay: float = 0.0  # of the averaged parameters that are validated and used; 0: none


@dataclass
class TrainConfig(Section):
    """How long, in which batches, and how often a run is saved."""

    steps: int = 20000
    batch: int = 16  # windows a step, over all devices
    save_every: int = 1000  # steps between checkpoints, each with a validation
    validate_windows: int = 64
    log_every: int = 50
    keep: int = 2  # newest checkpoints kept, beside the best


@dataclass
class SeparateConfig(Section):
    """How windows cover a song, and how many are separated at once."""

    overlap: float = 0.5  # share of a window that the next one covers again
    batch: int = 8  # windows at once, over all devices


@dataclass
class Config(Section):
    """All settings of a run."""

    name: str = "stemsep"
    seed: int = 0
    parallel: str = "pmap"
    audio: AudioConfig = field(default_factory=AudioConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    separate: SeparateConfig = field(default_factory=SeparateConfig)

    @property
    def store(self) -> str:
        """The path of the store: as configured, or data/stores/<name>."""
        return self.data.store or f"data/stores/{self.name}"

    @property
    def stems(self) -> tuple[str, ...]:
        """The stems that the store keeps apart, in order; the last is "rest": all else there is."""
        return tuple(s for s in self.data.stems or self._named() if s != REST) + (REST,)

    @property
    def targets(self) -> dict[str, tuple[str, ...]]:
        """What is separated, in order: target -> names of the store's stems that add up to it."""
        named = self._named()
        rest = [stem for stem in self.stems if stem not in named]
        return {
            name: tuple(
                stem
                for given in ([REST] if stems == REST else stems)
                for stem in (rest if given == REST else [given])
            )
            for name, stems in self.data.targets.items()
        }

    def _named(self) -> list[str]:
        """Return the stems that the targets name, in order, without "rest"."""
        lists = [stems for stems in self.data.targets.values() if stems != REST]
        return [stem for stems in lists for stem in stems if stem != REST]

    def check(self) -> "Config":
        """Check types, names and combinations, then make the configuration read-only; returns
        itself.

        Raises InputError with one sentence that names the field and the choices.
        """
        if self._frozen:
            return self
        check_types(self, "config")
        if not self.name or "/" in self.name:
            raise InputError(f"config.name {self.name!r} names a folder; give a word without '/'")
        choices = {
            "parallel": MAPPINGS,
            "model.name": MODELS,
            "model.estimate": ESTIMATES,
            "model.mask": MASKS,
            "model.features": FEATURES,
            "model.dtype": DTYPES,
            "loss.name": LOSSES,
            "loss.balance": BALANCES,
            "optim.name": OPTIMISERS,
            "optim.schedule": SCHEDULES,
        }
        for path, known in choices.items():
            value = lookup(self, path)
            if value not in known:
                raise InputError(unknown(f"config.{path} cannot be", value, known))
        for path, (low, high) in RANGES.items():
            value = lookup(self, path)
            if not low <= value <= high:
                raise InputError(f"config.{path} is {value}; it must lie between {low} and {high}")
        self._check_audio()
        self._check_targets()
        self._check_model()
        self.freeze()
        return self

    def _check_audio(self) -> None:
        audio = self.audio
        if audio.n_fft % 2 or audio.hop > audio.n_fft // 2:
            raise InputError(
                f"config.audio: n_fft {audio.n_fft} must be even and hop {audio.hop} at most half "
                "of it"
            )
        low, high = self.augment.gain_db
        if not -200 <= low <= high <= 200:
            raise InputError(
                f"config.augment.gain_db: {low} dB to {high} dB is no range; give the lower first, "
                "both within ±200"
            )

    def _check_targets(self) -> None:
        targets = self.data.targets
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
                if self.data.stems and stem != REST and stem not in self.data.stems:
                    raise InputError(
                        unknown(f"config.data.targets: {name!r} names stem", stem, self.data.stems)
                    )
                seen[stem] = name
        if any(not 0 <= alpha < 1e6 for alpha in self.loss.alpha):
            raise InputError(f"config.loss.alpha {self.loss.alpha}: weights are numbers from 0 on")
        if self.loss.alpha and len(self.loss.alpha) != len(targets):
            raise InputError(
                f"config.loss.alpha has {len(self.loss.alpha)} weights for {len(targets)} targets"
            )

    def _check_model(self) -> None:
        model = self.model
        if not model.widths or min(model.widths) < 1:
            raise InputError(
                f"config.model.widths {model.widths} must hold at least one width, each at least 1"
            )
        if model.bins > self.audio.n_fft // 2 + 1:
            raise InputError(
                f"config.model.bins is {model.bins}; n_fft {self.audio.n_fft} has only "
                f"{self.audio.n_fft // 2 + 1}"
            )
        seen = model.bins or self.audio.n_fft // 2 + 1
        if model.bands and (len(model.bands) != 2 or min(model.bands) < 1
                            or sum(model.bands) > seen):
            raise InputError(
                f"config.model.bands {model.bands} must be two numbers, of bins seen one by one "
                f"and of bands that share the rest, at least 1 each and together at most {seen}"
            )
        if model.bands and model.estimate != "mask":
            raise InputError(
                "config.model.bands needs config.model.estimate 'mask': a magnitude belongs to one "
                "bin"
            )
        if model.estimate == "direct" and model.features != "magnitude":
            raise InputError(
                f"config.model.features {model.features!r} hides how loud the mixture is, and "
                "config.model.estimate 'direct' answers with magnitudes; set the features to "
                "'magnitude', or the estimate to 'mask'"
            )
        covered = any(REST in stems for stems in self.data.targets.values())
        if model.estimate == "mask" and model.mask == "softmax" and not covered:
            raise InputError(
                "config.model.mask 'softmax' divides the whole mixture among the targets, and none "
                "of config.data.targets is 'rest'; add one, or use 'sigmoid'"
            )


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
    "data.workers": (0, 1024),
    "seed": (0, 2**31 - 1),
    "data.demo.seed": (0, 2**31 - 1),
    "augment.remix": (0, 1),
    "augment.equalise_db": (0, 60),
    "model.dropout": (0, 0.99),
    "model.norm_momentum": (0, 1),
    "model.bins": (0, 32769),
    "optim.lr": (0, 10),
    "optim.weight_decay": (0, 10),
    "optim.warmup_steps": (0, 10**9),
    "optim.clip_norm": (0, 10**6),
    "optim.ema_decay": (0, 0.999999),
    "train.steps": (0, 10**9),
    "train.batch": (1, 10**6),
    "train.save_every": (1, 10**9),
    "train.keep": (1, 1000),
    "train.validate_windows": (1, 10**6),
    "train.log_every": (1, 10**9),
    "separate.overlap": (0, 0.95),
    "separate.batch": (1, 10**5),
}


def to_dict(config: Config) -> dict[str, Any]:
    """Return the configuration as nested dicts that JSON can hold."""
    return dataclasses.asdict(config)


def from_dict(values: dict[str, Any]) -> Config:
    """Return the checked configuration that `to_dict` wrote; unknown names are errors."""
    return build(Config, values, "config").check()
