"""Gives a gated activation to somebody else's network: its linear layers are made as wide as the activation needs.

A block linear (I to H) - activation - linear (H to O) becomes linear (I to k H') - gated activation - linear (H' to O).
With `match` parameters, H' is the same part of H in every block, so that the network has as many parameters as it had,
within 1 %. The new weights are drawn as the network draws its own: rows of the first layer come from further instances
of the network, and where the spread of its own weights follows the number of inputs or outputs, it follows the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil, prod

import torch
from torch import Tensor, nn

from relubench.errors import UsageError
from relubench.models.external.linear_blocks import LinearBlock

CLOSE = 0.01
"""How far the number of parameters may be from the plain network's."""
FAN_RULES: tuple[tuple[float, Callable[[int, int], float]], ...] = (
    (1.0, lambda inputs, outputs: (inputs + outputs) / 2),
    (1 / 3, lambda inputs, outputs: float(inputs)),
    (1.0, lambda inputs, outputs: float(inputs)),
    (2.0, lambda inputs, outputs: float(inputs)),
)
"""Variance times fan, and the fan: Xavier, torch.nn.Linear's own, LeCun, He."""

Draw = Callable[[int], nn.Module]
"""Gives further instances of the network, from streams of their own by their numbers, from 1."""


@dataclass(slots=True)
class Resized:
    """A parameter and its new sizes by axis; a layer that lies between two activations changes along both."""

    parameter: nn.Parameter
    out_axis: int
    sizes: dict[int, int] = field(default_factory=dict)

    @property
    def shape(self) -> list[int]:
        """The new shape."""
        return [self.sizes.get(axis, size) for axis, size in enumerate(self.parameter.shape)]

    @property
    def copies(self) -> int:
        """Instances of the network whose rows are needed."""
        return max(ceil(size / old) for size, old in zip(self.shape, self.parameter.shape, strict=True))


def resized(blocks: Sequence[LinearBlock], units: Sequence[int], inputs_per_unit: int) -> list[Resized]:
    """The parameters that change where the blocks have so many units of a gated activation."""
    changes: dict[int, Resized] = {}
    for block, count in zip(blocks, units, strict=True):
        first, second = block.first, block.second
        for layer, axis, size in (
            (first, first.out_axis, inputs_per_unit * count),
            (second, second.in_axis, count),
        ):
            change = changes.setdefault(id(layer.weight), Resized(layer.weight, layer.out_axis))
            change.sizes[axis] = size
        if first.bias is not None:
            changes[id(first.bias)] = Resized(first.bias, 0, {0: inputs_per_unit * count})
    return list(changes.values())


def matched_units(network: nn.Module, blocks: Sequence[LinearBlock], inputs_per_unit: int, match: str) -> list[int]:
    """The units of each block with a gated activation; UsageError where no widths come within 1 % of the parameters."""
    if match == "width":
        return [block.units for block in blocks]
    target = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)

    def narrowed(part: float) -> list[int]:
        return [max(1, round(part * block.units)) for block in blocks]

    def surplus(units: Sequence[int]) -> int:
        changes = resized(blocks, units, inputs_per_unit)
        return sum(prod(change.shape) - change.parameter.numel() for change in changes)

    def distance(units: Sequence[int]) -> int:
        return abs(surplus(units))

    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if surplus(narrowed(middle)) < 0 else (low, middle)
    units = min(narrowed(low), narrowed(high), key=distance)
    for place in range(len(units)):
        # Blocks of one size keep one size, unless only single steps come near enough.
        if distance(units) > CLOSE * target:
            steps = [[*units[:place], units[place] + step, *units[place + 1 :]] for step in (-1, 0, 1)]
            units = min((step for step in steps if step[place]), key=distance)
    if distance(units) > CLOSE * target:
        raise UsageError(
            f"no widths of its {len(blocks)} linear blocks come within 1 % of the plain network's {target} parameters",
            "use wider layers, or --match width to compare at equal width",
        )
    return units


def widen(network: nn.Module, changes: Sequence[Resized], draw: Draw) -> None:
    """Gives every parameter its new size and values; `network` is changed in place."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    instances = [draw(number) for number in range(1, max(change.copies for change in changes))]
    replaced = {}
    for change in changes:
        name = names[id(change.parameter)]
        own = change.parameter.detach()
        draws = [instance.get_parameter(name).detach() for instance in instances[: change.copies - 1]]
        if bool((own != own.flatten()[0]).any()) and any(torch.equal(own, values) for values in draws):
            raise UsageError(
                f"its {name} does not come from the seed: the weights of a gate cannot be drawn as these",
                "draw initial weights with torch's own generator, and load none",
            )
        replaced[id(change.parameter)] = nn.Parameter(_values(change, [own, *draws]))
    for module in network.modules():
        for name, parameter in list(module._parameters.items()):
            if id(parameter) in replaced:
                module._parameters[name] = replaced[id(parameter)]
        if isinstance(module, nn.Linear):
            module.out_features, module.in_features = module.weight.shape


def _values(change: Resized, draws: Sequence[Tensor]) -> Tensor:
    """As many rows and columns of the drawn values as the new shape has, with the spread that their rule gives it."""
    axis = change.out_axis
    value = torch.cat(list(draws), axis)
    for place, size in enumerate(change.shape):
        value = value.narrow(place, 0, size)
    if value.dim() == 1:
        return value.clone()
    before, after = ((shape[1 - axis], shape[axis]) for shape in (change.parameter.shape, change.shape))
    return value * spread_ratio(draws[0], before, after)


def spread_ratio(weight: Tensor, before: tuple[int, int], after: tuple[int, int]) -> float:
    """The factor of weights whose rule reads the inputs and outputs, which were `before` and are `after`; else 1."""
    variance = float(weight.var(unbiased=False))
    off, fan = min(
        ((abs(variance * fan(*before) / constant - 1), fan) for constant, fan in FAN_RULES), key=lambda rule: rule[0]
    )
    # Three standard errors of a normal variance.
    is_rule = off < 0.01 + 3 * (2 / weight.numel()) ** 0.5
    return (fan(*before) / fan(*after)) ** 0.5 if is_rule else 1.0
