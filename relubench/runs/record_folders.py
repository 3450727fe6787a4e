"""Folders that hold a JSON record and the files that belong to it: whole or not there, and checked. Torch-free.

ROOT/NAME/RECORD            with its own SHA-256, and those of the files
ROOT/NAME/FILE...
ROOT/.NAME-old/...          the folder that a new one is about to replace
ROOT/.NAME-1a2b3c4d/...     a folder that is being written or removed
"""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relubench.errors import ComputeError
from relubench.system import files as durable
from relubench.system import integrity

OLD = "old"
"""How the name of a folder ends that is being replaced."""


class Damaged(ComputeError):
    """What is stored is not what was written: it is not believed."""


@dataclass(frozen=True, slots=True)
class RecordFolders:
    """The folders below a root; nothing is created before something is written."""

    root: Path
    record_name: str
    kind: str
    """What a folder holds, for messages: 'the stored run'."""
    remedy: str
    """How the user gets rid of a damaged one; {name} and {folder} stand for it."""

    def folder(self, name: str) -> Path:
        """Where that folder is, or would be; the one aside if the process that was replacing it was killed."""
        place = self.root / name
        return _aside(place) if not place.exists() and _aside(place).exists() else place

    def names(self) -> list[str]:
        """The names of the folders that have a record."""
        whole = {path.parent.name for path in self.root.glob(f"[0-9a-f]*/{self.record_name}")}
        aside = {path.parent.name for path in self.root.glob(f".[0-9a-f]*-{OLD}/{self.record_name}")}
        return sorted(whole | {_name(folder) for folder in aside})

    def record(self, name: str) -> dict[str, Any] | None:
        """The record's values, without its digests; None if there is none. Raises Damaged."""
        values = self._record(name)
        return None if values is None else {key: value for key, value in values.items() if key != "files"}

    def file(self, name: str, file: str) -> bytes | None:
        """The content of a file beside the record; None where the record knows of none. Raises Damaged."""
        values = self._record(name)
        digest = None if values is None else values["files"].get(file)
        if digest is None:
            return None
        try:
            content = durable.read_plain(self.folder(name) / file)
        except OSError as error:
            raise self.damaged(name, file, error.strerror or str(error)) from error
        if integrity.digest_of(content) != digest:
            raise self.damaged(name, file, "its content does not match its SHA-256")
        return content

    def damaged(self, name: str, file: str, why: str) -> Damaged:
        """The error to raise about a file of that folder."""
        folder = self.folder(name)
        return Damaged(f"{self.kind} {folder / file} is damaged: {why}", self.remedy.format(name=name, folder=folder))

    def put(self, name: str, values: dict[str, Any], files: dict[str, bytes]) -> None:
        """Make the folder of a record and of the files that belong to it in one move; an old one is replaced."""
        digests = {file: integrity.digest_of(content) for file, content in files.items()}
        fresh = self._unique(name)
        try:
            record = integrity.sealed_json({**values, "files": digests}, name)
            for file, content in {self.record_name: record, **files}.items():
                durable.write_durably(fresh / file, content)
            self._move(fresh, self.root / name)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise

    def delete(self, name: str) -> None:
        """Drop the folder, and the one aside."""
        place = self.root / name
        for folder in (_aside(place), place):
            if folder.is_dir():
                gone = self._unique(name)
                folder.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)

    def _record(self, name: str) -> dict[str, Any] | None:
        try:
            return integrity.read_json(durable.read_plain(self.folder(name) / self.record_name), name)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self.damaged(name, self.record_name, error.strerror or str(error)) from error
        except (ValueError, RecursionError) as error:
            raise self.damaged(name, self.record_name, str(error)) from error

    def _move(self, fresh: Path, place: Path) -> None:
        """Put the folder `fresh` at `place` by a rename; an old one steps aside first, and then goes.

        Whoever is killed between the two renames leaves the old one aside, where it is found.
        """
        old = _aside(place)
        if place.exists():
            shutil.rmtree(old, ignore_errors=True)
            place.rename(old)
        fresh.rename(place)
        durable.flush_folder(place.parent)
        shutil.rmtree(old, ignore_errors=True)

    def _unique(self, name: str) -> Path:
        """A new folder beside that one, whose name no other has."""
        fresh = self.root / f".{name}-{uuid.uuid4().hex[:8]}"
        fresh.mkdir(parents=True)
        return fresh


def restored(stale: Path) -> bool:
    """Whether that folder had stepped aside for one that never came, and is now back in its place."""
    place = stale.with_name(_name(stale.name))
    if not stale.name.endswith(f"-{OLD}") or place.exists():
        return False
    stale.rename(place)
    return True


def _aside(place: Path) -> Path:
    """Where a folder steps aside to while another takes its place."""
    return place.with_name(f".{place.name}-{OLD}")


def _name(aside: str) -> str:
    return aside.removeprefix(".").removesuffix(f"-{OLD}")
