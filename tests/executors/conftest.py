"""A Ray of two raylets and a SLURM of one node on this machine."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from executors.ray_here import HAS_RAY, RayHere, raylets
from executors.slurm_here import running, why_not


@pytest.fixture
def with_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skips a test where Ray is not installed; Ray reports nothing to its makers."""
    if not HAS_RAY:
        pytest.skip("needs Ray: pip install 'relubench[ray]'")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")


@pytest.fixture
def two_nodes(tmp_path: Path, with_ray: None) -> Iterator[RayHere]:
    with raylets(tmp_path, {}) as here:
        yield here


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    reason = why_not() or ("" if importlib.util.find_spec("submitit") else "needs submitit")
    if reason:
        pytest.skip(reason)
    with running(tmp_path_factory.mktemp("slurm")) as configuration:
        yield configuration


@pytest.fixture
def on_slurm(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The flags that send a command's jobs there."""
    monkeypatch.setenv("SLURM_CONF", str(slurm))
    return ["--executor", "slurm", "--set", "slurm.partition=main"]
