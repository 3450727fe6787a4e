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

MARK = "__relubench_record__"
"""In the builtins of a user's module: its full name."""


@dataclass(slots=True)
class Record:
    """What a module brought in while it was imported, or an object while it was checked."""

    modules: set[str] = field(default_factory=set)
    """Users' modules, by their full names."""
    packages: set[str] = field(default_factory=set)
    """Top-level names of what is installed."""
    files: dict[str, None] = field(default_factory=dict)
    """Files that were opened for reading, there or not."""
    folders: dict[str, None] = field(default_factory=dict)
    """Folders whose lists of names were asked for, there or not."""
    written: set[str] = field(default_factory=set)
    environment: set[str] = field(default_factory=set)
    unseen: set[str] = field(default_factory=set)
    """What cannot be followed, in a few words each."""
    digest: str = ""
    """SHA-256 of the module's source as it was compiled."""
    path: str = ""
    numbers: dict[str, str] = field(default_factory=dict)
    """The module's global numbers, by name, as they were once it was imported."""
    samples: int = 0
    flags: dict[tuple[str, str], tuple[object, int]] = field(default_factory=dict)
    """Module and name of what `sample` saw: its value, and how often that has changed."""


RECORDS: dict[str, Record] = {}
"""Of every user's module that was imported here."""
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
    places = {sysconfig.get_path(name) for name in names} | {str(Path(__file__).parents[2])}
    # Also what `pip install --target` made.
    places |= {one for one in sys.path if one.endswith(("site-packages", "dist-packages")) or _is_installed_to(one)}
    return tuple(f"{form}{os.sep}" for one in places for form in {one, str(Path(one).resolve())})


def _is_installed_to(folder: str) -> bool:
    return bool(folder) and next(Path(folder).glob("*.dist-info"), None) is not None


class _Shared:
    """What is one for all threads: a backward pass may run in another."""

    record: Record | None = None
    """Of the check that runs."""


_shared = _Shared()


@contextlib.contextmanager
def recording(record: Record) -> Iterator[None]:
    """Inside, what users' functions bring in is noted in `record`; what importing brings in, with the module."""
    before, _shared.record = _shared.record, record
    try:
        yield
    finally:
        _shared.record = before


def current_record() -> Record | None:
    """The record for what a user's code does now: the module's that is being imported, else that of the check."""
    names = executing()
    return RECORDS.get(names[-1]) if names else _shared.record


def executing() -> list[str]:
    """The users' modules that are being imported in this thread, the innermost last."""
    if not hasattr(_local, "executing"):
        _local.executing = []
    return _local.executing


def changed_global(names: Iterable[str]) -> str:
    """The first global number of these modules that is no longer as importing it left it; empty if none is."""
    for name in names:
        module, record = sys.modules.get(name), RECORDS.get(name)
        if module is not None and record is not None:
            now = global_numbers(module)
            changed = [key for key, value in record.numbers.items() if now.get(key, value) != value]
            if changed:
                return changed[0]
    return ""


SAMPLES = 40
"""Calls after which nobody looks any more: a check takes hundreds."""


def sample() -> None:
    """Look at the flags and dictionaries that users' modules hold, between two calls of what is being checked."""
    record = _shared.record
    if record is None or record.samples >= SAMPLES:
        return
    record.samples += 1
    for name in RECORDS:
        if (module := sys.modules.get(name)) is not None:
            for key, value in _global_flags(module).items():
                before, changes = record.flags.get((name, key), (value, 0))
                record.flags[name, key] = (value, changes + (value != before))


def changed_flag(record: Record) -> str:
    """The first flag that did not stay as its first change left it, or number that took another's place; or empty.

    A flag that is set once (a warning was given) and a dictionary that only grows (a cache) are no state.
    """
    for (_, name), (value, changes) in record.flags.items():
        if changes > (1 if isinstance(value, bool) else 0):
            return name
    return ""


def _global_flags(module: ModuleType) -> dict[str, object]:
    """Every flag of the module, and every number and flag in its dictionaries and lists, by name."""
    found: dict[str, object] = {}
    for prefix, values in _owners(module):
        for name, value in values.items():
            parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            found |= {f"{prefix}{name}[{key!r}]": part for key, part in list(parts)[:100] if _is_number(part)}
            if isinstance(value, bool):
                found[f"{prefix}{name}"] = value
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | complex)


def global_numbers(module: ModuleType) -> dict[str, str]:
    """What a module's functions may count in: global numbers and tensors, and those of its functions and classes."""
    found = {f"{prefix}{name}": _number(value) for prefix, values in _owners(module) for name, value in values.items()}
    return {name: value for name, value in found.items() if value}


def _owners(module: ModuleType) -> list[tuple[str, Mapping[str, object]]]:
    """What holds values in a module, each with what goes before their names: itself, its functions and classes."""
    owners: list[tuple[str, Mapping[str, object]]] = [("", vars(module))]
    for name, value in vars(module).items():
        if name == "__builtins__":
            continue
        if isinstance(value, type | FunctionType) and value.__module__ == module.__name__:
            owners.append((f"{name}.", vars(value)))
        owners += [(f"{name}.", values) for values in _kept_inside(value)]
    return [(prefix, {key: one for key, one in values.items() if key != "__builtins__"}) for prefix, values in owners]


def _kept_inside(value: object) -> list[dict[str, object]]:
    """What a function keeps in its closure and its defaults, a partial in its arguments, a user's object in itself."""
    if isinstance(value, functools.partial):
        arguments = {f"argument {place}": argument for place, argument in enumerate(value.args)}
        return [arguments | value.keywords, *_kept_inside(value.func)]
    if isinstance(value, FunctionType):
        defaults = {f"default {place}": default for place, default in enumerate(value.__defaults__ or ())}
        return [_closure(value) | defaults | (value.__kwdefaults__ or {})]
    # A module's own state is stored with its network.
    if is_users(type(value)) and not hasattr(value, "_parameters"):
        return [dict(getattr(value, "__dict__", {}))]
    return []


def _closure(function: FunctionType) -> dict[str, object]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    found: dict[str, object] = {}
    for name, cell in cells:
        with contextlib.suppress(ValueError):  # A name that has no value yet.
            found[name] = cell.cell_contents
    return found


def _number(value: object) -> str:
    """A number, or a container of numbers, as text; a tensor's count of changes; empty for anything else."""
    if isinstance(value, int | float | complex) and not isinstance(value, bool):
        return repr(value)
    if hasattr(value, "_version") and hasattr(value, "untyped_storage"):
        return f"tensor {value._version}"  # type: ignore[attr-defined]
    if isinstance(value, list | dict | deque):
        parts = list(value.values()) if isinstance(value, dict) else list(value)
        texts = [_number(one) for one in parts[:100]]
        # A dictionary that is filled later may be a cache; a list that grows is a counter.
        return f"{len(parts)} {texts}" if all(texts) and (parts or not isinstance(value, dict)) else ""
    return ""
