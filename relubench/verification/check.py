"""Checks one activation in one type: every form of its forward and backward pass against the true function.

A backward pass that reads a rounded output cannot know the slope better than that output tells it: it is wrong only if
it is wrong for the output as well as for the input. The errors in the table are against the true slope all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from relubench.activations import Choice, build
from relubench.activations.builder import as_function
from relubench.activations.definition import Activation
from relubench.verification import points, truth
from relubench.verification.bounds import Known, bound, known
from relubench.verification.compare import Array, Bound, differing, errors
from relubench.verification.forms import backward_forms, forward_forms


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyRow:
    """One activation, type and pass, over all of its forms."""

    activation: str
    dtype: str
    pass_: str
    points: int
    forms: str
    """What was computed and compared: eager, into storage, in place, population, compiled."""
    outcome: str = "ok"
    """ok, wrong, or failed: it could not be computed."""
    max_error_ulp: float | None = None
    mean_error_ulp: float | None = None
    max_error: float | None = None
    """The largest absolute error."""
    at: float | None = None
    """Where the largest error in ulp is, or the first wrong value."""
    bound_ulp: float | None = None
    bound_absolute: float | None = None
    wrong: int = 0
    """Values of the worst form that are neither within the bound nor known."""
    known: int = 0
    """Values where PyTorch's kernel is known to be wrong."""
    forms_differ: int = 0
    """Values of the worst form that are not the eager form's, bit for bit."""
    differing_forms: str = ""
    """Which forms these are, each with its number: 'compiled 12'."""
    against: str = "truth"
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        return {key.rstrip("_"): value for key, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Reference:
    """True values [N] and slopes [C, N] at x [C, N], and slopes as far as the output h [N] tells them."""

    name: str
    values: Callable[[Array], Array]
    slopes: Callable[[Array], Array]
    from_output: Callable[[Array], Array] | None = None
    kinks: tuple[float, ...] = ()


def check(
    choice: Choice,
    dtype: str,
    *,
    seed: int = 0,
    compiled: bool = False,
    size: int = points.MILLION,
    against: Choice | None = None,
) -> list[VerifyRow]:
    """The rows of one activation in one type: forward and backward."""
    # Training flushes subnormal numbers, process-wide; here they are part of what is checked.
    torch.set_flush_denormal(False)
    activation = build(choice)
    reference = reference_of(choice, activation, against)
    z = _inputs(choice, dtype, reference.kinks, seed, size)
    x = z.to(torch.float64).numpy()
    return [
        _forward(choice, activation, reference, dtype, z, x, compiled),
        _backward(choice, activation, reference, dtype, z, x, compiled),
    ]


def reference_of(choice: Choice, activation: Activation, against: Choice | None) -> Reference:
    """The true function of a table's; for a user's own itself in float64, or what --against names."""
    if against is not None:
        other = reference_of(against, build(against), None)
        return Reference(against.label, other.values, other.slopes, None, other.kinks)
    if choice.kind != "table":
        return _itself(activation)
    if activation.combines == "maximum":
        return Reference("truth", lambda x: np.max(x, axis=0), _winner)
    one = truth.of_table(choice.name, dict(choice.parameters))
    if activation.columns == 1:
        return Reference(
            "truth", lambda x: one.value(x[0]), lambda x: one.slope(x[0])[None], one.slope_from_output, one.kinks
        )
    return Reference(
        "truth",
        lambda x: _product(x[0], one.value(x[1])),
        lambda x: np.stack([one.value(x[1]), _product(x[0], one.slope(x[1]))]),
        kinks=one.kinks,
    )


def _itself(activation: Activation) -> Reference:
    function = as_function(activation, torch.float64)

    def values(x: Array) -> Array:
        with torch.no_grad():
            return function(torch.from_numpy(x[0])).numpy()

    def slopes(x: Array) -> Array:
        with torch.enable_grad():
            z = torch.from_numpy(x[0]).requires_grad_()
            (found,) = torch.autograd.grad(function(z).sum(), z, materialize_grads=True, allow_unused=True)
        return found.numpy()[None]

    return Reference("itself in float64", values, slopes)


def _winner(x: Array) -> Array:
    return (np.arange(len(x))[:, None] == np.argmax(x, axis=0)).astype(np.float64)


def _product(a: Array, b: Array) -> Array:
    with np.errstate(all="ignore"):
        return a * b


def _inputs(choice: Choice, dtype: str, kinks: tuple[float, ...], seed: int, size: int) -> Tensor:
    x = points.stratified(kinks, seed, size) if dtype == "fp32" else points.every_pattern(points.DTYPES[dtype])
    return (
        points.shuffled(x, choice.columns, seed)
        if choice.name == "maxout"
        else points.partners(x, choice.columns, seed)
    )


def _forward(
    choice: Choice, activation: Activation, reference: Reference, dtype: str, z: Tensor, x: Array, compiled: bool
) -> VerifyRow:
    true = reference.values(x)

    def judged() -> Iterator[tuple[str, Tensor, Array, Array | None]]:
        for form, h in forward_forms(activation, z, compiled=compiled):
            _check_shape(h, z[0])
            yield form, h, true, None

    return _judge(choice, "forward", dtype, reference, x[-1], judged())


def _backward(
    choice: Choice, activation: Activation, reference: Reference, dtype: str, z: Tensor, x: Array, compiled: bool
) -> VerifyRow:
    true = reference.slopes(x)
    # There is no true slope at NaN, nor for a maximum of equals that are not finite.
    usable = ~np.isnan(x).any(axis=0)
    from_output = reference.from_output if activation.gradient is not None and activation.saves == "h" else None

    def judged() -> Iterator[tuple[str, Tensor, Array, Array | None]]:
        keep = torch.from_numpy(usable)
        for form, slopes, h in backward_forms(activation, z, compiled=compiled):
            told = None if from_output is None else from_output(h.to(torch.float64).numpy())[None]
            yield (
                form,
                slopes[:, keep].flatten(),
                true[:, usable].flatten(),
                None if told is None else told[:, usable].flatten(),
            )

    where = np.broadcast_to(x[-1][usable], (len(true), int(usable.sum()))).flatten()
    return _judge(choice, "backward", dtype, reference, where, judged())


def _judge(
    choice: Choice,
    pass_: str,
    dtype: str,
    reference: Reference,
    x: Array,
    forms: Iterator[tuple[str, Tensor, Array, Array | None]],
) -> VerifyRow:
    """One row out of all forms; `forms` gives (form, computed [N], true [N], true for the saved output [N] or None)."""
    limit = bound(choice.name, pass_, dtype, own=choice.kind != "table" or reference.name != "truth")
    excuses = known(choice.name, pass_) if choice.kind == "table" else []
    found: list[Judged] = []
    eager: Tensor | None = None
    try:
        for form, computed, true, told in forms:
            eager = computed if eager is None else eager
            found.append(_one_form(form, computed, true, told, dtype, limit, excuses, x, differing(computed, eager)))
    except Exception as problem:
        return VerifyRow(
            activation=choice.label,
            dtype=dtype,
            pass_=pass_,
            points=len(x),
            forms=", ".join(one.form for one in found),
            outcome="failed",
            against=reference.name,
            message=f"{type(problem).__name__}: {(str(problem).strip().splitlines() or [''])[0]}",
        )
    worst = max(found, key=lambda one: (one.wrong, one.max_ulp))
    messages = [one.message for one in found if one.wrong] or [worst.message]
    return VerifyRow(
        activation=choice.label,
        dtype=dtype,
        pass_=pass_,
        points=len(x),
        forms=", ".join(one.form for one in found),
        outcome="wrong" if worst.wrong else "ok",
        max_error_ulp=worst.max_ulp,
        mean_error_ulp=worst.mean_ulp,
        max_error=worst.max_absolute,
        at=worst.at,
        bound_ulp=limit.ulp,
        bound_absolute=limit.absolute,
        wrong=worst.wrong,
        known=max(one.known for one in found),
        forms_differ=max(one.differ for one in found),
        differing_forms=", ".join(f"{one.form} {one.differ}" for one in found if one.differ),
        against=reference.name,
        message="; ".join(dict.fromkeys(one for one in messages if one)),
    )


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of one form."""

    form: str
    max_ulp: float
    mean_ulp: float
    max_absolute: float
    at: float | None
    wrong: int
    known: int
    differ: int
    message: str


def _one_form(
    form: str,
    computed: Tensor,
    true: Array,
    told: Array | None,
    dtype: str,
    limit: Bound,
    excuses: Sequence[Known],
    x: Array,
    differ: int,
) -> Judged:
    against_input = errors(computed, true, dtype)
    bad = against_input.beyond(limit)
    if told is not None:
        bad &= errors(computed, told, dtype).beyond(limit)
    excused = np.zeros_like(bad)
    reasons: list[str] = []
    for one in excuses:
        mine = bad & one.where(x)
        if mine.any():
            excused |= mine
            reasons.append(one.why)
    wrong = bad & ~excused
    # Where the class is wrong there is no distance; what is known is not counted into the errors either.
    ulp = np.where(excused | against_input.wrong_class, 0.0, against_input.ulp)
    absolute = np.where(excused | against_input.wrong_class, 0.0, against_input.absolute)
    place = int(np.argmax(wrong)) if wrong.any() else int(np.argmax(ulp))
    message = "; ".join(dict.fromkeys(reasons))
    if wrong.any():
        got = float(computed[place].to(torch.float64))
        message = f"{form}: {got:.9g} at x = {x[place]:.9g}, where {true[place]:.9g} is true"
    return Judged(
        form=form,
        max_ulp=float(ulp.max(initial=0.0)),
        mean_ulp=float(ulp.mean()) if ulp.size else 0.0,
        max_absolute=float(absolute.max(initial=0.0)),
        at=float(x[place]) if x.size else None,
        wrong=int(wrong.sum()),
        known=int(excused.sum()),
        differ=differ,
        message=message,
    )


def _check_shape(h: object, like: Tensor) -> None:
    if not isinstance(h, Tensor) or h.shape != like.shape:
        shown = tuple(h.shape) if isinstance(h, Tensor) else type(h).__name__
        raise ValueError(f"it gives {shown} for shape {tuple(like.shape)}")
