"""How to read a result: what its intervals and words mean, and what each of its columns is."""

from __future__ import annotations

from collections.abc import Sequence

from relubench.reports.choosing.columns import MEANINGS
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
ABOUT_CHOICES = (
    "At planned numbers of seeds each pair of activations is compared on the validation data; who is worse beyond "
    "noise is out. All looks and pairs together err in at most as many choices as the notes say, wherever one stops.",
    "Who is left is trained with fresh seeds and compared on the test set once. A number in square brackets is the "
    "interval of that comparison; a v behind it says that it is one of the validation data.",
    "The front holds those that no other activation beats in score, training time and memory together.",
)
ABOUT_RANKS = (
    "A rank is a place among the activations of one data set and network, 1 being the best. Intervals hold the noise "
    "between seeds, and say nothing of other data sets.",
)
ABOUT_TIMES = (
    "Times are of this machine. A ratio is taken within rounds in which both were timed, so that they met the same "
    "machine.",
)


def guidance(reports: Sequence[Report]) -> list[str]:
    """The sentences on how to read these results."""
    commands = {report.command for report in reports if report.rows}
    is_timed = any(report.command == "speed" for report in reports) or "choose" in commands
    return [
        *(ABOUT_TRAINING if commands - {"speed", "choose", "rank"} else ()),
        *(ABOUT_CHOICES if "choose" in commands else ()),
        *(ABOUT_RANKS if "rank" in commands else ()),
        *(ABOUT_TIMES if is_timed else ()),
    ]


def meanings(reports: Sequence[Report]) -> dict[str, str]:
    """Key of the rows -> what it means, with its unit."""
    keys = {key for report in reports for row in report.rows for key, value in row.items() if value is not None}
    of_training = {
        key.name: f"{key.meaning}{f' ({key.unit})' if key.unit else ''}"
        for key in COLUMNS
        if key.name in keys and key.meaning
    }
    is_choice = any(report.command == "choose" for report in reports)
    return of_training | ({key: text for key, text in MEANINGS.items() if key in keys} if is_choice else {})


def reading_html(reports: Sequence[Report]) -> str:
    """The part of the page on how to read it."""
    by_key = meanings(reports)
    columns = folded("What each key of the result means", facts(by_key)) if by_key else ""
    return f'<section><h2 id="reading">How to read it</h2>{bullets(guidance(reports))}{columns}</section>'
