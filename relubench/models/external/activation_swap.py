"""Exchanges the activations of a network that somebody else wrote, wherever its forward calls one; see `survey`.

A `TorchFunctionMode` sees every call of those functions while a forward runs. Networks write into what their own
activations gave (dropout in place, `x += y`): that is safe behind a function whose gradient needs its input, and spoils
one that needs its output. So the exchanged function hands out a copy wherever the survey saw it written into.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from relubench.errors import ComputeError
from relubench.models.external.calls import (
    ACTIVATIONS,
    SCRIPTED,
    CallSite,
    CallSiteTracker,
    function_name,
    functions_of,
    in_place,
    spoken,
)
from relubench.models.external.scripts import ScriptOpeningMode
from relubench.models.external.survey_mode import PRODUCTS
from relubench.models.external.written_out import Steps, is_step, step_name

_PRODUCTS = functions_of(PRODUCTS)

Function = Callable[[Tensor], Tensor]


class ActivationSwap(ScriptOpeningMode):
    """While it is entered, the network's activations are `functions`: one for each use that is not kept."""

    def __init__(
        self,
        network: nn.Module,
        uses: Sequence[CallSite],
        functions: Sequence[Function],
        merged: Sequence[str] = (),
        overwriting: Function | None = None,
    ) -> None:
        """`overwriting`: the activation written over its input, as autograd can follow it, if there is such one."""
        super().__init__(SCRIPTED)
        self.overwriting = overwriting
        self.places = CallSiteTracker(network, merged)
        self.kept = {use.place for use in uses if use.kept}
        exchanged = [use for use in uses if not use.kept]
        self.table = {
            use.place: (number, use, function)
            for number, (use, function) in enumerate(zip(exchanged, functions, strict=True))
        }
        self.products: list[tuple[Tensor, CallSite, int, Function]] = []
        """Results that are to be multiplied with their own input: then that product is exchanged."""
        self.network, self.steps = network, Steps()
        self.chained = [(number, use, function) for number, use, function in self.table.values() if use.chains]
        self.inputs: dict[int, Tensor] = {}
        """Of written-out activations that have begun, by their numbers."""
        self.ended: set[int] = set()
        self.zeros: Tensor | None = None
        """Shares of exact zeros [uses] that results add to, where they are to be counted."""

    def start(self) -> None:
        """A forward begins."""
        self.places.start()
        self.products.clear()
        self.steps.start()
        self.inputs.clear()
        self.ended.clear()

    def finish(self) -> None:
        """A forward has ended: every written-out activation was exchanged in it, or ComputeError is raised."""
        for number, use, _ in self.chained:
            if self.network.training in use.chains and number not in self.ended:
                raise _elsewhere(f"{use} was called before training, and not now")

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.chained and is_step(func):
            ended = self._step(func, args)
            if ended is not None:
                return ended
        if func not in ACTIVATIONS:
            if self.products and func in _PRODUCTS and len(args) == 2:
                return self._product(func, args[0], args[1], kwargs)
            return func(*args, **kwargs)
        name = function_name(func, args, kwargs)
        place = self.places.next(name)
        if place in self.kept:
            return func(*args, **kwargs)
        if place not in self.table:
            raise _elsewhere(f"{spoken(name, place)} was never called before training")
        number, use, function = self.table[place]
        if use.product:
            h = func(*args, **kwargs)
            self.products.append((h, use, number, function))
            return h
        x = args[0] if args else kwargs["input"]
        if (
            self.overwriting is not None
            and in_place(func, args, kwargs)
            and not (use.overwritten or use.input_overwritten)
        ):
            # The network's own call keeps no copy either, and new storage of that size costs more than the activation.
            return self._applied(number, use, self.overwriting, x)
        h = self._applied(number, use, function, x.clone() if use.aliased or use.input_overwritten else x)
        if use.aliased:
            return x.copy_(h)
        return h.clone() if use.overwritten else h

    def sealed(self, name: str, tensors: list[Tensor]) -> None:
        """A function of TorchScript that stays as it is by the user's wish counts as a place."""
        self.places.next(name)

    def _step(self, func: Any, args: Sequence[Any]) -> Tensor | None:
        """Follow a step of written-out activations: the result where one ends, else None."""
        step = self.steps.next(self.places.here)
        for number, use, function in self.chained:
            chain = use.chains.get(self.network.training)
            if chain is None:
                continue
            if step == chain.first:
                self.inputs[number] = args[chain.argument].clone()  # The steps may write into it.
            if step == chain.last and step_name(func) == chain.name and number in self.inputs:
                self.ended.add(number)
                # A copy: the network may write into it.
                h = self._applied(number, use, function, self.inputs.pop(number)).clone()
                return args[0].copy_(h) if in_place(func, args, {}) else h
        return None

    def _product(self, func: Any, a: Any, b: Any, kwargs: dict[str, Any]) -> Any:
        for place, (h, use, number, function) in enumerate(self.products):
            if a is h or b is h:
                del self.products[place]
                x = b if a is h else a
                result = self._applied(number, use, function, x.clone() if use.input_overwritten else x)
                return result.clone() if use.overwritten else result
        return func(a, b, **kwargs)

    def _applied(self, number: int, use: CallSite, function: Function, x: Tensor) -> Tensor:
        """The exchanged function's result, its zeros counted; its error says at which place it failed."""
        try:
            h = function(x)
        except Exception as problem:
            units = f"{x.shape[1]} {'channels' if x.dim() > 2 else 'units'}" if x.dim() > 1 else "no units"
            problem.add_note(f"in the place of {use}, which has {units}")
            raise
        if self.zeros is not None:
            self.zeros[number] += (h == 0).sum(dtype=self.zeros.dtype) / h.numel()
        return h


def _elsewhere(what: str) -> ComputeError:
    return ComputeError(
        f"{what}: the network takes another path now",
        "let every forward call the same activations; a layer that is left out by chance needs a module of its own, "
        "with its activation inside",
    )
