"""relubench.train takes the executor by name, as --executor does."""

from __future__ import annotations

from pathlib import Path

import pytest

import relubench
from relubench.experiments import executor_choice


def test_this_process_trains_where_it_is_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_choice, "LocalExecutor", lambda *_: pytest.fail("no worker is wanted"))
    results = relubench.train("relu", dataset="digits", model="mlp-1x8", epochs=1, executor="inline", runs_dir=tmp_path)
    assert [row["outcome"] for row in results.rows] == ["ok"]


def test_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(relubench.UsageError, match="executor"):
        relubench.train("relu", executor="nobody", runs_dir=tmp_path)  # pyright: ignore[reportArgumentType]
