"""Which way a network on a processor is trained: a function of its specification alone, and recorded. Torch-free."""

from __future__ import annotations

import math
from itertools import pairwise

from relubench.models.architecture import architecture_of, layer_shapes
from relubench.models.backends.known import known_backend
from relubench.models.backends.question import LARGE, Question
from relubench.models.families import family_of
from relubench.models.optimizer_table import OPTIMIZERS
from relubench.runs.spec import RunSpec


def network_question(spec: RunSpec, *, inputs_per_unit: int = 1, fused: bool = False) -> Question | None:
    """What the backend of the network's dense layers depends on; None where nothing can be chosen."""
    shapes = layer_shapes(architecture_of(spec), spec.input_shape)
    if not spec.on_processor or not shapes or spec.precision != "fp32" or family_of(spec.model).can("attention"):
        return None
    hidden = ((shape.inputs, shape.units) for shape in shapes if not shape.convolution)
    layers = (*hidden, (shapes[-1].outputs, spec.classes))
    plain = OPTIMIZERS[spec.optimizer].kernels and not spec.momentum and not spec.weight_decay
    plain = plain and family_of(spec.model).can("kernels")
    return Question(
        kind="sgd" if plain else "dense",
        layers=layers,
        batch=spec.batch_size,
        threads=spec.threads,
        inputs_per_unit=inputs_per_unit,
        fused=fused and plain,
    )


def stack_question(spec: RunSpec, *, inputs_per_unit: int = 1) -> Question | None:
    """What the backend of the layers' pre-training depends on; None where nothing can be chosen."""
    stack = spec.stack
    if not spec.on_processor or stack is None or stack.source:
        return None
    return Question(
        kind="rbm" if stack.method == "rbm" else "dense",
        layers=tuple(pairwise((math.prod(spec.input_shape), *spec.hidden))),
        batch=stack.batch_size,
        threads=spec.threads,
        inputs_per_unit=inputs_per_unit,
    )


def backend_of(spec: RunSpec) -> str:
    """The backend of the network's dense layers: a name of `BACKENDS`, or 'kernels+onednn'."""
    return spec.backend or _by_itself(network_question(spec), spec)


def stack_backend(spec: RunSpec) -> str:
    """The same of the layers' pre-training."""
    chosen = spec.stack.backend if spec.stack else None
    return chosen or _by_itself(stack_question(spec), spec)


def _by_itself(question: Question | None, spec: RunSpec) -> str:
    """The backend of a run that names none."""
    return (known_backend(question, spec.device_name) if question else None) or "torch"


def uses_kernels(spec: RunSpec) -> bool:
    """Whether the dense layers of a lone network are trained by generated kernels (`relubench.models.kernels`)."""
    return backend_of(spec).startswith("kernels")


def rbm_by_kernels(spec: RunSpec, weights: int) -> bool:
    """Whether a layer of so many weights is pre-trained as an RBM by kernels (`relubench.models.kernels.rbm`)."""
    return stack_backend(spec).startswith("kernels") and weights >= LARGE


def route(spec: RunSpec, members: int) -> str:
    """The way in words: 'cpu, 2 threads, kernels', 'cuda, stack of 8'."""
    if not spec.on_processor:
        return f"{spec.device}, stack of {members}"
    threads = f"cpu, {spec.threads} thread{'s' if spec.threads != 1 else ''}"
    return f"{threads}, kernels" if uses_kernels(spec) else threads
