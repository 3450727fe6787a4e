"""Where in a user's own code an exception came from; imports no torch."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from pathlib import Path

_PACKAGE = str(Path(__file__).resolve().parents[1])


def place_of(problem: BaseException) -> str:
    """'acts.py, line 12': the innermost line that is not torch's, Python's or this package's; '' if there is none."""
    for frame, line in reversed(list(traceback.walk_tb(problem.__traceback__))):
        file = frame.f_code.co_filename
        if not _of_others(file):
            return f"{Path(file).name}, line {line}"
    return ""


def one_line(problem: BaseException) -> str:
    """The exception in one line with its place: 'ValueError: too small (acts.py, line 12)'."""
    lines = [line.strip() for line in str(problem).strip().splitlines() if line.strip()]
    # Of TorchScript's errors the last line is the reason, and the first ones draw the code.
    text = lines[-1] if lines and lines[0].startswith("The following operation failed") else " ".join(lines)
    most = 60 if "tensor(" in text else 300  # The numbers of a tensor tell nothing.
    text = text if len(text) <= most else f"{text[: most - 3]}..."
    place = place_of(problem)
    kind = type(problem).__name__
    return ", ".join([(f"{kind}: {text}" if text else kind) + (f" ({place})" if place else ""), *places_noted(problem)])


def places_noted(problem: BaseException) -> list[str]:
    """Where in a network it came up, as whoever called the user's code has noted."""
    return [note for note in getattr(problem, "__notes__", ()) if note.startswith("in the place of ")]


def _of_others(file: str) -> bool:
    if file.startswith("<"):
        return True
    torch = sys.modules.get("torch")
    homes = [_PACKAGE, sysconfig.get_paths()["stdlib"], sysconfig.get_paths()["platstdlib"]]
    if torch is not None and torch.__file__:
        homes.append(str(Path(torch.__file__).parent))
    # site-packages lies in the standard library's folder, and a user's own may be installed there.
    return any(file.startswith(f"{home}/") and "site-packages" not in file.removeprefix(home) for home in homes)
