"""A study that Python starts: carried out without a word but for Python's warnings. Torch-free."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from pathlib import Path

from relubench.errors import WARNING, ComputeError
from relubench.experiments.config import ExperimentConfig
from relubench.experiments.l1_range import RangeSearch
from relubench.experiments.plan import Variant
from relubench.experiments.python_objects import outermost_computation
from relubench.experiments.study import Study
from relubench.system.paths import user_path

Place = str | Path | None
"""A folder that a user names."""


def open_study(
    request: ExperimentConfig | Sequence[Variant], data_dir: Place, runs_dir: Place, fresh: bool = False
) -> Study:
    """The study of a configuration or of a preset's variants; what can be refused is refused here."""
    notes: list[str] = []
    with outermost_computation():
        study = Study.open(request, data_dir=_path(data_dir), runs_dir=_path(runs_dir), fresh=fresh, note=notes.append)
    _warn(notes)
    return study


def carry_out(study: Study) -> None:
    """Runs a study to its end; raises ComputeError where no run could be computed."""
    notes: list[str] = []
    study.note = notes.append
    with outermost_computation():
        failures = [f"{event.message} ({event.hint})" for event in study.run() if event.kind == "failed"]
    _warn(notes)
    if not any(result.outcome != "failed" for result in study.results):
        raise ComputeError(f"none of the {study.total} runs could be computed", "; ".join(dict.fromkeys(failures)))


def with_drawn_strengths(
    config: ExperimentConfig, num_nets: int, data_dir: Place, runs_dir: Place, fresh: bool
) -> ExperimentConfig:
    """The configuration of so many networks, whose strengths span the range that short runs find."""
    search = RangeSearch(config, lambda text: None)
    with outermost_computation():
        for study in search.studies(data_dir=_path(data_dir), runs_dir=_path(runs_dir), fresh=fresh):
            for _ in study.run():
                pass
    return search.sampled(num_nets)


def _path(place: Place) -> Path | None:
    return user_path(place) if place is not None else None


def _warn(lines: Sequence[str]) -> None:
    """Raises each line that begins with WARNING as a Python warning where `train` was called."""
    for line in lines:
        if line.startswith(WARNING):
            warnings.warn(line.removeprefix(WARNING), stacklevel=_level_of_caller())


def _level_of_caller() -> int:
    """How many calls above the function that asks the first function outside of the package stands."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").startswith("relubench."):
        frame, level = frame.f_back, level + 1
    return level
