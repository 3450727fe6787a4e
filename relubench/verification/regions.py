"""Regions of the line, and errors that lie all on one side of the truth in one of them.

A region is the numbers of one sign and one exponent (a binade; the subnormals are one), and for 16-bit types what lies
beside a corner. Rounding errors of a right function point both ways, or the way in which rounding each of its steps to
the type points; an error of the function itself does neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relubench.verification.compare import FORMATS, Array

ENOUGH = 12
"""Points that a region needs to tell a mean from chance."""
DEVIATIONS = 5.0
"""Standard errors by which a mean must leave 0."""
SHARE = 0.15
"""The least average, as a share of what rounding explains: less is the bias of a library's function."""
BESIDE = 2.0**-4
"""How near to a corner is near, relative to the larger of it and 1."""


@dataclass(frozen=True, slots=True)
class Systematic:
    """The region whose errors are most plainly one-sided."""

    low: float
    high: float
    points: int
    mean: float
    """The mean error, relative to the size of the true values there."""


def regions(x: Array, dtype: str, kinks: Sequence[float]) -> list[NDArray[np.int64]]:
    """The places [n] of each region's points among x [N]; a point may lie in a binade and beside a corner."""
    _, least_exponent, _ = FORMATS[dtype]
    finite = np.flatnonzero(np.isfinite(x) & (x != 0))
    _, exponent = np.frexp(x[finite])
    labels = np.maximum(exponent - 1, least_exponent - 1) * 2 + (x[finite] < 0)
    order = np.argsort(labels, kind="stable")
    edges = np.flatnonzero(np.diff(labels[order])) + 1
    binades = [finite[region] for region in np.split(order, edges)] if finite.size else []
    near_kinks = [np.flatnonzero(np.abs(x - kink) <= BESIDE * max(abs(kink), 1.0)) for kink in kinks]
    return binades + [region for region in near_kinks if region.size]


def largest_by_region(error: Array, x: Array, dtype: str) -> Array:
    """[N]: the largest error of each point's binade."""
    largest = np.zeros_like(error)
    for region in regions(x, dtype, ()):
        largest[region] = error[region].max(initial=0.0)
    return largest


def systematic(
    error: Array, unexplained: Array, allowance: Array, true: Array, x: Array, dtype: str, kinks: Sequence[float]
) -> Systematic | None:
    """The most one-sided region, if any is: by the errors against the rounded truth and against the rounded steps.

    `error`: computed less the truth rounded once; `unexplained`: computed less what rounding every step gives. Of the
    two the smaller counts, and nothing where they point in different ways. All [N].
    """
    usable = np.isfinite(error) & np.isfinite(unexplained) & np.isfinite(allowance) & (allowance > 0)
    common_error = np.where(
        error * unexplained > 0, np.sign(error) * np.minimum(np.abs(error), np.abs(unexplained)), 0.0
    )
    share = np.divide(common_error, allowance, out=np.zeros_like(common_error), where=usable)
    largest_mean, worst_region = 0.0, None
    for region in regions(x, dtype, kinks):
        region = region[usable[region]]
        if len(region) < ENOUGH:
            continue
        mean = float(share[region].mean())
        deviation = float(share[region].std()) / np.sqrt(len(region))
        if abs(mean) > SHARE and abs(mean) > DEVIATIONS * deviation and abs(mean) > largest_mean:
            largest_mean, worst_region = abs(mean), region
    if worst_region is None:
        return None
    scale = float(np.abs(true[worst_region]).mean()) or 1.0
    return Systematic(
        float(x[worst_region].min()),
        float(x[worst_region].max()),
        len(worst_region),
        float(common_error[worst_region].mean()) / scale,
    )
