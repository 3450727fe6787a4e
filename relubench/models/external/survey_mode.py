"""The mode under which the calls of activations in somebody else's forward are found and judged; see `survey`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from relubench.models.external.calls import (
    ACTIVATIONS,
    HANDMADE,
    SCRIPTED,
    CallSite,
    CallSiteId,
    CallSiteTracker,
    flat,
    function_name,
    functions_of,
    in_place,
    place_name,
    spoken,
    storage,
)
from relubench.models.external.kept_activations import ASKED, matches
from relubench.models.external.outputs import class_scores
from relubench.models.external.scripts import ScriptOpeningMode
from relubench.models.external.written_out import Tracker

SIGMOIDS = ("sigmoid", "hardsigmoid", "expit")
BOUNDED = ("relu6", "hardtanh")
"""Of these, scaled by a number, hard sigmoids are made by hand."""

COMPARISONS = ("gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal")

PRODUCTS = ("mul", "multiply")
QUOTIENTS = ("div", "divide", "true_divide")
SCALINGS = (*PRODUCTS, *QUOTIENTS, "add", "sub", "rsub", "neg", "__rsub__")

_HANDMADE, _COMPARISONS = functions_of(HANDMADE), functions_of(COMPARISONS)
_PRODUCTS, _SCALINGS = functions_of(PRODUCTS), functions_of(SCALINGS)


@dataclass(slots=True)
class _Result:
    """A result that is being followed: an activation's own, or a multiple of it."""

    use: CallSite
    source: Tensor
    value: Tensor
    """Held, as `source` is, so that no other tensor takes its address."""
    own: bool
    """Whether it is the activation's own."""


@dataclass(slots=True)
class _Refusal:
    name: str
    text: str
    use: CallSite | None = None
    unless: str = ""
    """What the use may turn out to be after all: 'a gate' or 'a product'."""
    repeated: bool = False
    """Whether the backward pass made the call; `name` is then the function's."""
    step: int = 0
    """The elementwise call that gave rise to it, if one did."""


