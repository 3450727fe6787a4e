"""A watch over the files and environment variables that users' code reads. Torch-free.

Files and lists of folders are seen through Python's audit events, the environment through `os.environ`. A library that
is imported is identified by its version: what it reads while it is being imported does not count. Not seen are: whether
a file exists (os.path.exists raises no event), what a library opens in C or Rust, other processes, and the network.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from relubench.system.paths import PACKAGE, cache_root
from relubench.system.user_code.records import MARK, Record, current_record, is_users_file

UNSEEN_EVENTS = {
    "subprocess.Popen": "another process",
    "os.system": "another process",
    "os.posix_spawn": "another process",
    "os.exec": "another process",
    "socket.connect": "the network",
    "socket.getaddrinfo": "the network",
    "urllib.Request": "the network",
    "sqlite3.connect": "a data base",
}
UNSEEN_PACKAGES = frozenset(
    {"safetensors", "h5py", "cv2", "lmdb", "netCDF4", "tables", "pyarrow", "polars", "rasterio", "soundfile", "decord"}
)
"""Libraries that open files where Python does not see it."""
UNSEEN_CALLS = ("torch.jit.load", "jit.load", "torchvision.io.", "load_library", "torch.hub.")
DEVICES = ("/dev/", "/proc/", "/sys/")


@functools.cache
def watch() -> None:
    """Begin to watch, until the process ends; what is seen goes to `records.current_record`."""
    is_users_file("")  # It lists folders itself, once.
    sys.addaudithook(_on_event)
    # The same object: other modules refer to it already. Every read of a variable goes through its __getitem__.
    os.environ.__class__ = _Environment


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        _on_open(*arguments)
    elif event in ("os.listdir", "os.scandir"):
        _on_listing(arguments[0])
    elif event in UNSEEN_EVENTS:
        record = current_record()
        if record is not None and _is_users_code_running():
            record.unseen.add(UNSEEN_EVENTS[event])


def _on_open(path: Any, mode: Any, flags: Any) -> None:
    record = current_record()
    source = isinstance(path, str) and path.endswith(".py")
    if record is None or not isinstance(path, str | bytes) or not _is_users_code_running(importing=source):
        return
    try:
        name = str(Path(os.fsdecode(path)).absolute())
    except OSError:
        return  # The working folder is gone, with all of its files.
    if name.startswith(DEVICES) or not is_users_file(name) or name.endswith((".pyc", ".py~")):
        return
    writing = any(mark in mode for mark in "wax+") if isinstance(mode, str) else bool(flags & (os.O_WRONLY | os.O_RDWR))
    (record.written_files.add(name) if writing else record.files.setdefault(name))


def _on_listing(folder: Any) -> None:
    """Record that a folder's list of names was read, as glob and os.walk do."""
    record = current_record()
    if record is None or not isinstance(folder, str | bytes | None) or not _is_users_code_running():
        return
    try:
        name = str(Path(os.fsdecode(folder if folder is not None else ".")).absolute())
    except OSError:
        return
    if not f"{name}/".startswith(DEVICES) and is_users_file(f"{name}/"):
        record.folders.setdefault(name)


def read_files(record: Record) -> list[str]:
    """The files that were read, without those that the code wrote itself and without this program's own."""
    cache_prefix = f"{cache_root().absolute()}/"
    return sorted(path for path in record.files.keys() - record.written_files if not path.startswith(cache_prefix))


def _is_users_code_running(*, importing: bool = False) -> bool:
    """Whether a user's code is running, itself or through a library, and is not importing a library.

    `importing`: also True while something is imported, such as a module that is loaded by its path.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    while frame is not None:
        file = frame.f_code.co_filename
        if MARK in frame.f_builtins or is_users_file(file):
            return True
        # This program's own code, which no activation of a user calls.
        if file.startswith(str(PACKAGE)) or (not importing and file.startswith("<frozen importlib")):
            return False
        frame = frame.f_back
    return False


class _Environment(os._Environ):
    """`os.environ` that records which variables users' code reads."""

    def __getitem__(self, key: Any) -> Any:
        record = current_record()
        if record is not None and isinstance(key, str):
            frame = _calling_frame()
            if MARK in frame.f_builtins and _iterating != (id(frame), frame.f_lasti):
                record.environment.add(key)
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[Any]:
        global _iterating
        record = current_record()
        frame = _calling_frame()
        if record is not None and MARK in frame.f_builtins:
            record.unseen.add("all of the environment at once")
            _iterating = (id(frame), frame.f_lasti)
        return super().__iter__()


_iterating: tuple[int, int] = (0, 0)
"""The frame and instruction that loop over the whole environment: single variables that they read do not count."""


def _calling_frame() -> FrameType:
    """The frame that reads the variable, above those of os itself."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__") in ("os", "collections.abc", __name__):
        frame = frame.f_back
    return frame
