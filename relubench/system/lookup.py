"""Look a name up in a table; an unknown name is refused with the nearest known ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from relubench.errors import UsageError

Row = TypeVar("Row")


def near_names(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The known names most like `name`, best first; case, '-' and '_' do not count."""
    folded = {_fold(one): one for one in known}
    close = difflib.get_close_matches(_fold(name), folded, n=limit, cutoff=0.6)
    return [folded[one] for one in close]


def did_you_mean(name: str, known: Iterable[str], see: str) -> str:
    """A hint that names the nearest known names, or else where all of them are listed."""
    close = near_names(name, known)
    return f"did you mean {' or '.join(close)}? {see}" if close else see


def find(name: str, table: Mapping[str, Row], *, kind: str, see: str) -> Row:
    """The row of `table` called `name`; raises UsageError with near names if there is none."""
    if name in table:
        return table[name]
    raise UsageError(f"there is no {kind} called {name!r}", did_you_mean(name, table, see))


def _fold(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
