"""Where a run comes from is stored with it, at every start."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from stemsep import provenance

DEVICES = {"device": "cpu", "devices": 1}


def git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *words],
        check=True, capture_output=True, text=True,
    ).stdout.strip()


def test_the_revision_has_a_plus_where_the_tree_differs(tmp_path: Path) -> None:
    code = tmp_path / "code.py"
    code.write_text("a = 1\n")
    assert provenance.revision(code) == ""          # no git here
    git(tmp_path, "init", "-q")
    assert provenance.revision(code) == ""          # not under git: installed into another's tree
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-qm", "code")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert provenance.revision(code) == commit[:12]
    code.write_text("a = 2\n")
    assert provenance.revision(code) == commit[:12] + "+"


def test_without_git_there_is_no_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.revision() == ""


def test_every_start_is_a_line_and_none_is_changed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    provenance.note_start(run, step=0, seed=3, devices=DEVICES)
    first = (run / provenance.STARTS).read_text()
    (run / provenance.STARTS).write_text(first + '{"half a li')
    provenance.note_start(run, step=5, seed=3, devices=DEVICES)
    lines = (run / provenance.STARTS).read_text().splitlines()
    assert lines[0] + "\n" == first and len(lines) == 3
    starts = [json.loads(lines[0]), json.loads(lines[2])]
    assert [start["step"] for start in starts] == [0, 5]
    for start in starts:
        assert start["seed"] == 3 and start["device"] == "cpu"
        assert start["command"] == shlex.join(sys.orig_argv)
        assert set(provenance.PACKAGES) <= start["versions"].keys()
        assert start["versions"]["jax"] and start["python"] and start["time"] and start["host"]


def test_a_package_that_is_missing_has_no_version() -> None:
    assert provenance.machine("nowhere")["versions"] == {"nowhere": ""}
