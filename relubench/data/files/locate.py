"""The search for the source files of a data set: which folders, and which files are there. Torch-free and cheap."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relubench.data.notes import format_names
from relubench.data.source_row import Role, SourceRow
from relubench.errors import UsageError
from relubench.system.lookup import near_names
from relubench.system.paths import cache_root, named_by, user_path


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFiles:
    """A complete set of source files: `files` pairs each role's preferred name with the path of its file."""

    root: Path
    folder: Path
    files: tuple[tuple[str, Path], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """The result of a search: the files, or None; and `remarks` about folders that hold only some of them."""

    source: SourceFiles | None
    remarks: tuple[str, ...]


def download_root() -> Path:
    """The last folder to search, and the one for downloads unless there is --data-dir."""
    return cache_root() / "data"


def data_roots(data_dir: Path | None) -> tuple[Path, ...]:
    """The data folders to search, in order: --data-dir, RELUBENCH_DATA_DIR, the cache's; each once."""
    roots: list[Path] = []
    if data_dir is not None:
        roots.append(checked_folder(data_dir))
    if variable_folder := named_by("RELUBENCH_DATA_DIR"):
        roots.append(variable_folder)
    roots.append(download_root())
    return tuple(dict.fromkeys(roots))


def checked_folder(data_dir: Path) -> Path:
    """--data-dir, expanded; raises UsageError if it is no folder: it is never made, since it may be a typing error."""
    try:
        folder = user_path(data_dir)
        if folder.is_dir():
            return folder
        exists = folder.exists()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--data-dir {data_dir} cannot be a folder: {reason}", "check the path") from error
    if exists:
        raise UsageError(f"--data-dir {folder} is not a folder", "give the folder that holds the data sets")
    beside: list[str] = []
    with contextlib.suppress(OSError):
        beside = sorted(sibling.name for sibling in folder.parent.iterdir() if sibling.is_dir())
    near = [folder.parent / name for name in near_names(folder.name, beside)]
    suggestion = f"did you mean {' or '.join(map(str, near))}? " if near else ""
    raise UsageError(
        f"--data-dir: there is no folder {folder}", f"{suggestion}to download into it, make it: mkdir -p {folder}"
    )


def roots_of(row: SourceRow, data_dir: Path | None) -> tuple[Path, ...]:
    """The folders to search for `row`: the data folders, or the installed package that embeds its files."""
    if not row.package:
        return data_roots(data_dir)
    spec = importlib.util.find_spec(row.package)
    return (Path(spec.origin).parent,) if spec and spec.origin else ()


def search(row: SourceRow, roots: Sequence[Path]) -> SearchResult:
    """The first complete set of `row`'s source files under `roots`."""
    remarks: list[str] = []
    for root in roots:
        for inner in row.folders:
            folder = root / inner
            for roles in row.file_sets:
                files, missing = _match(folder, roles)
                if not missing:
                    return SearchResult(
                        source=SourceFiles(root=root, folder=folder, files=tuple(files)), remarks=tuple(remarks)
                    )
                if files:
                    remarks.append(f"{folder} lacks {format_names(missing)}")
    return SearchResult(source=None, remarks=tuple(dict.fromkeys(remarks)))


def _match(folder: Path, roles: Sequence[Role]) -> tuple[list[tuple[str, Path]], list[str]]:
    files: list[tuple[str, Path]] = []
    missing: list[str] = []
    for role in roles:
        path = next((folder / name for name in role if (folder / name).is_file()), None)
        if path is None:
            missing.append(role[0])
        else:
            files.append((role[0], path))
    return files, missing
