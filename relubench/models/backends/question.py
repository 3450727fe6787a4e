"""What the choice of a backend depends on: the dense layers, their batch, the threads. Torch-free."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["sgd", "dense", "rbm"]
"""sgd: a network trained by plain SGD, which kernels can do; dense: any other layers; rbm: a stack of RBMs."""

BACKENDS = ("torch", "turned", "onednn", "kernels")
"""torch: PyTorch's own products (by MKL, where it has that); turned: W x^T in place of x W^T, copied back; onednn:
x W^T by oneDNN; kernels: generated for the batch (`relubench.models.kernels`). The simplest is first."""

WITH_ONEDNN = "+onednn"
"""After 'kernels': evaluations are multiplied by oneDNN; else by PyTorch's own products."""

LARGE = 100_000
"""Weights from which on a call that costs 15 microseconds more, or half a second of compilation, is paid back."""

TURNED_BATCH = 64
"""The largest batch that is multiplied as W x^T: up to here MKL takes half the time for it on an Intel's core."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """Dense layers that are trained on batches of one size: what is the fastest way to do so?"""

    kind: Kind
    layers: tuple[tuple[int, int], ...]
    """Inputs and units of each, bottom up."""
    batch: int
    threads: int
    inputs_per_unit: int = 1
    """Outputs for each unit of a hidden layer."""
    fused: bool = False
    """Whether kernels compute the activation too."""
    zeros: float = 0.0
    """The share of zeros among the first layer's inputs, in tenths; kernels leave many of them out."""

    @property
    def weights(self) -> int:
        """Weights of all layers, each unit's inputs counted once."""
        return sum(inputs * units for inputs, units in self.layers)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each layer."""
        hidden = [(inputs, units * self.inputs_per_unit) for inputs, units in self.layers]
        return hidden if self.kind == "rbm" else [*hidden[:-1], self.layers[-1]]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "layers": [list(layer) for layer in self.layers]}


def why_not(backend: str, question: Question, device_name: str) -> str | None:
    """Why these layers cannot be trained by that backend on this processor, in words; None if they can."""
    if backend == "turned":
        if question.kind == "rbm":
            return "an RBM is not multiplied so"
        return None if question.batch <= TURNED_BATCH else f"it is for batches of up to {TURNED_BATCH}"
    if backend != "kernels":
        return None
    if question.kind == "dense":
        return "kernels train an mlp by plain SGD, without momentum and weight decay"
    if "AVX" not in device_name:
        return f"kernels need a processor with AVX, not {device_name}"
    return None if importlib.util.find_spec("llvmlite") else "kernels need the compiler, llvmlite"


def candidates(question: Question, device_name: str) -> list[str]:
    """The backends that these layers can be trained by on this processor."""
    return [backend for backend in BACKENDS if why_not(backend, question, device_name) is None]
