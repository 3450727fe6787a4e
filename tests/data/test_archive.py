"""A .npz file that anybody may have made: what is wrong with it is said with its name, in bounded memory and time."""

from __future__ import annotations

import io
import os
import random
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relubench.data import memory, prepare
from relubench.data.formats.npz_archive import opened
from relubench.errors import DataError
from tests.data.fuzzing import check_npz, hostile_npz

FIRST, LOCAL = b"PK\x01\x02", b"PK\x03\x04"


def members(path):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def rewrite(path, changes, method=zipfile.ZIP_STORED):
    """The archive with the members `changes` in it; returns its path."""
    content = {**members(path), **changes}
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in content.items():
            file.writestr(name, data)
    return path


def headed(shape, descr="'|u1'", data=b"", version=1):
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes((version, 0)) + len(text).to_bytes(2 if version == 1 else 4, "little") + text + data


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (headed("(24, 5, 6)", data=b"0" * 719), r"announces uint8 \(24, 5, 6\) in x_train, and has 719 bytes of it"),
        (headed("(10**6,)"), r"is not a whole .npz file \(at x_train\)"),
        (headed("(1000000, 1000000, 1000000)"), "announces uint8 .* in x_train, and has 0 bytes of it"),
        (headed("(-24, 5, 6)", data=b"0" * 720), r"its header announces the shape \(-24, 5, 6\)"),
        (headed("(24, 5", data=b"0" * 720), r"is not a whole .npz file \(at x_train\)"),
        (headed("(" * 3000), r"is not a whole .npz file \(at x_train\)"),
        (headed("(24, 30)", "'|O'", b"0" * 5760), "holds Python objects in x_train"),
        (headed("(24, 30)", "[('a', '|u1')]", b"0" * 720), r"has \[\('a', 'u1'\)\] pixels in x_train"),
        (headed("(24, 30)", "'<M8[s]'", b"0" * 5760), r"has datetime64\[s\] pixels in x_train"),
        (headed("(24, 30)", "'nonsense'", b"0" * 720), r"is not a whole .npz file \(at x_train\)"),
        (headed("(24, 30)", data=b"0" * 720, version=9), "its format 9.0 is unknown"),
        (b"\x93NUMPY\x02\x00" + (10**8).to_bytes(4, "little") + b" " * 99, "its header has 100,000,000 bytes"),
        (b"", r"is not a whole .npz file \(at x_train\): it ends too early"),
        (b"GIF89a", r"is not a whole .npz file \(at x_train\)"),
    ],
)
def test_odd_headers_are_refused_with_the_file_and_the_array(small_npz, member, message):
    with pytest.raises(DataError, match=f"own.npz .*{message}") as caught:
        prepare(str(rewrite(small_npz(), {"x_train.npy": member})))
    assert caught.value.exit_code == 3 and caught.value.hint


@pytest.mark.parametrize("descr", [">f4", "<f2", ">f8", "<f8", "<g", "|b1", ">i8", "<u2", "<i2"])
def test_numbers_of_every_size_and_byte_order_are_read(small_npz, descr):
    x = np.random.default_rng(0).integers(0, 2, (24, 5, 6)).astype(descr)
    plain, odd = (prepare(str(small_npz(x_train=one, x_test=one[:9]))) for one in (x.astype(np.float64), x))
    assert (plain.n_train, plain.input_shape) == (odd.n_train, odd.input_shape)
    both = [np.load(one.folder / "x_train.npy") * one.scale for one in (plain, odd)]
    assert np.array_equal(*both) and both[0].max() == 1


def test_the_order_in_memory_and_a_missing_suffix_change_nothing(small_npz, tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (24, 2, 5, 6), dtype=np.uint8)
    first = prepare(str(small_npz(x_train=x, x_test=x[:9])))
    turned = prepare(str(small_npz(x_train=np.asfortranarray(x), x_test=x[:9])))
    assert np.array_equal(*(np.load(one.folder / "x_train.npy") for one in (first, turned)))
    bare = {name.removesuffix(".npy"): data for name, data in members(tmp_path / "own.npz").items()}
    with zipfile.ZipFile(tmp_path / "bare.npz", "w") as file:
        for name, data in bare.items():
            file.writestr(name, data)
    assert prepare(str(tmp_path / "bare.npz")).n_train == 20


def test_encryption_is_named(small_npz):
    path = small_npz()
    content = bytearray(path.read_bytes())
    for mark, place in ((FIRST, 8), (LOCAL, 6)):
        start = -1
        while (start := content.find(mark, start + 1)) >= 0:
            content[start + place] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"own.npz is encrypted \(at x_train\)"):
        prepare(str(path))


@pytest.mark.parametrize(("method", "name"), [(zipfile.ZIP_LZMA, "lzma"), (zipfile.ZIP_BZIP2, "bzip2")])
def test_compression_that_numpy_does_not_write_is_named(small_npz, method, name):
    with pytest.raises(DataError, match=f"holds x_train compressed by the method {name}") as caught:
        prepare(str(rewrite(small_npz(), {}, method)))
    assert "savez_compressed" in caught.value.hint
    assert prepare(str(rewrite(small_npz(), {}, zipfile.ZIP_DEFLATED))).n_train == 20


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_array_that_is_there_twice_is_refused(small_npz):
    path = small_npz()
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("y_test.npy", b"")
    with pytest.raises(DataError, match="holds y_test 2 times"):
        prepare(str(path))


