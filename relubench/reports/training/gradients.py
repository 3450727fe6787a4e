"""What the gradient probes say in a table: how much of the gradient of the last hidden layer is left at the first.

The gradient here is that of an image's loss in a layer's outputs. On its way from the last hidden layer to the first of
L it passes L - 1 slopes; the article bounds a sigmoid's by 0.25 each, whatever the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from relubench.reports.formatting import short
from relubench.runs.result import LayerProbe, RunResult

Row = dict[str, Any]

BOUND = 0.25
"""The largest slope of sigmoid, by which the article bounds what a layer passes down."""
BOUNDED = "sigmoid"
NOTE = (
    "gradient 1st/last: norm of the loss's gradient in the first hidden layer's outputs over that in the last one's, "
    "on the probe images, before training and after the last epoch; the article's bound for sigmoid is 0.25 for each "
    "of the layers that the gradient passes, weights left aside"
)


def has_gradients(results: Iterable[RunResult]) -> bool:
    """Whether any run looked at gradients."""
    return any(probe.activation_gradient is not None for run in results for probe in run.probes)


def gradient_facts(runs: Sequence[RunResult]) -> Row:
    """The keys of one row: norms before training, means over seeds, and how they stand to each other; null if unknown.

    `gradient_ratio` is that of the first hidden layer to the last before training, `gradient_ratio_trained` after the
    last epoch.
    """
    first_norm, last_norm, ratio = _ratio([layers_at(run, 0) for run in runs])
    *_, trained = _ratio([layers_at(run, run.epochs) for run in runs if run.epochs])
    depth = max((probe.layer for run in runs for probe in run.probes), default=0)
    bounded = depth > 0 and {run.spec["activation"] for run in runs} == {BOUNDED}
    return {
        "gradient_first": first_norm,
        "gradient_last": last_norm,
        "gradient_ratio": ratio,
        "gradient_ratio_trained": trained,
        "article_gradient_bound": BOUND ** (depth - 1) if bounded else None,
    }


def layers_at(run: RunResult, epoch: int) -> list[LayerProbe]:
    """The probe of each hidden layer after that epoch, from the input on."""
    return [probe for probe in run.probes if probe.epoch == epoch]


def _ratio(probes: Iterable[Sequence[LayerProbe]]) -> tuple[float | None, float | None, float | None]:
    """First layer's and last layer's norm, means over the runs that have both, and the first over the last."""
    ends = [(layers[0].activation_gradient, layers[-1].activation_gradient) for layers in probes if layers]
    pairs = [
        (first_norm, last_norm) for first_norm, last_norm in ends if first_norm is not None and last_norm is not None
    ]
    if not pairs:
        return None, None, None
    first_norm, last_norm = (sum(norms) / len(pairs) for norms in zip(*pairs, strict=True))
    return first_norm, last_norm, first_norm / last_norm if last_norm else None


def power(value: float | None) -> str:
    """0.85, 3.1e-07"""
    return "" if value is None else f"{value:.1e}" if value and value < 1e-3 else short(round(value, 4))
