"""The grammar of --act: names, parameters, globs, families, formulas and users' own, to a list of choices."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from relubench.activations.choice import Choice, label_of
from relubench.activations.formulas.formula import parse_formula
from relubench.activations.formulas.functions import NAMES, fold
from relubench.activations.formulas.tokens import has_x
from relubench.activations.table import ACTIVATIONS, FAMILIES, ActivationRow, ParameterValue
from relubench.activations.user import FORM, choose_own, dotted_hint, file_hint, is_own
from relubench.errors import UsageError
from relubench.system.lookup import did_you_mean, find

SEE = "see `relubench list activations`; a formula contains x"

MAX_CHARACTERS = 100_000
"""Of all that is given to --act."""
MAX_PIECE = 20_000
"""Characters of one activation; a path is the longest."""
MAX_ACTIVATIONS = 1_000

_OPEN, _CLOSE = "([{", ")]}"
_LONG_QUOTE = re.compile(r"'([^']{77})[^']{4,}'")
_SETTING = re.compile(r"(?:(?:with|where)\s+)?[^\W\d]\w*\s*[=~](?![=>])")


def select(texts: Sequence[str]) -> list[Choice]:
    """Every activation that `texts` names, in their order, each once; raises UsageError on the first bad one.

    A text may hold several, separated by commas outside brackets. Each is a table name with optional parameters
    ('softplus:beta=3'), 'all', a family, a glob over table names, a formula in x, with the values of its parameters
    after it ('x*sigmoid(b*x), b~1'), or a user's own 'place:Name'.
    """
    found: dict[tuple[str, str, tuple[tuple[str, ParameterValue], ...]], Choice] = {}
    for piece in _pieces(texts):
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


def _pieces(texts: Sequence[str]) -> list[str]:
    """The texts, each split at its commas, parameters' values with the formulas before them; bounded in every way."""
    length = sum(map(len, texts))
    if length > MAX_CHARACTERS:
        raise UsageError(f"--act takes at most {MAX_CHARACTERS:,} characters, not {length:,}", "name fewer activations")
    pieces: list[str] = []
    for text in texts:
        parts = list(_split(text))
        if len(pieces) + len(parts) > MAX_ACTIVATIONS:
            raise UsageError(f"--act takes at most {MAX_ACTIVATIONS:,} activations", "name fewer of them")
        group: list[str] = []
        for part in parts:
            if group and not _is_setting(part):
                pieces.append(_joined(group))
                group = []
            group.append(part)
        pieces.append(_joined(group))
    return pieces


def _is_setting(part: str) -> bool:
    return _SETTING.match(part) is not None and not has_x(part.partition("=")[2])


def _joined(group: list[str]) -> str:
    """An activation and the values after it as one; refused where what the values follow is no formula."""
    piece = ", ".join(group)
    values = group if _is_setting(group[0]) else group[1:]
    if not values or (len(values) < len(group) and _is_formula(piece)):
        return piece
    hint = "x*sigmoid(b*x), b=1.7 is a formula; a name's parameters follow colons: elu:alpha=0.5"
    if group[0].partition(":")[0].strip() in ACTIVATIONS and len(piece) < 120:
        hint = f"write {group[0]}:{values[0]}"
    raise UsageError(f"{_shown(values[0])} gives a parameter its value, but there is no formula before it", hint)


def _split(text: str) -> Iterator[str]:
    """The parts between commas outside brackets, stripped; an empty one is refused."""
    depth, start = 0, 0
    for place, mark in enumerate([*text, ","]):
        depth += (mark in _OPEN) - (mark in _CLOSE)
        if mark == "," and (depth <= 0 or place == len(text)):
            piece = text[start:place].strip()
            if not piece:
                raise UsageError(f"an empty activation name in {_shown(text)}", f"separate names by one comma; {SEE}")
            if len(piece) > MAX_PIECE:
                count = f"{MAX_PIECE:,} characters, not {len(piece):,}"
                raise UsageError(f"an activation has at most {count}: {_shown(piece)}", "write a shorter one")
            yield piece
            start = place + 1


def _expand(piece: str) -> Iterator[Choice]:
    head, colon, rest = (part.strip() for part in piece.partition(":"))
    if _is_formula(piece):
        yield _formula(piece)
    elif is_own(piece):
        yield _own(piece)
    elif colon:
        yield table_choice(_named(head, rest), _settings(piece, rest))
    else:
        yield from (table_choice(name) for name in _names(piece))


def _own(piece: str) -> Choice:
    try:
        return choose_own(piece)
    except UsageError as problem:
        # Such an error repeats what was written.
        raise UsageError(_LONG_QUOTE.sub(r"'\1...'", problem.message), problem.hint) from problem


def _is_formula(piece: str) -> bool:
    """Whether x stands in it, other than in the parts of a table's name or of a user's own."""
    head, colon, rest = piece.partition(":")
    defined = head.startswith("def ") or rest.startswith("=")
    if head.strip() in ACTIVATIONS or not (has_x(head + colon) or (defined and has_x(piece))):
        return False
    if not is_own(piece):
        return True
    # A decimal point, a division or a package's dot looks like a path: what follows the colon decides.
    name = rest.partition(":")[0].strip()
    named = not name or all(part.isidentifier() for part in name.split("."))
    path = head.strip().endswith(".py") or head.strip().startswith(("./", "../", "/", "~", ".\\", "..\\"))
    return not path and ("?" in head or not named)


def _named(head: str, rest: str) -> str:
    if head in ACTIVATIONS:
        return head
    if head == "all" or head in FAMILIES or "*" in head or "?" in head:
        raise UsageError(f"{head!r} names several activations, which cannot share parameters", "name them one by one")
    see = SEE if "=" in rest else file_hint(head, rest) or f"your own is {FORM}"
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
    function = NAMES.get(fold(word.rpartition(".")[2][:100]))
    if function is not None and word[-1:].isalnum():
        raise UsageError(f"there is no activation called {_shown(word)}", f"as a formula it is {function}(x); {SEE}")
    if re.fullmatch(r"[\d.]+", word):
        hint = f"a number is written 0.5, a comma separates activations; {SEE}"
        raise UsageError(f"there is no activation called {_shown(word)}", hint)
    known = [*ACTIVATIONS, *FAMILIES, "all"]
    hint = dotted_hint(word) or did_you_mean(word[:100], known, SEE)
    raise UsageError(f"there is no activation called {_shown(word)}", hint)


def _formula(text: str) -> Choice:
    formula = parse_formula(text)
    return Choice(label=formula.text, kind="formula", name=formula.text, learned=len(formula.learned))


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
