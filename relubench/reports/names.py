"""A report with the names that the user gave to its rows: wherever a person reads; the keys of the rows stay."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from relubench.activations.row_names import row_names
from relubench.reports.report import Column, Note, Report, Row


def with_names(report: Report, acts: Sequence[str]) -> Report:
    """The report with the names that these texts of --act give, and a note on what each stands for."""
    return renamed(report, row_names(acts))


def renamed(report: Report, names: Mapping[str, str]) -> Report:
    """The report in which each label of `names` is written as its name."""
    if not names:
        return report
    with_name = _replacement(names)
    report = renamed_columns(report, names)
    meanings = [Note(f"{name}: {label}") for label, name in names.items()]
    return replace(
        report,
        title=with_name(report.title),
        caption=with_name(report.caption),
        notes=[*meanings, *(replace(note, text=with_name(note.text)) for note in report.notes)],
        sentence=with_name(report.sentence),
        question=with_name(report.question),
        against=with_name(report.against),
    )


def renamed_columns(report: Report, names: Mapping[str, str]) -> Report:
    """The report in whose columns and figures each label is written as its name, and whose texts have it already."""
    if not names:
        return report
    columns = [_renamed_column(column, _replacement(names)) for column in report.columns]
    return replace(report, columns=columns, names=dict(names))


def _replacement(names: Mapping[str, str]) -> Callable[[str], str]:
    pattern = _pattern(list(names))
    return lambda text: pattern.sub(lambda match: names[match[0]], text)


def _pattern(labels: Sequence[str]) -> re.Pattern[str]:
    """Finds a label that is no part of a longer word or formula; of two that begin alike the longer one."""
    longest_first = sorted(labels, key=len, reverse=True)
    alternatives = "|".join(re.escape(label) for label in longest_first)
    return re.compile(rf"(?<![\w.*/^(-])(?:{alternatives})(?![\w*/^(-])")


def _renamed_column(column: Column, with_name: Callable[[str], str]) -> Column:
    def cell(row: Row) -> list[str]:
        return [with_name(part) for part in column.cell(row)]

    return replace(column, header=with_name(column.header), cell=cell)
