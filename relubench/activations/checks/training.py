"""What an activation does in training: a step through it in every layer, noise, state, and what it learns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from relubench.activations.checks.trial import Trial, Unfit, check_shape, examples, layer_hint
from relubench.activations.definition import Activation, check_same_parameters, trainable
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
    """Its properties in training, after one step in every layer where it is used; UsageError where a step fails."""
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
        state=_changing_state(module),
        stranger=_untrained_tensor_warning(module),
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
    parameters_before = trainable(trial.module) if trial.module is not None else {}
    with torch.enable_grad():
        h = trial.call(x)
        if trial.module is not None:
            check_same_parameters(parameters_before, trial.module, trial.label)
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
    """How its training forward differs from evaluation's, in words; '' where it does not."""
    if trial.module is None:
        return ""
    x = examples(trial.frame, _BATCH, torch.float32)
    evaluation = Trial(trial.label, trial.activation, trial.frame, torch.float32)
    first_instance, second_instance = (Trained(trial.label, trial.activation, trial.frame) for _ in range(2))
    next(second_instance.calls)  # Other random numbers than the first's.
    with torch.no_grad():
        evaluation_output, first_output, second_output = (
            evaluation.call(x),
            first_instance.call(x),
            second_instance.call(x),
        )
        later_output = first_instance.call(x)
    if not _same(first_output, second_output):
        return "in training it draws noise"
    if not _same(first_output, later_output):
        return "in training it changes from call to call"
    return "" if _same(first_output, evaluation_output) else "in training it is another function"


def _changing_state(trial: Trained) -> str:
    """The name of the first attribute that another call with the same input changes, other than a cache; or ''."""
    if trial.module is None:
        return ""
    x = examples(trial.frame, _BATCH, torch.float32)
    snapshots: list[dict[str, object]] = []
    with torch.no_grad():
        for _ in range(3):
            trial.call(x)
            snapshots.append(_snapshot(trial.module))
    # The first call may fill a cache or take over the input's statistics.
    return next((name for name, value in snapshots[2].items() if snapshots[1].get(name, value) != value), "")


def _snapshot(module: nn.Module) -> dict[str, object]:
    """Buffers and plain attributes by their paths, as values of their own."""
    values: dict[str, object] = {}
    for path, submodule in module.named_modules():
        buffers = {} if isinstance(submodule, torch.jit.ScriptModule) else submodule._buffers
        for name, value in {**vars(submodule), **buffers}.items():
            if name not in _INTERNAL:
                values[f"{path}.{name}".strip(".")] = _frozen(value, 0)
    return values


def _frozen(value: object, depth: int) -> object:
    """Numbers, text and tensors, also in containers and objects of the user's own, as text; None for anything else."""
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {value.detach().flatten()[:1000].tolist()}"
    if isinstance(value, bool | int | float | complex | str):
        return repr(value)
    if depth == _DEPTH:
        return None
    if isinstance(value, list | tuple | set | deque):
        return [_frozen(item, depth + 1) for item in list(value)[:100]] + [len(value)]
    if isinstance(value, dict):
        return {repr(key): _frozen(item, depth + 1) for key, item in list(value.items())[:100]}
    return _frozen(vars(value), depth) if is_users(type(value)) and hasattr(value, "__dict__") else None


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=_SAME[0], atol=_SAME[1], equal_nan=True)


def _untrained_tensor_warning(trial: Trained) -> str:
    """The warning of a tensor that requires a gradient, is used and belongs to no module; '' where there is none."""
    x = examples(trial.frame, _BATCH, torch.float32).requires_grad_()
    with torch.enable_grad():
        h = trial.call(x)
    own_ids = {id(item) for item in [x, *trial.leaves]}
    strangers = [item for item in _autograd_leaves(h) if id(item) not in own_ids]
    if not strangers:
        return ""
    num_values = sum(item.numel() for item in strangers)
    facts = "requires a gradient and is no parameter of a module: it is not trained; make it a parameter"
    if num_values > 1:
        facts = "require a gradient and are no parameters of a module: they are not trained; make them parameters"
    plural = "s" if num_values > 1 else ""
    return f"it uses {num_values:,} number{plural} that {facts} of a torch.nn.Module class"


def _autograd_leaves(h: Tensor) -> Iterator[Tensor]:
    """The tensors that autograd would collect gradients for."""
    pending, visited = [h.grad_fn], set()
    while pending:
        node = pending.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        variable = getattr(node, "variable", None)
        if isinstance(variable, Tensor):
            yield variable
        pending += [input_node for input_node, _ in node.next_functions]
