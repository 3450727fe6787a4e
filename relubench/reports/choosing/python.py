"""`relubench.choose`: the command's work from Python, the same settings by the same names."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from relubench.errors import ComputeError
from relubench.experiments.choosing.budget import parse_budget
from relubench.experiments.choosing.choice import Choice
from relubench.experiments.choosing.request import choice_request
from relubench.experiments.events import Event
from relubench.experiments.named_settings import configuration
from relubench.experiments.python_study import Place, open_study
from relubench.experiments.study import Study
from relubench.reports.choosing.report import choice_report
from relubench.reports.ranking import ranking_report, sets_of
from relubench.reports.saved import read_table
from relubench.reports.table import Table
from relubench.system.paths import user_path


def choose(
    act: object = None,
    *,
    budget: str = "20m",
    want: Literal["error", "time", "memory"] = "error",
    within: float | None = None,
    seeds: str | Sequence[int] = (3, 20),
    dataset: object = None,
    model: str | Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    data_dir: Place = None,
    runs_dir: Place = None,
    **named: Any,
) -> Table:
    """What `relubench choose` answers: which activation to take, what cannot be told apart from it, and what it costs.

    `seeds` are those of the first look and of the last; `dataset` and `model` may be lists of names. `named` are the
    flags of the command (see TrainingSettings). ComputeError if no activation has a score.

    >>> relubench.choose(["relu", "gelu"], dataset="digits", budget="40runs", epochs=5).report.sentence
    """
    datasets, single = _several(dataset)
    models = [model] if isinstance(model, str) else list(model or ())
    one_set = {} if single is None else {"dataset": single}
    config = configuration(act, {**named, **one_set}, settings, defaults={"train": {"lr": "auto"}})
    request = choice_request(
        config,
        datasets=datasets,
        models=models,
        budget=parse_budget(budget),
        want=want,
        within=within,
        seeds=seeds,
    )
    choice = Choice.open(request, lambda variants: open_study(variants, data_dir, runs_dir), _watch)
    choice.run()
    return _table(choice)


def _table(choice: Choice) -> Table:
    """The answer of a choice that was carried out; Ctrl-C is the caller's, and no score at all is ComputeError."""
    if choice.interrupted:
        raise KeyboardInterrupt
    if not any(row.valid_metric is not None for answer in choice.answers for row in answer.rows):
        raise ComputeError("no activation has a score yet", "give a larger budget")
    return Table(choice_report(choice))


def rank(*files: str | Path) -> Table:
    """What `relubench rank` finds: one ranking over the data sets and networks of results (files of `--format json`).

    >>> relubench.rank("mnist.json", "fashion.json")
    """
    return Table(ranking_report(sets_of([read_table(user_path(path)) for path in files])))


def _watch(study: Study, events: Generator[Event]) -> bool:
    """Goes through the events without a word."""
    for _ in events:
        pass
    return False


def _several(dataset: object) -> tuple[list[str], Any]:
    """Names of data sets, or one data set of any other kind: arrays, a mapping."""
    if isinstance(dataset, str | Path):
        return [str(dataset)], None
    if isinstance(dataset, Sequence) and all(isinstance(name, str | Path) for name in dataset):
        return [str(name) for name in dataset], None
    return [], dataset
