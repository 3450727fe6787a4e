"""A user's own activation, named by 'package.module:Name' or './file.py:Name': recognised and found, not imported."""

from __future__ import annotations

import ast
import hashlib
import importlib
import math
import re
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path

from relubench.activations.choice import Choice
from relubench.activations.table import ParameterValue
from relubench.errors import UsageError
from relubench.places import user_path

FORM = "./file.py:Name or package.module:Name, then :key=value for its arguments"

_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """The parts of what the user wrote."""

    place: str
    """A path or a dotted module, as written."""
    name: str
    parameters: tuple[tuple[str, ParameterValue], ...]


def is_own(text: str) -> bool:
    """Whether this names a user's own: a '.', '/' or '\\' before the first colon; without a colon, a .py file."""
    place, colon, _ = _partition(text)
    if not colon:
        return place.endswith(".py")
    return any(mark in place for mark in "./\\")


def choose_own(text: str) -> Choice:
    """The Choice for a user's own; UsageError if it is malformed or its file is not there."""
    own = _parse(text)
    file = source_file(own.place)
    place = str(file) if is_path(own.place) else own.place
    return Choice(
        # Numbers as Python writes them: 3 and 3.0 may not be the same to the user's own code.
        label=":".join([own.place, own.name, *(f"{key}={value}" for key, value in own.parameters)]),
        kind="user",
        name=f"{place}:{own.name}",
        parameters=own.parameters,
        source_digest=_digest(file),
    )


def is_path(place: str) -> bool:
    """Whether it is a file's path; otherwise it is a dotted module."""
    return place.endswith(".py") or "/" in place or "\\" in place


def split_name(name: str) -> tuple[str, str]:
    """Choice.name of a user's own as (path or module, the object's name)."""
    place, _, found = name.rpartition(":")
    return place, found


def source_file(place: str) -> Path:
    """The file that a path or a dotted module names; nothing is imported, not even the module's parents."""
    if is_path(place):
        try:
            file = user_path(place).resolve()
            if file.is_file():
                return file
        except (OSError, RuntimeError, ValueError) as problem:
            raise UsageError(f"the path {place!r} cannot be read: {problem}", FORM) from problem
        raise UsageError(f"there is no file {place!r}", f"the path is taken from {Path.cwd()}")
    spec = _module(place)
    if spec is None or not spec.has_location or spec.origin is None:
        raise UsageError(f"there is no module {place!r}", f"a file that is not installed is named by its path: {FORM}")
    return Path(spec.origin)


def _module(dotted: str) -> ModuleSpec | None:
    """What importlib.util.find_spec says, but that imports the parents."""
    importlib.invalidate_caches()
    parts = dotted.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    spec, places = None, None
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        spec = next((found for one in sys.meta_path if (found := one.find_spec(name, places)) is not None), None)
        places = spec.submodule_search_locations if spec is not None else None
        if places is None and depth < len(parts):
            return None
    return spec


def _digest(file: Path) -> str:
    """SHA-256 over the file and whatever it imports from beside it, directly or not; nothing is executed."""
    sources: dict[Path, bytes] = {}
    waiting = [file]
    try:
        while waiting:
            one = waiting.pop()
            if one not in sources:
                sources[one] = one.read_bytes()
                waiting += _imported(one, sources[one], file.parent)
        if len(sources) == 1:
            return hashlib.sha256(sources[file]).hexdigest()
        together = hashlib.sha256()
        for one in sorted(sources):
            together.update(hashlib.sha256(sources[one]).digest())
        return together.hexdigest()
    except OSError as problem:
        raise UsageError(
            f"{str(file)!r} cannot be read: {problem.strerror}", "check the file's permissions"
        ) from problem


def _imported(file: Path, source: bytes, beside: Path) -> list[Path]:
    """The files in `beside` or in the file's own package that its import statements name; none if it does not parse."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []  # Building it says what is wrong.
    found: list[Path] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [path for alias in node.names for path in _modules(beside, alias.name)]
        elif isinstance(node, ast.ImportFrom):
            root = file.parents[node.level - 1] if node.level else beside
            module = node.module or ""
            for alias in node.names:
                found += _modules(root, f"{module}.{alias.name}".strip("."))
    return found


def _modules(root: Path, dotted: str) -> list[Path]:
    """The files of a dotted module and of its parents, below `root`."""
    found: list[Path] = []
    for part in dotted.split("."):
        root = root / part
        found += [path for path in (root.with_name(f"{part}.py"), root / "__init__.py") if path.is_file()]
    return found


def _partition(text: str) -> tuple[str, str, str]:
    """(place, ':', rest), not taken in by the colon of a Windows drive."""
    start = 2 if _DRIVE.match(text) else 0
    place, colon, rest = text[start:].partition(":")
    return text[:start] + place, colon, rest


def _parse(text: str) -> Own:
    place, _, rest = _partition(text)
    name, *settings = (part.strip() for part in rest.split(":"))
    if not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f"{text!r} does not say which class or function of {place!r} to use", FORM)
    found: dict[str, ParameterValue] = {}
    for setting in settings:
        key, equals, value = (part.strip() for part in setting.partition("="))
        if not equals or not key.isidentifier():
            raise UsageError(f"{setting!r} in {text!r} is not an argument of the form key=value", FORM)
        if key in found:
            raise UsageError(f"{key} is given twice in {text!r}", "give each argument once")
        found[key] = _value(key, value, text)
    return Own(place=place.strip(), name=name, parameters=tuple(sorted(found.items())))


def _value(key: str, value: str, text: str) -> ParameterValue:
    """An int if it reads as one, else a finite float, else the text itself."""
    for reads in (int, float):
        try:
            number = reads(value)
        except ValueError:
            continue
        if isinstance(number, float) and not math.isfinite(number):
            raise UsageError(f"{key}={value} in {text!r} is not finite", "give a finite number")
        return number + 0
    return value
