"""Look at an activation before training through it: is it usable, which gain matches it, is it a known one?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from relubench.activations.builder import as_function, build
from relubench.activations.choice import Choice
from relubench.activations.definition import Activation
from relubench.activations.selection import select
from relubench.activations.table import ACTIVATIONS
from relubench.errors import UsageError

_EXPECTED = 6.0
"""Within this of 0 everything must be finite: where normalised pre-activations lie."""
_FAR = (10.0, 30.0, 100.0, 1e4)
"""Here a value that is not finite is only warned of."""
_WIDEST = 12.0
"""Where the integral of f(z)^2 under the normal density ends; what lies beyond is below 1e-32 of it for |f| < z^10."""
_PIECES = 24 * 1024
"""Fine enough that a kink anywhere costs less than 1e-7 of the integral; those at whole numbers cost nothing."""
_SAME = 1e-6
_SAME_ABSOLUTE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What was found about a formula or a user's own."""

    gain: float
    """1/sqrt(E[f(z)^2]), z ~ N(0, 1)."""
    equals: str | None
    """The label of the table's activation that it equals within 1e-6, if any."""
    warnings: tuple[str, ...] = ()
    """What does not prevent training, in sentences."""
    exact_zeros: bool = False
    """Whether it is exactly 0 over an interval within [-6, 6]."""


def probe(choice: Choice) -> Probe:
    """Try an activation out; raises UsageError if a network cannot be trained through it.

    Refused: a result of another shape or dtype; a value that depends on other entries, on chance or on earlier calls;
    an input changed in place; values or slopes that are not finite somewhere in [-6, 6]; no slope anywhere; a second
    moment that is 0 or unbounded. Warned of: what is not finite in float32 at +-10, 30, 100 or 10,000.
    """
    activation = build(choice)
    if activation.columns > 1:
        return Probe(gain=matched_gain(activation), equals=None, exact_zeros=activation.exact_zeros)
    function = _guarded(choice.label, _instance(choice.label, activation, torch.float64))
    grid = torch.arange(-600, 601, dtype=torch.float64) / 100
    _check_shape(choice.label, function)
    values, slopes = _finite(choice.label, function, grid)
    _check_slope(choice.label, values, slopes)
    return Probe(
        gain=_gain(function, choice.label),
        # One with parameters of its own equals another only until it has learned something.
        equals=None if choice.kind == "table" or _learns(activation) else _known(function),
        warnings=_far_off(_guarded(choice.label, _instance(choice.label, activation, torch.float32))),
        exact_zeros=bool(((values[1:] == 0) & (values[:-1] == 0)).any()),
    )


def matched_gain(chosen: Choice | Activation) -> float:
    """1/sqrt(E[f(z)^2]), z ~ N(0, 1), columns independent; by Gauss-Legendre in float64, good to 1e-6.

    As in evaluation: without noise, learned parameters at their start. Raises UsageError where there is no such number.
    """
    label = chosen.label if isinstance(chosen, Choice) else "the activation"
    activation = build(chosen) if isinstance(chosen, Choice) else chosen
    if activation.combines == "maximum":
        return _gain_of_maximum(activation.columns)
    if activation.combines == "product":
        # f(a, b) = a g(b), and E[a^2] = 1.
        return _gain(lambda b: activation.function(torch.stack([torch.ones_like(b), b]), dim=0)[0], label)
    return _gain(_guarded(label, _instance(label, activation, torch.float64)), label)


def _learns(activation: Activation) -> bool:
    if activation.module is None:
        return bool(activation.learned)
    with torch.random.fork_rng(devices=[]):
        return next(activation.module().parameters(), None) is not None


