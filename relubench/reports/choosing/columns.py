"""The columns of a choice for people, and what its keys mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relubench.reports.formatting import bracket, fixed, readable, short, signed, signed_bracket
from relubench.reports.report import Column, Row
from relubench.runs.task import Task, task_called

MEANINGS = {
    "standing": "best, not told apart from the best, worse, or failed",
    "recommended": "whether this is the activation to take",
    "seeds": "the seeds with a validation score at the looks",
    "valid_metric": "the mean validation score over them",
    "valid_difference": "that less the best one's, at the last look at which both were compared",
    "test_seeds": "fresh seeds, which decided nothing before",
    "test_metric": "the mean test score over them",
    "test_difference": "that less the best one's, paired by seed and test example",
    "out_after_seeds": "the seeds after which it was out",
    "reason": "why it is out",
    "training_us_per_example": "the time of a training step for each example, in microseconds",
    "training_ratio": "that over the first activation's, of the same rounds",
    "inference_us": "the time of one example alone, in microseconds",
    "inference_us_per_example": "the time of an example in a batch as large as in training",
    "memory_bytes": "the most that the network and a training step of it take",
    "pareto": "whether no other activation is as good in validation score, training time and memory, and better in any",
    "soundness": "whether values and slopes are right in the precision of the trainings",
}
"""Key of a row -> what it means; the ends of an interval have `_ci_low` and `_ci_high` behind the name."""


def choice_columns(rows: Sequence[Row]) -> list[Column]:
    """The columns for people, those that have something in any row."""
    task = task_called(rows[0]["task"]) if rows else None
    several = len({(row["dataset"], row["model"]) for row in rows}) > 1
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
    return [column for column in columns if any("".join(column.cell(row)) for row in rows)]


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
