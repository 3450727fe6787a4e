"""Formulas: what is accepted means what it says, and everything else is refused at once, in words."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relubench.activations.formulas.evaluator import evaluator
from relubench.activations.formulas.formula import parse_formula
from relubench.activations.formulas.functions import FUNCTIONS
from relubench.activations.formulas.tokens import MAX_CHARACTERS
from relubench.errors import UsageError

X = torch.linspace(-4, 4, 33, dtype=torch.float64)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", X.clone()),
        ("-x + 2*x - 1/4", X - 0.25),
        ("x**2 + 1", X**2 + 1),
        ("(x**2 + 1)**0.5 - 1", torch.sqrt(X**2 + 1) - 1),
        ("sqrt(x**2+1)**-1", (X**2 + 1) ** -0.5),
        ("2**x", 2**X),
        ("e**-x**2", torch.exp(-(X**2))),
        ("pow(x, 3)", X**3),
        ("exp(-abs(x))", torch.exp(-X.abs())),
        ("max(0, x)", X.clamp(min=0)),
        ("max(x, 0.1*x)", torch.where(X > 0, X, 0.1 * X)),
        ("min(x, 1, sin(x))", torch.minimum(X.clamp(max=1), torch.sin(X))),
        ("clip(x, -1, 2)", X.clamp(-1, 2)),
        ("clip(x, -e, x**2)", torch.minimum(X.clamp(min=-math.e), X**2)),
        ("where(x > 0, x, expm1(x))", torch.where(X > 0, X, torch.expm1(X))),
        ("where(x > 0, 1, 2) * x", torch.where(X > 0, X, 2 * X)),
        ("where(1 > 0, x, 2)", X.clone()),
        ("where(0 > 1, x, pi) * x", X * math.pi),
        ("x*(x > 0) + x*(x <= 0)*0.5", torch.where(X > 0, X, 0.5 * X)),
        ("x*((x > 0) + (x > 1))", X * ((X > 0).double() + (X > 1).double())),
        ("x*(-1 < x < 1)", X * ((X > -1) & (X < 1))),
        ("x*(x != 1)*(x == x)*(x >= -1)", X * (X != 1) * (X >= -1)),
        ("sqrt(2/pi)*x", X * math.sqrt(2 / math.pi)),
        ("x*0.5*(1 + erf(x/sqrt(2)))", torch.nn.functional.gelu(X)),
        ("log1p(exp(x))", torch.nn.functional.softplus(X)),
        ("asinh(x) + atan(x) - sign(x)*cos(x)", torch.asinh(X) + torch.atan(X) - torch.sign(X) * torch.cos(X)),
        ("+x - -1", X + 1),
        ("1e-1*x + 1_0", 0.1 * X + 10),
    ],
)
def test_value(text: str, expected: torch.Tensor):
    torch.testing.assert_close(evaluator(parse_formula(text))(X), expected, rtol=1e-12, atol=1e-14)


def torch_s(name: str) -> Callable[..., torch.Tensor] | None:
    # torch's heaviside takes a tensor for what it is at 0.
    places = () if name == "heaviside" else (torch, torch.nn.functional, torch.special)
    return next((found for place in places if (found := getattr(place, name, None)) is not None), None)


@pytest.mark.parametrize("name", [name for name, row in FUNCTIONS.items() if row.counts[0] == 1 and torch_s(name)])
def test_every_function_is_torch_s(name: str):
    x = (X.abs() + 0.1) / 5 if name in ("asin", "acos", "atanh", "erfinv", "logit") else X.abs() + 1
    function = torch_s(name)
    assert function is not None
    torch.testing.assert_close(evaluator(parse_formula(f"{name}(x)"))(x), function(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("text", ["where(x > 0, 1, 2)*x", "x*(x > 0)", "max(x, 0.5)", "pi*x", "where(1>0, 2, x)"])
def test_the_dtype_is_kept(text: str, dtype: torch.dtype):
    assert evaluator(parse_formula(text))(X.to(dtype)).dtype == dtype


def test_gradient():
    x = X.clone().requires_grad_()
    for text in ("x*sigmoid(1.7*x)", "where(x>0.01, x, 0.1*x**3)", "max(x, -1.01, sin(x))", "softplus(x)/(1+x**2)"):
        assert torch.autograd.gradcheck(evaluator(parse_formula(text)), (x,))


@pytest.mark.parametrize("text", ["max(0, x)", "max(x, 0)", "clip(x, 0, 9)"])
def test_the_slope_at_a_tie_with_a_number_is_the_number_s(text: str):
    """As ReLU's f'(0) = 0."""
    x = torch.zeros(1, requires_grad=True)
    evaluator(parse_formula(text))(x).backward()
    assert x.grad is not None and x.grad.item() == 0


def test_nan_passes_through_max_and_min():
    assert evaluator(parse_formula("min(max(x, 0), 1)"))(torch.tensor([math.nan])).isnan().all()


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (" x * sigmoid( 1.7*x ) ", "x*sigmoid(1.7*x)"),
        ("x\n", "x"),
        ("(x)", "x"),
        ("pow(x,2)", "x**2"),
        ("2.0*x", "2*x"),
        (".50*x", "0.5*x"),
        ("+x", "x"),
        ("x--1", "x--1"),
        ("(x+1)*x", "(x+1)*x"),
        ("1e9*x", "1000000000.0*x"),
        ("max( x,0.1 * x)", "max(x,0.1*x)"),
    ],
)
def test_canonical_text(text: str, canonical: str):
    formula = parse_formula(text)
    assert formula.text == canonical
    assert parse_formula(canonical) == formula


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("x.real", "'real' after a dot is not a function", r"x.tanh\(\)"),
        ("x\n+1", r"cannot contain '\\n'", "made of"),
        ("x[0]", r"cannot contain '\['", "made of"),
        ("x['a']", r"cannot contain '\['", "made of"),
        ("x + 'a'", "'a' is not a number", "made of"),
        ("x\0", r"cannot contain '\\x00'", "made of"),
        ("x + y", "'y' is not known", "lambda y"),
        ("sigmiod(x)", "'sigmiod' is not known", "did you mean sigmoid"),
        ("__import__(x)", "'__import__' is not known", "list functions"),
        ("sigmoid + x", "'sigmoid' is a function", r"write sigmoid\(...\)"),
        ("exp(y=x)", r"exp\(\) has no argument 'y' left", r"it is exp\(x\)"),
        ("max(*x)", r"'\*' does not belong here", "made of"),
        ("max(x)", "at least 2 arguments, not 1", r"it is max\(x, y\)"),
        ("exp()", "takes 1 argument, not 0", r"it is exp\(x\)"),
        ("where(x>0, x)", "takes 3 arguments, not 2", r"it is where\(condition, x, y\)"),
        ("not x", "'not' joins conditions only", "where"),
        ("x is 1", "'is' does not belong here", "made of"),
        ("x // 2", "an operation is one of", r"floor\(x\)"),
        ("(x, 1)", "',' does not belong here", "made of"),
        ("x*True", "True is not a number", "made of"),
        ("x*1j", "1j is not a number", "made of"),
        ("x*...", "'...' does not belong here", "made of"),
        ("x*1e999", "a number is too large", "made of"),
        ("x*1" + "0" * 400, "a number is too large", "made of"),
        ("x +", "is not a formula: ", "made of"),
        ("x x", "'x' does not belong here", "made of"),
        ("(x", "brackets or bars do not pair", "needs its"),
        ("x := 1", "does not contain x", "made of"),
        ("x = 1", "does not contain x", "made of"),
        ("x/0", "division by zero", "made of"),
        ("x/(1-1)", "division by zero", "made of"),
        ("x**x", "a power needs a number", r"x\*\*2"),
        ("x**11", "at most 10 in size", "smaller"),
        ("x**-10.5", "at most 10 in size", "smaller"),
        ("x**2**3", "a power of a power", "multiply"),
        ("(x**2)**2", "a power of a power", "multiply"),
        ("(1+x**6)**2", "at most 10 in size", "smaller"),
        ("2**2**x", "a power of a power", "multiply"),
        ("x*9**9**9**9", "a power of a power", "multiply"),
        ("11**x", "above 0 and at most 10", r"exp\(a\*x\)"),
        ("(-2)**x", "above 0 and at most 10", r"exp\(a\*x\)"),
        ("x*(-2)**0.5", "not a finite real number", "another"),
        ("x*0**-1", "not a finite real number", "another"),
        ("pow(x, x)", "a power needs a number", r"x\*\*2"),
        ("exp(2)", "does not contain x", "made of"),
        ("x" + "+x" * 80, "at most 100 numbers", "shorter"),
        ("exp(" * 21 + "x" + ")" * 21, "nests at most 20", "flatter"),
        ("-" * 60 + "x", "nests at most 20", "flatter"),
        ("x" * 501, "at most 500 characters, not 501", "shorter"),
        ("(" * 5000 + "x" + ")" * 5000, "at most 500 characters", "shorter"),
        ("(" * 240 + "x" + ")" * 240, "nests at most 20", "flatter"),
        ("x" + "+1" * 5000, "at most 500 characters", "shorter"),
        ("", "is not a formula", "made of"),
    ],
)
def test_refusal(text: str, message: str, hint: str):
    start = time.process_time()
    with pytest.raises(UsageError, match=message) as refusal:
        parse_formula(text)
    assert time.process_time() - start < 1
    with pytest.raises(AssertionError, match=hint):
        raise AssertionError(refusal.value.hint)
    assert len(refusal.value.message) < 300


@pytest.mark.parametrize("text", ["x*log(0)", "x + sqrt(1-2)", "x + 1/sqrt(0)"])
def test_a_constant_part_that_is_not_finite_is_refused_when_built(text: str):
    with pytest.raises(UsageError, match="is not a finite number"):
        evaluator(parse_formula(text))


def test_a_long_polynomial_is_no_deep_formula():
    text = "+".join(f"0.{power}*x**{power}" for power in range(1, 10)) + "+1" * 20
    assert evaluator(parse_formula(text))(torch.zeros(1)).item() == 20


FRAGMENTS = st.sampled_from(
    [*"x+-*/()<>=!,. 0123e", "**", "pi", "max(", "where(", "exp(", "x)", "x,", "lambda", "[", "'"]
)


@given(st.lists(FRAGMENTS, max_size=40).map("".join) | st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_formula_or_refused(text: str):
    try:
        formula = parse_formula(text)
    except UsageError:
        return
    assert len(formula.text) <= MAX_CHARACTERS
    assert parse_formula(formula.text).text == formula.text


TREES = st.recursive(
    st.sampled_from(["x", "pi", "e", "0.25", "3", "1e-3"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda p: f"({p[0]}){p[1]}({p[2]})"),
        st.tuples(st.sampled_from(["tanh", "exp", "abs", "-", "+", "sigmoid"]), inner).map(lambda p: f"{p[0]}({p[1]})"),
        st.tuples(inner, st.sampled_from(["2", "-1", "0.5"])).map(lambda p: f"sigmoid({p[0]})**{p[1]}"),
        st.tuples(inner, inner, inner).map(lambda p: f"where({p[0]}<{p[1]},{p[2]},max({p[0]},{p[1]}))"),
    ),
    max_leaves=8,
)


@given(TREES)
@settings(max_examples=150, deadline=None)
def test_the_canonical_text_means_the_same(text: str):
    try:
        formula = parse_formula(text)
        function = evaluator(formula)
    except UsageError:
        return
    again = evaluator(parse_formula(formula.text))
    assert torch.equal(function(X).nan_to_num(), again(X).nan_to_num())
