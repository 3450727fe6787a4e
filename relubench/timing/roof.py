"""The roof: how fast this machine moves an activation's traffic when there is next to nothing to compute.

Measured by other kernels than the activations', negation and addition, in the same schedule as they are, for each
traffic pattern and size. A pass's roof is the sum of its patterns'.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from relubench.timing.operators import Arena, Task
from relubench.timing.traffic import PATTERNS


def roof_task(pattern: str, arena: Arena) -> Task:
    """The kernel that measures a pattern on the arena's tensors."""
    z, h, grad, other = arena.z[: arena.elements], arena.h, arena.grad, arena.other
    calls: dict[str, Callable[[], object]] = {
        "read-write": lambda: torch.neg(z, out=h),
        "read-write in place": lambda: torch.neg(grad, out=grad),
        "two reads and a write": lambda: torch.add(z, other, out=h),
        "two reads and a write in place": lambda: torch.add(grad, other, out=grad),
    }
    return Task(
        call=calls[pattern],
        refill=lambda: grad.copy_(arena.grad_source),
        traffic=(PATTERNS[pattern],),
        storage="existing",
    )
