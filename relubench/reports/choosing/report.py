"""The report of a choice: a sentence that says which activation to take, and a row for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from relubench.errors import UsageError
from relubench.experiments.choosing.answer import Answer, ChoiceRow
from relubench.experiments.choosing.choice import Choice
from relubench.reports.choosing.sentence import more_budget, sentence
from relubench.reports.formatting import bracket, count, fixed, join_names, readable, short, signed, signed_bracket
from relubench.reports.names import with_names
from relubench.reports.ranking import RankedSet, ranking_report
from relubench.reports.report import Column, Report, Row, footnotes, run_records
from relubench.runs.task import Task, task_called


def choice_report(choice: Choice) -> Report:
    """The report of a choice, wherever it has stopped."""
    rows = [row for answer in choice.answers for row in answer.rows]
    several = len(choice.answers) > 1
    first = choice.studies[0]
    ranking, acts = _ranking(choice) if several else None, choice.request.configs[0].act
    report = Report(
        command="choose",
        device=first.device.name,
        rows=[row.to_json() for row in rows],
        runs=_runs(choice),
        about={"plans": [plan.to_json() for plan in choice.plans], "answers": [_about(a) for a in choice.answers]},
        columns=_columns(rows, several),
        title=_title(choice),
        caption=f"wanted: {choice.request.want}; budget {choice.request.budget}",
        notes=footnotes(_notes(choice, rows)),
        sentence=" ".join(sentence(answer, choice.request, named=several) for answer in choice.answers),
    )
    report = with_names(report, acts)
    if ranking is None:
        return report
    ranking = with_names(ranking, acts)
    about = {**report.about, "ranking": {**ranking.about, "rows": ranking.rows}}
    text = f"{report.sentence} {ranking.sentence}"
    return replace(report, about=about, sentence=text, tables=(report, ranking))


def _ranking(choice: Choice) -> Report | None:
    """One ranking over all contests, by the test scores of the seeds that every activation has; None without any."""
    sets = []
    for contest in choice.contests:
        trainings, seeds = contest.trainings, range(contest.plan.looks[0])
        sign = 1.0 if trainings.task.lower_is_better else -1.0
        runs = {
            label: [run for seed in seeds if (run := trainings.result(label, rate, seed)) is not None]
            for label, rate in contest.rates.items()
        }
        scores = {
            label: [sign * run.test_score for run in label_runs if run.test_score is not None]
            for label, label_runs in runs.items()
        }
        part = trainings.prepared_study.parts[0]
        sets.append(RankedSet(name=f"{part.prepared.name}, {part.config.model.name}", scores=scores))
    try:
        return ranking_report(sets, "choose")
    except UsageError:
        return None


def _about(answer: Answer) -> Row:
    """The answer in few keys."""
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


def _title(choice: Choice) -> str:
    names = dict.fromkeys(f"{answer.rows[0].dataset} · {answer.rows[0].model}" for answer in choice.answers)
    return " and ".join(names) if len(names) < 3 else f"{len(names)} data sets and networks"


def _runs(choice: Choice) -> list[Row]:
    """The runs behind the answer, with their test results."""
    records: list[Row] = []
    for contest in choice.contests:
        trainings = contest.trainings
        masks = {trainings.results[key].id: mask for key, mask in trainings.masks.items()}
        results = list({result.id: result for result in trainings.results.values()}.values())
        records += run_records(results, trainings.timings, lambda result, masks=masks: masks.get(result.id))
    return list({record["id"]: record for record in records}.values())


def _columns(rows: Sequence[ChoiceRow], several: bool) -> list[Column]:
    task = task_called(rows[0].task) if rows else None
    unit = f" {task.unit}" if task and task.unit else ""
    noun = task.noun if task else "score"
    columns = [
        Column(header="activation", cell=lambda row: [row["activation"]], right=False),
        *([_text("dataset"), _text("model")] if several else []),
        Column(header="standing", cell=_standing, right=False),
        Column(header="lr", cell=lambda row: [short(row["lr"])], drop_order=5),
        Column(header="seeds", cell=lambda row: [str(row["seeds"] or "")], drop_order=4),
        Column(header=f"validation {noun}{unit}", cell=_with("valid_metric", task), drop_order=3),
        Column(header=f"test {noun}{unit}", cell=_with_interval(task)),
        Column(header="to the best", cell=_difference(task)),
        Column(header="training", cell=_ratio),
        Column(header="training µs/example", cell=lambda row: [short(row["training_us_per_example"])], drop_order=2),
        Column(header="inference µs alone, in a batch", cell=_inference, drop_order=1),
        Column(header="memory", cell=_memory),
        Column(header="front", cell=lambda row: ["yes" if row["pareto"] else ""], right=False, drop_order=6),
        Column(header="arithmetic", cell=lambda row: [row["soundness"] or ""], right=False),
    ]
    values = [row.to_json() for row in rows]
    return [column for column in columns if any("".join(column.cell(row)) for row in values)]


def _text(key: str) -> Column:
    return Column(header=key, cell=lambda row: [row[key]], right=False)


def _standing(row: Row) -> list[str]:
    word = "recommended" if row["recommended"] else ""
    rank = {"best": "best", "not told apart": "as good"}.get(row["standing"], row["standing"])
    return [", ".join(part for part in (word, rank) if part)]


def _with(key: str, task: Task | None) -> Callable[[Row], list[str]]:
    return lambda row: [fixed(row[key], task.decimals if task else 2)]


def _with_interval(task: Task | None) -> Callable[[Row], list[str]]:
    decimals = task.decimals if task else 2

    def cell(row: Row) -> list[str]:
        ends = bracket(row["test_metric_ci_low"], row["test_metric_ci_high"], decimals)
        return [part for part in (fixed(row["test_metric"], decimals), ends) if part]

    return cell


def _difference(task: Task | None) -> Callable[[Row], list[str]]:
    """On the test set where it is confirmed, else on the validation data, which the cell says."""
    decimals = task.decimals if task else 2

    def cell(row: Row) -> list[str]:
        kind = "test" if row["test_difference"] is not None else "valid"
        value = row[f"{kind}_difference"]
        if value is None:
            return []
        ends = signed_bracket(row[f"{kind}_difference_ci_low"], row[f"{kind}_difference_ci_high"], decimals)
        return [signed(value, decimals), ends, *(["v"] if kind == "valid" else [])]

    return cell


def _ratio(row: Row) -> list[str]:
    if row["training_ratio"] is None:
        return [] if row["training_us_per_example"] is None else ["x 1"]
    return [f"x {row['training_ratio']:.2f}", bracket(row["training_ratio_ci_low"], row["training_ratio_ci_high"])]


def _inference(row: Row) -> list[str]:
    if row["inference_us"] is None or row["inference_us_per_example"] is None:
        return []
    return [f"{row['inference_us']:.0f} {row['inference_us_per_example']:.1f}"]


def _memory(row: Row) -> list[str]:
    return [] if row["memory_bytes"] is None else [readable(row["memory_bytes"])]


def _notes(choice: Choice, rows: Sequence[ChoiceRow]) -> list[str]:
    plan = choice.plans[0]
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
        base = choice.contests[0].labels[0]
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
