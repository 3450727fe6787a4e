"""Reads a training table back from the JSON that `--format json` wrote; whatever else is given is refused by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relubench.errors import UsageError
from relubench.stats import Mask, unpack_mask

Row = dict[str, Any]
MATCHED = ("activation", "dataset", "model", "pretraining", "l1", "variant", "test_noise")
"""What rows of two files must have in common to be compared; a study's variant only where a row is named by it."""
Key = tuple[Any, ...]
"""A row's values of MATCHED."""

NEEDED = ("activation", "dataset", "model", "pretraining", "n", "test_error_pct", "test_error_ci_low_pct")
NEEDED_OF_RUN = ("id", "spec", "outcome", "test_error_pct", "test_examples")
HINT = "give files written by `relubench train --format json`"


@dataclass(frozen=True, slots=True)
class SavedRow:
    """One row of a file with its runs."""

    row: Row
    runs: list[Row]
    masks: dict[int, Mask]
    """By seed; empty unless every run with a test error has its mask."""

    @property
    def digests(self) -> set[tuple[str | None, int]]:
        """Which test sets the runs saw."""
        return {(run["spec"].get("data_digest"), run["test_examples"]) for run in self.runs}


@dataclass(frozen=True, slots=True)
class Saved:
    """A file's rows by key, in its order."""

    path: Path
    version: str
    device: str | None
    rows: dict[Key, SavedRow]


def read(path: Path) -> Saved:
    """The table in `path`; raises UsageError if there is none, naming the file and what is wrong with it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}", "check the name") from error
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}", HINT) from error
    if not isinstance(content, dict) or not {"command", "version", "rows", "runs"} <= content.keys():
        raise UsageError(f"{path} is JSON, but not a result of relubench", HINT)
    rows, runs = content["rows"], content["runs"]
    if not (_all_have(rows, NEEDED) and rows and _all_have(runs, NEEDED_OF_RUN) and all(map(_sound, [*rows, *runs]))):
        raise UsageError(f"{path} holds no training table, but a result of {content['command']!r}", HINT)
    found: dict[Key, SavedRow] = {}
    for row in rows:
        mine = [run for run in runs if _belongs(run, row)]
        penalty = row.get("l1", _strength(mine[0]["spec"]) if mine else 0.0)
        noise = float(row.get("test_noise") or 0.0)
        names = (row[name] for name in MATCHED[:4])
        key = (*names, float(penalty or 0.0), row.get("variant") or "", noise)
        if key in found:
            raise UsageError(f"{path} has two rows of {row['activation']} that nothing tells apart", HINT)
        # What a file has of its runs is about the clean test images.
        found[key] = SavedRow(row, [] if noise else mine, {} if noise else _masks(mine, path))
    return Saved(path, str(content["version"]), content.get("device"), found)


def _all_have(records: Any, keys: tuple[str, ...]) -> bool:
    return isinstance(records, list) and all(isinstance(one, dict) and set(keys) <= one.keys() for one in records)


def _sound(record: Row) -> bool:
    """Whether the values that are computed with are of their kinds."""
    spec, error = record.get("spec", {"seed": 0}), record["test_error_pct"]
    return isinstance(spec, dict) and isinstance(spec.get("seed"), int) and isinstance(error, int | float | None)


def _belongs(run: Row, row: Row) -> bool:
    spec = run["spec"]
    same = all(spec.get(key, "none") == row[key] for key in ("activation", "dataset", "model", "pretraining"))
    same = same and ("l1" not in row or _strength(spec) == row["l1"])
    return same and ("variant" not in row or spec.get("variant", "") == row["variant"])


def _strength(spec: Row) -> float:
    """The L1 strength as it was asked for."""
    return spec.get("l1_asked", spec.get("l1", 0.0))


def _masks(runs: list[Row], path: Path) -> dict[int, Mask]:
    tested = [run for run in runs if run["test_error_pct"] is not None]
    if not all(run.get("test_wrong") for run in tested):
        return {}
    try:
        return {run["spec"]["seed"]: unpack_mask(run["test_wrong"], run["test_examples"]) for run in tested}
    except (ValueError, KeyError) as error:
        raise UsageError(f"{path}: the test results of a run cannot be read: {error}", HINT) from error
