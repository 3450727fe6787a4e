"""From a session to its rows: one for each activation, size, dtype, mode and pass, with units in the names."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from relubench.statistics import timings
from relubench.timing.request import DTYPES
from relubench.timing.schedule import Cell, Contestant, Session
from relubench.timing.traffic import bytes_per_element, roof_ns

SLOW_FIRST = 0.25
"""From this excess of the first round over the others on it is worth a line."""

SLOWER_AT_THE_END = 0.05
"""From this drift of roofs and bases over the run on the processor is said to have slowed down."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedRow:
    """One activation in one cell. Missing is None; `pass` is what its key is called in JSON."""

    activation: str
    size: str
    """cache, last, memory, or the number of output elements."""
    elements: int
    dtype: str
    mode: str
    """eager or compiled."""
    pass_: str
    storage: str | None = None
    """existing, in place or allocating."""
    cache: str
    """warm: what a call needs may be in the cache; cold: it is not."""
    outcome: str = "ok"
    ns_per_element: float | None = None
    """Median over the rounds, for each output element."""
    ns_per_element_ci_low: float | None = None
    ns_per_element_ci_high: float | None = None
    gb_per_s: float | None = None
    """10^9 bytes of the least traffic that the pass needs."""
    ratio_to_relu: float | None = None
    ratio_to_relu_ci_low: float | None = None
    ratio_to_relu_ci_high: float | None = None
    verdict: str | None = None
    """faster, slower or no difference, beyond the machine's own A/A band."""
    roof_share: float | None = None
    """Time at the measured roof over the time taken; 1 is as fast as the memory allows."""
    kept_bytes_per_element: float | None = None
    compile_seconds: float | None = None
    rounds: int = 0
    processes: int = 0
    calls_per_sample: int | None = None
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        return {key.rstrip("_"): value for key, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class AA:
    """ReLU against itself, over all cells that have an interval."""

    cells: int
    called: int
    """Intervals that leave out 1: false differences."""
    widest: float
    """The largest departure from 1 of any of these intervals' ends."""

    @property
    def expected(self) -> tuple[int, int]:
        return timings.binomial_band(self.cells, timings.LEVEL)


def rows(session: Session) -> list[SpeedRow]:
    """Rows in order of size, dtype, mode, pass, and of the activations as asked for."""
    return [_row(cell, one) for cell in session.cells for one in cell.contestants if _is_row(one)]


def runs(session: Session) -> list[dict[str, Any]]:
    """The raw samples of every contestant, the twin's and the roofs' too."""
    return [
        {
            "contestant": one.label,
            "role": one.role,
            "size": cell.size.name,
            "elements": cell.size.elements,
            "dtype": cell.dtype,
            "mode": cell.mode,
            "pass": cell.name,
            "samples_ns_per_element": one.samples,
            "position_in_round": one.positions,
            "rounds_of_processes": cell.rounds or [len(one.samples)],
            "calls_per_sample": one.number,
            "first_round_ns_per_element": one.first,
        }
        for cell in session.cells
        for one in cell.contestants
        if one.samples
    ]


def against_itself(session: Session) -> AA:
    """The A/A test of this run."""
    twins = [cell.ratio(cell.twin) for cell in session.cells if cell.twin.samples]
    judged = [one for one in twins if one.low is not None]
    widest = max((timings.aa_band(one)[1] - 1 for one in judged), default=0.0)
    return AA(len(judged), sum(timings.is_difference(one) for one in judged), widest)


def roofs_gb_per_s(session: Session) -> list[tuple[Cell, str, float]]:
    """The measured roof of every cell and pattern."""
    return [
        (cell, one.label, bytes_per_element(one.task.traffic, DTYPES[cell.dtype]) / float(np.median(one.samples)))
        for cell in session.cells
        for one in cell.contestants
        if one.role == "roof" and one.task is not None and one.samples
    ]


def warnings(session: Session) -> list[str]:
    """What the samples themselves say of the machine: a slow first round, and slowing down in the course of the run."""
    found: list[str] = []
    firsts = [
        one.first / float(np.median(one.samples)) - 1
        for cell in session.cells
        for one in cell.contestants
        if one.first is not None and one.samples and cell.cold
    ]
    if firsts and (slow := float(np.median(firsts))) > SLOW_FIRST:
        found.append(f"the first round was {100 * slow:.0f} % slower than the others; it is left out")
    steady = [one for cell in session.cells for one in cell.contestants if one.role == "roof" or one.label == cell.base]
    drifts = [timings.drift(one.samples) for one in steady]
    known = [one for one in drifts if one]
    if known and (slower := float(np.median(known))) > SLOWER_AT_THE_END:
        several = len(session.cells[0].rounds) > 1
        causes = "throttled, busy, or by the processes' chance" if several else "throttled, or busy"
        found.append(
            f"warning: the machine was {100 * slower:.0f} % slower at the end than at the start ({causes}); ratios are "
            "taken within rounds and bear it, ns do not"
        )
    return found


def own_band(cell: Cell) -> tuple[float, float]:
    """What the ratio of the cell's base to itself was."""
    return timings.aa_band(cell.ratio(cell.twin)) if cell.twin.samples else (0.0, float("inf"))


def _is_row(one: Contestant) -> bool:
    return one.role in ("activation", "base") and not one.skipped


def _row(cell: Cell, one: Contestant) -> SpeedRow:
    base = SpeedRow(
        activation=one.label,
        size=cell.size.name,
        elements=cell.size.elements,
        dtype=cell.dtype,
        mode=cell.mode,
        pass_=cell.name,
        cache="cold" if cell.cold else "warm",
    )
    fields = asdict(base)
    if one.task is None or not one.samples:
        return SpeedRow(**{**fields, "outcome": "failed", "message": one.failure or "it was not measured in time"})
    ns = cell.estimate(one.samples)
    traffic = one.task.traffic
    measured: dict[str, Any] = {
        "storage": one.task.storage,
        "ns_per_element": ns.median,
        "ns_per_element_ci_low": ns.low,
        "ns_per_element_ci_high": ns.high,
        "gb_per_s": bytes_per_element(traffic, DTYPES[cell.dtype]) / ns.median if traffic else None,
        "roof_share": _roof_share(cell, one),
        "kept_bytes_per_element": one.task.kept_bytes,
        "compile_seconds": one.task.compile_s,
        "rounds": len(one.samples),
        "processes": max(1, len(cell.rounds)),
        "calls_per_sample": one.number,
        **_compared(cell, one),
    }
    return SpeedRow(**{**fields, **measured})


def _roof_share(cell: Cell, one: Contestant) -> float | None:
    """The median over rounds of the roof's time over the activation's; None where it moves nothing."""
    assert one.task is not None
    roofs = [each for each in cell.contestants if each.role == "roof"]
    shares = []
    for place, mine in enumerate(one.samples):
        in_round = {each.label: each.samples[place] for each in roofs if place < len(each.samples)}
        if len(in_round) == len(roofs):
            shares.append(roof_ns(one.task.traffic, in_round) / mine)
    return float(np.median(shares)) if shares and one.task.traffic else None


def _compared(cell: Cell, one: Contestant) -> dict[str, Any]:
    if not cell.one(cell.base).samples:
        return {}
    ratio = cell.ratio(one)
    if one.label == cell.base:
        return {"ratio_to_relu": 1.0}
    return {
        "ratio_to_relu": ratio.median,
        "ratio_to_relu_ci_low": ratio.low,
        "ratio_to_relu_ci_high": ratio.high,
        "verdict": timings.verdict(ratio, own_band(cell)),
    }
