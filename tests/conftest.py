"""Every test has run, cache and data folders of its own; the real MNIST is used where RELUBENCH_DATA_DIR holds it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Read once, before any test sets its own: where the real data is, if anywhere.
REAL_DATA = os.environ.get("RELUBENCH_DATA_DIR")


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for the whole session, so that a data set is prepared once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests away from the user's own runs and caches."""
    monkeypatch.setenv("RELUBENCH_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("RELUBENCH_CACHE_DIR", str(shared_cache))
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def real_mnist() -> Path:
    """The folder with the real MNIST; skips without one, and in CI fails where one is named and holds none."""
    if REAL_DATA and any(Path(REAL_DATA).rglob("train-images-idx3-ubyte*")):
        return Path(REAL_DATA)
    if REAL_DATA and os.environ.get("CI") == "true":
        pytest.fail(f"RELUBENCH_DATA_DIR={REAL_DATA} holds no MNIST")
    pytest.skip("needs the real MNIST: set RELUBENCH_DATA_DIR to a folder that holds its files")
