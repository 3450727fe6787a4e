"""Test error under input noise: a second look at stored networks, which trains nothing. Torch-free.

The noise is Gaussian with mean zero, added to the scaled input of the test images and not clipped. The same draws are
scaled to each strength and shown to every network, so that rows stay paired by test example; `training.images` makes
them. What the store keeps of it is which test examples the run got wrong at each strength.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from relubench.executors.job import Job
from relubench.executors.messages import Failed, RunMessage
from relubench.executors.sources import sources_of, without_path
from relubench.experiments.events import Event, event
from relubench.experiments.variants import Part
from relubench.runs.result import RunResult, test_values
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store
from relubench.runs.task import task_of


def noise_jobs(requested: Sequence[tuple[Part, RunSpec]], store: Store, *, fresh: bool) -> list[Job]:
    """One job for each network whose errors at some strength are not stored yet; `fresh` measures all of them."""
    jobs: dict[str, Job] = {}
    for part, spec in requested:
        strengths = [strength for strength in part.config.data.test_noise if strength]
        missing = tuple(strength for strength in strengths if fresh or store.noise(spec.id, strength) is None)
        if not missing:
            continue
        earlier = jobs.get(spec.id)
        choice = next(choice for choice in part.choices if choice.label == spec.activation)
        jobs[spec.id] = Job(
            specs=[spec],
            choice=without_path(choice),
            data=part.prepared.reference,
            sources=sources_of(choice, spec),
            keep=part.config.keep,
            fresh=False,
            noise=tuple(dict.fromkeys((*(earlier.noise if earlier else ()), *missing))),
        )
    return list(jobs.values())


def under_noise(result: RunResult, strengths: Sequence[float], store: Store) -> list[RunResult]:
    """The run as the rows of a table have it: once for each strength, 0 being its own test; itself if there is none.

    Zeros among the activations are measured on the clean test set only.
    """
    if not strengths:
        return [result]
    rows: list[RunResult] = []
    for strength in strengths:
        spec = {**result.spec, "test_noise": strength}
        if not strength:
            rows.append(replace(result, spec=spec))
            continue
        scores, task = store.noise(result.id, strength), task_of(result.spec)
        values = test_values(task, None if scores is None else task.score(scores))
        rows.append(replace(result, spec=spec, sparsity_pct=None, sparsity_by_layer_pct=[], **values))
    return rows


def noise_failures(jobs: Sequence[Job], messages: Iterable[RunMessage]) -> Iterator[Event]:
    """An event for each of these jobs that failed, out of the messages of the workers."""
    by_id = {job.specs[0].id: job.specs[0] for job in jobs}
    for message in messages:
        if isinstance(message, Failed):
            spec, text = by_id[message.run], message.message
            yield event("failed", spec, True, outcome="failed", message=text, hint=message.hint)


def lacks_weights(result: RunResult, requested: Sequence[tuple[Part, RunSpec]], store: Store) -> bool:
    """Whether noise is to be tested on a stored run whose weights were not kept."""
    tested_ids = {spec.id for part, spec in requested if any(part.config.data.test_noise)}
    tested = result.id in tested_ids and result.test_score is not None
    return tested and store.weights(result.id) is None
