"""A dense layer's product h W^T with zeros among h, in the ways that do without them, beside the dense one.

Every way gets h as a network hands it on, dense, and finds the zeros itself: that is part of its time, except where the
name says otherwise. Results are compared with the dense product's before anything is timed.

Shapes: B batch, I inputs, O outputs, Z nonzeros; h [B, I], w_t [I, O].
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relubench.errors import ComputeError
from relubench.timing.clocks import Clock
from relubench.timing.operators import Task
from relubench.timing.request import Request, Size
from relubench.timing.schedule import AGAIN, Cell, Contestant, Session, reason

BASE = "dense"
TOLERANCE = 1e-4
"""Of the largest entry: float32 sums in another order."""

Way = Callable[[Tensor], Callable[[], Tensor]]
"""From h to the call that multiplies it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """What one cell multiplies: several batches of real activations, one after the other."""

    name: str
    batch: int
    batches: Sequence[Tensor]
    """Each [B, I]."""
    w_t: Tensor


def ways(w_t: Tensor) -> dict[str, Way]:
    """Each way of multiplying by W^T [I, O]."""

    def dense(h: Tensor) -> Callable[[], Tensor]:
        out = h.new_empty(len(h), w_t.shape[1])
        return lambda: torch.mm(h, w_t, out=out)

    def columns(h: Tensor) -> Callable[[], Tensor]:
        """Without the inputs that are zero for the whole batch: the others' columns and weights are gathered."""
        out = h.new_empty(len(h), w_t.shape[1])

        def call() -> Tensor:
            used = (h != 0).any(0).nonzero().squeeze(1)
            return torch.mm(h.index_select(1, used), w_t.index_select(0, used), out=out)

        return call

    def per_image(h: Tensor) -> Callable[[], Tensor]:
        """Without each image's own zeros: the weighted sum of the weights of its nonzeros, nothing copied."""

        def call() -> Tensor:
            rows, used = h.nonzero(as_tuple=True)
            starts = torch.searchsorted(rows, torch.arange(len(h)))
            return torch.nn.functional.embedding_bag(used, w_t, starts, mode="sum", per_sample_weights=h[rows, used])

        return call

    def csr(h: Tensor) -> Callable[[], Tensor]:
        return lambda: torch.mm(h.to_sparse_csr(), w_t)

    def csr_ready(h: Tensor) -> Callable[[], Tensor]:
        """The product alone, as if h were there in CSR."""
        converted = h.to_sparse_csr()
        return lambda: torch.mm(converted, w_t)

    return {BASE: dense, "columns": columns, "per image": per_image, "csr": csr, "csr, converted": csr_ready}


WAYS = tuple(ways(torch.empty(0, 0)))


def prepare(request: Request, loads: Sequence[Workload], clock: Clock) -> Session:
    """A cell for each workload, in which every way and the dense one again compete; ns are those of an image."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        return Session(request, [_cell(load) for load in loads], clock)


def _cell(load: Workload) -> Cell:
    cell = Cell(Size(load.name, 1), "fp32", "eager", str(load.batch), cold=False, base=BASE)
    known = ways(load.w_t)
    cell.contestants = [_contestant(name, "activation", way, load) for name, way in known.items()]
    cell.contestants.append(_contestant(BASE + AGAIN, "twin", known[BASE], load))
    return cell


def _contestant(label: str, role: str, way: Way, load: Workload) -> Contestant:
    try:
        calls = [way(h) for h in load.batches]
        for call, h in zip(calls, load.batches, strict=True):
            _check(call(), torch.mm(h, load.w_t))
    except Exception as problem:
        return Contestant(label, role, None, failure=reason(problem))

    def all_of_them() -> None:
        for call in calls:
            call()

    images = sum(len(h) for h in load.batches)
    return Contestant(
        label, role, Task(call=all_of_them, refill=lambda: None, traffic=(), storage="existing", calls=images)
    )


def _check(found: Any, expected: Tensor) -> None:
    gap = float((found - expected).abs().max())
    if not gap <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise ComputeError(f"its product is {gap:.3g} off", "this is an error of PyTorch's kernel, or of this program")
