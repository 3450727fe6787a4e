"""Columns for people of the training table: what makes each of them, its cells and its colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relubench.reports.formatting import (
    bracket,
    duration,
    fixed,
    short,
    signed,
    signed_bracket,
    verdict_parts,
    verdict_width,
)
from relubench.reports.report import Column, Row
from relubench.reports.scores import TEST_KEYS, better_direction, decimals_of, score_of
from relubench.reports.training.gradients import power
from relubench.runs.task import task_of
from relubench.statistics.error_rates import IN_A_SMOKE_TEST

ColumnMaker = Callable[[Sequence[Row], str], Column | None]
"""Makes the column out of the table's rows and what they are compared with; None where the table goes without it."""

MANY_DEAD_PCT = 10.0
"""From this share of dead units in a row on, the column of them is the last to leave."""


def text_column(key: str, *, drop_order: int = 0) -> ColumnMaker:
    """A column of words, in tables whose rows have the key."""
    return formatted_column(key, key, lambda row: short(row[key]), drop_order=drop_order, right=False)


def number_column(key: str, *, drop_order: int = 0) -> ColumnMaker:
    """A column of numbers, in tables whose rows have the key."""
    return formatted_column(key, key, lambda row: short(row[key]), drop_order=drop_order)


def if_varied(maker: ColumnMaker) -> ColumnMaker:
    """The column, in tables in which its cells differ."""

    def varied_maker(rows: Sequence[Row], against: str) -> Column | None:
        column = maker(rows, against)
        return column if column and len({"".join(column.cell(row)) for row in rows}) > 1 else None

    return varied_maker


def unless_variants(maker: ColumnMaker) -> ColumnMaker:
    """The column, in tables without variants: a variant's label says what its rows have in common."""
    return lambda rows, against: None if "variant" in rows[0] else maker(rows, against)


def unless_in_variant(maker: ColumnMaker) -> ColumnMaker:
    """The column, in tables in which a variant's label does not already say what its cells say."""

    def maker_without_repetition(rows: Sequence[Row], against: str) -> Column | None:
        column = maker(rows, against)
        repeats = column and all("".join(column.cell(row)) in str(row.get("variant", "")) for row in rows)
        return None if repeats else column

    return maker_without_repetition


def formatted_column(
    key: str, header: str, text: Callable[[Row], str], *, drop_order: int = 0, right: bool = True
) -> ColumnMaker:
    """A column of texts that are made from the row, in tables whose rows have the key."""

    def maker(rows: Sequence[Row], against: str) -> Column | None:
        if key not in rows[0]:
            return None
        return Column(header=header, cell=lambda row: [text(row)], right=right, drop_order=drop_order)

    return maker


def measured_column(name: str) -> ColumnMaker:
    """What a probe measured, under its name in words. It was asked for: it is left out last."""
    words = name.removesuffix("_pct").replace("_", " ") + " %" * name.endswith("_pct")
    text = (lambda row: fixed(row[name], 1)) if name.endswith("_pct") else (lambda row: short(row[name]))
    return formatted_column(name, words, text, drop_order=12)


def change_column(before: str, after: str, header: str) -> ColumnMaker:
    """A column of a number before and after an exchange, in tables whose rows have them. It is left out last."""

    def text(row: Row, name: str) -> str:
        return fixed(row[name], 1) if name.endswith("_pct") else short(row[name])

    def maker(rows: Sequence[Row], against: str) -> Column | None:
        if before not in rows[0]:
            return None

        def cell(row: Row) -> list[str]:
            return [text(row, before), f"→ {text(row, after)}"] if row[before] is not None else []

        return Column(header=header, cell=cell, drop_order=12)

    return maker


def gradient_column(key: str, header: str, *, drop_order: int = 0) -> ColumnMaker:
    """A column of ratios of gradient norms, in tables of runs that probed gradients."""
    return formatted_column(key, header, lambda row: power(row[key]), drop_order=drop_order)


def time_column(rows: Sequence[Row], against: str) -> Column:
    return Column(header="time", cell=lambda row: [duration(row["seconds"])], drop_order=8)


def outcome_column(rows: Sequence[Row], against: str) -> Column | None:
    """The outcomes, in tables in which not all are ok."""
    if all(row["outcome"] == "ok" for row in rows):
        return None
    return Column(
        header="outcome",
        cell=lambda row: [row["outcome"]],
        right=False,
        style=lambda row: "" if row["outcome"] == "ok" else "yellow",
    )


