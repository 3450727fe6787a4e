"""The modules of other people that a network's layers hold, and their states at each member's best epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from relubench.models.external.module_state import State, capture, restore
from relubench.models.external.module_state_file import packed, unpacked
from relubench.models.layers.base import Layer


@dataclass(frozen=True, slots=True)
class Held:
    """One module that a layer holds of somebody else's."""

    name: str
    """What its tensors are called in files begins so."""
    module: nn.Module
    member: int

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> list[Held]:
        """Every one that these layers hold."""
        return [cls(f"layer-{number}", *held) for number, layer in enumerate(layers) for held in layer.held]


@dataclass(slots=True)
class HeldStates:
    """The states of the modules in a network, each taken at a time of its own: at its member's best epoch."""

    held: list[Held]
    states: list[State]

    @classmethod
    def now(cls, held: list[Held]) -> HeldStates:
        """As the modules are now."""
        return cls(held, [capture(held_module.module) for held_module in held])

    def renew(self, better: Sequence[bool]) -> None:
        """Take the states of those members anew."""
        for place, held_module in enumerate(self.held):
            if better[held_module.member]:
                self.states[place] = capture(held_module.module)

    def put_back(self) -> None:
        """Give every module its state."""
        for held_module, state in zip(self.held, self.states, strict=True):
            restore(held_module.module, state)

    def packed(self, name: str = "", member: int | None = None) -> tuple[dict[str, Tensor], list[Any]]:
        """Tensors, whose names begin with `name`, and JSON values: of every module, or of one member's."""
        tensors: dict[str, Tensor] = {}
        values: list[Any] = []
        for place, (held_module, state) in enumerate(zip(self.held, self.states, strict=True)):
            if member in (None, held_module.member):
                # Members have the same names: in a file of all of them their places tell them apart.
                begins = held_module.name if member is not None else f"{name}{place}.{held_module.name}"
                module_tensors, tree = packed(state, begins)
                tensors |= module_tensors
                values.append(tree)
        return tensors, values

    def unpack(self, tensors: Mapping[str, Tensor], values: Sequence[Any], device: str) -> None:
        """Take over what `packed` gave of as many modules; raises KeyError or ValueError if it is another network's."""
        self.states = [unpacked(tensors, tree, device) for tree, _ in zip(values, self.held, strict=True)]
