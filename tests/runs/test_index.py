"""The index of the store's listing: it saves reading, follows every change, and is never the truth."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relubench.runs.index import NAME, indexed_rows
from relubench.runs.store import Store
from tests.runs.test_store import TIMING, result


class Rows:
    """Makes rows, and remembers of which runs."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.runs_read: list[str] = []

    def __call__(self, run: str) -> dict[str, Any]:
        self.runs_read.append(run)
        record, timing = self.store.result(run), self.store.timing(run)
        return {"id": run, "error": record and record.test_error_pct, "seconds": timing and timing.seconds}


def errors(store: Store) -> tuple[list[Any], list[str]]:
    """The errors that the listing shows, and the runs that were read for it."""
    rows = Rows(store)
    return [row["error"] for row in indexed_rows(store, rows)], rows.runs_read


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    for number in range(3):
        store.put(result(f"a{number}", float(number)), TIMING, None, None)
    return store


def test_a_run_is_read_once(store: Store) -> None:
    assert errors(store) == ([0.0, 1.0, 2.0], ["a0", "a1", "a2"])
    assert errors(store) == ([0.0, 1.0, 2.0], [])


def test_a_change_of_the_store_is_a_change_of_the_listing(store: Store) -> None:
    errors(store)
    store.put(result("a1", 50.0), TIMING, None, None)
    store.put(result("b", 3.0), TIMING, None, None)
    store.delete("a0")
    assert errors(store) == ([50.0, 2.0, 3.0], ["a1", "b"])
    with sqlite3.connect(store.root / NAME) as connection:
        assert connection.execute("SELECT count(*) FROM listing").fetchone() == (3,)


def test_another_timing_is_read(store: Store) -> None:
    errors(store)
    store.put(result("a1", 1.0), replace(TIMING, seconds=7.0), None, None)
    assert [row["seconds"] for row in indexed_rows(store, Rows(store))] == [1.0, 7.0, 1.0]


@pytest.mark.parametrize("content", [b"", b"no data base at all" * 100])
def test_a_damaged_index_is_made_anew(store: Store, content: bytes) -> None:
    errors(store)
    (store.root / NAME).write_bytes(content)
    assert errors(store) == ([0.0, 1.0, 2.0], ["a0", "a1", "a2"])
    assert errors(store)[1] == []


def test_an_index_of_another_layout_is_made_anew(store: Store) -> None:
    errors(store)
    with sqlite3.connect(store.root / NAME) as connection:
        connection.execute("PRAGMA user_version = 999")
    assert errors(store) == ([0.0, 1.0, 2.0], ["a0", "a1", "a2"])
    assert errors(store)[1] == []


def test_a_locked_index_costs_time_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    errors(store)
    monkeypatch.setattr("relubench.runs.index.WAIT_SECONDS", 0.01)
    store.put(result("b", 3.0), TIMING, None, None)
    connection = sqlite3.connect(store.root / NAME)
    connection.execute("BEGIN EXCLUSIVE")
    assert errors(store)[0] == [0.0, 1.0, 2.0, 3.0]
    connection.close()


def test_a_store_whose_index_cannot_be_written_is_listed(store: Store) -> None:
    (store.root / NAME).mkdir()
    for _ in range(2):
        assert errors(store) == ([0.0, 1.0, 2.0], ["a0", "a1", "a2"])


def test_an_empty_store_gets_no_index(tmp_path: Path) -> None:
    assert indexed_rows(Store(tmp_path / "none"), Rows(Store(tmp_path))) == []
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE listing SET row = replace(row, '1.0', '9.0') WHERE run = 'a1'",
        "UPDATE listing SET row = '{' WHERE run = 'a1'",
        "UPDATE listing SET row = NULL WHERE run = 'a1'",
        "UPDATE listing SET row = x'ff00ff', stamp = 5 WHERE run = 'a1'",
        "UPDATE listing SET row = (SELECT row FROM listing WHERE run = 'a2') WHERE run = 'a1'",
    ],
)
def test_a_row_that_was_changed_is_not_believed(store: Store, damage: str) -> None:
    errors(store)
    with sqlite3.connect(store.root / NAME) as connection:
        connection.execute(damage)
    assert errors(store) == ([0.0, 1.0, 2.0], ["a1"])
    assert errors(store) == ([0.0, 1.0, 2.0], [])
