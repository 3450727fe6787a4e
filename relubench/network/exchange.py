"""Exchanges the activations of a network that somebody else wrote, wherever its forward calls one.

Modules (nn.ReLU) and functional calls (F.relu, x.relu_()) end in the same few functions of torch, and a
`TorchFunctionMode` sees every call of those while a forward runs: a module that is used twice counts twice, and control
flow of any kind is followed. A place is known by the innermost module's path and by how many calls that module made
before in the same forward.

`survey` runs the network once in training and once in evaluation, to find the places and what becomes of each. A call
of a function in `NAMES` is exchanged, but for

- gates: a (hard) sigmoid whose result multiplies another tensor that depends on the images (squeeze-excitation),
- what does not depend on the images (Swin v2's position bias),
- what gives the network's output itself.

Softmax is never an activation here. Refused is what cannot be exchanged, or not be told from an activation: functions
in `HANDMADE`, a product of a result and its own input (x*sigmoid(x)), a hard sigmoid made of relu6, one function of
another's result, fused recurrent layers, calls out of autograd's sight, calls repeated in the backward pass.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from relubench.errors import ComputeError, UsageError

NAMES = (
    *("relu", "relu6", "leaky_relu", "prelu", "rrelu", "threshold", "hardtanh", "elu", "selu", "celu"),
    *("gelu", "silu", "mish", "softplus", "hardswish", "logsigmoid", "log_sigmoid"),
    *("tanh", "tanhshrink", "softsign", "softshrink", "hardshrink", "sigmoid", "hardsigmoid", "expit"),
)
"""Functions that are activations, each also in its in-place form."""

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
SCALINGS = (*PRODUCTS, "div", "divide", "true_divide", "add", "sub", "rsub", "neg", "__rsub__")

Place = tuple[str, int]


def _functions(names: Sequence[str]) -> dict[Any, str]:
    """Every function object that goes by one of the names -> the name, without the underscore of in-place forms."""
    owners: tuple[Any, ...] = (F, torch, torch.Tensor, torch.special, vars(torch._C)["_nn"])
    return {
        getattr(owner, form): name
        for name in names
        for form in (name, f"{name}_")
        for owner in owners
        if hasattr(owner, form)
    }


_ACTIVATIONS, _HANDMADE, _COMPARISONS = _functions(NAMES), _functions(HANDMADE), _functions(COMPARISONS)
_PRODUCTS, _SCALINGS = _functions(PRODUCTS), _functions(SCALINGS)
_INPLACE_ARGUMENT = {
    func: list(inspect.signature(func).parameters).index("inplace")
    for func in _ACTIVATIONS
    if inspect.isfunction(func) and "inplace" in inspect.signature(func).parameters
}


@dataclass(slots=True)
class Use:
    """A place where the network calls an activation."""

    place: Place
    function: str
    values: int
    """Entries of its result for one image."""
    kept: str = ""
    """Why it stays as it is, in a word or two; '' if it is exchanged."""
    aliased: bool = False
    """Whether it is in place, and its input is used again: then the exchanged one is written there, too."""

    def __str__(self) -> str:
        return _spoken(self.function, self.place)


class Places:
    """Follows a network's forward: which module is at work, and how many calls it has made."""

    def __init__(self, network: nn.Module) -> None:
        self.stack: list[str] = []
        self.counts: dict[str, int] = {}
        self.handles = []
        for path, module in network.named_modules():
            self.handles.append(module.register_forward_pre_hook(partial(self._enter, path)))
            self.handles.append(module.register_forward_hook(self._leave, always_call=True))

    def start(self) -> None:
        """A forward begins."""
        self.stack.clear()
        self.counts.clear()

    def next(self) -> Place:
        """The place of a call that is being made."""
        path = self.stack[-1] if self.stack else ""
        number = self.counts.get(path, 0)
        self.counts[path] = number + 1
        return path, number

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()

    def _enter(self, path: str, module: nn.Module, inputs: Any) -> None:
        self.stack.append(path)

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.stack.pop()


