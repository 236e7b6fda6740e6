"""Whatever a file holds, it is read, or refused in one sentence that names it: on a thousand files
that are odd or damaged.
"""

import http.server
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemsep import audio, datasets
from stemsep.config import Config
from stemsep.datasets.__main__ import inspect
from stemsep.datasets.inspect import look
from stemsep.datasets.tracks import SPLITS
from stemsep.errors import InputError
from stemsep.preprocess import Summary, preprocess
from stemsep.store import Store
from stemsep.store.verify import verify
from tests import corpus, trees

GOOD = "drums.wav"      # the sound file beside each
LIMIT_S = 5             # for one file
ROOM = 2 << 30          # bytes of memory beyond what is there, and of a file on disk


class Case:
    """A song of a good file and one of the corpus."""

    def __init__(self, folder: Path, name: str, data: bytes) -> None:
        suffix = name.rpartition(".")[2]
        self.name, self.path = name, folder / name / f"case.{suffix}"
        trees.write(self.path.with_name(GOOD), trees.noise(1500))
        self.path.write_bytes(data)


@pytest.fixture(scope="module")
def asked() -> Iterator[tuple[str, list[str]]]:
    """A server's address, and what it was asked for."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/song.wav", paths
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory,
          asked: tuple[str, list[str]]) -> list[Case]:
    folder = tmp_path_factory.mktemp("fuzz") / "songs"
    good = trees.write(folder.parent / "good.wav", trees.noise(2000))
    files = corpus.cases(path=str(good), address=asked[0])
    assert len(files) >= 900
    return [Case(folder, name, data) for name, data in files.items()]


@pytest.fixture(autouse=True)
def no_traceback(capfd: pytest.CaptureFixture) -> Iterator[None]:
    """Libraries print some too."""
    yield
    assert "Traceback" not in capfd.readouterr().err


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """What a header claims is not to be allocated, on disk or in memory, before it is found."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = {resource.RLIMIT_AS: pages * resource.getpagesize() + ROOM,
              resource.RLIMIT_FSIZE: ROOM}
    before = {kind: resource.getrlimit(kind) for kind in limits}
    for kind, limit in limits.items():
        resource.setrlimit(kind, (limit, before[kind][1]))
    yield
    for kind, pair in before.items():
        resource.setrlimit(kind, pair)


def outcome(action: Callable[[Any], Any], argument: Any, path: Path) -> tuple[Any, str]:
    """Return the result or the InputError, and what is wrong with how it ended, or ""."""
    def give_up(*_: object) -> None:
        raise TimeoutError(f"took more than {LIMIT_S} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LIMIT_S)
    try:
        return action(argument), ""
    except InputError as error:
        return error, fault(str(error), path)
    except BaseException as error:
        return None, f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)


def fault(sentence: str, path: Path) -> str:
    """Return what is wrong with a sentence about a file, or ""."""
    whole = sentence.startswith(str(path)) and "; " in sentence and sentence.isprintable()
    return "" if whole else f"is told as {sentence!r}"


def joined(path: Path) -> np.ndarray:
    return np.concatenate(list(audio.blocks(path, 700)), 1)


def test_every_file_is_read_or_refused_in_a_sentence(cases: list[Case]) -> None:
    faults, good = [], 0
    for case in cases:
        (info, *a), (whole, *b), (blocks, *c) = (
            outcome(action, case.path, case.path) for action in (audio.probe, audio.read, joined))
        found = [f"{case.name}: {words}" for words in (*a, *b, *c) if words]
        if not found and not isinstance(whole, InputError):
            good += 1
            wave_CN, rate = whole
            if not np.array_equal(wave_CN, blocks):
                found.append(f"{case.name}: its blocks are not what is read at once")
            if info != audio.AudioInfo(rate, *wave_CN.shape) or not np.isfinite(wave_CN).all():
                found.append(f"{case.name}: is not what its header says")
        elif not found and not isinstance(blocks, InputError):
            found.append(f"{case.name}: its blocks are read, and all at once is not")
        faults += found
    assert not faults, "\n".join(faults)
    assert 300 < good < len(cases) - 300        # neither is everything damage, nor is nothing


