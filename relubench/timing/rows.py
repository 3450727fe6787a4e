"""The rows of a session: one for each activation, size, dtype, mode and pass, with units in the names."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from relubench.statistics import timings
from relubench.timing.measurement import AgainstItself
from relubench.timing.request import DTYPES
from relubench.timing.schedule import Candidate, Cell, Session
from relubench.timing.traffic import bytes_per_element, roof_ns

SLOW_FIRST = 0.25
"""If the first round takes this much longer than the others, a note says so."""

SLOWER_AT_THE_END = 0.05
"""If roofs and bases become this much slower over the run, a warning says so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedRow:
    """One activation in one cell. Missing is None; the JSON key of `pass_` is `pass`."""

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
    """warm: the input of a call may be in the cache; cold: it is not."""
    outcome: str = "ok"
    ns_per_element: float | None = None
    """Median over the rounds, for each output element."""
    ns_per_element_ci_low: float | None = None
    ns_per_element_ci_high: float | None = None
    gb_per_s: float | None = None
    """10^9 bytes a second, of the least traffic that the pass needs."""
    ratio_to_relu: float | None = None
    ratio_to_relu_ci_low: float | None = None
    ratio_to_relu_ci_high: float | None = None
    verdict: str | None = None
    """faster, slower or no difference, judged by the A/A control's band."""
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


def rows(session: Session) -> list[SpeedRow]:
    """The rows in order of size, dtype, mode and pass, then of the activations in the request."""
    return [_row(cell, candidate) for cell in session.cells for candidate in cell.candidates if _is_row(candidate)]


def runs(session: Session) -> list[dict[str, Any]]:
    """The raw samples of every candidate, those of the A/A control and the roofs included."""
    return [
        {
            "contestant": candidate.label,
            "role": candidate.role,
            "size": cell.size.name,
            "elements": cell.size.elements,
            "dtype": cell.dtype,
            "mode": cell.mode,
            "pass": cell.name,
            "samples_ns_per_element": candidate.samples,
            "position_in_round": candidate.positions,
            "rounds_of_processes": cell.rounds or [len(candidate.samples)],
            "calls_per_sample": candidate.number,
            "first_round_ns_per_element": candidate.first,
        }
        for cell in session.cells
        for candidate in cell.candidates
        if candidate.samples
    ]


def against_itself(session: Session) -> AgainstItself:
    """The A/A control over all cells."""
    return AgainstItself.of([cell.ratio(cell.control) for cell in session.cells if cell.control.samples])


def roofs_gb_per_s(session: Session) -> list[tuple[Cell, str, float]]:
    """The measured roof of every cell and pattern."""
    return [
        (
            cell,
            candidate.label,
            bytes_per_element(candidate.timed_call.traffic, DTYPES[cell.dtype]) / float(np.median(candidate.samples)),
        )
        for cell in session.cells
        for candidate in cell.candidates
        if candidate.role == "roof" and candidate.timed_call is not None and candidate.samples
    ]


def warnings(session: Session) -> list[str]:
    """Warnings from the samples themselves: a slow first round, or a machine that became slower during the run."""
    lines: list[str] = []
    firsts = [
        candidate.first / float(np.median(candidate.samples)) - 1
        for cell in session.cells
        for candidate in cell.candidates
        if candidate.first is not None and candidate.samples and cell.cold
    ]
    if firsts and (slow := float(np.median(firsts))) > SLOW_FIRST:
        lines.append(f"the first round was {100 * slow:.0f} % slower than the others; it is left out")
    references = [
        candidate
        for cell in session.cells
        for candidate in cell.candidates
        if candidate.role == "roof" or candidate.label == cell.base
    ]
    drifts = [timings.drift(reference.samples) for reference in references]
    nonzero_drifts = [drift for drift in drifts if drift]
    if nonzero_drifts and (slower := float(np.median(nonzero_drifts))) > SLOWER_AT_THE_END:
        several = len(session.cells[0].rounds) > 1
        causes = "throttled, busy, or by the processes' chance" if several else "throttled, or busy"
        lines.append(
            f"warning: the machine was {100 * slower:.0f} % slower at the end than at the start ({causes}); ratios are "
            "taken within rounds and bear it, ns do not"
        )
    return lines


def own_band(cell: Cell) -> tuple[float, float]:
    """The A/A band of the cell: that of the ratio of its base to itself."""
    return timings.aa_band(cell.ratio(cell.control)) if cell.control.samples else (0.0, float("inf"))


def _is_row(candidate: Candidate) -> bool:
    return candidate.role in ("activation", "base") and not candidate.skipped


def _row(cell: Cell, candidate: Candidate) -> SpeedRow:
    identity = SpeedRow(
        activation=candidate.label,
        size=cell.size.name,
        elements=cell.size.elements,
        dtype=cell.dtype,
        mode=cell.mode,
        pass_=cell.name,
        cache="cold" if cell.cold else "warm",
    )
    fields = asdict(identity)
    if candidate.timed_call is None or not candidate.samples:
        return SpeedRow(
            **{**fields, "outcome": "failed", "message": candidate.failure or "it was not measured in time"}
        )
    ns = cell.estimate(candidate.samples)
    traffic = candidate.timed_call.traffic
    measured: dict[str, Any] = {
        "storage": candidate.timed_call.storage,
        "ns_per_element": ns.median,
        "ns_per_element_ci_low": ns.low,
        "ns_per_element_ci_high": ns.high,
        "gb_per_s": bytes_per_element(traffic, DTYPES[cell.dtype]) / ns.median if traffic else None,
        "roof_share": _roof_share(cell, candidate),
        "kept_bytes_per_element": candidate.timed_call.kept_bytes,
        "compile_seconds": candidate.timed_call.compile_s,
        "rounds": len(candidate.samples),
        "processes": max(1, len(cell.rounds)),
        "calls_per_sample": candidate.number,
        **_ratio_to_base(cell, candidate),
    }
    return SpeedRow(**{**fields, **measured})


def _roof_share(cell: Cell, candidate: Candidate) -> float | None:
    """The median over rounds of the roof's time over the activation's; None where the pass has no traffic."""
    assert candidate.timed_call is not None
    roofs = [roof for roof in cell.candidates if roof.role == "roof"]
    shares = []
    for index, sample in enumerate(candidate.samples):
        in_round = {roof.label: roof.samples[index] for roof in roofs if index < len(roof.samples)}
        if len(in_round) == len(roofs):
            shares.append(roof_ns(candidate.timed_call.traffic, in_round) / sample)
    return float(np.median(shares)) if shares and candidate.timed_call.traffic else None


def _ratio_to_base(cell: Cell, candidate: Candidate) -> dict[str, Any]:
    if not cell.candidate(cell.base).samples:
        return {}
    ratio = cell.ratio(candidate)
    if candidate.label == cell.base:
        return {"ratio_to_relu": 1.0}
    return {
        "ratio_to_relu": ratio.median,
        "ratio_to_relu_ci_low": ratio.low,
        "ratio_to_relu_ci_high": ratio.high,
        "verdict": timings.verdict(ratio, own_band(cell)),
    }
