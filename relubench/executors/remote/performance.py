"""Carries out one job at a time on a node, a second at a time, and hands over what comes of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from relubench.executors.job import Job
from relubench.executors.messages import Message, Progress
from relubench.executors.remote.away_store import AwayStore
from relubench.executors.remote.deliveries import Delivery, PutCheckpoint, PutSpecs
from relubench.executors.remote.supplies import Supplies
from relubench.executors.tasks import messages_of

TURN_SECONDS = 1.0
"""How long a job is carried out before it hands over what has come of it."""


class Performance:
    """A job in progress. Training goes on only while `advance` or `stop` is being called."""

    def __init__(self, job: Job, supplies: Supplies) -> None:
        self.outbox: list[Delivery] = []
        self.ended = False
        self.messages = messages_of(job, AwayStore(supplies, self.outbox.append))

    def advance(self, seconds: float = TURN_SECONDS) -> list[Delivery]:
        """What has come of about so many seconds; empty once the job has ended."""
        deadline = time.monotonic() + seconds
        while not self.ended and time.monotonic() < deadline:
            self._take(next(self.messages, None))
        return self._handed_over()

    def stop(self) -> list[Delivery]:
        """Interrupt the job; its last deliveries, with a checkpoint if it was training."""
        self.messages.close()
        self.ended = True
        return self._handed_over()

    def _take(self, message: Message | None) -> None:
        if message is None:
            self.ended = True
        else:
            self.outbox.append(message)

    def _handed_over(self) -> list[Delivery]:
        deliveries = condensed(self.outbox)
        self.outbox.clear()
        return deliveries


def condensed(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """The deliveries with one Progress for each run, its last, and with the last of each checkpoint."""
    last: dict[tuple[type, str], int] = {}
    ended_epochs: set[str] = set()
    for place, delivery in enumerate(deliveries):
        match delivery:
            case Progress():
                last[Progress, delivery.run] = place
                ended_epochs |= {delivery.run} if delivery.epoch_ended else set()
            case PutCheckpoint() | PutSpecs():
                last[type(delivery), delivery.name] = place
            case _:
                continue
    latest = set(last.values())
    return [
        replace(delivery, epoch_ended=delivery.run in ended_epochs) if isinstance(delivery, Progress) else delivery
        for place, delivery in enumerate(deliveries)
        if place in latest or not isinstance(delivery, Progress | PutCheckpoint | PutSpecs)
    ]
