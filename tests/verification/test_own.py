"""`verify` of users' own: planted errors are found, right functions are not accused, slopes belong to their values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from relubench.activations import ActivationChoice, select
from relubench.activations.definition import Activation, plain
from relubench.cli.app import app
from relubench.verification import check as checking
from relubench.verification import points
from relubench.verification.agreement import backward_pass_of_values
from relubench.verification.judge import VerifyRow
from relubench.verification.rounding_effects import rounding_effect

Function = Callable[[Tensor], Tensor]
TYPES = ("fp32", "fp16", "bf16")


def silu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def rows_of(
    monkeypatch: pytest.MonkeyPatch, function: Function, dtype: str, against: str | None = None
) -> list[VerifyRow]:
    build = checking.build
    own = ActivationChoice(label="own", kind="user", name="own")
    made = Activation(function=plain(function))
    monkeypatch.setattr(checking, "build", lambda choice: made if choice is own else build(choice))
    other = None if against is None else select([against])[0]
    return checking.check(own, dtype, num_points=20_000, against=other)


def off_in_one_type(function: Function, dtype: str, where: Function, change: Function) -> Function:
    """The function with an error that only this type has."""

    def wrong(x: Tensor) -> Tensor:
        h = function(x)
        return torch.where(where(x), change(h.double()).to(h.dtype), h) if x.dtype == points.DTYPES[dtype] else h

    return wrong


@pytest.mark.parametrize(
    ("dtype", "low", "share"), [("bf16", 1.0, 0.02), ("bf16", 2.0**-20, 0.1), ("fp16", -4.0, 0.01), ("bf16", -4.0, 0.2)]
)
def test_a_relative_error_in_one_binade_is_found(
    monkeypatch: pytest.MonkeyPatch, dtype: str, low: float, share: float
) -> None:
    low, high = sorted((low, 2 * low))
    wrong = off_in_one_type(silu, dtype, lambda x: (x > low) & (x < high), lambda h: h * (1 + share))
    forward, _ = rows_of(monkeypatch, wrong, dtype)
    assert forward.outcome == "wrong"


def test_an_error_within_the_bound_that_has_one_side_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve roundings explain several per cent in bf16, but not 1 % upwards at every point of a binade."""

    def long(x: Tensor) -> Tensor:
        for _ in range(4):
            x = x * 1.1 / 1.1 * 1.3
        return x

    forward, _ = rows_of(monkeypatch, long, "bf16")
    assert forward.outcome == "ok"
    wrong = off_in_one_type(long, "bf16", lambda x: (x >= 2) & (x < 4), lambda h: h * 1.01)
    forward, _ = rows_of(monkeypatch, wrong, "bf16")
    assert forward.outcome == "wrong"
    assert "too large on the average of" in forward.message
    assert forward.bound_used is not None
    assert forward.bound_used < 1


