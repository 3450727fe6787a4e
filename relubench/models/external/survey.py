"""Finds where a network that somebody else wrote calls activations, and what becomes of each; see `exchange`.

`survey` runs the network once in training and once in evaluation, under a `TorchFunctionMode` that sees every call of
a function of torch: a module that is used twice counts twice, and control flow of any kind is followed. A call of a
function in `NAMES` is exchanged, but for

- gates: a (hard) sigmoid whose result multiplies another tensor that depends on the images (squeeze-excitation),
- what does not depend on the images (Swin v2's position bias),
- what gives the network's output itself,
- what `keep` names.

A sigmoid times its own input (x*sigmoid(x), also x*sigmoid(1.702*x) and x*tanh(softplus(x))) is one activation: their
product is exchanged; so are those that are written out of elementary functions (see `handwritten`). Softmax is never
an activation here. Refused is what cannot be exchanged, or not be told from an activation: other functions in
`HANDMADE`, a hard sigmoid made of relu6 that is no gate, one function of another's result, fused recurrent layers,
calls out of autograd's sight, calls repeated in the backward pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from relubench.errors import UsageError
from relubench.models.external.calls import (
    ACTIVATIONS,
    Place,
    Places,
    Use,
    flat,
    function_name,
    functions_of,
    in_place,
    place_name,
    spoken,
    storage,
    undisturbed,
)
from relubench.models.external.kept_activations import ASKED, check_kept, check_refused, matches
from relubench.models.external.outputs import class_scores
from relubench.models.external.written_out import Tracker

SIGMOIDS = ("sigmoid", "hardsigmoid", "expit")
BOUNDED = ("relu6", "hardtanh")
"""Of these, scaled by a number, hard sigmoids are made by hand."""

HANDMADE = (
    *("clamp", "clip", "clamp_min", "clamp_max", "maximum", "minimum", "fmax", "fmin", "where", "heaviside"),
    *("erf", "exp", "exp2", "expm1", "log1p", "logaddexp", "sin", "cos", "atan", "arctan", "asinh", "arcsinh", "glu"),
    *("rnn_tanh", "rnn_relu", "lstm", "gru", "rnn_tanh_cell", "rnn_relu_cell", "lstm_cell", "gru_cell"),
)
"""Functions of the images' features that activations are written with, or that hide one."""
COMPARISONS = ("gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal")

PRODUCTS = ("mul", "multiply")
QUOTIENTS = ("div", "divide", "true_divide")
SCALINGS = (*PRODUCTS, *QUOTIENTS, "add", "sub", "rsub", "neg", "__rsub__")

_HANDMADE, _COMPARISONS = functions_of(HANDMADE), functions_of(COMPARISONS)
_PRODUCTS, _SCALINGS = functions_of(PRODUCTS), functions_of(SCALINGS)


def survey(
    network: nn.Module,
    images: Tensor,
    label: str,
    *,
    keep: Sequence[str] = (),
    merged: Collection[str] = (),
    classes: int | None = None,
) -> list[Use]:
    """Every call of an activation in the network's forward on `images` [B, ...], in the order of the first call.

    `keep`: patterns of places that stay; `merged`: see `Places`. The network is left as it was, its buffers included.
    Raises UsageError for what cannot be exchanged.
    """
    for path, module in network.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise UsageError(
                f"{label}: {path or 'the network'} is compiled by TorchScript, and its activations cannot be seen",
                "name the class itself, not what torch.jit made of it",
            )
    seen = _Survey(network, len(images), keep, merged, classes)
    wanted = {one: one.requires_grad for one in network.parameters()}
    try:
        with undisturbed(network):
            for one in wanted:
                one.requires_grad_(False)  # So that whatever requires a gradient depends on the images.
            for training in (True, False):
                network.train(training)
                seen.run(images.clone().requires_grad_())
    finally:
        for one, wants in wanted.items():
            one.requires_grad_(wants)
        seen.places.remove()
    check_refused(seen.refusals(), label)
    uses = list(seen.uses.values())
    check_kept(keep, uses, seen.names, label)
    if all(use.kept for use in uses):
        raise UsageError(
            f"{label} calls no activation that could be exchanged",
            "write activations as modules or functions of torch.nn, such as nn.ReLU() or F.gelu(x)",
        )
    return uses


@dataclass(slots=True)
class _Result:
    """A result that is being followed: an activation's own, or a multiple of it."""

    use: Use
    source: Tensor
    value: Tensor
    """Held, as `source` is, so that no other tensor takes its address."""
    own: bool
    """Whether it is the activation's own."""


@dataclass(slots=True)
class _Refusal:
    name: str
    text: str
    use: Use | None = None
    unless: str = ""
    """What the use may turn out to be after all: 'a gate' or 'a product'."""
    repeated: bool = False
    """Whether the backward pass made the call; `name` is then the function's."""
    step: int = 0
    """The elementwise call that gave rise to it, if one did."""


