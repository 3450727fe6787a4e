"""The grammar of --act: names, parameters, globs, families, formulas and users' own, to a list of choices."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from relubench.activations.choice import ActivationChoice, label_of
from relubench.activations.formulas.formula import parse_formula
from relubench.activations.formulas.functions import NAMES, NEIGHBOURS, fold
from relubench.activations.formulas.tokens import has_x
from relubench.activations.mix import entry_of, is_mix, mix_of
from relubench.activations.row import FAMILIES, LAYER, PER, UNIT, ActivationRow, ParameterValue
from relubench.activations.table import ACTIVATIONS
from relubench.activations.user import dotted_hint, file_hint, names_user_object, resolve_user_object
from relubench.activations.user_syntax import FORM
from relubench.errors import UsageError, shown
from relubench.system.lookup import did_you_mean, find, spelled

SEE = "see `relubench list activations`; a formula contains x"

MAX_CHARACTERS = 100_000
"""Of all that is given to --act."""
MAX_PIECE = 20_000
"""Characters of one activation; a path is the longest."""
MAX_ACTIVATIONS = 1_000

_OPEN, _CLOSE = "([{", ")]}"
_LONG_QUOTE = re.compile(r"'([^']{77})[^']{4,}'")
_PER = re.compile(rf"[,:]\s*{PER}\s*=\s*({LAYER}|{UNIT})\s*$")
_SETTING = re.compile(r"(?:(?:with|where)\s+)?[^\W\d]\w*\s*[=~](?![=>])")


def select(texts: Sequence[str]) -> list[ActivationChoice]:
    """Every activation that `texts` names, in their order, each once; raises UsageError on the first bad one.

    A text may hold several, separated by commas outside brackets. Each is a table name with optional parameters
    ('softplus:beta=3'), 'all', a family, a glob over table names, a formula in x, with the values of its parameters
    after it ('x*sigmoid(b*x), b~1'), or a user's own 'place:Name'.
    """
    choices: dict[tuple[str, str, tuple[tuple[str, ParameterValue], ...]], ActivationChoice] = {}
    for piece in split_texts(texts):
        for choice in _choices_of(piece):
            choices.setdefault((choice.kind, choice.name, choice.parameters), choice)
    if not choices:
        raise UsageError("no activation is given", f"name one with --act; {SEE}")
    return list(choices.values())


def repeated(texts: Sequence[str]) -> list[str]:
    """The activations that are named more than once, one by one: neither by a pattern nor as a family."""
    names: list[str] = []
    for piece in split_texts(texts):
        if _is_formula(piece) or piece.partition(":")[0].strip() in ACTIVATIONS:
            names += [choice.label for choice in _choices_of(piece)]
        elif names_user_object(piece):
            names.append(piece.strip())
    return list(dict.fromkeys(name for name in names if names.count(name) > 1))


def table_choice(name: str, texts: dict[str, str] | None = None) -> ActivationChoice:
    """A table's activation with some parameters given as text, checked against the row."""
    row = find(name, ACTIVATIONS, kind="activation", see=SEE)
    parameters = dict(row.parameters)
    for key, text in (texts or {}).items():
        parameters[key] = _parse_parameter(row, key, text)
    # A range given backwards; rrelu is the only row with both ends.
    if "lower" in parameters and "upper" in parameters and float(parameters["lower"]) > float(parameters["upper"]):
        raise UsageError(
            f"{name} needs lower <= upper, not {parameters['lower']} and {parameters['upper']}", "swap them"
        )
    non_default = tuple((key, value) for key, value in parameters.items() if value != row.parameters[key])
    return ActivationChoice(
        label=label_of(name, non_default),
        kind="table",
        name=name,
        parameters=tuple(parameters.items()),
        inputs_per_unit=row.inputs_per_unit_with(parameters),
        learned=len(row.learned),
    )


def split_texts(texts: Sequence[str]) -> list[str]:
    """The texts, each split at its commas, parameters' values with the formulas before them; bounded in every way."""
    num_characters = sum(map(len, texts))
    if num_characters > MAX_CHARACTERS:
        raise UsageError(
            f"--act takes at most {MAX_CHARACTERS:,} characters, not {num_characters:,}", "name fewer activations"
        )
    pieces: list[str] = []
    for text in texts:
        text_pieces = list(_split_at_commas(text))
        if len(pieces) + len(text_pieces) > MAX_ACTIVATIONS:
            raise UsageError(f"--act takes at most {MAX_ACTIVATIONS:,} activations", "name fewer of them")
        group: list[str] = []
        for piece in text_pieces:
            if group and not _is_setting(piece):
                pieces.append(_join_values(group))
                group = []
            group.append(piece)
        pieces.append(_join_values(group))
    return pieces


