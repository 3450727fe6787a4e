"""What users' code asks of a path besides its contents: whether it is there, its kind, size, time, access. Torch-free.

Python raises no audit event for these questions, so the functions of `os` in which they all end are replaced by ones
that record them; `os.path`, `pathlib`, `glob` and `shutil` call those. A question counts where the user's own code asks
it, itself or through the standard library: what an installed library looks for (its caches) is the library's affair.
"""

from __future__ import annotations

import functools
import os
import stat
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from types import FrameType
from typing import Any

from relubench.system.user_code.records import MARK, Record, current_record, is_users_file

DEVICES = ("/dev/", "/proc/", "/sys/")
IGNORED = frozenset({"realpath", "resolve", "makedirs", "mkdir", "rmtree", "samefile", "_samefile"})
"""Functions of the standard library whose own questions decide nothing that their results do not say."""
IGNORED_MODULES = frozenset({"linecache", "tempfile", "inspect", "tokenize"})
ABOUT_TIME = frozenset({"stat", "lstat", "getmtime", "getctime", "getatime"})
QUESTIONS = ("kind", "link", "size", "times", "access", "module")
"""Whether it is a file or a folder; whether it is a link; the size; the time of its last change; what is permitted.
Last, whether a module of that name is installed."""


def watch_questions() -> None:
    """Begin to record questions about paths, until the process ends."""
    for name in ("stat", "lstat", "access"):
        original = getattr(os, name)
        recorded = _recorded(original)
        setattr(os, name, recorded)
        # These sets say what a function can do, by the function itself.
        for functions in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks, os.supports_effective_ids):
            if original in functions:
                functions.add(recorded)


def _recorded(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def asked(path: Any, *arguments: Any, **keywords: Any) -> Any:
        record = current_record()
        if record is not None and isinstance(path, str | bytes | os.PathLike) and keywords.get("dir_fd") is None:
            _record_question(record, original.__name__, os.fspath(path), arguments, keywords)
        return original(path, *arguments, **keywords)

    return asked


def _record_question(
    record: Record, function: str, path: str | bytes, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> None:
    functions = _functions_between()
    if functions is None:
        return
    question = _question_of(function, functions, arguments, keywords)
    try:
        name = str(Path(os.fsdecode(path)).absolute())
    except OSError:
        return  # The working folder is gone, with all of its files.
    if not f"{name}/".startswith(DEVICES) and is_users_file(name) and is_users_file(f"{name}/"):
        record.questions.setdefault((question, name))


def _question_of(function: str, functions: list[str], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> str:
    """Which question a call of os.stat, os.lstat or os.access is, asked through these functions."""
    outermost = functions[-1] if functions else function
    if function == "access":
        mode = arguments[0] if arguments else keywords.get("mode")
        return "kind" if mode == os.F_OK else "access"
    if outermost in ABOUT_TIME:
        return "times"
    if outermost == "getsize":
        return "size"
    return "link" if function == "lstat" or keywords.get("follow_symlinks") is False else "kind"


def _functions_between() -> list[str] | None:
    """The standard library's functions from the question up to the user's code; None where another's code asks."""
    frame: FrameType | None = sys._getframe(3)
    functions: list[str] = []
    while frame is not None:
        code, module = frame.f_code, str(frame.f_globals.get("__name__")).partition(".")[0]
        is_library = module in sys.stdlib_module_names
        if MARK in frame.f_builtins or (not is_library and is_users_file(code.co_filename)):
            return functions
        importing = code.co_filename.startswith("<frozen importlib")
        if not is_library or importing or module in IGNORED_MODULES or code.co_name in IGNORED:
            return None
        functions.append(code.co_name)
        frame = frame.f_back
    return None


def record_missing_module(name: str, folders: Sequence[str]) -> None:
    """Record that a module was imported and not found, in `folders` or elsewhere: the code may do without it."""
    record = current_record()
    parent, _, leaf = name.rpartition(".")
    if record is None or not leaf:
        return
    if not parent:
        record.questions.setdefault(("module", name))
    for folder in getattr(sys.modules.get(parent), "__path__", []) if parent else folders:
        paths = [str(Path(folder, file)) for file in (f"{leaf}.py", f"{leaf}/__init__.py")]
        record.questions |= {("kind", path): None for path in paths if is_users_file(path)}


def answer(question: str, path: str) -> str:
    """The answer to a question about a path as of now, as text; '' where nothing is there."""
    if question == "module":
        return "installed" if PathFinder.find_spec(path) is not None else ""
    try:
        facts = Path(path).stat(follow_symlinks=question != "link")
    except (OSError, ValueError):
        return ""
    mode = facts.st_mode
    kind = next((name for name, holds in _KINDS.items() if holds(mode)), "other")
    if question == "access":
        return f"{kind} {[os.access(path, right) for right in (os.R_OK, os.W_OK, os.X_OK)]}"
    size = f" {facts.st_size}" if kind == "file" and question in ("size", "times") else ""
    return f"{kind}{size}" + (f" {facts.st_mtime_ns}" if question == "times" else "")


_KINDS: Mapping[str, Callable[[int], bool]] = {"file": stat.S_ISREG, "folder": stat.S_ISDIR, "link": stat.S_ISLNK}


def answers(
    records: Iterable[Record], files: Mapping[str, str | None], folders: Mapping[str, str | None]
) -> dict[str, str]:
    """'question path' -> the answer, for each question whose answer does not follow from known contents.

    Of what the code made itself, only that it is there is said: not what is gone again, and no file that it grows.
    """
    answered: dict[str, str] = {}
    existing_files = [path for path, digest in files.items() if digest is not None]
    for record in records:
        passing = [f"{folder}{os.sep}" for folder in record.made if not os.path.lexists(folder)]
        passing += [f"{folder}{os.sep}" for folder in record.temporary]
        for question, path in record.questions:
            text = answer(question, path)
            if f"{path}{os.sep}".startswith(tuple(passing)):
                continue
            if path in record.written_files and (not text or question in ("size", "times")):
                continue
            known_file = files.get(path) is not None and question in ("kind", "size")
            prefix = path if path.endswith(os.sep) else f"{path}{os.sep}"
            known_folder = text == "folder" and (
                folders.get(path) is not None or any(file.startswith(prefix) for file in existing_files)
            )
            if not known_file and not known_folder:
                answered[f"{question} {path}"] = text
    return dict(sorted(answered.items()))
