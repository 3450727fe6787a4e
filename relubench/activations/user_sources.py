"""The source files of a user's own object, found without importing anything, and a digest over them. Torch-free."""

from __future__ import annotations

import ast
import hashlib
import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path

from relubench.activations.user_syntax import FORM
from relubench.errors import UsageError
from relubench.system.paths import user_path
from relubench.system.user_code.loading import file_of
from relubench.system.user_code.manifest import digest_of
from relubench.system.user_code.records import is_users_file

SENT: dict[str, Path] = {}
"""Files as they were named, and the copies that stand for them in this process: they were sent to it with a job."""


def is_path(location: str) -> bool:
    """Whether it is a file's path; otherwise it is a dotted module."""
    return location.endswith(".py") or "/" in location or "\\" in location


def source_file(location: str) -> Path:
    """The file that a path or a dotted module names; nothing is imported, not even the module's parents."""
    if location in SENT:
        return SENT[location]
    if is_path(location):
        try:
            file = user_path(location).resolve()
            if file.is_file():
                return file
        except (OSError, RuntimeError, ValueError) as problem:
            raise UsageError(f"the path {location!r} cannot be read: {problem}", FORM) from problem
        raise UsageError(f"there is no file {location!r}", f"the path is taken from {Path.cwd()}")
    spec = find_spec(location)
    if spec is None or not spec.has_location or spec.origin is None:
        if _in_working_folder(location.partition(".")[0]):
            hint = "the working folder is not searched: set PYTHONPATH=. for it, or name the file's path"
        else:
            hint = f"a file that is not installed is named by its path: {FORM}"
        raise UsageError(f"there is no module {location!r}", hint)
    return file_of(spec)


def _in_working_folder(top: str) -> bool:
    """Whether the working folder has a module or a package of this name."""
    try:
        return Path(top).is_dir() or Path(f"{top}.py").is_file()
    except (OSError, ValueError):
        return False  # No file can have that name.


def find_spec(dotted: str) -> ModuleSpec | None:
    """What importlib.util.find_spec says, but that imports the parents."""
    importlib.invalidate_caches()
    parts = dotted.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    spec, search_locations = None, None
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        candidates = (finder.find_spec(name, search_locations) for finder in sys.meta_path)
        spec = next((candidate for candidate in candidates if candidate is not None), None)
        search_locations = spec.submodule_search_locations if spec is not None else None
        if search_locations is None and depth < len(parts):
            return None
    return spec


def static_digest(file: Path, location: str) -> str:
    """SHA-256 over the file and whatever it imports from beside it, directly or not; nothing is executed."""
    try:
        sources = source_files(file, location)
        return digest_of([hashlib.sha256(source.read_bytes()).digest() for source in sources])
    except OSError as problem:
        raise UsageError(
            f"{str(file)!r} cannot be read: {problem.strerror}", "check the file's permissions"
        ) from problem


def source_files(file: Path, location: str) -> list[Path]:
    """The file, and the files that it imports from beside it or from its package's folder, directly or not."""
    roots = [file.parent]
    # An archive is one file, and all that lies in it.
    if not is_path(location) and is_users_file(str(file)) and file.suffix == ".py":
        depth = location.count(".") + (file.name == "__init__.py")
        roots.append(file.parents[depth])
    sources: set[Path] = set()
    waiting = [file]
    while waiting:
        source = waiting.pop()
        if source not in sources:
            sources.add(source)
            waiting += _imported_files(source, source.read_bytes(), roots)
    return sorted(sources)


def _imported_files(file: Path, source: bytes, roots: Sequence[Path]) -> list[Path]:
    """The files in `roots` or in the file's own package that its import statements name; none if it does not parse."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []  # Building it says what is wrong.
    files: list[Path] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            files += [path for root in roots for alias in node.names for path in _module_files(root, alias.name)]
        elif isinstance(node, ast.ImportFrom):
            folders = [file.parents[node.level - 1]] if node.level else roots
            names = [f"{node.module or ''}.{alias.name}".strip(".") for alias in node.names]
            files += [path for root in folders for name in names for path in _module_files(root, name)]
    return files


def _module_files(root: Path, dotted: str) -> list[Path]:
    """The files of a dotted module and of its parents, below `root`."""
    files: list[Path] = []
    for part in dotted.split("."):
        root = root / part
        files += [path for path in (root.with_name(f"{part}.py"), root / "__init__.py") if path.is_file()]
    return files
