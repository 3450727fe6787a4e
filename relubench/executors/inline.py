"""Carries out jobs in this process, one after another: for notebooks, debuggers and tests.

Threads, precision and determinism of torch are set as a run has them, and stay so. A training that KeyboardInterrupt
ends has its last regular checkpoint; one that is ended by closing the generator writes a checkpoint first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import replace

from relubench.executors.job import Job
from relubench.executors.messages import Message, Postponed, Started
from relubench.executors.tasks import messages_of
from relubench.runs.job_store import JobStore
from relubench.runs.store import Busy


class InlineExecutor:
    """Trains in the process that asks for it."""

    def __init__(self, store: JobStore) -> None:
        self.store = store

    def run(self, jobs: Sequence[Job]) -> Generator[Message, None, None]:
        """Yields messages until every job has ended; closing the generator stops the job after a checkpoint."""
        waiting = deque(jobs)
        while waiting:
            job = waiting.popleft()
            for spec in job.specs:
                yield Started(run=spec.id)
            try:
                yield from messages_of(job, self.store)
            except Busy:
                waiting.append(replace(job, patient=True))
                for spec in job.specs:
                    yield Postponed(run=spec.id)
