"""The place in a user's own code that an exception came from. Torch-free."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import sysconfig
import traceback
from pathlib import Path

from relubench.system.paths import PACKAGE
from relubench.system.user_code.loading import PREFIX


def place_of(exception: BaseException) -> str:
    """'acts.py, line 12': the innermost line that is not torch's, Python's or this package's; '' if there is none."""
    file, line = _innermost_frame(exception)
    return f"{Path(file).name}, line {line}" if file else ""


def missing_module(exception: BaseException) -> str:
    """The hint where a user's code imports what is not there: which module, and what to set; '' for other errors."""
    if not isinstance(exception, ModuleNotFoundError) or not exception.name:
        return ""
    name = without_package(exception.name)
    top, file = name.partition(".")[0], _innermost_frame(exception)[0]
    above = [Path(file).parent, *list(Path(file).parents)[1:4]] if file else []
    for folder in [Path(os.curdir).absolute(), *above]:
        # Where an installed package lacks a module, another folder does not help.
        if (folder / f"{top}.py").is_file() or ((folder / top).is_dir() and "." in name and not _is_importable(top)):
            return f"{top} lies in {folder}, where it is not looked for: set PYTHONPATH={folder}"
    if "." in name and _is_importable(top):
        return f"{top} is there, and has no {name}: check its version and the spelling"
    beside = f"put it beside {Path(file).name}, " if file else ""
    return f"{beside}install it, or set PYTHONPATH to the folder that has {top}.py or {top}/"


def without_package(text: str) -> str:
    """The text without the names that users' files have here: 'helpers' for 'relubench_own_0123_1.helpers'."""
    return re.sub(rf"\b{PREFIX}\w+\.", "", text)


def _is_importable(top: str) -> bool:
    try:
        return top in sys.modules or importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False


def _innermost_frame(exception: BaseException) -> tuple[str, int]:
    """The file and the line of a user's own code in which it was raised; ('', 0) if there is none."""
    for frame, line in reversed(list(traceback.walk_tb(exception.__traceback__))):
        file = frame.f_code.co_filename
        if not _is_library_code(file):
            return file, line
    return "", 0


def one_line(exception: BaseException) -> str:
    """The exception in one line with its place: 'ValueError: too small (acts.py, line 12)'."""
    lines = [line.strip() for line in str(exception).strip().splitlines() if line.strip()]
    # Of TorchScript's errors the last line is the reason, and the first ones draw the code.
    text = lines[-1] if lines and lines[0].startswith("The following operation failed") else " ".join(lines)
    text = without_package(text)
    max_length = 60 if "tensor(" in text else 300  # The numbers of a tensor tell nothing.
    text = text if len(text) <= max_length else f"{text[: max_length - 3]}..."
    place = place_of(exception)
    kind = type(exception).__name__
    message = (f"{kind}: {text}" if text else kind) + (f" ({place})" if place else "")
    return ", ".join([message, *places_noted(exception)])


def places_noted(exception: BaseException) -> list[str]:
    """The places in a network that were noted on the exception: 'in the place of ...'."""
    return [note for note in getattr(exception, "__notes__", ()) if note.startswith("in the place of ")]


def _is_library_code(file: str) -> bool:
    if file.startswith("<"):
        return True
    torch = sys.modules.get("torch")
    homes = [str(PACKAGE.resolve()), sysconfig.get_paths()["stdlib"], sysconfig.get_paths()["platstdlib"]]
    if torch is not None and torch.__file__:
        homes.append(str(Path(torch.__file__).parent))
    # site-packages lies in the standard library's folder, and a user's own may be installed there.
    return any(file.startswith(f"{home}/") and "site-packages" not in file.removeprefix(home) for home in homes)
