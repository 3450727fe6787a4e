"""Texts: a user's file and folder, Python's documentation, and downloads from a server on this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import io
import json
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from relubench.data import DataOptions, arrays, outline, preparation, prepare
from relubench.data.description import lines_about
from relubench.data.reference import obtain
from relubench.data.source_row import SourceRow
from relubench.data.sources import text
from relubench.data.table import TABLE
from relubench.data.table_outline import task_of_data
from relubench.errors import DataError, UsageError

SENTENCES = "".join(f"The square of {number} is {number**2}.\n" for number in range(400)).encode()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_bytes(SENTENCES)
    return path


def parts(prepared) -> list[bytes]:
    return [arrays(prepared, split)[0].tobytes() for split in ("train", "valid", "test")]


def test_a_file_is_three_contiguous_parts_and_windows_of_them(corpus: Path):
    prepared = prepare(str(corpus), options=DataOptions(context=16))
    train, valid, test = parts(prepared)
    assert train + valid + test == SENTENCES and len(valid) == len(test) == len(SENTENCES) // 10
    assert prepared.task == "language" and prepared.classes == 256
    assert prepared.input_shape == (16,) and prepared.context == 16
    assert prepared.n_valid == (len(valid) - 1) // 16 and prepared.n_train == (len(train) - 16) // 16
    assert task_of_data(str(corpus)) == "language" and task_of_data("digits") == "classification"


def test_the_context_is_part_of_the_digest_and_one_copy_serves_all(corpus: Path):
    short, long = (prepare(str(corpus), options=DataOptions(context=context)) for context in (16, 32))
    assert short.digest != long.digest and short.folder == long.folder
    for prepared in (short, long):
        # Where it comes from is said in other words there.
        assert dataclasses.replace(obtain(prepared.reference), source=prepared.source) == prepared
    few = prepare(str(corpus), options=DataOptions(context=16, train_size=20))
    assert few.n_train == 20 and few.digest not in (short.digest, long.digest) and few.folder == short.folder
    with pytest.raises(UsageError, match=f"train_size 99999 is more than the {short.n_train} training"):
        prepare(str(corpus), options=DataOptions(context=16, train_size=99_999))


def test_the_bytes_are_mapped_and_never_copied(corpus: Path):
    x, y = arrays(prepare(str(corpus)), "train")
    assert isinstance(x, np.memmap) and x.dtype == np.uint8 and len(y) == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_large_text_takes_no_memory_of_a_worker_s_own(tmp_path: Path):
    path = tmp_path / "large.txt"
    path.write_bytes(np.random.default_rng(0).integers(32, 127, 20_000_000, dtype=np.uint8).tobytes())
    reference = prepare(str(path)).reference
    code = (
        "import json, re, sys, torch\n"
        "from relubench.data.prepared import DataReference\n"
        "from relubench.data.reference import obtain\n"
        "from relubench.training.text import open_data\n"
        "def anonymous(): return int(re.search(r'RssAnon:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 1024\n"
        "torch.randperm(1000); before = anonymous()\n"
        "data = open_data(obtain(DataReference.from_json(json.loads(sys.argv[1]))), device='cpu', flat=True)\n"
        "for index in data.epoch_order(0, 0).split(1000): data.train_batch(index)\n"
        "print(anonymous() - before)\n"
    )
    argv = [sys.executable, "-c", code, json.dumps(reference.to_json())]
    grown = float(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    # 125,000 windows' places take 1 MB, a thousand windows 3 MB; the text itself would take 16.
    assert grown < 10


def test_a_folder_of_texts_is_joined_in_the_order_of_its_names(tmp_path: Path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.md").write_bytes(SENTENCES[:2000])
    (tmp_path / "a.txt").write_bytes(SENTENCES[2000:4000])
    (tmp_path / ".hidden.txt").write_bytes(b"not this")
    (tmp_path / "c.json").write_bytes(b"nor this")
    prepared = prepare(f"{tmp_path}/")
    assert b"".join(parts(prepared)) == SENTENCES[2000:4000] + b"\n" + SENTENCES[:2000]
    assert prepared.facts is not None and "2 files joined in the order of their names" in prepared.facts.notes


def test_bytes_that_are_no_utf_8_are_taken_and_told(tmp_path: Path):
    path = tmp_path / "latin.txt"
    path.write_bytes(b"abc" * 500 + "für".encode("latin-1") + b"abc" * 500)
    (line,) = lines_about([prepare(str(path))])
    assert "not UTF-8 from byte 1,501 on: its bytes are used as they are" in line
    path.write_bytes("für ".encode() * 500)
    assert "UTF-8" not in lines_about([prepare(str(path))])[0]


def test_a_character_across_two_blocks_is_utf_8(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(text, "BLOCK", 7)
    for content in ("aäöü€𝄞bc".encode() * 5, b"abcdef\xc3zabc", "aäö€".encode() * 5 + b"\xc3", b"abcdefg\x80"):
        try:
            content.decode()
            expected = None
        except UnicodeDecodeError as error:
            expected = error.start
        assert text._not_utf8_at(np.frombuffer(content, np.uint8)) == expected


@pytest.mark.parametrize(
    ("content", "options", "error", "message"),
    [
        (b"", {}, DataError, "is empty"),
        (b"a" * 5000, {}, DataError, "consists of one character only"),
        (SENTENCES[:1000], {}, DataError, "validation part of .* has 100 characters, which is less than a context of"),
        (SENTENCES, {"context": 20_000}, DataError, "training part of .* characters, which is less than a context"),
        (SENTENCES, {"labels": 5}, UsageError, "data.labels is for images"),
        (SENTENCES, {"image_size": 8}, UsageError, "image_size is for folders of images"),
        (SENTENCES, {"task": "regression"}, UsageError, "the next character of a text is predicted"),
        (SENTENCES, {"target": "price"}, UsageError, "--target price names a column of a table"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, content: bytes, options: dict, error: type, message: str):
    path = tmp_path / "corpus.txt"
    path.write_bytes(content)
    with pytest.raises(error, match=message) as refused:
        prepare(str(path), options=DataOptions(**options))
    assert refused.value.hint


def test_the_cure_of_a_short_text_works(tmp_path: Path):
    path = tmp_path / "corpus.txt"
    path.write_bytes(SENTENCES[:1000])
    with pytest.raises(DataError) as refused:
        prepare(str(path))
    context = int(refused.value.hint.rpartition(" ")[2])
    assert prepare(str(path), options=DataOptions(context=context)).n_test >= 1


def test_a_missing_file_has_near_names(corpus: Path):
    with pytest.raises(DataError, match=r"there is no file .*corpsu\.txt") as refused:
        prepare(str(corpus.with_name("corpsu.txt")))
    assert str(corpus) in refused.value.hint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": 5}, "data.labels is for images, and docs is a text"),
        ({"task": "classification"}, "data.task is for data of your own: docs poses language"),
        ({"target": "price"}, "--target price names a column of a table: docs is none"),
    ],
)
def test_options_of_other_data_mean_nothing_to_a_text_of_the_table(options: dict, message: str):
    with pytest.raises(UsageError, match=message):
        prepare("docs", options=DataOptions(**options))


def test_a_context_means_nothing_to_images():
    with pytest.raises(UsageError, match="--context belongs to texts, and digits is none"):
        prepare("digits", options=DataOptions(context=16))


def test_the_documentation_of_python_is_a_text():
    from pydoc_data.topics import topics

    prepared = prepare("docs")
    content = b"".join(parts(prepared))
    assert content.startswith(topics[min(topics)].encode()) and len(content) > 300_000
    assert prepared.context == 128 and outline("docs", DataOptions()) is None
    sketch = outline("text8", DataOptions(context=100))
    assert sketch is not None and sketch.n_train == 899_999 and sketch.n_test == 49_999 and sketch.digest == ""


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, format, *args):
        pass

    def do_GET(self):
        content = self.server.files[self.path[1:]]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def small_row(name: str, base: str, content: bytes, size: int) -> SourceRow:
    """The row of a published text, with a file of this content on the local server."""
    row = TABLE[name]
    (remote,) = row.remote
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    local = dataclasses.replace(remote, url=base + remote.name, size=len(content), checksum=checksum)
    held_out = size // 20
    return dataclasses.replace(row, remote=(local,), n_train=size - 2 * held_out, n_valid=held_out, n_test=held_out)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    """A server with a text in the format of each published one; the table takes it for the publisher."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("enwik8", SENTENCES)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files = {"input.txt": SENTENCES, "enwik8.zip": packed.getvalue()}
    base = f"http://127.0.0.1:{server.server_address[1]}/"
    rows = {
        "shakespeare": small_row("shakespeare", base, SENTENCES, len(SENTENCES)),
        "enwik8": small_row("enwik8", base, packed.getvalue(), len(SENTENCES)),
    }
    monkeypatch.setattr(preparation, "TABLE", {**TABLE, **rows})
    monkeypatch.setitem(text.MD5, "enwik8", hashlib.md5(SENTENCES).hexdigest())
    monkeypatch.setenv("RELUBENCH_OFFLINE", "0")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["shakespeare", "enwik8"])
