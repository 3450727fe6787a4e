"""Is a user's own activation a known one? Values and slopes are compared, on a wide grid.

Shapes: N points, U units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from relubench.activations.builder import as_function, build
from relubench.activations.checks.finite_differences import grid, single_inside
from relubench.activations.checks.trial import Trial
from relubench.activations.families.smooth import logit
from relubench.activations.row import LAYER, PER, UNIT
from relubench.activations.selection import select
from relubench.activations.table import ACTIVATIONS

Function = Callable[[Tensor], Tensor]

QUICK = 1.702
"""The beta of Quick GELU."""
_FAR = (7.0, 8.5, 12.0, 19.0, 25.0, 50.0, 100.0)
_TOLERANCES = {False: (1e-6, 1e-9), True: (1e-5, 1e-6)}
"""Relative and absolute, in float64 and where it computes in float32."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """A known function with the same values and slopes."""

    name: str
    """In words: 'gelu', '1.5 times silu', 'hardtanh between -2 and 2'."""
    label: str | None = None
    """As --act takes it, where that is the same function; None where it is only a relative."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A known function that a user's own may equal."""

    likeness: Likeness
    function: Function


def likeness_of(trial: Trial, *, with_slopes: bool = True) -> Likeness | None:
    """The first known function that agrees everywhere on a wide grid, in slopes, too, all units with the same one."""
    far_points = torch.tensor([sign * distance for distance in _FAR for sign in (-1, 1)], dtype=torch.float64)
    x = torch.cat([grid(0.0037), far_points])
    values, slopes = (item.double() for item in trial.with_slopes(x))
    own_value_at_zero = trial.values(torch.zeros(1, dtype=torch.float64)).double()
    if not bool((values - values[:, :1]).abs().max() <= 1e-6):
        return None
    relative, absolute = _TOLERANCES[single_inside(trial)]
    for candidate in _candidates(trial):
        candidate_values, candidate_slopes, value_at_zero = _evaluate(candidate.function, x)
        if (
            torch.allclose(values, candidate_values.expand_as(values), rtol=relative, atol=absolute)
            and torch.allclose(
                own_value_at_zero, value_at_zero.expand_as(own_value_at_zero), rtol=relative, atol=absolute
            )
            and (
                not with_slopes
                or torch.allclose(slopes, candidate_slopes.expand_as(slopes), rtol=10 * relative, atol=10 * absolute)
            )
        ):
            return candidate.likeness
    return None


def recognise_learner(trial: Trial) -> Likeness | None:
    """A row with one learned number, where it starts as one and its only parameter moves it as the table's does."""
    parameters = (
        [item for item in trial.module.parameters() if item.requires_grad] if trial.module else [*trial.learned]
    )
    if len(parameters) != 1 or parameters[0].numel() not in (1, trial.frame.units):
        return None
    values = _telling_values(trial)
    per = UNIT if parameters[0].numel() > 1 else LAYER
    for row in ACTIVATIONS.values():
        if row.start is None:
            continue
        ((parameter, (low, high)),) = row.ranges.items()
        initial = row.start(values["left"], values["one"])
        if not low <= initial <= high:
            continue
        choice = select([f"{row.name}:{parameter}={initial:.7g}:{PER}={per}"])[0]
        table = build(choice)
        if _learns_alike(trial, parameters[0], lambda z, leaf, f=table.function: f(z, learned=(leaf,)), initial):
            return Likeness(choice.label, choice.label)
    return None


def _learns_alike(trial: Trial, parameter: Tensor, table: Callable[[Tensor, Tensor], Tensor], initial: float) -> bool:
    """Whether values and derivatives by the parameter are the table's, for two weightings of the points."""
    x = grid(0.0037)
    absolute = 100 * _TOLERANCES[single_inside(trial)][1]
    leaf = torch.tensor([initial], dtype=torch.float64, requires_grad=True)
    for weights in (torch.ones_like(x), torch.sin(3 * x) + x**2 / 10):
        laid = trial.laid(x)
        with torch.enable_grad():
            h = trial.read(trial.call(laid), len(x)).double()
            own_values = (h * weights[:, None]).sum()
            candidate_values = (table(x, leaf) * weights).sum() * h.shape[1]
        if not torch.allclose(h.detach(), table(x, leaf).detach()[:, None].expand_as(h), rtol=1e-5, atol=1e-6):
            return False
        if not own_values.requires_grad:
            return False
        (gradient,), (candidate_gradient,) = (
            trial.gradients(own_values, [parameter]),
            torch.autograd.grad(candidate_values, leaf),
        )
        if not torch.allclose(
            gradient.double().flatten(),
            (candidate_gradient / gradient.numel()).expand(gradient.numel()),
            rtol=1e-4,
            atol=absolute,
        ):
            return False
    return True


