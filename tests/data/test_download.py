"""NORB downloaded from a server on this machine that breaks off, alters, ignores Range requests or answers nonsense."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import os
import re
import subprocess
import sys
import threading

import pytest

from relubench.data import preparation, prepare, status
from relubench.data.files import download
from relubench.data.table import TABLE
from relubench.errors import DataError
from tests.data.norb_writer import write_files

DAT = TABLE["norb"].remote[0].name


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, format, *args):
        pass

    def do_GET(self):
        server = self.server
        name, asked = self.path[1:], self.headers.get("Range")
        server.log.append((name, asked))
        if server.errors.get(name):
            self.send_error(server.errors[name].pop(0))
            return
        data = (server.folder / name).read_bytes()
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and server.resumes else 0
        if start >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        # As Apache does it for .gz files: a client that unpacked on the way would not get the published bytes.
        self.send_header("Content-Encoding", "x-gzip")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        cut = server.cuts[name].pop(0) if server.cuts.get(name) else len(data)
        self.wfile.write(data[start : max(start, cut)])


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server of 25 + 25 pairs as .mat.gz that the table takes for the publisher, with `log`, `cuts`, `errors`."""
    write_files(tmp_path / "served", "norb", 25, compress=True)
    (tmp_path / "data").mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.folder, server.log, server.cuts, server.errors, server.resumes = tmp_path / "served", [], {}, {}, True
    base = f"http://127.0.0.1:{server.server_address[1]}/"
    files = []
    for one in TABLE["norb"].remote:
        data = (server.folder / one.name).read_bytes()
        checksum = f"sha256:{hashlib.sha256(data).hexdigest()}"
        files.append(dataclasses.replace(one, url=base + one.name, size=len(data), checksum=checksum))
    server.row = dataclasses.replace(TABLE["norb"], remote=tuple(files))
    monkeypatch.setattr(preparation, "TABLE", {**TABLE, "norb": server.row})
    monkeypatch.setenv("RELUBENCH_OFFLINE", "0")
    monkeypatch.setattr(download, "FIRST_WAIT_S", 0.01)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def left(folder):
    """Everything in `folder` that is no whole source file."""
    found = [one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()]
    return [one for one in found if not (one.startswith("norb/") and one.endswith(".mat.gz"))]


def test_downloads_are_verified_moved_and_leave_nothing_else(server, tmp_path):
    said = []
    prepared = prepare("norb", data_dir=tmp_path / "data", progress=said.append)
    assert (prepared.n_train, prepared.n_valid, prepared.n_test) == (20, 5, 25)
    assert said[0].startswith("downloading norb from https://cs.nyu.edu/") and left(tmp_path / "data") == []
    assert sorted(one.name for one in (tmp_path / "data").iterdir()) == ["norb"]
    for one in server.row.remote:
        assert (tmp_path / "data" / "norb" / one.name).read_bytes() == (server.folder / one.name).read_bytes()


def test_a_broken_download_is_resumed_where_it_broke(server, tmp_path):
    half = server.row.remote[0].size // 2
    server.cuts[DAT] = [half]
    said = []
    prepare("norb", data_dir=tmp_path / "data", progress=said.append)
    assert [asked for name, asked in server.log if name == DAT] == [None, f"bytes={half}-"]
    assert any("trying again in 0.01 s" in one for one in said) and any("going on after" in one for one in said)


def test_a_failed_download_leaves_its_part_and_the_next_command_goes_on(server, tmp_path):
    half = server.row.remote[0].size // 2
    server.cuts[DAT] = [half]
    server.errors[DAT] = []
    server.cuts[DAT] += [half] * (download.ATTEMPTS - 1)
    with pytest.raises(
        DataError, match=rf"downloading it failed: .*{half} .*\({download.ATTEMPTS} attempts\)"
    ) as caught:
        prepare("norb", data_dir=tmp_path / "data")
    assert caught.value.exit_code == 3 and left(tmp_path / "data") == [f".relubench-norb/{DAT}.part"]
    server.log.clear()
    assert prepare("norb", data_dir=tmp_path / "data").n_test == 25
    assert server.log[0] == (DAT, f"bytes={half}-") and left(tmp_path / "data") == []


