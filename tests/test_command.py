"""--config takes a run: what is stored with one starts another, overrides and all."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemsep import command, stored, train
from stemsep.config import Config, to_dict
from stemsep.errors import InputError
from tests import runs
from tests.test_train import arrays

SHOW = """
import sys
from stemsep import command
from stemsep.config import to_dict
import json
CONFIG = command.define_config()
command.run(lambda argv: print(json.dumps(to_dict(command.checked_config(CONFIG)))), config=True)
"""


def show(*arguments: str) -> dict[str, Any]:
    """The configuration that a command got from its command line."""
    done = subprocess.run([sys.executable, "-c", SHOW, *arguments], cwd=runs.ROOT,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def write(folder: Path, values: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / stored.CONFIG).write_text(json.dumps(values))
    return folder


def test_the_file_and_its_folder_are_the_same_configuration(tmp_path: Path) -> None:
    config = Config(name="a run: of mine")
    config.data.targets = {"low": ["drums", "bass"], "others": "rest"}
    config.data.recipe = "Mixing key: program_num\nRecipes:\n  drums: [112]\n"
    config.augment.gain_db, config.model.widths = (-3.0, 3.0), (4, 8)
    values = json.loads(json.dumps(to_dict(config)))
    run = write(tmp_path / "a:b c", values)
    assert show("--config", str(run)) == values
    assert show(f"--config={run}/config.json") == values
    assert list(show("--config", f"{run}/")["data"]["targets"]) == ["low", "others"]


def test_overrides_of_a_stored_configuration(tmp_path: Path) -> None:
    run = write(tmp_path / "run", to_dict(Config()))
    changed = show(
        f"--config={run}", "--config.optim.lr=3e-4", "--config.model.widths=(4,8)",
        "--config.data.targets={'bass': ['bass'], 'others': 'rest'}", "--config.train.steps=7",
        "--config.model.bin_affine",
    )
    expected = Config()
    expected.optim.lr, expected.model.widths, expected.train.steps = 3e-4, (4, 8), 7
    expected.data.targets = {"bass": ["bass"], "others": "rest"}
    expected.model.bin_affine = True
    assert changed == json.loads(json.dumps(to_dict(expected)))


def test_settings_that_a_stored_configuration_lacks_have_their_defaults(tmp_path: Path) -> None:
    run = write(tmp_path, {"name": "old", "optim": {"lr": 0.5}})
    config = stored.get_config(str(run)).check()
    assert (config.name, config.optim.lr, config.train.steps) == ("old", 0.5, Config().train.steps)


@pytest.mark.parametrize("text, words", [
    ('{"optim": {"lrr": 1}}', "another version of stemsep.*has no setting 'lrr'; did you mean"),
    ('{"optimizer": {}}', "another version of stemsep.*config has no setting 'optimizer'"),
    ('{"optim": 3}', "config.optim is a group of settings, not 3"),
    ('{"optim": {"lr": "fast"}}', "config.optim.lr must be float, not str 'fast'"),
    ('["name"]', r"config is a group of settings, not \['name'\]"),
    ('{"name": "cut', "config.json is damaged"),
    ("", "config.json is damaged"),
])
def test_a_wrong_stored_configuration_is_one_sentence(
    tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / stored.CONFIG).write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        command.check_overrides(["train", "--config", str(tmp_path)])
    assert str(caught.value).startswith(f"--config {tmp_path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "nowhere.json"])
def test_a_folder_without_a_run_says_what_to_give(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="there is no .*; give a configuration, the workdir of a"):
        command.check_overrides(["train", f"--config={tmp_path / name}"])


def test_config_without_a_path_is_one_sentence() -> None:
    with pytest.raises(InputError, match="--config is given no file"):
        command.check_overrides(["train", "--config"])


def test_a_run_of_a_stored_configuration_has_the_same_parameters(tmp_path: Path) -> None:
    config = runs.tiny(tmp_path)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("Mixing key: program_num\nRecipes:\n  drums: [112, 128]\n")
    config.data.recipe = str(recipe)
    train.train(config.check(), tmp_path / "first")
    recipe.unlink()
    done = runs.command("--config", tmp_path / "first", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    first = arrays(config, tmp_path / "first")
    second = arrays(config, tmp_path / "runs" / "tiny")      # by its stored name
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    stored_twice = [(tmp_path / run / "config.json").read_text() for run in ("first", "runs/tiny")]
    assert stored_twice[0] == stored_twice[1]
    starts = [json.loads(line) for run in ("first", "runs/tiny")
              for line in (tmp_path / run / "run.jsonl").read_text().splitlines()]
    assert [start["seed"] for start in starts] == [0, 0]
    assert f"--config {tmp_path / 'first'}" in starts[1]["command"]
    # Going on is another start.
    done = runs.command("--config", tmp_path / "first", "--config.train.steps=7", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "runs" / "tiny" / "run.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 6]
