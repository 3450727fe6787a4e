"""Which known function a user's own is: in values, in slopes and in training."""

from __future__ import annotations

from pathlib import Path

import pytest

from relubench.activations import check_activation, matched_gain, select
from relubench.errors import UsageError

SOURCE = """
import torch
import torch.nn.functional as F
from torch import nn

class WrongTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.tanh(x)
    @staticmethod
    def backward(ctx, grad):
        return grad * (1 - torch.tanh(ctx.saved_tensors[0]))

class Off(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return F.softplus(x)
    @staticmethod
    def backward(ctx, grad):
        return grad * torch.sigmoid(ctx.saved_tensors[0]) * 1.01

class HalfWrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return F.leaky_relu(x, 0.1)
    @staticmethod
    def backward(ctx, grad):
        return torch.where(ctx.saved_tensors[0] > 0, grad, 0 * grad)

def quantised(x):
    return x + (torch.round(x * 4) / 4 - x).detach()

def single(x):
    return F.mish(x.float()).to(x.dtype)

class Noisy(nn.Module):
    def forward(self, x):
        return F.elu(x) + (0.1 * torch.randn_like(x) if self.training else 0)

class Annealed(nn.Module):
    def __init__(self):
        super().__init__()
        self.steps = 0
    def forward(self, x):
        self.steps += self.training
        return F.leaky_relu(x, 0.5 / (1 + self.steps))

class Running(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.ones(()))
    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().abs().mean()
        return F.silu(x) * self.mean

class Other(nn.Module):
    def forward(self, x):
        return F.relu(x) if self.training else F.gelu(x)

class Swish(nn.Module):
    def __init__(self, beta=1.0, learned=True):
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(float(beta)), requires_grad=learned)
    def forward(self, x):
        return x * torch.sigmoid(self.beta * x)

class Squashed(nn.Module):
    def __init__(self):
        super().__init__()
        self.raw = nn.Parameter(torch.zeros(1))
    def forward(self, x):
        return x * torch.sigmoid((1 + torch.tanh(self.raw) / 2) * x)

class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.height, self.shift = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))
    def forward(self, x):
        return self.height * torch.tanh(x) + self.shift

slope = nn.Parameter(torch.tensor(0.25))
def stranger(x):
    return torch.where(x > 0, x, slope * x)
"""


@pytest.mark.parametrize(
    ("text", "likeness"),
    [
        ("x*sigmoid(1.702*x)", "equals swish:beta=1.702 with beta fixed, which is Quick GELU"),
        ("x/(1+exp(-2.5*x))", "equals swish:beta=2.5 with beta fixed"),
        ("1.5*silu(x)", "equals 1.5 times silu"),
        ("-2*mish(x)", "equals -2 times mish"),
        ("max(x,0)/3", "equals 0.333333 times relu"),
        ("1.2*max(x,0.3*x)", "equals 1.2 times leaky_relu:negative_slope=0.3"),
        ("clip(x,-2,2)", "equals hardtanh between -2 and 2"),
        ("min(max(0,x),7)", "equals hardtanh between 0 and 7"),
        ("3*tanh(0.5*x)", "equals 3 times tanh of 0.5*x"),
        ("sigmoid(4*x)", "equals sigmoid of 4*x"),
        ("2*x*sigmoid(1.702*x)", "equals 2 times swish:beta=1.702 with beta fixed, which is Quick GELU"),
        ("torch.nn:PReLU", "starts as prelu, and learns as it does"),
        ("torch.nn:PReLU:init=0.1", "starts as prelu:init=0.1, and learns as it does"),
        ("torch.nn:PReLU:num_parameters=12", "starts as prelu:per=unit, and learns as it does"),
        ("torch.nn:RReLU", "is leaky_relu:negative_slope=0.2291667 in evaluation only: in training it draws noise"),
        ("torch.nn:Hardtanh:min_val=-3", "equals hardtanh between -3 and 1"),
        ("x+sin(x)", ""),
        ("max(x,0)+0.001*x", "equals 1.001 times leaky_relu:negative_slope=0.000999001"),
        ("max(x,0)+0.001*x**3", ""),
    ],
)
def test_known_functions_with_other_parameters(text: str, likeness: str):
    found = check_activation(select([text])[0])
    assert found.likeness == likeness
    assert found.equals is None


