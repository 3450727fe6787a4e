"""The logs of --log while a study runs: a point of the curve after each epoch. Its end writes the whole runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from relubench.activations.row_names import row_names
from relubench.cli import output
from relubench.reports.figures.source import named_row
from relubench.reports.logs.run import file_name, run_name
from relubench.reports.logs.table import Log
from relubench.runs.task import task_called

if TYPE_CHECKING:
    from relubench.cli.progress import Display
    from relubench.experiments.events import Event
    from relubench.experiments.study import Study
    from relubench.runs.spec import RunSpec


class LiveLogs:
    """A display that writes the scores that it shows to the logs, too; what fails is said once, and tried no more."""

    def __init__(self, display: Display, study: Study, places: Sequence[str]) -> None:
        self._display, self._study = display, study
        self._curves = {place: curves for place in places if (curves := Log.parse(place).live) is not None}
        self._specs: dict[str, RunSpec] = {}
        self._folders: dict[str, str] = {}

    def show(self, event: Event) -> None:
        self._display.show(event)
        if event.tuning or event.kind not in ("epoch", "done", "failed"):
            return
        for place in list(self._curves):
            try:
                self._write(place, event)
            except Exception as error:
                output.say(f"warning: --log {place}: {error}; the whole runs are written at the end")
                del self._curves[place]

    def close(self) -> None:
        self._display.close()

    def _write(self, place: str, event: Event) -> None:
        if event.kind != "epoch":
            self._curves[place].end(self._folders.get(event.run, ""))
        elif event.valid_score is not None and not event.stage:
            spec = self._spec(event.run)
            named = named_row({**spec.to_json(), **spec.notes()}, row_names(self._study.config.act))
            folder = self._folders[event.run] = file_name(run_name(named), event.run)
            # The epochs of an event include those of pre-training, which come first.
            epoch = round(event.epochs_done) - (event.epochs - spec.epochs)
            self._curves[place].add(folder, f"valid/{task_called(event.task).metric}", epoch, event.valid_score)

    def _spec(self, run: str) -> RunSpec:
        if run not in self._specs:
            self._specs = {spec.id: spec for spec in reversed(self._study.specs)}
        return self._specs[run]
