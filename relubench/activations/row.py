"""What a row of the table of activations holds. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from relubench.activations.definition import Activation

Family = Literal["classic", "rectifier", "smooth", "gated"]
ParameterValue = float | int | str

PER, LAYER, UNIT = "per", "layer", "unit"
"""The parameter of every activation that learns, and its values: one learned number for each layer, or for each unit
(in a convolution, each channel)."""

FAMILIES: tuple[Family, ...] = ("classic", "rectifier", "smooth", "gated")


@dataclass(frozen=True, slots=True)
class HeldForm:
    """A learned number that training holds in another form than people give and read it."""

    held: Callable[[float], float]
    """What is trained, from the number."""
    shown: Callable[[float], float]
    """The number, from what is trained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ActivationRow:
    """What is known of one activation before anything is computed; written as the decorator of its function."""

    formula: str
    """Plain text; for gated ones a is the first chunk of columns and b, the gate, the second (torch's order)."""
    family: Family
    gain: float
    """1/sqrt(E[f(z)^2]), z ~ N(0, 1), at the default parameters and in evaluation; columns independent."""
    source: str
    truth: str | Callable[..., str] = ""
    """The true function, as a formula of `relubench list functions` that keeps its digits in float64 and may name the
    parameters; or a function of the parameters that writes it. Empty: `formula` is such a formula."""
    true_slope: str = ""
    """The same of the slope, where the derivative of `truth` as it is written loses digits."""
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
    """The names of its learned numbers, in the order in which its function takes them; such a row has the parameter
    PER."""
    held: Mapping[str, HeldForm] = field(default_factory=dict)
    """How training holds learned numbers that are parameters in another form."""
    start: Callable[[float, float], float] | None = None
    """Of a row with one learned number: the first value that f(-1) and f(1) tell, so that a user's own is recognised
    as this one; None: it is not looked for."""
    noisy: bool = False
    init: str = ""
    """The rule by which its paper draws weights, taken where the user names none; empty: it has none of its own."""
    kinks: tuple[float, ...] | None = None
    """Where f bends if it is linear between (a maximum of columns bends where two are equal); None: it is not."""
    name: str = ""
    """The name of the function below the row."""
    function: Callable[..., Activation] | None = None
    """That function: it takes the parameters by name, and imports torch when it is called."""

    def __call__(self, function: Callable[..., Activation]) -> ActivationRow:
        """The row of this function, called as the function is."""
        row = replace(self, name=function.__name__, function=function)
        if not self.learned:
            return row
        return replace(row, parameters={**self.parameters, PER: LAYER}, options={**self.options, PER: (LAYER, UNIT)})

    def build(self, parameters: Mapping[str, ParameterValue] | None = None) -> Activation:
        """The activation with these parameters, or with its defaults."""
        assert self.function is not None, "a row is the decorator of a function"
        values = dict(self.parameters if parameters is None else parameters)
        per = values.pop(PER, LAYER) if self.learned else LAYER
        activation = self.function(**values)
        return replace(activation, per_unit=True) if per == UNIT else activation

    def inputs_per_unit_with(self, parameters: Mapping[str, ParameterValue]) -> int:
        """Pre-activation columns per output unit under these (complete) parameters."""
        return self.inputs_per_unit if isinstance(self.inputs_per_unit, int) else int(parameters[self.inputs_per_unit])
