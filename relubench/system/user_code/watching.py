"""A watch over the files and environment variables that users' code reads. Torch-free.

Files and lists of folders are seen through Python's audit events, the environment through `os.environ`, and questions
about paths (os.path.exists) as `path_questions` says. A library that is imported is identified by its version: what it
reads while it is being imported does not count. Not seen are: what a library opens in C or Rust, other processes, the
network, and variables that a library reads: many keep the first value for the whole process, so only it is named.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from relubench.system.paths import PACKAGE, cache_root
from relubench.system.user_code.path_questions import DEVICES, watch_questions
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
MAKING_EVENTS = {"os.mkdir": 0, "os.symlink": 1, "os.link": 1, "os.rename": 1}
"""Audit events of what makes a path -> which argument names it."""
UNSEEN_PACKAGES = frozenset(
    {"safetensors", "h5py", "cv2", "lmdb", "netCDF4", "tables", "pyarrow", "polars", "rasterio", "soundfile", "decord"}
)
"""Libraries that open files where Python does not see it."""
OWN_LIBRARIES = frozenset({"torch", "relubench"})
"""Whose variables hold for every run, a user's or not."""
UNSEEN_CALLS = ("torch.jit.load", "jit.load", "torchvision.io.", "load_library", "torch.hub.")


@functools.cache
def watch() -> None:
    """Begin to watch, until the process ends; what is seen goes to `records.current_record`."""
    is_users_file("")  # It lists folders itself, once.
    sys.addaudithook(_on_event)
    # The same object: other modules refer to it already. Every read of a variable goes through its __getitem__.
    os.environ.__class__ = _Environment
    watch_questions()


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        _on_open(*arguments)
    elif event in ("os.listdir", "os.scandir"):
        _on_listing(arguments[0])
    elif event in MAKING_EVENTS:
        _on_making(arguments[MAKING_EVENTS[event]])
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


def _on_making(path: Any) -> None:
    """Record that the code made a folder or a link."""
    record = current_record()
    if record is None or not isinstance(path, str | bytes | os.PathLike) or not _is_users_code_running():
        return
    with contextlib.suppress(OSError):
        name = str(Path(os.fsdecode(path)).absolute())
        if not os.path.lexists(name):  # The event comes first, also of what will fail.
            record.made.add(name)
            frame = sys._getframe(2)
            if frame.f_globals.get("__name__") == "tempfile":
                record.temporary.add(name)


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
            _on_variable(record, key, _calling_frame())
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[Any]:
        global _iterating
        record = current_record()
        frame = _calling_frame()
        if record is not None and MARK in frame.f_builtins:
            record.unseen.add("all of the environment at once")
            _iterating = (id(frame), frame.f_lasti)
        return super().__iter__()


def _on_variable(record: Record, key: str, frame: FrameType) -> None:
    """Record a variable that the user's code reads; what a library reads for it, perhaps once a process, is unseen."""
    if MARK in frame.f_builtins:
        if _iterating != (id(frame), frame.f_lasti):
            record.environment.add(key)
        return
    library = str(frame.f_globals.get("__name__")).partition(".")[0]
    if library not in sys.stdlib_module_names and library not in OWN_LIBRARIES and _is_users_code_running():
        record.unseen.add(f"the environment variables of {library}")


_iterating: tuple[int, int] = (0, 0)
"""The frame and instruction that loop over the whole environment: single variables that they read do not count."""


_TRANSPARENT = frozenset({"os", "collections.abc", "posixpath", "ntpath", "pathlib", __name__})


def _calling_frame() -> FrameType:
    """The frame that reads the variable, above those of os itself and of expanduser, expandvars and Path.home."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__") in _TRANSPARENT:
        frame = frame.f_back
    return frame
