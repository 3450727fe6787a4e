"""`verify`: the true functions against mpmath, the distance in ulp against exact arithmetic, and planted errors."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor

from relubench.activations import ACTIVATIONS, ActivationChoice, build, select
from relubench.activations.definition import Activation, plain
from relubench.errors import UsageError
from relubench.reports.verification import verification_report
from relubench.verification import check as checking
from relubench.verification import points, truth
from relubench.verification.compare import errors, ulp_size
from relubench.verification.truth import formula_of
from tests.activations.reference import DIFFERENTIATED, GATES, evaluate, function, true_function

PLACES = (-80.0, -30.0, -9.3, -5.5, -2.9, -1.3, -0.4, -1e-5, 1e-5, 0.3, 0.9, 1.7, 3.4, 5.9, 8.2, 19.0, 80.0)


def choice(label: str) -> ActivationChoice:
    return select([label])[0]


def in_float32(label: str) -> tuple[str, dict[str, Any]]:
    """Name and parameters, the numbers as the kernels take them."""
    selected = choice(label)
    numbers = {key: float(np.float32(value)) for key, value in selected.parameters if not isinstance(value, str)}
    return selected.name, {**dict(selected.parameters), **numbers}


@pytest.mark.parametrize("label", [*DIFFERENTIATED, *GATES])
def test_truth_is_mpmaths(label: str) -> None:
    """Value to 11 digits, slope to 9, also where they are tiny."""
    name, parameters = in_float32(label)
    true, f = truth.of_row(ACTIVATIONS[name], parameters), true_function(name, parameters)
    x = np.array(PLACES)
    expected = np.array([float(f(mpmath.mpf(place))) for place in PLACES])
    assert np.allclose(true.value(x), expected, rtol=1e-11, atol=1e-37), label
    slopes = np.array([float(mpmath.diff(f, mpmath.mpf(place), h=mpmath.mpf(10) ** -15)) for place in PLACES])
    assert np.allclose(true.slope(x), slopes, rtol=1e-9, atol=1e-25), label


@pytest.mark.parametrize("name", [row.name for row in ACTIVATIONS.values() if row.truth and row.inputs_per_unit == 1])
def test_the_truth_says_what_the_printed_formula_says(name: str) -> None:
    """Where the formula that people read can be evaluated, at the digits that it prints."""
    row = ACTIVATIONS[name]
    try:
        formula = formula_of(replace(row, truth=""), row.parameters)
    except UsageError:
        assert "," in row.formula or ";" in row.formula, "it says more than a formula"
        return
    for x in (-1.7, -0.3, 0.2, 1.1, 5.0):
        assert float(evaluate(formula, x)) == pytest.approx(float(true_function(name, row.parameters)(x)), rel=1e-4)


@pytest.mark.parametrize("symbol", list(truth.RULES))
def test_the_rules_of_slopes_are_mpmaths(symbol: str) -> None:
    """Value, and slope in each argument, of what a formula may call, also of what no row calls yet."""
    count = len(inspect.signature(truth.RULES[symbol]).parameters)
    for arguments in ((0.7, 0.3, 1.9), (0.4, 2.5, 3.1), (1.6, 0.2, 0.9)):
        value, *slopes = (float(part) for part in truth.RULES[symbol](*map(np.float64, arguments[:count])))
        expected = function(symbol)(*arguments[:count])
        assert value == pytest.approx(float(expected), rel=1e-13)
        for index, slope in enumerate(slopes):
            order = tuple(int(place == index) for place in range(count))
            derivative = mpmath.diff(lambda *at: mpmath.mpf(function(symbol)(*at)), arguments[:count], order)
            assert slope == pytest.approx(float(derivative), rel=1e-12, abs=1e-15), (arguments, index)


def test_at_a_corner_the_slope_is_between_those_beside_it() -> None:
    at_0 = truth.of_row(replace(ACTIVATIONS["relu"], truth="max(x, 0.25*x) + abs(x)"), {}).slope(np.zeros(1))
    assert at_0.tolist() == [0.625]


def test_limits() -> None:
    ends = np.array([-np.inf, np.inf])
    assert truth.of_row(ACTIVATIONS["gelu"], {"approximate": "none"}).value(ends).tolist() == [0.0, np.inf]
    assert truth.of_row(ACTIVATIONS["silu"], {}).slope(ends).tolist() == [0.0, 1.0]
    assert truth.of_row(ACTIVATIONS["softsign"], {}).value(ends).tolist() == [-1.0, 1.0]
    assert np.isnan(truth.of_row(ACTIVATIONS["relu"], {}).value(np.array([np.nan]))).all()


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_ulp_is_the_distance_of_neighbours(dtype: str) -> None:
    kind = points.DTYPES[dtype]
    for value in (1.0, 1.75, 2.0, 3e-5, 1e-7, 700.0):
        x = torch.tensor([value], dtype=kind)
        bits = {2: torch.int16, 4: torch.int32}[kind.itemsize]
        after = (x.view(bits) + 1).view(kind)
        gap = float(after.double() - x.double())
        assert ulp_size(x.double().numpy(), dtype)[0] == gap
        assert errors(after, x.double().numpy(), dtype).ulp[0] == 1.0


def test_overflow_and_classes() -> None:
    largest = float(torch.finfo(torch.float16).max)
    true = np.array([largest * 2, largest, 1.0, np.nan, np.inf, 1.0, 65519.0])
    computed = torch.tensor([np.inf, largest, np.nan, np.nan, largest, np.inf, np.inf], dtype=torch.float16)
    found = errors(computed, true, "fp16")
    assert found.wrong_class.tolist() == [False, False, True, False, True, True, False]
    assert found.ulp[0] == 0.0
    assert 0 < found.ulp[6] <= 1
    # What may be a little more than the largest number may be infinite.
    near = errors(torch.tensor([torch.inf], dtype=torch.float16), np.array([65000.0]), "fp16", 600.0)
    assert not near.wrong_class.any()


def test_points_hold_every_exponent_and_corner() -> None:
    x = points.stratified((2.5,), 0, 100_000)
    bits = x.view(torch.int32).long() & 0xFFFFFFFF
    heads, counts = torch.unique(bits >> 23, return_counts=True)
    assert len(heads) == 512
    assert int(counts.min()) >= 195
    near = np.nextafter(np.float32(2.5), np.float32(3))
    assert all((x == value).any() for value in (2.5, float(near), 0.0, float("inf"), -6.0))
    assert torch.equal(x, points.stratified((2.5,), 0, 100_000)) or x.isnan().any()
    assert len(points.every_pattern(torch.bfloat16).view(torch.int16).unique()) == 65536


def planted(monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[Activation], Activation]) -> ActivationChoice:
    """The activation with an error in it."""
    wrong = change(build(choice(name)))
    monkeypatch.setattr(checking, "build", lambda one: wrong)
    return choice(name)


def one_ulp_up(f: Callable[[Tensor], Tensor], where: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def function(z: Tensor) -> Tensor:
        h = f(z)
        up = torch.nextafter(h, torch.full_like(h, torch.inf))
        return torch.where(where(z), up, h)

    return function


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["relu", "hardtanh", "leaky_relu"])
def test_a_planted_ulp_is_found(monkeypatch: pytest.MonkeyPatch, name: str, dtype: str) -> None:
    f = build(choice(name)).function
    wrong = one_ulp_up(f, lambda z: (z > 0.25) & (z < 0.3))
    one = planted(monkeypatch, name, lambda right: replace(right, function=plain(wrong)))
    forward, _ = checking.check(one, dtype, num_points=60_000)
    assert (forward.outcome, forward.wrong > 0) == ("wrong", True)
    assert forward.at is not None
    assert 0.25 < forward.at < 0.3
    assert "eager: " in forward.message
    assert forward.max_error_ulp is not None
    assert forward.max_error_ulp <= 1.5


def test_a_wrong_branch_of_a_gradient_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def gradient(grad: Tensor, h: Tensor, dim: int = -1, /) -> Tensor:
        return torch.where(h >= 0, grad, 0.0)

    one = planted(monkeypatch, "relu", lambda right: replace(right, gradient=gradient))
    _, backward = checking.check(one, "bf16")
    assert backward.outcome == "wrong"
    assert "where 0 is true" in backward.message


@pytest.mark.parametrize("end", [float("inf"), float("-inf")])
def test_a_nan_at_infinity_is_found(monkeypatch: pytest.MonkeyPatch, end: float) -> None:
    def function(z: Tensor) -> Tensor:
        return torch.where(z == end, torch.nan, torch.relu(z))

    one = planted(monkeypatch, "relu", lambda right: replace(right, function=plain(function)))
    forward, _ = checking.check(one, "fp16")
    assert (forward.outcome, forward.wrong, forward.at) == ("wrong", 1, end)


def test_a_form_that_differs_from_the_others_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def out(z: Tensor, out: Tensor, dim: int = -1, /) -> Tensor:
        return torch.clamp_min(z, 2.0**-60, out=out)

    one = planted(monkeypatch, "relu", lambda right: replace(right, out=out))
    forward, _ = checking.check(one, "bf16")
    assert forward.outcome == "wrong"
    assert forward.message.startswith("into storage: ")
    assert forward.forms_differ > 0
    assert forward.differing_forms.startswith("into storage ")
    report = verification_report([forward.to_json()], device="cpu", torch="2", compiled=False)
    assert any("other bits than the eager form somewhere" in note for note in report.note_texts)
    assert any("into storage (relu)" in note for note in report.note_texts)


def test_known_departures_are_named_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a kernel has them depends on the processor: they are planted here, and may be absent."""

    def departing(z: Tensor) -> Tensor:
        h = torch.nn.functional.gelu(z.double()).to(z.dtype)
        h = torch.where(z > torch.finfo(z.dtype).max * 0.75, torch.inf, h)
        return torch.where(z == -torch.inf, torch.nan, h)

    def right(z: Tensor) -> Tensor:
        return torch.where(z == -torch.inf, 0.0, torch.nn.functional.gelu(z.double()).to(z.dtype))

    one = planted(monkeypatch, "gelu", lambda gelu: replace(gelu, function=plain(departing), out=None))
    forward, _ = checking.check(one, "bf16")
    assert (forward.outcome, forward.known) == ("ok", 65)
    assert "NaN at an infinity" in forward.message
    assert "far out, where a power or a multiple of x" in forward.message
    none = planted(monkeypatch, "gelu", lambda gelu: replace(gelu, function=plain(right), out=None))
    forward, _ = checking.check(none, "bf16")
    assert (forward.outcome, forward.known, forward.message) == ("ok", 0, "")


def test_a_formula_is_compared_with_itself_and_with_another() -> None:
    forward, backward = checking.check(choice("x*sigmoid(1.7*x)"), "fp32", num_points=30_000)
    assert (forward.against, backward.against) == ("itself in float64", "itself in float64")
    naive, _ = checking.check(choice("log(1+exp(x))"), "fp16")
    assert naive.outcome == "overflows"
    assert "overflows in fp16 from x = 11.0938 on" in naive.message
    assert "inf comes out where 11.0938 is true" in naive.message
    same, _ = checking.check(choice("max(0,x)"), "fp16", against=choice("relu"))
    assert (same.outcome, same.against) == ("ok", "relu")
    other, _ = checking.check(choice("max(0,x)"), "fp16", against=choice("gelu"))
    assert other.outcome == "wrong"
