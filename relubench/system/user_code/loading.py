"""The importer of users' own code: each file together with its folder, separate from every other file.

`./a/act.py` and `./b/act.py` may each have a `helpers.py` beside them. So a file and what it imports from its folder
are modules of a package of their own (`relubench_own_...`), and an import statement in one of them looks there first,
also one that runs later, inside a function. No other module's imports do: the folder is on no search path.

A name means, in this order: the standard library and the packages that relubench needs (a `json.py` or `numpy.py`
beside the file does not replace those), the file's folder, what is installed. `from .json import` means the file beside
it. A file in a package (a folder with `__init__.py`) that has relative imports is loaded as a
part of it. What every module reads is recorded; see `records` and `watching`.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import hashlib
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from relubench.system.user_code.folders import above_packages, is_installed, root_and_packages
from relubench.system.user_code.path_questions import record_missing_module
from relubench.system.user_code.records import (
    MARK,
    RECORDS,
    Record,
    current_record,
    global_numbers,
    is_users_file,
    modules_importing,
)
from relubench.system.user_code.watching import watch

PREFIX = "relubench_own_"
RESERVED = sys.stdlib_module_names | {
    *("relubench", "torch", "torchvision", "numpy", "scipy", "sklearn", "matplotlib", "safetensors", "llvmlite"),
    *("pydantic", "yaml", "rich", "typer", "tabulate", "pooch", "filelock", "platformdirs"),
}
"""Names that never mean a file beside the user's file."""
_PACKAGES: dict[str, _FilePackage] = {}
_PACKAGE_OF_FILE: dict[Path, _FilePackage] = {}
_SEARCH_PATH: list[str] = []
"""Python's search path at the last call of `load`: what a user's function adds to it later is that file's own."""
_local = threading.local()


def load(source: Path | str) -> ModuleType:
    """The module of a user's file (a path) or dotted name; raises whatever importing it raises.

    A file is imported once a process, and again when it or something beside it was edited.
    """
    _install_finder()
    importlib.invalidate_caches()
    _SEARCH_PATH[:] = sys.path
    if isinstance(source, str):
        with _watched_imports():
            return importlib.import_module(source)
    space = _PACKAGE_OF_FILE.get(source)
    if space is None or not space.is_current():
        space = _FilePackage(source)
        space.load()
        _PACKAGE_OF_FILE[source] = space
    return sys.modules[space.entry]


def module_name(source: Path | str) -> str:
    """The full name of what `load` imported; for a file that was not imported, a name that no module has."""
    if isinstance(source, str):
        return source
    space = _PACKAGE_OF_FILE.get(source)
    return space.entry if space is not None else PREFIX


class _FilePackage:
    """A package of one file and what it imports from its folder."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.name = f"{PREFIX}{hashlib.sha256(bytes(file)).hexdigest()[:12]}_{len(_PACKAGES)}"
        root, parts = root_and_packages(file)
        stem = file.stem if file.stem.isidentifier() else "entry"
        self.entry = ".".join([self.name, *parts, stem])
        self.package = ModuleType(self.name)
        self.package.__path__ = list(dict.fromkeys(map(str, [root, file.parent, above_packages(file.parent)])))
        self.elsewhere: set[str] = set()
        """Top-level names that the folder does not have."""
        self.path: list[str] | None = None
        """Python's search path as it was before the import, during the import; else None."""

    def load(self) -> None:
        """Import the file; where that fails, none of its modules stays imported."""
        _PACKAGES[self.name] = self
        sys.modules[self.name] = self.package
        self.path = list(sys.path)
        try:
            with _watched_imports():
                importlib.import_module(self.entry.rpartition(".")[0])
            if self.entry not in sys.modules:
                self._execute()
        except BaseException:
            for name in [name for name in sys.modules if name == self.name or name.startswith(f"{self.name}.")]:
                del sys.modules[name]
            raise
        finally:
            self._adopt_search_path()
            self.path = None

    def _execute(self) -> None:
        # The loader of source files whatever the suffix: a path is recognised by its slash, too.
        spec = importlib.util.spec_from_loader(self.entry, _Loader(self.entry, str(self.file)))
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # Dataclasses and pickling look their module up by name while it is being executed.
        sys.modules[self.entry] = module
        spec.loader.exec_module(module)

    def is_current(self) -> bool:
        """Whether every file of the package is as it was when it was imported."""
        records = [record for name, record in RECORDS.items() if name.startswith(f"{self.name}.")]
        return all(_digest_of(record.path) == record.digest for record in records)

    def has(self, top: str) -> bool:
        """Whether a top-level name means a module in the folder."""
        self._adopt_search_path()
        full = f"{self.name}.{top}"
        if not top:
            return False
        if full in sys.modules:
            return True
        if top in RESERVED or top in self.elsewhere:
            return False
        spec = PathFinder.find_spec(full, self.package.__path__)
        # As Python has it, a folder without __init__.py comes after what is installed.
        if spec is None or (spec.origin is None and is_installed(top)):
            self.elsewhere.add(top)
            return False
        return True

    def _adopt_search_path(self) -> None:
        """Move what the file has added to Python's search path to this package's own search path."""
        before = _SEARCH_PATH if self.path is None else self.path
        for added in [entry for entry in sys.path if entry not in before and is_users_file(f"{entry}{os.sep}")]:
            sys.path.remove(added)
            if added not in self.package.__path__:
                self.package.__path__.append(added)
                self.elsewhere.clear()


