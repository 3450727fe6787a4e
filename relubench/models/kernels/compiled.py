"""Kernels for this machine: which vectors it has, the compiler, and the addresses that come out of it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from llvmlite import binding, ir

from relubench.models.kernels import dense, rbm
from relubench.models.kernels.dense import emit_backward, emit_forward
from relubench.models.kernels.emit import VectorType
from relubench.models.kernels.layout import Tiling
from relubench.models.kernels.object_code import engine_for
from relubench.models.kernels.rbm import emit_down, emit_mean, emit_up, emit_up_sparse, emit_update_sparse
from relubench.models.kernels.team import emit_run, emit_serve

FUNCTIONS = ("run", "serve", "forward", "backward", "gather", "backward_first")
RBM_FUNCTIONS = ("run", "serve", "up", "up_sparse", "mean", "draw", "down", "gather", "gather_sigmoid")
RBM_FUNCTIONS += ("backward_first", "update_sparse")


@dataclass(frozen=True, slots=True)
class Compiled:
    """Addresses of machine code, which lives as long as its engine."""

    addresses: Mapping[str, int]
    numbers: VectorType
    tiling: Tiling
    engine: Any


@lru_cache(maxsize=8)
def compiled(tiling: Tiling, *, double: bool) -> Compiled:
    """The kernels for batches cut like that, in float64 or float32."""
    numbers = numbers_of(host_features(), double)

    def emit(module: ir.Module) -> None:
        emit_forward(module, numbers, tiling)
        for first in (False, True):
            emit_backward(module, numbers, tiling, first=first)
        dense.emit_gather(module, numbers, tiling)

    return _made(numbers, tiling, FUNCTIONS, emit)


@lru_cache(maxsize=8)
def compiled_rbm(tiling: Tiling) -> Compiled:
    """The kernels of an RBM for batches cut like that, in float32."""
    numbers = numbers_of(host_features(), double=False)

    def emit(module: ir.Module) -> None:
        for emit_function in (emit_up, emit_up_sparse, emit_update_sparse, emit_down):
            emit_function(module, numbers, tiling)
        for fused in (False, True):
            rbm.emit_gather(module, numbers, tiling, sigmoid_=fused)
            emit_mean(module, numbers, sampled=fused)
        emit_backward(module, numbers, tiling, first=True, by_zeros=False)

    return _made(numbers, tiling, RBM_FUNCTIONS, emit)


def _made(numbers: VectorType, tiling: Tiling, functions: Sequence[str], emit: Callable[[ir.Module], None]) -> Compiled:
    """Those functions, with what a team of threads needs."""

    def module() -> ir.Module:
        ir_module = ir.Module("relubench")
        emit_run(ir_module, numbers)
        emit_serve(ir_module, numbers)
        emit(ir_module)
        return ir_module

    engine = engine_for(repr((numbers, tiling, functions)), module)
    return Compiled({name: engine.get_function_address(name) for name in functions}, numbers, tiling, engine)


@lru_cache(maxsize=1)
def host_features() -> frozenset[str]:
    """What LLVM calls the features of this processor."""
    return frozenset(name for name, present in binding.get_host_cpu_features().items() if present)


def numbers_of(features: frozenset[str], double: bool) -> VectorType:
    """Vectors as wide as the processor's registers, and how many of those there are."""
    arm = platform.machine().lower() in ("arm64", "aarch64")
    width = 64 if "avx512f" in features else 32 if "avx" in features else 16
    return VectorType(
        double=double,
        lanes=width // (8 if double else 4),
        registers=32 if arm or "avx512f" in features else 16,
        pause="yield" if arm else "pause" if platform.machine().lower() in ("x86_64", "amd64") else "",
    )
