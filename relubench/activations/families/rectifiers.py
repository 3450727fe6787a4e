"""ReLU and its relatives, as rows. A literal table, and torch-free."""

from __future__ import annotations

from math import sqrt

from relubench.activations.row import ActivationRow

_SQRT2 = sqrt(2)

ROWS = (
    ActivationRow(
        name="relu",
        formula="max(0, x)",
        family="rectifier",
        gain=_SQRT2,
        torch_gain=_SQRT2,
        year=2010,
        source="Nair & Hinton 2010; supervised, Glorot, Bordes & Bengio 2011",
        target="elementwise:relu",
        kinks=(0.0,),
    ),
    ActivationRow(
        name="nrelu",
        formula="max(0, x+n), n ~ N(0, variance sigmoid(x)); evaluated as max(0, x)",
        family="rectifier",
        gain=_SQRT2,
        year=2010,
        source="Nair & Hinton 2010",
        noisy=True,
        target="learned:nrelu",
        kinks=(0.0,),
    ),
    ActivationRow(
        name="relu6",
        formula="min(max(0, x), 6)",
        family="rectifier",
        gain=1.4142135650951,
        year=2010,
        source="Krizhevsky 2010, Convolutional Deep Belief Networks on CIFAR-10",
        target="elementwise:relu6",
        kinks=(0.0, 6.0),
    ),
    ActivationRow(
        name="squared_relu",
        formula="max(0, x)**2",
        family="rectifier",
        gain=sqrt(2 / 3),
        year=2021,
        source="So et al. 2021, Primer",
        target="elementwise:squared_relu",
    ),
    ActivationRow(
        name="leaky_relu",
        formula="x if x > 0 else negative_slope*x",
        family="rectifier",
        gain=sqrt(2 / (1 + 0.01**2)),
        torch_gain=sqrt(2 / (1 + 0.01**2)),
        year=2013,
        source="Maas, Hannun & Ng 2013",
        parameters={"negative_slope": 0.01},
        ranges={"negative_slope": (-1.0, 1.0)},
        target="elementwise:leaky_relu",
        kinks=(0.0,),
    ),
    ActivationRow(
        name="prelu",
        formula="x if x > 0 else a*x, a learned from init, one a layer",
        family="rectifier",
        gain=sqrt(2 / (1 + 0.25**2)),
        year=2015,
        source="He et al. 2015, Delving Deep into Rectifiers",
        parameters={"init": 0.25},
        ranges={"init": (-1.0, 1.0)},
        learned=("a",),
        target="learned:prelu",
        kinks=(0.0,),
    ),
    ActivationRow(
        name="rrelu",
        formula="x if x > 0 else s*x, s ~ U(lower, upper); evaluated with s = (lower+upper)/2",
        family="rectifier",
        gain=sqrt(2 / (1 + (11 / 48) ** 2)),
        year=2015,
        source="Xu et al. 2015; parameters as in torch",
        parameters={"lower": 1 / 8, "upper": 1 / 3},
        ranges={"lower": (0.0, 1.0), "upper": (0.0, 1.0)},
        noisy=True,
        target="learned:rrelu",
        kinks=(0.0,),
    ),
)
