"""What every command shares: its flags, its configuration, and how it tells a user what went wrong.

A command defines its flags in its `main()`, not when its module is imported, so that modules of
commands can import each other.
"""

import ast
import dataclasses
import errno
import os
import runpy
import sys
import traceback
from collections.abc import Iterator
from typing import Any, Callable

from absl import app, flags, logging
from ml_collections import config_flags

from stemsep import stored
from stemsep.config import Config
from stemsep.errors import InputError, Stopped
from stemsep.section import Section, unknown


class DictParser(flags.ArgumentParser):
    """Parses a dict given as Python: --config.data.targets="{'drums': ['drums'], 'others':
    'rest'}".
    """

    def parse(self, argument: Any) -> dict:
        try:
            value = argument if isinstance(argument, dict) else ast.literal_eval(argument)
        except (SyntaxError, ValueError):
            value = None
        if not isinstance(value, dict):
            raise ValueError(
                f"{argument!r} is no dict; write one in quotes for the shell, as "
                "\"{'drums': ['drums'], 'others': 'rest'}\" or \"{'complex_l1': 1.0}\""
            )
        return value


config_flags.register_flag_parser_for_type(dict, DictParser())


def define_config(default: str | None = None) -> flags.FlagHolder:
    """Define --config FILE and its overrides; the holder's value goes through `checked_config`.

    default: the file where none is given.
    """
    holder = config_flags.DEFINE_config_file(
        "config",
        default,
        "a file in configs/, or a run (runs/demo or its config.json); override with "
        "--config.train.steps=3",
    )
    flags.FLAGS.register_key_flag_for_module(
        sys.argv[0], flags.FLAGS["config"]
    )  # --help of the command shows it
    return holder


def checked_config(holder: flags.FlagHolder) -> Config:
    """Return the configuration of the command line, checked and read-only."""
    if holder.value is None:
        raise InputError(
            "--config is missing; give a configuration, as in --config configs/demo.py"
        )
    if not isinstance(holder.value, Config):
        raise InputError(
            f"--config: get_config() returned {type(holder.value).__name__}, "
            "not a stemsep.config.Config"
        )
    return holder.value.check()


def run(main: Callable[[list[str]], int | None], *, config: bool = False) -> None:
    """Parse the flags, run `main(positional arguments)` and leave with its status.

    An InputError, and what the system says about files and space, is one sentence on stderr and
    status 1; what was asked to stop says so in one, with status 0. With `config`, the names of
    overrides are checked before anything else is parsed.
    """
    # Orbax warns of what we ask it to do, and prints a trace of what we then tell in a sentence.
    logging.set_verbosity(logging.FATAL)

    def guarded(argv: list[str]) -> int | None:
        return main(argv[1:])

    def parse(argv: list[str]) -> list[str]:
        if config:
            check_overrides(argv)
            argv = with_loader(argv)
        return app.parse_flags_with_usage(argv)

    try:
        app.run(guarded, flags_parser=parse)
    except InputError as problem:
        sys.exit(f"error: {problem}")
    except Stopped as note:
        print(note, end="\n" if str(note) else "")
        sys.exit(0)
    except OSError as problem:
        sys.exit(f"error: {describe(problem)}")
    except KeyboardInterrupt:
        sys.exit("interrupted")


def describe(problem: OSError) -> str:
    """Return one sentence for what the system refused: the file, the reason, the remedy."""
    remedy = {
        errno.ENOENT: "check the path",
        errno.EACCES: "check its permissions",
        errno.EPERM: "check its permissions",
        errno.ENOSPC: "free some space and run the same command again",
        errno.EROFS: "choose a place to write to",
        errno.ENOTDIR: "a file is where a folder should be; choose another path",
        errno.EEXIST: "a file is where a folder should be; choose another path",
        errno.EISDIR: "name a file in it",
    }.get(problem.errno or 0)
    where = f"{problem.filename}: " if problem.filename else ""
    return f"{where}{problem.strerror or problem}" + (f"; {remedy}" if remedy else "")


def check_overrides(argv: list[str]) -> None:
    """Raise InputError when --config is no good file, or an override names no setting."""
    for argument in argv:
        name = argument.lstrip("-").partition("=")[0]
        if argument.startswith("-") and name.startswith(("config.", "noconfig.")):
            _check_override(name.removeprefix("no").removeprefix("config."))
    for _, path in _config_files(argv):
        _check_file(path)


def with_loader(argv: list[str]) -> list[str]:
    """Return the arguments with a run that --config names given to `stored.get_config`: the flag
    itself knows Python files only, and what stands after a colon is theirs to read.
    """
    argv = list(argv)
    for place, path in _config_files(argv):
        if stored.is_run(path):
            argv[place] = argv[place].removesuffix(path) + f"{stored.__file__}:{path}"
    return argv


def _config_files(argv: list[str]) -> Iterator[tuple[int, str]]:
    """Yield the place of each argument that ends in a path given as --config, and the path."""
    for place, argument in enumerate(argv):
        name, given, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name == "config":
            if given:
                yield place, value
            elif place + 1 < len(argv):
                yield place + 1, argv[place + 1]
            else:
                raise InputError("--config is given no file, as in --config configs/demo.py")


def _check_file(path: str) -> None:
    """Run a configuration file, so that a mistake in it is told with its line, not as a trace."""
    if stored.is_run(path):
        stored.get_config(path)
        return
    if not os.path.isfile(path):
        raise InputError(f"--config {path}: no such file; the configurations are in configs/")
    try:
        get_config = runpy.run_path(path).get("get_config")
        if not callable(get_config):
            raise InputError("it has no function get_config(); see those in configs/")
        get_config()
    except InputError as problem:
        raise InputError(f"--config {path}: {problem}") from problem
    except Exception as problem:
        line = problem.lineno if isinstance(problem, SyntaxError) else None
        for frame in traceback.extract_tb(problem.__traceback__):
            line = frame.lineno if frame.filename == path else line
        what = f"{type(problem).__name__}: {problem}"
        raise InputError(f"--config {path}: line {line}: {what}; correct it") from problem


def _check_override(path: str) -> None:
    kind: Any = Config
    parents = "config"
    for name in path.split("[")[0].split("."):
        if not (isinstance(kind, type) and issubclass(kind, Section)):
            raise InputError(f"--config.{path}: {parents} is one value and has no setting {name!r}")
        types = {f.name: f.type for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
        if name not in types:
            raise InputError(unknown(f"--config.{path}: {parents} has no setting", name, types))
        kind, parents = types[name], f"{parents}.{name}"
    if isinstance(kind, type) and issubclass(kind, Section):
        choices = ", ".join(f.name for f in dataclasses.fields(kind))  # type: ignore[arg-type]
        raise InputError(f"--config.{path}: {parents} is a group; set one of {choices}")


def no_arguments(argv: list[str]) -> None:
    """Raise InputError for positional arguments, which most commands do not take."""
    if argv:
        raise InputError(
            f"{argv[0]!r} belongs to no flag; write settings as --config.train.steps=3"
        )
