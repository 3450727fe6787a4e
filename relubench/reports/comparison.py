"""Two or more saved tables beside each other: what each row's error and time have become, and what else differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from relubench.errors import UsageError
from relubench.reports.changes import EXAMPLES, PAIRED, UNPAIRED, Change, change
from relubench.reports.formatting import bracket, count, fixed, listed, short
from relubench.reports.report import Column, Report, difference_cell
from relubench.reports.saved import MATCHED, Key, Row, Saved, SavedRow
from relubench.reports.training.footnotes import one_seed_note, smallest_seen, together
from relubench.statistics.error_rates import DIFFERENT

DIGITS = 6
NOT_SETTINGS = ("seed", *MATCHED, "l1_asked", "parameters", "departures", "hidden")
"""Keys of a specification that match rows, or follow from others."""


def compare(tables: Sequence[Saved], version: str) -> Report:
    """Each later table against the first, row by row; raises UsageError where no row is in both."""
    first, others = tables[0], tables[1:]
    pairs: list[tuple[Key, Saved]] = []
    for other in others:
        common = [key for key in first.rows if key in other.rows]
        if not common:
            raise UsageError(
                f"{other.path} and {first.path} have no row in common",
                "rows match by activation, data set, model, pre-training, L1, variant and test noise",
            )
        pairs += [(key, other) for key in common]
    # Runs that are the same bit for bit are no comparison.
    tried = [
        key for key, other in pairs if not _identical(first.rows[key], other.rows[key]) and _tested(first, other, key)
    ]
    rows = [_row(key, other, first.rows[key], other.rows[key], max(len(tried), 1)) for key, other in pairs]
    return Report(
        command="compare",
        version=version,
        device=None,
        rows=rows,
        columns=_columns(first, others, rows),
        title=f"{first.path.name} against {', '.join(one.path.name for one in others)}",
        footnotes=[
            *_method(rows, len(tried)),
            *_fewer_seeds(first, pairs, rows),
            *(note for other in others for note in _notes(first, other)),
        ],
        sentence=_sentence(rows),
    )


def _tested(first: Saved, other: Saved, key: Key) -> bool:
    return None not in (first.rows[key].row["test_error_pct"], other.rows[key].row["test_error_pct"])


def _row(key: Key, other: Saved, before: SavedRow, after: SavedRow, comparisons: int) -> Row:
    a, b = after.row, before.row
    found, same = change(before, after, comparisons), _identical(before, after)
    values: Row = dict(zip(MATCHED, key, strict=True))
    values |= {"file": str(other.path), "baseline_n": b["n"], "n": a["n"]}
    for name, row in (("baseline_", b), ("", a)):
        for part in ("test_error_pct", "test_error_ci_low_pct", "test_error_ci_high_pct"):
            values[name + part] = row.get(part)
        values[f"{name}outcome"] = row.get("outcome")
    values |= {
        "difference_pct": found and round(found.difference, DIGITS),
        "difference_ci_low_pct": found and round(found.low, DIGITS),
        "difference_ci_high_pct": found and round(found.high, DIGITS),
        "difference_p": found and float(f"{found.p:.4g}"),
        "verdict": "identical" if same else found and _verdict(found),
        "detectable_difference_pct": None if same or found is None else _rounded(found.detectable),
        "in_common": found and found.common,
        "seconds_ratio": _ratio(before, after),
    }
    return values


def _identical(before: SavedRow, after: SavedRow) -> bool:
    """The same runs by id, with the same bits in whatever both files carry of them, the clock and versions aside."""
    mine, theirs = ({run["id"]: run for run in side.runs} for side in (before, after))
    if not mine or mine.keys() != theirs.keys():
        return False
    left_out = ("timing", "versions", "message")
    return all(
        run[key] == theirs[name][key]
        for name, run in mine.items()
        for key in run.keys() & theirs[name].keys()
        if key not in left_out
    )


def _verdict(found: Change) -> str:
    """same: not one test example differs, or not one digit of an unpaired error."""
    return "same" if found.difference == 0 and found.p == 1 else found.verdict


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def _ratio(before: SavedRow, after: SavedRow) -> float | None:
    """Seconds a run, later over earlier."""
    each = [side.row.get("seconds") and side.row["seconds"] / max(len(side.runs), 1) for side in (before, after)]
    return round(each[1] / each[0], 4) if each[0] and each[1] else None


def _columns(first: Saved, others: Sequence[Saved], rows: Sequence[Row]) -> list[Column]:
    places = [key for key in MATCHED[1:] if len({row[key] for row in rows}) > 1]
    later = others[0].path.stem if len(others) == 1 else "later"
    columns = [
        _named("activation"),
        *(_named(key) for key in places),
        *([Column(header="file", parts=lambda row: [row["file"]], right=False)] if len(others) > 1 else []),
        Column(header=f"{first.path.stem} error %", parts=_error("baseline_"), leaves=2),
        Column(header=f"{later} error %", parts=_error(""), leaves=1),
        Column(header="difference", parts=_difference(rows)),
        Column(
            header="time", parts=lambda row: [f"x {row['seconds_ratio']:.2f}" if row["seconds_ratio"] else ""], leaves=3
        ),
    ]
    return [column for column in columns if any("".join(column.parts(row)) for row in rows)]


def _named(key: str) -> Column:
    return Column(header=key.replace("_", " "), parts=lambda row: [short(row[key])], right=False)


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


def _method(rows: Sequence[Row], comparisons: int) -> list[str]:
    words = {
        PAIRED: "paired by seed and test example",
        EXAMPLES: "paired by test example (no seed is common)",
        UNPAIRED: "unpaired, from the printed intervals (the files do not say which test examples were wrong, "
        "or their test sets differ)",
    }
    kinds = [kind for kind in words if any(row["in_common"] == kind for row in rows)]
    if not kinds:
        return []
    each = "; ".join(
        words[kind]
        + ("" if len(kinds) == 1 else f": {listed([row['activation'] for row in rows if row['in_common'] == kind])}")
        for kind in kinds
    )
    notes = [f"a difference is the later error minus the earlier, {each}{together(comparisons)}"]
    notes += one_seed_note([row["verdict"] or "" for row in rows])
    tried = [row for row in rows if row["difference_pct"] is not None and row["verdict"] != "identical"]
    sizes = [row["detectable_difference_pct"] for row in tried]
    return [*notes, smallest_seen(sizes)] if sizes else notes


def _fewer_seeds(first: Saved, pairs: Sequence[tuple[Key, Saved]], rows: Sequence[Row]) -> list[str]:
    """Whose differences are of fewer seeds than the errors beside them, in words."""
    told: dict[str, list[str]] = {}
    for (key, other), row in zip(pairs, rows, strict=True):
        before, after = first.rows[key].masks, other.rows[key].masks
        common = [seed for seed in before if seed in after]
        if row["in_common"] != PAIRED or len(common) == len(before) == len(after):
            continue
        has = f"{_seeds(before)} in {first.path.name}, {_seeds(after)} in {other.path.name}"
        told.setdefault(f"{_seeds(common)} alone, and the errors are of all: {has}", []).append(row["activation"])
    return [f"{listed(list(dict.fromkeys(names)))}: the difference is of {why}" for why, names in told.items()]


def _seeds(seeds: Iterable[int]) -> str:
    names = [str(seed) for seed in seeds]
    return f"the seed{'s' if len(names) > 1 else ''} {listed(names, limit=10)}"


def _notes(first: Saved, other: Saved) -> list[str]:
    """What differs between the files beside their numbers, and the rows that only one of them has."""
    common = [key for key in first.rows if key in other.rows]
    facts = [("version", first.version, other.version), ("device", first.device, other.device)]
    specs = [[run["spec"] for key in common for run in table.rows[key].runs] for table in (first, other)]
    keys = dict.fromkeys(key for side in specs for spec in side for key in spec if key not in NOT_SETTINGS)
    facts += [(key.replace("_", " "), *(_values(side, key) for side in specs)) for key in keys]
    facts.append(("seeds", *(_values(side, "seed") for side in specs)))
    changed = [f"{name} {before} -> {after}" for name, before, after in facts if before != after]
    notes = [f"{first.path.name} -> {other.path.name}: {'; '.join(changed)}"] if changed else []
    for mine, theirs in ((first, other), (other, first)):
        alone = [_label(key) for key in mine.rows if key not in theirs.rows]
        notes += [f"only in {mine.path.name}: {listed(alone, limit=12)}"] if alone else []
    return notes


def _values(specs: Sequence[Row], key: str) -> str:
    """Every value that a setting takes, in order of appearance; a digest by its first digits."""
    values = dict.fromkeys(_spoken(key, spec.get(key)) for spec in specs)
    return ", ".join(values)


def _spoken(key: str, value: Any) -> str:
    if isinstance(value, str) and key.endswith("digest"):
        return value[:8]
    return "x".join(map(str, value)) if isinstance(value, list) else "none" if value is None else str(value)


def _label(key: Key) -> str:
    activation, dataset, model, pretraining, l1, variant, noise = key
    extra = [dataset, model, *([pretraining] if pretraining != "none" else []), *([f"l1 {l1:g}"] if l1 else [])]
    extra += [*([variant] if variant else []), *([f"test noise {noise:g}"] if noise else [])]
    return f"{activation} ({', '.join(extra)})"


def _told_apart(row: Row, rows: Sequence[Row]) -> str:
    """The activation, and in brackets whatever else the rows do not have in common."""
    varied = [key for key in MATCHED[1:] if len({one[key] for one in rows}) > 1]
    words = [
        f"{key} {short(row[key])}" if isinstance(row[key], float) else str(row[key]) for key in varied if row[key] != ""
    ]
    return f"{row['activation']} ({', '.join(words).replace('_', ' ')})" if words else row["activation"]


def _sentence(rows: Sequence[Row]) -> str:
    kinds = ("identical", "same", *DIFFERENT, "noise")
    words = {"noise": "within noise", "same": "with the same error"}
    told = [
        f"{len(names)} {words.get(kind, kind)} ({listed(names)})"
        for kind in kinds
        if (names := [_told_apart(row, rows) for row in rows if row["verdict"] == kind])
    ]
    unknown = [_told_apart(row, rows) for row in rows if row["verdict"] is None]
    told += [f"{len(unknown)} without a verdict ({listed(unknown)})"] if unknown else []
    return f"Of {count(len(rows), 'row')}, {', '.join(told)}."
