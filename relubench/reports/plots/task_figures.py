"""The figure that the tasks of a result have in place of curves: fitted pictures, or differences of several tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from relubench.reports.plots.differences import has_several_tasks, plot_differences
from relubench.reports.plots.fitted_pictures import are_pictures, plot_pictures
from relubench.runs.result import RunResult
from relubench.runs.store import Store


def draw_tasks(results: Sequence[RunResult], rows: Sequence[Mapping[str, Any]], store: Store, path: Path) -> bool:
    """Draws the figure and returns True; False, and no file, for a result whose tasks have none of their own.

    Of pictures the stored weights are needed. Raises ComputeError if the file cannot be written.
    """
    if are_pictures(results) and any(store.weights(result.id) is not None for result in results):
        plot_pictures(results, store, path)
        return True
    if has_several_tasks(rows):
        plot_differences(rows, path)
        return True
    return False
