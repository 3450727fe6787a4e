"""How fast networks train, activation by activation: time in each stage, an epoch, and until an error is reached.

Epochs and seconds come from the stored learning curves. The stages come from an instrumented pass of the engine's own
layers over some batches, off the training path, with an optimizer that notes the time spent in it. Since the update is
fused with the product that makes the weights' gradient, that product counts as update.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from relubench.activations import Choice
from relubench.data import PreparedData
from relubench.plan import RunSpec
from relubench.results import RunResult, Timing

if TYPE_CHECKING:
    from torch import Tensor

    from relubench.network.optimizers import Optimizer, Parameter

BATCHES, WARM_UP = 200, 20
"""Batches of the instrumented pass, and those before them that do not count."""

BASE = "sigmoid"
"""What the article's ratios are taken to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stages:
    """Microseconds an image."""

    data: float
    forward: float
    backward: float
    update: float


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkRow:
    """One activation, its seeds' medians. Missing is None."""

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
    target_error_pct: float | None = None
    """On the validation set."""
    epochs_to_target: float | None = None
    seconds_to_target: float | None = None
    best_valid_error_pct: float | None = None
    pareto: bool | None = None
    """Whether no other activation is both as accurate and faster to its best."""
    epoch_ratio_to_sigmoid: float | None = None
    epochs_ratio_to_sigmoid: float | None = None
    seconds_ratio_to_sigmoid: float | None = None
    article_epoch_ratio: float | None = None
    article_epochs_ratio: float | None = None
    article_hours_ratio: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def lowest_common_target(results: Sequence[RunResult]) -> float | None:
    """The lowest validation error that every run reaches, in percent; None without any."""
    best = [one.valid_error_pct for one in results if one.valid_error_pct is not None and one.outcome == "ok"]
    return max(best, default=None)


def reached(result: RunResult, timing: Timing | None, target: float) -> tuple[int | None, float | None]:
    """The first epoch with that validation error or less, and the seconds until then; None where there is none."""
    for point in result.curve:
        if point.valid_error_pct is not None and point.valid_error_pct <= target:
            known = timing is not None and point.epoch <= len(timing.epoch_seconds)
            return point.epoch, timing.epoch_seconds[point.epoch - 1] if timing is not None and known else None
    return None, None


def network_rows(
    results: Sequence[RunResult],
    timings: Mapping[str, Timing | None],
    stages: Mapping[str, Stages],
    target: float | None,
    article: Mapping[tuple[str, str], float],
) -> list[NetworkRow]:
    """A row for each activation; `article`: (activation, metric) -> value of its speed table."""
    groups: dict[str, list[RunResult]] = {}
    for one in results:
        groups.setdefault(one.spec["activation"], []).append(one)
    plain = {label: _facts(runs, timings, stages.get(label), target) for label, runs in groups.items()}
    base = plain.get(BASE, {})
    rows = []
    for label, facts in plain.items():
        compared: dict[str, Any] = {
            "epoch_ratio_to_sigmoid": _over(facts, base, "seconds_per_epoch"),
            "epochs_ratio_to_sigmoid": _over(facts, base, "epochs_to_target"),
            "seconds_ratio_to_sigmoid": _over(facts, base, "seconds_to_target"),
            "article_epoch_ratio": _article(article, label, "epoch_time_cpu"),
            "article_epochs_ratio": _article(article, label, "convergence"),
            "article_hours_ratio": _article(article, label, "total_time"),
        }
        others = [one for name, one in plain.items() if name != label]
        rows.append(NetworkRow(**facts, **compared, target_error_pct=target, pareto=_pareto(facts, others)))
    return rows


def measure_stages(spec: RunSpec, choice: Choice, prepared: PreparedData) -> Stages:
    """Where an image's training time goes, from an instrumented pass; on a processor, with the run's threads."""
    import torch

    from relubench.engine.images import Images
    from relubench.engine.population import Population

    if spec.threads:
        torch.set_num_threads(spec.threads)
    torch.set_flush_denormal(True)
    images = Images.open(prepared, device=spec.device, flat=not spec.channels)
    population = Population([spec], choice, images)
    noted = Noted(population.update)
    seconds: dict[str, float] = dict.fromkeys(("data", "forward", "backward", "update"), 0.0)
    with torch.no_grad():
        for number in range(WARM_UP + BATCHES):
            if number == WARM_UP:
                seconds = dict.fromkeys(seconds, 0.0)
                noted.seconds = 0.0
            _batch(population, noted, images, number, seconds)
    seconds["update"] = noted.seconds
    seconds["backward"] -= noted.seconds
    scale = 1e6 / (BATCHES * spec.batch_size)
    return Stages(**{key: value * scale for key, value in seconds.items()})


