"""Where prepared copies live, and how one comes to exist whole or not at all. Torch-free."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from relubench.data.facts import survey
from relubench.data.prepared import META, describe, file_digest
from relubench.data.split_arrays import SplitArrays
from relubench.errors import ComputeError
from relubench.system import integrity
from relubench.system.paths import cache_root

Say = Callable[[str], None]


def temporary_root() -> Path:
    """The folder that takes the cache's place where that cannot be written; the user's own, so it can be reused."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    return Path(tempfile.gettempdir()) / f"relubench-{user}"


def prepared_roots() -> tuple[Path, ...]:
    """The folders that may hold prepared copies: the cache's, and the temporary one if it is the user's own."""
    roots = (cache_root() / "prepared", temporary_root() / "prepared")
    return roots if _is_ours(temporary_root()) else roots[:1]


def _is_ours(folder: Path) -> bool:
    """Whether `folder` belongs to this user (or to nobody yet): /tmp is everybody's."""
    try:
        return not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
    except FileNotFoundError:
        return True


def writable_root(say: Say) -> Path:
    """The first of `prepared_roots` that can be written to; says so if it is not the cache."""
    cached, temporary = cache_root() / "prepared", temporary_root() / "prepared"
    try:
        _try_writing(cached)
        return cached
    except OSError as error:
        if is_full(error):
            raise
        say(f"the cache {cached} cannot be written ({error.strerror}): keeping prepared data in {temporary}")
    try:
        temporary_root().mkdir(mode=0o700, exist_ok=True)
        if not _is_ours(temporary_root()):
            raise PermissionError(errno.EPERM, "it belongs to another user", str(temporary_root()))
        _try_writing(temporary)
    except OSError as error:
        raise ComputeError(
            f"neither {cached} nor {temporary} can be written: {error.strerror}",
            "set RELUBENCH_CACHE_DIR to a folder that can be written",
        ) from error
    return temporary


def _try_writing(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def is_full(error: OSError) -> bool:
    """Whether an error means that there is no room left (disk or quota)."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def disk_full_as_error(doing: str, place: Path) -> Iterator[None]:
    """Turns 'no space left' inside the block into a ComputeError that names `place`."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise ComputeError(
            f"the disk is full: no room for {doing} in {place}",
            "make room there, or set RELUBENCH_CACHE_DIR to a folder on another disk",
        ) from error


@contextlib.contextmanager
def locked(path: Path, waiting: str, say: Say, *, leave: bool = True) -> Iterator[None]:
    """Holds the lock file `path` inside the block; says `waiting` if another process has it.

    `leave`: whether the file stays. It is removed while the lock is held; whoever waited for it then locks a new one.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(waiting)
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

    To be called with the lock of `key` held: what an interrupted process left for the same key is swept first.
    """
    for stale in root.glob(f".making-{key}-*"):
        shutil.rmtree(stale, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".making-{key}-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write(work: Path, target: Path, parts: SplitArrays, digest: str) -> None:
    """Writes the six arrays and meta.json under `work`, then renames them to `target` in one step.

    Whoever renames first wins: two processes that made the same copy leave one, whole.
    """
    whole = work / "whole"
    whole.mkdir()
    sizes: dict[str, int] = {}
    digests: dict[str, str] = {}
    for name, array in parts.arrays().items():
        file = whole / f"{name}.npy"
        if (made := _made_in(array, work)) is not None:
            made.rename(file)
        with file.open("ab" if made else "wb") as handle:
            if made is None:
                np.save(handle, np.ascontiguousarray(array), allow_pickle=False)
            handle.flush()
            os.fsync(handle.fileno())
        sizes[file.name], digests[file.name] = file.stat().st_size, file_digest(file)
    with (whole / META).open("wb") as handle:
        meta = {**describe(parts, digest, survey(parts)), "files": sizes, "digests": digests}
        handle.write(integrity.sealed_json(meta, digest))
        handle.flush()
        os.fsync(handle.fileno())
    if target.exists():
        # The caller found it damaged. Moved away whole, so that nobody sees half of it.
        target.rename(work / "damaged")
    try:
        whole.rename(target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
    _sync_folder(target.parent)


def _made_in(array: np.ndarray, work: Path) -> Path | None:
    """The .npy file under `work` that the whole of `array` is mapped from: a large set is moved, not copied."""
    if not isinstance(array, np.memmap) or array.filename is None:
        return None
    file = Path(array.filename)
    whole = file.parent == work and file.stat().st_size == array.offset + array.nbytes
    return file if whole and file.suffix == ".npy" else None


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
