"""The product h W^T of a dense layer with zeros in h, by methods that leave them out, and by the dense one.

Every method gets the dense h of a network and finds the zeros itself, which is part of its time unless its name says
otherwise. Results are compared with the dense product's before anything is timed.

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
from relubench.timing.operators import TimedCall
from relubench.timing.request import Request, Size
from relubench.timing.schedule import AGAIN, Candidate, Cell, Session, reason

BASE = "dense"
TOLERANCE = 1e-4
"""The largest error, relative to the largest entry: float32 sums in another order."""

Way = Callable[[Tensor], Callable[[], Tensor]]
"""A method: from h to the call that multiplies it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """The factors of one cell: several batches of real activations, one after the other, and the weights."""

    name: str
    batch: int
    batches: Sequence[Tensor]
    """Each [B, I]."""
    w_t: Tensor


def ways(w_t: Tensor) -> dict[str, Way]:
    """The methods of multiplying by W^T [I, O], by name."""

    def dense(h: Tensor) -> Callable[[], Tensor]:
        out = h.new_empty(len(h), w_t.shape[1])
        return lambda: torch.mm(h, w_t, out=out)

    def columns(h: Tensor) -> Callable[[], Tensor]:
        """Leaves out the inputs that are zero for the whole batch; gathers the columns and weights of the others."""
        out = h.new_empty(len(h), w_t.shape[1])

        def call() -> Tensor:
            used = (h != 0).any(0).nonzero().squeeze(1)
            return torch.mm(h.index_select(1, used), w_t.index_select(0, used), out=out)

        return call

    def per_image(h: Tensor) -> Callable[[], Tensor]:
        """Leaves out each image's own zeros: the weighted sum of the weights of its nonzeros, without copies."""

        def call() -> Tensor:
            rows, used = h.nonzero(as_tuple=True)
            starts = torch.searchsorted(rows, torch.arange(len(h)))
            return torch.nn.functional.embedding_bag(used, w_t, starts, mode="sum", per_sample_weights=h[rows, used])

        return call

    def csr(h: Tensor) -> Callable[[], Tensor]:
        return lambda: torch.mm(h.to_sparse_csr(), w_t)

    def csr_ready(h: Tensor) -> Callable[[], Tensor]:
        """The product alone, with h converted to CSR before."""
        converted = h.to_sparse_csr()
        return lambda: torch.mm(converted, w_t)

    return {BASE: dense, "columns": columns, "per image": per_image, "csr": csr, "csr, converted": csr_ready}


WAYS = tuple(ways(torch.empty(0, 0)))


def prepare(request: Request, loads: Sequence[Workload], clock: Clock) -> Session:
    """A session with a cell for each workload, in which all methods compete, and the A/A control; ns are an image's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        return Session(request, [_cell(load) for load in loads], clock)


def _cell(load: Workload) -> Cell:
    cell = Cell(Size(load.name, 1), "fp32", "eager", str(load.batch), cold=False, base=BASE)
    methods = ways(load.w_t)
    cell.candidates = [_candidate(name, "activation", way, load) for name, way in methods.items()]
    cell.candidates.append(_candidate(BASE + AGAIN, "twin", methods[BASE], load))
    return cell


def _candidate(label: str, role: str, way: Way, load: Workload) -> Candidate:
    try:
        calls = [way(h) for h in load.batches]
        for call, h in zip(calls, load.batches, strict=True):
            _check_product(call(), torch.mm(h, load.w_t))
    except Exception as problem:
        return Candidate(label, role, None, failure=reason(problem))

    def multiply_all() -> None:
        for call in calls:
            call()

    images = sum(len(h) for h in load.batches)
    return Candidate(
        label, role, TimedCall(call=multiply_all, refill=lambda: None, traffic=(), storage="existing", calls=images)
    )


def _check_product(product: Any, expected: Tensor) -> None:
    error = float((product - expected).abs().max())
    if not error <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise ComputeError(
            f"its product is {error:.3g} off", "this is an error of PyTorch's kernel, or of this program"
        )
