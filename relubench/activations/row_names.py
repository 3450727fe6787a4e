"""Names that a user gives to rows: `texp=x*tanh(exp(x))` is the formula, called texp wherever a person reads it."""

from __future__ import annotations

from collections.abc import Sequence

from relubench.activations.mix import NAMED
from relubench.activations.selection import select, split_texts
from relubench.errors import UsageError


def row_names(texts: Sequence[str]) -> dict[str, str]:
    """Label of an activation -> the name that these texts of --act give it; UsageError where one name has two."""
    names: dict[str, str] = {}
    for piece in split_texts(texts):
        match = NAMED.fullmatch(piece)
        if match is None or ":" in match["name"]:
            continue
        choices = select([match["activation"]])
        if len(choices) != 1:
            raise UsageError(
                f"{match['name']!r} names {len(choices)} activations: {match['activation']}", "name them one by one"
            )
        if match["name"] in names.values() and names.get(choices[0].label) != match["name"]:
            raise UsageError(f"two activations are called {match['name']!r}", "give each a name of its own")
        names[choices[0].label] = match["name"]
    return {label: name for label, name in names.items() if label != name}
