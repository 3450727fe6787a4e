"""Users' own code imported: each file with what lies beside it, apart from every other file's.

`./a/act.py` and `./b/act.py` may each have a `helpers.py` beside them. So a file and what it imports from its folder
are modules of a package of their own (`relubench_own_...`), and an import statement in one of them looks there first,
also one that runs later, inside a function. Nobody else's imports do: the folder is on no search path.

What comes first for the user's files: the standard library and what relubench itself stands on (a `json.py` or
`numpy.py` beside the file is not taken for those), then the file's folder, then what is installed. `from .json import`
names the file beside it. A file in a package (a folder with `__init__.py`) that has relative imports is loaded as a
part of it. What every module brings in is recorded; see `records` and `watching`.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import hashlib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from relubench.system.user_code.records import (
    MARK,
    RECORDS,
    Record,
    current_record,
    executing,
    global_numbers,
    is_users_file,
)
from relubench.system.user_code.watching import watch

PREFIX = "relubench_own_"
RESERVED = sys.stdlib_module_names | {
    *("relubench", "torch", "torchvision", "numpy", "scipy", "sklearn", "matplotlib", "safetensors", "llvmlite"),
    *("pydantic", "yaml", "rich", "typer", "tabulate", "pooch", "filelock", "platformdirs"),
}
"""Names that never mean a file beside the user's."""
_SPACES: dict[str, _Space] = {}
_OF_FILE: dict[Path, _Space] = {}
_local = threading.local()


def load(place: Path | str) -> ModuleType:
    """The module of a user's file (a path) or dotted name; raises whatever importing it raises.

    A file is imported once a process, and again when it or something beside it was edited.
    """
    _install()
    importlib.invalidate_caches()
    if isinstance(place, str):
        with _importing():
            return importlib.import_module(place)
    space = _OF_FILE.get(place)
    if space is None or not space.is_current():
        space = _Space(place)
        space.load()
        _OF_FILE[place] = space
    return sys.modules[space.entry]


def module_name(place: Path | str) -> str:
    """The full name of what `load` imported; of a file that was not imported, a name that no module has."""
    if isinstance(place, str):
        return place
    space = _OF_FILE.get(place)
    return space.entry if space is not None else PREFIX


class _Space:
    """One file and what it imports from its folder, as a package of their own."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.name = f"{PREFIX}{hashlib.sha256(bytes(file)).hexdigest()[:12]}_{len(_SPACES)}"
        root, parts = _package(file)
        stem = file.stem if file.stem.isidentifier() else "entry"
        self.entry = ".".join([self.name, *parts, stem])
        self.package = ModuleType(self.name)
        self.package.__path__ = list(dict.fromkeys([str(root), str(file.parent)]))
        self.elsewhere: set[str] = set()
        """Top-level names that mean nothing of the folder."""
        self.path: list[str] | None = None
        """Python's search path before the file was imported, while it is."""

    def load(self) -> None:
        """Import the file; nothing of it stays where that fails."""
        _SPACES[self.name] = self
        sys.modules[self.name] = self.package
        self.path = list(sys.path)
        try:
            with _importing():
                importlib.import_module(self.entry.rpartition(".")[0])
            if self.entry not in sys.modules:
                self._execute()
        except BaseException:
            for name in [one for one in sys.modules if one == self.name or one.startswith(f"{self.name}.")]:
                del sys.modules[name]
            raise
        finally:
            self.looks("")
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
        """Whether every file of it is as it was when it was imported."""
        mine = [record for name, record in RECORDS.items() if name.startswith(f"{self.name}.")]
        return all(_digest_of(record.path) == record.digest for record in mine)

    def has(self, top: str) -> bool:
        """Whether a top-level name means what lies in the folder."""
        full = f"{self.name}.{top}"
        if not top:
            return False
        if full in sys.modules:
            return True
        if top in RESERVED or top in self.elsewhere:
            return False
        spec = PathFinder.find_spec(full, self.package.__path__)
        # As Python has it, a folder without __init__.py comes after what is installed.
        if spec is None or (spec.origin is None and _is_installed(top)):
            self.elsewhere.add(top)
            return False
        return True

    def looks(self, top: str) -> bool:
        """`has`; what the file put on Python's search path meanwhile is searched for this file alone."""
        for added in [one for one in sys.path if self.path is not None and one not in self.path]:
            sys.path.remove(added)
            if added not in self.package.__path__:
                self.package.__path__.append(added)
                self.elsewhere.clear()
        return self.has(top)


