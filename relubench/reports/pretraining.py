"""The report of `pretrain`: each method beside the same network without, its gain, and what either way costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from relubench.reports.cells import bracket, count, duration, fixed, signed, signed_bracket
from relubench.reports.report import Report, run_records, training_report
from relubench.reports.sentence import ONE_SEED
from relubench.reports.summary import Comparison, Summary, summarize
from relubench.results import RunResult, SummaryRow, Timing
from relubench.version import __version__

if TYPE_CHECKING:
    from relubench.runner import Study

COMPARISON = Comparison(within=("activation",))
"""A row is compared with the first one of its own activation."""


def pretraining_report(study: Study) -> Report:
    """The table of what is finished or failed so far; differences are to the first row of the same activation."""
    results, timings = study.tabled, study.timings
    summary = summarize(results, timings, study.wrong, study.tuned, COMPARISON)
    shares = [_pretraining_seconds(row, results, timings) for row in summary.rows]
    firsts = list(_by_activation(summary.rows).values())
    summary = replace(
        summary,
        varied=[{**extra, "pretraining_seconds": share} for extra, share in zip(summary.varied, shares, strict=True)],
        footnotes=[*summary.footnotes, *stack_notes(results)],
        sentence=closing(summary),
        against="none" if all(rows[0].pretraining == "none" for rows in firsts) else "",
    )
    runs = run_records(study.results, timings, study.wrong)
    return training_report(summary, version=__version__, device=study.device.name, runs=runs, command="pretrain")


def closing(summary: Summary) -> str:
    """For each activation what each method gained over the first row, and at what cost."""
    told = [_about(name, rows) for name, rows in _by_activation(summary.rows).items()]
    compared = [row for row in summary.rows if row.difference_pct is not None]
    if compared and max(row.n for row in compared) == 1:
        told.append(ONE_SEED[0].upper() + ONE_SEED[1:] + ".")
    return " ".join(told)


def _about(name: str, rows: Sequence[SummaryRow]) -> str:
    first, *others = rows
    if not others:
        if first.test_error_pct is None:
            return f"{name} ({first.pretraining}): no test error."
        interval = bracket(first.test_error_ci_low_pct, first.test_error_ci_high_pct)
        return f"{name} ({first.pretraining}) reached a test error of {fixed(first.test_error_pct)} % {interval}."
    return f"{name}: " + "; ".join(_gain(row, first) for row in others) + "."


def _gain(row: SummaryRow, first: SummaryRow) -> str:
    """'rbm gains 1.21 points [+1.02, +1.40] over none, in 1.8 times the time (3m against 1m40s); ...'"""
    base = "no pre-training" if first.pretraining == "none" else first.pretraining
    if row.difference_pct is None:
        return f"{row.pretraining} could not be compared with {base} ({row.outcome})"
    low, high = row.difference_ci_low_pct, row.difference_ci_high_pct
    interval = signed_bracket(None if high is None else -high, None if low is None else -low)
    size = f"{signed(-row.difference_pct)} points {interval}"
    words = {"lower": f"gains {size}", "higher": f"loses, {size}"}
    told = (
        f"{row.pretraining} {words.get(row.difference_verdict or '', f'gains no more than noise, {size}')}, over {base}"
    )
    return told + _cost(row, first) + _elsewhere(row, first)


def _cost(row: SummaryRow, first: SummaryRow) -> str:
    if not row.seconds or not first.seconds:
        return ""
    times = row.seconds / first.seconds
    return f", in {times:.2g} times the time ({duration(row.seconds)} against {duration(first.seconds)})"


def _elsewhere(row: SummaryRow, first: SummaryRow) -> str:
    """The gains that were published, where both of a pair are known."""
    pairs = {
        "the paper's gain": (first.published_error_pct, row.published_error_pct),
        "the article's": (first.article_error_pct, row.article_error_pct),
    }
    known = [
        f"{name} is {signed(without - with_)} ({fixed(without)} to {fixed(with_)})"
        for name, (without, with_) in pairs.items()
        if without is not None and with_ is not None
    ]
    return f"; {', '.join(known)}" if known else ""


def _by_activation(rows: Sequence[SummaryRow]) -> dict[str, list[SummaryRow]]:
    found: dict[str, list[SummaryRow]] = {}
    for row in rows:
        found.setdefault(row.activation, []).append(row)
    return found


def _pretraining_seconds(
    row: SummaryRow, results: Sequence[RunResult], timings: Mapping[str, Timing | None]
) -> float | None:
    """What of the row's seconds was pre-training; None where a clock was lost."""
    mine = [one for one in results if _row_of(one) == (row.activation, row.pretraining)]
    clocks = [timings.get(one.id) for one in mine]
    return None if None in clocks else sum(one.pretraining_seconds for one in clocks if one)


def _row_of(result: RunResult) -> tuple[str, str]:
    return result.spec["activation"], result.spec.get("pretraining", "none")


def stack_notes(results: Sequence[RunResult]) -> list[str]:
    """How each row was pre-trained; rows that were alike share a line."""
    rows: dict[str, list[str]] = {}
    for one in results:
        stack = one.spec.get("stack")
        if not stack or stack["shuffled"]:
            continue
        name = f"{one.spec['activation']} {one.spec['pretraining']}"
        names = rows.setdefault(_spoken(stack), [])
        if name not in names:
            names.append(name)
    notes = [f"{', '.join(names)}: {told}" for told, names in rows.items()]
    if any((one.spec.get("stack") or {}).get("shuffled") for one in results):
        notes.append("-shuffled: from the same pre-trained weights, in random order within each layer")
    return notes


def _spoken(stack: Mapping[str, Any]) -> str:
    if stack["source"]:
        return f"{count(len(stack['rates']), 'layer')} read from a file ({stack['origin']})"
    rates = [f"{one:g}" for one in stack["rates"]]
    common = f"{count(stack['epochs'], 'epoch')} a layer at lr {_each(rates)}"
    if stack["method"] == "rbm":
        kinds = f"visible units {_each(stack['visible'])}, hidden {stack['hidden']}, CD-{stack['k']}"
        return f"{kinds}, {common}"
    weights = "tied" if stack["tied"] else "free"
    noise = f"{stack['noise']} noise {stack['corruption']:g}"
    return f"{noise}, reconstruction {_each(stack['reconstruction'])}, {weights} weights, {common}"


def _each(values: Sequence[str]) -> str:
    """One value if all layers have it, else one a layer."""
    return values[0] if len(set(values)) == 1 else ", ".join(values)
