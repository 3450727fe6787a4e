"""Where the source files of a data set are looked for, and which of them are there. Torch-free and cheap."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relubench.data.source_row import Role, SourceRow
from relubench.errors import UsageError
from relubench.system.lookup import near_names
from relubench.system.paths import cache_root, named_by, user_path

NAMED_AT_MOST = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A complete set of source files: `files` pairs each role's preferred name with the path that is there."""

    root: Path
    folder: Path
    files: tuple[tuple[str, Path], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What a search came to: the files, or None; and `remarks` about folders that hold only some of them."""

    found: Found | None
    remarks: tuple[str, ...]


def download_root() -> Path:
    """The last place looked at, and where downloads go unless --data-dir says otherwise."""
    return cache_root() / "data"


def data_roots(data_dir: Path | None) -> tuple[Path, ...]:
    """The data folders to look in, in order: --data-dir, RELUBENCH_DATA_DIR, the cache's; each once."""
    roots: list[Path] = []
    if data_dir is not None:
        roots.append(checked(data_dir))
    if named := named_by("RELUBENCH_DATA_DIR"):
        roots.append(named)
    roots.append(download_root())
    return tuple(dict.fromkeys(roots))


def checked(data_dir: Path) -> Path:
    """--data-dir, expanded; raises UsageError where it is no folder: a mistyped one is never made."""
    try:
        folder = user_path(data_dir)
        if folder.is_dir():
            return folder
        there = folder.exists()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--data-dir {data_dir} cannot be a folder: {reason}", "check the path") from error
    if there:
        raise UsageError(f"--data-dir {folder} is not a folder", "give the folder that holds the data sets")
    beside: list[str] = []
    with contextlib.suppress(OSError):
        beside = sorted(other.name for other in folder.parent.iterdir() if other.is_dir())
    near = [folder.parent / name for name in near_names(folder.name, beside)]
    meant = f"did you mean {' or '.join(map(str, near))}? " if near else ""
    raise UsageError(
        f"--data-dir: there is no folder {folder}", f"{meant}to download into it, make it: mkdir -p {folder}"
    )


def roots_of(row: SourceRow, data_dir: Path | None) -> tuple[Path, ...]:
    """The folders to look in for `row`: the data folders, or the installed package that embeds its files."""
    if not row.package:
        return data_roots(data_dir)
    spec = importlib.util.find_spec(row.package)
    return (Path(spec.origin).parent,) if spec and spec.origin else ()


def search(row: SourceRow, roots: Sequence[Path]) -> Search:
    """The first complete set of `row`'s source files under `roots`."""
    remarks: list[str] = []
    for root in roots:
        for inner in row.folders:
            folder = root / inner
            for roles in row.file_sets:
                files, missing = _match(folder, roles)
                if not missing:
                    return Search(found=Found(root=root, folder=folder, files=tuple(files)), remarks=tuple(remarks))
                if files:
                    remarks.append(f"{folder} lacks {_few(missing)}")
    return Search(found=None, remarks=tuple(dict.fromkeys(remarks)))


def _match(folder: Path, roles: Sequence[Role]) -> tuple[list[tuple[str, Path]], list[str]]:
    files: list[tuple[str, Path]] = []
    missing: list[str] = []
    for role in roles:
        there = next((folder / name for name in role if (folder / name).is_file()), None)
        if there is None:
            missing.append(role[0])
        else:
            files.append((role[0], there))
    return files, missing


def _few(names: Sequence[str]) -> str:
    """The names, or the first ones and how many more there are: a set may have 36 files."""
    more = len(names) - NAMED_AT_MOST
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:NAMED_AT_MOST])} and {more} more"
