"""Where things live on this machine: the run store and the caches, each with its environment variable. Torch-free."""

from __future__ import annotations

import os
from pathlib import Path

from relubench.errors import DataError


def runs_root(runs_dir: Path | None = None) -> Path:
    """The run store: --runs-dir, RELUBENCH_RUNS_DIR, else the platform's folder for user data."""
    if runs_dir is not None:
        return runs_dir
    if named := os.environ.get("RELUBENCH_RUNS_DIR"):
        return Path(named)
    from platformdirs import user_data_path

    return user_data_path("relubench", appauthor=False) / "runs"


def cache_root() -> Path:
    """What can be made again (prepared data, downloads, device probe): RELUBENCH_CACHE_DIR, else the platform's."""
    if named := os.environ.get("RELUBENCH_CACHE_DIR"):
        return Path(named)
    from platformdirs import user_cache_path

    return user_cache_path("relubench", appauthor=False)


def presets_folder() -> Path:
    """The folder of presets: inside an installed package, beside it in a checkout. DataError if neither is there."""
    package = Path(__file__).resolve().parent
    for folder in (package / "presets", package.parent / "presets"):
        if (folder / "reference").is_dir():
            return folder
    raise DataError(f"the presets are missing beside {package}", "install relubench again")
