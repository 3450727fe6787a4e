"""The verdict on one form of a computation, and one row out of all forms.

N points, for slopes those of all columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from relubench.verification.arithmetic import COMPUTED
from relubench.verification.bounds import LARGEST
from relubench.verification.compare import Array, differing, errors, nearest, ulp_size
from relubench.verification.regions import Systematic, systematic

OVERFLOWS = "overflows"
"""The outcome where all that is not right comes of a step beyond the type's largest number."""
ALIKE = 2.0**-7
"""Relative difference within which a value is the one that its steps give when each is rounded."""


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
    """ok, wrong, overflows (a step leaves the type's range, and the result with it), straight-through (its values are
    flat, its slopes are not), or failed: it could not be computed."""
    max_error_ulp: float | None = None
    mean_error_ulp: float | None = None
    max_error: float | None = None
    """The largest absolute error."""
    at: float | None = None
    """Where the largest error in ulp is, or the first wrong value."""
    bound_ulp: float | None = None
    """What roundings explain at `at`, in ulp of the true value there, and absolutely."""
    bound_absolute: float | None = None
    bound_used: float | None = None
    """The largest error as a share of what roundings explain at its place; beyond 1 it is wrong."""
    wrong: int = 0
    """Values of the worst form that are neither within the bound nor known."""
    known: int = 0
    """Values where the steps themselves are known to leave the finite numbers."""
    forms_differ: int = 0
    """Values of the worst form that are not the eager form's, bit for bit."""
    differing_forms: str = ""
    """Which forms these are, each with its number: 'compiled 12'."""
    against: str = "truth"
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        """The row with null for the counts of what could not be computed."""
        values = {key.rstrip("_"): value for key, value in asdict(self).items()}
        return values | (dict.fromkeys(("wrong", "known", "forms_differ")) if self.outcome == "failed" else {})


@dataclass(frozen=True, slots=True)
class Expected:
    """The true values and allowed errors of every form, at x [N]."""

    true: Array
    allowance: Array
    x: Array
    excuses: dict[str, NDArray[np.bool_]]
    dtype: str
    kinks: tuple[float, ...] = ()
    emulated: Array | None = None
    """What rounding every step gives; where it is there, errors all on one side are looked for."""
    overflows: NDArray[np.bool_] | None = None
    """Where a step, rounded, is beyond the largest number: what comes of it is no wrong value."""


@dataclass(frozen=True, slots=True)
class FormResult:
    """The verdict on one form of the computation."""

    form: str
    max_ulp: float
    mean_ulp: float
    max_absolute: float
    at: float | None
    bound_ulp: float | None
    bound_absolute: float | None
    used: float
    wrong: int
    known: int
    differ: int
    message: str
    overflows: bool = False


def assess_form(form: str, computed: Tensor, expected: Expected, differ: int) -> FormResult:
    """The verdict on one form's values [N]."""
    true, x = expected.true, expected.x
    error = errors(computed, true, expected.dtype, expected.allowance)
    is_bad = error.wrong_class | (error.absolute > expected.allowance)
    is_excused, reasons, is_overflow = _excused(is_bad, computed, expected)
    is_wrong = is_bad & ~is_excused
    # Where the class is wrong there is no distance; what is known is not counted into the errors either.
    is_counted = ~(is_excused | error.wrong_class)
    ulp, absolute = np.where(is_counted, error.ulp, 0.0), np.where(is_counted, error.absolute, 0.0)
    worst = int(np.argmax(is_wrong)) if is_wrong.any() else int(np.argmax(ulp)) if ulp.size else None
    bias = None if is_wrong.any() else _one_sided(computed, expected)
    num_wrong = int(is_wrong.sum())
    message = "; ".join(reasons)
    if is_overflow.any():
        worst = int(np.argmin(np.where(is_overflow, np.abs(x), np.inf)))
        message = f"{form}: {_describe_overflow(computed, expected, is_overflow, worst)}"
    if num_wrong and worst is not None:
        got = float(computed[worst].to(torch.float64))
        message = f"{form}: {got:.9g} at x = {x[worst]:.9g}, where {true[worst]:.9g} is true"
    if bias is not None:
        num_wrong, message = bias.points, f"{form}: {_describe_bias(bias)}"
    bound_ulp = None if worst is None else float(expected.allowance[worst] / ulp_size(true[[worst]], expected.dtype)[0])
    return FormResult(
        form=form,
        max_ulp=float(ulp.max(initial=0.0)),
        mean_ulp=float(ulp.mean()) if ulp.size else 0.0,
        max_absolute=float(absolute.max(initial=0.0)),
        at=None if worst is None else float(x[worst]),
        bound_ulp=bound_ulp,
        bound_absolute=None if worst is None else float(expected.allowance[worst]),
        used=_bound_share(absolute, expected.allowance),
        wrong=num_wrong,
        known=int(is_excused.sum()),
        differ=differ,
        message=message,
        overflows=bool(is_overflow.any()),
    )


