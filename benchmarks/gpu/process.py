"""Runs a part in a forked process, which begins with torch imported and no device touched, and ends it in time."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

from benchmarks.gpu.schedule import Part, write
from benchmarks.gpu.setting import Row, Setting

POLL_SECONDS = 0.05
ENDED = "its process ended"
"""How the message of a part begins that could not write its last one."""
LOG_LINES = 8
"""Lines of a crashed part's output that its record has."""


def warm_up() -> None:
    """Import what every part needs, once; nothing here may touch a GPU, or no forked process could use it."""
    for name in ("torch", "relubench.experiments.study", "relubench.training.population"):
        # What is missing is said by the parts that need it.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def run_in_process(part: Part, setting: Setting, file: Path) -> Row:
    """The record of a part; with the rows so far where it crashed or its time was over."""
    log = setting.folder / f"{part.name}.log"
    write(file, {"outcome": "failed", "message": f"{ENDED} before its first row", "rows": []})
    sys.stdout.flush()
    sys.stderr.flush()
    end = time.monotonic() + setting.seconds
    child = os.fork()
    if child == 0:
        _carry_out(part, setting, file, log)
    status = _wait(child, end)
    # What the part has started, a compiler's processes for one, ends with it.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    record = json.loads(file.read_text())
    if status is None:
        os.waitpid(child, 0)
        return {**record, "outcome": "out of time", "message": f"its {setting.seconds:.0f} s were over"}
    if record["message"].startswith(ENDED):
        tail = log.read_text(errors="replace").strip().splitlines()[-LOG_LINES:] if log.exists() else []
        return {**record, "message": f"{record['message']} (wait status {status}): {' | '.join(tail)}"}
    return record


def _wait(child: int, end: float) -> int | None:
    """The child's wait status; None where it still runs at the end, and is killed then."""
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        time.sleep(POLL_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return None


def _carry_out(part: Part, setting: Setting, file: Path, log: Path) -> None:
    """Yields of the part become rows of the file, each at once; ends the process."""
    code = 1
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for stream in (1, 2):
            os.dup2(output, stream)
        rows: list[Row] = []
        try:
            module, _, function = part.target.partition(":")
            for row in getattr(importlib.import_module(module), function)(setting):
                rows.append(row)
                write(file, {"outcome": "failed", "message": f"{ENDED} after so many rows", "rows": rows})
            write(file, {"outcome": "ok", "message": "", "rows": rows})
            code = 0
        except BaseException as problem:
            traceback.print_exc()
            write(file, {"outcome": "failed", "message": f"{type(problem).__name__}: {problem}", "rows": rows})
    finally:
        sys.stderr.flush()
        os._exit(code)