def _is_setting(piece: str) -> bool:
    value = piece.partition("=")[2]
    return _SETTING.match(piece) is not None and not (has_x(value) or _is_of_table(value) or is_mix(value.strip()))


def _is_of_table(text: str) -> bool:
    """Whether it is an activation of the table, with parameters or without."""
    return text.partition(":")[0].strip() in ACTIVATIONS


def _join_values(group: list[str]) -> str:
    """An activation and the values after it as one; refused where what the values follow is no formula."""
    piece = ", ".join(group)
    values = group if _is_setting(group[0]) else group[1:]
    if not values or (len(values) < len(group) and _is_formula(piece)):
        return piece
    hint = "x*sigmoid(b*x), b=1.7 is a formula; a name's parameters follow colons: elu:alpha=0.5"
    if group[0].partition(":")[0].strip() in ACTIVATIONS and len(piece) < 120:
        hint = f"write {group[0]}:{values[0]}"
    raise UsageError(f"{shown(values[0])} gives a parameter its value, but there is no formula before it", hint)


def _split_at_commas(text: str) -> Iterator[str]:
    """The parts between commas outside brackets, stripped; an empty one is refused."""
    depth, start = 0, 0
    for position, character in enumerate([*text, ","]):
        depth += (character in _OPEN) - (character in _CLOSE)
        if character == "," and (depth <= 0 or position == len(text)):
            piece = text[start:position].strip()
            if not piece:
                raise UsageError(f"an empty activation name in {shown(text)}", f"separate names by one comma; {SEE}")
            if len(piece) > MAX_PIECE:
                count = f"{MAX_PIECE:,} characters, not {len(piece):,}"
                raise UsageError(f"an activation has at most {count}: {shown(piece)}", "write a shorter one")
            yield piece
            start = position + 1


def _choices_of(piece: str) -> Iterator[ActivationChoice]:
    name, _, named = piece.partition("=")
    if ":" not in name and (_is_of_table(named) or is_mix(named.strip())):
        piece = named.strip()  # The name of a row: what computes is what it names.
    if is_mix(piece):
        yield _mix_choice(piece)
        return
    head, colon, settings = (part.strip() for part in piece.partition(":"))
    if _is_formula(piece):
        yield _formula_choice(piece)
    elif names_user_object(piece):
        yield _user_choice(piece)
    elif colon:
        yield table_choice(_single_name(head, settings), _parameter_texts(piece, settings))
    else:
        yield from (table_choice(name) for name in _table_names(piece))


def _mix_choice(piece: str) -> ActivationChoice:
    entries: list[tuple[ActivationChoice, int]] = []
    for text in _split_at_commas(piece[1:-1]):
        name, count = entry_of(text, formula=_is_formula(text.rstrip("0123456789 ").removesuffix("*")))
        choices = select([name])
        if len(choices) > 1:
            raise UsageError(f"{shown(name)} in a mix names {len(choices)} activations", "name one for each layer")
        entries.append((choices[0], count))
    return mix_of(entries)


def _user_choice(piece: str) -> ActivationChoice:
    try:
        return resolve_user_object(piece)
    except UsageError as problem:
        # Such an error repeats what was written.
        raise UsageError(_LONG_QUOTE.sub(r"'\1...'", problem.message), problem.hint) from problem


def _is_formula(piece: str) -> bool:
    """Whether x stands in it, other than in the parts of a table's name or of a user's own."""
    head, colon, after_colon = piece.partition(":")
    is_definition = head.startswith("def ") or after_colon.startswith("=")
    if head.strip() in ACTIVATIONS or not (has_x(head + colon) or (is_definition and has_x(piece))):
        return False
    if not names_user_object(piece):
        return True
    # A decimal point, a division or a package's dot looks like a path: what follows the colon decides.
    name = after_colon.partition(":")[0].strip()
    is_name = not name or all(part.isidentifier() for part in name.split("."))
    is_file = head.strip().endswith(".py") or head.strip().startswith(("./", "../", "/", "~", ".\\", "..\\"))
    return not is_file and ("?" in head or not is_name)


