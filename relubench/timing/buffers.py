"""The tensors that all candidates of a cell work on, so that none of them has better addresses than the others.

Shapes: N output elements; z [columns*N], chunk after chunk; h and grad [N].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from relubench.models.random_streams import stream

TORCH_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

POOL_BYTES = 2**20
"""Bytes of copies of the input that a pass in place takes in turn: after a call a tensor holds the output."""

FEW = 2**16
"""Elements of the trial calls that find the shape of an activation's result and the bytes that it keeps."""


@dataclass(slots=True)
class Buffers:
    """The tensors of one size and dtype."""

    z: Tensor
    """[most columns * N], unit normal, or drawn from values that were recorded"""
    h: Tensor
    grad_source: Tensor
    grad: Tensor
    second_operand: Tensor
    pool: list[Tensor] = field(default_factory=list)
    """Copies of z's first N for the passes in place."""

    @classmethod
    def make(
        cls,
        elements: int,
        columns: int,
        dtype: torch.dtype,
        device: str,
        seed: int,
        *,
        pool: bool,
        inputs: Sequence[float] = (),
    ) -> Buffers:
        def normal(role: str, size: int) -> Tensor:
            return torch.randn(size, generator=stream(seed, role)).to(device=device, dtype=dtype)

        source = normal("speed-gradient", elements)
        if inputs:
            places = torch.randint(len(inputs), (columns * elements,), generator=stream(seed, "speed-recorded-input"))
            z = torch.tensor(inputs)[places].to(device=device, dtype=dtype)
        else:
            z = normal("speed-input", columns * elements)
        copies = max(1, POOL_BYTES // (elements * dtype.itemsize)) if pool else 0
        # Each tensor is written once: else the first sample would include its page faults.
        return cls(
            z,
            torch.zeros_like(source),
            source,
            source.clone(),
            source.clone(),
            [z[:elements].clone() for _ in range(copies)],
        )

    @property
    def elements(self) -> int:
        return self.h.numel()

    @property
    def few(self) -> int:
        """The number of elements of a trial call."""
        return min(FEW, self.elements)
