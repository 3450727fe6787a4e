"""The report of a choice: a sentence that says which activation to take, and a row for each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

from relubench.activations.row_names import row_names
from relubench.errors import UsageError
from relubench.experiments.choosing.answer import Answer, ChoiceRow, Want
from relubench.experiments.choosing.choice import Choice
from relubench.experiments.choosing.contest import Contest
from relubench.experiments.choosing.plan import SequentialPlan
from relubench.experiments.choosing.prices import Price
from relubench.reports.choosing.columns import choice_columns
from relubench.reports.choosing.sentence import more_budget, sentence
from relubench.reports.formatting import count, join_names
from relubench.reports.names import renamed
from relubench.reports.questions import choice_question
from relubench.reports.ranking import RankedSet, ranking_report
from relubench.reports.report import Report, Row, footnotes, run_records
from relubench.version import __version__

MEASURED = (*(field.name for field in fields(Price)), "soundness")
"""Keys of a row that follow from no run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceRecord:
    """All that a report says of a choice, be it made now or read from a file."""

    contests: Sequence[Contest]
    """Those that have begun."""
    answers: Sequence[Answer]
    """One for each of them."""
    plans: Sequence[SequentialPlan]
    want: Want
    budget: str
    device: str | None
    runs: list[Row]
    names: Mapping[str, str]
    """Label -> the name that the user gave."""
    version: str = __version__


def choice_report(choice: Choice) -> Report:
    """The report of a choice, wherever it has stopped."""
    record = ChoiceRecord(
        contests=choice.contests,
        answers=choice.answers,
        plans=choice.plans,
        want=choice.request.want,
        budget=str(choice.request.budget),
        device=choice.studies[0].device.name,
        runs=_runs(choice),
        names=row_names(choice.request.configs[0].act),
    )
    return report_of(record)


def report_of(record: ChoiceRecord) -> Report:
    """The report of what is known of a choice."""
    rows = [row.to_json() for answer in record.answers for row in answer.rows]
    several = len(record.answers) > 1
    within = record.plans[0].within
    texts = [sentence(answer, record.want, within, named=several) for answer in record.answers]
    report = Report(
        command="choose",
        version=record.version,
        device=record.device,
        rows=rows,
        runs=record.runs,
        about=_about(record, rows),
        columns=choice_columns(rows),
        title=_title(record.answers),
        caption=f"wanted: {record.want}; budget {record.budget}",
        notes=footnotes(_notes(record)),
        sentence=" ".join(texts),
        question=choice_question(rows, record.budget),
        figures=("choice",),
    )
    report = renamed(report, record.names)
    ranking = _ranking(record.contests) if several else None
    if ranking is None:
        return report
    ranking = renamed(ranking, record.names)
    about = {**report.about, "ranking": {**ranking.about, "rows": ranking.rows}}
    text = f"{report.sentence} {ranking.sentence}"
    return replace(report, about=about, sentence=text, tables=(report, ranking))


def _ranking(contests: Sequence[Contest]) -> Report | None:
    """One ranking over all contests, by the test scores of the seeds that every activation has; None without any."""
    sets = []
    for contest in contests:
        outcomes, seeds = contest.outcomes, range(contest.plan.looks[0])
        sign = 1.0 if outcomes.task.lower_is_better else -1.0
        scores = {
            label: [sign * score for score in outcomes.test_scores(label, rate, seeds)]
            for label, rate in contest.rates.items()
        }
        sets.append(RankedSet(name=f"{outcomes.dataset}, {outcomes.model}", scores=scores))
    try:
        return ranking_report(sets, "choose")
    except UsageError:
        return None


def _about(record: ChoiceRecord, rows: Sequence[Row]) -> Row:
    """What the JSON has beside rows and runs: the wish, the plans, and each answer in few keys."""
    plans = [plan.to_json() for plan in record.plans]
    pairs = zip(record.answers, record.contests, strict=True)
    answers = [{**_conclusion(answer), **_basis(answer, contest)} for answer, contest in pairs]
    about = {"wanted": record.want, "budget": record.budget, "plans": plans, "answers": answers}
    return {**about, "basis_sha256": _basis_digest(record, rows)}