def _instance(label: str, activation: Activation, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    with torch.random.fork_rng(devices=[]):
        return as_function(activation, dtype)


def _guarded(label: str, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The function, its own errors turned into ours, and its random numbers new at every call and given back."""
    calls = itertools.count()

    def guarded(z: Tensor) -> Tensor:
        try:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(next(calls))
                found = function(z)
        except UsageError:
            raise
        except (Exception, SystemExit) as problem:
            raise UsageError(
                f"{label} failed on a {z.dtype} tensor of shape {tuple(z.shape)}: {type(problem).__name__}: {problem}",
                "an activation takes one tensor of any shape and gives one of the same shape",
            ) from problem
        if not isinstance(found, Tensor):
            raise UsageError(f"{label} gives {type(found).__name__}, not a tensor", "return one tensor")
        return found

    return guarded


def _check_shape(label: str, function: Callable[[Tensor], Tensor]) -> None:
    """Refuse what is not a deterministic function of each entry alone."""
    z = torch.linspace(-3, 4, 35, dtype=torch.float64).reshape(5, 7)
    given = z.clone()
    h = function(given)
    if not torch.equal(given, z):
        raise UsageError(f"{label} changes its input in place", "return a new tensor")
    if h.shape != z.shape:
        raise UsageError(
            f"{label} gives shape {tuple(h.shape)} for shape {tuple(z.shape)}", "an activation keeps the shape"
        )
    if h.dtype != z.dtype:
        raise UsageError(f"{label} gives {h.dtype} for {z.dtype}", "an activation keeps the dtype")
    views = ((z, h), (z.flatten()[:, None], h.flatten()[:, None]), (z[1:3], h[1:3]))
    for part, expected in views:
        other = function(part.clone())
        if other.shape != part.shape or not torch.allclose(other, expected, rtol=1e-9, atol=1e-12, equal_nan=True):
            raise UsageError(
                f"{label} gives an entry another value when its neighbours or the call change",
                "an activation must depend on each entry alone, and not on chance",
            )


def _finite(label: str, function: Callable[[Tensor], Tensor], grid: Tensor) -> tuple[Tensor, Tensor]:
    """Values and slopes on the grid; refuse those that are not finite."""
    values, slopes = _evaluate(label, function, grid)
    for what, found in (("value", values), ("slope", slopes)):
        wrong = grid[~found.isfinite()]
        if len(wrong):
            share = f"{len(wrong)} of {len(grid)} points in [-{_EXPECTED:g}, {_EXPECTED:g}]"
            raise UsageError(
                f"{label} has no finite {what} at {share}, first at x = {float(wrong[0]):g}",
                "pre-activations lie there: use abs(x), max(x, ...) or a small constant inside log, sqrt and divisions",
            )
    return values, slopes


def _evaluate(label: str, function: Callable[[Tensor], Tensor], grid: Tensor) -> tuple[Tensor, Tensor]:
    z = grid.clone().requires_grad_()
    with torch.enable_grad():
        h = function(z)
        if not h.requires_grad:
            raise UsageError(
                f"{label} passes no gradient to its input", "a network cannot learn through a step, nor past autograd"
            )
        (slopes,) = torch.autograd.grad(h.sum(), z, allow_unused=True, materialize_grads=True)
    return h.detach(), slopes


def _check_slope(label: str, values: Tensor, slopes: Tensor) -> None:
    if (values == values[0]).all():
        raise UsageError(f"{label} does not depend on x", "a network cannot learn through a constant")
    if (slopes == 0).all():
        raise UsageError(f"{label} has slope 0 everywhere", "a network cannot learn through a step function")


def _far_off(function: Callable[[Tensor], Tensor]) -> tuple[str, ...]:
    grid = torch.tensor([sign * size for size in _FAR for sign in (-1, 1)])
    values, slopes = _evaluate("it", function, grid)
    wrong = [f"{float(x):g}" for x, good in zip(grid, values.isfinite() & slopes.isfinite(), strict=True) if not good]
    return (f"not finite in float32 at x = {', '.join(wrong)}: a network that gets there diverges",) if wrong else ()


def _nodes() -> tuple[Tensor, Tensor]:
    """Points in [-12, 12] and weights under the normal density: 4-point Gauss-Legendre on fine pieces."""
    point = torch.tensor([0.3399810435848563, 0.8611363115940526], dtype=torch.float64)
    weight = torch.tensor([0.6521451548625461, 0.3478548451374538], dtype=torch.float64)
    half = _WIDEST / _PIECES
    centres = (torch.arange(_PIECES, dtype=torch.float64) * 2 + 1) * half - _WIDEST
    z = (centres[:, None] + half * torch.cat([-point, point])).flatten()
    weights = (half * torch.cat([weight, weight])).repeat(_PIECES)
    return z, weights * torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def _gain(function: Callable[[Tensor], Tensor], label: str) -> float:
    z, weights = _nodes()
    with torch.no_grad():
        parts = weights * function(z) ** 2
    moment = float(parts.sum())
    tail = float(parts[z.abs() > 0.9 * _WIDEST].sum())
    if not math.isfinite(moment) or tail > 1e-6 * moment or moment == 0:
        raise UsageError(
            f"{label} has no usable gain: E[f(z)^2] is {moment:g}, or comes from |z| > 10, for z ~ N(0, 1)",
            "an activation must not vanish everywhere, nor grow as fast as exp(4*x)",
        )
    return 1 / math.sqrt(moment)


def _gain_of_maximum(columns: int) -> float:
    """The largest of k independent normals has density k phi(z) Phi(z)^(k-1)."""
    z, weights = _nodes()
    moment = (weights * columns * torch.special.ndtr(z) ** (columns - 1) * z**2).sum()
    return 1 / math.sqrt(float(moment))


def _known(function: Callable[[Tensor], Tensor]) -> str | None:
    """The first of the table's activations, some with fitted parameters, that agrees everywhere on a wide grid."""
    far = torch.tensor([sign * size for size in (7.0, 8.5, 12.0, 19.0, 25.0, 50.0, 100.0) for sign in (-1, 1)])
    grid = torch.cat([torch.arange(-600, 601) / 100, far]).double()
    with torch.no_grad():
        mine = function(grid)
        for label in _candidates(function):
            candidate = select([label])[0]
            theirs = as_function(build(candidate))(grid)
            if torch.allclose(mine, theirs, rtol=_SAME, atol=_SAME_ABSOLUTE):
                return candidate.label
    return None


def _candidates(function: Callable[[Tensor], Tensor]) -> Iterator[str]:
    """Labels worth comparing: every fixed one at its defaults, then those whose parameter some value tells."""
    for row in ACTIVATIONS.values():
        if row.columns == 1 and not row.learned and not row.noisy:
            yield row.name
    yield "gelu:approximate=tanh"
    at = torch.tensor([-1.0, 0.0, -1000.0], dtype=torch.float64)
    left, origin, far = function(at).tolist()
    guesses = (
        ("leaky_relu", "negative_slope", -left),
        ("elu", "alpha", -far),
        ("celu", "alpha", -far),
        ("softplus", "beta", math.log(2) / origin if origin > 0 else math.nan),
    )
    for name, parameter, value in guesses:
        low, high = ACTIVATIONS[name].ranges[parameter]
        if low <= value <= high:
            yield f"{name}:{parameter}={value:.10g}"
