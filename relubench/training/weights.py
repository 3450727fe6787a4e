"""What the networks of a population hold: parameters, buffers and the states of modules, now and at each best epoch.

Shapes: P member in front of every tensor where the members are batched; one network drops it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from relubench.models.external.held_modules import Held, HeldStates
from relubench.models.layers.base import Buffer, Layer

if TYPE_CHECKING:
    from relubench.models.kernels.layer import CompiledKernels


class PopulationWeights:
    """The values of P networks, and a copy of each one's from its best epoch."""

    def __init__(
        self, layers: Sequence[Layer], kernels: CompiledKernels | None, num_members: int, *, batched: bool, device: str
    ) -> None:
        self.layers, self.kernels, self.num_members = layers, kernels, num_members
        self.batched, self.device = batched, device
        self.parameters = [parameter for layer in layers for parameter in layer.parameters]
        self.held = Held.of(layers)
        self.best = [value.clone() for value in self.values()]
        self.best_held = HeldStates.now(self.held)

    @property
    def parameter_count(self) -> int:
        """Trained numbers of one member."""
        return sum(parameter.value.numel() for parameter in self.parameters) // self.num_members

    def values(self) -> list[Tensor]:
        """Every parameter and every buffer, up to date and in a fixed order."""
        self._synchronise()
        return [parameter.value for parameter in self.parameters] + [buffer.value for buffer in self._buffers()]

    def keep_best(self, better: Sequence[bool]) -> None:
        """Take over the values of the members that are better than before."""
        self.best_held.renew(better)
        values = self.values()
        if not self.batched:
            if better[0]:
                _copy(self.best, values)
            return
        chosen = torch.tensor(better, device=values[0].device)
        for best, value in zip(self.best, values, strict=True):
            by_member = value.reshape(len(better), -1)
            best.copy_(torch.where(chosen[:, None], by_member, best.reshape(len(better), -1)).view_as(value))

    @contextmanager
    def at_best(self) -> Iterator[None]:
        """Inside, the networks have the values of their best epochs."""
        values = self.values()
        current, states = [value.clone() for value in values], HeldStates.now(self.held)
        _copy(values, self.best)
        self.best_held.put_back()
        yield
        _copy(values, current)
        states.put_back()

    # -- one member --------------------------------------------------------------------------------------------------

    def of_member(self, place: int, *, best: bool) -> dict[str, Tensor]:
        """The parameters and buffers of the member at `place`, by name."""
        tensors: dict[str, Tensor] = {}
        for name, value in zip(self._names(), self.best if best else self.values(), strict=True):
            if self.batched:
                value = value.unflatten(0, (self.num_members, -1))[place]
                value = value.squeeze(0) if value.shape[0] == 1 else value
            tensors[name] = value.detach().cpu().contiguous()
        return tensors | self._states(best).packed(member=place)[0]

    def held_values(self, place: int, *, best: bool) -> list[Any]:
        """What user modules of the member at `place` hold beside `of_member`, as JSON values."""
        return self._states(best).packed(member=place)[1]

    def load_member(self, tensors: Mapping[str, Tensor], held: Sequence[Any] = ()) -> None:
        """Take over `of_member` and `held_values` of one network; raises KeyError, ValueError or RuntimeError."""
        for name, value in zip(self._names(), self.values(), strict=True):
            value.copy_(tensors[name].to(value.device).reshape(value.shape))
        states = HeldStates.now(self.held)
        states.unpack(tensors, held, self.device)
        states.put_back()

    def start_from(self, place: int, weights: Mapping[str, Tensor]) -> None:
        """Give the member at `place` these parameters, by name, before it is trained; what is not named stays."""
        for parameter in self.parameters:
            if parameter.name in weights:
                value = parameter.value[place] if self.batched else parameter.value
                value.copy_(weights[parameter.name].view_as(value))
        _copy(self.best, self.values())

    # -- a checkpoint ------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All values, those of the optimizer included: tensors, and plain values."""
        self._synchronise()
        tensors = {key: value for parameter in self.parameters for key, value in parameter.tensors()}
        tensors |= {f"buffer/{place}": buffer.value for place, buffer in enumerate(self._buffers())}
        tensors |= {f"best/{place}": value for place, value in enumerate(self.best)}
        now, values = HeldStates.now(self.held).packed("held/")
        best, best_values = self.best_held.packed("best-held/")
        return tensors | now | best, {"held": values, "best_held": best_values} if self.held else {}

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from `state()`; raises KeyError, ValueError or RuntimeError if it is another population's."""
        for parameter in self.parameters:
            for key, value in parameter.tensors():
                value.copy_(tensors[key])
        for place, buffer in enumerate(self._buffers()):
            buffer.value.copy_(tensors[f"buffer/{place}"])
        for place, value in enumerate(self.best):
            value.copy_(tensors[f"best/{place}"])
        now = HeldStates.now(self.held)
        for states, key in ((now, "held"), (self.best_held, "best_held")):
            states.unpack(tensors, values.get(key, ()), self.device)
        now.put_back()

    def _states(self, best: bool) -> HeldStates:
        return self.best_held if best else HeldStates.now(self.held)

    def _buffers(self) -> list[Buffer]:
        return [buffer for layer in self.layers for buffer in layer.buffers]

    def _names(self) -> list[str]:
        """The names in a file of all that `values` returns."""
        names = [parameter.name for parameter in self.parameters]
        for place, layer in enumerate(self.layers):
            names += [f"layer-{place}.{buffer.name}" for buffer in layer.buffers]
        return names

    def _synchronise(self) -> None:
        """Bring every parameter's value up to date with the kernels' copy."""
        if self.kernels is not None:
            self.kernels.synchronise()


def _copy(targets: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for target, value in zip(targets, values, strict=True):
        target.copy_(value)