def test_whole_files_stay_when_a_later_one_fails(server, tmp_path):
    last = server.row.remote[-1].name
    server.errors[last] = [404]
    with pytest.raises(DataError, match=r"downloading it failed: 404 Client Error"):
        prepare("norb", data_dir=tmp_path / "data")
    assert left(tmp_path / "data") == [] and status("norb", tmp_path / "data").startswith("incomplete: ")
    server.log.clear()
    prepare("norb", data_dir=tmp_path / "data")
    assert server.log == [(last, None)]


def test_an_altered_file_is_refused_and_deleted(server, tmp_path):
    path = server.folder / DAT
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match=rf"SHA256 hash of downloaded file \({DAT}\) does not match") as caught:
        prepare("norb", data_dir=tmp_path / "data")
    assert (
        caught.value.exit_code == 3 and left(tmp_path / "data") == [] and status("norb", tmp_path / "data") == "absent"
    )
    path.write_bytes(whole)
    assert prepare("norb", data_dir=tmp_path / "data").n_test == 25


def test_a_file_of_another_size_is_refused_before_it_is_downloaded(server, tmp_path):
    (server.folder / DAT).write_bytes(b"<html>moved</html>")
    with pytest.raises(DataError, match="the server has 18 bytes, the published file"):
        prepare("norb", data_dir=tmp_path / "data")


def test_a_server_that_ignores_range_is_started_over(server, tmp_path):
    server.resumes, server.cuts[DAT] = False, [1000]
    said = []
    prepare("norb", data_dir=tmp_path / "data", progress=said.append)
    assert [asked for name, asked in server.log if name == DAT] == [None, "bytes=1000-"]
    assert any("does not resume, starting over" in one for one in said)


@pytest.mark.parametrize("extra", [0, 5])
def test_a_part_as_long_as_the_file_or_longer_is_settled(server, tmp_path, extra):
    staging = tmp_path / "data" / ".relubench-norb"
    staging.mkdir(parents=True)
    (staging / f"{DAT}.part").write_bytes((server.folder / DAT).read_bytes() + b"x" * extra)
    assert prepare("norb", data_dir=tmp_path / "data").n_test == 25
    assert [name for name, _ in server.log].count(DAT) == (2 if extra else 1) and left(tmp_path / "data") == []


def test_passing_errors_are_waited_out(server, tmp_path):
    server.errors[DAT] = [503, 429]
    assert prepare("norb", data_dir=tmp_path / "data").n_test == 25


def test_an_unreachable_server_is_named_once_and_briefly(server, tmp_path, monkeypatch):
    remotes = tuple(dataclasses.replace(one, url="http://localhost:1/x") for one in server.row.remote)
    monkeypatch.setattr(preparation, "TABLE", {"norb": dataclasses.replace(server.row, remote=remotes)})
    with pytest.raises(DataError, match=r"(?m)failed: http://localhost:1/x: Failed to .{1,80} \(5 attempts\)$"):
        prepare("norb", data_dir=tmp_path / "data")


TWIN = """
import dataclasses, json, sys
from pathlib import Path
from relubench.data import preparation, prepare
from relubench.data.files.download import Remote
from relubench.data.table import TABLE
files = tuple(Remote(**one) for one in json.loads(sys.argv[2]))
preparation.TABLE = {**TABLE, "norb": dataclasses.replace(TABLE["norb"], remote=files)}
print(prepare("norb", data_dir=Path(sys.argv[1])).digest)
"""


def test_two_processes_download_once(server, tmp_path):
    import json

    argv = [sys.executable, "-c", TWIN, str(tmp_path / "data")]
    argv.append(json.dumps([dataclasses.asdict(one) for one in server.row.remote]))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    both = [subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    digests = {one.communicate(timeout=300)[0] for one in both}
    assert all(one.returncode == 0 for one in both) and len(digests) == 1
    assert len(server.log) == 6 and left(tmp_path / "data") == []
