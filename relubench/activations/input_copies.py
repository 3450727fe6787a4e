"""Adapts the input of a user's own activation: a copy where the activation writes into it, rows where it needs rows.

A plain PyTorch loop trains `nn.SiLU(inplace=True)` and functions of `x.mul_(...)`: nobody needs their input again. Here
layers keep their inputs, so such a function gets a copy. One that reads images by `x.view(...)` gets them in rows, not
with their channels last in memory. Both are found by calling a throw-away instance on small tensors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from relubench.activations.checks.trial import COLUMNS, chance, examples, silenced, widths_of
from relubench.activations.layer_input import Frame

_EXAMPLES = 4


@dataclass(frozen=True, slots=True)
class InputAdapter:
    """Turns a tensor into the input that a function needs; a forward pre-hook of a module."""

    copied: bool = False
    """Whether it writes into its input."""
    rows: bool = False
    """Whether it takes images in rows only."""
    in_place: bool = False
    """Whether its result lies where its input lay."""

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self.adapt(inputs[0]), *inputs[1:]) if inputs and isinstance(inputs[0], Tensor) else inputs

    def adapt(self, z: Tensor) -> Tensor:
        """z, or a new tensor with its values that no one else reads."""
        if self.rows and not z.is_contiguous():
            return z.contiguous()
        return z.clone() if self.copied else z

    def __bool__(self) -> bool:
        return self.copied or self.rows


class AdaptedFunction:
    """A function whose input is adapted first."""

    def __init__(self, function: Callable[[Tensor], Tensor], adapter: InputAdapter) -> None:
        self.function, self.adapter = function, adapter

    def __call__(self, z: Tensor) -> Tensor:
        return self.function(self.adapter.adapt(z))


def find_input_adapter(call: Callable[[Tensor], Any]) -> InputAdapter:
    """The adapter that this function or module needs; it is called on small tensors, and thrown away afterwards."""
    module = call if isinstance(call, nn.Module) else None
    writes = needs_rows = in_place = False
    with silenced(), chance(0):
        for training in (True, False) if module is not None else (True,):
            if module is not None:
                module.train(training)
            for frame in _frames(module):
                z = examples(frame, _EXAMPLES, torch.float32)
                effect = _call_effect(call, z)
                writes, in_place = writes or effect.wrote, in_place or effect.in_place
                if len(frame.example) == 3 and effect.worked:
                    effect = _call_effect(call, z.contiguous(memory_format=torch.channels_last))
                    writes, needs_rows = writes or effect.wrote, needs_rows or not effect.worked
    return InputAdapter(writes, needs_rows, writes and in_place)


def remove_input_adapters(module: nn.Module) -> None:
    """Take the adapters off the module: it gets its input as it is again."""
    for submodule in module.modules():
        for key in [key for key, hook in submodule._forward_pre_hooks.items() if isinstance(hook, InputAdapter)]:
            del submodule._forward_pre_hooks[key]


@dataclass(frozen=True, slots=True)
class _CallEffect:
    worked: bool
    wrote: bool
    in_place: bool


def _call_effect(call: Callable[[Tensor], Any], z: Tensor) -> _CallEffect:
    """What a call does to its input; an error is left to the call in earnest."""
    argument = z.clone()
    version = argument._version
    result: Any = None
    with contextlib.suppress(Exception, SystemExit), torch.no_grad():
        result = call(argument)
    wrote = argument._version != version or not torch.equal(argument, z)
    worked = isinstance(result, Tensor) and result.shape == z.shape
    return _CallEffect(worked, wrote, worked and result.data_ptr() == argument.data_ptr())


def _frames(module: nn.Module | None) -> Iterator[Frame]:
    widths: Sequence[int] = (COLUMNS, *(widths_of(module) if module is not None else ()))
    for width in widths:
        yield Frame((width,))
        yield Frame((width, 5, 7))
