"""A user's own activation, named by 'package.module:Name' or './file.py:Name': recognised and found, not imported."""

from __future__ import annotations

import ast
import hashlib
import importlib
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Literal, TypeVar

from relubench.activations.choice import Choice
from relubench.activations.table import ACTIVATIONS, FAMILIES
from relubench.errors import WARNING, UsageError
from relubench.system.paths import user_path
from relubench.system.user_code.loading import file_of, module_name
from relubench.system.user_code.manifest import Manifest, digest_of, key_of, manifest_of, reached, remember, remembered
from relubench.system.user_code.records import Record, changed_flag, changed_global, is_users_file, recording

FORM = "./file.py:Name or package.module:Name, then :key=value for its arguments"

Role = Literal["activation", "network"]
Result = TypeVar("Result")

_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_BOOLS = {"true": True, "false": False}
"""However they are written: the text 'false' would count as true to a user's code."""

OwnValue = float | int | str | bool | None | tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """The parts of what the user wrote."""

    place: str
    """A path or a dotted module, as written."""
    name: str
    parameters: tuple[tuple[str, OwnValue], ...]


def is_own(text: str) -> bool:
    """Whether this names a user's own: a '.', '/' or '\\' before the first colon, or an installed module's name.

    Without a colon, a .py file.
    """
    place, colon, rest = _partition(text)
    if not colon:
        return place.endswith(".py")
    return any(mark in place for mark in "./\\") or _is_module(place.strip(), rest)


def _is_module(word: str, rest: str) -> bool:
    """Whether 'torch:relu' names an object of a module: no activation has that name, and the module is there."""
    name = rest.partition(":")[0].strip()
    if word in ACTIVATIONS or word in FAMILIES or not all(part.isidentifier() for part in name.split(".")):
        return False
    try:
        return word.isidentifier() and _module(word) is not None
    except (ImportError, ValueError):
        return False


def file_hint(head: str, rest: str) -> str:
    """How 'acts:Name' names an object of ./acts.py, which no import finds; '' where there is no such file."""
    try:
        there = head.isidentifier() and Path(f"{head}.py").is_file()
    except (OSError, ValueError):
        return ""
    return f"the file's is ./{head}.py:{rest}" if there else ""


def dotted_hint(word: str) -> str:
    """How torch.nn.GELU, nn.GELU or F.gelu is written as a user's own: torch.nn:GELU; '' for other words."""
    place, _, name = word.rpartition(".")
    place = {"nn": "torch.nn", "F": "torch.nn.functional"}.get(place, place)
    try:
        there = name.isidentifier() and bool(place) and _module(place) is not None
    except (ImportError, ValueError):
        return ""
    return f"what a module holds is written {place}:{name}" if there else ""


def choose_own(text: str, role: Role = "activation") -> Choice:
    """The Choice for a user's own; UsageError if it is malformed or its file is not there.

    Its digest covers all that it was seen to use in its last check, or the sources that can be read off, if
    `is_checked` says no: then `checked` gives the digest that a run's key takes.
    """
    own = _parse(text)
    file = source_file(own.place)
    place = str(file) if is_path(own.place) else own.place
    choice = Choice(
        # Numbers as Python writes them: 3 and 3.0 may not be the same to the user's own code.
        label=":".join([own.place, own.name, *(f"{key}={_written(value)}" for key, value in own.parameters)]),
        kind="user",
        name=f"{place}:{own.name}",
        parameters=own.parameters,
    )
    known = _current(choice, role)
    return replace(choice, source_digest=known.digest if known is not None else _static_digest(file, own.place))


def renewed(choice: Choice, role: Role = "activation") -> Choice:
    """The same choice with its digest as of now."""
    return replace(choice, source_digest=choose_own(choice.label, role).source_digest)


def is_checked(choice: Choice, role: Role = "activation") -> bool:
    """Whether the object was checked, and nothing that it used then has changed."""
    return _current(choice, role) is not None


def changed(choice: Choice, digest: str | None, role: Role = "activation") -> list[str]:
    """The files and versions that are not what they were when a run's key got this digest; none if never checked.

    Where another process has checked the object since, that is the object's place.
    """
    known = remembered(_key(choice, role))
    if known is None:
        return []
    return known.changes(environment=False) or ([] if known.digest == digest else [split_name(choice.name)[0]])


def checked(choice: Choice, role: Role, check: Callable[[], Result]) -> Result:
    """What `check` gives, which runs the user's code; all that the code brings in meanwhile is kept for the key."""
    record = Record()
    with recording(record):
        result = check()
    place, _ = split_name(choice.name)
    file = source_file(place)
    module = module_name(file if is_path(place) else place)
    if name := changed_global(reached([module, *record.modules])) or changed_flag(record):
        raise UsageError(
            f"{choice.label} changes the global {name} of its module: it is shared by all layers and all networks, and "
            "cannot be stored with the best epoch's weights",
            "keep such a value in a torch.nn.Module: self.register_buffer, or an attribute",
        )
    manifest = manifest_of(module, _sources(file, place), record)
    remember(_key(choice, role), manifest)
    return result


def say_unseen(choice: Choice, role: Role, note: Callable[[str], None]) -> None:
    """Say what the user's code takes from where nobody watches it; also of code that was checked long ago."""
    manifest = remembered(_key(choice, role))
    if manifest is not None and manifest.unseen:
        note(
            f"{WARNING}{choice.label}: what its code takes from {', '.join(dict.fromkeys(manifest.unseen))} is out of "
            "sight, and not part of a run's id: after a change there use --no-cache"
        )