def _package(file: Path) -> tuple[Path, list[str]]:
    """The folder to start from and the packages below it: those that the file's relative imports need."""
    levels = _levels(file)
    if not levels:
        return file.parent, []
    root = file.parents[levels - 1]
    while (root / "__init__.py").is_file() and root.parent != root:
        root = root.parent
    return root, list(file.parent.relative_to(root).parts)


def _levels(file: Path) -> int:
    try:
        nodes = ast.walk(ast.parse(file.read_bytes()))
        return max((node.level for node in nodes if isinstance(node, ast.ImportFrom)), default=0)
    except (OSError, SyntaxError, ValueError):
        return 0  # Importing it says what is wrong.


def _is_installed(top: str) -> bool:
    found = sys.modules.get(top)
    if found is not None:
        return True
    try:
        spec = PathFinder.find_spec(top)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None


class _Loader(SourceFileLoader):
    """Compiles from the source every time, which leaves no __pycache__ and takes none, and gives watched imports."""

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path)
        record = RECORDS[fullname] = Record(path=self.path, digest=hashlib.sha256(source).hexdigest())
        record.modules.add(fullname)
        return self.source_to_code(source, self.path)

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        code, space = self.get_code(name), _SPACES.get(name.partition(".")[0])
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _importer(space, name), MARK: name}
        executing().append(name)
        try:
            with _importing():
                exec(code, module.__dict__)
            RECORDS[name].numbers = global_numbers(module)
        except BaseException:
            RECORDS.pop(name, None)
            raise
        finally:
            executing().remove(name)


class _Finder:
    """Finds users' modules while one of them is importing; everybody else's are left to Python."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not (name.startswith(PREFIX) or getattr(_local, "depth", 0)):
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is None or not spec.has_location or not is_users_file(spec.origin or "<"):
            return spec if name.startswith(PREFIX) else None
        if type(spec.loader) is not SourceFileLoader:
            # Compiled, or in an archive: it is known by its file, and what it uses is out of sight.
            path = str(file_of(spec))
            RECORDS[name] = Record(path=path, digest=_digest_of(path), modules={name})
            return spec
        spec.loader, spec.cached = _Loader(name, spec.loader.path), None
        return spec


def file_of(spec: ModuleSpec) -> Path:
    """The file that holds a module with a location: its own, or the archive on the search path that it lies in."""
    return Path(getattr(spec.loader, "archive", None) or spec.origin or "")


def _importer(space: _Space | None, importing: str) -> Callable[..., Any]:
    """What an import statement of a user's module calls."""

    def own_import(
        name: str, globals: Any = None, locals: Any = None, fromlist: Sequence[str] | None = (), level: int = 0
    ) -> Any:
        top, fromlist, full = name.partition(".")[0], fromlist or (), name
        own = level == 0 and space is not None and space.looks(top)
        if own and space is not None:
            full = f"{space.name}.{name}"
        with _importing():
            module = builtins.__import__(full, globals, locals, fromlist, level)
        if level:
            full = importlib.util.resolve_name("." * level + name, _package_of(globals, importing))
        _remember(full, fromlist)
        return sys.modules[f"{space.name}.{top}"] if own and space is not None and not fromlist else module

    return own_import


def _package_of(globals: Any, importing: str) -> str:
    return (globals or {}).get("__package__") or importing.rpartition(".")[0]


def _remember(full: str, fromlist: Sequence[str]) -> None:
    """Note which modules an import gave."""
    names = [full.rsplit(".", depth)[0] for depth in range(full.count(".") + 1)]
    names += [f"{full}.{one}" for one in fromlist]
    record = current_record()
    if record is None:
        return
    record.modules.update(name for name in names if name in RECORDS)
    top = full.partition(".")[0]
    if not top.startswith(PREFIX) and top not in RECORDS and top not in sys.stdlib_module_names:
        record.packages.add(top)


@contextlib.contextmanager
def _importing() -> Iterator[None]:
    """Inside, users' modules are found and watched, by whatever name."""
    _local.depth = getattr(_local, "depth", 0) + 1
    try:
        yield
    finally:
        _local.depth -= 1


@functools.cache
def _install() -> None:
    """Have users' modules found first, and `importlib.import_module` behave in them as an import statement does."""
    watch()
    sys.meta_path.insert(0, _Finder())
    plain = importlib.import_module

    @functools.wraps(plain)
    def import_module(name: str, package: str | None = None) -> ModuleType:
        own = sys._getframe(1).f_builtins
        if MARK not in own or name.startswith("."):
            return plain(name, package)
        return own["__import__"](name, None, None, ("__name__",))

    importlib.import_module = import_module


def _digest_of(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""
