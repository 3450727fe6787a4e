"""The protocol of what carries jobs to other machines: Ray, or SLURM. Torch-free.

`control.py` decides which job goes out, what is stored and what is tried again; an engine only carries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from relubench.executors.job import Job
from relubench.executors.remote.deliveries import Delivery
from relubench.executors.remote.supplies import Supplies


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    """A job, with what it needs of the store."""

    job: Job
    supplies: Supplies
    features: str = ""
    """Of the processor that the runs are pinned to; empty where the engine chooses the node."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """News of a job that is out."""

    flight: int
    """The number under which the job was launched."""
    deliveries: Sequence[Delivery] = ()
    ended: bool = False
    """Whether the job has come to its end; an error of its own is one of the deliveries."""
    lost: str = ""
    """How its node or its process ended, as a phrase to follow `the process`; the job may be tried again."""
    hint: str = ""
    """What helps against such a loss."""
    final: bool = False
    """Whether a loss is not tried again: somebody has cancelled the job."""


class Engine(Protocol):
    """Carries jobs to other machines. None of its methods raises because of what happens to a job."""

    def places(self) -> int:
        """How many jobs more can be launched now."""
        ...

    def workers(self) -> int:
        """How many jobs can be carried out at the same time, as far as that is known."""
        ...

    def launch(self, flight: int, parcel: Parcel) -> None:
        """Send a job out."""
        ...

    def arrivals(self, seconds: float) -> list[Arrival]:
        """What has arrived; waits at most so long for anything."""
        ...

    def stop(self) -> list[Arrival]:
        """Interrupts the jobs that are out, and waits for their checkpoints for a while; their last deliveries."""
        ...

    def close(self) -> None:
        """Let go of all workers; where `places` is asked again, there will be new ones."""
        ...