def _excused(
    is_bad: NDArray[np.bool_], computed: Tensor, expected: Expected
) -> tuple[NDArray[np.bool_], list[str], NDArray[np.bool_]]:
    """Where a bad value is known or overflows, the reasons in words, and where it overflows, far out as well."""
    values = computed.detach().to(torch.float64).numpy()
    is_expected_departure = ~np.isfinite(values)
    if expected.emulated is not None:
        # A quotient by what overflowed is finite, and wrong: rounding every step to the type overflows as well.
        with np.errstate(invalid="ignore"):
            is_expected_departure |= np.abs(values - expected.emulated) <= ALIKE * np.abs(values)
    is_excused, reasons = np.zeros_like(is_bad), []
    for why, is_at in expected.excuses.items():
        is_excused_here = is_bad & is_at & is_expected_departure & ~is_excused
        if is_excused_here.any():
            is_excused |= is_excused_here
            reasons.append(why)
    is_overflow = np.zeros_like(is_bad)
    if expected.overflows is not None:
        is_overflow = is_bad & expected.overflows & is_expected_departure
        is_overflow &= bool((is_overflow & ~is_excused).any())
    return is_excused | is_overflow, reasons, is_overflow


def _describe_overflow(computed: Tensor, expected: Expected, is_overflow: NDArray[np.bool_], first: int) -> str:
    x = expected.x
    places = x[is_overflow]
    first_place, last = np.abs(places).min(), np.abs(places).max()
    name = "x" if places.min() > 0 else "-x" if places.max() < 0 else "|x|"
    # Further out the true values may be beyond the largest number as well: then infinity is right.
    is_beyond = np.isfinite(x) & (np.abs(x) >= last) & ((name == "|x|") | (np.sign(x) == np.sign(places[0])))
    is_open = expected.overflows is not None and bool(expected.overflows[is_beyond].all())
    where = f"from {name} = {first_place:.6g} on" if is_open else f"for {name} from {first_place:.6g} to {last:.6g}"
    return (
        f"overflows in {expected.dtype} {where}: a step is beyond {LARGEST[expected.dtype]:.6g}, the largest "
        f"number, and {float(computed[first]):.6g} comes out where {expected.true[first]:.6g} is true"
    )


def _one_sided(computed: Tensor, expected: Expected) -> Systematic | None:
    # In float32 the bias of a library's exp is as large as a rounding; in 16 bits it is nothing beside one.
    if expected.emulated is None or expected.dtype == COMPUTED:
        return None
    values = computed.detach().to(torch.float64).numpy()
    # A function that computes in float32 may leave its result there, whatever it was given: that is rounded less.
    dtype = COMPUTED if computed.dtype == torch.float32 else expected.dtype
    with np.errstate(invalid="ignore"):
        return systematic(
            values - nearest(expected.true, dtype),
            values - expected.emulated,
            expected.allowance,
            expected.true,
            expected.x,
            expected.dtype,
            expected.kinks,
        )


def _describe_bias(bias: Systematic) -> str:
    return (
        f"{100 * abs(bias.mean):.2g} % too {'large' if bias.mean > 0 else 'small'} on the average of "
        f"{bias.points:,} points from x = {bias.low:.6g} to {bias.high:.6g}; rounding errors have no such side"
    )


def _bound_share(absolute: Array, allowance: Array) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(absolute > 0, absolute / allowance, 0.0)
    return float(share.max(initial=0.0))


@dataclass(frozen=True, slots=True)
class RowHeader:
    """The part of a row that is known before anything is computed."""

    activation: str
    dtype: str
    pass_: str
    points: int
    against: str


def row_of(header: RowHeader, forms: Iterator[tuple[str, Tensor]], expected: Expected) -> VerifyRow:
    """The row of all forms, each of which gives (form, computed [N]); 'failed' where one cannot be computed."""
    results: list[FormResult] = []
    eager: Tensor | None = None
    try:
        for form, computed in forms:
            eager = computed if eager is None else eager
            results.append(assess_form(form, computed, expected, differing(computed, eager)))
    except Exception as problem:
        return failed(header, problem, results)
    return _worst_row(header, results)


def failed(header: RowHeader, problem: Exception, results: Sequence[FormResult] = ()) -> VerifyRow:
    """The row of what could not be computed."""
    return VerifyRow(
        **asdict(header),
        forms=", ".join(form.form for form in results),
        outcome="failed",
        message=f"{type(problem).__name__}: {_first_lines(problem)}",
    )


def _first_lines(problem: Exception) -> str:
    """The first line of what the error says, and the next while a line ends by announcing it."""
    shown = ""
    for line in filter(None, map(str.strip, str(problem).splitlines())):
        shown = f"{shown} {line}".strip()
        if not line.endswith(":"):
            break
    return shown


def _worst_row(header: RowHeader, results: Sequence[FormResult]) -> VerifyRow:
    worst_form = max(results, key=lambda form: (form.wrong, form.max_ulp))
    overflows = [form for form in results if form.overflows]
    if overflows and not worst_form.wrong:
        worst_form = overflows[0]
    messages = [form.message for form in results if form.wrong] or [worst_form.message]
    return VerifyRow(
        **asdict(header),
        forms=", ".join(form.form for form in results),
        outcome="wrong" if worst_form.wrong else OVERFLOWS if worst_form.overflows else "ok",
        max_error_ulp=worst_form.max_ulp,
        mean_error_ulp=worst_form.mean_ulp,
        max_error=worst_form.max_absolute,
        at=worst_form.at,
        bound_ulp=worst_form.bound_ulp,
        bound_absolute=worst_form.bound_absolute,
        bound_used=max(form.used for form in results),
        wrong=worst_form.wrong,
        known=max(form.known for form in results),
        forms_differ=max(form.differ for form in results),
        differing_forms=", ".join(f"{form.form} {form.differ}" for form in results if form.differ),
        message="; ".join(dict.fromkeys(message for message in messages if message)),
    )
