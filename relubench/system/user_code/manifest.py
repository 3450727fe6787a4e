"""The files, variables and versions that a user's activation or network depended on at its last check. Torch-free.

A run's id contains a digest of this manifest. It is stored in the cache folder, so that a later command need not run
the code: if every file, variable and version is as it was, so is the digest; else the code is checked again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from relubench.system.kept_answers import keep_answer, read_answer
from relubench.system.paths import cache_root
from relubench.system.user_code.path_questions import answer, answers
from relubench.system.user_code.records import RECORDS, Record
from relubench.system.user_code.watching import UNSEEN_CALLS, UNSEEN_PACKAGES, read_files

KEYED_DISTRIBUTIONS = ("torch", "relubench")
"""Distributions whose versions are part of a run's id anyway."""

WATCHED = 2
"""The version of what is watched: a check by one that saw less is done again."""

LARGE = 2**22
"""Bytes from which on a file is not read again in one process while its inode says that it is the same."""

_MANIFESTS: dict[str, Manifest] = {}
"""The manifests of this process, by key, in case that the cache cannot be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything that a user's object depended on, with its digests at that time."""

    files: Mapping[str, str | None]
    """Path -> SHA-256; None for one that was looked for and not there."""
    environment: Mapping[str, str | None] = field(default_factory=dict)
    folders: Mapping[str, str | None] = field(default_factory=dict)
    """Path of a folder whose names were asked for -> SHA-256 over them; None for one that is not there."""
    distributions: Mapping[str, str | None] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    """What the code asked of paths besides their contents, 'question path' -> answer; '' for one that is not there."""
    unseen: tuple[str, ...] = ()
    """Other sources that its code reads, which cannot be watched."""

    @property
    def digest(self) -> str:
        """SHA-256 over the whole manifest; for a single file, the file's own."""
        contents = [self.files[path] for path in sorted(self.files)]
        besides = (self.environment, self.distributions, self.folders, self.answers)
        if not any(besides) and None not in contents:
            return digest_of([bytes.fromhex(digest) for digest in contents if digest is not None])
        names = [Path(path).name for path in sorted(self.files)]
        facts: list[Any] = [list(zip(names, contents, strict=True)), dict(self.environment), dict(self.distributions)]
        if self.folders:  # Where there are none, the digest is that of former versions.
            facts.append([self.folders[path] for path in sorted(self.folders)])
        if self.answers:
            facts.append([(question, Path(path).name, text) for question, path, text in self._answers()])
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def changes(self, *, environment: bool = True) -> list[str]:
        """The names of the files, folders, distributions and variables that have changed."""
        changed = [path for path, digest in self.files.items() if file_digest(path) != digest]
        changed += [path for path, digest in self.folders.items() if names_digest(path) != digest]
        changed += [path for question, path, text in self._answers() if answer(question, path) != text]
        changed += [name for name, version in self.distributions.items() if _version(name) != version]
        if environment:
            changed += [name for name, value in self.environment.items() if _variable_digest(name) != value]
        return changed

    def _answers(self) -> list[tuple[str, str, str]]:
        """(question, path, answer) of all."""
        parts = [(*key.partition(" "), text) for key, text in sorted(self.answers.items())]
        return [(question, path, text) for question, _, path, text in parts]


def digest_of(digests: list[bytes]) -> str:
    """One digest for several files' digests, in the order of their paths; a single one is itself."""
    return digests[0].hex() if len(digests) == 1 else hashlib.sha256(b"".join(digests)).hexdigest()


