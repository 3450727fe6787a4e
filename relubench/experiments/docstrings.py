"""The docstrings of the configuration's fields, for helps and for written presets.

Pydantic reads them too, but parses the module anew for each of its classes, at every start.
"""

from __future__ import annotations

import ast
import functools
import inspect
from itertools import pairwise
from pathlib import Path

from pydantic import BaseModel


def docstring_of(section: type[BaseModel], field: str) -> str:
    """The text below a field of a configuration's class; empty if there is none."""
    return _docstrings(inspect.getfile(section)).get(f"{section.__name__}.{field}", "")


@functools.cache
def _docstrings(path: str) -> dict[str, str]:
    """The docstrings of all fields in a module, by `Class.field`."""
    return {
        f"{section.name}.{field.target.id}": inspect.cleandoc(text.value.value)
        for section in ast.parse(Path(path).read_bytes()).body
        if isinstance(section, ast.ClassDef)
        for field, text in pairwise(section.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }
