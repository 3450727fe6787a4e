"""Processes of this Python that relubench starts: their command line, their stderr, and a description of their end.

Nothing of the working folder is imported in them: they start with -P, and what they start does (PYTHONSAFEPATH). What
the user put on the search path (PYTHONPATH, a script's own folder) is searched, after everything that is installed.
Torch-free.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections import deque
from pathlib import Path
from typing import IO, Any

from relubench.system.paths import PACKAGE

_BEGIN = """
import importlib.util, json, sys
home, path = json.loads(sys.argv.pop(1))
sys.path += [entry for entry in path if entry not in sys.path]
spec = importlib.util.spec_from_file_location("relubench", home + "/__init__.py", submodule_search_locations=[home])
sys.modules["relubench"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
"""
"""Imports this relubench from its folder, which need not be on the search path."""

MEMORY_EVENTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
MAX_TAIL_LINES, MAX_LINE_LENGTH = 3, 300


def command(code: str) -> list[str]:
    """The command line that runs `code` in a new process of this Python, with this relubench."""
    path = [_absolute(entry or os.curdir) for entry in sys.path]
    absolute = [entry for entry in path if Path(entry).is_absolute()]
    return [sys.executable, "-P", "-c", _BEGIN + code, json.dumps([str(PACKAGE), absolute])]


def environment() -> dict[str, str]:
    """The environment for a process that this one starts: its own, with absolute entries in PYTHONPATH."""
    values = {**os.environ, "PYTHONSAFEPATH": "1"}
    if entries := os.environ.get("PYTHONPATH"):
        values["PYTHONPATH"] = os.pathsep.join(_absolute(entry) for entry in entries.split(os.pathsep) if entry)
    return values


def folder() -> str | None:
    """Where a new process starts: here, or at the root where the working folder is gone (MKL does not load there)."""
    return None if working_folder_exists() else os.sep


def working_folder_exists() -> bool:
    """Whether the working folder has not been deleted."""
    try:
        return Path.cwd().exists()
    except OSError:
        return False


def load_torch_elsewhere() -> None:
    """Import torch with its libraries from the root, and come back to a working folder that is gone."""
    working_folder = os.open(".", os.O_RDONLY)
    try:
        os.chdir(os.sep)
        import torch

        torch.ones(2, 2).mm(torch.ones(2, 2))
    except (ImportError, RuntimeError):
        return  # The module that needs torch reports it.
    finally:
        os.fchdir(working_folder)
        os.close(working_folder)


def _absolute(entry: str) -> str:
    """The entry as an absolute path; unchanged where the working folder is gone."""
    try:
        return str(Path(entry).absolute())
    except FileNotFoundError:
        return entry


def num_memory_kills() -> int | None:
    """How many processes of this control group the kernel has killed because memory ran out; None if unknown."""
    for path in (_own_memory_events(), *MEMORY_EVENTS):
        try:
            counts = dict(line.split() for line in Path(path).read_text().splitlines())
            return int(counts["oom_kill"])
        except (OSError, ValueError, KeyError):
            continue
    return None


def _own_memory_events() -> str:
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return ""
    path = next((line.removeprefix("0::") for line in groups if line.startswith("0::")), "")
    return f"/sys/fs/cgroup{path}/memory.events" if path else ""


class Stderr:
    """What a process writes to stderr: passed on to this process's stderr once it has begun; the last lines are stored.

    Before `has_begun` is set, what it writes is the reason why it could not begin.
    """

    def __init__(self, pipe: IO[Any]) -> None:
        self.has_begun = threading.Event()
        self.lines: deque[str] = deque(maxlen=MAX_TAIL_LINES)
        self.thread = threading.Thread(target=self._pass_on, args=(pipe,), daemon=True)
        self.thread.start()

    def last_lines(self) -> str:
        """The last lines of a process that has ended, joined to one."""
        self.join()
        return " / ".join(self.lines)

    def join(self) -> None:
        """Wait for the rest, a second at most: a process that it has started may have its stderr open."""
        self.thread.join(1.0)

    def _pass_on(self, pipe: IO[Any]) -> None:
        pending, partial = b"", b""
        while chunk := os.read(pipe.fileno(), 65536):
            *lines, partial = (partial + chunk).split(b"\n")
            self._keep_last(lines)
            pending += chunk
            if self.has_begun.is_set() or "RELUBENCH_DEBUG" in os.environ:
                # Where stderr was closed, another file may have its number.
                if sys.__stderr__ is not None:
                    with contextlib.suppress(OSError):
                        os.write(2, pending)
                pending = b""
        self._keep_last([partial])
        pipe.close()

    def _keep_last(self, lines: list[bytes]) -> None:
        self.lines.extend(text for line in lines if (text := line.decode(errors="replace").strip()[:MAX_LINE_LENGTH]))


def ending(code: int, kills_before: int | None, last_lines: str = "") -> tuple[str, bool]:
    """How a process ended, as a phrase to follow its name, and whether most likely memory ran out.

    `code`: its return code, negative for a signal; `kills_before`: `num_memory_kills` at its start; `last_lines`: of
    its stderr, where they give the reason.
    """
    behind = f": {last_lines}" if last_lines else ""
    if code >= 0:
        return f"ended with exit code {code}{behind}", False
    if code != -getattr(signal, "SIGKILL", 9):
        return f"was ended by {_signal_name(-code)}{behind}", False
    lacks = num_memory_kills()
    if lacks is not None and kills_before is not None and lacks > kills_before:
        return "was killed (SIGKILL), since memory ran out", True
    return "was killed (SIGKILL), most likely because memory ran out", True


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
