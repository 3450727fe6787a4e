"""Carries out jobs in SLURM: as job arrays, through submitit and a folder that all machines share.

Stopping the command leaves its jobs in SLURM; the same command finds them again, and what they have finished.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from relubench.data import DataReference
from relubench.data.shipment import pack, pieces
from relubench.executors.job import Job
from relubench.executors.messages import Message
from relubench.executors.remote.control import Control
from relubench.executors.remote.deliveries import Delivery
from relubench.executors.remote.engine import Arrival, Parcel
from relubench.executors.slurm_flight import End, FlightFolder, Reader
from relubench.executors.slurm_job import SlurmJob, data_folder
from relubench.executors.slurm_queue import SlurmOptions, ending, last_state, states, submit
from relubench.runs.store import Store
from relubench.system.device import Device
from relubench.training.memory import BASE_BYTES, member_bytes

MOST_OUT = 1000
"""Jobs in the queue at the same time: the largest array that SLURM takes by default."""
ASK_SECONDS = 10.0
"""How often SLURM is asked for the states of jobs, at the most."""
CHECKPOINT_SECONDS = 60.0
"""How often checkpoints are fetched, at the most."""


@dataclass(slots=True)
class Tracked:
    """A job that is out."""

    folder: FlightFolder
    reader: Reader
    is_submitted: bool
    missing: int = 0
    """How often in succession SLURM did not know it."""
    fetched: float = field(default_factory=time.monotonic)
    """When checkpoints were fetched last."""


class SlurmEngine:
    """Jobs in SLURM's queue."""

    def __init__(self, root: Path, options: SlurmOptions, log: Callable[[str], None], features: str = "") -> None:
        """`features`: of the processor that the runs are pinned to."""
        self.root, self.options, self.log, self.features = root, options, log, features
        self.tracked: dict[int, Tracked] = {}
        self.last_asked = 0.0
        self.queue: dict[str, str] = {}
        self.interval = 0.5

    def places(self) -> int:
        """How many jobs more the queue takes."""
        return MOST_OUT - len(self.tracked)

    def workers(self) -> int:
        """How many jobs run at the same time at the most."""
        return self.options.workers or len(self.tracked)

    def launch(self, flight: int, parcel: Parcel) -> None:
        """Queue a job with those that come next; one that an earlier command has queued is found again."""
        folder = FlightFolder(self.root / "flights" / parcel.job.name)
        is_queued = bool(folder.id) and folder.id in self._queue()
        is_known = is_queued or (not parcel.job.fresh and folder.has_ended)
        if not is_known:
            if parcel.job.fresh:
                folder.remove()
            folder.write_parcel(replace(parcel, features=self.features))
            self._share(parcel.job.data)
        self.tracked[flight] = Tracked(folder, Reader(folder), is_submitted=is_known)

    def arrivals(self, seconds: float) -> list[Arrival]:
        """What has arrived; jobs that were launched since are queued first, as one array."""
        self._submit()
        time.sleep(min(seconds, self.interval))
        self.interval = min(2.0, self.interval * 1.5)
        arrivals = [self._read(flight, tracked) for flight, tracked in self.tracked.items()]
        arrivals = [arrival for arrival in arrivals if arrival.deliveries or arrival.ended]
        for arrival in arrivals:
            if arrival.ended:
                self.tracked.pop(arrival.flight).folder.remove()
        return arrivals + self._lost()

    def stop(self) -> list[Arrival]:
        """Leaves the jobs in SLURM; what they have delivered so far."""
        arrivals = [self._read(flight, tracked, fetch=True) for flight, tracked in self.tracked.items()]
        numbers = sorted({tracked.folder.id.split("_")[0] for tracked in self.tracked.values() if tracked.folder.id})
        if numbers:
            cancel = f"`scancel {' '.join(numbers)}`"
            self.log(f"{len(self.tracked)} jobs stay in SLURM: the same command finds them again, {cancel} ends them")
        return arrivals

    def close(self) -> None:
        """Nothing is held."""

    def _share(self, reference: DataReference) -> None:
        """Put a data set into the shared folder, once."""
        folder = data_folder(self.root, reference)
        if not folder.is_dir():
            pack(pieces(reference), folder)

    def _queue(self) -> dict[str, str]:
        """The jobs that SLURM has, as of a moment ago."""
        if not self.queue or time.monotonic() - self.last_asked > ASK_SECONDS:
            self.queue, self.last_asked = states() or {}, time.monotonic()
        return self.queue

    def _submit(self) -> None:
        """Queue what has been launched since the last call."""
        new = [tracked for tracked in self.tracked.values() if not tracked.is_submitted]
        if not new:
            return
        functions = [SlurmJob(str(tracked.folder.path.absolute())) for tracked in new]
        jobs = submit(self.root / "submitit", functions, self.options)
        for tracked, job in zip(new, jobs, strict=True):
            tracked.folder.set_id(str(job.job_id))
            tracked.is_submitted = True
        self.last_asked, self.interval = time.monotonic(), 0.5

    def _read(self, flight: int, tracked: Tracked, fetch: bool = False) -> Arrival:
        """What a job has delivered since the last look; its checkpoints once a minute."""
        deliveries: list[Delivery] = []
        has_ended = False
        for entry in tracked.reader.new_entries():
            if isinstance(entry, End):
                has_ended = True
            else:
                deliveries.append(entry)
        if not has_ended and (fetch or time.monotonic() - tracked.fetched > CHECKPOINT_SECONDS):
            tracked.fetched = time.monotonic()
            deliveries += tracked.folder.checkpoints()
        return Arrival(flight=flight, deliveries=deliveries, ended=has_ended)

    def _lost(self) -> list[Arrival]:
        """The jobs that SLURM no longer has and that have not come to their end."""
        if not self.tracked or time.monotonic() - self.last_asked < min(ASK_SECONDS, 5 * self.interval):
            return []
        self.last_asked = time.monotonic()
        queue = states()
        arrivals: list[Arrival] = []
        for flight, tracked in list(self.tracked.items()) if queue is not None else ():
            tracked.missing = 0 if tracked.folder.id in (queue or {}) else tracked.missing + 1
            # A job that is queued again, or whose last words are still on their way, is missing for a moment.
            if tracked.missing < 2:
                continue
            last = self._read(flight, tracked, fetch=True)
            del self.tracked[flight]
            if last.ended:
                arrivals.append(last)
                tracked.folder.remove()
                continue
            lost, hint, is_final = ending(last_state(tracked.folder.id))
            arrivals.append(replace(last, lost=lost, hint=hint, final=is_final))
            if is_final:
                tracked.folder.remove()
        return arrivals


