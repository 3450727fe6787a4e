"""The report of a finished timing of operators."""

from __future__ import annotations

from relubench.reports.report import Report
from relubench.reports.speed.operators import Course, speed_report
from relubench.timing import rows as timed
from relubench.timing.schedule import Session


def operator_report(session: Session, warnings: list[str], device: str) -> Report:
    """The table of these operators; `warnings` is what a reader has to know of the machine meanwhile."""
    aa = timed.against_itself(session)
    course = Course(
        clock=session.clock.name,
        ended=session.ended,
        rounds=session.rounds,
        processes=max((len(cell.rounds) for cell in session.cells), default=0) or 1,
        seconds=session.seconds,
        budget_s=session.request.budget_s,
        rel_ci=session.request.rel_ci,
        aa_cells=aa.cells,
        aa_called=aa.called,
        aa_expected=aa.expected,
        aa_widest=aa.widest,
        roofs=[(cell.size.name, cell.dtype, name, gb) for cell, name, gb in timed.roofs_gb_per_s(session)],
        warnings=[*warnings, *timed.warnings(session)],
        sizes=[(size.name, size.elements) for size in session.request.sizes],
    )
    return speed_report([row.to_json() for row in timed.rows(session)], timed.runs(session), course, device=device)
