"""The table of `relubench verify`: the largest errors of every activation and type, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

from relubench.reports.formatting import count, join_names, short
from relubench.reports.report import Column, Report, Row, footnotes

THROUGH = "straight-through"
"""The outcome of an activation whose values are flat, and whose slopes are not."""
OVERFLOWS = "overflows"
"""The outcome of one of whose steps leave the type's range, and the result with it."""


def verification_report(rows: Sequence[Row], *, device: str, torch: str, compiled: bool) -> Report:
    """The report of these rows (VerifyRow.to_json)."""
    return Report(
        command="verify",
        device=device,
        rows=list(rows),
        columns=_columns(rows),
        title=f"verify · {device} · PyTorch {torch}",
        caption="errors against the true function in float64, in units in the last place (ulp) and absolutely",
        notes=footnotes(_footnotes(rows, torch, compiled)),
        sentence=sentence(rows),
    )


def sentence(rows: Sequence[Row]) -> str:
    """What was checked, what is wrong, and what could not be judged: one sentence for each."""
    names = list(dict.fromkeys(row["activation"] for row in rows))
    dtypes = list(dict.fromkeys(row["dtype"] for row in rows))
    wrong_rows, unjudged_rows, overflowing_rows, straight_through = (
        [row for row in rows if row["outcome"] == kind] for kind in ("wrong", "failed", OVERFLOWS, THROUGH)
    )
    num_values = sum(row["points"] for row in rows if row["outcome"] != "failed")
    amount = f"{count(len(names), 'activation')} in {', '.join(dtypes)}, {num_values:,} values"
    parts = []
    if wrong_rows:
        parts.append(f"Wrong: {_names(wrong_rows)}; checked were {amount}.")
    elif len(unjudged_rows) < len(rows):
        besides = " but for these" if overflowing_rows else ""
        is_partial = bool(unjudged_rows or overflowing_rows)
        parts.append(f"Nothing {'else ' * is_partial}is wrong: {amount}, each within what rounding explains{besides}.")
    if unjudged_rows:
        parts.insert(0, f"Could not be judged: {_names(unjudged_rows)}.")
    if overflowing_rows:
        parts.insert(0, f"Overflows: {_names(overflowing_rows)}.")
    if straight_through:
        estimators = join_names(list(dict.fromkeys(row["activation"] for row in straight_through)))
        parts.append(f"{estimators}: a straight-through estimator, whose slopes are not those of its values.")
    return " ".join(parts)


def _names(rows: Sequence[Row]) -> str:
    return join_names(list(dict.fromkeys(f"{row['activation']} ({row['dtype']} {row['pass']})" for row in rows)))


def _agreement_note(rows: Sequence[Row]) -> str:
    """Which forms give other bits than the eager one somewhere."""
    names_by_form: dict[str, list[str]] = {}
    for row in rows:
        for form in filter(None, row["differing_forms"].split(", ")):
            names_by_form.setdefault(form.rpartition(" ")[0], []).append(row["activation"])
    if not names_by_form:
        return "all forms of an activation give the same bits"
    parts = [f"{form} ({', '.join(dict.fromkeys(names))})" for form, names in names_by_form.items()]
    return f"other bits than the eager form somewhere, within the same bound: {'; '.join(parts)}; all others the same"


def _columns(rows: Sequence[Row]) -> list[Column]:
    def number(key: str, header: str, drop_order: int = 0) -> Column:
        return Column(header=header, cell=lambda row: [_significant(row[key])], drop_order=drop_order)

    def word(key: str, drop_order: int = 0) -> Column:
        return Column(header=key, cell=lambda row: [str(row[key])], right=False, drop_order=drop_order)

    columns = [
        word("activation"),
        word("dtype"),
        word("pass"),
        number("max_error_ulp", "max ulp"),
        # Beside the error, so that a large one that is ok reads as what it is.
        number("bound_ulp", "bound ulp", 5),
        number("mean_error_ulp", "mean ulp", 3),
        number("max_error", "max error", 4),
        number("at", "at x", 1),
        Column(header="of bound", cell=_bound, drop_order=2),
        number("known", "known", 6),
        number("wrong", "wrong"),
        Column(
            header="outcome",
            cell=lambda row: [row["outcome"]],
            right=False,
            style=lambda row: "" if row["outcome"] == "ok" else "red",
        ),
    ]
    if len({row["against"] for row in rows}) > 1:
        columns.insert(3, word("against"))
    return columns


def _bound(row: Row) -> list[str]:
    return [] if row["bound_used"] is None else [f"{row['bound_used']:.2f}"]


def _significant(value: float | int | None) -> str:
    return short(value) if isinstance(value, int) or value is None else f"{value:.3g}"


def _footnotes(rows: Sequence[Row], torch: str, compiled: bool) -> list[str]:
    notes = [
        "fp16 and bf16: all 65,536 bit patterns; fp32: a million, as many of each sign and exponent, and each corner's "
        "neighbours; a gated activation's gate gets these, its partner 1/8 to 8",
        "right is what the roundings of its own steps explain, at every point: `bound ulp` is that beside `max ulp`, "
        "`of bound` the largest share of it anywhere. A backward pass that reads a rounded output is held to that "
        "output, and its error is shown against the true slope all the same",
        "each activation is computed in several ways, and the results are compared: as a new tensor, into an existing "
        "one, in place, and for several networks at once" + (", and compiled" if compiled else ""),
    ]
    notes.append(_agreement_note(rows))
    known_deviations: dict[str, list[str]] = {}
    for row in rows:
        if row["known"] and row["outcome"] == "ok" and row["message"]:
            for reason in row["message"].split("; "):
                known_deviations.setdefault(reason, []).append(row["activation"])
    notes += [
        f"known of PyTorch {torch} here, and not counted as wrong: {reason} ({', '.join(dict.fromkeys(names))})"
        for reason, names in known_deviations.items()
    ]
    notes += [
        f"{row['activation']}, {row['dtype']} {row['pass']}: {row['message']}" for row in rows if row["outcome"] != "ok"
    ]
    return notes