def _current(choice: Choice, role: Role) -> Manifest | None:
    known = remembered(_key(choice, role))
    return known if known is not None and not known.changes() else None


def _key(choice: Choice, role: Role) -> str:
    return key_of(role, choice.name, [list(one) for one in choice.parameters])


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
        if _lies_here(place.partition(".")[0]):
            hint = "the working folder is not searched: set PYTHONPATH=. for it, or name the file's path"
        else:
            hint = f"a file that is not installed is named by its path: {FORM}"
        raise UsageError(f"there is no module {place!r}", hint)
    return file_of(spec)


def _lies_here(top: str) -> bool:
    """Whether the working folder has a module or a package of this name."""
    try:
        return Path(top).is_dir() or Path(f"{top}.py").is_file()
    except (OSError, ValueError):
        return False  # No file can have that name.


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


def _static_digest(file: Path, place: str) -> str:
    """SHA-256 over the file and whatever it imports from beside it, directly or not; nothing is executed."""
    try:
        sources = _sources(file, place)
        return digest_of([hashlib.sha256(one.read_bytes()).digest() for one in sources])
    except OSError as problem:
        raise UsageError(
            f"{str(file)!r} cannot be read: {problem.strerror}", "check the file's permissions"
        ) from problem


def _sources(file: Path, place: str) -> list[Path]:
    """The file, and the files that it imports from beside it or from its package's folder, directly or not."""
    roots = [file.parent]
    # An archive is one file, and all that lies in it.
    if not is_path(place) and is_users_file(str(file)) and file.suffix == ".py":
        depth = place.count(".") + (file.name == "__init__.py")
        roots.append(file.parents[depth])
    sources: set[Path] = set()
    waiting = [file]
    while waiting:
        source = waiting.pop()
        if source not in sources:
            sources.add(source)
            waiting += _imported(source, source.read_bytes(), roots)
    return sorted(sources)


def _imported(file: Path, source: bytes, roots: Sequence[Path]) -> list[Path]:
    """The files in `roots` or in the file's own package that its import statements name; none if it does not parse."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []  # Building it says what is wrong.
    found: list[Path] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [path for root in roots for alias in node.names for path in _modules(root, alias.name)]
        elif isinstance(node, ast.ImportFrom):
            places = [file.parents[node.level - 1]] if node.level else roots
            names = [f"{node.module or ''}.{alias.name}".strip(".") for alias in node.names]
            found += [path for root in places for name in names for path in _modules(root, name)]
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
    name, *settings = (part.strip() for part in _at_colons(rest))
    if not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f"{text!r} does not say which class or function of {place!r} to use", FORM)
    found: dict[str, OwnValue] = {}
    for setting in settings:
        key, equals, value = (part.strip() for part in setting.partition("="))
        if not equals or not key.isidentifier():
            raise UsageError(f"{setting!r} in {text!r} is not an argument of the form key=value", FORM)
        if key in found:
            raise UsageError(f"{key} is given twice in {text!r}", "give each argument once")
        found[key] = _value(key, value, text)
    return Own(place=place.strip(), name=name, parameters=tuple(sorted(found.items())))


def _at_colons(text: str) -> list[str]:
    """The parts between colons, but for those inside quotes."""
    return re.findall(r"""(?:^|(?<=:))(?:'[^']*'|"[^"]*"|[^:'"]|['"])*""", text)


def _value(key: str, value: str, text: str) -> OwnValue:
    """A bool, None, an int or a finite float if it reads as one; else the text itself, without its quotes."""
    if value.lower() in _BOOLS:
        return _BOOLS[value.lower()]
    if value == "None":
        return None
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    if value.startswith("("):
        return _numbers(key, value, text)
    for reads in (int, float):
        try:
            number = reads(value)
        except ValueError:
            continue
        if isinstance(number, float) and not math.isfinite(number):
            raise UsageError(f"{key}={value} in {text!r} is not finite", "give a finite number")
        return number + 0
    return value


def _numbers(key: str, value: str, text: str) -> tuple[float, ...]:
    """A tuple of numbers: (1,2), (0.5,)."""
    parts = [part.strip() for part in value.removeprefix("(").removesuffix(")").split(",")]
    if not value.endswith(")") or (len(parts) > 1 and not parts[-1]):
        parts = parts[:-1] if value.endswith(")") else [""]
    try:
        found = [float(part) if re.search(r"[.eE]|inf|nan", part) else int(part) for part in parts]
    except ValueError:
        found = [math.nan]
    if not all(math.isfinite(one) for one in found):
        raise UsageError(f"{key}={value} in {text!r} is no tuple of finite numbers", "for example :bounds=(-1,1)")
    return tuple(found)


def _written(value: OwnValue) -> str:
    """The value as it is written behind the colon, so that it reads as the same."""
    if isinstance(value, tuple):
        return repr(value).replace(" ", "")
    if isinstance(value, str) and not _reads_as_itself(value):
        return repr(value)
    return str(value)


def _reads_as_itself(value: str) -> bool:
    if ":" in value or value != value.strip() or value == "":
        return False
    try:
        return _value("", value, "") == value
    except UsageError:
        return False
