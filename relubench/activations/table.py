"""Every activation by its name: the rows that the modules of families/ define, in their order. Torch-free."""

from __future__ import annotations

from relubench.activations.families import classic, gated, rectifiers, smooth, trained
from relubench.activations.row import ActivationRow

ACTIVATIONS: dict[str, ActivationRow] = {
    row.name: row
    for family in (classic, rectifiers, smooth, trained, gated)
    for row in vars(family).values()
    if isinstance(row, ActivationRow)
}