def test_more_than_fits_into_memory_is_refused_before_it_is_read(small_npz, monkeypatch):
    zeros = headed("(24, 1000, 1000)", data=bytes(24 * 10**6))
    path = rewrite(small_npz(), {"x_train.npy": zeros}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(memory, "memory", lambda: 70 * 10**6)
    with pytest.raises(DataError, match=r"own.npz takes 24 MB of memory, 3 times of which is more than the 70 MB here"):
        prepare(str(path))


def test_a_limit_on_the_address_space_counts(monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (10**8, resource.RLIM_INFINITY))
    assert memory.memory() == 10**8


def test_a_container_and_what_others_use_count(monkeypatch, tmp_path):
    whole = memory.memory()
    (tmp_path / "max").write_text("50000000\n")
    monkeypatch.setattr(memory, "CGROUP", tmp_path / "max")
    assert memory.memory() == 50_000_000 < whole
    (tmp_path / "max").write_text("max\n")
    (tmp_path / "meminfo").write_text("MemTotal:  9 kB\nMemAvailable:     1000 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    assert memory.memory() == 1_024_000


def test_a_huge_table_of_contents_is_not_read(tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for number in range(300):
            file.writestr(f"{number:05}" + "x" * 5000, b"")
    (tmp_path / "many.npz").write_bytes(stream.getvalue())
    with pytest.raises(DataError, match=r"its table of contents is larger than 1,048,576 bytes"):
        prepare(str(tmp_path / "many.npz"))


def test_what_has_no_end_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "zeros.npz").symlink_to("/dev/zero")
    (tmp_path / "nothing.npz").symlink_to(tmp_path / "gone")
    begun = time.monotonic()
    for name, message in (
        ("pipe", "is a pipe, no file"),
        ("zeros", "is a device, no file"),
        ("nothing", "is a link to nothing"),
    ):
        with pytest.raises(DataError, match=f"{name}.npz {message}"):
            prepare(str(tmp_path / f"{name}.npz"))
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize("name", ["./" + "x" * 5000 + ".npz", "~nobody-of-this-name/own.npz", "~nobody-of-this-name"])
def test_what_no_path_can_be_is_refused(name):
    with pytest.raises(DataError, match="cannot be a file or folder") as caught:
        prepare(name)
    assert len(caught.value.message) < 300 and caught.value.hint


def test_names_are_matched_however_they_are_spelled(small_npz):
    x, y = np.random.default_rng(5).integers(0, 256, (24, 5, 6), dtype=np.uint8), np.arange(24) % 3
    for train_x, train_y in (("X_train", "Y_train"), ("train_images", "train_labels"), ("trainX", "trainY")):
        names = {train_x: x, train_y: y, "x_train": None, "y_train": None}
        prepared = prepare(str(small_npz(**names)))
        assert prepared.n_train == 20 and prepared.facts is not None
        assert f"{train_x}, {train_y} read as x_train, y_train" in prepared.facts.notes
    prepared = prepare(str(small_npz(val_data=x, val_targets=y)))
    assert (prepared.n_train, prepared.n_valid) == (24, 24)


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"x_train": None, "x_trian": np.zeros(3)}, "lacks x_train: it holds", "is x_trian x_train"),
        (
            {"x_train": None, "X_train": np.zeros(3), "train_x": np.zeros(3)},
            "holds X_train and train_x, which both",
            "le",
        ),
        (
            {"y_test": None, "x_valid": np.zeros(3)},
            "lacks y_test",
            r"numpy.savez\('data.npz', x_train=x_train, y_train",
        ),
    ],
)
def test_missing_arrays_have_near_names_and_a_line_to_paste(small_npz, changes, message, hint):
    with pytest.raises(DataError, match=message) as caught:
        prepare(str(small_npz(**changes)))
    assert hint.replace("\\", "") in caught.value.hint


def test_the_hint_for_labels_that_are_objects_works_as_it_stands(small_npz):
    y_train, y_test = (np.array(["ant", None, 3], dtype=object)[np.arange(n) % 3] for n in (24, 9))
    with pytest.raises(DataError, match="holds Python objects in y_train") as caught:
        prepare(str(small_npz(y_train=y_train, y_test=y_test)))
    assert "y_train.astype(str)" in caught.value.hint
    assert prepare(str(small_npz(y_train=y_train.astype(str), y_test=y_test.astype(str)))).classes == 3


def test_only_what_is_needed_is_read(small_npz):
    path = rewrite(small_npz(), {"notes.npy": b"anything", "readme.txt": b"\xff"})
    assert prepare(str(path)).n_train == 20
    with opened(path) as archive:
        assert archive.names[:2] == ["notes", "readme.txt"]


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32 - 1))
def test_hostile_files_are_read_or_refused(tmp_path: Path, seed: int):
    assert check_npz(hostile_npz(random.Random(seed)), tmp_path) in ("ok", "refused")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kept", [3, 0.1, 0.5, -100, -30, -1])
def test_a_file_that_is_cut_off_is_said_to_be(tmp_path: Path, save, kept: float):
    path = tmp_path / "data.npz"
    save(path, x=np.random.default_rng(0).random((50, 8, 8)), y=np.arange(50))
    content = path.read_bytes()
    size = int(kept * len(content) if 0 < kept < 1 else kept if kept > 0 else len(content) + kept)
    path.write_bytes(content[:size])
    with pytest.raises(DataError, match=rf"is truncated: {size:,} bytes, and the table of contents"), opened(path):
        pass


@pytest.mark.parametrize("content", [b"hello", b"P", b"KP\x03\x04", b"\x93NUMPY\x01\x00"])
def test_another_file_is_no_archive(tmp_path: Path, content: bytes):
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is truncated" if content == b"P" else "it is no zip archive"), opened(path):
        pass
