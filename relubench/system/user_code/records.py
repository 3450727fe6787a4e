"""What users' modules and functions use: records that importing them and checking them leave behind. Torch-free."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import sysconfig
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType

from relubench.system.paths import PACKAGE

MARK = "__relubench_record__"
"""In the builtins of a user's module: its full name."""


@dataclass(slots=True)
class Record:
    """What a module read while it was imported, or an object while it was checked."""

    modules: set[str] = field(default_factory=set)
    """Users' modules, by their full names."""
    packages: set[str] = field(default_factory=set)
    """Top-level names of what is installed."""
    files: dict[str, None] = field(default_factory=dict)
    """Files that were opened for reading, there or not."""
    folders: dict[str, None] = field(default_factory=dict)
    """Folders whose lists of names were asked for, there or not."""
    written_files: set[str] = field(default_factory=set)
    questions: dict[tuple[str, str], None] = field(default_factory=dict)
    """What was asked of paths besides their contents: (question, path); see `path_questions`."""
    made: set[str] = field(default_factory=set)
    """Folders and links that the code made itself."""
    temporary: set[str] = field(default_factory=set)
    """Those of them whose names tempfile gave, other ones each time."""
    environment: set[str] = field(default_factory=set)
    unseen: set[str] = field(default_factory=set)
    """Sources that cannot be watched, each as a short phrase."""
    digest: str = ""
    """SHA-256 of the module's source as it was compiled."""
    path: str = ""
    numbers: dict[str, str] = field(default_factory=dict)
    """The module's global numbers, by name, as they were once it was imported."""
    samples: int = 0
    flags: dict[tuple[str, str], tuple[object, int]] = field(default_factory=dict)
    """By module and name, each flag that `sample` recorded: its value, and how often it has changed."""


RECORDS: dict[str, Record] = {}
"""The record of every user's module that was imported in this process, by its full name."""
_local = threading.local()


def is_users(kind: type) -> bool:
    """Whether a class is defined in a module of the user's own."""
    return kind.__module__ in RECORDS


def is_users_file(path: str) -> bool:
    """Whether a file is neither part of Python, nor installed, nor relubench's own."""
    return not path.startswith(_system_folders()) and not path.startswith("<")


@functools.cache
def _system_folders() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {sysconfig.get_path(name) for name in names} | {str(PACKAGE)}
    # Also what `pip install --target` made.
    folders |= {entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))}
    folders |= {entry for entry in sys.path if _is_installed_to(entry)}
    return tuple(f"{form}{os.sep}" for folder in folders for form in {folder, str(Path(folder).resolve())})


def _is_installed_to(folder: str) -> bool:
    return bool(folder) and next(Path(folder).glob("*.dist-info"), None) is not None


class _SharedState:
    """State that all threads share: a backward pass may run in another thread."""

    record: Record | None = None
    """The record of the check that is running."""


_shared = _SharedState()


@contextlib.contextmanager
def recording(record: Record) -> Iterator[None]:
    """A block in which what users' functions read goes to `record`; what imports read goes to the module's record."""
    previous, _shared.record = _shared.record, record
    try:
        yield
    finally:
        _shared.record = previous


def current_record() -> Record | None:
    """The record for what a user's code does now: of the module that is being imported, else of the running check."""
    names = modules_importing()
    return RECORDS.get(names[-1]) if names else _shared.record


def modules_importing() -> list[str]:
    """The users' modules that are being imported in this thread, the innermost last."""
    if not hasattr(_local, "modules_importing"):
        _local.modules_importing = []
    return _local.modules_importing


def changed_global(names: Iterable[str]) -> str:
    """The first global number of these modules that is no longer as importing it left it; empty if none is."""
    for name in names:
        module, record = sys.modules.get(name), RECORDS.get(name)
        if module is not None and record is not None:
            numbers = global_numbers(module)
            changed_names = [key for key, value in record.numbers.items() if numbers.get(key, value) != value]
            if changed_names:
                return changed_names[0]
    return ""


SAMPLES = 40
"""Calls of `sample` that count, for each check: a check makes hundreds."""


