"""The GLU family and maxout, activations of several pre-activation columns a unit, as rows. A torch-free table."""

from __future__ import annotations

from math import sqrt

from relubench.activations.row import ActivationRow

_SHAZEER = "Shazeer 2020, GLU Variants Improve Transformer"
_SQRT2 = sqrt(2)

ROWS = (
    ActivationRow(
        name="glu",
        formula="a*sigmoid(b)",
        family="gated",
        gain=1.8462285453386,
        year=2016,
        source="Dauphin et al. 2016",
        inputs_per_unit=2,
        target="gated:glu",
    ),
    ActivationRow(
        name="bilinear",
        formula="a*b",
        family="gated",
        gain=1.0,
        year=2020,
        source=_SHAZEER,
        inputs_per_unit=2,
        target="gated:bilinear",
    ),
    ActivationRow(
        name="reglu",
        formula="a*max(0, b)",
        family="gated",
        gain=_SQRT2,
        year=2020,
        source=_SHAZEER,
        inputs_per_unit=2,
        target="gated:reglu",
    ),
    ActivationRow(
        name="geglu",
        formula="a*gelu(b)",
        family="gated",
        gain=1.5335304411955,
        year=2020,
        source=_SHAZEER,
        inputs_per_unit=2,
        target="gated:geglu",
    ),
    ActivationRow(
        name="swiglu",
        formula="a*silu(b)",
        family="gated",
        gain=1.6765324703311,
        year=2020,
        source=_SHAZEER,
        inputs_per_unit=2,
        target="gated:swiglu",
    ),
    ActivationRow(
        name="maxout",
        formula="max of the pieces' columns",
        family="gated",
        gain=1.0,
        year=2013,
        source="Goodfellow et al. 2013",
        parameters={"pieces": 2},
        ranges={"pieces": (2, 16)},
        inputs_per_unit="pieces",
        target="gated:maxout",
        kinks=(),
    ),
)
