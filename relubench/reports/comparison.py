"""Two or more saved tables beside each other: how each row's error and time changed, and what else differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from relubench.errors import UsageError
from relubench.experiments.rows import METRIC_KEYS
from relubench.reports.changes import EXAMPLES, PAIRED, UNPAIRED, Change, change
from relubench.reports.formatting import bracket, count, fixed, join_names, short
from relubench.reports.report import Column, Report, footnotes
from relubench.reports.saved import MATCHED, Key, Row, SavedRow, SavedTable
from relubench.reports.scores import TEST_KEYS, better_direction, decimals_of, score_of
from relubench.reports.training.display_columns import difference_cell
from relubench.reports.training.footnotes import one_seed_note, smallest_seen, together
from relubench.runs.task import CLASSIFICATION, TASKS
from relubench.statistics.error_rates import DIFFERENT

DIGITS = 6
UNKNOWN_DIRECTION = "different"
"""The word for a difference of a metric of which nobody says whether lower is better."""
NOT_SETTINGS = ("seed", *MATCHED, "l1_asked", "parameters", "departures", "hidden")
"""Keys of a specification that are no settings: they name the row, or follow from other keys."""


def compare(tables: Sequence[SavedTable]) -> Report:
    """Each later table against the first, row by row; raises UsageError where no row is in both."""
    baseline, later_tables = tables[0], tables[1:]
    pairs: list[tuple[Key, SavedTable]] = []
    for later in later_tables:
        common = [key for key in baseline.rows if key in later.rows]
        if not common:
            raise UsageError(
                f"{later.path} and {baseline.path} have no row in common",
                "rows match by activation, data set, model, pre-training, L1, variant and test noise",
            )
        pairs += [(key, later) for key in common]
    # Runs that are the same bit for bit are no comparison.
    compared_keys = [
        key
        for key, later in pairs
        if not _is_identical(baseline.rows[key], later.rows[key]) and _has_errors(baseline, later, key)
    ]
    rows = [_row(key, later, baseline.rows[key], later.rows[key], max(len(compared_keys), 1)) for key, later in pairs]
    return Report(
        command="compare",
        rows=rows,
        columns=_columns(baseline, later_tables, rows),
        title=f"{baseline.path.name} against {', '.join(table.path.name for table in later_tables)}",
        notes=footnotes(
            [
                *_method_notes(rows, len(compared_keys)),
                *_fewer_seeds(baseline, pairs, rows),
                *(note for later in later_tables for note in _notes(baseline, later)),
            ]
        ),
        sentence=_sentence(rows),
    )


def _has_errors(baseline: SavedTable, later: SavedTable, key: Key) -> bool:
    return None not in (baseline.rows[key].score[0], later.rows[key].score[0])


def _row(key: Key, later: SavedTable, before: SavedRow, after: SavedRow, comparisons: int) -> Row:
    a, b = after.row, before.row
    difference, is_identical = change(before, after, comparisons), _is_identical(before, after)
    values: Row = dict(zip(MATCHED, key, strict=True))
    values |= {"file": str(later.path), "baseline_n": b["n"], "n": a["n"]}
    values |= {"task": after.task, "metric": a.get("metric"), "lower_is_better": a.get("lower_is_better")}
    if after.task == CLASSIFICATION:
        values |= {"metric": TASKS[CLASSIFICATION].metric, "lower_is_better": True}
    for name, side in (("baseline_", before), ("", after)):
        scores = {key: score_of(side.row, key) if side.task == after.task else None for key in TEST_KEYS}
        values |= {name + key: value for key, value in _by_task(after.task, scores).items()}
        values[f"{name}outcome"] = side.row.get("outcome")
    sizes = {
        "metric_difference": difference and difference.difference,
        "metric_difference_ci_low": difference and difference.low,
        "metric_difference_ci_high": difference and difference.high,
    }
    values |= _by_task(after.task, sizes)
    values |= {
        "difference_p": difference and float(f"{difference.p:.4g}"),
        "verdict": "identical" if is_identical else difference and _verdict(difference, a),
    }
    detectable = None if is_identical or difference is None else difference.detectable
    values |= _by_task(after.task, {"detectable_metric_difference": detectable})
    return values | {"in_common": difference and difference.common, "seconds_ratio": _ratio(before, after)}


def _by_task(task: str, values: Mapping[str, float | None]) -> Row:
    """These values of METRIC_KEYS, rounded, and what stands under the keys of classification: None for other tasks."""
    if task != CLASSIFICATION:
        without_error = dict.fromkeys(METRIC_KEYS[key] for key in values)
        return without_error | {key: None if value is None else float(f"{value:.9g}") for key, value in values.items()}
    rounded = {key: None if value is None else round(value, DIGITS) for key, value in values.items()}
    return {METRIC_KEYS[key]: value for key, value in rounded.items()} | rounded


def _is_identical(before: SavedRow, after: SavedRow) -> bool:
    """The same runs by id, with the same bits in whatever both files carry of them, the clock and versions aside."""
    later_runs, earlier_runs = ({run["id"]: run for run in side.runs} for side in (before, after))
    if not later_runs or later_runs.keys() != earlier_runs.keys():
        return False
    volatile = ("timing", "versions", "message")
    return all(
        run[key] == earlier_runs[name][key]
        for name, run in later_runs.items()
        for key in run.keys() & earlier_runs[name].keys()
        if key not in volatile
    )


def _verdict(difference: Change, row: Row) -> str:
    """The verdict of a difference; `same` if no test example differs, or no digit of an unpaired error.

    Where the file does not say whether lower is better, a difference is called no more than that.
    """
    if difference.difference == 0 and difference.p == 1:
        return "same"
    has_direction = better_direction(row) is not None
    return difference.verdict if has_direction or difference.verdict == "noise" else UNKNOWN_DIRECTION


def _ratio(before: SavedRow, after: SavedRow) -> float | None:
    """The seconds of a run in the later table over those in the earlier one."""
    seconds_per_run = [
        side.row.get("seconds") and side.row["seconds"] / max(len(side.runs), 1) for side in (before, after)
    ]
    return round(seconds_per_run[1] / seconds_per_run[0], 4) if seconds_per_run[0] and seconds_per_run[1] else None


def _columns(baseline: SavedTable, later_tables: Sequence[SavedTable], rows: Sequence[Row]) -> list[Column]:
    varied_keys = [key for key in MATCHED[1:] if len({row[key] for row in rows}) > 1]
    score = _score_name(rows)
    later_name = later_tables[0].path.stem if len(later_tables) == 1 else "later"
    columns = [
        _name_column("activation"),
        *(_name_column(key) for key in varied_keys),
        *([Column(header="file", cell=lambda row: [row["file"]], right=False)] if len(later_tables) > 1 else []),
        Column(header=f"{baseline.path.stem} {score}", cell=_score("baseline_"), drop_order=2),
        Column(header=f"{later_name} {score}", cell=_score(""), drop_order=1),
        Column(header="difference", cell=_difference(rows)),
        Column(
            header="time",
            cell=lambda row: [f"x {row['seconds_ratio']:.2f}" if row["seconds_ratio"] else ""],
            drop_order=3,
        ),
    ]
    return [column for column in columns if any("".join(column.cell(row)) for row in rows)]


def _name_column(key: str) -> Column:
    return Column(header=key.replace("_", " "), cell=lambda row: [short(row[key])], right=False)


def _score_name(rows: Sequence[Row]) -> str:
    """What a column of scores is called: 'error %'; by the metric's key where this program does not know the task."""
    metrics = {row.get("task", CLASSIFICATION): row.get("metric") for row in rows}
    task = TASKS.get(next(iter(metrics))) if len(metrics) == 1 else None
    return (
        f"{task.noun} {task.unit}".rstrip()
        if task
        else ", ".join(str(metric or "error_pct") for metric in metrics.values())
    )


