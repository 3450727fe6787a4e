"""The worker on another machine: an object whose methods an engine calls there, one after the other. Torch-free."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping

from relubench.data import DataReference
from relubench.data.reference import obtain
from relubench.data.shipment import Piece, receive
from relubench.errors import RelubenchError
from relubench.executors.job import Job
from relubench.executors.remote.deliveries import Delivery
from relubench.executors.remote.performance import Performance
from relubench.executors.remote.supplies import Supplies


class Worker:
    """Carries out jobs, one at a time."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment`: the variables that libraries read when they are loaded."""
        os.environ.update(environment)
        if not os.environ.get("RELUBENCH_DEBUG"):
            # Warnings of libraries were shown once, when the command inspected the network.
            warnings.simplefilter("ignore")
        self.performance: Performance | None = None

    def ready(self) -> bool:
        """True: the process has begun."""
        return True

    def begin(self, job: Job, supplies: Supplies) -> str:
        """Begin a job; why its data are not here, and then it has not begun, else nothing."""
        try:
            obtain(job.data)
        except RelubenchError as error:
            return error.message
        self.performance = Performance(job, supplies)
        return ""

    def receive(self, reference: DataReference, *pieces: Piece) -> str:
        """Take in a data set that was sent; why that is not possible, else nothing."""
        try:
            receive(reference, pieces)
        except (RelubenchError, OSError) as error:
            return getattr(error, "message", None) or str(error)
        return ""

    def advance(self) -> tuple[list[Delivery], bool]:
        """What has come of the job in about a second, and whether it has ended."""
        if self.performance is None:
            return [], True
        deliveries = self.performance.advance()
        is_ended = self.performance.ended
        if is_ended:
            self.performance = None
        return deliveries, is_ended

    def stop(self) -> list[Delivery]:
        """Interrupt the job; its last deliveries, with a checkpoint if it was training."""
        performance, self.performance = self.performance, None
        return performance.stop() if performance is not None else []


def worker_environment(threads: int) -> dict[str, str]:
    """The variables of a worker with so many threads; 0: as many as torch takes by itself."""
    values = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "GOMP_SPINCOUNT": "10000"}
    return values | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
