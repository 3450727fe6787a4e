"""What a reader of a data set has to say about it: notes, and warnings where a result could mislead. Torch-free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

NAMED_AT_MOST = 6


@dataclass(frozen=True, slots=True)
class Remarks:
    """Lines for people, in the order in which they came up."""

    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Adds what was done, where nothing could be meant otherwise."""
        self.notes.append(text)

    def warn(self, text: str) -> None:
        """Adds what may not be what the user meant."""
        self.warnings.append(text)


def few(names: Sequence[object]) -> str:
    """The names, or the first ones and how many more there are: 1, 2, 3, 4, 5, 6 and 94 more."""
    more = len(names) - NAMED_AT_MOST
    shown = ", ".join(str(name) for name in names[:NAMED_AT_MOST])
    return f"{shown} and {more} more" if more > 0 else shown


def by_count(names: Iterable[str]) -> str:
    """How often each name occurs, the commonest first: 42 .heic, 3 .svg."""
    return few([f"{count} {name}" for name, count in Counter(names).most_common()])


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 image, 2 images."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    """`text` with an escape for each byte of a file's name that is no UTF-8, so that every stream takes it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