def _score(prefix: str) -> Callable[[Row], list[str]]:
    def parts(row: Row) -> list[str]:
        score, low, high = (score_of(row, key, prefix) for key in TEST_KEYS)
        if score is None:
            return [row[f"{prefix}outcome"] or ""]
        decimals = decimals_of(row)
        return [part for part in (fixed(score, decimals), bracket(low, high, decimals)) if part]

    return parts


def _difference(rows: Sequence[Row]) -> Callable[[Row], list[str]]:
    plain = difference_cell(rows, "verdict")
    return lambda row: [row["verdict"] or ""] if score_of(row, "metric_difference") is None else plain(row)


def _method_notes(rows: Sequence[Row], comparisons: int) -> list[str]:
    words = {
        PAIRED: "paired by seed and test example",
        EXAMPLES: "paired by test example (no seed is common)",
        UNPAIRED: "unpaired, from the printed intervals (the files do not say which test examples were wrong, "
        "or their test sets differ)",
    }
    kinds = [kind for kind in words if any(row["in_common"] == kind for row in rows)]
    if not kinds:
        return []
    names = {kind: [row["activation"] for row in rows if row["in_common"] == kind] for kind in kinds}
    details = {kind: f": {join_names(names[kind])}" if len(kinds) > 1 else "" for kind in kinds}
    pairing = "; ".join(words[kind] + details[kind] for kind in kinds)
    notes = [f"a difference is the later error minus the earlier, {pairing}{together(comparisons)}"]
    notes += one_seed_note([row["verdict"] or "" for row in rows])
    compared_rows = [
        row for row in rows if score_of(row, "metric_difference") is not None and row["verdict"] != "identical"
    ]
    tasks = {row.get("task", CLASSIFICATION) for row in compared_rows}
    if len(tasks) != 1:
        return notes
    task, sizes = TASKS.get(*tasks), [score_of(row, "detectable_metric_difference") for row in compared_rows]
    unit = task.difference_unit if task else ""
    return [*notes, smallest_seen(sizes, decimals=decimals_of(compared_rows[0]), unit=unit)]