def test_playlists_are_not_followed(cases: list[Case], asked: tuple[str, list[str]]) -> None:
    lists = [case for case in cases if case.name in corpus.PLAYLISTS]
    assert len(lists) == len(corpus.PLAYLISTS)
    for case in lists:
        assert isinstance(outcome(audio.read, case.path, case.path)[0], InputError), case.name
    assert not asked[1]


def test_whole_files_are_read_in_every_format(tmp_path: Path) -> None:
    for name, data in corpus.whole().items():
        (tmp_path / name).write_bytes(data)
        wave_CN, rate = audio.read(tmp_path / name)
        assert audio.probe(tmp_path / name) == audio.AudioInfo(rate, *wave_CN.shape), name
        assert wave_CN.shape[1] >= corpus.SAMPLES and 0.1 < np.abs(wave_CN).max() < 1.5, name


def configured(songs: Path) -> Config:
    c = Config(name="fuzz")
    c.data.source, c.data.store = f"folders:{songs}", str(songs.parent / "store")
    c.data.targets = {"drums": ["drums"], "others": "rest"}
    c.data.workers, c.audio.surround = 1, "front"
    c.audio.sample_rate, c.audio.n_fft, c.audio.hop = trees.RATE, 64, 16
    return c.check()


@pytest.fixture(scope="module")
def preprocessed(cases: list[Case]) -> tuple[Summary, Store]:
    config = configured(cases[0].path.parents[1])
    return preprocess(config, progress=False), Store.open(config.store)


def test_a_store_of_it_all_is_whole(cases: list[Case],
                                    preprocessed: tuple[Summary, Store]) -> None:
    summary, store = preprocessed
    assert len(summary.written) > 300 and len(summary.failed) > 300
    assert len(summary.written) + len(summary.failed) == len(cases)
    paths = {case.name: case.path for case in cases}
    told = {name.split("/")[1]: why for name, why in summary.failed.items()}
    assert not [words for name, why in told.items()
                if "float16" not in why and (words := fault(why, paths[name]))]
    assert not [(name, wrong) for name, wrong in verify(store) if wrong]
    records = {f"{split}/{record.name}": record
               for split in SPLITS for record in store.tracks(split)}
    assert set(records) == set(summary.written)
    for record in records.values():
        assert record.frames == store.spec.stft.frames(record.samples) and record.samples >= 1500
        spec = store.read(record, 0, record.frames, stems=range(2)).result()
        assert np.isfinite(spec).all() and np.isfinite([*record.norms, *record.power]).all()
    for split in SPLITS:
        folders = {path.name for path in (Path(str(store.place)) / split).glob("*")}
        assert folders == {record.name for record in records.values() if record.split == split}


def test_the_store_has_what_is_read(cases: list[Case],
                                    preprocessed: tuple[Summary, Store]) -> None:
    """A file that reads by itself is in the store; one that does not, is not."""
    written = {name.split("/")[1] for name in preprocessed[0].written}
    failed = {name.split("/")[1]: why for name, why in preprocessed[0].failed.items()}
    for case in cases:
        result, _ = outcome(audio.read, case.path, case.path)
        if isinstance(result, InputError):
            assert case.name in failed, f"{case.name}: {result}"
        elif case.name not in written:      # a sound beyond what float16 holds
            assert "float16" in failed[case.name], f"{case.name}: {failed[case.name]}"


def test_looking_at_it_all(cases: list[Case]) -> None:
    source = f"folders:{cases[0].path.parents[1]}"
    faults: dict[str, InputError] = {}
    looks = inspect(source, faults, datasets.Remarks(), recipe="", listen=True, workers=1)
    assert len(looks) + len(faults) == len(cases)
    paths = {case.name: case.path for case in cases}
    assert not [words for name, why in faults.items()
                if (words := fault(str(why), paths[name.split("/")[1]]))]
    for track in datasets.tracks(source, stems=None):
        _, words = outcome(lambda track: look(track, listen=False), track, paths[track.name])
        assert not words, f"{track.name}: {words}"
