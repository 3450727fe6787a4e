"""The protocol of all that carries out jobs: worker processes on this machine (`local`), or this process (`inline`).

An executor is made with the store that its jobs use. Where a job is carried out, `tasks.messages_of` takes it with a
`runs.job_store.JobStore`: this machine's store, or an object that sends what is put into it home.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol

from relubench.executors.job import Job
from relubench.executors.messages import Message


class Executor(Protocol):
    """Carries out jobs, and reports what becomes of their runs."""

    def run(self, jobs: Sequence[Job]) -> Generator[Message, None, None]:
        """Yields messages until every job has ended; closing the generator stops the jobs after a checkpoint."""
        ...
