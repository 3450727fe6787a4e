"""A command's result as Python has it: its rows, and a table that prints itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from relubench.experiments.config import ExperimentConfig
from relubench.experiments.rows import Tuning
from relubench.reports.render import as_html, render
from relubench.reports.report import Report
from relubench.runs.result import RunResult
from relubench.system.paths import user_path

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """A command's table: its rows, and the table itself (text when printed, HTML in a notebook)."""

    report: Report

    @property
    def rows(self) -> list[Row]:
        """One dictionary a row, with the keys of `--format json`."""
        return self.report.rows

    def to_records(self) -> list[Row]:
        """Copies of the rows, as pandas.DataFrame takes them."""
        return [dict(row) for row in self.report.rows]

    def __repr__(self) -> str:
        return render(self.report, "table", colour=False)

    def _repr_html_(self) -> str:
        return "".join(as_html(table) for table in self.report.tables or [self.report])


@dataclass(frozen=True, slots=True, repr=False)
class Results(Table):
    """A finished experiment: its table and its runs."""

    config: ExperimentConfig
    runs: list[RunResult]
    masks: dict[str, np.ndarray]
    """Run id -> which test examples that run got wrong, bool [N]."""
    tuned: list[Tuning] = field(default_factory=list)
    """What `lr="auto"` found for each activation."""

    def plot(self, path: str | Path) -> None:
        """Draw the figure of this result into a .png, .svg or .pdf file: learning curves unless it is about another."""
        from relubench.reports.figures.draw import write_figure
        from relubench.reports.figures.source import source_of
        from relubench.reports.figures.table import figure_of

        write_figure(figure_of(source_of(self.report), self.report.figures or ("curves",)), user_path(path))
