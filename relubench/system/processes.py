"""Processes of this Python that relubench starts: on which search path, and in which words their end is told.

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

_BEGIN = """
import importlib.util, json, sys
home, path = json.loads(sys.argv.pop(1))
sys.path += [one for one in path if one not in sys.path]
spec = importlib.util.spec_from_file_location("relubench", home + "/__init__.py", submodule_search_locations=[home])
sys.modules["relubench"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
"""
"""Finds this relubench wherever it is, without its folder on the search path."""

MEMORY_EVENTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
TAIL_LINES, LONGEST_LINE = 3, 300


def command(code: str) -> list[str]:
    """The command line that runs `code` in a new process of this Python, with this relubench."""
    home = str(Path(__file__).parents[1])
    path = [place for one in sys.path if Path(place := _absolute(one or os.curdir)).is_absolute()]
    return [sys.executable, "-P", "-c", _BEGIN + code, json.dumps([home, path])]


def environment() -> dict[str, str]:
    """This process's environment for one that it starts, the search path's relative entries made absolute."""
    values = {**os.environ, "PYTHONSAFEPATH": "1"}
    if entries := os.environ.get("PYTHONPATH"):
        values["PYTHONPATH"] = os.pathsep.join(_absolute(one) for one in entries.split(os.pathsep) if one)
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
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(os.sep)
        import torch

        torch.ones(2, 2).mm(torch.ones(2, 2))
    except (ImportError, RuntimeError):
        return  # Whoever needs it says so.
    finally:
        os.fchdir(here)
        os.close(here)


def _absolute(entry: str) -> str:
    """The entry from the root; as it is where the working folder is gone, and it means nothing."""
    try:
        return str(Path(entry).absolute())
    except FileNotFoundError:
        return entry


def lacks_of_memory() -> int | None:
    """How many processes the kernel has ended in this control group since memory ran out; None where it is unknown."""
    for place in (_own_group(), *MEMORY_EVENTS):
        try:
            counts = dict(line.split() for line in Path(place).read_text().splitlines())
            return int(counts["oom_kill"])
        except (OSError, ValueError, KeyError):
            continue
    return None


def _own_group() -> str:
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return ""
    path = next((line.removeprefix("0::") for line in groups if line.startswith("0::")), "")
    return f"/sys/fs/cgroup{path}/memory.events" if path else ""


class Stderr:
    """What a process writes on stderr: passed on to this one's, once it has begun, and its last lines kept.

    Until it has begun, what it writes is why it could not.
    """

    def __init__(self, pipe: IO[Any]) -> None:
        self.has_begun = threading.Event()
        self.lines: deque[str] = deque(maxlen=TAIL_LINES)
        self.thread = threading.Thread(target=self._pass_on, args=(pipe,), daemon=True)
        self.thread.start()

    def last_lines(self) -> str:
        """The last lines of a process that has ended, in one."""
        self.join()
        return " / ".join(self.lines)

    def join(self) -> None:
        """Wait until all is passed on; not for long, for what the process has started may hold its stderr open."""
        self.thread.join(1.0)

    def _pass_on(self, pipe: IO[Any]) -> None:
        held, half = b"", b""
        while written := os.read(pipe.fileno(), 65536):
            *whole, half = (half + written).split(b"\n")
            self._keep(whole)
            held += written
            if self.has_begun.is_set() or "RELUBENCH_DEBUG" in os.environ:
                # Where stderr was closed, another file may have its number.
                if sys.__stderr__ is not None:
                    with contextlib.suppress(OSError):
                        os.write(2, held)
                held = b""
        self._keep([half])
        pipe.close()

    def _keep(self, lines: list[bytes]) -> None:
        self.lines.extend(text for line in lines if (text := line.decode(errors="replace").strip()[:LONGEST_LINE]))


def ending(code: int, lacks_before: int | None, last_lines: str = "") -> tuple[str, bool]:
    """How a process ended, in words that follow its name, and whether most likely memory ran out.

    `code`: its return code, negative for a signal; `lacks_before`: `lacks_of_memory` as it started; `last_lines`: of
    its stderr, where they tell why.
    """
    behind = f": {last_lines}" if last_lines else ""
    if code >= 0:
        return f"ended with exit code {code}{behind}", False
    if code != -getattr(signal, "SIGKILL", 9):
        return f"was ended by {_signal(-code)}{behind}", False
    lacks = lacks_of_memory()
    if lacks is not None and lacks_before is not None and lacks > lacks_before:
        return "was killed (SIGKILL), since memory ran out", True
    return "was killed (SIGKILL), most likely because memory ran out", True


def _signal(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