def _single_name(head: str, settings: str) -> str:
    head = spelled(head, ACTIVATIONS)
    if head in ACTIVATIONS:
        return head
    if head == "all" or head in FAMILIES or "*" in head or "?" in head:
        raise UsageError(f"{head!r} names several activations, which cannot share parameters", "name them one by one")
    see = SEE if "=" in settings else file_hint(head, settings) or f"your own is {FORM}"
    raise UsageError(f"there is no activation called {shown(head)}", did_you_mean(head[:100], ACTIVATIONS, see))


def _table_names(word: str) -> list[str]:
    word = spelled(word, ACTIVATIONS)
    if word == "all":
        return list(ACTIVATIONS)
    if word in FAMILIES:
        return [row.name for row in ACTIVATIONS.values() if row.family == word]
    if "*" in word or "?" in word:
        # A set in brackets is not part of the grammar.
        pattern = word.replace("[", "[[]")
        names = [name for name in ACTIVATIONS if fnmatchcase(name, pattern)]
        if not names:
            raise UsageError(f"no activation's name matches {shown(word)}", SEE)
        return names
    if word in ACTIVATIONS:
        return [word]
    key = fold(word.rpartition(".")[2][:100])
    if key in NEIGHBOURS and key not in ACTIVATIONS:
        hint = "poly_relu is the form of its article without the norm" if key == "polynorm" else SEE
        raise UsageError(f"{shown(word)} is no function of one unit: its value depends on the others' too", hint)
    function = NAMES.get(key)
    if function is not None and word[-1:].isalnum():
        raise UsageError(f"there is no activation called {shown(word)}", f"as a formula it is {function}(x); {SEE}")
    if re.fullmatch(r"[\d.]+", word):
        hint = f"a number is written 0.5, a comma separates activations; {SEE}"
        raise UsageError(f"there is no activation called {shown(word)}", hint)
    all_names = [*ACTIVATIONS, *FAMILIES, "all"]
    hint = dotted_hint(word) or did_you_mean(word[:100], all_names, SEE)
    raise UsageError(f"there is no activation called {shown(word)}", hint)


def _formula_choice(text: str) -> ActivationChoice:
    match = _PER.search(text)
    formula = parse_formula(text[: match.start()] if match else text)
    per_unit = match is not None and match[1] == UNIT
    if per_unit and not formula.learned:
        raise UsageError(f"{shown(formula.text)} learns nothing, so not per=unit", "a learned number is written b~1.7")
    return ActivationChoice(
        label=f"{formula.text}:{PER}={UNIT}" if per_unit else formula.text,
        kind="formula",
        name=formula.text,
        parameters=((PER, UNIT),) if per_unit else (),
        learned=len(formula.learned),
    )


def _parameter_texts(piece: str, settings: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    for setting in settings.split(":"):
        key, equals, value = (part.strip() for part in setting.partition("="))
        if not equals or not key or not value:
            raise UsageError(f"{shown(setting)} in {shown(piece)} is not of the form name=value", "e.g. elu:alpha=0.5")
        if key in texts:
            raise UsageError(f"{key} is given twice in {shown(piece)}", "give each parameter once")
        texts[key] = value
    return texts


def _parse_parameter(row: ActivationRow, key: str, text: str) -> ParameterValue:
    """`text` as the type of the parameter's default, within its range or among its options."""
    if not row.parameters:
        raise UsageError(f"{row.name} has no parameters, so not {shown(key)}", f"write just {row.name}")
    see = f"{row.name} has {', '.join(row.parameters)}"
    if key not in row.parameters:
        raise UsageError(f"{row.name} has no parameter {shown(key)}", did_you_mean(key[:100], row.parameters, see))
    if key in row.options:
        if text not in row.options[key]:
            options = ", ".join(row.options[key])
            raise UsageError(
                f"{row.name}:{key} is one of {options}, not {shown(text)}",
                did_you_mean(text[:100], row.options[key], f"the default is {row.parameters[key]}"),
            )
        return text
    return _parse_number(row, key, text)


def _parse_number(row: ActivationRow, key: str, text: str) -> int | float:
    is_integer = isinstance(row.parameters[key], int)
    low, high = row.ranges[key]
    try:
        number = int(text) if is_integer else float(text)
    except ValueError:
        number = math.nan
    if not low <= number <= high:
        kind = "a whole number" if is_integer else "a number"
        raise UsageError(
            f"{row.name}:{key} is {kind} from {low:g} to {high:g}, not {shown(text)}",
            f"the default is {row.parameters[key]}",
        )
    # -0.0 + 0 is 0.0: one value, one label.
    return number + 0
