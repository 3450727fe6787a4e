"""A command line in this process, and a study that trains nothing in place of the real one."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from relubench.__main__ import run
from tests.cli.fakes import Cli, Ended, FakeStudy


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the developer's settings reaches a test, and no test reaches the network."""
    for name in ("RELUBENCH_DATA_DIR", "COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RELUBENCH_OFFLINE", "1")


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    """`cli("train", "--seeds", "3")` in this process."""

    def call(*argv: str) -> Ended:
        code = run(list(argv))
        out, err = capfd.readouterr()
        return Ended(code, out, err)

    return call


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> FakeStudy:
    """The study that the next `train` opens; give it a script."""
    fake = FakeStudy()
    module = ModuleType("relubench.experiments.study")
    module.Study = fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "relubench.experiments.study", module)
    return fake
