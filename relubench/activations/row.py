"""What a row of the table of activations holds. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    inputs_per_unit: int | str = 1
    """Pre-activation columns per output unit, or the name of the parameter that says how many."""
    learned: tuple[str, ...] = ()
    noisy: bool = False
    kinks: tuple[float, ...] | None = None
    """Where f bends if it is linear between (a maximum of columns bends where two are equal); None: it is not."""

    def inputs_per_unit_with(self, parameters: Mapping[str, ParameterValue]) -> int:
        """Pre-activation columns per output unit under these (complete) parameters."""
        return self.inputs_per_unit if isinstance(self.inputs_per_unit, int) else int(parameters[self.inputs_per_unit])
