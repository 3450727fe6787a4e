"""The cost of one arithmetic operation on an array in the first cache, with the cost of the call subtracted.

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
from relubench.timing.measurement import AgainstItself
from relubench.timing.operators import TimedCall
from relubench.timing.request import Request, Size
from relubench.timing.schedule import AGAIN, Candidate, Cell, Session

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
"""The smallest operand, so that neither log nor a quotient gets zero."""


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
    """cheaper, dearer or no difference, judged by the A/A control's band."""
    call_ns: float | None
    """The cost of a call on one element, which is subtracted."""
    rounds: int
    article_cycles_low: float | None
    article_cycles_high: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def prepare(request: Request, first_cache: int, clock: Clock) -> Session:
    """A session of two cells, N elements and one; two operands and a result of N fill half of the first cache."""
    elements = max(2, first_cache // 2 // (ARRAYS * FLOAT_BYTES))
    return Session(request, [_cell("call", 1, request.seed), _cell("first cache", elements, request.seed)], clock)


def costs(session: Session, label: str) -> list[float]:
    """The ns an element of an operation, one for each round."""
    call, array = session.cells
    num_elements = array.size.elements
    # Samples are in ns an element of their cell: those of one element are the call's.
    rounds = zip(array.candidate(label).samples, call.candidate(label).samples, strict=False)
    return [(array_ns * num_elements - call_ns) / (num_elements - 1) for array_ns, call_ns in rounds]


def rows(session: Session, article: dict[str, tuple[float, float]]) -> list[ArithmeticRow]:
    """A row for each operation; `article`: operation -> least and most cycles."""
    base, control = cost(session, BASE), _control_ratio(session)
    band = timings.aa_band(control) if control is not None else (0.0, float("inf"))
    return [_row(session, name, base, band, article.get(name)) for name in OPERATIONS]


def cost(session: Session, label: str) -> timings.Estimate | None:
    """The median ns an element of an operation; None if it was not measured."""
    samples = costs(session, label)
    return timings.median(samples) if samples else None


def against_itself(session: Session) -> AgainstItself:
    """The A/A control: add's cost over its own under another name."""
    return AgainstItself.of([_control_ratio(session)])


def _control_ratio(session: Session) -> timings.Estimate | None:
    return cost_ratio(cost(session, BASE + AGAIN), cost(session, BASE))


def cost_ratio(own_cost: timings.Estimate | None, base_cost: timings.Estimate | None) -> timings.Estimate | None:
    """The quotient of two costs, with the widest interval that their intervals allow.

    It is not the median of the rounds' quotients: the cost of a cheap operation is a small difference of two calls, and
    may be negative.
    """
    if own_cost is None or base_cost is None or base_cost.median <= 0:
        return None
    median, samples = own_cost.median / base_cost.median, min(own_cost.samples, base_cost.samples)
    if (
        own_cost.low is None
        or own_cost.high is None
        or base_cost.low is None
        or base_cost.high is None
        or base_cost.low <= 0
    ):
        return timings.Estimate(median, None, None, samples)
    return timings.Estimate(median, own_cost.low / base_cost.high, own_cost.high / base_cost.low, samples)


def _row(
    session: Session,
    name: str,
    base: timings.Estimate | None,
    band: tuple[float, float],
    cycles: tuple[float, float] | None,
) -> ArithmeticRow:
    own_cost, call_samples = cost(session, name), session.cells[0].candidate(name).samples
    ratio = cost_ratio(own_cost, base)
    interval = ratio if name != BASE else None
    verdict = timings.verdict(interval, band) if interval is not None else None
    verdicts = {"faster": "cheaper", "slower": "dearer"}
    return ArithmeticRow(
        operation=name,
        elements=session.cells[1].size.elements,
        ns_per_element=own_cost and own_cost.median,
        ns_per_element_ci_low=own_cost and own_cost.low,
        ns_per_element_ci_high=own_cost and own_cost.high,
        ratio_to_add=ratio and ratio.median,
        ratio_to_add_ci_low=interval and interval.low,
        ratio_to_add_ci_high=interval and interval.high,
        verdict=None if verdict is None else verdicts.get(verdict, verdict),
        call_ns=timings.median(call_samples).median if call_samples else None,
        rounds=own_cost.samples if own_cost is not None else 0,
        article_cycles_low=cycles and cycles[0],
        article_cycles_high=cycles and cycles[1],
    )


def _cell(name: str, elements: int, seed: int) -> Cell:
    a, b = (torch.randn(elements, generator=stream(seed, role)).abs_().add_(LEAST) for role in ("left", "right"))
    out = torch.empty(elements)
    cell = Cell(Size(name, elements), "fp32", "eager", "arithmetic", cold=False, base=BASE)

    def candidate(label: str, role: str, operation: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Candidate:
        timed_call = TimedCall(call=lambda: operation(a, b, out), refill=lambda: None, traffic=(), storage="existing")
        return Candidate(label, role, timed_call)

    cell.candidates = [candidate(label, "activation", operation) for label, operation in OPERATIONS.items()]
    cell.candidates.append(candidate(BASE + AGAIN, "twin", OPERATIONS[BASE]))
    return cell
