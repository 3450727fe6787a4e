"""The report of an ablation of sparsity: a row a strength, the article's beside it, and where error starts to rise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from relubench.experiments import references
from relubench.reports.formatting import count, duration, fixed, listed, signed, signed_bracket
from relubench.reports.report import Column, Report, Row, difference_cell, run_records, training_report
from relubench.reports.training.onset import LEAST_POINTS, Onset, onset
from relubench.reports.training.summary import Summary, summarize
from relubench.runs.result import RunResult
from relubench.version import __version__

if TYPE_CHECKING:
    from relubench.experiments.study import Study

ARTICLE_NETWORK = ("mnist", "mlp-3x1000", "relu", "none")
PAPER_ONSET = 85.0
"""Zeros up to which the paper sees no harm (Glorot et al. 2011, caption of Figure 3)."""


def sparsity_report(study: Study) -> Report:
    """The table of what is finished or failed so far; every activation is compared with its own first strength."""
    results = sorted(study.results, key=lambda one: one.spec["l1_asked"])
    labels = list(dict.fromkeys(one.spec["activation"] for one in study.results))
    by_label = [[one for one in results if one.spec["activation"] == label] for label in labels]
    summaries = [summarize(one, study.timings, study.wrong, by_strength=True) for one in by_label]
    rows = [row for summary in summaries for row in _rows(summary)]
    whole = replace(summaries[0], facts=_shared([one.facts for one in summaries]))
    if study.config.train.l1_pairs:
        # Of a row there are few, but every network has a seed of its own.
        whole = replace(whole, seeds=len(study.config.seeds))
    runs = run_records(study.results, study.timings, study.wrong)
    base = training_report(whole, version=__version__, device=study.device.name, runs=runs)
    scale = study.config.train.l1_scale
    notes = list(dict.fromkeys(note for one in summaries for note in one.footnotes if "article:" not in note))
    return replace(
        base,
        command="ablate-sparsity",
        rows=rows,
        columns=_columns(rows),
        footnotes=[SCALES[scale], *notes, *_notes(rows, by_label)],
        sentence=" ".join(
            _told(label if len(labels) > 1 else "", mine, summary)
            for label, mine, summary in zip(labels, by_label, summaries, strict=True)
        ),
    )


SCALES = {
    "sum": "l1 times the sum of |h| over a layer's units, averaged over the batch",
    "mean": "l1 times the mean of |h| over a layer's units, averaged over the batch",
    "paper": "l1 times a thirtieth of the sum of |h| over a layer's units, averaged over the batch",
}


def _rows(summary: Summary) -> list[Row]:
    """Rows with the paper's numbers only where its own strength was asked for."""
    scale = summary.facts.get("l1_scale")
    beside = references.is_mnist_network(summary.facts)
    silent = {"published_error_pct": None, "published_sparsity_pct": None, "published_source": None}
    papers_own = [scale == "paper" and row["l1"] == 0.001 for row in summary.json_rows()]
    rows = [row if own else {**row, **silent} for row, own in zip(summary.json_rows(), papers_own, strict=True)]
    # The article's strengths are coefficients of a mean.
    return [_beside_article(row, known=beside and (scale == "mean" or row["l1"] == 0)) for row in rows]


def _beside_article(row: Row, *, known: bool) -> Row:
    """The row with the article's numbers for its strength, if it has the article's network, data and scale."""
    found = references.article(*ARTICLE_NETWORK, l1=row["l1"]) if known and row["activation"] == "relu" else None
    if found is None or found.sparsity_pct is None:
        return {**row, "article_error_pct": None, "article_sparsity_pct": None}
    return {**row, "article_error_pct": found.error_pct, "article_sparsity_pct": found.sparsity_pct}


def _columns(rows: Sequence[Row]) -> list[Column]:
    """The columns that say something."""
    several = len({row["activation"] for row in rows}) > 1
    columns = [
        *([Column(header="activation", parts=lambda row: [row["activation"]], right=False)] if several else []),
        Column(header="l1", parts=lambda row: [f"{row['l1']:.3g}"]),
        Column(header="zeros %", parts=lambda row: [fixed(row["sparsity_pct"], 1)]),
        Column(header="near zeros %", parts=lambda row: [fixed(row["near_zeros_pct"], 1)], leaves=3),
        Column(header="test error %", parts=_error),
        Column(header="vs the first l1", parts=difference_cell(rows), leaves=4),
        Column(header="dead %", parts=lambda row: [fixed(row["dead_units_pct"], 1)], leaves=5),
        Column(header="n", parts=lambda row: [str(row["n"])], leaves=2),
        *([Column(header="outcome", parts=lambda row: [row["outcome"]], right=False)] if _worse(rows) else []),
        Column(header="time", parts=lambda row: [duration(row["seconds"])], leaves=1),
        Column(header="article zeros %", parts=lambda row: [fixed(row["article_sparsity_pct"], 0)], leaves=6),
        Column(header="article error %", parts=lambda row: [fixed(row["article_error_pct"])], leaves=7),
    ]
    return [column for column in columns if any("".join(column.parts(row)) for row in rows)]


def _worse(rows: Sequence[Row]) -> bool:
    return any(row["outcome"] != "ok" for row in rows)