def survey(network: nn.Module, images: Tensor, label: str) -> list[Use]:
    """Every call of an activation in the network's forward on `images` [B, ...], in the order of the first call.

    The network is left as it was, its buffers included. Raises UsageError for what cannot be exchanged.
    """
    for path, module in network.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise UsageError(
                f"{label}: {path or 'the network'} is compiled by TorchScript, and its activations cannot be seen",
                "name the class itself, not what torch.jit made of it",
            )
    found = _Survey(network, len(images))
    buffers = {name: one.clone() for name, one in network.named_buffers()}
    wanted = {one: one.requires_grad for one in network.parameters()}
    mode = network.training
    try:
        for one in wanted:
            one.requires_grad_(False)  # So that whatever requires a gradient depends on the images.
        for training in (True, False):
            network.train(training)
            found.run(images.clone().requires_grad_())
    finally:
        network.train(mode)
        for one, wants in wanted.items():
            one.requires_grad_(wants)
        with torch.no_grad():
            for name, one in network.named_buffers():
                one.copy_(buffers[name])
        found.places.remove()
    if found.refused:
        raise UsageError(
            f"{label}: these calls cannot be exchanged: {'; '.join(dict.fromkeys(found.refused))}",
            "write activations as modules or functions of torch.nn (nn.SiLU, F.relu, F.hardswish), and attention with "
            "F.softmax",
        )
    uses = list(found.uses.values())
    if all(use.kept for use in uses):
        raise UsageError(f"{label} calls no activation that could be exchanged", "see `relubench list models`")
    return uses


@dataclass(slots=True)
class _Result:
    """A result that is being followed: an activation's own, or a multiple of it."""

    use: Use
    source: Tensor
    value: Tensor
    """Held, as `source` is, so that no other tensor takes its address."""


