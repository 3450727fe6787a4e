"""Calls of activations in somebody else's forward: which functions count, which call it is, how it is spoken of.

Modules (nn.ReLU) and functional calls (F.relu, x.relu_()) end in the same few functions of torch. A place is known by
the innermost module's path and by how many calls that module made before in the same forward. Where that number follows
the size of the batch (a network that works on parts of it), the calls of one function in that module are one place.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relubench.models.external.scripts import ScriptOpeningMode

NAMES = (
    *("relu", "relu6", "leaky_relu", "prelu", "rrelu", "threshold", "hardtanh", "elu", "selu", "celu"),
    *("gelu", "silu", "mish", "softplus", "hardswish", "logsigmoid", "log_sigmoid"),
    *("tanh", "tanhshrink", "softsign", "softshrink", "hardshrink", "sigmoid", "hardsigmoid", "expit"),
)
"""Functions that are activations, each also in its in-place form."""

CallSiteId = tuple[str, int]


def functions_of(names: Sequence[str]) -> dict[Any, str]:
    """Every function object that goes by one of the names -> the name, without the underscore of in-place forms."""
    owners: tuple[Any, ...] = (F, torch, torch.Tensor, torch.special, vars(torch._C)["_nn"])
    return {
        getattr(owner, form): name
        for name in names
        for form in (name, f"{name}_")
        for owner in owners
        if hasattr(owner, form)
    }


HANDMADE = (
    *("clamp", "clip", "clamp_min", "clamp_max", "maximum", "minimum", "fmax", "fmin", "where", "heaviside"),
    *("erf", "exp", "exp2", "expm1", "log1p", "logaddexp", "sin", "cos", "atan", "arctan", "asinh", "arcsinh", "glu"),
    *("rnn_tanh", "rnn_relu", "lstm", "gru", "rnn_tanh_cell", "rnn_relu_cell", "lstm_cell", "gru_cell"),
)
"""Functions of the images' features that activations are written with, or that hide one."""
SCRIPTED = (*NAMES, *HANDMADE)
"""What is looked for inside TorchScript."""
ACTIVATIONS = functions_of(NAMES)
_INPLACE_ARGUMENT = {
    func: list(inspect.signature(func).parameters).index("inplace")
    for func in ACTIVATIONS
    if inspect.isfunction(func) and "inplace" in inspect.signature(func).parameters
}


Step = tuple[str, int]
"""An elementwise call: the path of the module at work, and how many it made before in the same forward."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Where an activation that is written out of elementary functions begins and ends in a forward."""

    first: Step
    argument: int
    """Which argument of the first step is the activation's input."""
    last: Step
    name: str
    """Of the last step's function: where it is another, the network takes another path."""


@dataclass(slots=True)
class CallSite:
    """A place where the network calls an activation."""

    place: CallSiteId
    function: str
    values: int
    """Entries of its result for one image."""
    kept: str = ""
    """Why it stays as it is, in a word or two; '' if it is exchanged."""
    aliased: bool = False
    """Whether it is in place, and its input is used again: then the exchanged one is written there, too."""
    overwritten: bool = False
    """Whether the network writes into its result later: then it gives out a copy of what its gradient needs."""
    input_overwritten: bool = False
    """The same for its input."""
    product: bool = False
    """Whether its product with its own input is the activation (x*sigmoid(x)): then that product is exchanged."""
    chains: dict[bool, Chain] = field(default_factory=dict)
    """Of one that is written out: the steps from its input to its result, in training and in evaluation."""

    def __str__(self) -> str:
        return spoken(self.function, self.place)

    @property
    def name(self) -> str:
        """What `--keep-act` calls it: 'features.3.act', 'block#2' for the second call of a module, 'forward'."""
        return place_name(self.place)


class CallSiteTracker:
    """Follows a network's forward: which module is at work, and how many calls it has made.

    `merged`: paths of modules whose number of calls follows the size of the batch.
    """

    def __init__(self, network: nn.Module, merged: Collection[str] = ()) -> None:
        self.stack: list[str] = []
        self.counts: dict[str, int] = {}
        self.merged: dict[str, dict[str, int]] = {path: {} for path in merged}
        self.handles = []
        for path, module in network.named_modules():
            self.handles.append(module.register_forward_pre_hook(partial(self._enter, path)))
            self.handles.append(module.register_forward_hook(self._leave, always_call=True))

    def start(self) -> None:
        """A forward begins."""
        self.stack.clear()
        self.counts.clear()

    def next(self, function: str) -> CallSiteId:
        """The place of a call of `function` that is being made."""
        path = self.here
        number = self.counts.get(path, 0)
        self.counts[path] = number + 1
        if path in self.merged:
            return path, self.merged[path].setdefault(function, len(self.merged[path]))
        return path, number

    @property
    def here(self) -> str:
        """The path of the module that is at work; '' for the network itself."""
        return self.stack[-1] if self.stack else ""

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()

    def _enter(self, path: str, module: nn.Module, inputs: Any) -> None:
        self.stack.append(path)

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.stack.pop()


class _Counter(ScriptOpeningMode):
    def __init__(self, places: CallSiteTracker) -> None:
        super().__init__(SCRIPTED)
        self.places = places

    def sealed(self, name: str, tensors: list[Tensor]) -> None:
        self.places.next(name)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in ACTIVATIONS:
            self.places.next(ACTIVATIONS[func])
        return func(*args, **(kwargs or {}))


def count_calls(network: nn.Module, images: Tensor, training: bool) -> dict[str, int]:
    """How many activations each module calls in a forward on `images`, by path; the network is left as it was."""
    places = CallSiteTracker(network)
    try:
        with undisturbed(network), torch.no_grad(), _Counter(places):
            places.start()
            network.train(training)(images)
    finally:
        places.remove()
    return dict(places.counts)


@contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Afterwards the network's mode and buffers are as they were before."""
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    modes = {module: module.training for module in network.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                if name in buffers:
                    buffer.copy_(buffers[name])


def in_place(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether the call overwrites its input: relu_, or relu with `inplace`, by name or by position."""
    place = _INPLACE_ARGUMENT.get(func, len(args))
    return func.__name__.endswith("_") or bool(args[place] if place < len(args) else kwargs.get("inplace", False))


def storage(x: Tensor) -> int:
    """The address of the storage that a tensor is a view of."""
    return x.untyped_storage().data_ptr()


def flat(value: Any) -> list[Any]:
    """What lies in nested lists, tuples and dictionaries."""
    if isinstance(value, (tuple, list)):
        return [leaf for part in value for leaf in flat(part)]
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in flat(part)]
    return [value]


def function_name(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> str:
    """The activation that the call computes: nn.ReLU6 calls hardtanh with the bounds 0 and 6."""
    name = ACTIVATIONS[func]
    if name != "hardtanh":
        return name
    low = args[1] if len(args) > 1 else kwargs.get("min_val", -1.0)
    high = args[2] if len(args) > 2 else kwargs.get("max_val", 1.0)
    return "relu6" if (low, high) == (0, 6) else name


def place_name(place: CallSiteId) -> str:
    """See `CallSite.name`."""
    path, number = place
    return (path or "forward") + (f"#{number + 1}" if number else "")


def spoken(function: str, place: CallSiteId) -> str:
    """'relu in features.3', 'relu in forward (call 2)'."""
    path, number = place
    where = f"in {path}" if path else "in forward"
    return f"{function} {where}" + (f" (call {number + 1})" if number else "")
