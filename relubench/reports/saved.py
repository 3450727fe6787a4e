"""Reads a training table back from the JSON that `--format json` wrote; any other file is refused with the reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relubench.errors import UsageError, with_article
from relubench.experiments.rows import METRIC_KEYS
from relubench.reports.formatting import count
from relubench.reports.scores import TEST_KEYS, score_of
from relubench.reports.training.groups import l1_strength
from relubench.runs.task import CLASSIFICATION
from relubench.statistics.example_scores import Scores, unpack
from relubench.system.files import read_at_most

Row = dict[str, Any]
MATCHED = ("activation", "dataset", "model", "pretraining", "l1", "variant", "test_noise")
"""What rows of two files must have in common to be compared; a study's variant only where a row is named by it."""
Key = tuple[Any, ...]
"""A row's values of MATCHED."""

MOST_BYTES = 512_000_000
"""Bytes that are read of a file; a table of a thousand runs has some ten million."""

LARGEST = 1e15
"""No error, time, strength or count of examples is larger, in absolute value."""

APART = 1e-4
"""Percentage points by which a row's error may differ from its runs': rows are rounded to a hundredth of that."""
NUMBERS_APART = 1e-5
"""The share of itself by which another task's score may: a run's scores of its examples have seven digits."""

Kind = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= LARGEST  # NaN is not.


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST


def _or_none(kind: Kind) -> Kind:
    return lambda value: value is None or kind(value)


NEEDED: Mapping[str, Kind] = {
    **dict.fromkeys(("activation", "dataset", "model", "pretraining"), _text),
    "n": _count,
    **dict.fromkeys((METRIC_KEYS[key] for key in TEST_KEYS), _or_none(_number)),
}
"""What every row has, and of which kind it is."""
OPTIONAL: Mapping[str, Kind] = {
    **dict.fromkeys(("l1", "test_noise", "seconds"), _or_none(_number)),
    **dict.fromkeys(("variant", "outcome"), _or_none(_text)),
    **dict.fromkeys(("task", "metric"), _text),
    "lower_is_better": lambda value: value is None or isinstance(value, bool),
    **dict.fromkeys(TEST_KEYS, _or_none(_number)),
}
NEEDED_OF_RUN: Mapping[str, Kind] = {
    **dict.fromkeys(("id", "outcome"), _text),
    "spec": lambda value: isinstance(value, dict),
    "test_error_pct": _or_none(_number),
    "test_examples": _count,
}
OPTIONAL_OF_RUN: Mapping[str, Kind] = {
    **dict.fromkeys(("test_wrong", "test_losses"), _or_none(_text)),
    "test_metric": _or_none(_number),
}
NEEDED_OF_SPEC: Mapping[str, Kind] = {"seed": lambda value: type(value) is int}
OPTIONAL_OF_SPEC: Mapping[str, Kind] = {
    **dict.fromkeys(("activation", "dataset", "model", "pretraining", "task"), _text),
    **dict.fromkeys(("variant", "data_digest"), _or_none(_text)),
    **dict.fromkeys(("l1", "l1_asked"), _or_none(_number)),
}
MOST_SHOWN = 60
"""Characters of a value that an error shows."""
HINT = "give files written by `relubench train --format json`"


@dataclass(frozen=True, slots=True)
class SavedRow:
    """One row of a file with its runs."""

    row: Row
    runs: list[Row]
    masks: dict[int, Scores]
    """By seed; empty unless every run with a test score has its mask."""

    @property
    def score(self) -> tuple[float | None, float | None, float | None]:
        """The test score and the ends of its interval."""
        score, low, high = (score_of(self.row, key) for key in TEST_KEYS)
        return score, low, high

    @property
    def task(self) -> str:
        return self.row.get("task", CLASSIFICATION)

    @property
    def digests(self) -> set[tuple[str | None, int]]:
        """Which test sets the runs saw."""
        return {(run["spec"].get("data_digest"), run["test_examples"]) for run in self.runs}


@dataclass(frozen=True, slots=True)
class SavedTable:
    """A file's rows by key, in its order."""

    path: Path
    version: str
    device: str | None
    rows: dict[Key, SavedRow]


def read_json(path: Path) -> Any:
    """The JSON value in `path`; raises UsageError for a file that cannot be read, ValueError for one without JSON."""
    try:
        return json.loads(read_at_most(path, MOST_BYTES))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}", "check the name") from error


def read_object(path: Path, hint: str = HINT) -> dict[str, Any]:
    """The result of any command in `path`, as it stands there; raises UsageError for another file."""
    try:
        content = read_json(path)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not JSON: it is no text in UTF-8", hint) from error
    except RecursionError as error:
        raise UsageError(f"{path} is not JSON of this program: it is nested too deeply", hint) from error
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}", hint) from error
    if not isinstance(content, dict) or not {"command", "version", "rows", "runs"} <= content.keys():
        raise UsageError(f"{path} is JSON, but not a result of relubench", hint)
    return content


def read_content(path: Path) -> dict[str, Any]:
    """The JSON object in `path`, every value of its kind; raises UsageError for a file that holds no training table."""
    content = read_object(path)
    rows, command = content["rows"], content["command"]
    _check(rows, NEEDED, OPTIONAL, "row", path, command)
    check_runs(content, path)
    if not rows:
        raise UsageError(f"{path} holds no training table, but a result of {_short(command)}", HINT)
    return content


def check_choice(content: Mapping[str, Any], path: Path) -> None:
    """Raises UsageError unless rows and runs of the file are those of a choice."""
    _check(content["rows"], dict.fromkeys(("activation", "dataset", "model"), _text), {}, "row", path, "choose")
    check_runs(content, path)


