"""What an activation does in training: a step through it in every layer, noise, state, and what it learns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from relubench.activations.checks.trial import Trial, Unfit, check_shape, examples, layer_hint
from relubench.activations.definition import Activation, trainable
from relubench.activations.layer_input import Frame
from relubench.errors import UsageError
from relubench.system.user_code.records import is_users

_BATCH = 10
_DEPTH = 3
_INTERNAL = frozenset(vars(nn.Module()))
_SAME = (1e-5, 1e-6)
"""Relative and absolute, in float32."""


@dataclass(frozen=True, slots=True)
class InTraining:
    """What a user's own does in training that it does not do in evaluation."""

    learns: int
    """Trained numbers."""
    differs: str = ""
    """How its training forward differs from evaluation's, in words; '' if it does not."""
    state: str = ""
    """An attribute or buffer that moves on with every call: what it does later, nobody has seen. '' if none does."""
    stranger: str = ""
    """A sentence about a tensor that wants a gradient and is no parameter; '' if there is none."""


def in_training(trial: Trial, layers: Sequence[Frame] = ()) -> InTraining:
    """Take one step through it in every layer where it stands; raises UsageError where that fails."""
    activation = trial.activation
    if activation.module is None and not layers:
        layers = [trial.frame]
    for frame in dict.fromkeys(layers or [trial.frame]):
        if frame != trial.frame:
            _in_layer(activation, frame, Trial(trial.label, activation, frame, trial.dtype).check)
        _in_layer(activation, frame, lambda frame=frame: _step(Trained(trial.label, activation, frame)))
        if len(frame.example) == 3:
            _in_layer(activation, frame, lambda frame=frame: _step_of_image(Trained(trial.label, activation, frame)))
    module = Trained(trial.label, activation, trial.frame)
    return InTraining(
        learns=sum(item.numel() for item in module.leaves),
        differs=_difference(trial),
        state=_moving(module),
        stranger=_stranger(module),
    )


class Trained(Trial):
    """A fresh instance in training mode, in float32."""

    def __init__(self, label: str, activation: Activation, frame: Frame) -> None:
        super().__init__(label, activation, frame, torch.float32)
        if self.module is not None:
            self.module.train()
        if self.module is not None and any(is_lazy(item) for item in self.module.parameters()):
            raise UsageError(
                f"{label} makes its parameters in its first forward",
                "make them in __init__, and name their sizes: ./file.py:Name:units=128",
            )
        self.leaves: list[Tensor] = (
            list(trainable(self.module).values()) if self.module is not None else list(self.learned)
        )


def _in_layer(activation: Activation, frame: Frame, action: Callable[[], None]) -> None:
    """Do something in a layer; its refusal names the layer."""
    try:
        action()
    except UsageError as problem:
        if not frame.layer:
            raise
        message = f"{frame.layer} cannot take it: {problem.message}"
        hint = layer_hint(activation, frame, problem.hint) if isinstance(problem, Unfit) else problem.hint
        raise UsageError(message, hint) from problem


def _step_of_image(trial: Trained) -> None:
    """A step in the layout that a convolution on the processor gives."""
    try:
        _step(trial, layout=torch.channels_last)
    except UsageError as problem:
        hint = "images lie channels-last here: write reshape() for view(), or call contiguous() first"
        raise UsageError(problem.message, hint) from problem


def _step(trial: Trained, layout: torch.memory_format = torch.contiguous_format) -> None:
    """Forward and backward on a batch, with gradients for the input and for what it learns."""
    x = examples(trial.frame, _BATCH, torch.float32).contiguous(memory_format=layout).requires_grad_()
    with torch.enable_grad():
        h = trial.call(x)
        check_shape(trial.label, h, x)
        if h.dtype != x.dtype:
            raise UsageError(f"{trial.label} gives {h.dtype} for {x.dtype}", "an activation keeps the dtype")
        if not h.requires_grad:
            raise UsageError(f"{trial.label} passes no gradient in training", "a network cannot learn past autograd")
        weights = torch.linspace(-1, 1, _BATCH).view(-1, *[1] * (x.dim() - 1))
        grads = trial.gradients((h.float() * weights).sum(), [x, *trial.leaves])
    for grad, item in zip(grads, [x, *trial.leaves], strict=True):
        if grad.shape != item.shape:
            raise UsageError(
                f"{trial.label}: its backward pass gives shape {tuple(grad.shape)} for {tuple(item.shape)}",
                "a gradient has the shape of what it belongs to",
            )


