"""A user's own activation, named by 'package.module:Name' or './file.py:Name': recognised and found, not imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar

from relubench.activations.choice import ActivationChoice
from relubench.activations.row import FAMILIES
from relubench.activations.table import ACTIVATIONS
from relubench.activations.user_sources import find_spec, is_path, source_file, source_files, static_digest
from relubench.activations.user_syntax import parse_user_object, split_location
from relubench.errors import WARNING, UsageError
from relubench.system.user_code.loading import module_name
from relubench.system.user_code.manifest import (
    Manifest,
    imported_modules,
    key_of,
    manifest_of,
    store_manifest,
    stored_manifest,
)
from relubench.system.user_code.records import Record, changed_flag, changed_global, recording

Role = Literal["activation", "network"]
Result = TypeVar("Result")


def names_user_object(text: str) -> bool:
    """Whether this names a user's own: a '.', '/' or '\\' before the first colon, or an installed module's name.

    Without a colon, a .py file.
    """
    location, colon, after_colon = split_location(text)
    if not colon:
        return location.endswith(".py")
    return any(mark in location for mark in "./\\") or _names_module(location.strip(), after_colon)


def _names_module(word: str, after_colon: str) -> bool:
    """Whether 'torch:relu' names an object of a module: no activation has that name, and the module is there."""
    name = after_colon.partition(":")[0].strip()
    if word in ACTIVATIONS or word in FAMILIES or not all(part.isidentifier() for part in name.split(".")):
        return False
    try:
        return word.isidentifier() and find_spec(word) is not None
    except (ImportError, ValueError):
        return False


def file_hint(head: str, object_name: str) -> str:
    """How 'acts:Name' names an object of ./acts.py, which no import finds; '' where there is no such file."""
    try:
        is_file = head.isidentifier() and Path(f"{head}.py").is_file()
    except (OSError, ValueError):
        return ""
    return f"the file's is ./{head}.py:{object_name}" if is_file else ""


def dotted_hint(word: str) -> str:
    """How torch.nn.GELU, nn.GELU or F.gelu is written as a user's own: torch.nn:GELU; '' for other words."""
    module, _, name = word.rpartition(".")
    module = {"nn": "torch.nn", "F": "torch.nn.functional"}.get(module, module)
    try:
        exists = name.isidentifier() and bool(module) and find_spec(module) is not None
    except (ImportError, ValueError):
        return ""
    return f"what a module holds is written {module}:{name}" if exists else ""


def resolve_user_object(text: str, role: Role = "activation") -> ActivationChoice:
    """The choice for a user's own object; UsageError if it is malformed or its file is not there.

    Its digest covers all that it was seen to use in its last check, or the sources that can be read off, if
    `is_checked` says no: then `checked` gives the digest that a run's key takes.
    """
    user_object = parse_user_object(text)
    file = source_file(user_object.location)
    location = str(file) if is_path(user_object.location) else user_object.location
    choice = ActivationChoice(
        label=user_object.label, kind="user", name=f"{location}:{user_object.name}", parameters=user_object.parameters
    )
    manifest = _current_manifest(choice, role)
    return replace(
        choice, source_digest=manifest.digest if manifest is not None else static_digest(file, user_object.location)
    )


def renewed(choice: ActivationChoice, role: Role = "activation") -> ActivationChoice:
    """The same choice with its digest as of now."""
    return replace(choice, source_digest=resolve_user_object(choice.label, role).source_digest)


def is_checked(choice: ActivationChoice, role: Role = "activation") -> bool:
    """Whether the object was checked, and nothing that it used then has changed."""
    return _current_manifest(choice, role) is not None


def changed(choice: ActivationChoice, digest: str | None, role: Role = "activation") -> list[str]:
    """The files and versions that are not what they were when a run's key got this digest; none if never checked.

    Where another process has checked the object since, that is the object's place.
    """
    manifest = stored_manifest(_manifest_key(choice, role))
    if manifest is None:
        return []
    return manifest.changes(environment=False) or ([] if manifest.digest == digest else [split_name(choice.name)[0]])


def files_seen(choice: ActivationChoice, role: Role) -> list[Path]:
    """The files that the user's code was seen to use in its last check; none if it was never checked."""
    manifest = stored_manifest(_manifest_key(choice, role))
    return [Path(path) for path, digest in manifest.files.items() if digest is not None] if manifest is not None else []


def checked(choice: ActivationChoice, role: Role, check: Callable[[], Result]) -> Result:
    """What `check` gives, which runs the user's code; all that the code brings in meanwhile is kept for the key."""
    record = Record()
    with recording(record):
        result = check()
    location, _ = split_name(choice.name)
    file = source_file(location)
    module = module_name(file if is_path(location) else location)
    if name := changed_global(imported_modules([module, *record.modules])) or changed_flag(record):
        raise UsageError(
            f"{choice.label} changes the global {name} of its module: it is shared by all layers and all networks, and "
            "cannot be stored with the best epoch's weights",
            "keep such a value in a torch.nn.Module: self.register_buffer, or an attribute",
        )
    manifest = manifest_of(module, source_files(file, location), record)
    store_manifest(_manifest_key(choice, role), manifest)
    return result


def say_unseen(choice: ActivationChoice, role: Role, note: Callable[[str], None]) -> None:
    """Say what the user's code takes from where nobody watches it; also of code that was checked long ago."""
    manifest = stored_manifest(_manifest_key(choice, role))
    if manifest is not None and manifest.unseen:
        note(
            f"{WARNING}{choice.label}: what its code takes from {', '.join(dict.fromkeys(manifest.unseen))} is out of "
            "sight, and not part of a run's id: after a change there use --no-cache"
        )


def _current_manifest(choice: ActivationChoice, role: Role) -> Manifest | None:
    manifest = stored_manifest(_manifest_key(choice, role))
    return manifest if manifest is not None and not manifest.changes() else None


def _manifest_key(choice: ActivationChoice, role: Role) -> str:
    return key_of(role, choice.name, [list(parameter) for parameter in choice.parameters])


def split_name(name: str) -> tuple[str, str]:
    """ActivationChoice.name of a user's own as (path or module, the object's name)."""
    location, _, object_name = name.rpartition(":")
    return location, object_name
