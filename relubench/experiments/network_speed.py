"""Trained networks to be timed: their training steps, or the products of their sparse activations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from relubench.errors import ComputeError, UsageError
from relubench.experiments.references import paper_sparsity
from relubench.experiments.timings import Timed, Watch, time_rounds, unwatched
from relubench.runs.task import CLASSIFICATION, Task
from relubench.timing.clocks import choose_clock
from relubench.timing.preparation import set_up
from relubench.timing.products import prepare
from relubench.timing.request import Request, check_compiler
from relubench.timing.schedule import Session
from relubench.timing.sparse_products import Setting, check_layers, hidden_layers, settings
from relubench.timing.steps import StepBenchmark, prepare_step_benchmark

if TYPE_CHECKING:
    from relubench.activations import ActivationChoice
    from relubench.data.prepared import PreparedData
    from relubench.experiments.study import Study
    from relubench.runs.spec import RunSpec


def target_score(text: str | None, task: Task | None = None) -> float | None:
    """The validation score of --target, in the unit of the task's metric; raises UsageError unless it is one.

    Without a task, before it is known, only what no task can have is refused.
    """
    if text is None:
        return None
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = math.nan
    is_percentage = text.endswith("%") if task is None else task.name == CLASSIFICATION
    if (is_percentage or math.isnan(value)) and not 0 < value < 100:
        raise UsageError(
            f"--target must be a validation error between 0 and 100 %, got {text!r}", "for example --target 2%"
        )
    if not is_percentage and (text.endswith("%") or not math.isfinite(value)):
        noun = task.noun if task is not None else "score"
        raise UsageError(f"--target must be a validation {noun}, got {text!r}", "for example --target 1.5")
    return value


def check_compiled(study: Study, request: Request) -> None:
    """Raises UsageError where networks are to be compiled and no compiler is there."""
    if request.compiled:
        check_compiler(study.device)


def why_not_ok(report_rows: Sequence[Mapping[str, Any]]) -> str:
    """Which networks did not train or could not be timed; empty where all are well."""
    faults = [f"{row['activation']} {row['outcome']}" for row in report_rows if row["outcome"] != "ok"]
    return ", ".join(dict.fromkeys(faults))


def time_networks(
    study: Study, request: Request, watch: Watch = unwatched, note: Callable[[str], None] = lambda text: None
) -> Timed[StepBenchmark]:
    """The training steps of a finished study's networks, timed."""
    part = study.parts[0]
    return time_runs(study.specs, part.choices, part.prepared, study.device.name, request, watch, note)


def time_runs(
    specs: Sequence[RunSpec],
    choices: Sequence[ActivationChoice],
    prepared: PreparedData,
    device: str,
    request: Request,
    watch: Watch,
    note: Callable[[str], None],
) -> Timed[StepBenchmark]:
    """The networks of these runs, one for each activation, timed in training and in inference, and their memory."""
    return time_rounds(
        lambda: prepare_step_benchmark(
            specs, choices, prepared, request.budget_s, request.rel_ci, compiled=request.compiled
        ),
        device,
        watch,
        note,
    )


def failure_of(race: StepBenchmark) -> str:
    """Why no network's steps could be timed; empty where any could."""
    return race.networks[0].failure if all(network.failure for network in race.networks) else ""


def check_sparse(study: Study) -> None:
    """Raises UsageError where there is not one network of ours, on the processor, whose weights are stored."""
    if not study.device.is_processor:
        raise UsageError(f"--sparsity measures the processor, not {study.device.kind}", "add --device cpu")
    if study.total > 1:
        raise UsageError(f"--sparsity takes one network, and {study.total} are asked for", "name one --act, one seed")
    if study.config.keep == "none":
        raise UsageError("--sparsity needs the trained weights, and keep=none stores none", "leave keep=none out")
    spec, part = study.specs[0], study.parts[0]
    check_layers(spec, next(choice for choice in part.choices if choice.label == spec.activation), part.prepared)


def sparse_settings(study: Study) -> list[Setting]:
    """The activations of the trained network, as they are and with more or fewer zeros; ComputeError without any."""
    spec, part = study.specs[0], study.parts[0]
    weights = study.store.weights_of(spec.id)
    if weights is None:
        why = next((result.message for result in study.results if result.message), "its weights were not kept")
        raise ComputeError(f"the network cannot be looked at: {why}", f"relubench runs delete {spec.id}, and repeat")
    choice = next(choice for choice in part.choices if choice.label == spec.activation)
    return settings(hidden_layers(spec, choice, part.prepared, weights), choice, paper_sparsity())


def time_products(
    study: Study, request: Request, watch: Watch = unwatched, note: Callable[[str], None] = lambda text: None
) -> tuple[Timed[Session], list[Setting]]:
    """The products of a finished study's one network, timed, and what was multiplied."""
    products = sparse_settings(study)

    def prepare_products() -> Session:
        set_up(request)
        with torch.no_grad():
            return prepare(request, [setting.load for setting in products], choose_clock("cpu", request.threads))

    return time_rounds(prepare_products, study.device.name, watch, note), products