def _difference(trial: Trial) -> str:
    """How training differs from evaluation."""
    if trial.module is None:
        return ""
    x = examples(trial.frame, _BATCH, torch.float32)
    fixed = Trial(trial.label, trial.activation, trial.frame, torch.float32)
    first, second = (Trained(trial.label, trial.activation, trial.frame) for _ in range(2))
    next(second.calls)  # Other random numbers than the first's.
    with torch.no_grad():
        evaluated, once, again = fixed.call(x), first.call(x), second.call(x)
        later = first.call(x)
    if not _same(once, again):
        return "in training it draws noise"
    if not _same(once, later):
        return "in training it changes from call to call"
    return "" if _same(once, evaluated) else "in training it is another function"


def _moving(trial: Trained) -> str:
    """The first thing that a module holds and that another call with the same input changes; a cache stays."""
    if trial.module is None:
        return ""
    x = examples(trial.frame, _BATCH, torch.float32)
    held: list[dict[str, object]] = []
    with torch.no_grad():
        for _ in range(3):
            trial.call(x)
            held.append(_held(trial.module))
    # The first call may fill a cache or take over the input's statistics.
    return next((name for name, value in held[2].items() if held[1].get(name, value) != value), "")


def _held(module: nn.Module) -> dict[str, object]:
    """Buffers and plain attributes by their paths, as values of their own."""
    found: dict[str, object] = {}
    for path, part in module.named_modules():
        buffers = {} if isinstance(part, torch.jit.ScriptModule) else part._buffers
        for name, value in {**vars(part), **buffers}.items():
            if name not in _INTERNAL:
                found[f"{path}.{name}".strip(".")] = _frozen(value, 0)
    return found


def _frozen(value: object, depth: int) -> object:
    """Numbers, text and tensors, also in containers and objects of the user's own, as text; None for anything else."""
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {value.detach().flatten()[:1000].tolist()}"
    if isinstance(value, bool | int | float | complex | str):
        return repr(value)
    if depth == _DEPTH:
        return None
    if isinstance(value, list | tuple | set | deque):
        return [_frozen(one, depth + 1) for one in list(value)[:100]] + [len(value)]
    if isinstance(value, dict):
        return {repr(key): _frozen(one, depth + 1) for key, one in list(value.items())[:100]}
    return _frozen(vars(value), depth) if is_users(type(value)) and hasattr(value, "__dict__") else None


def _same(item: Tensor, other: Tensor) -> bool:
    return torch.allclose(item, other, rtol=_SAME[0], atol=_SAME[1], equal_nan=True)


def _stranger(trial: Trained) -> str:
    """Of a tensor that requires a gradient, is used and belongs to no module."""
    x = examples(trial.frame, _BATCH, torch.float32).requires_grad_()
    with torch.enable_grad():
        h = trial.call(x)
    own = {id(item) for item in [x, *trial.leaves]}
    strangers = [item for item in _leaves(h) if id(item) not in own]
    if not strangers:
        return ""
    size = sum(item.numel() for item in strangers)
    return (
        f"it uses {size:,} number{'s' if size != 1 else ''} that require a gradient and are no parameters of a module: "
        "they are not trained; make them parameters of a torch.nn.Module class"
    )


def _leaves(h: Tensor) -> Iterator[Tensor]:
    """The tensors that autograd would collect gradients for."""
    waiting, seen = [h.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if isinstance(variable, Tensor):
            yield variable
        waiting += [below for below, _ in node.next_functions]
