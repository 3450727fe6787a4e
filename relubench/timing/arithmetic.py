"""What one arithmetic operation costs on an array in the first cache, the cost of the call itself subtracted.

Every operation is sampled in the same rounds on N elements and on one; a round's difference over N - 1 is its cost an
element. That is throughput, many elements at a time, and not the latency of one instruction, which the article's cycles
most likely are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from relubench.models.random_streams import stream
from relubench.statistics import timings
from relubench.timing.clocks import Clock
from relubench.timing.operators import Task
from relubench.timing.request import Request, Size
from relubench.timing.schedule import AGAIN, Cell, Contestant, Session

BASE = "add"

OPERATIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "add": lambda a, b, out: torch.add(a, b, out=out),
    "multiply": lambda a, b, out: torch.mul(a, b, out=out),
    # What relu needs: a comparison whose result is one of the two numbers. One that stores booleans is slower.
    "compare": lambda a, b, out: torch.maximum(a, b, out=out),
    "divide": lambda a, b, out: torch.div(a, b, out=out),
    "exp": lambda a, b, out: torch.exp(a, out=out),
    "log": lambda a, b, out: torch.log(a, out=out),
}
"""The article's table of cycles, in its order; out is where the result goes."""

ARRAYS, FLOAT_BYTES = 3, 4
LEAST = 0.01
"""The smallest operand: neither log nor a quotient meets zero."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArithmeticRow:
    """One operation. Missing is None."""

    operation: str
    elements: int
    dtype: str = "fp32"
    ns_per_element: float | None
    ns_per_element_ci_low: float | None
    ns_per_element_ci_high: float | None
    ratio_to_add: float | None
    ratio_to_add_ci_low: float | None
    ratio_to_add_ci_high: float | None
    verdict: str | None
    """cheaper, dearer or no difference, beyond what add differs from itself."""
    call_ns: float | None
    """A call on one element: what is subtracted."""
    rounds: int
    article_cycles_low: float | None
    article_cycles_high: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def prepare(request: Request, first_cache: int, clock: Clock) -> Session:
    """Two cells, N elements and one; N is what fills half of the first cache with two operands and a result."""
    elements = max(2, first_cache // 2 // (ARRAYS * FLOAT_BYTES))
    return Session(request, [_cell("call", 1, request.seed), _cell("first cache", elements, request.seed)], clock)


def costs(session: Session, label: str) -> list[float]:
    """ns an element of an operation, one a round."""
    call, array = session.cells
    many = array.size.elements
    # Samples are in ns an element of their cell: those of one element are the call's.
    pairs = zip(array.one(label).samples, call.one(label).samples, strict=False)
    return [(mine * many - alone) / (many - 1) for mine, alone in pairs]


def rows(session: Session, article: dict[str, tuple[float, float]]) -> list[ArithmeticRow]:
    """A row for each operation; `article`: operation -> least and most cycles."""
    base, twin = cost(session, BASE), against_itself(session)
    band = timings.aa_band(twin) if twin is not None else (0.0, float("inf"))
    return [_row(session, name, base, band, article.get(name)) for name in OPERATIONS]


def cost(session: Session, label: str) -> timings.Estimate | None:
    """ns an element of an operation; None if it was not measured."""
    found = costs(session, label)
    return timings.median(found) if found else None


def against_itself(session: Session) -> timings.Estimate | None:
    """add's cost over its own under another name."""
    return over(cost(session, BASE + AGAIN), cost(session, BASE))


def over(mine: timings.Estimate | None, base: timings.Estimate | None) -> timings.Estimate | None:
    """The quotient of two costs, with the widest interval that theirs allow.

    Not the median of the rounds' quotients: a cheap operation is a small difference of two calls, and may be negative.
    """
    if mine is None or base is None or base.median <= 0:
        return None
    median, samples = mine.median / base.median, min(mine.samples, base.samples)
    if mine.low is None or mine.high is None or base.low is None or base.high is None or base.low <= 0:
        return timings.Estimate(median, None, None, samples)
    return timings.Estimate(median, mine.low / base.high, mine.high / base.low, samples)


def _row(
    session: Session,
    name: str,
    base: timings.Estimate | None,
    band: tuple[float, float],
    cycles: tuple[float, float] | None,
) -> ArithmeticRow:
    mine, calls = cost(session, name), session.cells[0].one(name).samples
    ratio = over(mine, base)
    interval = ratio if name != BASE else None
    verdict = timings.verdict(interval, band) if interval is not None else None
    words = {"faster": "cheaper", "slower": "dearer"}
    return ArithmeticRow(
        operation=name,
        elements=session.cells[1].size.elements,
        ns_per_element=mine and mine.median,
        ns_per_element_ci_low=mine and mine.low,
        ns_per_element_ci_high=mine and mine.high,
        ratio_to_add=ratio and ratio.median,
        ratio_to_add_ci_low=interval and interval.low,
        ratio_to_add_ci_high=interval and interval.high,
        verdict=None if verdict is None else words.get(verdict, verdict),
        call_ns=timings.median(calls).median if calls else None,
        rounds=mine.samples if mine is not None else 0,
        article_cycles_low=cycles and cycles[0],
        article_cycles_high=cycles and cycles[1],
    )


def _cell(name: str, elements: int, seed: int) -> Cell:
    a, b = (torch.randn(elements, generator=stream(seed, role)).abs_().add_(LEAST) for role in ("left", "right"))
    out = torch.empty(elements)
    cell = Cell(Size(name, elements), "fp32", "eager", "arithmetic", cold=False, base=BASE)

    def contestant(label: str, role: str, operation: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Contestant:
        made = Task(call=lambda: operation(a, b, out), refill=lambda: None, traffic=(), storage="existing")
        return Contestant(label, role, made)

    cell.contestants = [contestant(label, "activation", one) for label, one in OPERATIONS.items()]
    cell.contestants.append(contestant(BASE + AGAIN, "twin", OPERATIONS[BASE]))
    return cell
