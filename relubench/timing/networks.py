"""How fast networks train, activation by activation: time in each stage, an epoch, and until an error is reached.

The time of an image is measured now (`timing.steps`), in rounds in which every network takes its turn; the number of
epochs to an error comes from the learning curves, which other processes cannot slow down. The total is their product:
epochs times training images times the time of an image, without validation. Pre-training adds the seconds of its own
clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from relubench.runs.result import RunResult
from relubench.runs.task import CLASSIFICATION, Task, task_of
from relubench.timing.score_times import Clocks, by_row, front, label, median_of, points, pretraining
from relubench.timing.stages import STAGES
from relubench.timing.step_times import Compiled, StepTime

ARTICLE_BASE = "sigmoid"
"""The base of the article's ratios; ratios to it have keys of their own."""

EAGER = "eager"
"""The mode of a network that is not compiled."""

Article = Mapping[tuple[str, str, str], float]
"""(activation, pretraining, metric) -> value of the article's speed table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkRow:
    """One activation: medians over its seeds. Missing is None."""

    activation: str
    dataset: str
    model: str
    pretraining: str
    n: int
    outcome: str
    images_per_second: float | None = None
    data_us_per_image: float | None = None
    forward_us_per_image: float | None = None
    backward_us_per_image: float | None = None
    update_us_per_image: float | None = None
    seconds_per_epoch: float | None = None
    """All training images, without validation."""
    pretraining_seconds: float | None = None
    """As measured during pre-training, while other work may have shared the machine."""
    target_error_pct: float | None = None
    """On the validation set."""
    epochs_to_target: float | None = None
    seconds_to_target: float | None = None
    """Pre-training included."""
    best_valid_error_pct: float | None = None
    seconds_to_best: float | None = None
    pareto: bool | None = None
    """Whether at some time of its training no other activation had a lower error."""
    ratio_to: str = ""
    """The base of the ratios: the first activation of the command."""
    epoch_ratio: float | None = None
    epoch_ratio_ci_low: float | None = None
    epoch_ratio_ci_high: float | None = None
    verdict: str | None = None
    """On the time of an epoch: faster, slower or no difference, judged by the A/A control's band."""
    epochs_ratio: float | None = None
    seconds_ratio: float | None = None
    epoch_ratio_to_sigmoid: float | None = None
    epochs_ratio_to_sigmoid: float | None = None
    seconds_ratio_to_sigmoid: float | None = None
    """The three ratios again, if the base is sigmoid."""
    article_epoch_ratio: float | None = None
    article_epochs_ratio: float | None = None
    article_hours_ratio: float | None = None
    mode: str = EAGER
    """eager, or compiled by torch.compile."""
    compile_seconds: float | None = None
    inference_us: float | None = None
    """One example alone, without learning from it."""
    inference_us_per_image: float | None = None
    """The same in a batch as large as in training."""
    peak_memory_bytes: int | None = None
    """The most that the network and a training step of it take, the data left out."""
    kept_memory_bytes: int | None = None
    """What a forward pass on a training batch keeps for the backward pass."""
    task: str = CLASSIFICATION
    metric: str = "error_pct"
    """What the task is scored by: the unit of the next two."""
    target_metric: float | None = None
    best_valid_metric: float | None = None
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def common_target(results: Sequence[RunResult]) -> float | None:
    """The best validation score that every run reaches, in the unit of the task's metric; None without any."""
    best = [result.valid_score for result in results if result.valid_score is not None and result.outcome == "ok"]
    worst = max if task_of(results[0].spec).lower_is_better else min
    return worst(best, default=None)


def epochs_to(result: RunResult, target: float) -> int | None:
    """The first epoch with that validation score or a better one; None if there is none."""
    task = task_of(result.spec)
    scores = ((point.epoch, point.valid_score) for point in result.curve if point.valid_score is not None)
    return next((epoch for epoch, score in scores if not task.is_better(target, score)), None)


def network_rows(
    results: Sequence[RunResult],
    step_times: Mapping[str, StepTime],
    images: int,
    target: float | None,
    article: Article,
    clocks: Clocks,
    compiled: Compiled | None = None,
) -> list[NetworkRow]:
    """A row for each activation and pre-training, with ratios to the first; `images` are those of an epoch.

    Behind it, where it was timed, the same network in its compiled form.
    """
    groups = by_row(results)
    base = next(iter(groups))
    task = task_of(results[0].spec)
    candidates = points(results, step_times, images, clocks)
    on_front = {point.activation for point in front(candidates, lower_is_better=task.lower_is_better)}
    entries = [(key, mode, times[key[0]]) for key in groups for mode, times in _modes(key[0], step_times, compiled)]
    facts = [
        {**_facts(groups[key], time, images, target, pretraining(key, groups[key], clocks)), "mode": mode}
        for key, mode, time in entries
    ]
    rows = []
    for (key, mode, time), own in zip(entries, facts, strict=True):
        compared = _compared(own, facts[0], time, is_sigmoids=base == (ARTICLE_BASE, "none"))
        if mode == EAGER:
            compared |= {
                "article_epoch_ratio": _article_ratio(article, key, base, "epoch_time_cpu"),
                "article_epochs_ratio": _article_ratio(article, key, base, "convergence"),
                "article_hours_ratio": _article_ratio(article, key, base, "total_time"),
                "pareto": label(key) in on_front if own["seconds_per_epoch"] is not None else None,
            }
        rows.append(NetworkRow(**{**own, **compared}, ratio_to=label(base), **_target(task, target)))
    return rows


