"""The folders in which a user's file finds what it imports. Torch-free."""

from __future__ import annotations

import ast
import sys
from importlib.machinery import PathFinder
from pathlib import Path


def root_and_packages(file: Path) -> tuple[Path, list[str]]:
    """The folder to search, and the names of the packages below it that the file's relative imports need."""
    levels = _relative_levels(file)
    if not levels:
        return file.parent, []
    root = above_packages(file.parents[levels - 1])
    return root, list(file.parent.relative_to(root).parts)


def above_packages(folder: Path) -> Path:
    """The folder itself, or the one around the packages that it is a part of."""
    while (folder / "__init__.py").is_file() and folder.parent != folder:
        folder = folder.parent
    return folder


def _relative_levels(file: Path) -> int:
    try:
        nodes = ast.walk(ast.parse(file.read_bytes()))
        return max((node.level for node in nodes if isinstance(node, ast.ImportFrom)), default=0)
    except (OSError, SyntaxError, ValueError):
        return 0  # Importing it raises the error.


def is_installed(top: str) -> bool:
    """Whether a top-level name is imported already, or would be found as a file."""
    if sys.modules.get(top) is not None:
        return True
    try:
        spec = PathFinder.find_spec(top)
        return spec is not None and spec.origin is not None
    except (ImportError, ValueError):
        return False
