"""The report of a finished timing of operators."""

from __future__ import annotations

from relubench.reports.report import Report
from relubench.reports.speed.operators import speed_report
from relubench.timing import rows as timed
from relubench.timing.measurement import of_session
from relubench.timing.schedule import Session


def operator_report(session: Session, warnings: list[str], device: str) -> Report:
    """The table of these operators; `warnings` is what a reader has to know of the machine meanwhile."""
    roofs = [(cell.size.name, cell.dtype, name, gb) for cell, name, gb in timed.roofs_gb_per_s(session)]
    notes = [*warnings, *timed.warnings(session)]
    measurement = of_session(session, timed.against_itself(session), notes, roofs=roofs)
    rows = [row.to_json() for row in timed.rows(session)]
    return speed_report(rows, timed.runs(session), measurement, device=device)