def dead_units_column(rows: Sequence[Row], against: str) -> Column:
    """The share of dead units; where many are dead, the table is about that, and it is left out last."""
    many_dead = any((row["dead_units_pct"] or 0.0) >= MANY_DEAD_PCT for row in rows)
    return Column(
        header="dead %", cell=lambda row: [fixed(row["dead_units_pct"], 1)], drop_order=11 if many_dead else 4
    )


def error_column(rows: Sequence[Row], against: str) -> Column:
    """The test scores; of several tasks each with its own unit."""
    task = task_of(rows[0])
    if any(task_of(row) is not task for row in rows):
        return Column(header="test score", cell=lambda row: _score(row, task_of(row).unit))
    return Column(header=f"test {task.noun} {task.unit}".rstrip(), cell=_score)


def difference_column(rows: Sequence[Row], against: str) -> Column:
    """The differences, under a header that names what rows are compared with where all are compared with the same."""
    first_rows = [row["activation"] for row in rows if score_of(row, "metric_difference") is None and row["n"]]
    base_names = [against] if against else first_rows
    header = f"vs {base_names[0]}" if len(set(base_names)) == 1 and len(base_names[0]) <= 20 else "vs first"
    return Column(header=header, cell=difference_cell(rows), style=_difference_style)


def reference_column(source: str, *, drop_order: int) -> ColumnMaker:
    """The errors of a source, `published` or `article`, with the verdicts on them."""

    def maker(rows: Sequence[Row], against: str) -> Column:
        return Column(header=source, cell=_reference(source), style=_verdict_style(source), drop_order=drop_order)

    return maker


def difference_cell(rows: Sequence[Row], key: str = "difference_verdict") -> Callable[[Row], list[str]]:
    """What a cell says of a row's difference: its size, its interval and its word, of which `key` is the name."""
    width = verdict_width(_word(row, key) for row in rows)

    def parts(row: Row) -> list[str]:
        difference, decimals = score_of(row, "metric_difference"), decimals_of(row)
        if difference is None:
            return []
        low, high = (score_of(row, f"metric_difference_ci_{end}") for end in ("low", "high"))
        numbers = [signed(difference, decimals), signed_bracket(low, high, decimals)]
        return numbers if _is_smoke(row, key) else [*numbers, *verdict_parts(row[key], width)]

    return parts


def _is_smoke(row: Row, key: str) -> bool:
    """Whether the row's word is that of a smoke test, which no size of one can bear."""
    return (row[key] or "").endswith(IN_A_SMOKE_TEST)


def _word(row: Row, key: str) -> str | None:
    return None if _is_smoke(row, key) else row[key]


def _score(row: Row, unit: str = "") -> list[str]:
    """The test score, with its unit where one is given, and its interval."""
    decimals, (score, low, high) = decimals_of(row), (score_of(row, key) for key in TEST_KEYS)
    text = fixed(score, decimals)
    return [part for part in (f"{text} {unit}".rstrip() if text else "", bracket(low, high, decimals)) if part]


def _reference(source: str) -> Callable[[Row], list[str]]:
    """The source's error, and the verdict where it is the one that the verdict is against."""

    def parts(row: Row) -> list[str]:
        value = fixed(row[f"{source}_error_pct"])
        return [value, *row["verdict"].split()] if value and _carries_verdict(row, source) else [value]

    return parts


def _carries_verdict(row: Row, source: str) -> bool:
    """Whether the source's cell has the verdict: the published value has it, the article's where there is no other."""
    return row["verdict"] is not None and (source == "published" or row["published_error_pct"] is None)


def _verdict_style(source: str) -> Callable[[Row], str]:
    """The colour of a reference number by the verdict on it."""
    styles = {"reproduced": "green", "better": "cyan", "worse": "red"}
    return lambda row: styles.get(row["verdict"] or "", "dim") if _carries_verdict(row, source) else "dim"


def _difference_style(row: Row) -> str:
    """The colour of a difference by its word."""
    word = (row["difference_verdict"] or "").split(" ")[0]
    if (row["difference_verdict"] or "").endswith(IN_A_SMOKE_TEST):
        return "dim"
    better = better_direction(row)
    if word not in ("lower", "higher") or better is None:
        return "dim" if word == "noise" else ""
    return "green" if word == better else "red"
