"""Machine code in the cache folder: made once, checked before it is run, never in the way."""

from __future__ import annotations

import ctypes
import errno
from pathlib import Path
from typing import Any

import pytest
from llvmlite import ir

import relubench.system.files
from relubench.models.kernels import object_code
from relubench.models.kernels.emit import I64, word


class Made:
    """A module with a function that returns a number, and how often it was emitted."""

    def __init__(self, value: int = 42) -> None:
        self.value, self.times = value, 0

    def emit(self) -> ir.Module:
        self.times += 1
        module = ir.Module("made")
        function = ir.Function(module, ir.FunctionType(I64, []), "answer")
        ir.IRBuilder(function.append_basic_block()).ret(word(self.value))
        return module

    def answer(self, asked: str = "an answer") -> int:
        engine: Any = object_code.engine_for(asked, self.emit)
        return ctypes.CFUNCTYPE(ctypes.c_int64)(engine.get_function_address("answer"))()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RELUBENCH_CACHE_DIR", str(tmp_path))
    return tmp_path / "kernels"


def test_code_is_made_once(folder: Path):
    first, second = Made(), Made(7)
    assert (first.answer(), second.answer()) == (42, 42)
    assert (first.times, second.times) == (1, 0)
    assert [path.suffix for path in folder.iterdir()] == [".o"]


def test_something_else_is_made_anew(folder: Path, monkeypatch: pytest.MonkeyPatch):
    assert Made(1).answer("one") == 1
    assert Made(2).answer("two") == 2
    monkeypatch.setattr(object_code, "_made_from", lambda: "another version")
    assert Made(3).answer("one") == 3


@pytest.mark.parametrize("cut", [0, 10, 200, -1])
def test_what_is_not_whole_is_not_run(folder: Path, cut: int):
    assert Made().answer() == 42
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:cut])
    again = Made()
    assert (again.answer(), again.times) == (42, 1)
    assert Made(7).answer() == 42


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RELUBENCH_CACHE_DIR", str(tmp_path / "file"))
    made = Made()
    assert (made.answer(), made.answer(), made.times) == (42, 42, 2)


def test_a_full_disk_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(relubench.system.files, "write_durably", full)
    assert Made().answer() == 42
    assert list(folder.iterdir()) == []
