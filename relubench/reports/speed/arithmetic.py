"""The table of `relubench speed --arithmetic`: the article's operations, ns an element and as ratios to an addition."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relubench.experiments.references import ARTICLE_NOTE, entries
from relubench.reports.report import Column, Report, Row, footnotes, warnings
from relubench.reports.speed.notes import ONE_PROCESS, ending, plus_minus
from relubench.reports.speed.operators import significant
from relubench.timing.measurement import Measurement

UNCLEAR = "unclear"
"""In place of a cost or ratio that is no more than the noise of two calls' difference."""
WHY_UNCLEAR = (
    "the cost of the elements could not be told from that of the call, as on a busy machine; repeat it when idle, or "
    "with more --budget"
)


def article_cycles() -> dict[str, tuple[float, float]]:
    """The article's cycles of each operation, least and most."""
    values = {(entry.condition, entry.metric): entry.value for entry in entries("article_operations")}
    return {
        name: (value, values[name, "cycles_high"]) for (name, metric), value in values.items() if metric == "cycles_low"
    }


def arithmetic_report(rows: Sequence[Row], runs: Sequence[Row], measurement: Measurement, *, device: str) -> Report:
    """The report of these rows (ArithmeticRow.to_json)."""
    return Report(
        command="speed",
        device=device,
        rows=list(rows),
        runs=list(runs),
        columns=_columns(rows),
        title=f"arithmetic · {device} · {measurement.clock}",
        question="How long do add, multiply, compare, divide, exp and log take on this machine?",
        caption=f"throughput on {rows[0]['elements']:,} float32 in the first cache, the cost of the call subtracted",
        notes=[*warnings(measurement.warnings), *footnotes(_footnotes(rows, measurement))],
        sentence=sentence(rows),
    )


def sentence(rows: Sequence[Row]) -> str:
    """What an exponential costs beside an addition, here and in the article: one sentence."""
    by_name = {row["operation"]: row for row in rows}
    exp, compare = by_name["exp"], by_name["compare"]
    if exp["ratio_to_add"] is None or compare["ratio_to_add"] is None:
        return "Nothing could be compared with an addition."
    unclear_names = [name for name in ("add", "exp", "compare") if not is_clear(by_name[name])]
    if unclear_names:
        return f"Nothing can be said of {' or '.join(unclear_names)}: {WHY_UNCLEAR}."
    return (
        f"Here an exp takes {exp['ratio_to_add']:.1f} times as long as an addition (article: {_cycles(exp)}), and a "
        f"comparison {compare['ratio_to_add']:.1f} times (article: {_cycles(compare)})."
    )


def _columns(rows: Sequence[Row]) -> list[Column]:
    by_name = {row["operation"]: row for row in rows}
    styles = {"cheaper": "green", "dearer": "red", "no difference": "dim"}
    return [
        Column(header="operation", cell=lambda row: [row["operation"]], right=False),
        Column(header="ns an element", cell=_cost),
        Column(
            header="ratio to add", cell=_ratio(by_name["add"]), style=lambda row: styles.get(row["verdict"] or "", "")
        ),
        Column(header="article, cycles", cell=lambda row: [_cycles(row)]),
        Column(header="ns a call", cell=lambda row: [significant(row["call_ns"])], drop_order=1),
    ]


def is_clear(row: Row) -> bool:
    """Whether an operation has a measurable cost: it is positive, and so is its interval where there is one."""
    low = row["ns_per_element_ci_low"]
    return row["ns_per_element"] is not None and (row["ns_per_element"] if low is None else low) > 0


def _cost(row: Row) -> list[str]:
    if row["ns_per_element"] is None:
        return []
    if not is_clear(row):
        return [UNCLEAR]
    low, high = row["ns_per_element_ci_low"], row["ns_per_element_ci_high"]
    return [significant(row["ns_per_element"]), "" if low is None else f"[{significant(low)}, {significant(high)}]"]


def _ratio(add: Row) -> Callable[[Row], list[str]]:
    def parts(row: Row) -> list[str]:
        value, low, high = row["ratio_to_add"], row["ratio_to_add_ci_low"], row["ratio_to_add_ci_high"]
        if row["ns_per_element"] is not None and not (is_clear(row) and is_clear(add)):
            return [UNCLEAR]
        if value is None:
            return []
        return [f"×{value:.2f}{plus_minus(value, low, high)}"]

    return parts


def _cycles(row: Row) -> str:
    """The article's; an addition has one cycle, so that they are ratios to it as well."""
    low, high = row["article_cycles_low"], row["article_cycles_high"]
    if low is None:
        return ""
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _footnotes(rows: Sequence[Row], measurement: Measurement) -> list[str]:
    ended, notes = ending(measurement, missed="every call's interval"), []
    control = measurement.against_itself
    if control.low is not None and control.high is not None:
        notes.append(
            "A/A test: add was also timed against itself in the same rounds. Its ratio to itself is "
            f"{control.low:.2f} to {control.high:.2f}. Cheaper or dearer is said only of a ratio beyond "
            "this"
        )
    if any(row["ns_per_element"] is not None and not is_clear(row) for row in rows):
        notes.append(f"{UNCLEAR}: {WHY_UNCLEAR}")
    notes += [
        f"{measurement.rounds} rounds in {measurement.seconds:.0f} s: {ended}; in each round the cost of a call on "
        f"one element is taken from that of a call on the array; {ONE_PROCESS}",
        "throughput of vector kernels; the article's cycles are those of one operation after the other; compare is the "
        "maximum of two numbers, as relu needs it",
        ARTICLE_NOTE,
    ]
    return notes
