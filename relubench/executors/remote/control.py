"""Sends jobs out and takes in what comes home: order, locks, what is stored, what is tried again. Torch-free.

The process that runs this holds the lock of every run (and of every layer) that is out, so that others on the same
store wait for them. What a message is about is stored before the message is passed on.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

from relubench.executors.job import Job
from relubench.executors.messages import Done, Failed, Message, Note, Postponed, Started, Waiting
from relubench.executors.remote.deliveries import Delivery, PutCheckpoint, PutRun, Stored, store_delivery
from relubench.executors.remote.engine import Arrival, Engine, Parcel
from relubench.executors.remote.supplies import layer_ids_of, supplies_of
from relubench.executors.tasks import stored_run
from relubench.runs.store import LOCK_SECONDS, Busy, Store

GO_ON = "repeating the command goes on from the last checkpoint"

POLL_SECONDS = 1.0
"""How long news of jobs is waited for before runs are looked at that another process had."""


@dataclass(slots=True)
class Flight:
    """A job that is out."""

    job: Job
    locks: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    locked: bool = False
    """Whether this process holds the locks of all its runs."""
    is_waited_for: bool = False
    """Whether it has been said that another process is training one of its runs."""
    losses: int = 0
    """How often its node or its process has ended."""
    has_checkpoint: bool = False
    """Whether a checkpoint came home since the job first went out."""
    unstored: dict[str, str] = field(default_factory=dict)
    """Why a run could not be stored."""
    ended: set[str] = field(default_factory=set)
    """Runs that are done or have failed."""

    @property
    def label(self) -> str:
        """How people recognise it."""
        spec = self.job.specs[0]
        more = f" and {len(self.job.specs) - 1} more" if len(self.job.specs) > 1 else ""
        return f"{spec.activation} seed {spec.seed}{more}"


class Control:
    """Jobs on their way, of one call of an executor."""

    def __init__(
        self, engine: Engine, store: Store, retries: int, log: Callable[[str], None] = lambda text: None
    ) -> None:
        """`log` receives the lines for the user that jobs still have while they are being stopped."""
        self.engine, self.store, self.retries, self.log = engine, store, retries, log
        self.numbers = itertools.count()
        self.waiting: deque[Flight] = deque()
        self.busy: deque[Flight] = deque()
        """Jobs with a run that another process is training."""
        self.flights: dict[int, Flight] = {}
        self.retried = 0

    def run(self, jobs: Sequence[Job]) -> Generator[Message, None, None]:
        """Yields messages until every job has ended; closing the generator stops the jobs after a checkpoint."""
        self.waiting.extend(Flight(job) for job in jobs)
        try:
            while self.waiting or self.busy or self.flights:
                yield from self._launch()
                yield from self._wait_for_others()
                for arrival in self._arrivals():
                    yield from self._receive(arrival)
        except BaseException:
            self._stop()
            raise
        finally:
            self.engine.close()
            for flight in [*self.flights.values(), *self.waiting, *self.busy]:
                flight.locks.close()

    def _arrivals(self) -> list[Arrival]:
        """News of the jobs that are out, and of workers that begin."""
        return self.engine.arrivals(POLL_SECONDS) if self.flights or self.waiting else []

    def _launch(self) -> Iterator[Message]:
        """Send out as many jobs as there are places for, the longest first; what others have stored takes no place."""
        while self.waiting and (self._is_stored(self.waiting[0]) or self.engine.places() > 0):
            flight = self.waiting.popleft()
            for spec in flight.job.specs:
                yield Started(run=spec.id)
            if not self._lock(flight):
                self.busy.append(flight)
                for spec in flight.job.specs:
                    yield Postponed(run=spec.id)
            elif self._is_stored(flight):
                for spec in flight.job.specs:
                    yield stored_run(self.store, spec)
                flight.locks.close()
            else:
                number = next(self.numbers)
                self.flights[number] = flight
                self.engine.launch(number, self._parcel(flight))

    def _lock(self, flight: Flight) -> bool:
        """Lock the job's runs and the layers that it may train; False, with nothing locked, if another has one."""
        if flight.locked or flight.job.noise:
            return True
        layers = [layer for layer in layer_ids_of(flight.job) if not self.store.has_layer(layer)]
        names = sorted({*(spec.id for spec in flight.job.specs), *layers})
        with contextlib.ExitStack() as locks:
            try:
                for name in names:
                    locks.enter_context(self.store.lock(name, lambda: False))
            except Busy:
                return False
            flight.locks, flight.locked = locks.pop_all(), True
        return True

    def _wait_for_others(self) -> Iterator[Message]:
        """Look whether runs that another process had are free; where nothing else is left to do, wait for them.

        The workers are let go of meanwhile: the process that is waited for may need their places.
        """
        if not self.busy:
            return
        is_idle = not self.waiting and not self.flights
        for flight in list(self.busy):
            if self._lock(flight):
                self.busy.remove(flight)
                self.waiting.append(flight)
            elif is_idle and not flight.is_waited_for:
                flight.is_waited_for = True
                for spec in flight.job.specs:
                    yield Waiting(run=spec.id)
        if is_idle and not self.waiting:
            self.engine.close()
            time.sleep(LOCK_SECONDS)

    def _is_stored(self, flight: Flight) -> bool:
        job = flight.job
        if job.fresh or job.pretrain_only or job.noise:
            return False
        return all(self.store.has(spec.id) for spec in job.specs)

    def _parcel(self, flight: Flight) -> Parcel:
        """The job with what it needs; one that is tried again goes on from its last checkpoint, even a fresh one."""
        fresh = flight.job.fresh and not (flight.has_checkpoint and not flight.job.pretrain_only)
        job = replace(flight.job, fresh=fresh, patient=True)
        return Parcel(job=job, supplies=supplies_of(job, self.store, fresh=fresh))

    def _receive(self, arrival: Arrival) -> Iterator[Message]:
        """Store what came home, and pass on the messages."""
        flight = self.flights.get(arrival.flight)
        if flight is None:
            return
        for delivery in arrival.deliveries:
            yield from self._deliver(flight, delivery)
        if arrival.lost:
            del self.flights[arrival.flight]
            yield from self._lose(flight, arrival)
        elif arrival.ended:
            del self.flights[arrival.flight]
            yield from self._report_missing(flight)
            flight.locks.close()

    def _deliver(self, flight: Flight, delivery: Delivery) -> Iterator[Message]:
        """Store what is to be stored; a message is passed on."""
        if isinstance(delivery, Stored):
            yield from self._store(flight, delivery)
            return
        if isinstance(delivery, Done):
            delivery = replace(delivery, not_stored=flight.unstored.get(delivery.run, ""))
        if isinstance(delivery, Done | Failed):
            flight.ended.add(delivery.run)
        yield delivery

    def _report_missing(self, flight: Flight) -> Iterator[Message]:
        """A failure for each run of a job that ended without a word about the run."""
        if flight.job.pretrain_only or flight.job.noise:
            return
        for spec in flight.job.specs:
            if spec.id not in flight.ended:
                text = f"the job of {spec.activation} seed {spec.seed} ended, and its result did not come home"
                yield Failed(run=spec.id, message=text, hint=GO_ON)

    def _store(self, flight: Flight, delivery: Stored) -> Iterator[Message]:
        """Store what came home; where the disk does not take it, the run's message says so, or a note."""
        try:
            store_delivery(delivery, self.store)
            flight.has_checkpoint |= isinstance(delivery, PutCheckpoint)
        except OSError as error:
            reason = error.strerror or str(error)
            if isinstance(delivery, PutRun):
                flight.unstored[delivery.result.id] = reason
            elif isinstance(delivery, PutCheckpoint):
                yield Note(run=flight.job.specs[0].id, text=f"no checkpoint was written: {error}")
            else:
                yield Note(run=flight.job.specs[0].id, text=f"warning: {flight.label}: not stored ({reason})")

    def _lose(self, flight: Flight, arrival: Arrival) -> Iterator[Message]:
        """Try a job whose node or process has ended again, in front of the others; or report its runs as failed."""
        flight.losses += 1
        specs = [spec for spec in flight.job.specs if spec.id not in flight.ended]
        if not specs or arrival.final or flight.losses > self.retries:
            times = f" ({flight.losses} times in all)" if flight.losses > 1 else ""
            hint = "; ".join(filter(None, (arrival.hint, GO_ON)))
            for spec in specs:
                yield Failed(
                    run=spec.id, message=f"the process training {spec.activation} {arrival.lost}{times}", hint=hint
                )
            flight.locks.close()
            return
        self.retried += 1
        start = "its last checkpoint" if flight.has_checkpoint else "its start"
        again = f"it is tried again from {start} ({flight.losses} of {self.retries})"
        yield Note(run=specs[0].id, text=f"{flight.label}: the process {arrival.lost}; {again}")
        for spec in specs:
            yield Postponed(run=spec.id, is_retry=True)
        flight.job = replace(flight.job, specs=specs)
        self.waiting.appendleft(flight)

    def _stop(self) -> None:
        """Interrupt all jobs, and store their checkpoints."""
        for arrival in self.engine.stop() if self.flights else ():
            flight = self.flights.get(arrival.flight)
            if flight is None:
                continue
            for delivery in arrival.deliveries:
                for message in self._deliver(flight, delivery):
                    if isinstance(message, Note):
                        self.log(message.text)
