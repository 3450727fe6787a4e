"""Remarks of a data set's reader: notes, and warnings where a result could mislead; and texts for them. Torch-free."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from relubench.errors import DataError

NAMED_AT_MOST = 6


@dataclass(frozen=True, slots=True)
class Remarks:
    """Notes and warnings about a data set, each in the order in which they were added."""

    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Adds how something was read, where no other reading is possible."""
        self.notes.append(text)

    def warn(self, text: str) -> None:
        """Adds a reading that the user may not have meant."""
        self.warnings.append(text)


def refuse(name: object, fault: str, hint: str) -> NoReturn:
    """Raises DataError: the file or set of that name `fault`."""
    raise DataError(f"{name} {fault}", hint)


def format_names(names: Sequence[object]) -> str:
    """The names, or the first ones and how many more there are: 1, 2, 3, 4, 5, 6 and 94 more."""
    num_more = len(names) - NAMED_AT_MOST
    text = ", ".join(str(name) for name in names[:NAMED_AT_MOST])
    return f"{text} and {num_more} more" if num_more > 0 else text


def format_counts(names: Iterable[str]) -> str:
    """How often each name occurs, the commonest first: 42 .heic, 3 .svg."""
    return format_names([f"{count} {name}" for name, count in Counter(names).most_common()])


def format_count(number: int, noun: str) -> str:
    """A number with its noun: 1 image, 2 images."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def on_one_line(text: str) -> str:
    """`text` as `printable` gives it, with an escape for each line break and control character, too."""
    breaks = ("Cc", "Zl", "Zp")
    shown = (repr(sign)[1:-1] if unicodedata.category(sign) in breaks else sign for sign in printable(text))
    return "".join(shown)


def printable(text: str) -> str:
    """`text` with an escape for each byte of a file's name that is not UTF-8, so that every stream can print it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
