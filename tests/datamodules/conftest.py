"""What the tests of the data modules share: the real files, and a tiny data set on a server of our own."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from recipebench.datamodules import fetch
from recipebench.datamodules.catalog import FACTS, Facts, File
from recipebench.levels import Choice

NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


@pytest.fixture
def real_files() -> Callable[[str], dict[File, Path]]:
    """Find the real files of a data set, or skip where this machine has none."""

    def find(name: str) -> dict[File, Path]:
        found = {file: path for file, path in fetch.locate(Choice(name, {})).items() if path}
        if len(found) < len(FACTS[name].files):
            pytest.skip(f"the files of {name} are not here: name their folder in ${fetch.ENVIRONMENT}")
        return found

    return find


def idx_bytes(array: np.ndarray) -> bytes:
    """Encode a uint8 array in the IDX format."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@dataclass
class Tiny:
    """A data set in the layout of MNIST with 30 training and 10 test images of 4 x 4 pixels."""

    facts: Facts
    packed: dict[str, bytes]
    plain: dict[str, bytes]

    def write(self, folder: Path, *, unpacked: bool = False) -> Path:
        """Put the files below a folder in torchvision's layout."""
        raw = folder / "MNIST" / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        for name in self.packed:
            path = raw / name
            if unpacked:
                path.with_suffix("").write_bytes(self.plain[name])
            else:
                path.write_bytes(self.packed[name])
        return folder


@dataclass
class Server:
    """A web server on the loopback interface whose behavior for each path can be chosen."""

    contents: dict[str, bytes]
    faults: dict[str, list[str]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def fault(self, name: str) -> str:
        """Return what is to go wrong with the next answer for a file: the planned faults, one by one."""
        planned = self.faults.get(name, [])
        return planned.pop(0) if planned else ""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tiny:
    """Stand a tiny data set in for MNIST, with a cache folder of its own and no data folder set."""
    random = np.random.default_rng(0)
    arrays = (
        random.integers(0, 256, (30, 4, 4), dtype=np.uint8),
        random.integers(0, 10, 30, dtype=np.uint8),
        random.integers(0, 256, (10, 4, 4), dtype=np.uint8),
        random.integers(0, 10, 10, dtype=np.uint8),
    )
    plain = {name: idx_bytes(array) for name, array in zip(NAMES, arrays, strict=True)}
    packed = {name: gzip.compress(data, mtime=0) for name, data in plain.items()}
    files = tuple(_file(name, packed[name], plain[name]) for name in NAMES)
    facts = replace(
        FACTS["mnist"], files=files, mirrors=(), shape=(1, 4, 4), train=30, test=10, mean=0.5, std=0.25
    )
    monkeypatch.setitem(FACTS, "mnist", facts)
    monkeypatch.setattr("recipebench.datamodules.mnist.MNIST.facts", facts)
    monkeypatch.setattr(fetch, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv(fetch.ENVIRONMENT, raising=False)
    return Tiny(facts, packed, plain)


@pytest.fixture
def server(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve the tiny data set as its only mirror; pooch does not wait between attempts."""
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    here = Server(dict(tiny.packed))
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _handler(here))
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    here.url = f"http://127.0.0.1:{httpd.server_port}/"
    monkeypatch.setitem(FACTS, "mnist", replace(tiny.facts, mirrors=(here.url,)))
    yield here
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def _file(name: str, packed: bytes, plain: bytes) -> File:
    return File(
        path=f"MNIST/raw/{name}",
        size=len(packed),
        sha256=hashlib.sha256(packed).hexdigest(),
        plain_size=len(plain),
        plain_sha256=hashlib.sha256(plain).hexdigest(),
    )


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            server.requests.append(name)
            fault = server.fault(name)
            if fault == "absent" or name not in server.contents:
                self.send_error(404)
                return
            data = server.contents[name]
            length = len(data)
            if fault == "closes midway":
                data = data[: len(data) // 2]
            elif fault == "wrong byte":
                data = bytes([data[0] ^ 1]) + data[1:]
            elif fault == "too long":
                data, length = data * 50, length * 50
            self.send_response(200)
            if fault != "closes midway without length":
                self.send_header("Content-Length", str(length))
            else:
                data = data[: len(data) // 2]
            self.end_headers()
            self.wfile.write(data)
            self.close_connection = True

        def log_message(self, *args: object) -> None:
            """Keep quiet."""

    return Handler
