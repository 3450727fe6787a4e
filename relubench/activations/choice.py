"""One activation that was asked for, with its parameters resolved: what is printed, stored and sent to workers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from relubench.activations.row import PER, UNIT, ParameterValue
from relubench.activations.table import ACTIVATIONS

Kind = Literal["table", "formula", "user", "mix"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationChoice:
    """An activation as the user chose it; `select([choice.label])` gives the same again."""

    label: str
    """Canonical: default parameters omitted, the others in table order; a user's own path as it was written."""
    kind: Kind
    name: str
    """The table's name; the formula's canonical text; 'module:Name' or '/absolute/file.py:Name'."""
    parameters: tuple[tuple[str, Any], ...] = ()
    """Complete and resolved for the table's; for a user's own, those given, by name."""
    inputs_per_unit: int = 1
    """Pre-activation columns per output unit."""
    learned: int = 0
    """Learned numbers of a layer, or with per=unit of each unit; 0 also for a user's own class, whose parameters only
    building it shows."""
    layers: tuple[ActivationChoice, ...] = ()
    """Of a mix, the activation of each hidden layer, bottom up; its name is its label, and `learned` the sum."""
    source_digest: str | None = None
    """SHA-256 (hex) of the module file of a user's own. Not carried by JSON."""

    @property
    def learned_names(self) -> tuple[str, ...]:
        """The names of the learned scalars, in their order."""
        if self.kind == "table":
            return ACTIVATIONS[self.name].learned
        from relubench.activations.formulas.formula import parse_formula

        return tuple(name for name, _ in parse_formula(self.name).learned)

    @property
    def alone(self) -> tuple[ActivationChoice, ...]:
        """The activations that it consists of, each once: itself, unless it is a mix."""
        return tuple(dict.fromkeys(self.layers)) or (self,)

    def at(self, layer: int) -> ActivationChoice:
        """The activation of the hidden layer of that place."""
        return self.layers[layer] if self.layers else self

    @property
    def may_learn(self) -> bool:
        """Whether training changes it, as far as is known before it is built."""
        return self.learned > 0 or self.kind == "user"

    @property
    def per_unit(self) -> bool:
        """Whether each unit or channel learns numbers of its own."""
        return any(choice.learned > 0 and (PER, UNIT) in choice.parameters for choice in self.alone)

    def learned_in(self, layer: int, units: int) -> int:
        """The numbers that the hidden layer of that place, of so many units or channels, learns."""
        choice = self.at(layer)
        return choice.learned * (units if choice.per_unit else 1)

    def shown(self, number: int, held: float) -> float:
        """The learned number of that place as people read it, from what training holds."""
        row = ACTIVATIONS.get(self.name) if self.kind == "table" else None
        form = row.held.get(row.learned[number]) if row is not None else None
        return form.shown(held) if form is not None else held

    def to_json(self) -> dict[str, Any]:
        """JSON values from which any process on this machine, wherever it started, builds the same activation."""
        values = asdict(self)
        del values["source_digest"]
        values["parameters"] = [list(parameter) for parameter in self.parameters]
        if self.layers:
            values["layers"] = [choice.to_json() for choice in self.layers]
        else:
            del values["layers"]
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ActivationChoice:
        """The choice that `to_json` gave, without its source's digest."""
        # JSON has no tuples.
        parameters = (
            (name, tuple(value) if isinstance(value, list) else value) for name, value in values["parameters"]
        )
        layers = tuple(cls.from_json(layer) for layer in values.get("layers", ()))
        return cls(**{**values, "parameters": tuple(parameters), "layers": layers})


def label_of(name: str, parameters: tuple[tuple[str, ParameterValue], ...]) -> str:
    """name:key=value:key=value, numbers in the shortest form that reads back as the same number."""
    return ":".join([name, *(f"{key}={_number(value)}" for key, value in parameters)])


def _number(value: ParameterValue) -> str:
    text = str(value)
    return text.removesuffix(".0") if isinstance(value, float) else text
