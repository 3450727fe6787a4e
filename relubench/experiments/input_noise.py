"""Test error under input noise: a second look at stored networks, which trains nothing. Torch-free.

The noise is Gaussian with mean zero, added to the scaled input of the test images and not clipped. The same draws are
scaled to each strength and shown to every network, so that rows stay paired by test example; `engine.images` makes
them. What the store keeps of it is which test examples the run got wrong at each strength.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from relubench.executors.job import Job
from relubench.experiments.variants import Part
from relubench.runs.result import RunResult
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store


def noise_jobs(asked: Sequence[tuple[Part, RunSpec]], store: Store, *, fresh: bool) -> list[Job]:
    """One job for each network whose errors at some strength are not stored yet; `fresh` measures all of them."""
    jobs: dict[str, Job] = {}
    for part, spec in asked:
        strengths = [one for one in part.config.data.test_noise if one]
        missing = tuple(one for one in strengths if fresh or store.noise(spec.id, one) is None)
        if not missing:
            continue
        choice = next(one for one in part.choices if one.label == spec.activation)
        known = jobs.get(spec.id)
        jobs[spec.id] = Job(
            specs=[spec],
            choice=choice,
            prepared=part.prepared,
            store=store.root.absolute(),
            keep=part.config.keep,
            fresh=False,
            noise=tuple(dict.fromkeys((*(known.noise if known else ()), *missing))),
        )
    return list(jobs.values())


def under_noise(result: RunResult, strengths: Sequence[float], store: Store) -> list[RunResult]:
    """The run as the rows of a table have it: once for each strength, 0 being its own test; itself if there is none.

    Zeros among the activations are measured on the clean test set only.
    """
    if not strengths:
        return [result]
    found: list[RunResult] = []
    for strength in strengths:
        spec = {**result.spec, "test_noise": strength}
        if not strength:
            found.append(replace(result, spec=spec))
            continue
        wrong = store.noise(result.id, strength)
        error = None if wrong is None else 100.0 * float(wrong.mean())
        found.append(replace(result, spec=spec, test_error_pct=error, sparsity_pct=None, sparsity_by_layer_pct=[]))
    return found
