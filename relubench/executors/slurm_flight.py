"""A job on its way through SLURM: a folder that the login node and the nodes share. Torch-free.

FOLDER/flights/NAME/parcel          the job, and what it needs of the store
                    specs.json      its runs, for `relubench runs`
                    id              SLURM's number of it, once it is queued
                    log-0, log-1    what came of it, a file an attempt; the login node reads them
                    checkpoint-ID   the last state of a training (or of a layer)
FOLDER/data/DIGEST/                 data sets, for nodes that have neither them nor their source
FOLDER/submitit/                    what submitit writes
"""

from __future__ import annotations

import contextlib
import json
import pickle
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from relubench.executors.remote.deliveries import Delivery, PutCheckpoint, PutLayer
from relubench.executors.remote.engine import Parcel
from relubench.executors.remote.supplies import SentLayer
from relubench.system import integrity
from relubench.system.files import write_atomically

LENGTH_BYTES = 8


@dataclass(frozen=True, slots=True)
class End:
    """The last entry of a log: the job has come to its end."""


@dataclass(frozen=True, slots=True)
class FlightFolder:
    """The folder of one job."""

    path: Path

    def write_parcel(self, parcel: Parcel) -> None:
        """Put the job in; what an earlier attempt left stays."""
        write_atomically(self.path / "parcel", pickle.dumps(parcel))
        specs = [spec.to_json() for spec in parcel.job.specs]
        write_atomically(self.path / "specs.json", json.dumps(specs).encode())

    def parcel(self) -> Parcel:
        """The job; what earlier attempts finished of it comes with it."""
        parcel: Parcel = pickle.loads((self.path / "parcel").read_bytes())
        supplies = parcel.supplies
        layers = [entry for entry in self.entries() if isinstance(entry, PutLayer)]
        sent = {
            entry.layer.id: SentLayer(layer=entry.layer, timing=entry.timing, weights=entry.weights) for entry in layers
        }
        own = {checkpoint.name: checkpoint.content for checkpoint in self.checkpoints()}
        supplies = replace(supplies, layers={**supplies.layers, **sent}, checkpoints={**supplies.checkpoints, **own})
        job = replace(parcel.job, fresh=parcel.job.fresh and not own and not sent)
        return replace(parcel, supplies=supplies, job=job)

    def specs(self) -> list[dict[str, Any]]:
        """The job's runs, as JSON values; [] where they cannot be read."""
        try:
            return list(json.loads((self.path / "specs.json").read_bytes()))
        except (OSError, ValueError):
            return []

    @property
    def id(self) -> str:
        """SLURM's number of the job; empty before it is queued."""
        try:
            return (self.path / "id").read_text()
        except OSError:
            return ""

    def set_id(self, number: str) -> None:
        """Note SLURM's number of the job."""
        write_atomically(self.path / "id", number.encode())

    def entries(self) -> Iterator[Delivery | End]:
        """All that the logs hold so far."""
        return Reader(self).new_entries()

    @property
    def has_ended(self) -> bool:
        """Whether the job has come to its end."""
        return any(isinstance(entry, End) for entry in self.entries())

    def logs(self) -> list[Path]:
        """The logs of all attempts, in order."""
        return sorted(self.path.glob("log-*"), key=lambda path: int(path.name.removeprefix("log-")))

    def new_log(self) -> BinaryIO:
        """The log of a new attempt."""
        return (self.path / f"log-{len(self.logs())}").open("xb", buffering=0)

    def put_checkpoint(self, checkpoint: PutCheckpoint) -> None:
        """Store the state of a training in place of the one before."""
        sealed = integrity.sealed(checkpoint.content, checkpoint.name)
        write_atomically(self.path / f"checkpoint-{checkpoint.name}", sealed)

    def checkpoints(self) -> Iterator[PutCheckpoint]:
        """The last state of each training; what is damaged is left out."""
        for path in self.path.glob("checkpoint-*"):
            name = path.name.removeprefix("checkpoint-")
            with contextlib.suppress(OSError, ValueError):
                yield PutCheckpoint(name=name, content=integrity.read(path.read_bytes(), name))

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)


def flights(root: Path) -> list[FlightFolder]:
    """The jobs that are on their way, below the shared folder."""
    return [FlightFolder(path.parent) for path in sorted(root.glob("flights/*/parcel"))]


class Reader:
    """Reads the logs of a job as they grow."""

    def __init__(self, folder: FlightFolder) -> None:
        self.folder = folder
        self.positions: dict[Path, int] = {}

    def new_entries(self) -> Iterator[Delivery | End]:
        """The entries that have been written since the last call; half an entry is left for the next."""
        for path in self.folder.logs():
            with contextlib.suppress(OSError), path.open("rb") as file:
                file.seek(self.positions.get(path, 0))
                while entry := _read_entry(file):
                    self.positions[path] = file.tell()
                    yield pickle.loads(entry)


def write_entries(file: BinaryIO, entries: Sequence[Delivery | End]) -> None:
    """Append entries to a log."""
    for entry in entries:
        content = pickle.dumps(entry)
        file.write(len(content).to_bytes(LENGTH_BYTES, "little") + content)


def _read_entry(file: BinaryIO) -> bytes:
    """The next entry; nothing where it is not there, or only half of it."""
    length = file.read(LENGTH_BYTES)
    if len(length) < LENGTH_BYTES:
        return b""
    size = int.from_bytes(length, "little")
    content = file.read(size)
    return content if len(content) == size else b""
