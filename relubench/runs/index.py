"""An index of the store's listing, in SQLite beside the folders: 100,000 runs are listed without reading a record.

ROOT/index.sqlite holds one row a run, with the sizes and times of change of the files that the row was made from, and
a digest of all that. A row that is damaged, or whose files have changed since, is made anew. The folders are the
truth: an index that is lost, damaged or cannot be written costs time and nothing else. Torch-free.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from relubench.runs.store import RUN, Store
from relubench.system import integrity

Row = dict[str, Any]

NAME = "index.sqlite"
LAYOUT = 3
"""The number of the rows' layout; an index of another layout is made anew."""

WAIT_SECONDS = 5.0
"""How long a process waits for another that is writing the index."""


def indexed_rows(store: Store, row_of: Callable[[str], Row]) -> list[Row]:
    """A row for each finished run, in the order of their ids; `row_of` makes a row from the run's files."""
    root = str(store.root)  # Texts, not paths: a Path takes ten times as long to make as a file to look at.
    stamps = {
        run: f"{_change(f'{root}/runs/{run}/{RUN}')} {_change(f'{root}/timings/{run}.json')}" for run in store.ids()
    }
    path = store.root / NAME
    stored_rows = _read(path)
    texts = {
        run: stored_rows[run][1] for run, stamp in stamps.items() if run in stored_rows and stored_rows[run][0] == stamp
    }
    new_rows = {run: row_of(run) for run in stamps if run not in texts}
    _write(
        path, {run: (stamps[run], json.dumps(row)) for run, row in new_rows.items()}, stored_rows.keys() - stamps.keys()
    )
    return [new_rows[run] if run in new_rows else json.loads(texts[run]) for run in stamps]


def _change(path: str) -> str:
    """Size and time of change of a file, as text; '' for what is not there."""
    try:
        facts = os.stat(path)  # noqa: PTH116
    except OSError:
        return ""
    return f"{facts.st_size}:{facts.st_mtime_ns}"


def _read(path: Path) -> Mapping[str, tuple[str, str]]:
    """Stamp and row of every run in the index; nothing where it cannot be read."""
    if not path.exists():
        return {}
    with contextlib.suppress(sqlite3.Error), _open(path) as connection:
        stored = connection.execute("SELECT run, stamp, row, digest FROM listing")
        return {run: (stamp, row) for run, stamp, row, digest in stored if digest == _digest(run, stamp, row)}
    return {}


def _digest(run: object, stamp: object, row: object) -> str:
    """What tells a row that is as it was written."""
    return integrity.digest_of(f"{run!r} {stamp!r} {row!r}".encode())


def _write(path: Path, rows: Mapping[str, tuple[str, str]], gone: Iterable[str]) -> None:
    """Add the rows to the index and remove those of runs that are gone; a damaged index is written anew."""
    if not rows and not gone:
        return
    for _ in range(2):
        try:
            with _open(path) as connection, connection:
                values = [(run, stamp, row, _digest(run, stamp, row)) for run, (stamp, row) in rows.items()]
                connection.executemany("INSERT OR REPLACE INTO listing VALUES (?, ?, ?, ?)", values)
                connection.executemany("DELETE FROM listing WHERE run = ?", [(run,) for run in gone])
            return
        except sqlite3.OperationalError:
            return  # Another process is writing, or nothing can be written here.
        except sqlite3.DatabaseError:
            with contextlib.suppress(OSError):
                path.unlink()


@contextlib.contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    """The index, which is made where there is none."""
    connection = sqlite3.connect(path, timeout=WAIT_SECONDS)
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] != LAYOUT:
            connection.execute("DROP TABLE IF EXISTS listing")
            columns = "run TEXT PRIMARY KEY, stamp TEXT, row TEXT, digest TEXT"
            connection.execute(f"CREATE TABLE listing ({columns}) WITHOUT ROWID")
            connection.execute(f"PRAGMA user_version = {LAYOUT}")
        yield connection
    finally:
        connection.close()