def sample() -> None:
    """Record the flags and dictionaries of users' modules, between two calls of what is being checked."""
    record = _shared.record
    if record is None or record.samples >= SAMPLES:
        return
    record.samples += 1
    for name in RECORDS:
        if (module := sys.modules.get(name)) is not None:
            for key, value in _global_flags(module).items():
                previous, changes = record.flags.get((name, key), (value, 0))
                record.flags[name, key] = (value, changes + (value != previous))


def changed_flag(record: Record) -> str:
    """The first flag that changed twice, or number that was replaced; empty if there is none.

    A flag that is set once (a warning was given) and a dictionary that only grows (a cache) are not state.
    """
    for (_, name), (value, changes) in record.flags.items():
        if changes > (1 if isinstance(value, bool) else 0):
            return name
    return ""


def _global_flags(module: ModuleType) -> dict[str, object]:
    """Every flag of the module, and every number and flag in its dictionaries and lists, by name."""
    flags: dict[str, object] = {}
    for prefix, values in _namespaces(module):
        for name, value in values.items():
            parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            flags |= {f"{prefix}{name}[{key!r}]": part for key, part in list(parts)[:100] if _is_number(part)}
            if isinstance(value, bool):
                flags[f"{prefix}{name}"] = value
    return flags


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | complex)


def global_numbers(module: ModuleType) -> dict[str, str]:
    """The numbers and tensors in which a module's functions may count, by name and as text."""
    numbers = {
        f"{prefix}{name}": _number_text(value)
        for prefix, values in _namespaces(module)
        for name, value in values.items()
    }
    return {name: value for name, value in numbers.items() if value}


def _namespaces(module: ModuleType) -> list[tuple[str, Mapping[str, object]]]:
    """The namespaces of a module, each with a prefix for its names: its own, its functions' and classes'."""
    owners: list[tuple[str, Mapping[str, object]]] = [("", vars(module))]
    for name, value in vars(module).items():
        if name == "__builtins__":
            continue
        if isinstance(value, type | FunctionType) and value.__module__ == module.__name__:
            owners.append((f"{name}.", vars(value)))
        owners += [(f"{name}.", values) for values in _inner_namespaces(value)]
    return [
        (prefix, {key: value for key, value in values.items() if key != "__builtins__"}) for prefix, values in owners
    ]


def _inner_namespaces(value: object) -> list[dict[str, object]]:
    """The values in a function's closure and defaults, in a partial's arguments, in a user's object."""
    if isinstance(value, functools.partial):
        arguments = {f"argument {place}": argument for place, argument in enumerate(value.args)}
        return [arguments | value.keywords, *_inner_namespaces(value.func)]
    if isinstance(value, FunctionType):
        defaults = {f"default {place}": default for place, default in enumerate(value.__defaults__ or ())}
        return [_closure_values(value) | defaults | (value.__kwdefaults__ or {})]
    # A module's own state is stored with its network.
    if is_users(type(value)) and not hasattr(value, "_parameters"):
        return [dict(getattr(value, "__dict__", {}))]
    return []


def _closure_values(function: FunctionType) -> dict[str, object]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    values: dict[str, object] = {}
    for name, cell in cells:
        with contextlib.suppress(ValueError):  # A name that has no value yet.
            values[name] = cell.cell_contents
    return values


def _number_text(value: object) -> str:
    """A number, or a container of numbers, as text; a tensor's count of changes; empty for anything else."""
    if isinstance(value, int | float | complex) and not isinstance(value, bool):
        return repr(value)
    if hasattr(value, "_version") and hasattr(value, "untyped_storage"):
        return f"tensor {value._version}"  # type: ignore[attr-defined]
    if isinstance(value, list | dict | deque):
        parts = list(value.values()) if isinstance(value, dict) else list(value)
        texts = [_number_text(part) for part in parts[:100]]
        # A dictionary that is filled later may be a cache; a list that grows is a counter.
        return f"{len(parts)} {texts}" if all(texts) and (parts or not isinstance(value, dict)) else ""
    return ""
