"""The checkpoints of a run, through Orbax."""

import dataclasses
import shutil
import zlib
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator

import jax
import numpy as np
import orbax.checkpoint as ocp

from stemsep import __version__
from stemsep import config as configs
from stemsep import provenance, selection
from stemsep.checkpoint import fit
from stemsep.checkpoint.faults import (
    late_writes_unsaid, looking_unsaid, reachable, readable, refusal
)
from stemsep.checkpoint.folder import alone, folder, in_bucket
from stemsep.checkpoint.ranking import NewestAndBest, best_of
from stemsep.config import Config
from stemsep.errors import InputError
from stemsep.state import TrainState

_TEMPORARY = ".orbax-checkpoint-tmp"  # in the name of what Orbax has not finished


class _Manager(ocp.CheckpointManager):
    """Orbax's, which leaves notices to stop to `DataParallel.preemption`: all processes count alike
    how often they asked, and where it asks with the step, of the first process only, they would
    not agree any more.
    """

    def reached_preemption(self, step: int) -> bool:
        return False


class Checkpoints:
    """The checkpoints of a run: the newest `keep` and the best.

    source: what it is validated on. Scores on something else, from before a change of it, say
    nothing about which checkpoint is the best. read_only: to look
    at a run that may be training; else raises InputError where another run trains. process: which
    of a job of several this is. The first alone keeps other runs out and saves, and none waits for
    another, which a disk that is full for one would keep from ever coming.

    Where the disk is full, or a bucket refuses, a save fails and training goes on: `say` is given
    the sentence, nothing half written is left, and the checkpoints before stay. Only if it was the
    last save, leaving the context raises InputError.
    """

    def __init__(
        self, workdir: str | Path, *, source: str = "", keep: int = 2, read_only: bool = False,
        process: int | None = None,
    ) -> None:
        self.workdir = folder(workdir)
        self._writes = not read_only and not process
        self.say: Callable[[str], Any] = print
        self._songs = zlib.crc32(source.encode())
        self._saving: int | None = None  # the step that is being written, or whose end is not known
        self._failed: tuple[int, str] | None = None  # the newest save, and why
        own = ocp.options.MultiprocessingOptions() if process is None else (
            ocp.options.MultiprocessingOptions(
                primary_host=process, active_processes={process},
                barrier_sync_key_prefix=f"process{process}"))
        with ExitStack() as stack:
            if self._writes:
                stack.enter_context(alone(self.workdir))
            stack.enter_context(late_writes_unsaid())
            with looking_unsaid(), reachable(self.workdir), readable(self.workdir):
                self._manager = self._opened(keep, own, create=not read_only)
            self._lock = stack.pop_all()

    def _opened(self, keep: int, own: ocp.options.MultiprocessingOptions, *,
                create: bool) -> ocp.CheckpointManager:
        """Return Orbax's manager of the run's folder, which is made first when it is to be."""
        options = ocp.CheckpointManagerOptions(
            best_fn=_negative_loss,  # only so that Orbax keeps the scores
            preservation_policy=NewestAndBest(keep),
            read_only=not self._writes,
            create=False,
            cleanup_tmp_directories=self._writes,
            multiprocessing_options=own,
        )
        if create:
            (self.workdir / "checkpoints").mkdir(parents=True, exist_ok=True)
        return _Manager(
            self.workdir / "checkpoints",
            options=options,
            item_handlers={
                "model": ocp.StandardCheckpointHandler(multiprocessing_options=own),
                "optimiser": ocp.StandardCheckpointHandler(multiprocessing_options=own),
                "config": ocp.JsonCheckpointHandler(multiprocessing_options=own),
            },
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._lock:
            self._settle()  # waits for what is still being written
            self._manager.close()
            self._clean()
        if self._failed and kind is None:
            raise InputError(self._sentence())
        if self._failed:
            self.say(self._sentence())

    def latest(self) -> int | None:
        """Return the newest committed step, or None."""
        return self._manager.latest_step()

    def best(self) -> int | None:
        """Return the best step, as `best_of` says, or None without any."""
        return best_of({step: self.scores(step) for step in self.steps()})

    def steps(self) -> list[int]:
        """Return the steps that are kept, in order."""
        return sorted(self._manager.all_steps())

    def scores(self, step: int) -> dict[str, Any]:
        """Return the scores that a step was saved with; {} without any."""
        return self._manager.metrics(step) or {}

    def save(
        self, step: int, state: TrainState, *, config: Config, scores: dict[str, Any] | None,
        skipped: int = 0,
    ) -> None:
        """Save a state of host arrays; returns before it is written.

        scores: of the validation, which rank it: "loss", "sdr" where songs were separated, and "of"
        "raw" or "ema", the parameters that they are of. None for a state that was not validated,
        which is the best only where no other was either. skipped: how many steps in a row were not
        finite, until here. Does nothing for a step that is there, and in a process that is not the
        first of its job; but one that is there without scores is replaced by itself with them, and
        until that is written, which this waits for, the newest is the one before.
        """
        if not self._writes:
            return
        self._settle()
        replaced = step in self.steps()
        if replaced and (scores is None or self.scores(step)):
            return
        if self._failed:
            self.say(f"{self._sentence()}; training goes on")
        known = None if scores is None else {
            **{name: value for name, value in scores.items() if value is not None},
            "songs": self._songs,
        }
        self._saving, self._failed = step, None
        with self._noting(step):
            if replaced:
                self.delete(step)
            self._manager.save(
                step,
                metrics=known,
                args=ocp.args.Composite(
                    model=ocp.args.StandardSave(_model(state)),
                    optimiser=ocp.args.StandardSave(_optimiser(state)),
                    config=ocp.args.JsonSave(configs.to_dict(config)),
                ),
                custom_metadata={"versions": _versions(), "skipped": skipped},
            )
        if replaced:
            self._settle()

    def check(self) -> None:
        """Say if the save that ran in the background has failed; never waits for one."""
        if self._saving is not None and not self._manager.is_saving_in_progress():
            self._settle()
            if self._failed:
                self.say(f"{self._sentence()}; training goes on")

    def _settle(self) -> None:
        """Wait until what is being saved is whole, or has failed."""
        if self._saving is not None:
            with self._noting(self._saving):
                self._manager.wait_until_finished()
            self._saving = None

    @contextmanager
    def _noting(self, step: int) -> Iterator[None]:
        """Note that a step could not be saved, and remove what there is of it."""
        try:
            yield
        except Exception as error:
            why = refusal(error)
            if why is None:
                raise
            self._saving, self._failed = None, (step, why)
            self._clean()
            self._manager.reload()  # it has forgotten what it would have deleted after this save

    def _clean(self) -> None:
        """Remove what Orbax left unfinished; in a bucket it does so when it opens the run."""
        if self._writes and not in_bucket(self.workdir):
            for path in Path(self.workdir / "checkpoints").glob(f"*{_TEMPORARY}*"):
                shutil.rmtree(path, ignore_errors=True)

    def _sentence(self) -> str:
        assert self._failed is not None
        step, why = self._failed
        steps = self.steps()
        rest = f"the newest is that of step {steps[-1]}" if steps else "there is none before it"
        where = "check the bucket" if in_bucket(self.workdir) else "free some space"
        return (f"{self.workdir}: the checkpoint of step {step} could not be saved ({why}), and "
                f"{rest}; {where}")

    def config(self, step: int) -> Config:
        """Return the configuration that a step was trained with.

        Raises InputError where it has settings that this version has not.
        """
        restored = self._manager.restore(
            step, args=ocp.args.Composite(config=ocp.args.JsonRestore())
        )
        return fit.as_config(
            restored["config"], self._named(step), version=self.versions(step).get("stemsep", "")
        )

    def versions(self, step: int) -> dict[str, str]:
        """Return what a step was written with, package -> version; {} where that is not known."""
        return self._known(step).get("versions", {})

    def skipped(self, step: int) -> int:
        """Return how many steps in a row were skipped, until this one; 0 of one that is not there.
        """
        return self._known(step).get("skipped", 0) if step in self.steps() else 0

    def _known(self, step: int) -> dict[str, Any]:
        return self._manager.metadata(step).custom_metadata or {}

    def arrays(self, step: int, item: str = "model") -> dict[str, Any]:
        """Return what is known of the arrays of "model" or "optimiser", shape and dtype, by their
        paths; reads none of them. {} where there are none.
        """
        found = self._manager.metadata(step).item_metadata.get(item)
        return selection.leaves(found.tree) if found else {}

    def _named(self, step: int) -> str:
        return f"{self.workdir}: checkpoint {step}"

    def raw(self, step: int) -> dict[str, Any]:
        """Return all arrays of a step as they are stored, {"model": ..., "optimiser": ...}, in
        nested dicts.
        """
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                model=ocp.args.StandardRestore(), optimiser=ocp.args.StandardRestore()
            ),
        )
        return {"model": restored["model"], "optimiser": restored["optimiser"]}

    def delete(self, step: int) -> None:
        """Remove the checkpoint of a step."""
        self._manager.delete(step)

    def restore(self, step: int, like: TrainState) -> TrainState:
        """Return the state of a step as host arrays; `like` gives its structure and shapes.

        Raises InputError where the stored parameters have others.
        """
        fit.check(
            fit.shapes(self.arrays(step)), fit.shapes(_model(like)), self._named(step),
            version=self.versions(step).get("stemsep", ""),
        )
        shapes = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                model=ocp.args.StandardRestore(_model(shapes)),
                optimiser=ocp.args.StandardRestore(_optimiser(shapes)),
            ),
        )
        model, optimiser = restored["model"], restored["optimiser"]
        return TrainState(
            step=optimiser["step"],
            params=model["params"],
            batch_stats=model.get("batch_stats", {}),
            ema=model.get("ema"),
            opt_state=optimiser["opt_state"],
            guide=optimiser["guide"],
        )

    def of(self, step: int) -> str:
        """Return which parameters of a step separation uses: those that its scores are of, "raw" or
        "ema"; without scores the average, where there is one.
        """
        averaged = any(name.startswith("ema/") for name in self.arrays(step))
        return self.scores(step).get("of", "ema") if averaged else "raw"

    def variables(self, step: int) -> dict[str, Any]:
        """Return what separation uses, host arrays: parameters, as `of` says, batch statistics.

        Raises InputError where they are not what the step's configuration makes.
        """
        restored = self._manager.restore(
            step, args=ocp.args.Composite(model=ocp.args.StandardRestore())
        )["model"]
        params = restored["ema" if self.of(step) == "ema" else "params"]
        variables = jax.tree.map(
            np.asarray, {"params": params, "batch_stats": restored.get("batch_stats") or {}}
        )
        fit.check(
            fit.shapes(variables), fit.parameters(self.config(step)), self._named(step),
            version=self.versions(step).get("stemsep", ""),
        )
        return variables


def _versions() -> dict[str, str]:
    """Return the versions that a checkpoint is written with."""
    found = {name: provenance.version(name) for name in provenance.PACKAGES}
    return {**found, "stemsep": __version__}


def _model(state: TrainState) -> dict[str, Any]:
    """Return the part of a state that separation needs; what is empty is left out, as Orbax cannot
    hold it.
    """
    parts = {f.name: getattr(state, f.name) for f in dataclasses.fields(state)}
    return {name: parts[name] for name in ("params", "batch_stats", "ema") if parts[name]}


def _optimiser(state: TrainState) -> dict[str, Any]:
    """Return the part of a state that only training needs."""
    return {"step": state.step, "opt_state": state.opt_state, "guide": state.guide}


def _negative_loss(metrics: dict[str, float]) -> float:
    return -metrics["loss"]
