"""Sigmoids, tanh and what came before rectifiers, as rows. A literal table, and torch-free."""

from __future__ import annotations

from relubench.activations.row import ActivationRow

ROWS = (
    ActivationRow(
        name="identity",
        formula="x",
        family="classic",
        gain=1.0,
        torch_gain=1.0,
        source="classical",
        target="elementwise:identity",
        kinks=(),
    ),
    ActivationRow(
        name="sigmoid",
        formula="1/(1+exp(-x))",
        family="classic",
        gain=1.8462285453386,
        torch_gain=1.0,
        source="classical",
        target="elementwise:sigmoid",
    ),
    ActivationRow(
        name="tanh",
        formula="tanh(x)",
        family="classic",
        gain=1.5925374197228,
        torch_gain=5 / 3,
        source="classical",
        target="elementwise:tanh",
    ),
    ActivationRow(
        name="lecun_tanh",
        formula="1.7159*tanh(2*x/3)",
        family="classic",
        gain=1.1543694539761,
        year=1998,
        source="LeCun, Bottou, Orr & Müller 1998, Efficient BackProp",
        target="elementwise:lecun_tanh",
    ),
    ActivationRow(
        name="hardtanh",
        formula="min(max(x, -1), 1)",
        family="classic",
        gain=1.3920361404483,
        year=2004,
        source="Collobert 2004",
        target="elementwise:hardtanh",
        kinks=(-1.0, 1.0),
    ),
    ActivationRow(
        name="abs_tanh",
        formula="abs(tanh(x))",
        family="classic",
        gain=1.5925374197228,
        year=2009,
        source="Jarrett et al. 2009",
        target="elementwise:abs_tanh",
    ),
    ActivationRow(
        name="softsign",
        formula="x/(1+abs(x))",
        family="classic",
        gain=2.3375333631085,
        year=2009,
        source="Bergstra et al. 2009",
        target="elementwise:softsign",
    ),
)