def test_published_texts_are_downloaded_verified_and_split_by_bytes(server, name: str, tmp_path: Path):
    prepared = prepare(name, data_dir=tmp_path, options=DataOptions(context=16))
    train, valid, test = parts(prepared)
    assert train + valid + test == SENTENCES and len(valid) == len(test) == len(SENTENCES) // 20
    assert "contiguous" in prepared.source and prepared.name == name
    server.files = {}
    assert prepare(name, data_dir=tmp_path, options=DataOptions(context=16)) == prepared


def test_a_download_that_is_altered_is_refused(server, tmp_path: Path):
    server.files["input.txt"] = SENTENCES[:-1] + b"!"
    with pytest.raises(DataError, match=r"downloading it failed: .*hash"):
        prepare("shakespeare", data_dir=tmp_path)


def test_a_file_that_is_another_is_refused(server, tmp_path: Path):
    (tmp_path / "shakespeare").mkdir()
    (tmp_path / "shakespeare" / "input.txt").write_bytes(SENTENCES[:-5])
    with pytest.raises(DataError, match=r"input.txt has [\d,]+ bytes, not"):
        prepare("shakespeare", data_dir=tmp_path)
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("enwik8", SENTENCES[::-1])
    (tmp_path / "enwik8").mkdir()
    (tmp_path / "enwik8" / "enwik8.zip").write_bytes(other.getvalue())
    with pytest.raises(DataError, match="is altered: its md5 is"):
        prepare("enwik8", data_dir=tmp_path)
    (tmp_path / "enwik8" / "enwik8.zip").write_bytes(b"no archive")
    with pytest.raises(DataError, match="is damaged"):
        prepare("enwik8", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "size"), [("text8", 100_000_000), ("enwik8", 100_000_000), ("shakespeare", 1_115_394)]
)
def test_the_table_has_the_published_sizes(name: str, size: int):
    row = TABLE[name]
    assert row.n_train + row.n_valid + row.n_test == size and row.remote[0].checksum.startswith("sha256:")
