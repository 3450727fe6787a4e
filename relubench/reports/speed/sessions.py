"""The reports of finished timings, of each kind: what was measured becomes rows, and how it went becomes notes."""

from __future__ import annotations

from dataclasses import dataclass

from relubench.experiments.operator_inputs import RecordedInputs
from relubench.experiments.record import StudyRecord
from relubench.experiments.timings import Timed
from relubench.reports.report import Report, Row
from relubench.reports.speed.arithmetic import arithmetic_report, article_cycles
from relubench.reports.speed.networks import article_speed, network_report
from relubench.reports.speed.operators import speed_report
from relubench.reports.speed.sparse_products import WAYS, sparsity_report
from relubench.runs.task import task_of
from relubench.timing import arithmetic, networks, rows, score_times, sparse_products
from relubench.timing.measurement import of_session, of_steps
from relubench.timing.schedule import Session
from relubench.timing.step_times import compiled_times, step_records, step_times
from relubench.timing.steps import StepBenchmark


def operators_timed(timed: Timed[Session], recorded: RecordedInputs | None = None) -> Report:
    """The table of timed operators, on normal inputs and, where there are any, on recorded ones."""
    session = timed.measurement
    roofs = [(cell.size.name, cell.dtype, name, gb) for cell, name, gb in rows.roofs_gb_per_s(session)]
    lines = [*timed.warnings, *rows.warnings(session)]
    measurement = of_session(session, rows.against_itself(session), lines, roofs=roofs)
    table = [row.to_json() for row in rows.rows(session)]
    return speed_report(table, rows.runs(session), measurement, device=timed.device, recorded=recorded)


def arithmetic_timed(timed: Timed[Session]) -> Report:
    """The table of timed operations."""
    session = timed.measurement
    lines = [*timed.warnings, *rows.warnings(session)]
    measurement = of_session(session, arithmetic.against_itself(session), lines)
    table = [row.to_json() for row in arithmetic.rows(session, article_cycles())]
    return arithmetic_report(table, rows.runs(session), measurement, device=timed.device)


def products_timed(record: StudyRecord, timed: Timed[Session], settings: list[sparse_products.Setting]) -> Report:
    """The tables of the timed products of the study's one network."""
    session = timed.measurement
    table = sparse_products.sparsity_rows(session, settings)
    even = {
        (batch, way): sparse_products.break_even(table, way, batch) for batch in sparse_products.BATCHES for way in WAYS
    }
    spec, lines = record.results[0].spec, [*timed.warnings, *rows.warnings(session)]
    subject = f"{spec['dataset']} · {spec['model']} · {spec['activation']}"
    measurement = of_session(session, rows.against_itself(session), lines, subject=subject)
    return sparsity_report(
        [row.to_json() for row in table], rows.runs(session), even, measurement, device=record.device
    )


@dataclass(frozen=True, slots=True)
class TimedNetworks:
    """The tables of timed networks, and the points of every activation's error against time."""

    report: Report
    points: list[Row]


def networks_timed(
    record: StudyRecord, timed: Timed[StepBenchmark] | None, target: float | None, num_images: int
) -> TimedNetworks:
    """The tables of trained networks and their timed steps, if there are any; `num_images`: those of an epoch."""
    race = timed.measurement if timed else None
    results, timings = record.results, record.timings
    times, compiled = (step_times(race), compiled_times(race)) if race else ({}, {})
    goal = target if target is not None else networks.common_target(results)
    article = article_speed(results[0].spec)
    rows_of_networks = networks.network_rows(results, times, num_images, goal, article, timings, compiled)
    table = [row.to_json() for row in rows_of_networks]
    points = score_times.points(results, times, num_images, timings)
    lower_is_better = task_of(results[0].spec).lower_is_better
    front = [point.to_json() for point in score_times.front(points, lower_is_better=lower_is_better)]
    measurement = of_steps(race, timed.warnings, num_images) if timed and race else None
    runs = _network_runs(record, race)
    report = network_report(table, runs, front, measurement, device=record.device)
    return TimedNetworks(report, [point.to_json() for point in points])


def _network_runs(record: StudyRecord, race: StepBenchmark | None) -> list[Row]:
    """The trainings and the timed steps as they stand in the JSON."""
    runs: list[Row] = []
    for result in record.results:
        timing = record.timings.get(result.id)
        runs.append({**result.to_json(), "timing": timing.to_json() if timing else None})
    return runs + (step_records(race) if race else [])
