"""Zeros against the L1 strength, and the test score against zeros: points with their intervals, and no fit."""

from __future__ import annotations

import csv
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from relubench.errors import DataError
from relubench.experiments.references import is_mnist_network
from relubench.reports.figures.declaration import Figure, Panel, Rule, Series
from relubench.reports.figures.source import FigureSource, grouped
from relubench.reports.formatting import count
from relubench.reports.training.onset import onset
from relubench.reports.training.sparsity import has_no_exact_zeros, points
from relubench.runs.result import RunResult
from relubench.system.paths import presets_folder

PAPER = "Glorot et al. 2011, Figure 3"


def zeros_figure(source: FigureSource) -> Figure | None:
    """Panels of zeros by strength and of the score by zeros; None where the strength does not vary."""
    runs = [run for run in source.runs if run.outcome == "ok" and run.test_score is not None]
    num_omitted = len(source.runs) - len(runs)
    omitted = f"{count(num_omitted, 'network')} diverged or at chance: not drawn" if num_omitted else ""
    if len({_strength(run) for run in runs}) < 2:
        return None
    return Figure(
        name="zeros",
        title="How sparse a network may be before its score suffers",
        subject=" · ".join(filter(None, (source.subject, omitted))),
        reading="Left: what a strength does to the share of zeros, the mean over seeds with the lowest and the "
        "highest. Right: every network as a point; a dotted line marks where the score starts to get "
        "worse, and there is none where no rise is beyond noise.",
        panels=[_by_strength(source, runs), _by_zeros(source, runs)],
        keys=list(dict.fromkeys(str(run.spec["activation"]) for run in runs)),
    )


def _strength(run: RunResult) -> float:
    return float(run.spec.get("l1_asked", run.spec.get("l1", 0.0)))


def _zeros(runs: Sequence[RunResult], run: RunResult) -> float:
    value = run.near_zeros_pct if has_no_exact_zeros(runs) else run.sparsity_pct
    return float("nan") if value is None else value


def _by_strength(source: FigureSource, runs: Sequence[RunResult]) -> Panel:
    """A strength of 0 has a place of its own, left of the logarithmic ones."""
    strengths = sorted({_strength(run) for run in runs if _strength(run) > 0})
    zero = strengths[0] / (10 if len(strengths) < 2 else max(2.0, strengths[1] / strengths[0]))
    series = []
    for (activation,), of_activation in grouped(runs, "activation").items():
        ordered = sorted(of_activation, key=_strength)
        by_strength: dict[float, list[float]] = {}
        for run in ordered:
            by_strength.setdefault(_strength(run) or zero, []).append(_zeros(of_activation, run))
        values = list(by_strength.values())
        series.append(
            Series(
                label=activation,
                key=activation,
                x=list(by_strength),
                y=[float(np.mean(zeros)) for zeros in values],
                low=[min(zeros) for zeros in values],
                high=[max(zeros) for zeros in values],
                names=[f"L1 {0 if value == zero else value:g}" for value in by_strength],
            )
        )
    few = len(strengths) < 12
    return Panel(
        title="what the penalty does",
        x_label="L1 strength",
        y_label=_zeros_label(runs),
        x_scale="log",
        x_ticks=[zero, *strengths] if few else (),
        x_tick_texts=["0", *(f"{strength:g}" for strength in strengths)] if few else (),
        series=series,
    )


def _by_zeros(source: FigureSource, runs: Sequence[RunResult]) -> Panel:
    series, rules = [], []
    if is_mnist_network(runs[0].spec):
        zeros, errors = paper_points()
        series.append(Series(label=f"{PAPER}: {len(zeros)} networks", key="", x=zeros.tolist(), y=errors.tolist(),
                             mark="points", hollow=True))  # fmt: skip
    for (activation,), of_activation in grouped(runs, "activation").items():
        x, y = points(of_activation)
        names = [f"L1 {_strength(run):g}, seed {run.spec['seed']}" for run in of_activation]
        names = names if len(names) == len(x) else []
        series.append(Series(label=activation, key=activation, x=x, y=y, mark="points", names=names))
        fit = onset(x, y) if source.task.lower_is_better else None
        if fit is not None and fit.rises:
            rules.append(Rule(at=fit.at, text=f"{activation}: rises from here", vertical=True))
    return Panel(
        title="what the zeros cost",
        x_label=_zeros_label(runs),
        y_label=source.score_label(),
        series=series,
        rules=rules,
    )


def _zeros_label(runs: Sequence[RunResult]) -> str:
    return f"{'near zeros' if has_no_exact_zeros(runs) else 'zeros'} (% of the hidden outputs)"


def paper_points() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sparsity and test error in percent of the 170 networks that can be told apart in the paper's Figure 3."""
    path = presets_folder() / "reference" / "glorot2011_figure3.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(float(row["sparsity_pct"]), float(row["test_error_pct"])) for row in csv.DictReader(file)]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error!r}", "install relubench again") from error
    array = np.array(rows)
    return array[:, 0], array[:, 1]
