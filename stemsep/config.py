"""The typed configuration: every setting, its type and its only default.

A file in configs/ is a delta (``c = Config(name="drums"); c.optim.lr = 4e-4; return c``); the
command line is a delta to that (``--config.optim.lr=3e-4``). `Config.check` finds contradictions
before any work starts and makes the configuration read-only. Imports no JAX.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from stemsep import checks
from stemsep.checks import REST
from stemsep.section import Section, build, check_types


@dataclass
class AudioConfig(Section):
    """The spectrogram that the network sees; lengths in samples."""

    sample_rate: int = 44100  # Hz that songs are resampled to for training
    channels: int = 1  # 1: stereo is averaged; 2: mono is doubled
    surround: str = "refuse"  # more than two channels: "front" keeps two, "downmix" is BS.775's
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
class VariationConfig(Section):
    """Copies of the training tracks at another pitch and tempo, stored beside them; the mixture of
    a copy is the sum of its stems, as of any track.
    """

    copies: int = 0  # of each track; needs the extra `variation`
    semitones: tuple[float, float] = (-2.0, 2.0)  # range of the pitch
    tempo: tuple[float, float] = (0.88, 1.12)  # range of the speed, 1 is that of the song
    drums: bool = False  # whether the stem "drums" changes its pitch too; kits are not transposed
    seed: int = 0  # of what is drawn; not config.seed, with which the store would change


@dataclass
class DataConfig(Section):
    """The songs, what is separated from them, and how they are read."""

    source: str = "demo:data/demo"  # layout:path
    store: str = ""  # a folder, gs://bucket/path or s3://bucket/path; empty: data/stores/<name>
    endpoint: str = ""  # of a service that speaks S3; empty: AWS_ENDPOINT_URL, or Amazon's
    # What the network separates: target -> the stems that make it up, or "rest".
    targets: dict = field(default_factory=lambda: {"drums": ["drums"], "accompaniment": REST})
    stems: tuple[str, ...] = ()  # stems kept apart in the store; empty: those that the targets name
    # YAML that groups stem files, a path or the text; empty: General MIDI instruments, file names.
    recipe: str = ""
    window_frames: int = 128
    # Tracks that are seen more or less often: pattern of their names -> factor, as {"Live *": 0.5}.
    weights: dict = field(default_factory=dict)
    sounding: float = 0.0  # share of windows that are drawn where their stem sounds
    prefetch: int = 4  # batches read ahead of the step
    prefetch_mb: int = 4000  # that they may take in memory; at least one is read ahead
    engine: str = "local"  # what preprocesses: processes here, "spmd" (a launched job), or "ray"
    workers: int = 0  # processes that preprocess; 0: one a core
    demo: DemoConfig = field(default_factory=DemoConfig)
    variation: VariationConfig = field(default_factory=VariationConfig)


@dataclass
class AugmentConfig(Section):
    """What varies a window, each stem by itself; the mixture is formed of what comes out."""

    remix: float = 1.0  # share of windows whose stems are drawn each by itself, from any song
    mixup: float = 0.0  # share of stems that a second passage of the same stem is added to
    mixup_db: tuple[float, float] = (-6.0, 0.0)  # gain of that second passage
    gain_db: tuple[float, float] = (-8.0, 6.0)
    equalise_db: float = 0.0  # of a random equaliser a stem, up or down
    tilt_db: float = 0.0  # of a slope from the lowest to the highest bin, up or down
    # Stem -> range of what lies above 1.4 kHz, in dB, as {"bass": (0.0, 9.0)}; from 700 Hz on it
    # rises. For what real stems have more of than those of training, or less.
    highs_db: dict = field(default_factory=dict)
    polarity: float = 0.0  # share of stems whose sign is turned
    swap: float = 0.0  # share of stereo stems whose channels are swapped
    width: tuple[float, float] = (1.0, 1.0)  # range of a stem's stereo width; below 0: swapped
    mono: float = 0.0  # share of stereo windows that are made mono
    drop: float = 0.0  # share of stems that are silenced; one of a window always stays
    # The widest stretch of time, and of frequency, that is silenced in all stems of a window, as a
    # share of the window and of the bins.
    mask_time: float = 0.0
    mask_frequency: float = 0.0


@dataclass
class ModelConfig(Section):
    """The network, what it sees, and what its output means."""

    name: str = "unet"
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)  # channels a level; the last is the middle
    blocks: int = 1  # of tfc_tdf: how many a level, on the way down and on the way up
    bottleneck: int = 4  # of tfc_tdf: its dense layers over frequency narrow by this factor
    dropout: float = 0.4
    norm: str = "batch"  # or "group": no statistics over the batch, nothing kept of training
    norm_momentum: float = 0.99  # of the running statistics of batch norm
    dtype: str = "float32"  # of the computation; parameters, statistics and losses are float32
    # Compute what is cheap again for the gradient: less memory, more time. XLA undoes it on a CPU.
    remat: bool = False
    # What the outputs mean: "direct" magnitudes, a "mask" of the mixture, or a "complex" mask,
    # which turns phases too.
    estimate: str = "direct"
    mask: str = "softmax"  # over stems, or "sigmoid" a stem
    power: float = 1.0  # the network sees and answers with magnitudes to this power
    # What estimates lack of the mixture is given to the stems: "equal" shares, shares by "power",
    # or "none".
    consistency: str = "none"
    features: str = "magnitude"  # what the network sees: see stemsep.features
    bins: int = 0  # lowest bins that the network sees; masks repeat the last above; 0: all
    # (lowest bins seen one by one, bands that share the others), of which masks are made; (): all
    # bins one by one.
    bands: tuple[int, ...] = ()
    bin_affine: bool = False  # a learned scale and offset per bin of the input


@dataclass
class LossConfig(Section):
    """What training minimises."""

    # Losses and their weights in the sum, as {"complex_l1": 1.0, "multires": 0.5}; see
    # stemsep.losses.
    terms: dict = field(default_factory=lambda: {"magnitude_l1": 1.0})
    power: float = 1.0  # magnitudes are compressed to this power before spectrograms are compared
    resolutions: tuple[int, ...] = (4096, 2048, 1024, 512)  # STFT sizes of "multires", in samples
    # Weights of the targets: the paper's by "energy", "equal", or the "dynamic" weight average,
    # which gives more to targets whose loss falls more slowly.
    balance: str = "energy"
    balance_steps: int = 1000  # over which the dynamic weight average compares losses
    alpha: tuple[float, ...] = ()  # given weights, one a target; they replace the balance


@dataclass
class OptimConfig(Section):
    """The optimiser and its learning rate over the steps."""

    name: str = "adamw"
    lr: float = 1e-3
    betas: tuple[float, ...] = ()  # decay of the two averages; empty: what the optimiser is used to
    momentum: float = 0.9  # of sgd
    weight_decay: float = 1e-6
    # "step" is the paper's: lr for the first half of the steps, a tenth for the second; "plateau"
    # lowers it by `plateau_factor` after `plateau_patience` validations without a better score.
    schedule: str = "step"
    warmup_steps: int = 0
    plateau_patience: int = 3
    plateau_factor: float = 0.5
    clip_norm: float = 0.0  # of the whole gradient; 0: no clipping
    # Parts that a batch goes through a device in: less memory (not on a CPU), the same step.
    accumulate: int = 1
    ema_decay: float = 0.0  # of the averaged parameters, which are validated as well; 0: none
    # Patterns of names, as ("down*", "bin_affine"): these layers stay as they are, their running
    # statistics too.
    frozen: tuple[str, ...] = ()
    lr_factors: dict = field(default_factory=dict)  # pattern -> factor of the learning rate


@dataclass
class TrainConfig(Section):
    """How long, in which batches, and how often a run is validated and saved."""

    init: str = ""  # a run or an exported model whose parameters a new run starts from
    steps: int = 20000
    batch: int = 16  # windows a step, over all devices
    save_every: int = 1000  # steps between checkpoints
    validate_every: int = 0  # steps between validations, which are saved too; 0: at each checkpoint
    validate_windows: int = 64  # whose loss is computed
    validate_songs: int = 4  # whose SDR is measured, separated from the store; 0: none
    validate_song_s: float = 30.0  # of each of them
    patience: int = 0  # validations without a better score after which training ends; 0: never
    nonfinite: str = "stop"  # at a loss or gradient that is not finite; or "skip" the step
    nonfinite_limit: int = 20  # steps skipped in a row after which training stops all the same
    log_every: int = 50
    keep: int = 2  # newest checkpoints kept, beside the best


@dataclass
class LogConfig(Section):
    """Where the log of a run goes, beside the console and log.jsonl."""

    tensorboard: bool = False  # to <workdir>/tensorboard; needs the extra "tensorboard"
    wandb: str = ""  # the project in Weights & Biases; empty: none; needs the extra "wandb"
    song_s: float = 10.0  # of each validation song there: spectrograms and audio; 0: none


@dataclass
class SeparateConfig(Section):
    """How windows cover a song, and how many are separated at once."""

    overlap: float = 0.5  # share of a window that the next one covers again
    # Windows at once, over all devices: more take memory. 0: as many as a GPU or TPU has room for,
    # up to 64, which takes compiling twice; 8 on a CPU.
    batch: int = 8


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
    log: LogConfig = field(default_factory=LogConfig)
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
        if not self._frozen:
            check_types(self, "config")
            checks.check(self)
            self.freeze()
        return self


def to_dict(config: Config) -> dict[str, Any]:
    """Return the configuration as nested dicts that JSON can hold."""
    return dataclasses.asdict(config)


def from_dict(values: dict[str, Any]) -> Config:
    """Return the checked configuration that `to_dict` wrote; unknown names are errors."""
    return build(Config, values, "config").check()