class _Survey(TorchFunctionMode):
    def __init__(self, network: nn.Module, batch: int) -> None:
        super().__init__()
        self.network, self.batch, self.places = network, batch, Places(network)
        self.uses: dict[Place, Use] = {}
        self.refused: list[str] = []
        self.backward = False
        self.results: dict[int, _Result] = {}
        self.overwritten: dict[int, tuple[Use, Tensor]] = {}

    def run(self, x: Tensor) -> None:
        self.places.start()
        self.results, self.overwritten, self.backward = {}, {}, False
        with torch.enable_grad(), self:
            y = self.network(x)
            if not isinstance(y, Tensor) or not y.requires_grad:
                return
            if (result := self.results.get(_storage(y))) is not None:
                result.use.kept = "the output"
            self.backward = True
            total = y.sum()
            # What torch.autograd.grad calls: as a torch function itself, that would hide what happens inside it.
            engine: Any = torch.autograd.Variable._execution_engine
            engine.run_backward((total,), (torch.ones_like(total),), False, False, (x,), True, accumulate_grad=False)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [one for one in _flat((args, kwargs)) if isinstance(one, Tensor)]
        if getattr(func, "__name__", "") != "__get__":
            for one in tensors:
                if (overwritten := self.overwritten.get(_storage(one))) is not None:
                    overwritten[0].aliased = True
        if func in _ACTIVATIONS:
            return self._activation(func, args, kwargs)
        data = [one for one in tensors if one.requires_grad]
        if func in _PRODUCTS and len(data) == 2:
            self._product(*data)
        found = func(*args, **kwargs)
        self._check(func, args, data, found)
        if func in _SCALINGS and len(data) == 1 and isinstance(found, Tensor):
            self._scaling(func, data[0], found)
        return found

    def _activation(self, func: Any, args: Any, kwargs: Any) -> Any:
        name, place = _ACTIVATIONS[func], self.places.next()
        x = args[0] if args else kwargs["input"]
        rest = {key: value for key, value in kwargs.items() if key != "input"}
        # In its in-place form, on a copy: whether anybody looks at what it overwrites is seen afterwards.
        inplace = _in_place(func, args, kwargs)
        if self.backward:
            self.refused.append(f"{_spoken(name, place)} repeated in the backward pass (checkpointing)")
        elif not torch.is_grad_enabled():
            self.refused.append(f"{_spoken(name, place)} without autograd (no_grad or an autograd.Function)")
        h = func(x.clone() if inplace else x, *args[1:], **rest)
        use = self.uses.setdefault(place, Use(place, name, h.numel() // self.batch))
        if not x.requires_grad:
            use.kept = use.kept or "not of the images"
            return h
        if (before := self.results.get(_storage(x))) is not None and before.use.function != name:
            self.refused.append(f"{_spoken(name, place)} of a result of {before.use}")
        self.results[_storage(h)] = _Result(use, x, h)
        if inplace:
            self.overwritten[_storage(x)] = (use, x)
        return h

    def _product(self, a: Tensor, b: Tensor) -> None:
        for one, other in ((a, b), (b, a)):
            result = self.results.get(_storage(one))
            if result is None:
                continue
            if other.data_ptr() == result.source.data_ptr() and other.shape == result.source.shape:
                self.refused.append(f"{result.use} times its own input")
            elif result.use.function in SIGMOIDS:
                result.use.kept = "a gate"

    def _scaling(self, func: Any, x: Tensor, found: Tensor) -> None:
        result = self.results.get(_storage(x))
        if result is None:
            return
        if result.use.function in BOUNDED and _SCALINGS[func] in ("mul", "multiply", "div", "divide", "true_divide"):
            self.refused.append(f"{result.use} scaled by a number, as in a hard sigmoid")
        if result.use.function in SIGMOIDS:
            self.results.setdefault(_storage(found), _Result(result.use, result.source, found))

    def _check(self, func: Any, args: Any, data: list[Tensor], found: Any) -> None:
        name = _HANDMADE.get(func)
        if name is None and getattr(func, "__name__", "") in ("max", "min") and len(args) > 1:
            name = func.__name__ if isinstance(args[1], Tensor) else None
        if name is None and func in _COMPARISONS and isinstance(found, Tensor) and found.dim():
            name = _COMPARISONS[func]
        if name is not None and data and not self.backward:
            self.refused.append(_spoken(name, (self.places.stack[-1] if self.places.stack else "", 0)))


class Exchange(TorchFunctionMode):
    """While it is entered, the network's activations are `functions`: one for each use that is not kept."""

    def __init__(
        self, network: nn.Module, uses: Sequence[Use], functions: Sequence[Callable[[Tensor], Tensor]]
    ) -> None:
        super().__init__()
        self.places = Places(network)
        self.kept = {use.place for use in uses if use.kept}
        exchanged = [use for use in uses if not use.kept]
        self.table = {
            use.place: (number, use, one) for number, (use, one) in enumerate(zip(exchanged, functions, strict=True))
        }
        self.zeros: Tensor | None = None
        """Shares of exact zeros [uses] that results add to, where they are to be counted."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in _ACTIVATIONS:
            return func(*args, **kwargs)
        place = self.places.next()
        if place in self.kept:
            return func(*args, **kwargs)
        if place not in self.table:
            raise ComputeError(
                f"{_spoken(_ACTIVATIONS[func], place)} was never called before training: "
                "the network takes another path with these images",
                "let every image take the same activations, or name another --model",
            )
        number, use, function = self.table[place]
        x = args[0] if args else kwargs["input"]
        h = function(x.clone() if use.aliased else x)
        if self.zeros is not None:
            self.zeros[number] += (h == 0).sum(dtype=self.zeros.dtype) / h.numel()
        return x.copy_(h) if use.aliased else h


def _in_place(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether the call overwrites its input: relu_, or relu with `inplace`, by name or by position."""
    place = _INPLACE_ARGUMENT.get(func, len(args))
    return func.__name__.endswith("_") or bool(args[place] if place < len(args) else kwargs.get("inplace", False))


def _storage(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def _flat(value: Any) -> list[Any]:
    if isinstance(value, (tuple, list)):
        return [one for part in value for one in _flat(part)]
    if isinstance(value, dict):
        return [one for part in value.values() for one in _flat(part)]
    return [value]


def _spoken(function: str, place: Place) -> str:
    path, number = place
    where = f"in {path}" if path else "in forward"
    return f"{function} {where}" + (f" (call {number + 1})" if number else "")
