"""Activations compiled by torch.compile, and the seconds that this takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from relubench.system import compiler
from relubench.timing.buffers import Buffers


def compile_forward(function: Callable[..., Any], *arguments: Tensor) -> tuple[float, Callable[..., Any]]:
    """The seconds of the first call, and the compiled function."""
    compiled = compiler.compiled(function)
    start = time.perf_counter()
    compiled(*arguments)
    return time.perf_counter() - start, compiled


def compile_backward(
    function: Callable[[Tensor], Tensor], z: Tensor, leaves: list[Tensor], buffers: Buffers, *, keeps_tape: bool
) -> tuple[float, Callable[[Tensor], Tensor]]:
    """The seconds of the first forward and backward call, and the compiled function, whose backward is compiled too."""
    import torch._functorch.config as backward_config

    compiled = compiler.compiled(lambda x: function(x))
    start = time.perf_counter()
    if keeps_tape:
        # The backward pass alone is called many times over one graph, whose buffers must not be reused; PyTorch reads
        # this setting at every call, not only while it compiles.
        backward_config.donated_buffer = False
    with backward_config.patch(donated_buffer=not keeps_tape), torch.enable_grad():
        x = z.detach().requires_grad_()
        torch.autograd.grad(compiled(x), [x, *leaves], buffers.grad, allow_unused=True)
    return time.perf_counter() - start, compiled
