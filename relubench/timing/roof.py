"""The roofline: how fast this machine moves an activation's traffic when there is next to nothing to compute.

It is measured with negation and addition in place of the activations, in the same schedule, for each traffic pattern
and size. A pass's roof is the sum of its patterns'.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from relubench.timing.buffers import Buffers
from relubench.timing.operators import TimedCall
from relubench.timing.traffic import PATTERNS


def timed_roof(pattern: str, buffers: Buffers) -> TimedCall:
    """The timed call that measures a pattern on these tensors."""
    z, h, grad, second_operand = buffers.z[: buffers.elements], buffers.h, buffers.grad, buffers.second_operand
    calls: dict[str, Callable[[], object]] = {
        "read-write": lambda: torch.neg(z, out=h),
        "read-write in place": lambda: torch.neg(grad, out=grad),
        "two reads and a write": lambda: torch.add(z, second_operand, out=h),
        "two reads and a write in place": lambda: torch.add(grad, second_operand, out=grad),
    }
    return TimedCall(
        call=calls[pattern],
        refill=lambda: grad.copy_(buffers.grad_source),
        traffic=(PATTERNS[pattern],),
        storage="existing",
    )
