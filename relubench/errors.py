"""The one error type that a user sees: what is wrong, what to do, and the exit code that says which kind it is."""

from __future__ import annotations

import re

MOST_SHOWN = 80
"""Characters of a user's value that a message repeats."""

_WITH_AN = re.compile(
    r"""8|1[18]\b                          # eight, eleven, eighteen
    |[AEIO]|[aei]|o(?!n(ce|e)\b)          # a vowel, but for "one"
    |[Uu](?!ni([^nm]|$)|s[aeiu]|ti|be|int|[A-Z]|\b)  # "under", not "unit" nor "user"
    |[Hh](our|onest|eir)
    |[FHLMNRSX](?![a-z])|[fhlmnrsx]\b|l1  # letters that are named: an MLP, an L1, an n
    |(rbm|mlp|mse|lr|nll)\b""",
    re.VERBOSE,
)

EXIT_COMPUTE = 1
"""Nothing could be computed, or memory or disk ran out."""
EXIT_USAGE = 2
"""Refused before any work: arguments or configuration."""
EXIT_DATA = 3
"""Data missing or corrupt."""
EXIT_REGRESSION = 4
"""A gate (`--fail-on`) found a regression."""
EXIT_INTERRUPTED = 130

WARNING = "warning: "
"""What a line for the user begins with that --quiet leaves, and that Python raises as a warning."""


class RelubenchError(Exception):
    """An error for the user: `message` gives the rule and the value, `hint` the flag or the near names."""

    exit_code = EXIT_COMPUTE

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[type[RelubenchError], tuple[str, str]]:
        return type(self), (self.message, self.hint)


class ComputeError(RelubenchError):
    """The computation could not be carried out (exit 1)."""


class UsageError(RelubenchError):
    """The request itself is wrong (exit 2)."""

    exit_code = EXIT_USAGE


class DataError(RelubenchError):
    """Data is missing, truncated, altered or malformed (exit 3)."""

    exit_code = EXIT_DATA


def shown(value: object) -> str:
    """The value as a message repeats it: its repr, cut where it is long."""
    text = repr(value[: 2 * MOST_SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


def with_article(word: str) -> str:
    """The word behind the article that it is spoken with: 'an activation', 'a unit', 'an 8-bit image', 'an MLP'."""
    return f"{'an' if _WITH_AN.match(word) else 'a'} {word}"
