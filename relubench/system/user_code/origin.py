"""Where in a user's own code an exception came from; imports no torch."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import sysconfig
import traceback
from pathlib import Path

from relubench.system.user_code.loading import PREFIX

_PACKAGE = str(Path(__file__).resolve().parents[2])


def place_of(problem: BaseException) -> str:
    """'acts.py, line 12': the innermost line that is not torch's, Python's or this package's; '' if there is none."""
    file, line = _innermost(problem)
    return f"{Path(file).name}, line {line}" if file else ""


def missing_module(problem: BaseException) -> str:
    """The hint where a user's code imports what is not there: which module, and what to set; '' for other errors."""
    if not isinstance(problem, ModuleNotFoundError) or not problem.name:
        return ""
    name = without_package(problem.name)
    top, file = name.partition(".")[0], _innermost(problem)[0]
    above = [Path(file).parent, *list(Path(file).parents)[1:4]] if file else []
    for folder in [Path(os.curdir).absolute(), *above]:
        # An installed one that lacks a part is no question of folders.
        if (folder / f"{top}.py").is_file() or ((folder / top).is_dir() and "." in name and not _is_there(top)):
            return f"{top} lies in {folder}, where it is not looked for: set PYTHONPATH={folder}"
    if "." in name and _is_there(top):
        return f"{top} is there, and has no {name}: check its version and the spelling"
    beside = f"put it beside {Path(file).name}, " if file else ""
    return f"{beside}install it, or set PYTHONPATH to the folder that has {top}.py or {top}/"


def without_package(text: str) -> str:
    """The text without the names that users' files have here: 'helpers' for 'relubench_own_0123_1.helpers'."""
    return re.sub(rf"\b{PREFIX}\w+\.", "", text)


def _is_there(top: str) -> bool:
    try:
        return top in sys.modules or importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False


def _innermost(problem: BaseException) -> tuple[str, int]:
    """The file and the line of a user's own code in which it was raised; ('', 0) if there is none."""
    for frame, line in reversed(list(traceback.walk_tb(problem.__traceback__))):
        file = frame.f_code.co_filename
        if not _of_others(file):
            return file, line
    return "", 0


def one_line(problem: BaseException) -> str:
    """The exception in one line with its place: 'ValueError: too small (acts.py, line 12)'."""
    lines = [line.strip() for line in str(problem).strip().splitlines() if line.strip()]
    # Of TorchScript's errors the last line is the reason, and the first ones draw the code.
    text = lines[-1] if lines and lines[0].startswith("The following operation failed") else " ".join(lines)
    text = without_package(text)
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
