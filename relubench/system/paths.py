"""The folders of this machine: the run store, the caches, this package, the presets. Torch-free."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from relubench.errors import DataError, UsageError

PACKAGE = Path(__file__).parents[1]
"""The folder of this package, with links as Python's own file names have them."""


def user_path(path: str | Path) -> Path:
    """A path that a user gave, with ~ and ~NAME as the home folders that a shell would put there.

    Every path of a flag, a variable or a configuration goes through here: shells expand --runs-dir ~/x, and leave
    --runs-dir=~/x alone. Raises UsageError for a user that this machine does not know.
    """
    text = os.fspath(path)
    expanded = os.path.expanduser(text)  # noqa: PTH111  Path.expanduser raises a bare RuntimeError
    if text.startswith("~") and expanded == text:
        user = text[1:].replace("\\", "/").partition("/")[0]
        unknown = f"there is no user {user!r} here" if user else "your home folder is not known here"
        raise UsageError(f"{text}: {unknown}", "write the folder's whole path; ./~NAME is a file of that name")
    return Path(expanded)


def named_by(variable: str) -> Path | None:
    """The folder that an environment variable names; None where it is unset or empty."""
    value = os.environ.get(variable)
    return user_path(value) if value else None


def runs_root(runs_dir: Path | None = None) -> Path:
    """The run store: --runs-dir, RELUBENCH_RUNS_DIR, else the platform's folder for user data."""
    if folder := user_path(runs_dir) if runs_dir is not None else named_by("RELUBENCH_RUNS_DIR"):
        return folder
    from platformdirs import user_data_path

    return _platform_folder(user_data_path, "RELUBENCH_RUNS_DIR") / "runs"


def why_unwritable(runs: Path) -> UsageError | None:
    """Make the folder; the error if runs cannot be stored there, None if they can, or if only room is missing."""
    trial = runs / f".trial-{uuid.uuid4().hex[:8]}"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return None
        return UsageError(
            f"the runs folder {runs} cannot be written, and not all runs are stored: {error.strerror or error}",
            "name another with --runs-dir or RELUBENCH_RUNS_DIR",
        )
    return None


def cache_root() -> Path:
    """The folder of what can be made again (prepared data, downloads): RELUBENCH_CACHE_DIR, else the platform's."""
    if folder := named_by("RELUBENCH_CACHE_DIR"):
        return folder
    from platformdirs import user_cache_path

    return _platform_folder(user_cache_path, "RELUBENCH_CACHE_DIR")


def _platform_folder(platform_path: Callable[..., Path], variable: str) -> Path:
    """The folder that `platform_path` of platformdirs gives; UsageError for a user without a home.

    Older versions give a path that begins with `~`, which would become a folder of that name in the current one.
    """
    try:
        folder = platform_path("relubench", appauthor=False)
    except RuntimeError:
        folder = Path("~")
    if folder.parts[:1] == ("~",):
        raise UsageError("your home folder is not known here: HOME is not set", f"set HOME, or {variable} to a folder")
    return folder


def presets_folder() -> Path:
    """The folder of presets: inside an installed package, beside it in a checkout. DataError if neither is there."""
    package = PACKAGE.resolve()
    for folder in (package / "presets", package.parent / "presets"):
        if (folder / "reference").is_dir():
            return folder
    raise DataError(f"the presets are missing beside {package}", "install relubench again")
