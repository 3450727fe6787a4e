"""A user's own code in a job: its source, which a worker imports in place where it is the same, or from a copy.

What travels is the file that is named, the files that it imports from beside it, and what its last check saw it read
below their folder. A module named by its dotted name is not sent: it is installed where the job runs. Torch-free.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from relubench.activations import ActivationChoice
from relubench.activations.user import Role, changed, files_seen, resolve_user_object
from relubench.activations.user_sources import SENT, is_path, source_file, source_files
from relubench.activations.user_syntax import parse_user_object
from relubench.errors import ComputeError, RelubenchError, UsageError
from relubench.models.families import family_of
from relubench.runs.spec import RunSpec
from relubench.system.files import write_atomically
from relubench.system.paths import cache_root

LARGEST_FILE = 2**20
"""Bytes of a file that is not code; a larger one that the code reads is not sent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """One file of a user's code."""

    path: str
    """Below the folder of all of them, with forward slashes."""
    digest: str
    """SHA-256 of the content."""
    text: str
    """The content as UTF-8; bytes that are none are escaped, as surrogates."""

    @property
    def content(self) -> bytes:
        """The bytes of the file; raises ComputeError where they are not what the digest says."""
        content = self.text.encode("utf-8", "surrogateescape")
        if _digest(content) != self.digest:
            raise ComputeError(f"the source of {self.path} does not match its SHA-256", "repeat the command")
        return content


@dataclass(frozen=True, kw_only=True, slots=True)
class UserSource:
    """The source of one user's object."""

    location: str
    """The file as the user named it, relative to the working folder or not."""
    files: tuple[SourceFile, ...]
    """The file itself comes first."""

    @classmethod
    def of(cls, location: str, choice: ActivationChoice, role: Role) -> UserSource:
        """The source of the user's object that `choice` names."""
        file = source_file(location)
        code = [file, *(path for path in source_files(file, location) if path != file)]
        root = Path(os.path.commonpath([path.parent for path in code]))
        read = [path for path in files_seen(choice, role) if path.is_relative_to(root) and path not in code]
        small = [path for path in read if path.is_file() and path.stat().st_size <= LARGEST_FILE]
        return cls(location=location, files=tuple(_file(path, root) for path in [*code, *small]))

    def is_in_place(self) -> bool:
        """Whether every file lies here where the location says, with the same content."""
        entry = PurePosixPath(self.files[0].path)
        try:
            root = source_file(self.location).parents[len(entry.parts) - 1]
            return all(_digest((root / file.path).read_bytes()) == file.digest for file in self.files)
        except (OSError, IndexError, RelubenchError):
            return False

    def written(self) -> Path:
        """The path of the file in a copy of the source in the cache folder."""
        key = _digest("".join(f"{file.path} {file.digest}\n" for file in self.files).encode())
        folder = cache_root() / "sources" / key[:16]
        for file in self.files:
            path = folder / file.path
            if not path.resolve().is_relative_to(folder.resolve()):
                raise ComputeError(f"the source {file.path} would lie outside of its folder", "repeat the command")
            if not path.is_file() or path.read_bytes() != file.content:
                write_atomically(path, file.content)
        return folder / self.files[0].path

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> UserSource:
        return cls(location=values["location"], files=tuple(SourceFile(**file) for file in values["files"]))


def _file(path: Path, root: Path) -> SourceFile:
    content = path.read_bytes()
    text = content.decode("utf-8", "surrogateescape")
    return SourceFile(path=path.relative_to(root).as_posix(), digest=_digest(content), text=text)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sources_of(choice: ActivationChoice, spec: RunSpec) -> tuple[UserSource, ...]:
    """The sources of the user's own activation and network of a run, as far as they are named by a path."""
    return tuple(
        UserSource.of(location, named, role)
        for named, role in _user_objects(choice, spec)
        if is_path(location := parse_user_object(named.label).location)
    )


def without_path(choice: ActivationChoice) -> ActivationChoice:
    """The choice as a job holds it: a user's own by the file as the user named it."""
    if choice.kind != "user":
        return choice
    user_object = parse_user_object(choice.label)
    return replace(choice, name=f"{user_object.location}:{user_object.name}")


def on_this_machine(choice: ActivationChoice, spec: RunSpec, sources: Sequence[UserSource]) -> ActivationChoice:
    """The choice as this process builds it: a user's own by the path of its file in place or, of a copy, there.

    Afterwards the run's network, too, is built of its own source. Raises ComputeError where the user's code is here and
    has changed since the run got its id.
    """
    for source in sources:
        SENT.pop(source.location, None)
    with contextlib.suppress(UsageError):  # Not every machine has the file in its place.
        _check_unchanged(choice, spec)
    for source in sources:
        if not source.is_in_place():
            SENT[source.location] = source.written()
    return replace(choice, name=resolve_user_object(choice.label).name) if choice.kind == "user" else choice


def _check_unchanged(choice: ActivationChoice, spec: RunSpec) -> None:
    digests = {"activation": spec.activation_digest, "network": spec.model_digest}
    for named, role in _user_objects(choice, spec):
        for change in changed(resolve_user_object(named.label, role), digests[role], role)[:1]:
            raise ComputeError(f"{change} has changed since the command began", "repeat the command")


def _user_objects(choice: ActivationChoice, spec: RunSpec) -> Iterator[tuple[ActivationChoice, Role]]:
    """The user's own objects of a run."""
    if choice.kind == "user":
        yield choice, "activation"
    if family_of(spec.model).can("user code"):
        yield resolve_user_object(spec.model, "network"), "network"