@pytest.mark.parametrize(
    ("name", "likeness"),
    [
        ("WrongTanh", "has the values of tanh, not its slopes"),
        ("Off", "has the values of softplus, not its slopes"),
        ("HalfWrong", "has the values of leaky_relu:negative_slope=0.1, not its slopes"),
        ("Noisy", "is elu in evaluation only: in training it draws noise"),
        ("Annealed", "is leaky_relu:negative_slope=0.5 in evaluation only: in training it changes from call to call"),
        ("Running", "is silu in evaluation only: in training it changes from call to call"),
        ("Other", "is gelu in evaluation only: in training it is another function"),
        ("Swish", "starts as swish, and learns as it does"),
        ("Swish:beta=1.702", "starts as swish:beta=1.702, and learns as it does"),
        ("Swish:beta=3:learned=False", "equals swish:beta=3 with beta fixed"),
        ("Swish:learned=False", "equals silu"),
        ("Squashed", "starts as silu, and learns 1 number in each layer"),
        ("Scaled", "starts as tanh, and learns 2 numbers in each layer"),
        ("single", "equals mish"),
        ("quantised", ""),
    ],
)
def test_values_slopes_and_training_decide(name: str, likeness: str, mine: Path):
    found = check_activation(select([f"{mine}:{name}"])[0])
    assert found.likeness == likeness
    assert (found.equals is not None) == likeness.startswith("equals") * ("fixed" not in likeness)


@pytest.mark.parametrize("name", ["WrongTanh", "Off", "HalfWrong", "quantised"])
def test_a_slope_that_is_no_derivative_is_warned_of(name: str, mine: Path):
    (warning,) = check_activation(select([f"{mine}:{name}"])[0]).warnings
    assert "its slope is not the derivative of its values: at x = " in warning
    assert "straight-through" in warning


@pytest.mark.parametrize(
    "text", ["abs(x)", "max(x,0.01*x)", "sin(20*x)", "x**3", "exp(x)", "min(max(x,-0.013),0.37)", "torch.nn:SELU"]
)
def test_a_right_slope_is_not(text: str):
    assert not [one for one in check_activation(select([text])[0]).warnings if "derivative" in one]


def test_a_tensor_that_is_no_parameter_is_warned_of(mine: Path):
    (warning,) = check_activation(select([f"{mine}:stranger"])[0]).warnings
    assert (
        "1 number that requires a gradient and is no parameter of a module: it is not trained; make it a parameter"
        in warning
    )


@pytest.mark.parametrize("text", ["tan(x)", "1/(x-0.005)", "1/abs(x-0.505)**0.5", "1/sin(x-0.005)"])
def test_an_integral_that_does_not_converge_gives_no_gain(text: str):
    choice = select([text])[0]
    found = check_activation(choice)
    assert found.gain is None and found.no_gain is not None
    with pytest.raises(UsageError, match=r"does not converge: it is .* on one mesh and .* on one four times as fine"):
        matched_gain(choice)


@pytest.mark.parametrize(
    "text", ["where(x>0.3,x,-1)", "where(x>0.123,2,x)", "sin(300*x)", "tanh(1000*(x-0.3))", "x**9"]
)
def test_jumps_and_waves_have_a_gain(text: str):
    assert check_activation(select([text])[0]).gain == pytest.approx(matched_gain(select([text])[0]))


def test_an_unbounded_second_moment_is_no_refusal():
    found = check_activation(select(["exp(x**2)"])[0])
    assert found.gain is None and found.no_gain is not None and "has no usable gain" in found.no_gain.message
