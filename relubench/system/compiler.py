"""A function prepared for torch.compile, which counts recompilations by a function's code."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from types import FunctionType
from typing import Any

# Compiling imports torch's builder of extensions, which warns of a CUDA toolkit without a GPU.
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)

_numbers = itertools.count()


def own_code(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function with code of its own: the compiler counts recompilations by code, and gives up after eight."""
    if not isinstance(function, FunctionType):
        return function
    code = function.__code__.replace(co_name=f"activation_{next(_numbers)}")
    return FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
