"""The cache of prepared copies, each of which is written whole or not at all. Torch-free."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from relubench.data.facts import survey
from relubench.data.prepared import META, describe, file_digest
from relubench.data.split_arrays import SplitArrays
from relubench.errors import ComputeError
from relubench.system import integrity
from relubench.system.files import flush_file, flush_folder, write_durably
from relubench.system.paths import cache_root

Log = Callable[[str], None]
"""What receives one line for each notable step."""


def temporary_root() -> Path:
    """The folder to use where the cache cannot be written; it belongs to the user, so that it can be reused."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    return Path(tempfile.gettempdir()) / f"relubench-{user}"


def prepared_roots() -> tuple[Path, ...]:
    """The folders that may hold prepared copies: the cache's, and the temporary one if it is the user's own."""
    roots = (cache_root() / "prepared", temporary_root() / "prepared")
    return roots if _is_ours(temporary_root()) else roots[:1]


def _is_ours(folder: Path) -> bool:
    """Whether `folder` belongs to this user, or does not exist: in /tmp it may be another user's."""
    try:
        return not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
    except FileNotFoundError:
        return True


def writable_root(log: Log) -> Path:
    """The first of `prepared_roots` that can be written to; a line in the log if that is not the cache."""
    cached, temporary = cache_root() / "prepared", temporary_root() / "prepared"
    try:
        _check_writable(cached)
        return cached
    except OSError as error:
        if is_full(error):
            raise
        log(f"the cache {cached} cannot be written ({error.strerror}): keeping prepared data in {temporary}")
    try:
        temporary_root().mkdir(mode=0o700, exist_ok=True)
        if not _is_ours(temporary_root()):
            raise PermissionError(errno.EPERM, "it belongs to another user", str(temporary_root()))
        _check_writable(temporary)
    except OSError as error:
        raise ComputeError(
            f"neither {cached} nor {temporary} can be written: {error.strerror}",
            "set RELUBENCH_CACHE_DIR to a folder that can be written",
        ) from error
    return temporary


def _check_writable(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def is_full(error: OSError) -> bool:
    """Whether an error means that there is no room left (disk or quota)."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def disk_full_as_error(activity: str, folder: Path) -> Iterator[None]:
    """Turns 'no space left' inside the block into a ComputeError that names `folder`."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise ComputeError(
            f"the disk is full: no room for {activity} in {folder}",
            "make room there, or set RELUBENCH_CACHE_DIR to a folder on another disk",
        ) from error


@contextlib.contextmanager
def locked(path: Path, waiting: str, log: Log, *, leave: bool = True) -> Iterator[None]:
    """Holds the lock file `path` inside the block; logs `waiting` if another process has it.

    `leave`: whether the file stays. It is removed while the lock is held; a process that waits for it locks a new one.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log(waiting)
        lock.acquire()
    while not path.exists():
        lock.release()
        lock.acquire()
    try:
        yield
    finally:
        if not leave:
            # Windows does not remove an open file; there the lock removes it itself.
            with contextlib.suppress(OSError):
                path.unlink()
        lock.release()


@contextlib.contextmanager
def scratch(root: Path, key: str) -> Iterator[Path]:
    """An empty folder beside the prepared copies (one disk, so a rename is atomic); removed at the end.

    To be called with the lock of `key` held: an interrupted process's folder of the same key is removed first.
    """
    for stale in root.glob(f".making-{key}-*"):
        shutil.rmtree(stale, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".making-{key}-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_copy(work: Path, target: Path, parts: SplitArrays, digest: str) -> None:
    """Writes the six arrays and meta.json under `work`, then renames them to `target` in one step.

    Of two processes that make the same copy, the first to rename wins.
    """
    folder = work / "whole"
    folder.mkdir()
    sizes: dict[str, int] = {}
    digests: dict[str, str] = {}
    for name, array in parts.arrays().items():
        file = folder / f"{name}.npy"
        if (source_file := _file_behind(array, work)) is not None:
            source_file.rename(file)
        with file.open("ab" if source_file else "wb") as handle:
            if source_file is None:
                np.save(handle, np.ascontiguousarray(array), allow_pickle=False)
            flush_file(handle)
        sizes[file.name], digests[file.name] = file.stat().st_size, file_digest(file)
    meta = {**describe(parts, digest, survey(parts)), "files": sizes, "digests": digests}
    write_durably(folder / META, integrity.sealed_json(meta, digest))
    if target.exists():
        # It is damaged. One move, so that no process sees half of it.
        target.rename(work / "damaged")
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
    flush_folder(target.parent)


def _file_behind(array: np.ndarray, work: Path) -> Path | None:
    """The .npy file in `work` that all of `array` is mapped from; None if there is none. It need not be copied."""
    if not isinstance(array, np.memmap) or array.filename is None:
        return None
    file = Path(array.filename)
    covers_file = file.parent == work and file.stat().st_size == array.offset + array.nbytes
    return file if covers_file and file.suffix == ".npy" else None
