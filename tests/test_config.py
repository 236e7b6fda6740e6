"""The configuration: every config file is valid, overrides reach it, and mistakes are named."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from stemsep.command import check_overrides
from stemsep.config import REST, Config, from_dict, to_dict
from stemsep.errors import InputError

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.py"))


def load(path: Path) -> Config:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_config_checks_and_survives_json(path: Path) -> None:
    config = load(path).check()
    assert config.name == path.stem
    assert config.data.source.startswith(
        "demo:"
    ), "every config trains on the demo songs when no source is given"
    assert from_dict(to_dict(config)) == config


def test_checked_is_read_only() -> None:
    config = Config().check()
    with pytest.raises(InputError, match="read-only"):
        config.optim.lr = 1.0
    assert config.check() is config


def test_unknown_setting_names_the_choices() -> None:
    with pytest.raises(InputError, match="'lrr'; did you mean 'lr'.*choices: name, lr"):
        Config().optim.lrr = 1.0


def test_targets_and_stems() -> None:
    config = Config()
    config.data.targets = {"low": ["bass", "drums"], "others": REST}
    config.data.stems = ("bass", "drums", "piano")
    config.check()
    assert config.stems == ("bass", "drums", "piano", REST)
    assert config.targets == {"low": ("bass", "drums"), "others": ("piano", REST)}


def test_rest_in_a_list_is_all_that_no_target_names() -> None:
    config, listed = Config(), Config()
    for c, rest in ((config, REST), (listed, [REST])):
        c.data.targets = {"drums": ["drums"], "others": rest}
        c.data.stems = ("drums", "bass", "piano")
        c.check()
    assert config.targets == listed.targets == {
        "drums": ("drums",), "others": ("bass", "piano", REST)}
    more = Config()
    more.data.targets = {"drums": ["drums"], "others": ["piano", REST]}
    more.data.stems = ("drums", "bass", "piano")
    assert more.check().targets["others"] == ("piano", "bass", REST)


WRONG = {
    "parallel": ("threads", "config.parallel cannot be 'threads'"),
    "model.name": ("unett", "did you mean 'unet'"),
    "model.widths": ((), "config.model.widths"),
    "train.steps": (-1, "config.train.steps is -1"),
    "train.batch": (1.5, "config.train.batch must be int, not float"),
    "audio.hop": (2000, "hop 2000 at most half"),
    "audio.channels": (3, "config.audio.channels is 3"),
    "data.targets": ({}, "config.data.targets is empty"),
    "augment.gain_db": ((3.0, -3.0), "is no range"),
    "name": ("a/b", "names a folder"),
    "loss.alpha": ((0.5,), "1 weights for 2 targets"),
    "model.features": ("log", "'log' hides how loud the mixture is"),
    "model.bands": ((4000, 40), "at least 1 each and together at most 1025"),
    "model.bins": (5000, "config.model.bins is 5000"),
    "optim.schedule": ("linear", "choices: cosine, step, constant"),
}


@pytest.mark.parametrize("path", WRONG)
def test_contradictions_are_named(path: str) -> None:
    value, sentence = WRONG[path]
    config = Config()
    *sections, name = path.split(".")
    section = getattr(config, sections[0]) if sections else config
    setattr(section, name, value)
    with pytest.raises(InputError, match=sentence):
        config.check()


@pytest.mark.parametrize("highs_db, sentence", [
    ({"dums": (0.0, 3.0)}, "highs_db names stem 'dums'; did you mean 'drums'"),
    ({"drums": (3.0, 0.0)}, "highs_db: 'drums': 3.0 to 0.0 is no range; give two numbers"),
    ({"drums": 3.0}, "highs_db: 'drums': 3.0 is no range"),
    ({"rest": (0.0, float("nan"))}, "is no range"),
])
def test_wrong_highs(highs_db: dict, sentence: str) -> None:
    config = Config()
    config.augment.highs_db = highs_db
    with pytest.raises(InputError, match=sentence):
        config.check()


@pytest.mark.parametrize(
    "targets, sentence",
    [
        ({"a": ["x"], "b": ["x"]}, "stem 'x' is in both 'a' and 'b'"),
        ({"a": REST, "b": REST}, "stem 'rest' is in both"),
        ({"a/b": ["x"]}, "cannot name a target"),
        ({"a": "drums"}, "needs a list of stems or 'rest'"),
        ({"a": []}, "needs a list of stems or 'rest'"),
    ],
)
def test_wrong_targets(targets: dict, sentence: str) -> None:
    config = Config()
    config.data.targets = targets
    with pytest.raises(InputError, match=sentence):
        config.check()


@pytest.mark.parametrize(
    "argument, sentence",
    [
        ("--config.optim.lrr=1", "config.optim has no setting 'lrr'; did you mean 'lr'"),
        ("--config.optim=1", "config.optim is a group"),
        ("--config.seed.x=1", "config.seed is one value"),
        ("--config=configs/nowhere.py", "no such file"),
    ],
)
def test_wrong_overrides(argument: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        check_overrides(["command", argument])


SHOW = """
import sys
from stemsep import command
CONFIG = command.define_config()
def main(argv):
    c = command.checked_config(CONFIG)
    print(c.optim.lr, c.model.widths, c.data.targets, c.augment.gain_db)
command.run(main, config=True)
"""


def show(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", SHOW, *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_overrides_of_every_type_on_the_command_line() -> None:
    done = show(
        "--config",
        "configs/demo.py",
        "--config.optim.lr=3e-4",
        "--config.model.widths=(4,8)",
        "--config.data.targets={'bass': ['bass'], 'others': 'rest'}",
        "--config.augment.gain_db=(-3,3)",
    )
    assert (
        done.stdout.strip() == "0.0003 (4, 8) {'bass': ['bass'], 'others': 'rest'} (-3.0, 3.0)"
    ), done.stderr


@pytest.mark.parametrize(
    "argument, words",
    [
        ("--config.optim.lr=fast", "config.optim.lr"),
        ("--config.data.targets={drums: [drums]", "is no dict; write one in quotes"),
        ("--config.train.stepz=3", "did you mean 'steps'"),
        ("--config.model.name=unett", "did you mean 'unet'"),
    ],
)
def test_a_wrong_override_is_one_sentence(argument: str, words: str) -> None:
    done = show("--config", "configs/demo.py", argument)
    assert done.returncode != 0 and words in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("text, words", [
    ("def get_config(:", "line 1: SyntaxError"),
    ("import nowhere", "line 1: ModuleNotFoundError: No module named 'nowhere'"),
    ("x = 1", "it has no function get_config()"),
    ("def get_config():\n    return 1 / 0", "line 2: ZeroDivisionError"),
    ("from stemsep.config import Config\n\n\ndef get_config():\n    c = Config()\n"
     "    c.optim.lrr = 1\n    return c", "OptimConfig has no setting 'lrr'; did you mean 'lr'"),
    ("def get_config():\n    return {}", "returned dict, not a stemsep.config.Config"),
])
def test_a_mistake_in_a_config_file_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "wrong.py").write_text(text)
    done = show("--config", str(tmp_path / "wrong.py"))
    assert done.returncode == 1 and words in done.stderr, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
