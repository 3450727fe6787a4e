"""What SLURM runs on a node: one job, until it ends or its time is over. Torch-free until it trains.

The main thread waits for signals, another one trains: submitit calls `checkpoint` in the main thread when the job is
preempted or its time is over, and queues it again.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from pathlib import Path
from typing import Any, BinaryIO

from relubench.data.prepared import DataReference
from relubench.data.reference import copy_here
from relubench.data.shipment import receive, unpacked
from relubench.errors import RelubenchError
from relubench.executors.messages import Failed
from relubench.executors.remote.deliveries import Delivery, PutCheckpoint
from relubench.executors.remote.engine import Parcel
from relubench.executors.remote.performance import Performance
from relubench.executors.slurm_flight import End, FlightFolder, write_entries
from relubench.system.device import resolve

KILL_SECONDS = 120.0
"""How long a job that was told to end waits to be killed."""


class SlurmJob:
    """One job in its folder, as submitit calls it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self) -> None:
        """Carry the job out to its end."""
        attempt = Attempt(FlightFolder(Path(self.folder)))
        RUNNING[self.folder] = attempt
        # SLURM says so before it kills a job that is preempted, queued again or cancelled.
        signal.signal(signal.SIGTERM, lambda number, frame: attempt.stop.set())
        attempt.thread.start()
        # Without a timeout no signal would be served meanwhile.
        while attempt.thread.is_alive():
            attempt.thread.join(0.2)
        if attempt.stop.is_set():
            # A job that ended by itself now would count as done.
            time.sleep(KILL_SECONDS)

    def checkpoint(self) -> Any:
        """What submitit queues again: the same job, once the training has written a checkpoint."""
        import importlib

        RUNNING[self.folder].interrupt()
        return importlib.import_module("submitit.helpers").DelayedSubmission(SlurmJob(self.folder))


class Attempt:
    """One attempt at a job, on one node."""

    def __init__(self, folder: FlightFolder) -> None:
        self.folder = folder
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._carry_out, daemon=True)

    def interrupt(self) -> None:
        """Stop the training after a checkpoint, and wait for it."""
        self.stop.set()
        self.thread.join()

    def _carry_out(self) -> None:
        with self.folder.new_log() as log:
            parcel = self.folder.parcel()
            try:
                problem = problem_here(parcel) or self._lacking_data(parcel.job.data)
                if problem:
                    self._hand_over(log, [*failed(parcel, problem), End()])
                    return
                performance = Performance(parcel.job, parcel.supplies)
                while not performance.ended and not self.stop.is_set():
                    self._hand_over(log, performance.advance())
                self._hand_over(log, [End()] if performance.ended else performance.stop())
            except Exception as error:
                traceback.print_exc()
                reason = f"the job failed on its node: {type(error).__name__}: {error}".splitlines()[0]
                self._hand_over(log, [*failed(parcel, reason), End()])

    def _hand_over(self, log: BinaryIO, entries: list[Any]) -> None:
        """Put checkpoints into files of their own, and all else into the log."""
        for entry in entries:
            if isinstance(entry, PutCheckpoint):
                self.folder.put_checkpoint(entry)
        write_entries(log, [entry for entry in entries if not isinstance(entry, PutCheckpoint)])

    def _lacking_data(self, reference: DataReference) -> str:
        """Take the data set from the shared folder where this node has none; why that fails, else nothing.

        A data set that is not there either is downloaded by the job itself.
        """
        shared = data_folder(self.folder.path.parents[1], reference)
        if copy_here(reference) is not None or not shared.is_dir():
            return ""
        try:
            receive(reference, unpacked(shared))
        except (RelubenchError, OSError) as error:
            return getattr(error, "message", None) or str(error)
        return ""


RUNNING: dict[str, Attempt] = {}
"""The attempts of this process, by their folders: submitit calls a method of another copy of the job."""


def data_folder(root: Path, reference: DataReference) -> Path:
    """The place of a data set in the shared folder."""
    return root / "data" / reference.digest


def problem_here(parcel: Parcel) -> str:
    """Why this node cannot take the job: its device is another than the runs name. Empty if it can."""
    spec = parcel.job.specs[0]
    try:
        device = resolve(spec.device)
    except RelubenchError as error:
        return error.message
    pinned_kind = (spec.device_name, parcel.features or device.features, spec.torch)
    own_kind = (device.name, device.features, device.torch)
    if own_kind == pinned_kind:
        return ""
    node = os.environ.get("SLURMD_NODENAME", "the node")
    return f"{node} has {_kind(*own_kind)}; the runs are pinned to {_kind(*pinned_kind)}"


def _kind(name: str, features: str, torch: str) -> str:
    return ", ".join(filter(None, (name, features, f"torch {torch}")))


def failed(parcel: Parcel, message: str) -> list[Delivery]:
    """The messages of a job that could not be carried out."""
    hint = "--set slurm.constraint=NAME keeps jobs on nodes of one kind; see the log in the folder slurm of the runs"
    return [Failed(run=spec.id, message=message, hint=hint) for spec in parcel.job.specs]
