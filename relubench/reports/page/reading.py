"""How to read a result: what its intervals and words mean, and what each of its columns is."""

from __future__ import annotations

from collections.abc import Sequence

from relubench.reports.page.markup import bullets, facts, folded
from relubench.reports.report import Report
from relubench.reports.training.columns import COLUMNS

ABOUT_TRAINING = (
    "Rows differ in nothing but what their names say: networks of one seed saw the same batches in the same order.",
    "A number in square brackets is a 95 % interval. Of several seeds it holds the noise between trainings and that of "
    "the test set; of one seed that of the test set alone.",
    "A difference is between pairs of networks of one seed, example by example. It is called noise where its interval "
    "holds 0. The intervals of all differences of a table hold together.",
    "The dot and line under a number draw its interval on one scale for the whole column; the thin mark is 0.",
    "Published numbers were measured by others, on other machines; the word beside them says what a comparison can "
    "say.",
)
ABOUT_TIMES = (
    "Times are of this machine. A ratio is taken within rounds in which both were timed, so that they met the same "
    "machine.",
)


def guidance(reports: Sequence[Report]) -> list[str]:
    """The sentences on how to read these results."""
    is_timed = any(report.command == "speed" for report in reports)
    is_trained = any(row for report in reports if report.command != "speed" for row in report.rows)
    return [*(ABOUT_TRAINING if is_trained else ()), *(ABOUT_TIMES if is_timed else ())]


def meanings(reports: Sequence[Report]) -> dict[str, str]:
    """Key of the rows -> what it means, with its unit."""
    keys = {key for report in reports for row in report.rows for key, value in row.items() if value is not None}
    return {
        key.name: f"{key.meaning}{f' ({key.unit})' if key.unit else ''}"
        for key in COLUMNS
        if key.name in keys and key.meaning
    }


def reading_html(reports: Sequence[Report]) -> str:
    """The part of the page on how to read it."""
    by_key = meanings(reports)
    columns = folded("What each key of the result means", facts(by_key)) if by_key else ""
    return f'<section><h2 id="reading">How to read it</h2>{bullets(guidance(reports))}{columns}</section>'
