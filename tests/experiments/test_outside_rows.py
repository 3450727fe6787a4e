"""A row from outside the package: its source is in a run's id, and worker processes that lack it are not started."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from relubench.__main__ import run
from relubench.errors import UsageError
from relubench.executors.inline import InlineExecutor
from relubench.experiments import executor_choice
from relubench.experiments.outside_rows import rows_of, source_digest
from relubench.models.norm_table import NORMS
from relubench.models.optimizer_table import OPTIMIZERS
from specs import runs

FLAGS = ["train", "--act", "relu", "--dataset", "digits", "--model", "mlp-1x8", "--epochs", "1", "--quiet"]
SOURCE = """
from relubench.models.optimizers import Sgd


class Slower(Sgd):
    FACTOR = {factor}
"""


def add_optimizer(folder: Path, monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    """A program's own optimizer, whose class lies in a module of its own."""
    (folder / "slower.py").write_text(SOURCE.format(factor=factor))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setitem(OPTIMIZERS, "slower", replace(OPTIMIZERS["sgd"], target="slower:Slower"))
    sys.modules.pop("slower", None)


def ids(store: Path) -> set[str]:
    return {path.name for path in (store / "runs").iterdir() if re.fullmatch("[0-9a-f]{16}", path.name)}


def test_the_packages_own_rows_have_no_digest() -> None:
    _, specs = runs("relu", model={"name": "mlp-1x8", "norm": "batch"}, train={"optimizer": "adam"})
    for spec in specs:
        assert spec.parts_digest is None
        assert source_digest(rows_of(spec)) is None
        assert "parts_digest" not in spec.to_json()


def test_another_version_of_an_optimizer_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_choice, "LocalExecutor", lambda device, store, note: InlineExecutor(store))
    store = tmp_path / "store"
    for count, factor in enumerate((1.0, 2.0, 1.0)):
        add_optimizer(tmp_path, monkeypatch, factor)
        assert run([*FLAGS, "--optimizer", "slower", "--runs-dir", str(store)]) == 0
        assert len(ids(store)) == min(count + 1, 2)


def test_worker_processes_that_lack_it_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    add_optimizer(tmp_path, monkeypatch, 1.0)
    assert run([*FLAGS, "--optimizer", "slower", "--runs-dir", str(tmp_path / "store")]) == 2
    error = capfd.readouterr().err
    assert "worker processes do not have the optimizer slower: slower added it in this process" in error
    assert "executor='inline'" in error


def test_what_lies_in_no_file_is_refused() -> None:
    lacking = replace(OPTIMIZERS["sgd"], target="no_such_module:Class")
    with pytest.raises(UsageError, match="the optimizer x of no_such_module lies in no file"):
        source_digest({"optimizer x": lacking})
    assert source_digest({"norm batch": NORMS["batch"]}) is None
