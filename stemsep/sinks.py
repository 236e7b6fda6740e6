"""Where the log goes beside the console and log.jsonl: TensorBoard, Weights & Biases.

Both are extras. Each is a `stemsep.log.Sink`: it raises OSError where it cannot be written to, and
the log goes on without it.
"""

import importlib.util
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from stemsep.config import Config, to_dict
from stemsep.errors import InputError
from stemsep.log import Sink

TENSORBOARD, WANDB = "tensorboard", "wandb"  # folders in the workdir
_FLUSH_S = 10.0  # curves are on the disk after so long at most; each time it is waited for


def check(config: Config, *, main: bool = True) -> None:
    """Raise InputError where a sink that the configuration wants is not installed, or where the
    main process is not logged in at Weights & Biases, which may ask for it at a terminal.
    """
    wanted = {"tensorboard": config.log.tensorboard and ("tensorboardX", "matplotlib"),
              "wandb": config.log.wandb and ("wandb", "matplotlib")}
    for name, packages in wanted.items():
        missing = [package for package in packages or () if not _installed(package)]
        if missing:
            off = "False" if name == "tensorboard" else "''"
            raise InputError(
                f"config.log.{name} needs what is not installed: pip install {' '.join(missing)}; "
                f"or train without it, --config.log.{name}={off}"
            )
    if config.log.wandb and main:
        import wandb

        if wandb.setup().settings.mode not in ("offline", "disabled", "dryrun"):
            with _in_words(config):
                wandb.login()


def make(config: Config, workdir: Path, *, start: int) -> list[Sink]:
    """Return the sinks that the configuration wants, for a run that goes on after step `start`.

    Raises InputError where Weights & Biases refuses the run.
    """
    sinks: list[Sink] = []
    if config.log.tensorboard:
        sinks.append(TensorBoard(workdir / TENSORBOARD, start=start))
    if config.log.wandb:
        sinks.append(WeightsAndBiases(config, workdir))
    return sinks


class TensorBoard:
    """Event files, one for each start of a run.

    They are written at once, in this thread: tensorboardX's own writer works in another, and waits
    for ever when a full disk has ended that one.
    """

    name = "TensorBoard"

    def __init__(self, folder: Path, *, start: int) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog

        folder.mkdir(parents=True, exist_ok=True)
        # Two starts within a second must not share a name.
        suffix = f".{start}.{secrets.token_hex(2)}"
        self._writer = EventsWriter(str(folder / "events"), filename_suffix=suffix)
        # TensorBoard then forgets what an interrupted run wrote of these steps.
        self._event(start + 1, session_log=SessionLog(status=SessionLog.START))
        self._flush()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboardX import summary

        for name, value in values.items():
            self._event(step, summary=summary.scalar(name, value))
        if time.monotonic() - self._flushed_s > _FLUSH_S:
            self._flush()

    def text(self, step: int, name: str, text: str) -> None:
        from tensorboardX import summary

        # Markdown: four spaces keep the lines and columns.
        kept = "".join(f"    {line}\n" for line in text.splitlines())
        self._event(step, summary=summary.text(name, kept))
        self._flush()

    def song(self, step: int, name: str, picture_HWC: np.ndarray, waves: Mapping[str, np.ndarray],
             rate: int) -> None:
        from tensorboardX import summary

        picture = summary.image(f"songs/{name}", picture_HWC, dataformats="HWC")
        self._event(step, summary=picture)
        for part, wave_CN in waves.items():
            audio = summary.audio(f"songs/{name}/{part}", wave_CN.T, sample_rate=rate)
            self._event(step, summary=audio)
        self._flush()

    def close(self) -> None:
        self._writer.close()

    def _flush(self) -> None:
        self._writer.flush()
        self._flushed_s = time.monotonic()

    def _event(self, step: int, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time.time(), step=step, **content))


class WeightsAndBiases:
    """A run of a W&B project; one that goes on is the same run there, by the name that is kept in
    WORKDIR/wandb. With WANDB_MODE=offline it is written there, for `wandb sync`.
    """

    name = "Weights & Biases"

    def __init__(self, config: Config, workdir: Path) -> None:
        import wandb

        folder = workdir / WANDB
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / "id"
        if not kept.exists():
            kept.write_text(secrets.token_hex(4))
        with _in_words(config):
            self._run = wandb.init(project=config.log.wandb, name=config.name, dir=str(workdir),
                                   id=kept.read_text().strip(), resume="allow")
        self._run.config.update(to_dict(config), allow_val_change=True)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._log(step, dict(values))

    def text(self, step: int, name: str, text: str) -> None:
        self._run.summary[name] = text

    def song(self, step: int, name: str, picture_HWC: np.ndarray, waves: Mapping[str, np.ndarray],
             rate: int) -> None:
        import wandb

        self._log(step, {
            f"songs/{name}": wandb.Image(picture_HWC),
            **{f"songs/{name}/{part}": wandb.Audio(wave_CN.T, sample_rate=rate)
               for part, wave_CN in waves.items()},
        })

    def close(self) -> None:
        self._run.finish()

    def _log(self, step: int, values: dict[str, Any]) -> None:
        import wandb

        # What an interrupted run logged of later steps stays; W&B takes no step again.
        if step < self._run.step:
            return
        try:
            self._run.log(values, step=step)
        except wandb.Error as problem:
            raise OSError(str(problem)) from problem


@contextmanager
def _in_words(config: Config) -> Iterator[None]:
    """Turn what W&B refuses into an InputError."""
    import wandb

    try:
        yield
    except (wandb.Error, OSError) as problem:
        said = " ".join(str(problem).split()).rstrip(".")
        raise InputError(
            f"config.log.wandb {config.log.wandb!r}: {said}; run `wandb login`, or set "
            "WANDB_MODE=offline"
        ) from problem


def _installed(package: str) -> bool:
    found = importlib.util.find_spec(package)
    # A folder of that name in the working directory, as W&B leaves one, has no origin.
    return found is not None and found.origin is not None
