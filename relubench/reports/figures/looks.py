"""One colour, dash and marker for each activation: the same in every figure, and told apart with any colour vision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relubench.reports.plots.figure import COLOURS

DASHES = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2))
"""Lengths of line and gap, in widths of the line: the next one is used when all colours have been used."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""One for each colour, so that a figure without colours can be read, too."""

FAMILIAR = {
    "relu": 0,
    "sigmoid": 1,
    "tanh": 2,
    "gelu": 3,
    "softplus": 4,
    "leaky_relu": 5,
    "silu": 6,
    "elu": 6,
}
"""Activations that have the same colour in every study: places in COLOURS, if no other of them took it."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a series is drawn."""

    colour: int
    """A place in COLOURS."""
    dash: tuple[float, ...]
    marker: str


def looks_of(keys: Sequence[str]) -> dict[str, Look]:
    """The look of each key: that of FAMILIAR where it has one, else the next that is free."""
    names = list(dict.fromkeys(key for key in keys if key))
    places: dict[str, int] = {}
    for name in names:
        place = FAMILIAR.get(name)
        if place is not None and place not in places.values():
            places[name] = place
    # From the end: an activation of no fixed colour does not take that of relu or sigmoid while there is another.
    order = [*reversed(range(len(COLOURS))), *range(len(COLOURS), len(names) + len(COLOURS))]
    free = iter([place for place in order if place not in places.values()])
    for name in names:
        if name not in places:
            places[name] = next(free)
    return {name: _look(places[name]) for name in names}


def _look(place: int) -> Look:
    colour = place % len(COLOURS)
    return Look(colour, DASHES[place // len(COLOURS) % len(DASHES)], MARKERS[colour])