def _target(task: Task, target: float | None) -> dict[str, Any]:
    """The score that every network is to reach, as a row has it."""
    error = target if task.name == CLASSIFICATION else None
    return {"task": task.name, "metric": task.metric, "target_metric": target, "target_error_pct": error}


def _modes(
    activation: str, step_times: Mapping[str, StepTime], compiled: Compiled | None
) -> list[tuple[str, Mapping[str, StepTime]]]:
    """The forms in which a network was timed: (mode, the times in it)."""
    times = step_times if activation in step_times else {activation: StepTime(stages={})}
    return [(EAGER, times), *([("compiled", compiled)] if compiled and activation in compiled else [])]


def _compared(own: Mapping[str, Any], base: Mapping[str, Any], time: StepTime, *, is_sigmoids: bool) -> dict[str, Any]:
    """The ratios of a row to the first one."""
    compared: dict[str, Any] = {
        "epoch_ratio": time.ratio.median if time.ratio else _facts_ratio(own, base, "seconds_per_epoch"),
        "epochs_ratio": _facts_ratio(own, base, "epochs_to_target"),
        "seconds_ratio": _facts_ratio(own, base, "seconds_to_target"),
    }
    return compared | ({f"{name}_to_sigmoid": value for name, value in compared.items()} if is_sigmoids else {})


def _facts(
    runs: Sequence[RunResult], step_time: StepTime, images: int, target: float | None, pretraining_seconds: float | None
) -> dict[str, Any]:
    spec = runs[0].spec
    seconds_per_epoch = images * step_time.us_per_image / 1e6 if step_time.us_per_image is not None else None
    # If a seed never reaches the target, the median is unknown, not smaller.
    epochs = median_of([epochs_to(run, target) for run in runs]) if target is not None else None
    to_best = median_of([run.best_epoch for run in runs])
    failed_run = next((run for run in runs if run.outcome != "ok"), None)
    return {
        "activation": spec["activation"],
        "dataset": spec["dataset"],
        "model": spec["model"],
        "pretraining": spec.get("pretraining", "none"),
        "n": sum(run.outcome == "ok" for run in runs),
        "outcome": failed_run.outcome if failed_run is not None else "failed" if step_time.failure else "ok",
        "message": failed_run.message if failed_run is not None else step_time.failure,
        "images_per_second": 1e6 / step_time.us_per_image if step_time.us_per_image else None,
        **{f"{name}_us_per_image": step_time.stages.get(name) for name in STAGES},
        "compile_seconds": step_time.compile_s,
        "inference_us": step_time.lone_inference_us,
        "inference_us_per_image": step_time.inference_us_per_image,
        "peak_memory_bytes": step_time.memory and step_time.memory.peak,
        "kept_memory_bytes": step_time.memory and step_time.memory.kept,
        "seconds_per_epoch": seconds_per_epoch,
        "pretraining_seconds": None if spec.get("pretraining", "none") == "none" else pretraining_seconds,
        "epochs_to_target": epochs,
        "seconds_to_target": _total_seconds(epochs, seconds_per_epoch, pretraining_seconds),
        "best_valid_error_pct": median_of([run.valid_error_pct for run in runs]),
        "best_valid_metric": median_of([run.valid_score for run in runs]),
        "seconds_to_best": _total_seconds(to_best, seconds_per_epoch, pretraining_seconds),
        "epoch_ratio_ci_low": step_time.ratio and step_time.ratio.low,
        "epoch_ratio_ci_high": step_time.ratio and step_time.ratio.high,
        "verdict": step_time.verdict,
    }


def _total_seconds(
    epochs: float | None, seconds_per_epoch: float | None, pretraining_seconds: float | None
) -> float | None:
    if epochs is None or seconds_per_epoch is None or pretraining_seconds is None:
        return None
    return pretraining_seconds + epochs * seconds_per_epoch


def _facts_ratio(facts: Mapping[str, Any], base_facts: Mapping[str, Any], key: str) -> float | None:
    value, base_value = facts.get(key), base_facts.get(key)
    return None if value is None or not base_value else value / base_value


def _article_ratio(table: Article, key: tuple[str, str], base: tuple[str, str], metric: str) -> float | None:
    value, base_value = table.get((*key, metric)), table.get((*base, metric))
    return None if value is None or not base_value else value / base_value