class _Loader(SourceFileLoader):
    """Compiles from the source every time, without a __pycache__, and watches the module's imports."""

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path)
        record = RECORDS[fullname] = Record(path=self.path, digest=hashlib.sha256(source).hexdigest())
        record.modules.add(fullname)
        return self.source_to_code(source, self.path)

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        code, space = self.get_code(name), _PACKAGES.get(name.partition(".")[0])
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _importer(space, name), MARK: name}
        modules_importing().append(name)
        try:
            with _watched_imports():
                exec(code, module.__dict__)
            RECORDS[name].numbers = global_numbers(module)
        except BaseException:
            RECORDS.pop(name, None)
            raise
        finally:
            modules_importing().remove(name)


class _Finder:
    """Finds users' modules while one of them is importing; all others are left to Python."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not (name.startswith(PREFIX) or getattr(_local, "depth", 0)):
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is None or not spec.has_location or not is_users_file(spec.origin or "<"):
            return spec if name.startswith(PREFIX) else None
        if type(spec.loader) is not SourceFileLoader:
            # Compiled, or in an archive: its file identifies it, and what it uses cannot be watched.
            path = str(file_of(spec))
            RECORDS[name] = Record(path=path, digest=_digest_of(path), modules={name})
            return spec
        spec.loader, spec.cached = _Loader(name, spec.loader.path), None
        return spec


def file_of(spec: ModuleSpec) -> Path:
    """The file that holds a module with a location: its own, or the archive on the search path that it lies in."""
    return Path(getattr(spec.loader, "archive", None) or spec.origin or "")


def _importer(space: _FilePackage | None, importing: str) -> Callable[..., Any]:
    """What an import statement of a user's module calls."""

    def import_from_folder(
        name: str, globals: Any = None, locals: Any = None, fromlist: Sequence[str] | None = (), level: int = 0
    ) -> Any:
        top, fromlist, full = name.partition(".")[0], fromlist or (), name
        in_folder = level == 0 and space is not None and space.has(top)
        if in_folder and space is not None:
            full = f"{space.name}.{name}"
        try:
            with _watched_imports():
                module = builtins.__import__(full, globals, locals, fromlist, level)
        except ModuleNotFoundError as problem:
            record_missing_module(problem.name or "", space.package.__path__ if space is not None else [])
            raise
        if level:
            package = (globals or {}).get("__package__") or importing.rpartition(".")[0]
            full = importlib.util.resolve_name("." * level + name, package)
        _record_imports(full, fromlist)
        return sys.modules[f"{space.name}.{top}"] if in_folder and space is not None and not fromlist else module

    return import_from_folder


def _record_imports(full: str, fromlist: Sequence[str]) -> None:
    """Record which modules an import gave."""
    record = current_record()
    if record is None:
        return
    names = [full.rsplit(".", depth)[0] for depth in range(full.count(".") + 1)]
    names += [f"{full}.{item}" for item in fromlist]
    record.modules.update(name for name in names if name in RECORDS)
    top = full.partition(".")[0]
    if not top.startswith(PREFIX) and top not in RECORDS and top not in sys.stdlib_module_names:
        record.packages.add(top)


@contextlib.contextmanager
def _watched_imports() -> Iterator[None]:
    """A block in which users' modules are found and watched, under any name."""
    _local.depth = getattr(_local, "depth", 0) + 1
    try:
        yield
    finally:
        _local.depth -= 1


@functools.cache
def _install_finder() -> None:
    """Install the finder of users' modules; in them `importlib.import_module` works as an import statement does."""
    watch()
    sys.meta_path.insert(0, _Finder())
    original = importlib.import_module

    @functools.wraps(original)
    def import_module(name: str, package: str | None = None) -> ModuleType:
        user_builtins = sys._getframe(1).f_builtins
        if MARK not in user_builtins or name.startswith("."):
            return original(name, package)
        return user_builtins["__import__"](name, None, None, ("__name__",))

    importlib.import_module = import_module


def _digest_of(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""
