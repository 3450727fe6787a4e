"""Fixtures: an isolated cache, tiny files in the true formats, and a local server in the publishers' place."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import http.server
import os
import struct
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from relubench.data import preparation
from relubench.data.table import TABLE

REAL_DATA_DIR = os.environ.get("RELUBENCH_DATA_DIR")
"""Read before the isolation below removes it."""


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    """No test sees the user's cache or data, leaves anything in /tmp, or downloads unless it says so."""
    monkeypatch.setenv("RELUBENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("RELUBENCH_DATA_DIR", raising=False)
    monkeypatch.setenv("RELUBENCH_OFFLINE", "1")
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))  # For processes that a test starts.


@pytest.fixture
def real_mnist():
    """The data folder with the original MNIST files; skipped where there is none, failed where CI has it unusable."""
    if not REAL_DATA_DIR:
        pytest.skip("RELUBENCH_DATA_DIR is not set: no original MNIST files here")
    folder = Path(REAL_DATA_DIR)
    if preparation.status("mnist", folder) == "absent":
        reason = f"RELUBENCH_DATA_DIR={folder} holds no MNIST"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    return folder


@pytest.fixture
def shrink(monkeypatch):
    """Gives a row of the table other numbers, so that tiny files pass for the whole data set."""

    def change(name, n_train=12, n_valid=4, n_test=6):
        row = dataclasses.replace(TABLE[name], n_train=n_train, n_valid=n_valid, n_test=n_test)
        monkeypatch.setattr(preparation, "TABLE", {**preparation.TABLE, name: row})
        return row

    return change


def idx(array):
    """`array` (uint8) in MNIST's IDX format."""
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def md5(data):
    return hashlib.md5(data).hexdigest()


@pytest.fixture
def idx_set():
    """Four arrays and their IDX bytes by torchvision's name without .gz: (arrays, files)."""

    def make(n_train=16, n_test=6, train="train", test="t10k", classes=10, lowest=0, size=28):
        draw = np.random.default_rng(0)
        arrays, files = {}, {}
        for stem, n in ((train, n_train), (test, n_test)):
            x = draw.integers(0, 256, (n, size, size), dtype=np.uint8)
            y = (np.arange(n) % classes + lowest).astype(np.uint8)
            arrays |= {f"{stem}-images": x, f"{stem}-labels": y}
            files |= {f"{stem}-images-idx3-ubyte": idx(x), f"{stem}-labels-idx1-ubyte": idx(y)}
        return arrays, files

    return make


@pytest.fixture
def tiny_mnist(monkeypatch, shrink, idx_set, tmp_path):
    """Tiny MNIST .gz files in tmp_path/data/MNIST/raw whose md5s torchvision takes for the published: (arrays, raw)."""
    from torchvision.datasets import MNIST

    shrink("mnist")
    arrays, files = idx_set()
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    packed = {f"{name}.gz": gzip.compress(data, mtime=0) for name, data in files.items()}
    for name, data in packed.items():
        (raw / name).write_bytes(data)
    monkeypatch.setattr(MNIST, "resources", [(name, md5(data)) for name, data in packed.items()])
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/nobody-listens/"])
    monkeypatch.setattr(
        "relubench.data.sources.mnist.UNCOMPRESSED_MD5", {name: md5(data) for name, data in files.items()}
    )
    return arrays, raw


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args, asked, **kwargs):
        self.asked = asked
        super().__init__(*args, **kwargs)

    def log_message(self, format, *args):
        self.asked.append(self.path)

    def copyfile(self, source, outputfile):
        # torchvision looks for redirects with a request whose body it does not read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            super().copyfile(source, outputfile)


@pytest.fixture
def serve():
    """Serves a folder on 127.0.0.1: serve(folder) -> (base URL, list of the paths asked for)."""
    servers = []

    def start(folder):
        asked = []
        handler = functools.partial(_Quiet, directory=str(folder), asked=asked)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def small_npz(tmp_path):
    """Writes tmp_path/own.npz of a sound tiny data set with the given arrays exchanged (None: left out)."""

    def write(**changes):
        draw = np.random.default_rng(1)
        sound = {
            "x_train": draw.integers(0, 256, (24, 5, 6), dtype=np.uint8),
            "y_train": np.arange(24) % 3,
            "x_test": draw.integers(0, 256, (9, 5, 6), dtype=np.uint8),
            "y_test": np.arange(9) % 3,
        }
        path = tmp_path / "own.npz"
        np.savez(path, **{key: value for key, value in {**sound, **changes}.items() if value is not None})
        return path

    return write
