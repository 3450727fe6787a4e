"""The writer and the readers of files: whole or not at all, through links, into devices and pipes, up to a bound."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
import sys
import tempfile
import uuid
from pathlib import Path
from typing import IO

MAX_LINKS = 40
"""Links that a path may lead through, as many as Linux follows."""

_FOLDER_REFUSES = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV, errno.ENAMETOOLONG})
"""Errors of a folder in which no file can be made or replaced: it is read-only, or a mount point."""

_DESCRIPTORS = re.compile(r"/dev/fd|/proc/(self|thread-self|\d+(/task/\d+)?)/fd")
"""Folders whose entries are a process's open files."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file, and the folders above it; it is complete afterwards, or as it was before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, content)


def write_file(path: Path, content: bytes) -> None:
    """Write to what `path` leads to: a regular file whole or not at all; a device or a pipe directly.

    A link stays a link, and a file keeps its mode. /dev/stdout and /dev/fd/N are this process's own open files. A file
    in a folder that accepts no new file is overwritten in place. Raises OSError.
    """
    descriptor, target = _destination(path)
    if descriptor is not None:
        _write_descriptor(descriptor, content)
        return
    mode = _mode(target)
    if mode is not None and not stat.S_ISREG(mode):
        _write_in_place(target, content)
        return
    try:
        _replace(target, content, mode)
    except OSError as error:
        if mode is None or error.errno not in _FOLDER_REFUSES:
            raise
        _write_in_place(target, content)


def check_writable(path: Path) -> None:
    """Raises the OSError that `write_file` would raise, without changing the file; a disk may still fill up later."""
    descriptor, target = _destination(path)
    if descriptor is not None:
        _check_descriptor(descriptor, target)
        return
    mode = _mode(target)
    if mode is None:
        # Tried, since permissions say nothing of a read-only disk.
        with tempfile.TemporaryFile(dir=target.parent):
            return
    if stat.S_ISREG(mode):
        os.close(os.open(target, os.O_WRONLY))
    elif stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    elif stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise OSError(errno.ENXIO, "it is a whole disk or a socket", str(target))
    elif not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))


def read_plain(path: Path) -> bytes:
    """The content of a plain file; raises OSError for a device or a pipe, which may never end."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as file:  # noqa: PTH123 - of a descriptor
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is not a plain file", str(path))
        return file.read()


def read_at_most(path: Path, max_bytes: int) -> bytes:
    """The content of a file; raises OSError for more than `max_bytes` bytes: a device may have no end."""
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"there is more in it than {max_bytes:,} bytes", str(path))
    return content


def write_durably(path: Path, content: bytes) -> None:
    """Write a new file and flush it to the disk."""
    with path.open("wb") as file:
        file.write(content)
        flush_file(file)


def flush_file(file: IO[bytes]) -> None:
    """Flush what was written to an open file to the disk."""
    file.flush()
    os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Flush a folder's list of files to the disk, where the system can do that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def time_of_change(folder: Path) -> float:
    """What the clock of the folder's file system shows, which may be another machine's; raises OSError."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime


def _destination(path: Path) -> tuple[int | None, Path]:
    """The open file of this process that `path` names, if it names one, and the path behind all of its links."""
    for _ in range(MAX_LINKS):
        path = Path(os.path.realpath(path.parent)) / path.name
        if _DESCRIPTORS.fullmatch(str(path.parent)) and path.name.isdecimal() and _is_own_process(path.parent):
            return _stdout() if path.name == "1" else int(path.name), path
        if not path.is_symlink():
            return None, path
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _stdout() -> int:
    """The descriptor of stdout, which may be another than 1; 1 where stdout is no file. Raises OSError if closed."""
    try:
        return sys.stdout.fileno()
    except (io.UnsupportedOperation, ValueError, AttributeError):
        return 1


def _is_own_process(folder: Path) -> bool:
    """Whether a folder of open files is this process's."""
    process = folder.parts[2] if folder.parts[1] == "proc" else "self"
    return process in ("self", "thread-self", str(os.getpid()))


def _mode(path: Path) -> int | None:
    """The type and permissions of the file at `path`; None if there is none."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def _replace(target: Path, content: bytes, mode: int | None) -> None:
    """Replace `target` by a new file with the permissions of the old one."""
    # Its length does not depend on the name's, which may be the longest possible.
    new_file = target.parent / f".{target.name[:40]}-{uuid.uuid4().hex[:8]}"
    try:
        if mode is not None:
            # Closed to others until it has the permissions of the old one.
            new_file.touch(0o600)
        write_durably(new_file, content)
        if mode is not None:
            _copy_permissions(new_file, target, mode)
        new_file.replace(target)
    finally:
        with contextlib.suppress(OSError):
            new_file.unlink()


def _copy_permissions(new_file: Path, replaced: Path, mode: int) -> None:
    """Give a new file the permissions and, where that is allowed, the owner of the old one."""
    if hasattr(os, "chown"):
        owner = replaced.stat()
        if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
            with contextlib.suppress(OSError):
                os.chown(new_file, owner.st_uid, owner.st_gid)
    new_file.chmod(stat.S_IMODE(mode))


def _write_in_place(target: Path, content: bytes) -> None:
    """Overwrite a device, a pipe, or a file that cannot be replaced."""
    mode = target.stat().st_mode
    truncate = os.O_TRUNC if stat.S_ISREG(mode) else 0
    with os.fdopen(os.open(target, os.O_WRONLY | truncate), "wb") as file:
        file.write(content)
        if stat.S_ISREG(mode):
            flush_file(file)


def _write_descriptor(descriptor: int, content: bytes) -> None:
    """Write to an open file of this process, after what Python still has in its buffers for it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)


def _check_descriptor(descriptor: int, path: Path) -> None:
    """Raises OSError if the descriptor is closed, or open for reading only."""
    try:
        os.fstat(descriptor)
        import fcntl
    except ImportError:
        return  # Windows: known when it is written.
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "it is open for reading only", str(path))
