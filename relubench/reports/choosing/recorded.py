"""A choice read back from the JSON that `choose --format json` wrote, and decided again from its runs. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from relubench.experiments.choosing.answer import Answer, Effort, answer_of
from relubench.experiments.choosing.contest import Contest
from relubench.experiments.choosing.outcomes import Outcomes
from relubench.experiments.choosing.plan import SequentialPlan
from relubench.experiments.choosing.prices import Price
from relubench.experiments.choosing.rates import RateSearch
from relubench.reports.choosing.report import ChoiceRecord, report_of
from relubench.reports.render import Screen, as_json
from relubench.reports.report import BESIDE_RESULT, Report, Row
from relubench.runs.result import RunResult
from relubench.runs.task import task_called
from relubench.statistics.example_scores import unpack


def recorded_report(content: Mapping[str, Any]) -> Report:
    """The report of the choice in a file: all of it follows from its runs, its plans, and what it has measured."""
    plans = [SequentialPlan.from_json(values) for values in content["plans"]]
    groups = [[row for row in content["rows"] if _belongs(row, entry)] for entry in content["answers"]]
    begun = [*zip(content["answers"], plans, groups, strict=False)]
    contests = [_contest(entry, plan, rows, content["runs"]) for entry, plan, rows in begun]
    answers = [
        _answer(contest, content["wanted"], entry, rows)
        for contest, (entry, _, rows) in zip(contests, begun, strict=True)
    ]
    record = ChoiceRecord(
        contests=contests,
        answers=answers,
        plans=plans,
        want=content["wanted"],
        budget=content["budget"],
        device=content["device"],
        version=content["version"],
        runs=content["runs"],
        names=content["words"]["names"],
    )
    return report_of(record)


def recorded_values(content: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, Any]]:
    """Place, key, the value in the file and the derived one, of all that the file says beside its runs."""
    derived = json.loads(as_json(recorded_report(content), Screen()))
    words = {"words": {**derived["words"], "command_line": content["words"].get("command_line")}}
    for key in dict.fromkeys([*derived, *content]):
        if key == "rows":
            yield from _row_values(content[key], derived[key])
        elif key != "runs":
            yield from _leaves(key, "", content.get(key), (derived | words).get(key))


def _row_values(in_file: Sequence[Row], derived: Sequence[Row]) -> Iterator[tuple[str, str, Any, Any]]:
    yield "rows", "number", len(in_file), len(derived)
    for place, (row, derived_row) in enumerate(zip(in_file, derived, strict=False), 1):
        yield from _leaves(f"row {place}, {derived_row['activation']}", "", row, derived_row)


def _leaves(place: str, key: str, in_file: Any, derived: Any) -> Iterator[tuple[str, str, Any, Any]]:
    """The numbers and words of two nested values, each with the path to it."""
    if isinstance(in_file, dict) and isinstance(derived, dict):
        for name in dict.fromkeys([*derived, *in_file]):
            yield from _leaves(place, f"{key}.{name}".lstrip("."), in_file.get(name), derived.get(name))
    elif isinstance(in_file, list) and isinstance(derived, list) and len(in_file) == len(derived):
        for number, (item, derived_item) in enumerate(zip(in_file, derived, strict=True)):
            yield from _leaves(place, f"{key}[{number}]", item, derived_item)
    else:
        yield place, key or place, in_file, derived


def _belongs(record: Row, entry: Row) -> bool:
    """Whether a row, or the specification of a run, is of this data set and network."""
    return record["dataset"] == entry["dataset"] and record["model"] in (entry["model"], entry["network"])


def _contest(entry: Row, plan: SequentialPlan, rows: Sequence[Row], runs: Sequence[Row]) -> Contest:
    """The contest, decided again by its runs as far as it had come."""
    outcomes = Outcomes(entry["dataset"], entry["network"], task_called(rows[0]["task"]), entry["valid_examples"])
    for run in runs:
        if _belongs(run["spec"], entry):
            packed = run.get("test_wrong") or run.get("test_losses")
            result = RunResult.from_json({key: run[key] for key in run if key not in BESIDE_RESULT})
            outcomes.add(result, unpack(packed, run["test_examples"]) if packed else None)
    search = RateSearch.of_runs(entry["search"], outcomes, plan.activations)
    contest = Contest(plan.activations, plan, outcomes, search)
    contest.begin()
    for seeds in plan.looks:
        if seeds <= entry["seeds"]:
            contest.look(seeds)
    if entry["confirmation_seeds"]:
        contest.confirm(entry["confirmation_seeds"])
    return contest


def _answer(contest: Contest, want: Any, entry: Row, rows: Sequence[Row]) -> Answer:
    """Its answer, with the prices that were measured."""
    names = [field.name for field in fields(Price)]
    prices = {row["activation"]: Price(**{name: row[name] for name in names}) for row in rows}
    soundness = {row["activation"]: row["soundness"] for row in rows if row["soundness"] is not None}
    effort = Effort(**{field.name: entry[field.name] for field in fields(Effort)})
    return answer_of(contest, want, prices, soundness, effort)