class _Survey(TorchFunctionMode):
    def __init__(
        self, network: nn.Module, batch: int, keep: Sequence[str], merged: Collection[str], classes: int | None
    ) -> None:
        super().__init__()
        self.network, self.batch, self.keep, self.classes = network, batch, keep, classes
        self.places = Places(network, merged)
        self.uses: dict[Place, Use] = {}
        self.refused: list[_Refusal] = []
        self.names: dict[str, None] = {}
        """Of every place that `keep` can name."""
        self.backward = False
        self.results: dict[int, _Result] = {}
        self.sources: dict[int, list[tuple[Use, Tensor]]] = {}
        self.scaled: dict[int, tuple[Tensor, Tensor]] = {}
        """Storage of a multiple of a tensor -> that multiple and the tensor."""
        self.made: dict[int, tuple[Use, Tensor]] = {}
        """Products of a result and its own input."""
        self.overwritten: dict[int, tuple[Use, Tensor]] = {}
        self.tracker = Tracker()
        self.called: dict[int, Use] = {}
        """Step -> the activation that it is."""

    def run(self, x: Tensor) -> None:
        self.places.start()
        self.results, self.overwritten, self.sources, self.scaled, self.made = {}, {}, {}, {}, {}
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
        refused = frozenset(one.step for one in self.refused if one.step)
        for one in list(self.tracker.largest(refused, {step: use.function for step, use in self.called.items()})):
            path = one.chain.last[0]
            if path in self.places.merged:
                continue
            called = f"{path}.{one.function}".strip(".")
            place = called, counts[called]
            counts[called] += 1
            use = self.uses.setdefault(place, Use(place, one.function, one.result.numel() // self.batch))
            use.chains[self.network.training] = one.chain
            self.names[use.name] = None
            if matches(use.name, self.keep) or matches(place_name((path, 0)), self.keep):
                use.kept = ASKED
            elif y is not None and storage(y) == storage(one.result):
                use.kept = use.kept or "the output"
            for inner in {
                id(self.called[step]): self.called[step] for step in one.inside & self.called.keys()
            }.values():
                inner.kept, inner.product = inner.kept or f"part of a {one.function} written out", False
            self.refused = [item for item in self.refused if item.step not in one.inside]

    def refusals(self) -> list[str]:
        """What is refused, but for what stays by the user's wish or turned out to be something else."""
        return [one.text for one in self.refused if not self._stays(one)]

    def _stays(self, one: _Refusal) -> bool:
        if one.repeated:
            return all(use.kept == ASKED for use in self.uses.values() if use.function == one.name)
        if matches(one.name, self.keep):
            return True
        return one.use is not None and bool(one.unless) and one.unless in (one.use.kept, "a product" * one.use.product)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.backward or (after := self.tracker.before(func, args, self.places.here)) is None:
            return self._call(func, args, kwargs)
        first, number = len(self.refused), self.tracker.number
        h = self._call(func, args, kwargs)
        for one in self.refused[first:]:
            one.step = number
        after(h, kwargs)
        return h

    def _call(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        tensors = [one for one in flat((args, kwargs)) if isinstance(one, Tensor)]
        if getattr(func, "__name__", "") != "__get__":
            for one in tensors:
                if (overwritten := self.overwritten.get(storage(one))) is not None:
                    overwritten[0].aliased = True
        if func in ACTIVATIONS:
            return self._activation(func, args, kwargs)
        data = [one for one in tensors if one.requires_grad]
        product = self._product(func, *data) if func in _PRODUCTS and len(data) == 2 else None
        before = [_version(one) for one in tensors]
        h = func(*args, **kwargs)
        for one, version in zip(tensors, before, strict=True):
            if _version(one) != version:
                self._written(one)
        if product is not None:
            self.made[storage(h)] = (product, h)
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
        use = self.uses.setdefault(place, Use(place, name, h.numel() // self.batch))
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

    def _chained(self, use: Use, before: _Result, place: Place, x: Tensor) -> Tensor:
        """A function of another's result: refused, but for tanh(softplus(x)) where x*tanh(softplus(x)) comes of it."""
        text = f"{use} of a result of {before.use}"
        mish = (use.function, before.use.function) == ("tanh", "softplus")
        self.refused.append(_Refusal(use.name, text, use, "a product" if mish else ""))
        if not mish:
            return x
        before.use.kept = before.use.kept or "part of an x*tanh(softplus(x))"
        return before.source

    def _refuse(self, place: Place, text: str) -> None:
        self.names[place_name(place)] = None
        self.refused.append(_Refusal(place_name(place), text))

    def _written(self, x: Tensor) -> None:
        """The network has written into `x`."""
        place = storage(x)
        if (result := self.results.get(place)) is not None and result.own:
            result.use.overwritten = True
        if (made := self.made.get(place)) is not None:
            made[0].overwritten = True
        for use, _ in self.sources.get(place, ()):
            use.input_overwritten = True

    def _product(self, func: Any, a: Tensor, b: Tensor) -> Use | None:
        """What it says of an activation's result that it is multiplied; the use if the product is to be exchanged."""
        for one, other in ((a, b), (b, a)):
            result = self.results.get(storage(one))
            if result is None or result.use.kept == ASKED:
                continue
            source = result.source
            _, root = self.scaled.get(storage(source), (source, source))
            if any(other.data_ptr() == it.data_ptr() and other.shape == it.shape for it in (source, root)):
                whole = one is result.value and result.own and not (in_place(func, (), {}) or result.use.aliased)
                if whole and result.use.function in (*SIGMOIDS, "tanh"):
                    result.use.product = True
                    self.sources.setdefault(storage(other), []).append((result.use, other))
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
