"""The name of a data set as people write it: case and hyphens do not count where only one set can be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from relubench.data import TABLE, prepare
from relubench.data.preparation import base_of, row_of
from relubench.errors import UsageError
from relubench.system.lookup import spelled


@pytest.mark.parametrize(
    ("written", "name"),
    [("MNIST", "mnist"), ("CIFAR-10", "cifar10"), ("Fashion-MNIST", "fashion-mnist"), ("Digits", "digits")],
)
def test_another_spelling_is_the_same_set(written: str, name: str) -> None:
    assert row_of(written) is TABLE[name]


def test_the_set_has_the_tables_name() -> None:
    assert prepare("DIGITS").digest == prepare("digits").digest
    assert prepare("DIGITS").name == "digits"
    assert base_of("MNIST+nistp") == base_of("mnist+nistp") == "mnist"


def test_another_name_is_refused() -> None:
    with pytest.raises(UsageError, match="no data set called 'MNISTT'"):
        row_of("MNISTT")


def test_a_folder_of_that_name_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "MNIST").mkdir()
    monkeypatch.chdir(tmp_path)
    assert base_of("MNIST") == ""


def test_two_names_that_differ_in_a_hyphen_are_two() -> None:
    assert spelled("A-B", ["ab", "a-b"]) == "A-B"
    assert spelled("ab", ["ab", "a-b"]) == "ab"
