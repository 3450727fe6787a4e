"""Names looked up in a table; the error for an unknown name lists the nearest names."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from relubench.errors import UsageError

Row = TypeVar("Row")


def near_names(name: str, names: Iterable[str], limit: int = 3) -> list[str]:
    """The `names` most like `name`, best first; case, '-' and '_' do not count."""
    originals = {_fold(original): original for original in names}
    return [originals[match] for match in difflib.get_close_matches(_fold(name), originals, n=limit, cutoff=0.6)]


def did_you_mean(name: str, names: Iterable[str], see: str) -> str:
    """A hint with the nearest names; without any, `see`, which says where all of them are listed."""
    close = near_names(name, names)
    return f"did you mean {' or '.join(close)}? {see}" if close else see


def spelled(name: str, names: Iterable[str]) -> str:
    """The one of `names` that `name` differs from only in case, '-' and '_'; `name` itself if none or several do."""
    originals = list(names)
    same = [original for original in originals if _fold(original) == _fold(name)]
    return same[0] if len(same) == 1 and name not in originals else name


def find(name: str, table: Mapping[str, Row], *, kind: str, see: str) -> Row:
    """The row of `table` called `name`; raises UsageError with near names if there is none."""
    if name in table:
        return table[name]
    raise UsageError(f"there is no {kind} called {name!r}", did_you_mean(name, table, see))


def load_target(target: str) -> Any:
    """The function or class that a table names as "module:name"."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _fold(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
