"""An audit of a saved table: every number that follows from others in the file is derived from them again.

A run's id follows from its specification, its test error from which test examples it got wrong, its best epoch and
validation error from its curve, and a row's numbers (intervals, differences, p values, verdicts) from its runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from relubench.errors import RelubenchError
from relubench.experiments.comparison import Comparison
from relubench.reports.choosing.recorded import recorded_values
from relubench.reports.formatting import count, join_names
from relubench.reports.record_faults import faults
from relubench.reports.report import BESIDE_RESULT, DIGEST, Report, Row, footnotes, listing, record_digest
from relubench.reports.saved import MATCHED, check_choice, read_content, read_object
from relubench.reports.training.summary import summarize
from relubench.runs.result import RunResult, Timing
from relubench.runs.spec import RunSpec
from relubench.runs.task import CLASSIFICATION, TASKS, Task
from relubench.statistics.example_scores import Scores, unpack
from relubench.statistics.sequential import Looks
from relubench.version import __version__

NOT_OF_RUNS = ("lr_budget", "lr_edge")
"""Keys of a row that follow from trainings that are not in the file: the search of --lr auto."""


@dataclass(frozen=True, slots=True)
class Number:
    """A value of the file beside the value that follows from the rest of the file."""

    place: str
    """'run 0123abcd...', or 'row 2, tanh'."""
    key: str
    in_file: Any
    derived: Any

    @property
    def agrees(self) -> bool:
        if isinstance(self.in_file, float) and isinstance(self.derived, int | float):
            return math.isclose(self.in_file, self.derived, rel_tol=1e-9, abs_tol=1e-12)
        return self.in_file == self.derived


def audit(path: Path) -> Report:
    """The values that disagree, a row each; raises UsageError for a file that holds no training table."""
    content = read_object(path)
    is_choice = content["command"] == "choose"
    if is_choice:
        check_choice(content, path)
    else:
        read_content(path)
    damage = [number for run in content["runs"] for number in _damage_of(run)]
    damaged_runs = {number.place for number in damage}
    sound_runs = [run for run in content["runs"] if _place_of(run) not in damaged_runs]
    numbers = damage + [number for run in sound_runs for number in _of_run(run)]
    numbers_of_rows, underived = (_of_choice(content), []) if is_choice else _of_rows(content)
    numbers += [number for number in numbers_of_rows if not (damage and number.key == "all")]
    rows = [
        {"place": number.place, "key": number.key, "in_file": number.in_file, "derived": number.derived}
        for number in numbers
        if not number.agrees
    ]
    report = listing("check", rows, title=str(path), notes=footnotes(_notes(content, underived)))
    return replace(report, sentence=_sentence(len(numbers), rows, content))


def _of_choice(content: Mapping[str, Any]) -> list[Number]:
    """Everything in the file of a choice beside what it derives from."""
    try:
        return [Number(*values) for values in recorded_values(content)]
    except (RelubenchError, TypeError, KeyError, ValueError, IndexError, AttributeError, ArithmeticError):
        return [Number("rows", "all", "as written", "the values of the file contradict each other")]


def _place_of(run: Row) -> str:
    return f"run {run['id']}"


def _damage_of(run: Row) -> list[Number]:
    """The values of a run that are not of their kind, and those that are missing."""
    record = {key: value for key, value in run.items() if key not in BESIDE_RESULT}
    wrong = [*faults(record, RunResult), *faults(run["spec"], RunSpec, "spec")]
    if run.get("timing") is not None:
        wrong += faults(run["timing"], Timing, "timing")
    return [Number(_place_of(run), fault.place, fault.value, fault.expected) for fault in wrong]


def _of_run(run: Row) -> list[Number]:
    """What of a run follows from its specification, its mask and its curve."""
    place, numbers = _place_of(run), []
    try:
        numbers.extend(_derived_of_run(run, place))
    except (TypeError, KeyError, IndexError, AttributeError, ValueError, ArithmeticError):
        numbers.append(Number(place, "all", "as written", "its values contradict each other"))
    return numbers


def _derived_of_run(run: Row, place: str) -> Iterator[Number]:
    yield Number(place, "id", run["id"], RunSpec.from_json(run["spec"]).id)
    if DIGEST in run:
        yield Number(place, DIGEST, run[DIGEST], record_digest(run))
    yield Number(place, "curve[].epoch", [point["epoch"] for point in run["curve"]], [*range(1, len(run["curve"]) + 1)])
    if task := TASKS.get(run["spec"].get("task", CLASSIFICATION)):
        yield from _scores_of_run(place, run, task)
    zeros = run.get("sparsity_by_layer_pct") or []
    if zeros:
        yield Number(place, "sparsity_pct", run["sparsity_pct"], sum(zeros) / len(zeros))
    layers = run.get("dead_units") or []
    if layers:
        dead, units = (sum(layer[key] for layer in layers) for key in ("dead", "units"))
        yield Number(place, "dead_units_pct", run["dead_units_pct"], 100.0 * dead / units)


def _scores_of_run(place: str, run: Row, task: Task) -> Iterator[Number]:
    """The test score by its examples, and the best epoch with its score by the curve."""
    valid_key = "valid_error_pct" if task.name == CLASSIFICATION else "valid_metric"
    curve = run.get("curve") or []
    yield from _test_score(place, run, task)
    scores = [point.get(valid_key) for point in curve]
    if run["outcome"] in ("ok", "stalled") and scores and None not in scores:
        best = (min if task.lower_is_better else max)(range(len(scores)), key=scores.__getitem__)
        yield Number(place, "best_epoch", run["best_epoch"], curve[best]["epoch"])
        yield Number(place, valid_key, run[valid_key], scores[best])
        yield Number(place, "epochs", run["epochs"], curve[-1]["epoch"])


def _test_score(place: str, run: Row, task: Task) -> Iterator[Number]:
    examples_key = "test_wrong" if task.per_example == "wrong" else "test_losses"
    score_key = "test_error_pct" if task.name == CLASSIFICATION else "test_metric"
    if run.get(score_key) is None or not run.get(examples_key):
        return
    try:
        scores = unpack(run[examples_key], run["test_examples"])
    except ValueError:
        yield Number(place, examples_key, "as written", "the packed results of its test examples")
        return
    yield Number(place, score_key, run[score_key], task.score(scores))


def _of_rows(content: Mapping[str, Any]) -> tuple[list[Number], list[str]]:
    """What of the rows follows from the runs, and the names of the rows of which nothing does."""
    try:
        masks, timings, results = _runs_of(content["runs"])
        derived_rows = _derived_rows(content, results, timings, masks)
    except RelubenchError as error:
        return [Number("rows", "all", "as written", f"they cannot be derived: {error.message}")], []
    except (TypeError, KeyError, ValueError, IndexError, AttributeError, ArithmeticError):
        return [Number("rows", "all", "as written", "the values of the runs contradict each other")], []
    by_name = {_name(row): row for row in derived_rows}
    numbers = _rows_without_runs(content["rows"], by_name)
    underived: list[str] = []
    for position, row in enumerate(content["rows"], 1):
        derived = by_name.get(_name(row))
        if derived is None or row.get("test_noise"):
            underived.append(f"row {position} ({row['activation']})")
            continue
        keys = [key for key in row if key in derived and key not in NOT_OF_RUNS]
        numbers += [Number(f"row {position}, {row['activation']}", key, row[key], derived[key]) for key in keys]
    return numbers, underived


def _rows_without_runs(rows: Sequence[Row], derived_rows: Mapping[tuple[Any, ...], Row]) -> list[Number]:
    """Rows of which there is no run, or that stand there twice, and runs of which there is no row.

    A study's variants may share runs, which stand in the file once, and rows under noise have none.
    """
    if any(row.get("variant") or row.get("test_noise") for row in rows):
        return []
    names = [_name(row) for row in rows]
    places = [f"row {position}, {row['activation']}" for position, row in enumerate(rows, 1)]
    numbers = [
        Number(place, "row", "as written", "the file has no run of it")
        for place, name in zip(places, names, strict=True)
        if name not in derived_rows
    ]
    numbers += [
        Number(place, "row", "as written", "the same row stands above")
        for position, (place, name) in enumerate(zip(places, names, strict=True))
        if name in names[:position]
    ]
    missing = [row for name, row in derived_rows.items() if name not in names]
    return numbers + [Number(f"runs of {row['activation']}", "row", "absent", "one row") for row in missing]


def _runs_of(runs: Sequence[Row]) -> tuple[dict[str, Scores], dict[str, Timing | None], list[RunResult]]:
    """Masks and timings by run id, and the results."""
    texts = {run["id"]: run.get("test_wrong") or run.get("test_losses") for run in runs}
    masks = {run["id"]: unpack(text, run["test_examples"]) for run in runs if (text := texts[run["id"]])}
    timings = {run["id"]: Timing.from_json(run["timing"]) if run.get("timing") else None for run in runs}
    results = [RunResult.from_json({key: run[key] for key in run if key not in BESIDE_RESULT}) for run in runs]
    return masks, timings, results


def _derived_rows(
    content: Mapping[str, Any],
    results: Sequence[RunResult],
    timings: Mapping[str, Timing | None],
    masks: Mapping[str, Scores],
) -> list[Row]:
    if content["command"] != "ablate-sparsity":
        comparison = _comparison(content)
        return summarize(results, timings, lambda run: masks.get(run.id), (), comparison).json_rows()
    labels = dict.fromkeys(result.spec["activation"] for result in results)
    rows: list[Row] = []
    for label in labels:
        of_label = [result for result in results if result.spec["activation"] == label]
        rows += summarize(of_label, timings, lambda run: masks.get(run.id), by_strength=True).json_rows()
    return rows


def _comparison(content: Mapping[str, Any]) -> Comparison | None:
    """What the rows of a preset, or of a training by looks, are compared with; None for any other table."""
    if isinstance(plan := content.get("plan"), dict):
        looks = Looks(seeds=tuple(plan["looks"]), error_rate=plan["error_rate"])
        return Comparison(looks=looks, look=content["look"] or plan["looks"][0])
    if not content.get("preset"):
        return None
    from relubench.experiments.presets.catalogue import open_preset

    return open_preset(content["preset"], content.get("scale")).comparison


def _name(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(key) or 0 for key in MATCHED)


def _notes(content: Mapping[str, Any], underived: Sequence[str]) -> list[str]:
    notes = []
    if content["version"] != __version__:
        notes.append(f"written by version {content['version']}, derived by {__version__}")
    if underived:
        notes.append(f"not derived, because the file does not hold their test results: {join_names([*underived])}")
    if any(row.get("lr_budget") for row in content["rows"]):
        notes.append("not derived: what --lr auto searched, because its trainings are not in the file")
    return notes


def _sentence(num_numbers: int, rows: Sequence[Row], content: Mapping[str, Any]) -> str:
    of_what = f"{count(len(content['rows']), 'row')} and {count(len(content['runs']), 'run')}"
    if not rows:
        return f"All {num_numbers:,} numbers that follow from others agree: {of_what}."
    return f"{len(rows):,} of {num_numbers:,} numbers that follow from others disagree: {of_what}."
