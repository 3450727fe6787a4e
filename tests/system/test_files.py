"""Files are written whole or not at all, through links, into devices and pipes, and never in place of them."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from relubench.system import files

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX files")


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    path.chmod(0o640)
    number = path.stat().st_ino
    files.write_file(path, b"new")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o640)
    assert path.stat().st_ino != number
    assert os.listdir(tmp_path) == ["a.txt"]  # noqa: PTH208


@posix
@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_a_link(tmp_path: Path, there: bool) -> None:
    (tmp_path / "far").mkdir()
    target, middle, link = tmp_path / "far" / "t", tmp_path / "middle", tmp_path / "link"
    if there:
        target.write_bytes(b"old")
    middle.symlink_to("far/t")
    link.symlink_to(middle)
    files.check_writable(link)
    files.write_file(link, b"new")
    assert link.is_symlink() and middle.is_symlink()
    assert target.read_bytes() == b"new"
    assert [one.name for one in (tmp_path / "far").iterdir()] == ["t"]


@posix
def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for act in (files.check_writable, lambda path: files.write_file(path, b"")):
        with pytest.raises(OSError, match="ymbolic link"):
            act(tmp_path / "a")


@posix
@pytest.mark.parametrize("name", ["/dev/null", "/dev/full"])
def test_a_device_stays_a_device(tmp_path: Path, name: str) -> None:
    if not Path(name).exists():
        pytest.skip(f"there is no {name}")
    link = tmp_path / "link"
    link.symlink_to(name)
    for path in (Path(name), link):
        files.check_writable(path)
        if name == "/dev/full":
            with pytest.raises(OSError, match="No space left"):
                files.write_file(path, b"new")
        else:
            files.write_file(path, b"new")
        assert stat.S_ISCHR(path.stat().st_mode)


@posix
def test_a_pipe_gets_all_of_it(tmp_path: Path) -> None:
    path, content, got = tmp_path / "pipe", b"x" * 300_000, []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    files.check_writable(path)
    files.write_file(path, content)
    reader.join(10)
    assert got == [content]
    assert stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("form", ["/dev/fd/{}", "/proc/self/fd/{}", "/proc/{pid}/fd/{}"])
def test_an_open_file_of_this_process_is_written_behind_what_it_holds(tmp_path: Path, form: str) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.write(b"first ")
        file.flush()
        path = Path(form.format(file.fileno(), pid=os.getpid()))
        files.check_writable(path)
        files.write_file(path, b"second")
    assert (tmp_path / "a").read_bytes() == b"first second"
    with (tmp_path / "a").open("rb") as file, pytest.raises(OSError, match="reading only"):
        files.check_writable(Path(f"/dev/fd/{file.fileno()}"))
    with pytest.raises(OSError, match="Bad file descriptor"):
        files.check_writable(Path("/dev/fd/987654"))


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a"
    path.write_bytes(b"old")
    monkeypatch.setattr(files, "write_durably", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EROFS])
def test_a_file_that_cannot_be_replaced_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "mounted"
    path.write_bytes(b"older and longer")
    monkeypatch.setattr(Path, "replace", refuse)
    files.write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(OSError):
        files.write_file(tmp_path / "absent", b"new")


def test_the_longest_name_is_written_and_a_longer_one_refused(tmp_path: Path) -> None:
    files.check_writable(tmp_path / ("é" * 127))
    files.write_file(tmp_path / ("é" * 127), b"new")
    assert [one.name for one in tmp_path.iterdir()] == ["é" * 127]
    with pytest.raises(OSError, match="too long"):
        files.check_writable(tmp_path / ("é" * 128))


@posix
def test_folders_sockets_and_absent_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        files.check_writable(tmp_path)
    with pytest.raises(FileNotFoundError):
        files.check_writable(tmp_path / "absent" / "a")
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"{short}/s")
        with pytest.raises(OSError, match="socket"):
            files.check_writable(Path(short) / "s")


def test_reading_ends_at_a_bound(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert files.read_at_most(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="more in it than 4 bytes"):
        files.read_at_most(tmp_path / "a", 4)
    if Path("/dev/zero").exists():
        with pytest.raises(OSError, match="more in it"):
            files.read_at_most(Path("/dev/zero"), 1000)