class SlurmExecutor:
    """As many jobs at the same time as SLURM gives."""

    def __init__(
        self,
        store: Store,
        options: SlurmOptions,
        device: Device,
        *,
        retries: int,
        root: Path,
        gigabytes: int | None = None,
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`device`: of the nodes; `root`: the shared folder; `gigabytes` of a job, by default as predicted."""
        self.store, self.options, self.device, self.retries, self.log = store, options, device, retries, log
        self.root, self.gigabytes = root, gigabytes

    def run(self, jobs: Sequence[Job]) -> Generator[Message, None, None]:
        """Yields messages until every job has ended; closing the generator leaves the jobs in SLURM."""
        if not jobs:
            return
        options = replace(self.options, gigabytes=self.gigabytes or predicted_gigabytes(jobs))
        engine = SlurmEngine(self.root, options, self.log, self.device.features)
        yield from Control(engine, self.store, self.retries, self.log).run(jobs)


def predicted_gigabytes(jobs: Sequence[Job]) -> int:
    """The memory of a job, of the largest of these: what is predicted, and half as much again."""
    heaviest = max(member_bytes(job.specs[0], job.choice.inputs_per_unit) * len(job.specs) for job in jobs)
    return max(1, -(-int(1.5 * (BASE_BYTES + heaviest)) // 10**9))