class SurveyMode(ScriptOpeningMode):
    """Sees every call of a function of torch in a forward, and notes which are activations and what becomes of them."""

    def __init__(
        self, network: nn.Module, batch: int, keep: Sequence[str], merged: Collection[str], classes: int | None
    ) -> None:
        super().__init__(SCRIPTED)
        self.network, self.batch, self.keep, self.classes = network, batch, keep, classes
        self.places = CallSiteTracker(network, merged)
        self.uses: dict[CallSiteId, CallSite] = {}
        self.refused: list[_Refusal] = []
        self.names: dict[str, None] = {}
        """Of every place that `keep` can name."""
        self.backward = False
        self.results: dict[int, _Result] = {}
        self.sources: dict[int, list[tuple[CallSite, Tensor]]] = {}
        self.scaled: dict[int, tuple[Tensor, Tensor]] = {}
        """Storage of a multiple of a tensor -> that multiple and the tensor."""
        self.products: dict[int, tuple[CallSite, Tensor]] = {}
        """Products of a result and its own input."""
        self.overwritten: dict[int, tuple[CallSite, Tensor]] = {}
        self.tracker = Tracker()
        self.called: dict[int, CallSite] = {}
        """Step -> the activation that it is."""

    def run(self, x: Tensor) -> None:
        self.places.start()
        self.results, self.overwritten, self.sources, self.scaled, self.products = {}, {}, {}, {}, {}
        self.backward = False
        self.tracker, self.called, before = Tracker(), {}, self.refused
        self.refused = []
        with torch.enable_grad(), self:
            y = class_scores(self.network(x), self.batch, self.classes)
            self._write_out(y)
            self.refused = before + self.refused
            if y is None or not y.requires_grad:
                return
            if (result := self.results.get(storage(y))) is not None and not result.use.product:
                result.use.kept = result.use.kept or "the output"
            self.backward = True
            total = y.sum()
            # What torch.autograd.grad calls: as a torch function itself, that would hide what happens inside it.
            engine: Any = torch.autograd.Variable._execution_engine
            engine.run_backward((total,), (torch.ones_like(total),), False, False, (x,), True, accumulate_grad=False)

    def _write_out(self, y: Tensor | None) -> None:
        """Make one use of the steps of each written-out activation, instead of refusing or exchanging them alone."""
        counts: Counter[str] = Counter()
        refused = frozenset(refusal.step for refusal in self.refused if refusal.step)
        for written in list(self.tracker.largest(refused, {step: use.function for step, use in self.called.items()})):
            path = written.chain.last[0]
            if path in self.places.merged:
                continue
            called = f"{path}.{written.function}".strip(".")
            place = called, counts[called]
            counts[called] += 1
            use = self.uses.setdefault(place, CallSite(place, written.function, written.result.numel() // self.batch))
            use.chains[self.network.training] = written.chain
            self.names[use.name] = None
            if matches(use.name, self.keep) or matches(place_name((path, 0)), self.keep):
                use.kept = ASKED
            elif y is not None and storage(y) == storage(written.result):
                use.kept = use.kept or "the output"
            for inner in {
                id(self.called[step]): self.called[step] for step in written.inside & self.called.keys()
            }.values():
                inner.kept, inner.product = inner.kept or f"part of a {written.function} written out", False
            self.refused = [item for item in self.refused if item.step not in written.inside]

    def refusals(self) -> list[str]:
        """What is refused, but for what stays by the user's wish or turned out to be something else."""
        return [refusal.text for refusal in self.refused if not self._stays(refusal)]

    def _stays(self, refusal: _Refusal) -> bool:
        if refusal.repeated:
            return all(use.kept == ASKED for use in self.uses.values() if use.function == refusal.name)
        if matches(refusal.name, self.keep):
            return True
        if refusal.use is None or not refusal.unless:
            return False
        return refusal.unless == refusal.use.kept or (refusal.unless == "a product" and refusal.use.product)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.backward or (after := self.tracker.before(func, args, self.places.here)) is None:
            return self._call(func, args, kwargs)
        first, number = len(self.refused), self.tracker.number
        h = self._call(func, args, kwargs)
        for refusal in self.refused[first:]:
            refusal.step = number
        after(h, kwargs)
        return h

    def _call(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        tensors = [value for value in flat((args, kwargs)) if isinstance(value, Tensor)]
        if getattr(func, "__name__", "") != "__get__":
            for tensor in tensors:
                if (overwritten := self.overwritten.get(storage(tensor))) is not None:
                    overwritten[0].aliased = True
        if func in ACTIVATIONS:
            return self._activation(func, args, kwargs)
        data = [tensor for tensor in tensors if tensor.requires_grad]
        product = self._product(func, *data) if func in _PRODUCTS and len(data) == 2 else None
        before = [_version(tensor) for tensor in tensors]
        h = func(*args, **kwargs)
        for tensor, version in zip(tensors, before, strict=True):
            if _version(tensor) != version:
                self._written(tensor)
        if product is not None:
            self.products[storage(h)] = (product, h)
        self._check(func, args, data, h)
        if func in _SCALINGS and len(data) == 1 and isinstance(h, Tensor):
            self._scaling(func, data[0], h)
        return h

    def _activation(self, func: Any, args: Any, kwargs: Any) -> Any:
        name = function_name(func, args, kwargs)
        place = self.places.next(name)
        x = args[0] if args else kwargs["input"]
        rest = {key: value for key, value in kwargs.items() if key != "input"}
        # In its in-place form, on a copy: whether anybody looks at what it overwrites is seen afterwards.
        inplace = in_place(func, args, kwargs)
        if self.backward:
            # Where it is repeated, nothing says which module asks for it: all calls of the function stay, or none.
            text = f"{spoken(name, place)} repeated in the backward pass (checkpointing)"
            self.refused.append(_Refusal(name, text, repeated=True))
            return func(*args, **kwargs)
        if not torch.is_grad_enabled():
            self._refuse(place, f"{spoken(name, place)} without autograd (no_grad or an autograd.Function)")
        h = func(x.clone() if inplace else x, *args[1:], **rest)
        use = self.uses.setdefault(place, CallSite(place, name, h.numel() // self.batch))
        self.names[use.name] = None
        if matches(use.name, self.keep):
            use.kept = ASKED
        if not x.requires_grad:
            use.kept = use.kept or "not of the images"
            return h
        source = x
        if (before := self.results.get(storage(x))) is not None and before.use.function != name:
            source = self._chained(use, before, place, x)
        if inplace:
            self._written(x)
            self.overwritten[storage(x)] = (use, x)
        self.sources.setdefault(storage(x), []).append((use, x))
        self.results[storage(h)] = _Result(use, source, h, own=True)
        self.called[self.tracker.number] = use
        return h

    def _chained(self, use: CallSite, before: _Result, place: CallSiteId, x: Tensor) -> Tensor:
        """A function of another's result: refused, but for tanh(softplus(x)) where x*tanh(softplus(x)) comes of it."""
        text = f"{use} of a result of {before.use}"
        mish = (use.function, before.use.function) == ("tanh", "softplus")
        self.refused.append(_Refusal(use.name, text, use, "a product" if mish else ""))
        if not mish:
            return x
        before.use.kept = before.use.kept or "part of an x*tanh(softplus(x))"
        return before.source

    def _refuse(self, place: CallSiteId, text: str) -> None:
        self.names[place_name(place)] = None
        self.refused.append(_Refusal(place_name(place), text))

    def sealed(self, name: str, tensors: list[Tensor]) -> None:
        """Refuse a function of TorchScript that stays closed; the same place is counted in `ActivationSwap`."""
        place = self.places.next(name)
        if any(tensor.requires_grad for tensor in tensors) or not torch.is_grad_enabled():
            self._refuse(place, f"{spoken(name, place)} inside a scripted function")

    def _written(self, x: Tensor) -> None:
        """The network has written into `x`."""
        place = storage(x)
        if (result := self.results.get(place)) is not None and result.own:
            result.use.overwritten = True
        if (product := self.products.get(place)) is not None:
            product[0].overwritten = True
        for use, _ in self.sources.get(place, ()):
            use.input_overwritten = True

    def _product(self, func: Any, a: Tensor, b: Tensor) -> CallSite | None:
        """What it says of an activation's result that it is multiplied; the use if the product is to be exchanged."""
        for factor, other_factor in ((a, b), (b, a)):
            result = self.results.get(storage(factor))
            if result is None or result.use.kept == ASKED:
                continue
            source = result.source
            _, root = self.scaled.get(storage(source), (source, source))
            if _is_same(other_factor, source) or _is_same(other_factor, root):
                is_result = factor is result.value and result.own and not (in_place(func, (), {}) or result.use.aliased)
                if is_result and result.use.function in (*SIGMOIDS, "tanh"):
                    result.use.product = True
                    self.sources.setdefault(storage(other_factor), []).append((result.use, other_factor))
                    return result.use
                self.refused.append(_Refusal(result.use.name, f"{result.use} times its own input"))
            elif result.use.function in (*SIGMOIDS, *BOUNDED) and not (result.own and result.use.function in BOUNDED):
                result.use.kept = "a gate"
        return None

    def _scaling(self, func: Any, x: Tensor, h: Tensor) -> None:
        result, name = self.results.get(storage(x)), _SCALINGS[func]
        _, root = self.scaled.get(storage(x), (x, x))
        self.scaled.setdefault(storage(h), (h, root))
        if result is None:
            return
        if result.use.function in BOUNDED and name in (*PRODUCTS, *QUOTIENTS):
            text = f"{result.use} scaled by a number, as in a hard sigmoid"
            self.refused.append(_Refusal(result.use.name, text, result.use, "a gate"))
        if result.use.function in (*SIGMOIDS, *BOUNDED):
            self.results.setdefault(storage(h), _Result(result.use, result.source, h, own=False))

    def _check(self, func: Any, args: Any, data: list[Tensor], h: Any) -> None:
        name = _HANDMADE.get(func)
        if name is None and getattr(func, "__name__", "") in ("max", "min") and len(args) > 1:
            name = func.__name__ if isinstance(args[1], Tensor) else None
        if name is None and func in _COMPARISONS and isinstance(h, Tensor) and h.dim():
            name = _COMPARISONS[func]
        if name is not None and data and not self.backward:
            self._refuse((self.places.here, 0), spoken(name, (self.places.here, 0)))


def _version(x: Tensor) -> int:
    """How often the tensor was written into; tensors of the inference mode do not count."""
    return -1 if x.is_inference() else x._version


def _is_same(x: Tensor, y: Tensor) -> bool:
    """Whether two tensors are the same values in memory."""
    return x.data_ptr() == y.data_ptr() and x.shape == y.shape
