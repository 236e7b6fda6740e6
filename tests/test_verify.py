"""A store that is whole is found whole; one flipped bit, one lost file, one leftover is named."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stemsep.store import Store
from stemsep.store.verify import contents, verify
from tests.test_store import SPEC, blocks, folder, waves, write

SHARD = "train/a song/c.0.0.0.0.0"


def faults(one: Store) -> dict[str, list[str]]:
    return {name: found for name, found in verify(one) if found}


@pytest.fixture
def full(tmp_path: Path) -> Store:
    """Two tracks of several small shards."""
    return two_tracks(tmp_path)


def two_tracks(where: Path) -> Store:
    made = Store.create(where / "store", SPEC)
    for name in ("a song", "b"):
        write(made, name)
    return Store.open(folder(made))


def test_a_whole_store_has_no_faults(full: Store) -> None:
    assert [name for name, _ in verify(full)] == ["train/a song", "train/b"]
    assert faults(full) == {}


def test_a_near_silent_stem_is_no_fault(full: Store) -> None:
    quiet = np.full((2, 3000), 1e-7, np.float32)
    full.write_track("test", "quiet", samples=3000, sources={},
                     waves=[[quiet], None, [1e3 * quiet]])
    assert faults(Store.open(folder(full))) == {}


@pytest.mark.parametrize("place", [-1, -5000, 3])
def test_one_flipped_bit_is_found(full: Store, place: int) -> None:
    """In the last chunk, in one before, and in the index of the shard."""
    path = folder(full) / SHARD
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    found = faults(Store.open(folder(full)))
    assert list(found) == ["train/a song"] and len(found["train/a song"]) == 1
    assert "stem 'drums': " in found["train/a song"][0]


def test_what_is_missing_or_another_tracks_is_found(full: Store) -> None:
    (folder(full) / SHARD).unlink()
    loud = [None if wave is None else 2 * wave for wave in waves(3000)]
    full.write_track("train", "loud", samples=3000, waves=blocks(loud), sources={})
    other = folder(full) / "train" / "b"
    (other / "c.0.2.0.0.0").write_bytes((folder(full) / "train/loud/c.0.2.0.0.0").read_bytes())
    found = faults(Store.open(folder(full)))
    assert "stem 'drums': the store is damaged" in found["train/a song"][0]
    (sentence,) = found["train/b"]
    assert "stem 'rest': differs from its checksum; delete" in sentence and "b.json" in sentence
    (other / "zarr.json").write_text("{")
    assert "zarr.json: is missing or damaged" in faults(Store.open(folder(full)))["train/b"][0]


def test_damaged_records_and_leftovers_are_found(full: Store) -> None:
    (folder(full) / "index" / "train" / "b.json").write_text("{")
    (folder(full) / "test" / "half").mkdir(parents=True)
    (folder(full) / "train" / "a song" / "c.9.__lock").write_text("")
    found = faults(full)
    assert set(found) == {"train/b", "test/half", "train/a song/c.9.__lock"}
    assert "b.json: is damaged" in found["train/b"][0]
    assert "in no record" in found["test/half"][0]


def command(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "stemsep.store", *map(str, arguments)],
                          capture_output=True, text=True)


def test_the_commands(tmp_path: Path) -> None:
    full = two_tracks(tmp_path)
    done = command("verify", folder(full))
    assert done.returncode == 0 and "2 of 2 tracks are whole" in done.stdout, done.stderr
    values = json.loads((folder(full) / "index" / "train" / "b.json").read_text())
    values["checksums"][0][0] += 1
    (folder(full) / "index" / "train" / "b.json").write_text(json.dumps(values))
    done = command("verify", folder(full))
    assert done.returncode == 1
    assert "train/b: stem 'drums': differs from its checksum" in done.stderr
    assert "1 of 2 tracks are whole; 1 are not" in done.stdout
    done = command("info", folder(full))
    assert done.returncode == 0 and done.stdout == contents(full) + "\n"
    assert "8000 Hz, 2 channels, STFT 64/16" in done.stdout
    for arguments, words in ((["verify"], "give an action and a store"),
                             (["verifi", folder(full)], "did you mean 'verify'"),
                             (["info", tmp_path / "none"], "is no store")):
        done = command(*arguments)
        assert done.returncode == 1 and words in done.stderr and done.stderr.count("\n") == 1


def test_contents_count_where_a_stem_sounds(full: Store) -> None:
    (line,) = [line for line in contents(full).splitlines() if line.startswith("  train")]
    assert line.split()[1:] == ["2", "0.00", "2", "0", "2"]
