"""The roof: how fast this machine moves an activation's traffic when there is next to nothing to compute.

Measured by other kernels than the activations', negation and addition, in the same schedule as they are, for each
traffic pattern and size. A pass's roof is the sum of its patterns'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relubench.timing.operators import Arena, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Elements that one sweep reads and writes for each output element."""

    reads: int
    writes: int
    in_place: bool = False
    """Whether what it writes is among what it reads."""

    @property
    def total(self) -> int:
        return self.reads + self.writes

    @property
    def pattern(self) -> str:
        """The measured pattern that is most like it."""
        if self.reads == 1:
            return "read-write in place" if self.in_place else "read-write"
        return "two reads and a write in place" if self.in_place else "two reads and a write"


PATTERNS: dict[str, Traffic] = {
    one.pattern: one
    for one in (
        Traffic(reads=1, writes=1),
        Traffic(reads=1, writes=1, in_place=True),
        Traffic(reads=2, writes=1),
        Traffic(reads=2, writes=1, in_place=True),
    )
}


def patterns(traffic: tuple[Traffic, ...]) -> set[str]:
    return {one.pattern for one in traffic}


def roof_ns(traffic: tuple[Traffic, ...], measured: Mapping[str, float]) -> float:
    """ns an output element that this traffic takes at the roof; patterns with more streams scale with their bytes.

    Raises KeyError for a pattern that was not measured.
    """
    return sum(measured[one.pattern] * one.total / PATTERNS[one.pattern].total for one in traffic)


def bytes_per_element(traffic: tuple[Traffic, ...], itemsize: int) -> int:
    return itemsize * sum(one.total for one in traffic)


def roof_task(pattern: str, arena: Arena) -> Task:
    """The kernel that measures a pattern on the arena's tensors."""
    import torch

    from relubench.timing.operators import Task

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
