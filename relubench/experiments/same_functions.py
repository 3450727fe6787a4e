"""Which activations of a study are one function under two names, such as ELU and CELU at alpha 1. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from relubench.activations.choice import ActivationChoice
from relubench.activations.table import ACTIVATIONS

POINTS = np.concatenate([np.linspace(-20.005, 20.005, 4003), [-100.0, -50.0, 50.0, 100.0]])
"""Where values and slopes are compared: on both sides of 0, and nowhere where a function of the table has a kink."""

RELATIVE, ABSOLUTE = 1e-10, 1e-12


def lines_about_twins(choices: Sequence[ActivationChoice]) -> list[str]:
    """A line for each function that has several of these names; learned, noisy and gated ones are not compared."""
    groups: list[tuple[list[str], NDArray[np.float64]]] = []
    for choice in choices if len(choices) > 1 else ():
        if (values := _values_and_slopes(choice)) is None:
            continue
        for labels, known_values in groups:
            if np.allclose(values, known_values, rtol=RELATIVE, atol=ABSOLUTE):
                labels.append(choice.label)
                break
        else:
            groups.append(([choice.label], values))
    return [
        f"{', '.join(labels[:-1])} and {labels[-1]} are one function: their rows differ by rounding alone"
        for labels, _ in groups
        if len(labels) > 1
    ]


def _values_and_slopes(choice: ActivationChoice) -> NDArray[np.float64] | None:
    """The true function of a table's activation and its slope at POINTS; None for what has no such function."""
    row = ACTIVATIONS.get(choice.name) if choice.kind == "table" else None
    if row is None or choice.learned or choice.inputs_per_unit > 1 or row.noisy:
        return None
    # Imported here: a help and a list need no arithmetic of formulas.
    from relubench.verification.truth import of_row

    function = of_row(row, dict(choice.parameters))
    return np.concatenate([function.value(POINTS), function.slope(POINTS)])
