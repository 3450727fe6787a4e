"""Sees which files and environment variables users' code reads, and what of it cannot be seen. Torch-free.

Files and lists of folders are seen through Python's audit events, the environment through `os.environ`. A library that
is imported on the way is known by its version: what it reads by itself while it is being imported is not the user's
code reading. Out of sight is whether a file exists (os.path.exists raises no event), what a library opens in C or Rust,
and what comes from other processes and from the network.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from relubench.system.paths import cache_root
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
OWN = str(Path(__file__).parents[2])
"""Where this program's own code lies: whoever calls it is not the user's activation."""
DEVICES = ("/dev/", "/proc/", "/sys/")


@functools.cache
def watch() -> None:
    """Begin to watch, for as long as the process lives; what is seen goes to `records.current_record`."""
    is_users_file("")  # Which lists folders itself, once.
    sys.addaudithook(_on_event)
    # The same object, which others hold already; reads of one variable go through __getitem__, whoever asks.
    os.environ.__class__ = _Environment


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        _on_open(*arguments)
    elif event in ("os.listdir", "os.scandir"):
        _on_listing(arguments[0])
    elif event in UNSEEN_EVENTS:
        record = current_record()
        if record is not None and _is_users_doing():
            record.unseen.add(UNSEEN_EVENTS[event])


def _on_open(path: Any, mode: Any, flags: Any) -> None:
    record = current_record()
    source = isinstance(path, str) and path.endswith(".py")
    if record is None or not isinstance(path, str | bytes) or not _is_users_doing(importing=source):
        return
    try:
        name = str(Path(os.fsdecode(path)).absolute())
    except OSError:
        return  # The working folder is gone, and so is whatever lies in it.
    if name.startswith(DEVICES) or not is_users_file(name) or name.endswith((".pyc", ".py~")):
        return
    writing = any(mark in mode for mark in "wax+") if isinstance(mode, str) else bool(flags & (os.O_WRONLY | os.O_RDWR))
    (record.written.add(name) if writing else record.files.setdefault(name))


def _on_listing(folder: Any) -> None:
    """A folder's list of names, which glob and os.walk ask for, too."""
    record = current_record()
    if record is None or not isinstance(folder, str | bytes | None) or not _is_users_doing():
        return
    try:
        name = str(Path(os.fsdecode(folder if folder is not None else ".")).absolute())
    except OSError:
        return
    if not f"{name}/".startswith(DEVICES) and is_users_file(f"{name}/"):
        record.folders.setdefault(name)


def read_files(record: Record) -> list[str]:
    """The files that were read, without those that the code wrote itself and without this program's own."""
    own = (f"{cache_root().absolute()}/",)
    return sorted(one for one in record.files if one not in record.written and not one.startswith(own))


def _is_users_doing(*, importing: bool = False) -> bool:
    """Whether a user's code is at work, itself or through a library, but not in importing a library.

    `importing`: also what is read to import something, as a module that is loaded by its path.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    while frame is not None:
        place = frame.f_code.co_filename
        if MARK in frame.f_builtins or is_users_file(place):
            return True
        if place.startswith(OWN) or (not importing and place.startswith("<frozen importlib")):
            return False
        frame = frame.f_back
    return False


class _Environment(os._Environ):
    """`os.environ`, which notes what users' code asks it for."""

    def __getitem__(self, key: Any) -> Any:
        record = current_record()
        if record is not None and isinstance(key, str):
            frame = _asking()
            if MARK in frame.f_builtins and _iterating != (id(frame), frame.f_lasti):
                record.environment.add(key)
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[Any]:
        global _iterating
        record = current_record()
        frame = _asking()
        if record is not None and MARK in frame.f_builtins:
            record.unseen.add("all of the environment at once")
            _iterating = (id(frame), frame.f_lasti)
        return super().__iter__()


_iterating: tuple[int, int] = (0, 0)
"""The place that goes through the whole environment: it asks for every variable, and means none."""


def _asking() -> FrameType:
    """The frame that asks, beyond those of os itself."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__") in ("os", "collections.abc", __name__):
        frame = frame.f_back
    return frame