def check_runs(content: Mapping[str, Any], path: Path) -> None:
    """Raises UsageError unless the runs of the file are those of trained networks, every value of its kind."""
    runs, command = content["runs"], content["command"]
    _check(runs, NEEDED_OF_RUN, OPTIONAL_OF_RUN, "run", path, command)
    _check([run["spec"] for run in runs], NEEDED_OF_SPEC, OPTIONAL_OF_SPEC, "run's spec", path, command)


def read_table(path: Path) -> SavedTable:
    """The table in `path`; raises UsageError if there is none, or if its numbers contradict each other."""
    content = read_content(path)
    rows, runs = content["rows"], content["runs"]
    saved_rows: dict[Key, SavedRow] = {}
    for row in rows:
        row_runs = [run for run in runs if _belongs(run, row)]
        penalty = row.get("l1", l1_strength(row_runs[0]["spec"]) if row_runs else 0.0)
        noise = float(row.get("test_noise") or 0.0)
        names = (row[name] for name in MATCHED[:4])
        key = (*names, float(penalty or 0.0), row.get("variant") or "", noise)
        if key in saved_rows:
            raise UsageError(f"{path} has two rows of {row['activation']} that nothing tells apart", HINT)
        # What a file has of its runs is about the clean test images.
        saved_rows[key] = SavedRow(row, [], {}) if noise else _of_runs(row, row_runs, path)
    device = content.get("device")
    return SavedTable(path, str(content["version"]), device if isinstance(device, str) else None, saved_rows)


def _check(
    records: Any, needed: Mapping[str, Kind], optional: Mapping[str, Kind], record_kind: str, path: Path, command: Any
) -> None:
    """Raises UsageError unless these are objects with every value needed, and every value of its kind."""
    objects = isinstance(records, list) and all(isinstance(record, dict) for record in records)
    if not (objects and all(needed.keys() <= record.keys() for record in records)):
        raise UsageError(f"{path} holds no training table, but a result of {_short(command)}", HINT)
    kinds = {**optional, **needed}
    for number, record in enumerate(records, 1):
        for key in kinds.keys() & record.keys():
            if not kinds[key](record[key]):
                raise UsageError(
                    f"{path}: {record_kind} {number} has {with_article(key)} that cannot be: {_short(record[key])}",
                    HINT,
                )


def _short(value: Any) -> str:
    """A value of a file as an error shows it."""
    try:
        text = repr(value) if isinstance(value, str) else json.dumps(value)
    except ValueError:
        text = "a number of thousands of digits"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _belongs(run: Row, row: Row) -> bool:
    spec = run["spec"]
    matches = all(spec.get(key, "none") == row[key] for key in ("activation", "dataset", "model", "pretraining"))
    matches = matches and ("l1" not in row or l1_strength(spec) == row["l1"])
    return matches and ("variant" not in row or spec.get("variant", "") == row["variant"])


def _of_runs(row: Row, runs: list[Row], path: Path) -> SavedRow:
    """A row with its runs; raises UsageError where its numbers are not those of its runs, nor theirs of their masks."""
    saved_row = SavedRow(row, runs, _masks(runs, path))
    error, low, high = saved_row.score
    errors = [score for run in runs if (score := _score_of_run(run)) is not None]
    noun, unit = ("error", " %") if saved_row.task == CLASSIFICATION else ("score", "")
    is_bits, fault = saved_row.task == CLASSIFICATION, ""
    if runs and len(errors) != row["n"]:
        fault = f"n = {row['n']}, and {count(len(errors), 'run')} with a test {noun}"
    elif errors and (error is None or _apart(error, sum(errors) / len(errors), is_bits)):
        fault = f"a test {noun} of {_short(error)}{unit}, and its runs one of {sum(errors) / len(errors):g}{unit}"
    elif error is not None and low is not None and high is not None and not low - APART <= error <= high + APART:
        fault = f"a test {noun} of {error:g}{unit}, outside of its interval [{low:g}, {high:g}]"
    if fault:
        raise UsageError(f"{path} is damaged: {row['activation']} has {fault}", HINT)
    return saved_row


def _score_of_run(run: Row) -> float | None:
    return run.get("test_metric") if run["test_error_pct"] is None else run["test_error_pct"]


def _masks(runs: list[Row], path: Path) -> dict[int, Scores]:
    tested = [run for run in runs if _score_of_run(run) is not None]
    masks = {run["spec"]["seed"]: _mask(run, text, path) for run in tested if (text := _packed(run))}
    return masks if len(masks) == len(tested) else {}


def _packed(run: Row) -> str | None:
    """What the file has of the run's test examples."""
    return run.get("test_wrong") or run.get("test_losses")


def _mask(run: Row, text: str, path: Path) -> Scores:
    """What a run made of each test example; raises UsageError where that is none, or not what its score says."""
    try:
        mask = unpack(text, run["test_examples"])
    except (ValueError, KeyError) as error:
        name = _short(run["id"])
        raise UsageError(
            f"{path}: the test results of a run cannot be read: those of {name} are damaged", HINT
        ) from error
    is_bits, mean, score = mask.dtype == bool, float(mask.mean(dtype=float)) if mask.size else 0.0, _score_of_run(run)
    if score is not None and _apart(score, 100 * mean if is_bits else mean, is_bits):
        fault = f"a test error of {score:g} %, and {int(mask.sum())} of {mask.size} test examples wrong"
        fault = fault if is_bits else f"a test score of {score:g}, and its test examples a mean of {mean:g}"
        raise UsageError(f"{path} is damaged: the run {_short(run['id'])} has {fault}", HINT)
    return mask


def _apart(score: float, expected: float, is_bits: bool) -> bool:
    return abs(score - expected) > (APART if is_bits else NUMBERS_APART * abs(expected))