def _error(row: Row) -> list[str]:
    if row["test_error_ci_low_pct"] is None:
        return [fixed(row["test_error_pct"])]
    return [
        fixed(row["test_error_pct"]),
        f"[{fixed(row['test_error_ci_low_pct'])}, {fixed(row['test_error_ci_high_pct'])}]",
    ]


def _notes(rows: Sequence[Row], by_label: Sequence[Sequence[RunResult]]) -> list[str]:
    notes = [
        "zeros are exact ones on the test set; near zeros are |h| up to 1 % of the layer's root mean square, on "
        "the probe images; dead units have no slope at any training image after the last epoch"
    ]
    smooth = [runs[0].spec["activation"] for runs in by_label if _without_zeros(runs)]
    if smooth:
        notes.append(f"{listed(smooth)}: near zeros only, since the activation has no exact ones")
    if any(row["article_sparsity_pct"] is not None for row in rows):
        notes.append(references.ARTICLE_NOTE)
    return notes


def without_trend(study: Study) -> dict[str, str]:
    """Activations whose error does not change with sparsity beyond noise, and the reason: no curve belongs there."""
    reasons: dict[str, str] = {}
    for label in dict.fromkeys(one.spec["activation"] for one in study.results):
        mine = sorted(
            (one for one in study.results if one.spec["activation"] == label), key=lambda one: one.spec["l1_asked"]
        )
        found = onset(*points(mine))
        rows = summarize(mine, study.timings, study.wrong, by_strength=True).rows
        verdicts = [row.difference_verdict for row in rows if row.difference_verdict]
        if (found is not None and found.rises) or any(verdict != "noise" for verdict in verdicts):
            continue
        reasons[label] = "all differences are noise" if verdicts else "no change of the error beyond noise"
    return reasons


def _without_zeros(runs: Sequence[RunResult]) -> bool:
    known = [one.sparsity_pct for one in runs if one.sparsity_pct is not None]
    # Under a crushing penalty even a smooth activation underflows to 0: the least sparse network tells.
    return bool(known) and min(known) < 0.01


def points(runs: Sequence[RunResult]) -> tuple[list[float], list[float]]:
    """Sparsities and test errors of the networks that trained; near zeros where there are no exact ones."""
    smooth = _without_zeros(runs)
    pairs = [
        (one.near_zeros_pct if smooth else one.sparsity_pct, one.test_error_pct) for one in runs if one.outcome == "ok"
    ]
    known = [(zeros, error) for zeros, error in pairs if zeros is not None and error is not None]
    return [zeros for zeros, _ in known], [error for _, error in known]


def _told(label: str, runs: Sequence[RunResult], summary: Summary) -> str:
    """Where the error of one activation starts to rise."""
    kind = "near zeros" if _without_zeros(runs) else "zeros"
    found = onset(*points(runs))
    start = f"{label}: " if label else ""
    if found is not None:
        return start + _by_fit(found, kind, beside_paper=references.is_mnist_network(runs[0].spec))
    return start + _by_rows(_rows(summary), kind)


def _by_fit(found: Onset, kind: str, *, beside_paper: bool) -> str:
    of = count(found.points, "network")
    if not found.rises:
        return f"No rise of the error with sparsity is seen over {of}."
    place = "above" if found.high < PAPER_ONSET else "below" if found.low > PAPER_ONSET else "inside"
    paper = f"; the paper sees no harm up to about {PAPER_ONSET:.0f} %, {place} this interval" if beside_paper else ""
    return (
        f"The error rises from {fixed(found.at, 1)} % {kind} on [{fixed(found.low, 1)}, {fixed(found.high, 1)}], by "
        f"{fixed(found.slope, 3)} points a point of sparsity ({of}){paper}."
    )


def _by_rows(rows: Sequence[Row], kind: str) -> str:
    compared = [row for row in rows[1:] if row["difference_pct"] is not None]
    higher = [row for row in compared if row["difference_verdict"].startswith("higher")]
    if not compared:
        return f"Where the error rises cannot be said: {_too_few(rows)}."
    base = f"l1 {rows[0]['l1']:.3g}"
    if not higher:
        return f"At no strength up to {compared[-1]['l1']:.3g} is the error higher than at {base} beyond noise."
    first = higher[0]
    limit = first["difference_verdict"].removeprefix("higher")
    zeros = first["near_zeros_pct"] if kind == "near zeros" else first["sparsity_pct"]
    interval = signed_bracket(first["difference_ci_low_pct"], first["difference_ci_high_pct"])
    return (
        f"The error starts to rise{limit} at l1 {first['l1']:.3g} ({fixed(zeros, 1)} % {kind}): "
        f"{signed(first['difference_pct'])} points {interval} against {base}; below it no rise is beyond noise."
    )


def _too_few(rows: Sequence[Row]) -> str:
    if len(rows) == 1:
        return "there is one strength only"
    if any(row["n"] > 1 for row in rows):
        return "the networks of different strengths share no seeds"
    return f"{LEAST_POINTS} networks that train are needed for a fit, and there are {count(len(rows), 'strength')}"


def _shared(facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in facts[0].items() if all(one.get(key) == value for one in facts)}
