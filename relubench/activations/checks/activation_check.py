"""The check of an activation before training: is it usable, which gain matches it, is it a known one?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relubench.activations.builder import build
from relubench.activations.checks.finite_differences import grid, wrong_slope
from relubench.activations.checks.gains import gain_of, matched_gain
from relubench.activations.checks.recognition import Likeness, likeness_of, recognise_learner
from relubench.activations.checks.training import InTraining, in_training
from relubench.activations.checks.trial import RANGE, Trial, fitting
from relubench.activations.choice import ActivationChoice
from relubench.activations.layer_input import Frame
from relubench.errors import UsageError

__all__ = ["ActivationCheck", "check_activation", "matched_gain"]

_FAR = (10.0, 30.0, 100.0, 1e4)
"""Here a value that is not finite is only warned of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationCheck:
    """The properties of a formula or of a user's own activation."""

    gain: float | None
    """1/sqrt(E[f(z)^2]), z ~ N(0, 1); None where there is no such number."""
    no_gain: UsageError | None = None
    """Why there is none."""
    equals: str | None = None
    """The label of the table's activation that it equals: in values, in slopes and in training."""
    likeness: str = ""
    """How it is like a known one, as a predicate: 'equals gelu', 'starts as prelu and learns as it does'; or ''."""
    warnings: tuple[str, ...] = ()
    """What does not prevent training, in sentences."""
    exact_zeros: bool = False
    """Whether it is exactly 0 over an interval within [-6, 6]."""


def check_activation(choice: ActivationChoice, layers: Sequence[Frame] = ()) -> ActivationCheck:
    """The properties of an activation, which is tried out; UsageError if a network cannot be trained through it.

    Refused: a result of another shape or dtype; a value that depends on other entries, on chance or on earlier calls;
    an input changed in place; values or slopes that are not finite somewhere in [-6, 6]; no slope anywhere; what fails
    in one of the `layers` where it is used, forward or backward. Warned of: what is not finite in float32 at +-10, 30,
    100 or 10,000; a slope that is not the derivative; a second moment that is 0 or unbounded.
    """
    activation = build(choice)
    if activation.inputs_per_unit > 1:
        return ActivationCheck(gain=matched_gain(activation), exact_zeros=activation.exact_zeros)
    trial = fitting(choice.label, activation, layers)
    values = _check_finite(trial)
    training = in_training(trial, layers)
    slope_warning = None if choice.kind == "table" else wrong_slope(trial)
    likeness = (
        None if choice.kind == "table" else _find_likeness(trial, training, has_wrong_slope=slope_warning is not None)
    )
    gain, no_gain = _gain(trial)
    return ActivationCheck(
        gain=gain,
        no_gain=no_gain,
        equals=likeness.label if likeness is not None else None,
        likeness=likeness.name if likeness is not None else "",
        warnings=tuple(item for item in (slope_warning, training.stranger, _warn_far_from_zero(trial)) if item),
        exact_zeros=bool(((values[1:] == 0) & (values[:-1] == 0)).any()),
    )


def _gain(trial: Trial) -> tuple[float | None, UsageError | None]:
    try:
        return gain_of(trial), None
    except UsageError as problem:
        return None, problem


def _check_finite(trial: Trial) -> Tensor:
    """Values on the grid; UsageError where a value or slope is not finite, and for a function without slope."""
    x = grid(0.0)
    values, slopes = trial.with_slopes(x)
    for quantity, results in (("value", values), ("slope", slopes)):
        bad_points = x[~results.isfinite().all(dim=1)]
        if len(bad_points):
            share = f"{len(bad_points)} of {len(x)} points in [-{RANGE:g}, {RANGE:g}]"
            raise UsageError(
                f"{trial.label} has no finite {quantity} at {share}, first at x = {float(bad_points[0]):g}",
                "pre-activations lie there: use abs(x), max(x, ...) or a small constant inside log, sqrt and divisions",
            )
    if (values == values[0]).all():
        raise UsageError(f"{trial.label} does not depend on x", "a network cannot learn through a constant")
    if (slopes == 0).all():
        raise UsageError(f"{trial.label} has slope 0 everywhere", "a network cannot learn through a step function")
    return values


def _find_likeness(trial: Trial, training: InTraining, *, has_wrong_slope: bool) -> Likeness | None:
    """How it is like a known one; equal only where it is the same in training, too."""
    if has_wrong_slope:
        without_slopes = likeness_of(trial, with_slopes=False)
        return without_slopes and Likeness(f"has the values of {without_slopes.name}, not its slopes")
    if training.learns:
        learner_likeness = recognise_learner(trial) if not training.differs else None
        if learner_likeness is not None:
            return Likeness(f"starts as {learner_likeness.name}, and learns as it does")
        start_likeness = likeness_of(trial)
        plural = "" if training.learns == 1 else "s"
        return start_likeness and Likeness(
            f"starts as {start_likeness.name}, and learns {training.learns:,} number{plural} in each layer"
        )
    values_likeness = likeness_of(trial)
    if values_likeness is not None and training.state and not training.differs:
        return Likeness(f"starts as {values_likeness.name}, and changes {training.state} in every call")
    if values_likeness is None or not training.differs:
        return values_likeness and Likeness(f"equals {values_likeness.name}", values_likeness.label)
    return Likeness(f"is {values_likeness.name} in evaluation only: {training.differs}")


def _warn_far_from_zero(trial: Trial) -> str:
    x = torch.tensor([sign * distance for distance in _FAR for sign in (-1, 1)])
    single = Trial("it", trial.activation, trial.frame, torch.float32)
    values, slopes = single.with_slopes(x)
    is_good = (values.isfinite() & slopes.isfinite()).all(dim=1)
    bad_points = [f"{float(item):g}" for item, point_is_good in zip(x, is_good, strict=True) if not point_is_good]
    return (
        f"not finite in float32 at x = {', '.join(bad_points)}: a network that gets there diverges"
        if bad_points
        else ""
    )
