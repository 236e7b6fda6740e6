"""Whatever is killed, filled up or replaced while a store is made: the next run makes it whole."""

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from stemsep.store import Store
from stemsep.store.verify import verify
from tests import trees
from tests.test_preprocess import ROOT, command, contents

TRACKS = 12
KILLS = {"local": 20, "ray": 4}       # half of them of the parent, half of a worker


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Songs of several shards a stem, beside the store that an undisturbed run makes of them."""
    folder = tmp_path_factory.mktemp("kills") / "songs"
    for number in range(TRACKS):
        samples = 90000 + 3000 * number     # more than one shard of 4096 frames of 16 samples
        trees.song(folder / f"song {number}", {
            name: trees.noise(samples, seed=10 * number + place)
            for place, name in enumerate(("drums", "bass", "piano"))}, suffix=".flac")
    finish(folder)
    (folder.parent / "store").rename(folder.parent / "undisturbed")
    return folder


def finish(songs: Path, *arguments: str) -> str:
    """Run to the end; returns what was said."""
    done = subprocess.run(command(songs, "--config.data.workers=2", *arguments), cwd=ROOT,
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_whole(songs: Path) -> None:
    store = songs.parent / "store"
    found = dict(verify(Store.open(store)))
    assert len(found) == TRACKS and not any(found.values()), found
    assert contents(store) == contents(songs.parent / "undisturbed")


def files_in(store: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(store))


def workers_of(parent: psutil.Process) -> list[psutil.Process]:
    """Return the processes that work on tracks: spawned ones, or those of Ray."""
    found = []
    for child in parent.children(recursive=True):
        try:
            line = " ".join(child.cmdline())
        except psutil.Error:
            continue
        if "spawn_main" in line or line.startswith("ray::"):
            found.append(child)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("engine", KILLS)
def test_killed_at_any_moment_it_ends_in_the_same_store(songs: Path, engine: str) -> None:
    store, rng, interrupted = songs.parent / "store", random.Random(engine), 0
    total = files_in(songs.parent / "undisturbed")
    line = command(songs, "--config.data.workers=2", f"--config.data.engine={engine}")
    for kill in range(KILLS[engine]):
        shutil.rmtree(store, ignore_errors=True)
        process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        parent = psutil.Process(process.pid)
        least = rng.randint(1, total - 8)
        while files_in(store) < least and process.poll() is None:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.01))
        if kill % 2:        # the others go on, and so does the parent
            workers = workers_of(parent) if process.poll() is None else []
            if workers:
                interrupted += 1
                rng.choice(workers).kill()
            # A track is given up when its worker dies twice; the next run makes it.
            assert process.wait(timeout=300) in (0, 1)
        else:
            interrupted += process.poll() is None
            process.kill()
            process.wait()
        finish(songs, f"--config.data.engine={engine}")
        assert_whole(songs)
    assert interrupted >= KILLS[engine] // 2      # most runs were still under way


@pytest.mark.slow
def test_a_full_disk_and_a_replaced_source_spoil_nothing(songs: Path, tmp_path: Path) -> None:
    """On a file system of 2 MB, then on a larger one; then with one song replaced."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)],
                             capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        line = command(songs, "--config.data.workers=2", f"--config.data.store={disk / 'store'}")
        full = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert full.returncode == 1 and "Traceback" not in full.stderr
        assert "No space left on device); free some space" in full.stderr
        found = dict(verify(Store.open(disk / "store")))
        assert len(found) < TRACKS and not any(found.values()), found
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        finish(songs, f"--config.data.store={disk / 'store'}")
        assert contents(disk / "store") == contents(songs.parent / "undisturbed")
    finally:
        subprocess.run(["umount", str(disk)], check=True)

    store, changed = songs.parent / "store", songs / "song 3" / "bass.flac"
    shutil.rmtree(store, ignore_errors=True)
    process = subprocess.Popen(command(songs, "--config.data.workers=2"), cwd=ROOT,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while files_in(store) < 30 and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    process.wait()
    before = changed.read_bytes()
    trees.write(changed, trees.noise(50000, seed=999))
    try:
        finish(songs)
        found = dict(verify(Store.open(store)))
        assert len(found) == TRACKS and not any(found.values())
        different = {name for name, value in contents(songs.parent / "undisturbed").items()
                     if contents(store).get(name) != value}
        assert different and all("song 3" in name for name in different)
    finally:
        changed.write_bytes(before)
    assert "bass.flac" in finish(songs)
    assert dict(verify(Store.open(store))) and not any(dict(verify(Store.open(store))).values())