def _evaluate(function: Function, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Values and slopes [N, 1], and the value at 0 [1, 1]."""
    z = torch.cat([x, torch.zeros(1, dtype=x.dtype)]).requires_grad_()
    with torch.enable_grad():
        h = function(z)
        (slopes,) = torch.autograd.grad(h.sum(), z)
    return h.detach()[:-1, None], slopes[:-1, None], h.detach()[-1:, None]


def _candidates(trial: Trial) -> Iterator[Candidate]:
    """Every fixed one at its defaults, those whose parameter some value tells, then the same times a number."""
    values = _telling_values(trial)
    yield from _table_candidates()
    for label in _parameter_labels(values["left"], values["origin"], values["far_left"], 1.0):
        yield _candidate(label)
    yield from _hardtanh_candidates(values)
    yield from _swish_candidates(values)
    for candidate in _table_candidates():
        value = float(candidate.function(torch.ones(1, dtype=torch.float64)))
        yield _scaled(values["one"] / value, candidate)
    scale = values["far_right"] / 1e3
    if scale not in (0.0, 1.0) and math.isfinite(scale):
        for label in _parameter_labels(
            values["left"] / scale, values["origin"] / scale, values["far_left"] / scale, scale
        ):
            yield _scaled(scale, _candidate(label))
        yield from (_scaled(scale, item) for item in _swish_candidates({**values, "one": values["one"] / scale}))
    yield from _stretched_candidates(values)


def _telling_values(trial: Trial) -> dict[str, float]:
    """The values from which parameters of known functions follow."""
    points = {"left": -1.0, "origin": 0.0, "one": 1.0, "far_left": -1e3, "far_right": 1e3}
    values = trial.values(torch.tensor(list(points.values()), dtype=torch.float64)).double()[:, 0].tolist()
    return dict(zip(points, values, strict=True))


def _table_candidates() -> Iterator[Candidate]:
    for row in ACTIVATIONS.values():
        if row.inputs_per_unit == 1 and not row.learned and not row.noisy:
            yield _candidate(row.name)
    yield _candidate("gelu:approximate=tanh")


def _parameter_labels(left: float, origin: float, far_left: float, scale: float) -> Iterator[str]:
    """Labels with the parameter that follows from these values."""
    candidates = (
        ("leaky_relu", "negative_slope", -left),
        ("elu", "alpha", -far_left),
        ("celu", "alpha", -far_left),
        ("softplus", "beta", math.log(2) / origin if origin > 0 else math.nan),
    )
    for name, parameter, value in candidates:
        low, high = ACTIVATIONS[name].ranges[parameter]
        if low <= value <= high:
            yield f"{name}:{parameter}={value:.7g}"


def _candidate(label: str) -> Candidate:
    choice = select([label])[0]
    return Candidate(Likeness(choice.label, choice.label), as_function(build(choice)))


def _scaled(scale: float, candidate: Candidate) -> Candidate:
    return Candidate(Likeness(f"{scale:.6g} times {candidate.likeness.name}"), lambda z: scale * candidate.function(z))


def _hardtanh_candidates(values: dict[str, float]) -> Iterator[Candidate]:
    low, high = values["far_left"], values["far_right"]
    if -1e3 < low < high < 1e3:
        yield Candidate(Likeness(f"hardtanh between {low:.6g} and {high:.6g}"), lambda z: z.clamp(low, high))


def _swish_candidates(values: dict[str, float]) -> Iterator[Candidate]:
    beta = logit(values["one"])
    if math.isfinite(beta) and beta > 0:
        quick = ", which is Quick GELU" if abs(beta - QUICK) < 1e-4 else ""
        name = f"swish:beta={beta:.6g} with beta fixed{quick}"
        yield Candidate(Likeness(name), lambda z: z * torch.sigmoid(beta * z))


def _stretched_candidates(values: dict[str, float]) -> Iterator[Candidate]:
    """height * f(x * scale) of bounded ones."""
    height = values["far_right"]
    if not math.isfinite(height) or height == 0:
        return
    share = values["one"] / height
    guesses: list[tuple[str, float, Function]] = [
        ("tanh", math.atanh(share) if abs(share) < 1 else math.nan, torch.tanh),
        ("sigmoid", logit(share), torch.sigmoid),
    ]
    for name, scale, function in guesses:
        if math.isfinite(scale) and scale != 0:
            prefix = "" if abs(height - 1) < 1e-6 else f"{height:.6g} times "
            name = f"{prefix}{name} of {scale:.6g}*x"
            yield Candidate(Likeness(name), lambda z, f=function, scale=scale: height * f(scale * z))
