"""Folders of a JSON record and the files that belong to it: each exists whole or not at all, and is checked.

ROOT/NAME/RECORD            with its own SHA-256, and those of the files
ROOT/NAME/FILE...
ROOT/.NAME-old/...          the folder that a new one is about to replace
ROOT/.NAME-1a2b3c4d/...     a folder that is being written or removed
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relubench.errors import ComputeError
from relubench.system import integrity
from relubench.system.files import flush_folder, read_plain, write_durably

OLD = "old"
"""The suffix of a folder's name while a new folder replaces it."""

FOLDER = re.compile(rf"[0-9a-f][^.]*|\.[0-9a-f].*-{OLD}")
"""The names of folders that may hold a record: finished ones, and old ones that are being replaced."""


class Damaged(ComputeError):
    """A stored file is not what was written, so it is not used."""


@dataclass(frozen=True, slots=True)
class RecordFolders:
    """The record folders below a root; nothing is created before something is written."""

    root: Path
    record_name: str
    kind: str
    """What a folder holds, for error messages: 'the stored run'."""
    remedy: str
    """How the user removes a damaged folder; {name} and {folder} stand for it."""

    def folder(self, name: str) -> Path:
        """The path of that folder, existing or not; the old one if the process that was replacing it was killed."""
        folder = self.root / name
        return _old_path(folder) if not folder.exists() and _old_path(folder).exists() else folder

    def names(self) -> list[str]:
        """The names of the folders that have a record."""
        if not self.root.is_dir():
            return []
        # os.scandir, for stores of 100,000 runs: glob takes ten times as long.
        with os.scandir(self.root) as entries:
            folders = [entry for entry in entries if FOLDER.fullmatch(entry.name)]
        complete = [entry.name for entry in folders if os.path.exists(f"{entry.path}/{self.record_name}")]  # noqa: PTH110
        return sorted({_original_name(name) for name in complete})

    def record(self, name: str) -> dict[str, Any] | None:
        """The record's values, without its digests; None if there is none. Raises Damaged."""
        values = self._record(name)
        return None if values is None else {key: value for key, value in values.items() if key != "files"}

    def file(self, name: str, file: str) -> bytes | None:
        """The content of a file beside the record; None where the record does not name it. Raises Damaged."""
        values = self._record(name)
        digest = None if values is None else values["files"].get(file)
        if digest is None:
            return None
        try:
            content = read_plain(self.folder(name) / file)
        except OSError as error:
            raise self.damaged(name, file, error.strerror or str(error)) from error
        if integrity.digest_of(content) != digest:
            raise self.damaged(name, file, "its content does not match its SHA-256")
        return content

    def damaged(self, name: str, file: str, reason: str) -> Damaged:
        """The error to raise about a file of that folder."""
        folder = self.folder(name)
        return Damaged(
            f"{self.kind} {folder / file} is damaged: {reason}", self.remedy.format(name=name, folder=folder)
        )

    def put(self, name: str, values: dict[str, Any], files: dict[str, bytes]) -> None:
        """Write a record and its files as a folder, which appears at once by a rename; an old one is replaced."""
        digests = {file: integrity.digest_of(content) for file, content in files.items()}
        new_folder = self._unique(name)
        try:
            record = integrity.sealed_json({**values, "files": digests}, name)
            for file, content in {self.record_name: record, **files}.items():
                write_durably(new_folder / file, content)
            self._move(new_folder, self.root / name)
        except BaseException:
            shutil.rmtree(new_folder, ignore_errors=True)
            raise

    def delete(self, name: str) -> None:
        """Remove the folder, and the old one that it was replacing."""
        place = self.root / name
        for folder in (_old_path(place), place):
            if folder.is_dir():
                trash = self._unique(name)
                folder.rename(trash)
                shutil.rmtree(trash, ignore_errors=True)

    def _record(self, name: str) -> dict[str, Any] | None:
        try:
            return integrity.read_json(read_plain(self.folder(name) / self.record_name), name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self.damaged(name, self.record_name, error.strerror or str(error)) from error
        except (ValueError, RecursionError) as error:
            raise self.damaged(name, self.record_name, str(error)) from error

    def _move(self, new_folder: Path, target: Path) -> None:
        """Rename `new_folder` to `target`; an old folder is renamed first, and removed last.

        A process that is killed between the two renames leaves the old folder, which `folder` finds.
        """
        old = _old_path(target)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
            target.rename(old)
        new_folder.rename(target)
        flush_folder(target.parent)
        shutil.rmtree(old, ignore_errors=True)

    def _unique(self, name: str) -> Path:
        """A new folder beside that one, with a name that no other folder has."""
        new_folder = self.root / f".{name}-{uuid.uuid4().hex[:8]}"
        new_folder.mkdir(parents=True)
        return new_folder


def restored(stale: Path) -> bool:
    """Whether that folder was the old one of a replacement that never ended, and has its name back now."""
    target = stale.with_name(_original_name(stale.name))
    if not stale.name.endswith(f"-{OLD}") or target.exists():
        return False
    stale.rename(target)
    return True


def _old_path(folder: Path) -> Path:
    """The path of an old folder while a new one replaces it."""
    return folder.with_name(f".{folder.name}-{OLD}")


def _original_name(name: str) -> str:
    return name.removeprefix(".").removesuffix(f"-{OLD}")
