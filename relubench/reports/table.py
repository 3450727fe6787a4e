"""A command's result as Python has it: its rows, and a table that prints itself."""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from relubench.experiments.config import ExperimentConfig
from relubench.experiments.rows import Tuning
from relubench.reports.frames import curve_rows, frame, run_rows
from relubench.reports.render import as_html, render
from relubench.reports.report import Report
from relubench.runs.result import RunResult, Timing
from relubench.runs.store import Store
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
        tables = "".join(as_html(table) for table in self.report.tables or [self.report])
        return tables + _figure_html(self.report)

    def page(self, path: str | Path) -> None:
        """Write the result as a page: one .html file that needs no network, or .md for the same in Markdown."""
        from relubench.reports.page.page import page_content
        from relubench.system.output_files import save_file

        save_file("page", user_path(path), page_content([self._page_report()], user_path(path)))

    def _page_report(self) -> Report:
        """What the page is made of."""
        return self.report

    def plot(self, path: str | Path) -> None:
        """Draw the figure of this result into a .png, .svg or .pdf file: learning curves unless it is about another.

        ComputeError where the result has none.
        """
        from relubench.reports.figures.draw import write_figure
        from relubench.reports.figures.source import source_of
        from relubench.reports.figures.table import figure_of

        write_figure(figure_of(source_of(self.report), self.report.figures or ("curves",)), user_path(path))


@dataclass(frozen=True, slots=True, repr=False)
class Results(Table):
    """A finished experiment: its table and its runs."""

    config: ExperimentConfig
    runs: list[RunResult]
    masks: dict[str, np.ndarray]
    """Run id -> which test examples that run got wrong, bool [N]."""
    tuned: list[Tuning] = field(default_factory=list)
    """What `lr="auto"` found for each activation."""

    store: Store | None = None
    """Where the runs lie; their weights are needed for pictures that they fitted."""

    def runs_frame(self) -> Any:
        """One row for each run, so for each seed: a pandas.DataFrame, or a list of rows where pandas is missing."""
        return frame(run_rows(self.runs, self._timings()))

    def curves_frame(self) -> Any:
        """One row for each epoch of each run, in the same form."""
        return frame(curve_rows(self.runs, self._timings()))

    def log(self, place: str) -> None:
        """Write curves, settings and final numbers of the runs to a log: `tensorboard:DIR` or `mlflow:URI`."""
        from relubench.reports.logs.table import Log

        Log.parse(place).write(self.report)

    def _timings(self) -> dict[str, Timing | None]:
        clocks = {run["id"]: run.get("timing") for run in self.report.runs}
        return {name: Timing.from_json(values) if values else None for name, values in clocks.items()}

    def plot(self, path: str | Path) -> None:
        """Draw the figure of this result into a .png, .svg or .pdf file, as --plot does."""
        from relubench.reports.plots.fitted_pictures import has_fits, plot_pictures

        if self.store is not None and has_fits(self.runs, self.store):
            plot_pictures(self.runs, self.store, user_path(path))
            return
        # `super()` without arguments does not find the class that slots have made anew.
        Table.plot(self, path)

    def _page_report(self) -> Report:
        from relubench.reports.plots.fitted_pictures import with_pictures

        return self.report if self.store is None else with_pictures(self.report, self.runs, self.store)


def _figure_html(report: Report) -> str:
    """The figure of the report as a picture in HTML; empty for a report that has none."""
    from relubench.reports.figures.source import source_of
    from relubench.reports.figures.table import figures_of

    figures = figures_of(source_of(report), report.figures)[:1] if report.figures else []
    if not figures:
        return ""
    from relubench.reports.figures.draw import png

    data = base64.b64encode(png(figures[0])).decode("ascii")
    return f'<img alt="{html.escape(figures[0].title)}" src="data:image/png;base64,{data}">'
