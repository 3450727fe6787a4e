"""Runs as MLflow keeps them: each a run of an experiment, with parameters, metrics by epoch and final numbers."""

from __future__ import annotations

import importlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from relubench.errors import UsageError
from relubench.reports.logs.run import LoggedRun
from relubench.reports.report import Report

INSTALL = "pip install 'relubench[mlflow]'"
TAG = "relubench.run"
"""The tag that holds a run's id: a run that has been logged is not logged again."""
VARIABLES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_DISABLE_TELEMETRY": "true"}
"""What MLflow is told unless the user did: a server that is not there is tried for seconds, and not for minutes."""
MOST_METRICS, MOST_PARAMETERS, MOST_LETTERS = 1000, 100, 500
"""What MLflow takes in one request, and of one parameter."""


def check(address: str) -> None:
    """Raises UsageError where MLflow is not installed, or nothing answers at the address."""
    client = _client(address)
    try:
        client.search_experiments(max_results=1)
    except Exception as error:
        raise _refused(address, error) from error


def write(report: Report, runs: Sequence[LoggedRun], address: str) -> int:
    """The number of runs that were written to the experiment; a run that it has already is left alone."""
    client = _client(address)
    name = f"relubench {report.about.get('preset') or report.command}"
    experiment = client.get_experiment_by_name(name)
    place = client.create_experiment(name) if experiment is None else experiment.experiment_id
    new = [run for run in runs if not client.search_runs([place], f"tags.`{TAG}` = '{run.id}'", max_results=1)]
    for run in new:
        _write_run(client, place, run, report.version)
    return len(new)


def _client(address: str) -> Any:
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module("mlflow").MlflowClient(tracking_uri=address)
    except ImportError as error:
        raise UsageError("--log mlflow needs MLflow, which is not installed here", INSTALL) from error
    except Exception as error:
        raise _refused(address, error) from error


def _refused(address: str, error: Exception) -> UsageError:
    """What is said of any error that MLflow has: a server and a database each have their own."""
    fact = str(error).splitlines()[0] if str(error) else type(error).__name__
    hint = "name a database (sqlite:///runs.db) or a server that runs (http://host:5000)"
    return UsageError(f"--log mlflow:{address}: {fact}", hint)


def _write_run(client: Any, place: str, run: LoggedRun, version: str) -> None:
    entities: Any = importlib.import_module("mlflow.entities")
    end = None if run.finished is None else int(1000 * run.finished)
    start = None if end is None else end - int(1000 * run.seconds)
    tags = {TAG: run.id, "relubench.version": version, "relubench.outcome": run.outcome}
    name = client.create_run(place, start_time=start, tags=tags, run_name=run.name).info.run_id
    parameters = [entities.Param(key, str(value)[:MOST_LETTERS]) for key, value in run.settings.items()]
    for part in _parts(parameters, MOST_PARAMETERS):
        client.log_batch(name, params=part)
    metrics = [entities.Metric(key, value, clock, epoch) for key, value, clock, epoch in _metrics(run, start or 0)]
    for part in _parts(metrics, MOST_METRICS):
        client.log_batch(name, metrics=part)
    client.set_terminated(name, "FINISHED" if run.outcome != "failed" else "FAILED", end)


def _metrics(run: LoggedRun, start: int) -> Iterator[tuple[str, float, int, int]]:
    """Name, value, milliseconds since 1970 and epoch of all numbers."""
    for point in run.points:
        clock = start + int(1000 * (point.seconds or 0.0))
        yield from ((name, value, clock, point.epoch) for name, value in point.values.items())
    end = start + int(1000 * run.seconds)
    yield from ((name, value, end, len(run.points)) for name, value in run.final.items())


def _parts(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """The values in lists of at most `size`."""
    rest = iter(values)
    while part := list(itertools.islice(rest, size)):
        yield part
