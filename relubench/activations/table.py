"""Every activation as a row: formula, parameters, gain and source. A literal table, and torch-free.

Adding an activation is one row here and one function where `target` points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Literal

Family = Literal["classic", "rectifier", "smooth", "gated"]
ParameterValue = float | int | str

FAMILIES: tuple[Family, ...] = ("classic", "rectifier", "smooth", "gated")


@dataclass(frozen=True, kw_only=True, slots=True)
class ActivationRow:
    """What is known of one activation before anything is computed."""

    name: str
    formula: str
    """Plain text; for gated ones a is the first chunk of columns and b, the gate, the second (torch's order)."""
    family: Family
    gain: float
    """1/sqrt(E[f(z)^2]), z ~ N(0, 1), at the default parameters and in evaluation; columns independent."""
    source: str
    target: str
    """'module:function' in this package; the function takes the parameters by name and returns an Activation."""
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    """Name -> default; the default's type is the parameter's type."""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Inclusive bounds of each numeric parameter."""
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The allowed values of each text parameter."""
    torch_gain: float | None = None
    """torch.nn.init.calculate_gain at the default parameters, where it knows the activation."""
    year: int | None = None
    """None for those older than any one paper."""
    columns: int | str = 1
    """Pre-activation columns per output unit, or the name of the parameter that says how many."""
    learned: tuple[str, ...] = ()
    noisy: bool = False
    kinks: tuple[float, ...] | None = None
    """Where f bends if it is linear between (a maximum of columns bends where two are equal); None: it is not."""

    def columns_with(self, parameters: Mapping[str, ParameterValue]) -> int:
        """Pre-activation columns per output unit under these (complete) parameters."""
        return self.columns if isinstance(self.columns, int) else int(parameters[self.columns])


_SHAZEER = "Shazeer 2020, GLU Variants Improve Transformer"
_SQRT2 = sqrt(2)

_ROWS = (
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
    ActivationRow(
        name="softplus",
        formula="log(1+exp(beta*x))/beta",
        family="smooth",
        gain=1.0418668355353,
        year=2001,
        source="Dugas et al. 2001; rescaled by beta, Glorot, Bordes & Bengio 2011",
        parameters={"beta": 1.0, "threshold": 20.0},
        ranges={"beta": (0.001, 1000.0), "threshold": (1.0, 80.0)},
        target="elementwise:softplus",
    ),
    ActivationRow(
        name="elu",
        formula="x if x > 0 else alpha*(exp(x)-1)",
        family="smooth",
        gain=1.2451983007007,
        year=2015,
        source="Clevert, Unterthiner & Hochreiter 2015",
        parameters={"alpha": 1.0},
        ranges={"alpha": (0.001, 100.0)},
        target="elementwise:elu",
    ),
    ActivationRow(
        name="celu",
        formula="x if x > 0 else alpha*(exp(x/alpha)-1)",
        family="smooth",
        gain=1.2451983007007,
        year=2017,
        source="Barron 2017",
        parameters={"alpha": 1.0},
        ranges={"alpha": (0.001, 100.0)},
        target="elementwise:celu",
    ),
    ActivationRow(
        name="selu",
        formula="1.0507*(x if x > 0 else 1.67326*(exp(x)-1))",
        family="smooth",
        gain=1.0,
        torch_gain=0.75,
        year=2017,
        source="Klambauer et al. 2017",
        target="elementwise:selu",
    ),
    ActivationRow(
        name="gelu",
        formula="x*Phi(x), Phi the normal distribution function, or its tanh approximation",
        family="smooth",
        gain=1.5335304411955,
        year=2016,
        source="Hendrycks & Gimpel 2016",
        parameters={"approximate": "none"},
        options={"approximate": ("none", "tanh")},
        target="elementwise:gelu",
    ),
    ActivationRow(
        name="silu",
        formula="x*sigmoid(x)",
        family="smooth",
        gain=1.6765324703311,
        year=2017,
        source="Elfwing, Uchibe & Doya 2017",
        target="elementwise:silu",
    ),
    ActivationRow(
        name="swish",
        formula="x*sigmoid(b*x), b learned from beta, one b a layer",
        family="smooth",
        gain=1.6765324703311,
        year=2017,
        source="Ramachandran, Zoph & Le 2017",
        parameters={"beta": 1.0},
        ranges={"beta": (0.0, 100.0)},
        learned=("beta",),
        target="learned:swish",
    ),
    ActivationRow(
        name="hardswish",
        formula="x*min(max(x+3, 0), 6)/6",
        family="smooth",
        gain=1.7366572127665,
        year=2019,
        source="Howard et al. 2019, MobileNetV3",
        target="elementwise:hardswish",
    ),
    ActivationRow(
        name="mish",
        formula="x*tanh(softplus(x))",
        family="smooth",
        gain=1.4868475812732,
        year=2019,
        source="Misra 2019",
        target="elementwise:mish",
    ),
    ActivationRow(
        name="glu",
        formula="a*sigmoid(b)",
        family="gated",
        gain=1.8462285453386,
        year=2016,
        source="Dauphin et al. 2016",
        columns=2,
        target="gated:glu",
    ),
    ActivationRow(
        name="bilinear",
        formula="a*b",
        family="gated",
        gain=1.0,
        year=2020,
        source=_SHAZEER,
        columns=2,
        target="gated:bilinear",
    ),
    ActivationRow(
        name="reglu",
        formula="a*max(0, b)",
        family="gated",
        gain=_SQRT2,
        year=2020,
        source=_SHAZEER,
        columns=2,
        target="gated:reglu",
    ),
    ActivationRow(
        name="geglu",
        formula="a*gelu(b)",
        family="gated",
        gain=1.5335304411955,
        year=2020,
        source=_SHAZEER,
        columns=2,
        target="gated:geglu",
    ),
    ActivationRow(
        name="swiglu",
        formula="a*silu(b)",
        family="gated",
        gain=1.6765324703311,
        year=2020,
        source=_SHAZEER,
        columns=2,
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
        columns="pieces",
        target="gated:maxout",
        kinks=(),
    ),
)

ACTIVATIONS: dict[str, ActivationRow] = {row.name: row for row in _ROWS}
