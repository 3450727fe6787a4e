"""torch.compile in one place, since two of its habits would give failures here that no activation deserves.

The compiler counts recompilations by a function's code, and gives up after eight. And it keeps generated code between
processes under a name without the vector width, which ATEN_CPU_CAPABILITY changes: code for wider vectors then does
not build.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
import torch.compiler.config as compiler_config

# Compiling imports torch's builder of extensions, which warns of a CUDA toolkit without a GPU.
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)

_numbers = itertools.count()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """What torch.compile makes of `function` at the first call, for the shapes of that call."""
    capability = torch.backends.cpu.get_cpu_capability()
    if capability not in compiler_config.cache_key_tag:
        compiler_config.cache_key_tag += f" {capability}"
    return torch.compile(_with_own_code(function), dynamic=False)


def _with_own_code(function: Callable[..., Any]) -> Callable[..., Any]:
    if not isinstance(function, FunctionType):
        return function
    code = function.__code__.replace(co_name=f"activation_{next(_numbers)}")
    return FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
