"""What is refused before a network is trained through it, what is warned of, and what is recognised."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from relubench.activations import build, check_activation, matched_gain, select
from relubench.errors import UsageError


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("max(0,x)", "relu"),
        ("x*(x>0)", "relu"),
        ("max(0,x)**2", "squared_relu"),
        ("min(max(0,x),6)", "relu6"),
        ("clip(x,-1,1)", "hardtanh"),
        ("1*x", "identity"),
        ("1/(1+exp(-x))", "sigmoid"),
        ("2*sigmoid(2*x)-1", "tanh"),
        ("abs(tanh(x))", "abs_tanh"),
        ("1.7159*tanh(2*x/3)", "lecun_tanh"),
        ("x/(1+abs(x))", "softsign"),
        ("log1p(exp(x))", "softplus"),
        ("log(1+exp(3*x))/3", "softplus:beta=3"),
        ("max(x,0.01*x)", "leaky_relu"),
        ("max(x,0.1*x)", "leaky_relu:negative_slope=0.1"),
        ("where(x>0,x,exp(x)-1)", "elu"),
        ("where(x>0,x,1.5*expm1(x))", "elu:alpha=1.5"),
        ("where(x>0,x,2*expm1(x/2))", "celu:alpha=2"),
        ("0.5*x*(1+erf(x/sqrt(2)))", "gelu"),
        ("0.5*x*(1+tanh(sqrt(2/pi)*(x+0.044715*x**3)))", "gelu:approximate=tanh"),
        ("x*sigmoid(x)", "silu"),
        ("x*clip(x+3,0,6)/6", "hardswish"),
        ("x*tanh(log1p(exp(x)))", "mish"),
        ("x*tanh(softplus(x))", "mish"),
        ("torch.nn:SELU", "selu"),
        ("torch.nn.functional:silu", "silu"),
        ("x*sigmoid(1.7*x)", None),
        ("x*sigmoid(1.00001*x)", None),
        ("torch.nn:PReLU", None),
        ("min(max(0,x),7)", None),
        ("sin(x)", None),
    ],
)
def test_known_activations_are_recognised(text: str, label: str | None):
    choice = select([text])[0]
    found = check_activation(choice)
    assert found.equals == label
    assert found.gain == matched_gain(choice) == matched_gain(build(choice))
    if label is not None:
        assert found.gain == pytest.approx(matched_gain(select([label])[0]), rel=1e-5)


def test_a_table_s_row_does_not_equal_itself():
    assert check_activation(select(["relu"])[0]).equals is None
    assert check_activation(select(["swiglu"])[0]).gain == pytest.approx(1.6765324703)


def test_exact_zeros_are_seen():
    assert check_activation(select(["x*(x>0)"])[0]).exact_zeros
    assert not check_activation(select(["x*sigmoid(x)"])[0]).exact_zeros


def test_overflow_far_out_is_only_warned_of():
    found = check_activation(select(["exp(x)"])[0])
    assert found.gain == pytest.approx(torch.e**-1)
    assert found.warnings == ("not finite in float32 at x = 100, 10000: a network that gets there diverges",)
    assert check_activation(select(["x*sigmoid(1.7*x)"])[0]).warnings == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("log(x)", r"log\(x\) has no finite value at 601 of 1201 points in \[-6, 6\], first at x = -6"),
        ("1/x", "no finite value at 1 of 1201 points .* first at x = 0"),
        ("sqrt(abs(x))", "no finite slope at 1 of 1201 points"),
        ("x*log(abs(x))", "no finite value at 1 of 1201 points"),
        ("exp(exp(exp(exp(x))))", "no finite value"),
        ("x-x+1", "does not depend on x"),
        ("x*0", "does not depend on x"),
        ("sign(x)", "slope 0 everywhere"),
        ("x>0", "passes no gradient"),
        ("torch.nn:Softmax:dim=-1", "when its neighbours or the call change"),
        ("torch.nn.functional:dropout", "when its neighbours or the call change"),
        ("torch.nn:Flatten:start_dim=0", "gives shape .* for shape"),
        ("torch.nn.functional:glu", r"gives shape \(6, 7\) for shape \(6, 14\)"),
        ("torch.nn:LSTM:input_size=14:hidden_size=14", "gives tuple, not a tensor"),
        ("numpy:tanh", "failed on a torch.float64 tensor .* RuntimeError: Can't call numpy"),
    ],
)
def test_refusal(text: str, message: str):
    with pytest.raises(UsageError, match=message):
        check_activation(select([text])[0])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("x.detach() * 2", "passes no gradient"),
        ("x.float().double()", "gives torch.float64 for torch.float32"),
        ("x.undefined()", "failed on a torch.float64 tensor .* AttributeError"),
        ("[x]", "gives list, not a tensor"),
        ("x + torch.randn(())", "when its neighbours or the call change"),
        ("x + x.mean()", "when its neighbours or the call change"),
    ],
)
def test_a_function_that_is_no_activation(body: str, message: str, tmp_path: Path):
    (tmp_path / "mine.py").write_text(f"import torch\ndef f(x):\n    return {body}\n")
    with pytest.raises(UsageError, match=message):
        check_activation(select([f"{tmp_path}/mine.py:f"])[0])


def test_probing_leaves_the_random_numbers_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    check_activation(select(["torch.nn:RReLU"])[0])
    assert torch.equal(torch.rand(1), expected)


def test_a_unit_that_ends_the_program_is_refused(tmp_path: Path):
    (tmp_path / "leaving.py").write_text("import sys\ndef unit(x):\n    sys.exit(3)\n")
    with pytest.raises(UsageError, match=r"leaving\.py:unit failed on a .* SystemExit: 3"):
        check_activation(select([f"{tmp_path / 'leaving.py'}:unit"])[0])


STATEFUL = """
import torch
from torch import nn

class Schedule(nn.Module):
    def __init__(self, late=500):
        super().__init__()
        self.late, self.steps = late, 0
    def forward(self, x):
        self.steps += self.training
        return torch.relu(x) if self.steps < self.late else torch.tanh(x)

class Buffered(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("age", torch.zeros(()))
    def forward(self, x):
        if self.training:
            self.age = self.age + 1e-4
        return torch.tanh(x) if self.age < 1 else x

class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.bits = {"low": False}
        self.inner = Schedule()
    def forward(self, x):
        self.bits["low"] = not self.bits["low"]
        return nn.functional.elu(x)

class Cached(nn.Module):
    def __init__(self):
        super().__init__()
        self.cache, self.last, self.warned = {}, None, False
    def forward(self, x):
        self.warned = True
        self.last = x.detach()
        self.cache[x.shape] = self.cache.get(x.shape, len(self.cache))
        return torch.relu(x)
"""


@pytest.mark.parametrize(
    ("name", "likeness"),
    [
        ("Schedule", "starts as relu, and changes steps in every call"),
        ("Buffered", "starts as tanh, and changes age in every call"),
        ("Inner", "starts as elu, and changes bits in every call"),
        ("Cached", "equals relu"),
    ],
)
def test_it_equals_a_known_one_only_if_it_stays_so(name: str, likeness: str, tmp_path: Path):
    (tmp_path / "mine.py").write_text(STATEFUL)
    found = check_activation(select([f"{tmp_path}/mine.py:{name}"])[0])
    assert found.likeness == likeness
    assert (found.equals is None) == ("equals" not in likeness)