class Noted:
    """An optimizer, and the seconds spent in it."""

    def __init__(self, inner: Optimizer) -> None:
        self.inner, self.seconds = inner, 0.0

    def set_factor(self, factor: float | Tensor) -> None:
        self.inner.set_factor(factor)

    def product(self, parameter: Parameter, delta: Tensor, x: Tensor) -> None:
        start = time.perf_counter()
        self.inner.product(parameter, delta, x)
        self.seconds += time.perf_counter() - start

    def gradient(self, parameter: Parameter, grad: Tensor) -> None:
        start = time.perf_counter()
        self.inner.gradient(parameter, grad)
        self.seconds += time.perf_counter() - start

    def finish(self) -> None:
        start = time.perf_counter()
        self.inner.finish()
        self.seconds += time.perf_counter() - start


def _batch(population: Any, noted: Noted, images: Any, number: int, seconds: dict[str, float]) -> None:
    """One training step of a lone network, its stages' seconds added up."""
    import torch

    size, total = population.spec.batch_size, images.n_train
    start = time.perf_counter()
    index = torch.arange(number * size, (number + 1) * size) % total
    x, labels = images.train_batch(index)
    y = torch.nn.functional.one_hot(labels, population.spec.classes).to(torch.float32)
    gathered = time.perf_counter()
    for layer in population.layers:
        x = layer.forward(x, training=True)
    forwarded = time.perf_counter()
    grad = torch.log_softmax(x, dim=-1).exp_().sub_(y).mul_(1.0 / size)
    for place in range(len(population.layers) - 1, -1, -1):
        grad = population.layers[place].backward(grad, noted, first=place == 0)
    noted.finish()
    done = time.perf_counter()
    seconds["data"] += gathered - start
    seconds["forward"] += forwarded - gathered
    seconds["backward"] += done - forwarded


def _facts(
    runs: Sequence[RunResult], timings: Mapping[str, Timing | None], stages: Stages | None, target: float | None
) -> dict[str, Any]:
    spec = runs[0].spec
    clocks = [(one, timings.get(one.id)) for one in runs]
    hits = [reached(one, clock, target) for one, clock in clocks] if target is not None else []
    # A seed that never gets there makes the median unknown, not smaller.
    epochs = [epoch for epoch, _ in hits]
    seconds = [passed for _, passed in hits]
    best = [one.valid_error_pct for one in runs]
    return {
        "activation": spec["activation"],
        "dataset": spec["dataset"],
        "model": spec["model"],
        "pretraining": spec.get("pretraining", "none"),
        "n": sum(one.outcome == "ok" for one in runs),
        "outcome": next((one.outcome for one in runs if one.outcome != "ok"), "ok"),
        "images_per_second": _median([clock.images_per_second for _, clock in clocks if clock]),
        "data_us_per_image": stages and stages.data,
        "forward_us_per_image": stages and stages.forward,
        "backward_us_per_image": stages and stages.backward,
        "update_us_per_image": stages and stages.update,
        "seconds_per_epoch": _median([_epoch(clock) for _, clock in clocks if clock]),
        "epochs_to_target": _median(epochs),
        "seconds_to_target": _median(seconds),
        "best_valid_error_pct": _median(best),
    }


def _epoch(clock: Timing) -> float | None:
    """Median seconds of an epoch, validation included."""
    marks = [0.0, *clock.epoch_seconds]
    return _median([after - before for before, after in itertools.pairwise(marks)])


def _pareto(mine: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether nobody has both a lower or equal error and less time an epoch."""
    keys = ("best_valid_error_pct", "seconds_per_epoch")
    if any(mine[key] is None for key in keys):
        return None
    known = [one for one in others if all(one[key] is not None for key in keys)]
    return not any(
        all(one[key] <= mine[key] for key in keys) and any(one[key] < mine[key] for key in keys) for one in known
    )


def _over(mine: Mapping[str, Any], base: Mapping[str, Any], key: str) -> float | None:
    a, b = mine.get(key), base.get(key)
    return None if a is None or not b else a / b


def _article(table: Mapping[tuple[str, str], float], label: str, metric: str) -> float | None:
    mine, base = table.get((label, metric)), table.get((BASE, metric))
    return None if mine is None or not base else mine / base


def _median(values: Sequence[float | None]) -> float | None:
    """The median; None where any is missing, or there are none."""
    import statistics

    known = [one for one in values if one is not None]
    return float(statistics.median(known)) if known and len(known) == len(values) else None
