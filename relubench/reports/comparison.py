"""Two or more saved tables beside each other: how each row's error and time changed, and what else differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from relubench.errors import UsageError
from relubench.reports.changes import EXAMPLES, PAIRED, UNPAIRED, Change, change
from relubench.reports.formatting import bracket, count, fixed, join_names, short
from relubench.reports.report import Column, Report, footnotes
from relubench.reports.saved import MATCHED, Key, Row, SavedRow, SavedTable
from relubench.reports.training.display_columns import difference_cell
from relubench.reports.training.footnotes import one_seed_note, smallest_seen, together
from relubench.statistics.error_rates import DIFFERENT

DIGITS = 6
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
    return None not in (baseline.rows[key].row["test_error_pct"], later.rows[key].row["test_error_pct"])


def _row(key: Key, later: SavedTable, before: SavedRow, after: SavedRow, comparisons: int) -> Row:
    a, b = after.row, before.row
    difference, is_identical = change(before, after, comparisons), _is_identical(before, after)
    values: Row = dict(zip(MATCHED, key, strict=True))
    values |= {"file": str(later.path), "baseline_n": b["n"], "n": a["n"]}
    for name, row in (("baseline_", b), ("", a)):
        for part in ("test_error_pct", "test_error_ci_low_pct", "test_error_ci_high_pct"):
            values[name + part] = row.get(part)
        values[f"{name}outcome"] = row.get("outcome")
    values |= {
        "difference_pct": difference and round(difference.difference, DIGITS),
        "difference_ci_low_pct": difference and round(difference.low, DIGITS),
        "difference_ci_high_pct": difference and round(difference.high, DIGITS),
        "difference_p": difference and float(f"{difference.p:.4g}"),
        "verdict": "identical" if is_identical else difference and _verdict(difference),
        "detectable_difference_pct": None if is_identical or difference is None else _rounded(difference.detectable),
        "in_common": difference and difference.common,
        "seconds_ratio": _ratio(before, after),
    }
    return values


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


def _verdict(difference: Change) -> str:
    """The verdict of a difference; `same` if no test example differs, or no digit of an unpaired error."""
    return "same" if difference.difference == 0 and difference.p == 1 else difference.verdict


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def _ratio(before: SavedRow, after: SavedRow) -> float | None:
    """The seconds of a run in the later table over those in the earlier one."""
    seconds_per_run = [
        side.row.get("seconds") and side.row["seconds"] / max(len(side.runs), 1) for side in (before, after)
    ]
    return round(seconds_per_run[1] / seconds_per_run[0], 4) if seconds_per_run[0] and seconds_per_run[1] else None


def _columns(baseline: SavedTable, later_tables: Sequence[SavedTable], rows: Sequence[Row]) -> list[Column]:
    varied_keys = [key for key in MATCHED[1:] if len({row[key] for row in rows}) > 1]
    later_name = later_tables[0].path.stem if len(later_tables) == 1 else "later"
    columns = [
        _name_column("activation"),
        *(_name_column(key) for key in varied_keys),
        *([Column(header="file", cell=lambda row: [row["file"]], right=False)] if len(later_tables) > 1 else []),
        Column(header=f"{baseline.path.stem} error %", cell=_error("baseline_"), drop_order=2),
        Column(header=f"{later_name} error %", cell=_error(""), drop_order=1),
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


def _error(prefix: str) -> Callable[[Row], list[str]]:
    def parts(row: Row) -> list[str]:
        error = row[f"{prefix}test_error_pct"]
        if error is None:
            return [row[f"{prefix}outcome"] or ""]
        ends = (row[f"{prefix}test_error_ci_low_pct"], row[f"{prefix}test_error_ci_high_pct"])
        return [part for part in (fixed(error), bracket(*ends)) if part]

    return parts


def _difference(rows: Sequence[Row]) -> Callable[[Row], list[str]]:
    plain = difference_cell(rows, "verdict")
    return lambda row: [row["verdict"] or ""] if row["difference_pct"] is None else plain(row)


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
    compared_rows = [row for row in rows if row["difference_pct"] is not None and row["verdict"] != "identical"]
    sizes = [row["detectable_difference_pct"] for row in compared_rows]
    return [*notes, smallest_seen(sizes)] if sizes else notes


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
    kinds = ("identical", "same", *DIFFERENT, "noise")
    words = {"noise": "within noise", "same": "with the same error"}
    phrases = [
        f"{len(names)} {words.get(kind, kind)} ({join_names(names)})"
        for kind in kinds
        if (names := [_row_name(row, rows) for row in rows if row["verdict"] == kind])
    ]
    without_verdict = [_row_name(row, rows) for row in rows if row["verdict"] is None]
    phrases += [f"{len(without_verdict)} without a verdict ({join_names(without_verdict)})"] if without_verdict else []
    return f"Of {count(len(rows), 'row')}, {', '.join(phrases)}."