def manifest_of(module: str, sources: Iterable[Path], check: Record) -> Manifest:
    """The manifest of an imported `module` and its check; `sources` are files that were found in the code itself."""
    records = {name: RECORDS[name] for name in imported_modules([module, *check.modules])}
    files: dict[str, str | None] = {str(path): file_digest(path) for path in sources}
    variables: set[str] = set()
    packages: set[str] = {module.partition(".")[0]} - {name.partition(".")[0] for name in records}
    unseen: set[str] = set()
    folders: dict[str, str | None] = {}
    for record in (*records.values(), check):
        files |= {path: file_digest(path) for path in read_files(record)}
        files |= {record.path: record.digest} if record.path else {}
        written_folders = {str(Path(path).parent) for path in record.written_files}
        changing = [path for path in record.folders if path in written_folders]
        unseen |= {f"a list of {Path(path).name}, where it writes" for path in changing}
        folders |= {path: names_digest(path) for path in record.folders if path not in written_folders}
        variables |= record.environment
        packages |= record.packages
        unseen |= record.unseen
    text = "\n".join(Path(path).read_text(errors="replace") for path in files if path.endswith(".py") and files[path])
    unseen |= (packages & UNSEEN_PACKAGES) | {call.rstrip(".") for call in UNSEEN_CALLS if call in text}
    return Manifest(
        files=dict(sorted(files.items())),
        folders=dict(sorted(folders.items())),
        answers=answers([*records.values(), check], files, folders),
        environment={name: _variable_digest(name) for name in sorted(variables)},
        distributions={name: _version(name) for name in _distributions(packages)},
        unseen=tuple(sorted(unseen)),
    )


def imported_modules(names: Iterable[str]) -> list[str]:
    """The users' modules that these modules import, directly or not, and the modules themselves."""
    queue, modules = list(names), set[str]()
    while queue:
        name = queue.pop()
        if name in RECORDS and name not in modules:
            modules.add(name)
            queue += RECORDS[name].modules
    return sorted(modules)


def _distributions(packages: set[str]) -> list[str]:
    """The distributions that install these top-level names."""
    # Nearly all are called like what they install; for the others, every installed file list has to be read.
    same_named = {name for name in packages if _version(name) is not None}
    other_packages = packages - same_named
    by_package = _installed() if other_packages else {}
    other_names = {name for package in other_packages for name in by_package.get(package, ())}
    return sorted((same_named | other_names) - set(KEYED_DISTRIBUTIONS))


@functools.cache
def _installed() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def file_digest(path: str | Path) -> str | None:
    """SHA-256 of a file; None where it is not there or cannot be read."""
    try:
        facts = Path(path).stat()
        if facts.st_size < LARGE:
            return _hash_file(str(path))
        return _hash_file_once(str(path), facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    except OSError:
        return None


def names_digest(path: str) -> str | None:
    """SHA-256 over the names in a folder, without Python's own caches; None where it cannot be listed."""
    try:
        names = sorted(entry.name for entry in Path(path).iterdir() if entry.name != "__pycache__")
    except OSError:
        return None
    return hashlib.sha256("\0".join(names).encode(errors="surrogateescape")).hexdigest()


def _hash_file(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def _hash_file_once(path: str, *facts: int) -> str:
    return _hash_file(path)


def _variable_digest(name: str) -> str | None:
    value = os.environ.get(name)
    return None if value is None else hashlib.sha256(os.fsencode(value)).hexdigest()


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


# -- stored -------------------------------------------------------------------------------------------------------


def key_of(role: str, name: str, parameters: Any) -> str:
    """The key under which a manifest is stored."""
    return hashlib.sha256(json.dumps([WATCHED, role, name, parameters]).encode()).hexdigest()[:24]


def store_manifest(key: str, manifest: Manifest) -> None:
    """Store a manifest for later commands; where the cache cannot be written, only for this process."""
    _MANIFESTS[key] = manifest
    with contextlib.suppress(OSError):
        keep_answer(_cache_file(key), asdict(manifest))


def stored_manifest(key: str) -> Manifest | None:
    """The stored manifest; None where there is none, or none that can be read."""
    if key in _MANIFESTS:
        return _MANIFESTS[key]
    values = read_answer(_cache_file(key))
    return Manifest(**{**values, "unseen": tuple(values["unseen"])}) if values is not None else None


def _cache_file(key: str) -> Path:
    return cache_root() / "own" / f"{key}.json"
