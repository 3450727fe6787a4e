"""Which way a network on a processor is trained: a function of its specification alone, and recorded. Torch-free."""

from __future__ import annotations

from relubench.models.architecture import multiplications
from relubench.models.families import family_of
from relubench.models.optimizer_table import OPTIMIZERS
from relubench.runs.spec import RunSpec

LARGE = 100_000
"""Weights from which on a call that costs 15 microseconds more, or half a second of compilation, is paid back."""

EXTERNAL_EVALUATION_IMAGES = 128
"""Images in a batch of an evaluation, at most, for a network that somebody else wrote: its layers keep far
more values than an mlp's."""

KERNEL_BATCH = 32
"""Up to this batch the weights' traffic is what a step costs, and the kernels have the least of it."""

KERNEL_BATCH_AMD = 1024
"""On AMD's processors they also multiply as fast as what PyTorch has, and leave out zeros; more leave the cache."""

RBM_BATCH_AMD = 256
"""The same for the layers of RBMs."""


def uses_kernels(spec: RunSpec) -> bool:
    """Whether the dense layers of a lone network are trained by generated kernels (`relubench.models.kernels`)."""
    plain = not spec.momentum and not spec.weight_decay and spec.precision == "fp32"
    fits = plain and OPTIMIZERS[spec.optimizer].kernels and family_of(spec.model).can("kernels")
    if not spec.on_processor or "AVX" not in spec.device_name or not fits:
        return False
    return spec.batch_size <= _most(spec) and multiplications(spec, 1) >= LARGE


def rbm_by_kernels(spec: RunSpec, weights: int) -> bool:
    """Whether a layer of so many weights is pre-trained as an RBM by kernels (`relubench.models.kernels.rbm`)."""
    fits = spec.stack is not None and spec.stack.batch_size <= min(_most(spec), RBM_BATCH_AMD)
    return spec.on_processor and "AVX" in spec.device_name and fits and weights >= LARGE


def _most(spec: RunSpec) -> int:
    """The largest batch that kernels of dense layers are for."""
    return KERNEL_BATCH_AMD if "AMD" in spec.device_name else KERNEL_BATCH


def route(spec: RunSpec, members: int) -> str:
    """The way in words: 'cpu, 2 threads, kernels', 'cuda, stack of 8'."""
    if not spec.on_processor:
        return f"{spec.device}, stack of {members}"
    threads = f"cpu, {spec.threads} thread{'s' if spec.threads != 1 else ''}"
    return f"{threads}, kernels" if uses_kernels(spec) else threads
