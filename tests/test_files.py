"""Files appear whole or not at all, whoever else writes them."""

import threading
from pathlib import Path

import pytest

from stemsep import files


def test_writers_at_the_same_time_leave_one_whole_file(tmp_path: Path) -> None:
    faults: list[BaseException] = []

    def write(letter: bytes) -> None:
        try:
            for _ in range(50):
                files.write_bytes(tmp_path / "new" / "file", 5000 * letter)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    data = (tmp_path / "new" / "file").read_bytes()
    assert len(data) == 5000 and len(set(data)) == 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", {"a": float("nan")})
    assert (tmp_path / "a.json").read_text() == '{\n "a": 1\n}\n'


def test_a_lock_is_shared_by_those_who_share(tmp_path: Path) -> None:
    with files.locked(tmp_path, shared=True), files.locked(tmp_path, shared=True):
        with pytest.raises(BlockingIOError):
            with files.locked(tmp_path):
                pass
        with files.locked(tmp_path, name="other"):
            pass
    with files.locked(tmp_path):
        with pytest.raises(BlockingIOError):
            with files.locked(tmp_path, shared=True):
                pass