def _conclusion(answer: Answer) -> Row:
    """What the answer says."""
    recommended = answer.recommended
    return {
        "dataset": answer.rows[0].dataset,
        "model": answer.rows[0].model,
        "recommended": recommended and recommended.activation,
        "best": answer.best,
        "not_told_apart": [row.activation for row in answer.chosen],
        "ended": answer.ended,
        "compared": answer.compared,
        "confirmed": answer.confirmed,
        "runs": answer.runs,
        "more_budget": more_budget(answer),
    }


def _basis(answer: Answer, contest: Contest) -> Row:
    """What the answer follows from beside the runs."""
    return {
        "network": contest.outcomes.model,
        "valid_examples": contest.outcomes.valid_examples,
        "search": contest.search.to_json(),
        "seeds": contest.seeds,
        "confirmation_seeds": list(contest.confirmed),
        **asdict(answer.effort),
    }


def _basis_digest(record: ChoiceRecord, rows: Sequence[Row]) -> str:
    """The SHA-256 of what was measured or given, and follows from nothing: a changed digit of it is found."""
    pairs = zip(record.answers, record.contests, strict=True)
    values = {
        "given": [record.want, record.budget, record.device, record.version, dict(record.names)],
        "answers": [_basis(answer, contest) for answer, contest in pairs],
        "measured": [[row[key] for key in MEASURED] for row in rows],
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _title(answers: Sequence[Answer]) -> str:
    names = dict.fromkeys(f"{answer.rows[0].dataset} · {answer.rows[0].model}" for answer in answers)
    return " and ".join(names) if len(names) < 3 else f"{len(names)} data sets and networks"


def _runs(choice: Choice) -> list[Row]:
    """The runs behind the answer, with their test results."""
    records: list[Row] = []
    for contest, trainings in zip(choice.contests, choice.trainings, strict=True):
        outcomes = contest.outcomes
        masks = {outcomes.results[key].id: mask for key, mask in outcomes.masks.items()}
        results = list({result.id: result for result in outcomes.results.values()}.values())
        records += run_records(results, trainings.timings, lambda result, masks=masks: masks.get(result.id))
    return list({record["id"]: record for record in records}.values())


def _notes(record: ChoiceRecord) -> list[str]:
    plan, rows = record.plans[0], [row for answer in record.answers for row in answer.rows]
    validation = f"{100 * plan.error_rate:g} %"
    notes = [
        f"looks at up to {plan.looks[-1]} seeds decide on the validation data: all pairs and all looks together err in "
        f"at most {validation} of such choices, whenever one stops (alpha spending: Lan & DeMets 1983)",
        f"who is left is trained with fresh seeds and compared on the test set once; these intervals hold together at "
        f"{100 - 100 * plan.confirmation_error_rate:g} %",
    ]
    if any(row.valid_difference is not None and row.test_difference is None for row in rows):
        notes.append("v: a difference on the validation data, at the last look at which both were compared")
    if any(row.training_us_per_example is not None for row in rows):
        base = plan.activations[0]
        notes.append(
            f"training: the time of a training step over that of {base}, in turns on this machine; inference: one "
            "example alone, and an example of a training batch; memory: the most that the network and a training step "
            "take, the data left out; front: no other one is as good in error, time and memory"
        )
    untimed = {row.activation: row.not_timed for row in rows if row.not_timed}
    if untimed:
        why = dict.fromkeys(untimed.values())
        notes += [
            f"not timed: {join_names([n for n in untimed if untimed[n] == reason], 10)}: {reason}" for reason in why
        ]
    notes += _out(rows)
    return notes


def _out(rows: Sequence[ChoiceRow]) -> list[str]:
    """Who is out, and why."""
    lines = []
    worse = [row for row in rows if row.standing == "worse"]
    if worse:
        parts = [f"{row.activation} ({row.reason}, {count(row.out_after_seeds or 0, 'seed')})" for row in worse]
        lines.append(f"out: {join_names(parts, 10)}")
    failed = [row for row in rows if row.standing == "failed"]
    if failed:
        lines.append(
            f"out because it did not train: {join_names([f'{r.activation} ({r.reason})' for r in failed], 10)}"
        )
    return lines