def _fewer_seeds(baseline: SavedTable, pairs: Sequence[tuple[Key, SavedTable]], rows: Sequence[Row]) -> list[str]:
    """The rows whose difference is of fewer seeds than the errors beside it, in words."""
    names_by_reason: dict[str, list[str]] = {}
    for (key, later), row in zip(pairs, rows, strict=True):
        before, after = baseline.rows[key].masks, later.rows[key].masks
        common = [seed for seed in before if seed in after]
        if row["in_common"] != PAIRED or len(common) == len(before) == len(after):
            continue
        counts_text = f"{_seed_names(before)} in {baseline.path.name}, {_seed_names(after)} in {later.path.name}"
        names_by_reason.setdefault(f"{_seed_names(common)} alone, and the errors are of all: {counts_text}", []).append(
            row["activation"]
        )
    return [
        f"{join_names(list(dict.fromkeys(names)))}: the difference is of {reason}"
        for reason, names in names_by_reason.items()
    ]


def _seed_names(seeds: Iterable[int]) -> str:
    names = [str(seed) for seed in seeds]
    return f"the seed{'s' if len(names) > 1 else ''} {join_names(names, limit=10)}"


def _notes(baseline: SavedTable, later: SavedTable) -> list[str]:
    """What differs between the two files beside the numbers, and the rows that only one of them has."""
    common = [key for key in baseline.rows if key in later.rows]
    facts = [("version", baseline.version, later.version), ("device", baseline.device, later.device)]
    specs = [[run["spec"] for key in common for run in table.rows[key].runs] for table in (baseline, later)]
    keys = dict.fromkeys(key for side in specs for spec in side for key in spec if key not in NOT_SETTINGS)
    facts += [(key.replace("_", " "), *(_values(side, key) for side in specs)) for key in keys]
    facts.append(("seeds", *(_values(side, "seed") for side in specs)))
    changes = [f"{name} {before} -> {after}" for name, before, after in facts if before != after]
    notes = [f"{baseline.path.name} -> {later.path.name}: {'; '.join(changes)}"] if changes else []
    for table, other_table in ((baseline, later), (later, baseline)):
        unmatched = [_label(key) for key in table.rows if key not in other_table.rows]
        notes += [f"only in {table.path.name}: {join_names(unmatched, limit=12)}"] if unmatched else []
    return notes


def _values(specs: Sequence[Row], key: str) -> str:
    """Every value that a setting takes, in order of appearance; a digest by its first digits."""
    values = dict.fromkeys(_setting_text(key, spec.get(key)) for spec in specs)
    return ", ".join(values)


def _setting_text(key: str, value: Any) -> str:
    if isinstance(value, str) and key.endswith("digest"):
        return value[:8]
    return "x".join(map(str, value)) if isinstance(value, list) else "none" if value is None else str(value)


def _label(key: Key) -> str:
    activation, dataset, model, pretraining, l1, variant, noise = key
    extra = [dataset, model, *([pretraining] if pretraining != "none" else []), *([f"l1 {l1:g}"] if l1 else [])]
    extra += [*([variant] if variant else []), *([f"test noise {noise:g}"] if noise else [])]
    return f"{activation} ({', '.join(extra)})"


def _row_name(row: Row, rows: Sequence[Row]) -> str:
    """The activation, and in brackets whatever else the rows do not have in common."""
    varied_keys = [key for key in MATCHED[1:] if len({table_row[key] for table_row in rows}) > 1]
    words = [
        f"{key} {short(row[key])}" if isinstance(row[key], float) else str(row[key])
        for key in varied_keys
        if row[key] != ""
    ]
    return f"{row['activation']} ({', '.join(words).replace('_', ' ')})" if words else row["activation"]


def _sentence(rows: Sequence[Row]) -> str:
    kinds = ("identical", "same", *DIFFERENT, UNKNOWN_DIRECTION, "noise")
    is_error = all(row.get("task", CLASSIFICATION) == CLASSIFICATION for row in rows)
    words = {"noise": "within noise", "same": f"with the same {'error' if is_error else 'score'}"}
    phrases = [
        f"{len(names)} {words.get(kind, kind)} ({join_names(names)})"
        for kind in kinds
        if (names := [_row_name(row, rows) for row in rows if row["verdict"] == kind])
    ]
    without_verdict = [_row_name(row, rows) for row in rows if row["verdict"] is None]
    phrases += [f"{len(without_verdict)} without a verdict ({join_names(without_verdict)})"] if without_verdict else []
    return f"Of {count(len(rows), 'row')}, {', '.join(phrases)}."
