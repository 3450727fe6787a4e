"""A mix: an activation for each hidden layer, written `[relu*4,gelu*2]`, bottom up. Torch-free."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from relubench.activations.choice import ActivationChoice
from relubench.errors import UsageError, shown

NAMED = re.compile(r"(?P<name>[^\W\d][\w.+ -]*[\w+])\s*=(?![=>])\s*(?P<activation>.+)", re.DOTALL)
"""A name of two letters or more: what is written `y = x*tanh(x)` is a formula as ever."""

MOST_LAYERS = 200
"""Of all networks, the deepest has so many hidden layers."""

ENTRY = re.compile(r"(?P<activation>.+?)\s*(?:\*\s*(?P<count>\d{1,4}))?", re.DOTALL)
"""An activation, and in how many layers it stands, one above the other."""

SEE = "a mix is written --act-by-layer 'relu*4,gelu*2', the lowest layer first"


def is_mix(piece: str) -> bool:
    """Whether a piece of --act is a mix: all of it stands in square brackets."""
    return piece.startswith("[") and piece.endswith("]")


def in_brackets(text: str) -> str:
    """What --act-by-layer takes, as --act takes it: in brackets, those of `early=relu*4,gelu*2` behind its name."""
    match = NAMED.fullmatch(text.strip())
    if match is not None and ":" not in match["name"]:
        return f"{match['name']}=[{match['activation']}]"
    return f"[{text.strip()}]"


def with_mixes(values: Any) -> Any:
    """A configuration's values with its mixes (`act_by_layer`) among its activations; without `act` they are alone.

    What is no list of texts is left for the schema to refuse.
    """
    act, mixes = (values.get(key, ()) for key in ("act", "act_by_layer")) if isinstance(values, Mapping) else ((), ())
    lists = all(isinstance(items, list | tuple) for items in (act, mixes))
    if not lists or not mixes or not all(isinstance(mix, str) for mix in mixes):
        return values
    return {**values, "act": (*act, *map(in_brackets, mixes)), "act_by_layer": ()}


def entry_of(text: str, *, formula: bool) -> tuple[str, int]:
    """The activation and the number of layers of an entry; `formula`: without the number it is one, in x.

    Raises UsageError where x*2 may be a formula as well as x in two layers, and for a number that cannot be.
    """
    match = ENTRY.fullmatch(text)
    assert match is not None, "an empty entry is refused before"
    activation, count = match["activation"], int(match["count"] or 1)
    in_brackets = activation.startswith("(") and activation.endswith(")")
    if formula and match["count"] and not in_brackets:
        raise UsageError(
            f"{shown(text)} in a mix may mean {count} layers, or a formula that ends so",
            f"put the formula into brackets: ({activation})*{count}",
        )
    if not 1 <= count <= MOST_LAYERS:
        raise UsageError(f"{shown(text)}: an activation stands in 1 to {MOST_LAYERS} layers", SEE)
    return activation, count


def mix_of(entries: Sequence[tuple[ActivationChoice, int]]) -> ActivationChoice:
    """The mix of these activations, each in so many layers; UsageError where they cannot stand in one network."""
    layers = tuple(itertools.chain.from_iterable([choice] * count for choice, count in entries))
    for choice in layers:
        if choice.kind not in ("table", "formula"):
            reason = "is a mix itself" if choice.kind == "mix" else "is your own code"
            raise UsageError(f"{choice.label} {reason}, and a mix has activations of the table and formulas", SEE)
    columns = {choice.inputs_per_unit: choice.label for choice in layers}
    if len(columns) > 1:
        (first, label), (second, second_label), *_ = columns.items()
        raise UsageError(
            f"{label} takes {first} pre-activation{'s' if first > 1 else ''} a unit and {second_label} takes {second}: "
            "a mix has layers of one kind",
            "mix gated activations with each other, and plain ones with each other",
        )
    if len(layers) > MOST_LAYERS:
        raise UsageError(f"a mix has at most {MOST_LAYERS} layers, got {len(layers)}", SEE)
    label = ",".join(_spelled(choice, len(list(group))) for choice, group in itertools.groupby(layers))
    return ActivationChoice(
        label=f"[{label}]",
        kind="mix",
        name=f"[{label}]",
        inputs_per_unit=layers[0].inputs_per_unit,
        learned=sum(choice.learned for choice in layers),
        layers=layers,
    )


def _spelled(choice: ActivationChoice, count: int) -> str:
    """An entry of the label."""
    if count == 1:
        return choice.label
    return f"({choice.label})*{count}" if choice.kind == "formula" else f"{choice.label}*{count}"
