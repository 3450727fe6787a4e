"""Kernels for this machine: which vectors it has, the compiler, and the addresses that come out of it."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from llvmlite import binding, ir

from relubench.kernels import dense, rbm
from relubench.kernels.dense import emit_backward, emit_forward
from relubench.kernels.emit import Numbers
from relubench.kernels.layout import Plan
from relubench.kernels.rbm import emit_down, emit_mean, emit_up, emit_up_sparse, emit_update_sparse
from relubench.kernels.team import emit_run, emit_serve

FUNCTIONS = ("run", "serve", "forward", "backward", "gather", "backward_first")
RBM_FUNCTIONS = ("run", "serve", "up", "up_sparse", "mean", "draw", "down", "gather", "gather_sigmoid")
RBM_FUNCTIONS += ("backward_first", "update_sparse")


@dataclass(frozen=True, slots=True)
class Compiled:
    """Addresses of machine code, which lives as long as its engine."""

    addresses: Mapping[str, int]
    numbers: Numbers
    cut: Plan
    engine: Any


@lru_cache(maxsize=8)
def compiled(cut: Plan, *, double: bool) -> Compiled:
    """The kernels for batches cut like that, in float64 or float32; compiled once a process."""
    numbers = numbers_of(host_features(), double)
    module = _module(numbers)
    emit_forward(module, numbers, cut)
    for first in (False, True):
        emit_backward(module, numbers, cut, first=first)
    dense.emit_gather(module, numbers, cut)
    return _finished(module, numbers, cut, FUNCTIONS)


@lru_cache(maxsize=8)
def compiled_rbm(cut: Plan) -> Compiled:
    """The kernels of an RBM for batches cut like that, in float32; compiled once a process."""
    numbers = numbers_of(host_features(), double=False)
    module = _module(numbers)
    for emit in (emit_up, emit_up_sparse, emit_update_sparse, emit_down):
        emit(module, numbers, cut)
    for fused in (False, True):
        rbm.emit_gather(module, numbers, cut, sigmoid_=fused)
        emit_mean(module, numbers, drawn=fused)
    emit_backward(module, numbers, cut, first=True, by_zeros=False)
    return _finished(module, numbers, cut, RBM_FUNCTIONS)


def _module(numbers: Numbers) -> ir.Module:
    """A module with what a team of threads needs."""
    module = ir.Module("relubench")
    emit_run(module, numbers)
    emit_serve(module, numbers)
    return module


def _finished(module: ir.Module, numbers: Numbers, cut: Plan, functions: Sequence[str]) -> Compiled:
    engine = _compile(module)
    return Compiled({name: engine.get_function_address(name) for name in functions}, numbers, cut, engine)


@lru_cache(maxsize=1)
def host_features() -> frozenset[str]:
    """What LLVM calls the features of this processor."""
    return frozenset(name for name, there in binding.get_host_cpu_features().items() if there)


def numbers_of(features: frozenset[str], double: bool) -> Numbers:
    """Vectors as wide as the processor's registers, and how many of those there are."""
    arm = platform.machine().lower() in ("arm64", "aarch64")
    width = 64 if "avx512f" in features else 32 if "avx" in features else 16
    return Numbers(
        double=double,
        lanes=width // (8 if double else 4),
        registers=32 if arm or "avx512f" in features else 16,
        pause="yield" if arm else "pause" if platform.machine().lower() in ("x86_64", "amd64") else "",
    )


def _compile(module: ir.Module) -> Any:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    binding.initialize_native_asmparser()
    module.triple = binding.get_process_triple()
    machine = binding.Target.from_triple(module.triple).create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=2, jit=True
    )
    parsed = binding.parse_assembly(str(module))
    parsed.verify()
    # The loops are written as they are to be: no vectorizing, no unrolling.
    options = binding.create_pipeline_tuning_options(speed_level=1)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    passes = binding.create_pass_builder(machine, options)
    passes.getModulePassManager().run(parsed, passes)
    engine = binding.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()
    return engine
