"""The grammar of --act: names, parameters, globs, families, formulas and users' own, to a list of choices."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from relubench.activations.choice import Choice, label_of
from relubench.activations.expression import parse_formula
from relubench.activations.own import FORM, choose_own, is_own
from relubench.activations.table import ACTIVATIONS, FAMILIES, ActivationRow, ParameterValue
from relubench.errors import UsageError
from relubench.lookup import did_you_mean, find

SEE = "see `relubench list activations`; a formula contains x"

_THE_X = re.compile(r"(?<![\w.])x(?!\w)")
_OPEN, _CLOSE = "([{", ")]}"


def select(texts: Sequence[str]) -> list[Choice]:
    """Every activation that `texts` names, in their order, each once; raises UsageError on the first bad one.

    A text may hold several, separated by commas outside brackets. Each is a table name with optional parameters
    ('softplus:beta=3'), 'all', a family, a glob over table names, a formula in x, or a user's own 'place:Name'.
    """
    found: dict[tuple[str, str, tuple[tuple[str, ParameterValue], ...]], Choice] = {}
    for text in texts:
        for piece in _split(text):
            for choice in _expand(piece):
                found.setdefault((choice.kind, choice.name, choice.parameters), choice)
    if not found:
        raise UsageError("no activation is given", f"name one with --act; {SEE}")
    return list(found.values())


def table_choice(name: str, given: dict[str, str] | None = None) -> Choice:
    """A table's activation with some parameters given as text, checked against the row."""
    row = find(name, ACTIVATIONS, kind="activation", see=SEE)
    resolved = dict(row.parameters)
    for key, text in (given or {}).items():
        resolved[key] = _parameter(row, key, text)
    # A range given backwards; rrelu is the only row with both ends.
    if "lower" in resolved and "upper" in resolved and float(resolved["lower"]) > float(resolved["upper"]):
        raise UsageError(f"{name} needs lower <= upper, not {resolved['lower']} and {resolved['upper']}", "swap them")
    changed = tuple((key, value) for key, value in resolved.items() if value != row.parameters[key])
    return Choice(
        label=label_of(name, changed),
        kind="table",
        name=name,
        parameters=tuple(resolved.items()),
        columns=row.columns_with(resolved),
        learned=len(row.learned),
    )


def _split(text: str) -> Iterator[str]:
    """The parts between commas outside brackets, stripped; an empty one is refused."""
    depth, start = 0, 0
    for place, mark in enumerate([*text, ","]):
        depth += (mark in _OPEN) - (mark in _CLOSE)
        if mark == "," and (depth <= 0 or place == len(text)):
            piece = text[start:place].strip()
            if not piece:
                raise UsageError(f"an empty activation name in {_shown(text)}", f"separate names by one comma; {SEE}")
            yield piece
            start = place + 1


def _expand(piece: str) -> Iterator[Choice]:
    head, colon, rest = (part.strip() for part in piece.partition(":"))
    if is_own(piece):
        yield choose_own(piece)
    elif colon and (head in ACTIVATIONS or not _THE_X.search(head)):
        yield table_choice(_named(head, rest), _settings(piece, rest))
    elif _THE_X.search(piece):
        yield _formula(piece)
    else:
        yield from (table_choice(name) for name in _names(piece))


def _named(head: str, rest: str) -> str:
    if head in ACTIVATIONS:
        return head
    if head == "all" or head in FAMILIES or "*" in head or "?" in head:
        raise UsageError(f"{head!r} names several activations, which cannot share parameters", "name them one by one")
    see = SEE if "=" in rest else f"your own is {FORM}"
    raise UsageError(f"there is no activation called {_shown(head)}", did_you_mean(head[:100], ACTIVATIONS, see))


def _names(word: str) -> list[str]:
    if word == "all":
        return list(ACTIVATIONS)
    if word in FAMILIES:
        return [row.name for row in ACTIVATIONS.values() if row.family == word]
    if "*" in word or "?" in word:
        # A set in brackets is not part of the grammar.
        pattern = word.replace("[", "[[]")
        names = [name for name in ACTIVATIONS if fnmatchcase(name, pattern)]
        if not names:
            raise UsageError(f"no activation's name matches {_shown(word)}", SEE)
        return names
    if word in ACTIVATIONS:
        return [word]
    known = [*ACTIVATIONS, *FAMILIES, "all"]
    raise UsageError(f"there is no activation called {_shown(word)}", did_you_mean(word[:100], known, SEE))


def _formula(text: str) -> Choice:
    formula = parse_formula(text)
    return Choice(label=formula.text, kind="formula", name=formula.text)


def _settings(piece: str, rest: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for setting in rest.split(":"):
        key, equals, value = (part.strip() for part in setting.partition("="))
        if not equals or not key or not value:
            raise UsageError(
                f"{_shown(setting)} in {_shown(piece)} is not of the form name=value", "e.g. elu:alpha=0.5"
            )
        if key in found:
            raise UsageError(f"{key} is given twice in {_shown(piece)}", "give each parameter once")
        found[key] = value
    return found


def _parameter(row: ActivationRow, key: str, text: str) -> ParameterValue:
    """`text` as the type of the parameter's default, within its range or among its options."""
    if not row.parameters:
        raise UsageError(f"{row.name} has no parameters, so not {_shown(key)}", f"write just {row.name}")
    see = f"{row.name} has {', '.join(row.parameters)}"
    if key not in row.parameters:
        raise UsageError(f"{row.name} has no parameter {_shown(key)}", did_you_mean(key[:100], row.parameters, see))
    if key in row.options:
        if text not in row.options[key]:
            known = ", ".join(row.options[key])
            raise UsageError(
                f"{row.name}:{key} is one of {known}, not {_shown(text)}",
                did_you_mean(text[:100], row.options[key], f"the default is {row.parameters[key]}"),
            )
        return text
    return _in_range(row, key, text)


def _in_range(row: ActivationRow, key: str, text: str) -> int | float:
    whole = isinstance(row.parameters[key], int)
    low, high = row.ranges[key]
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        number = math.nan
    if not low <= number <= high:
        sort = "a whole number" if whole else "a number"
        raise UsageError(
            f"{row.name}:{key} is {sort} from {low:g} to {high:g}, not {_shown(text)}",
            f"the default is {row.parameters[key]}",
        )
    # -0.0 + 0 is 0.0: one value, one label.
    return number + 0


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
