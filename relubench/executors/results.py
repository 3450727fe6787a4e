"""Makes the record of a run from the population that was trained: its result, and the weights that are stored."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from relubench.executors.job import Job
from relubench.models.backend import backend_of, route
from relubench.runs.result import MeasuredValue, Outcome, RunResult, test_values, valid_values
from relubench.runs.spec import RunSpec
from relubench.system.versions import library_versions

if TYPE_CHECKING:
    from relubench.training.evaluation import Evaluation
    from relubench.training.population import Member, Population
    from relubench.training.side_by_side import SideBySide


LEARNED = re.compile(r"(?:(\d+)\.learned-|activation-(\d+)\.)(\d+)")
"""The name of a parameter that an activation learns: the place of its layer (of an exchanged use, in a network that
somebody else wrote), and its own."""


def finished_result(
    job: Job, population: Population | SideBySide, test: Evaluation, place: int
) -> tuple[RunResult, np.ndarray | None]:
    """The result of the member at `place`, and its score of each test example; None where it diverged."""
    spec, member = job.specs[place], population.members[place]
    outcome, message = _outcome(population, member, test.scores[place])
    diverged = outcome == "diverged"
    scores = None if diverged else test.scores[place]
    zeros = [] if diverged else [100.0 * float(share) for share in test.zeros[place]]
    result = RunResult(
        id=spec.id,
        spec=_json_values(spec),
        outcome=outcome,
        message=message,
        parameters=population.parameter_count,
        path=route(spec, len(job.specs)),
        epochs=len(member.curve),
        best_epoch=None if diverged else member.best_epoch,
        **valid_values(population.task, None if diverged else member.best_score),
        **test_values(population.task, None if scores is None else population.task.score(scores)),
        test_examples=population.data.prepared.n_test,
        sparsity_pct=sum(zeros) / len(zeros) if zeros else None,
        sparsity_by_layer_pct=zeros,
        near_zeros_pct=None if diverged else _near_zeros(member),
        dead_units_pct=_dead_units(member),
        curve=member.curve,
        probes=member.probes,
        dead_units=member.dead_units,
        regions=member.regions,
        measured=[*member.measured, *_beside(population, member, scores), *_learned(job, population, place)],
        versions=_versions(spec),
    )
    return result, scores


def diverged_result(spec: RunSpec, message: str, test_examples: int) -> RunResult:
    """The result of a run whose pre-training diverged; its finished layers stay in the store."""
    return RunResult(
        id=spec.id,
        spec=_json_values(spec),
        outcome="diverged",
        message=message,
        parameters=spec.parameters,
        path=route(spec, 1),
        epochs=0,
        best_epoch=None,
        valid_error_pct=None,
        test_error_pct=None,
        test_examples=test_examples,
        sparsity_pct=None,
        versions=_versions(spec),
    )


def stored_weights(job: Job, population: Population | SideBySide, place: int) -> bytes | None:
    """The content of the weights' file of the member at `place`; None where the job keeps no weights."""
    from relubench.runs.checkpoint import to_bytes

    if job.keep == "none":
        return None
    spec = job.specs[place]
    best = job.keep == "best"
    facts = {"run": spec.id, "activation": spec.activation, "model": spec.model, "kept": job.keep}
    held = population.held_values(place, best=best)
    return to_bytes(population.weights(place, best=best), facts | ({"held": held} if held else {}))


def _outcome(population: Population | SideBySide, member: Member, scores: np.ndarray) -> tuple[Outcome, str]:
    """The member's outcome, and the reason for any but "ok"; `scores`: of each test example."""
    if member.stopped == "diverged":
        return "diverged", f"the loss was not finite in epoch {member.curve[-1].epoch}"
    if not np.isfinite(scores).all():
        return "diverged", "the score of a test example was not finite"
    if population.still_at_chance(member):
        task = population.task
        return "stalled", f"the validation {task.noun} is no better than {task.chance_answer}"
    return "ok", ""


def _beside(population: Population | SideBySide, member: Member, scores: np.ndarray | None) -> list[MeasuredValue]:
    """What the task measures of the tested network beside its score; nothing where that diverged."""
    task, epoch = population.task, member.best_epoch
    if scores is None or epoch is None or not task.beside:
        return []
    score, targets = task.score(scores), population.data.labels("test")
    return [
        MeasuredValue(name=name, epoch=epoch, value=measure(score, targets)) for name, measure in task.beside.items()
    ]


def _learned(job: Job, population: Population | SideBySide, place: int) -> list[MeasuredValue]:
    """What the activations of the tested network have learned, by layer, of many units their mean and standard
    deviation; nothing where it has no best epoch."""
    epoch = population.members[place].best_epoch
    if epoch is None or not job.choice.learned:
        return []
    measured: list[MeasuredValue] = []
    for name, value in population.weights(place, best=True).items():
        if not (match := LEARNED.fullmatch(name)):
            continue
        layer, number = int(match[1] or match[2]), int(match[3])
        choice = job.choice.at(layer)
        values = np.array([choice.shown(number, held) for held in value.flatten().tolist()])
        label = f"{choice.learned_names[number]} of {'layer' if match[1] else 'activation'} {layer + 1}"
        measured.append(MeasuredValue(name=label, epoch=epoch, value=float(values.mean())))
        if choice.per_unit:
            measured.append(MeasuredValue(name=f"{label}: spread", epoch=epoch, value=float(values.std())))
    return measured


def _near_zeros(member: Member) -> float | None:
    """Near zeros of the tested weights in percent, averaged over the hidden layers; None without a probe of them."""
    shares = [probe.near_zeros_pct for probe in member.probes if probe.epoch == member.best_epoch]
    finite = [share for share in shares if share is not None]
    return sum(finite) / len(finite) if finite and len(finite) == len(shares) else None


def _dead_units(member: Member) -> float | None:
    """The share of dead units among all hidden ones, in percent; None unless they were counted."""
    if not member.dead_units:
        return None
    return 100.0 * sum(layer.dead for layer in member.dead_units) / sum(layer.units for layer in member.dead_units)


def _json_values(spec: RunSpec) -> dict[str, Any]:
    """The specification as a stored record has it, with lists for tuples."""
    return json.loads(json.dumps(spec.to_json()))


def _versions(spec: RunSpec) -> dict[str, str]:
    versions = {**library_versions(), "torch": spec.torch, "backend": backend_of(spec)}
    names = ("relubench", "torch", "python", "numpy", "llvmlite", "blas", "backend", "system")
    return {name: versions[name] for name in names}