@pytest.mark.parametrize("dtype", TYPES)
def test_small_numbers_are_checked(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    tiny = torch.finfo(points.DTYPES[dtype]).tiny
    for where, value in ((lambda x: (x != 0) & (x.abs() < tiny), 1e-6), (lambda x: (x > 0) & (x < 3e-6), 3e-6)):
        wrong = off_in_one_type(silu, dtype, where, lambda h, value=value: torch.full_like(h, value))
        forward, _ = rows_of(monkeypatch, wrong, dtype)
        assert forward.outcome == "wrong"


def with_slope(slope: Callable[[Tensor, Tensor], Tensor]) -> Function:
    """SiLU with a backward pass of its own: slope(x, the right slope)."""

    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return silu(x)

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            gate = torch.sigmoid(x)
            return grad * slope(x, gate + x * gate * (1 - gate))

    return Own.apply


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_wrong_slope_in_every_type_is_found_by_differences(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    forward, backward = rows_of(monkeypatch, with_slope(lambda x, right: right * 1.01), dtype)
    assert (forward.outcome, backward.outcome) == ("ok", "wrong")
    assert "where the differences of its values give" in backward.message


def test_a_right_slope_is_right_and_nan_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    _, backward = rows_of(monkeypatch, with_slope(lambda x, right: right), "bf16")
    assert backward.outcome == "ok", backward
    _, backward = rows_of(monkeypatch, with_slope(lambda x, right: torch.where(x == 2, torch.nan, right)), "bf16")
    assert "slope nan at x = 2" in backward.message


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_a_wrong_slope_in_one_type_is_found(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    kind = points.DTYPES[dtype]
    wrong = with_slope(lambda x, right: (right.double() * 1.01).to(kind) if x.dtype == kind else right)
    _, backward = rows_of(monkeypatch, wrong, dtype)
    assert backward.outcome == "wrong"


def straight(values: Function) -> Function:
    class Straight(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return values(x)

        @staticmethod
        def backward(ctx, grad):
            return grad

    return Straight.apply


def test_a_straight_through_estimator_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    _, backward = rows_of(monkeypatch, straight(torch.sign), "bf16")
    assert backward.outcome == "straight-through"
    assert "a straight-through estimator: its values are flat" in backward.message
    _, backward = rows_of(monkeypatch, straight(torch.relu), "bf16")
    assert backward.outcome == "wrong"
    assert "a straight-through estimator, or a mask that is missing" in backward.message


@pytest.mark.parametrize(
    "label",
    ["x*sigmoid(x)", "x*tanh(softplus(x))", "0.5*x*(1+erf(x/sqrt(2)))", "x/(1+abs(x))", "sin(3*x)", "where(x>0.3,x,0)"],
)
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_right_formulas_are_right(label: str, dtype: str) -> None:
    for row in checking.check(select([label])[0], dtype, num_points=15_000):
        assert row.outcome == "ok", row


@pytest.mark.parametrize(
    ("label", "dtypes"),
    [
        ("sin(30*x)", TYPES),
        ("sin(x+0.3)", TYPES),
        ("cos(17*x)", TYPES),
        ("exp(sin(40*x))", TYPES),
        ("x-floor(9*x+0.3)", TYPES),
        ("where(sin(x+0.7)>0,x,0.1*x)", ("fp32", "bf16")),
        ("sin(x*x)", ("fp32", "bf16")),
        ("sin(1000*x)", ("fp32", "bf16")),
    ],
)
def test_what_a_rounding_moves_by_many_periods_is_right(label: str, dtypes: tuple[str, ...]) -> None:
    """Half a unit in the last place of 2^34 is nearly a whole number of periods: up and down, sin changes little."""
    for dtype in dtypes:
        for row in checking.check(select([label])[0], dtype, num_points=8_000):
            assert row.outcome == "ok", row


@pytest.mark.parametrize(("share", "low"), [(0.01, 2.0**-6), (0.05, 0.125)])
@pytest.mark.parametrize("dtype", TYPES)
def test_what_oscillates_and_is_wrong_at_moderate_x_is_found(
    monkeypatch: pytest.MonkeyPatch, dtype: str, share: float, low: float
) -> None:
    """Where x is rounded by much less than a period, a wrong value is a wrong value."""
    wrong = off_in_one_type(
        lambda x: torch.sin(3 * x + 0.3), dtype, lambda x: (x > low) & (x < 2 * low), lambda h: h * (1 + share)
    )
    forward, _ = rows_of(monkeypatch, wrong, dtype)
    assert forward.outcome == "wrong"


def test_a_constant_is_rounded_to_the_type_of_a_sum_but_not_of_a_product() -> None:
    """PyTorch's kernels for 16 bits take 0.3 in x + 0.3 as the type has it; the bounds know it."""
    for dtype in (torch.float16, torch.bfloat16):
        zeros, ones = torch.zeros(40, dtype=dtype), torch.full((40,), 3.0, dtype=dtype)
        assert (zeros + 0.3).eq(torch.tensor(0.3, dtype=dtype)).all()
        assert (ones * 0.3).eq((ones.double() * 0.3).to(dtype)).all()
    for row in checking.check(select(["0.3+x"])[0], "fp16", num_points=8_000):
        assert row.outcome == "ok", row


def test_what_computes_in_float32_inside_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    for dtype in ("fp32", "bf16"):
        for row in rows_of(monkeypatch, lambda x: torch.nn.functional.gelu(x.float()).type_as(x), dtype):
            assert row.outcome == "ok", row


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("formula", "name"),
    [
        ("x*sigmoid(x)", "silu"),
        ("x*sigmoid(3*x)", "swish:beta=3"),
        ("x*relu6(x+3)/6", "hardswish"),
        ("max(0,x)", "relu"),
    ],
)
def test_the_same_function_as_another_is_right(formula: str, name: str, dtype: str) -> None:
    """With the table's excuses: NaN at infinity, and what overflows far out."""
    for row in checking.check(select([formula])[0], dtype, num_points=15_000, against=select([name])[0]):
        assert (row.outcome, row.against) == ("ok", name), row


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "formula", ["x*sigmoid(x)*where(abs(x-1.5)<0.5, 1.01, 1)", "where(x>0, max(x, 3e-6), x)*sigmoid(x)"]
)
def test_another_function_is_not_taken_for_rounding(formula: str, dtype: str) -> None:
    forward, _ = checking.check(select([formula])[0], dtype, num_points=15_000, against=select(["silu"])[0])
    assert forward.outcome == "wrong"
    assert "another function, not rounding" in forward.message


def test_prints_go_to_stderr(tmp_path: Path) -> None:
    file = tmp_path / "talking.py"
    file.write_text("import torch\nprint('imported')\ndef act(x):\n    print('called')\n    return torch.relu(x)\n")
    for form, parse in (("json", json.loads), ("tsv", str.splitlines)):
        done = CliRunner().invoke(app, ["verify", "--act", f"{file}:act", "--dtype", "bf16", "--format", form, "-q"])
        assert done.exit_code == 0, done.output
        assert parse(done.stdout)
        assert "called" not in done.stdout
        assert "imported" not in done.stdout
        assert "called" in done.stderr


# -- arithmetic that cancels ------------------------------------------------------------------------------------------


def shifted(x: Tensor) -> Tensor:
    return (x + 1.25) - 1.25


def squares(x: Tensor) -> Tensor:
    c = torch.full_like(x, 1.2345678)
    return (x + c) * (x + c) - c * c


def tanh_of_exponentials(x: Tensor) -> Tensor:
    y = x.clamp(-20.0, 20.0)
    return (torch.exp(y) - torch.exp(-y)) / (torch.exp(y) + torch.exp(-y))


def tail_in_float32(x: Tensor) -> Tensor:
    y = x.float()
    return y - torch.tanh(y)


CANCELLING = {function.__name__: function for function in (shifted, squares, tanh_of_exponentials, tail_in_float32)}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["eager", "scripted", "traced"])
@pytest.mark.parametrize("name", CANCELLING)
def test_what_cancels_is_right_as_far_as_its_own_arithmetic_goes(
    name: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 0 the smallest steps do not move 1 + x; in float32 a result is not a multiple of the input's type."""
    function = CANCELLING[name]
    if form != "eager":
        function = torch.jit.script(function) if form == "scripted" else torch.jit.trace(function, torch.rand(7))
    for row in rows_of(monkeypatch, function, "bf16"):
        assert row.outcome == "ok", row.message


@pytest.mark.parametrize("scripted", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_what_cancels_and_is_wrong_is_still_found(scripted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.jit.script(shifted) if scripted else shifted

    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return values(x)

        @staticmethod
        def backward(ctx, grad):
            return 2 * grad

    _, backward = rows_of(monkeypatch, Doubled.apply, "bf16")
    assert backward.outcome == "wrong"
    assert "the differences of its values give 1" in backward.message
    biased = off_in_one_type(values, "bf16", lambda x: (x > 8) & (x < 16), lambda h: h * 1.02)
    forward, _ = rows_of(monkeypatch, biased, "bf16")
    assert forward.outcome == "wrong"


def test_a_result_in_float32_is_still_held_to_its_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    forward, _ = rows_of(monkeypatch, lambda x: silu(x.float()) * (1.02 if x.dtype == torch.bfloat16 else 1), "bf16")
    assert forward.outcome == "wrong"


# -- what leaves the type's range -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "dtype", "pass_", "message"),
    [
        ("cos(x*x)", "fp16", 0, r"overflows in fp16 from \|x\| = 256 on: .*65504, .*and nan comes out"),
        ("x*x*x+300", "fp16", 0, r"overflows in fp16 from -x = 40.3438 on: .*-inf comes out where -65364.2 is true"),
        ("1/(1+1/x**4)", "fp16", 0, r"overflows in fp16 for \|x\| from "),
        ("x*x*x+300", "fp16", 1, ""),
    ],
)
def test_a_step_beyond_the_largest_number_is_no_wrong_value(formula: str, dtype: str, pass_: int, message: str) -> None:
    """Half precision ends at 65,504: 256**2 and 40.32**3 are just above."""
    row = checking.check(select([formula])[0], dtype)[pass_]
    assert row.outcome == ("overflows" if message else "ok"), row
    assert row.wrong == 0 and re.search(message, row.message)


@pytest.mark.slow
def test_an_error_beside_an_overflow_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def squared(x: Tensor) -> Tensor:
        return torch.sin(x * x)

    wrong = off_in_one_type(squared, "fp16", lambda x: (x > 1) & (x < 2), lambda h: h * 1.05)
    forward, _ = rows_of(monkeypatch, wrong, "fp16")
    assert forward.outcome == "wrong"
    small = off_in_one_type(squared, "fp16", lambda x: x > 300, lambda h: h.nan_to_num(0.5))
    forward, _ = rows_of(monkeypatch, small, "fp16")
    assert forward.outcome == "wrong"  # The steps give NaN there, and no half.


def test_the_command_says_what_overflows_and_that_nothing_else_is_wrong(tmp_path: Path) -> None:
    command = ["verify", "--act", "cos(x*x)", "--dtype", "fp16", "--format", "json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert [row["outcome"] for row in json.loads(done.stdout)["rows"]] == ["overflows"] * 2
    assert str(done.exception).startswith("2 of 2 checks overflow")
    assert "Overflows: cos(x*x) (fp16 forward), cos(x*x) (fp16 backward). Nothing else is wrong" in done.stderr


# -- poles, kinks and waves -------------------------------------------------------------------------------------------


def test_beside_a_pole_a_rounding_explains_any_value() -> None:
    """Half a rounding of x + 0.3 moves tan from -314 to -16,434 beside a pole that lies between the two."""
    for row in checking.check(select(["tan(x+0.3)"])[0], "fp32", seed=12, num_points=60_000):
        assert row.outcome == "ok", row
    x = torch.tensor([[-74190.5781]], dtype=torch.float64)
    effect = rounding_effect(lambda chunk: torch.tan(chunk.flatten() + 0.3), x, "fp32")
    assert effect.allowance.isinf().all()
    effect = rounding_effect(lambda chunk: torch.sin(chunk.flatten() * 1.1), x * 1e6, "fp32")
    assert 0 < float(effect.allowance) < 10


@pytest.mark.parametrize("formula", ["log(1+abs(x))*sign(x)", "abs(x)*sign(x)", "sign(x)*sin(abs(x))"])
def test_one_slope_at_a_kink_of_a_step_is_noted_and_not_wrong(formula: str) -> None:
    _, backward = checking.check(select([formula])[0], "bf16")
    assert (backward.outcome, backward.known) == ("ok", 1)
    assert "at x = 0 alone the slope is 0, where that of the values is 1" in backward.message.replace("0.999926", "1")


def shifted_softplus(x: Tensor) -> Tensor:
    return torch.clamp(x, min=0) + torch.log1p(torch.exp(-x.abs()))


def scaled_elu(x: Tensor) -> Tensor:
    return 1.0507009873554805 * torch.where(x > 0, x, 1.6732632423543772 * torch.expm1(x.clamp(max=0)))


@pytest.mark.parametrize(("function", "name"), [(shifted_softplus, "softplus"), (scaled_elu, "selu")])
def test_one_slope_at_a_kink_of_a_step_is_no_other_function(
    monkeypatch: pytest.MonkeyPatch, function: Function, name: str
) -> None:
    _, backward = rows_of(monkeypatch, function, "bf16", against=name)
    assert backward.outcome == "ok" and "at one point alone another slope" in backward.message


def test_slopes_that_are_wrong_at_the_smallest_numbers_are_another_function(monkeypatch: pytest.MonkeyPatch) -> None:
    def flushed(x: Tensor) -> Tensor:
        return torch.where(x.abs() < 6e-5, x * 0, torch.tanh(x))

    _, backward = rows_of(monkeypatch, flushed, "fp16", against="tanh")
    assert backward.outcome == "wrong"


def test_a_slope_that_is_wrong_beside_a_point_or_not_a_number_stays_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    masked = with_slope(lambda x, right: torch.where(x.abs() < 0.1, 0.0, right))
    _, backward = rows_of(monkeypatch, masked, "fp32")
    assert backward.outcome == "wrong"
    undefined = with_slope(lambda x, right: torch.where(x == 0, torch.nan, right))
    _, backward = rows_of(monkeypatch, undefined, "fp32")
    assert backward.outcome == "wrong"


@pytest.mark.parametrize("formula", ["sin(exp(x))", "cos(1000*x**3)", "sin(700*x**3+1)"])
def test_slopes_of_fast_waves_are_not_judged_by_steps_over_many_periods(formula: str) -> None:
    (choice,) = select([formula])
    row = VerifyRow(activation=formula, dtype="bf16", pass_="backward", points=8, forms="eager")
    assert backward_pass_of_values(row, checking.build(choice)).outcome == "ok"


def test_a_wrong_slope_of_a_fast_wave_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wave(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.sin(100 * x)

        @staticmethod
        def backward(ctx, grad):
            return grad * 101 * torch.cos(100 * ctx.saved_tensors[0])

    _, backward = rows_of(monkeypatch, Wave.apply, "fp32")
    assert backward.outcome == "wrong"


@pytest.mark.parametrize("name", ["Normed", "Cumulated", "nothing"])
def test_what_is_no_function_of_each_entry_is_not_judged(name: str, tmp_path: Path) -> None:
    file = tmp_path / "mixing.py"
    file.write_text(
        "import torch\n"
        "def Normed(x): return torch.relu((x - x.mean()) / (x.std() + 1e-5))\n"
        "def Cumulated(x): return torch.cummax(x, dim=-1).values\n"
        "def nothing(x): return None\n"
    )
    rows = checking.check(select([f"{file}:{name}"])[0], "bf16")
    assert [row.outcome for row in rows] == ["failed", "failed"]
    said = "it gives NoneType" if name == "nothing" else "another value when other entries change"
    assert all(said in row.message for row in rows)
