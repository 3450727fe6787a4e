"""Writes the checkpoint of a population with its clock, and goes on from one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from relubench.executors.job import Job
from relubench.runs.clock import Clock
from relubench.runs.store import Store

if TYPE_CHECKING:
    from relubench.training.population import Population


def resume(job: Job, store: Store, population: Population) -> Clock | None:
    """Load the checkpoint, if there is one; returns the clock, which goes on from where it stood.

    None: it cannot be used, and a part of it may have got into the population.
    """
    from relubench.runs.checkpoint import from_bytes

    try:
        tensors, values = from_bytes(store.checkpoint_of(job.name))
        population.load(tensors, values["population"])
    except FileNotFoundError:
        return Clock()
    except (ValueError, KeyError, RuntimeError) as error:
        print(f"the checkpoint {store.checkpoint(job.name)} cannot be used ({error}): starting anew", file=sys.stderr)
        return None
    clock = Clock(**values["clock"])
    clock.interruptions += 1
    return clock


def save(job: Job, store: Store, population: Population, clock: Clock) -> None:
    """Write a checkpoint; where it cannot be written, a line on stderr says so."""
    from relubench.runs.checkpoint import to_bytes

    tensors, values = population.state()
    content = to_bytes(tensors, {"population": values, "clock": clock.to_json()})
    try:
        store.put_checkpoint(job.name, content)
        store.put_unfinished(job.name, [spec.to_json() for spec in job.specs])
    except OSError as error:
        # Training goes on without: a full disk may be emptied before the run ends.
        print(f"no checkpoint was written: {error}", file=sys.stderr)
