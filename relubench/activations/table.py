"""Every activation by its name. Torch-free.

Adding an activation is one row in its family's module and one function where the row's `target` points.
"""

from __future__ import annotations

from relubench.activations.families import classic, gated, rectifiers, smooth
from relubench.activations.row import ActivationRow

ACTIVATIONS: dict[str, ActivationRow] = {
    row.name: row for family in (classic, rectifiers, smooth, gated) for row in family.ROWS
}
