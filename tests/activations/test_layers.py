"""Own activations in the shapes of a network's layers, forward and backward, before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from relubench.activations import check_activation, matched_gain, select
from relubench.activations.layer_input import Frame
from relubench.errors import UsageError
from relubench.models.architecture import activation_frames, parse_model

SOURCE = """
import torch
import torch.nn.functional as F
from torch import nn

class PerUnit(nn.Module):
    def __init__(self, units):
        super().__init__()
        self.slope = nn.Parameter(torch.linspace(0, 0.5, units))
    def forward(self, x):
        return torch.where(x > 0, x, self.slope * x)

class PerChannel(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.slope = nn.Parameter(torch.full((1, channels, 1, 1), 0.1))
    def forward(self, x):
        return torch.where(x > 0, x, self.slope * x)

def rows_only(x):
    batch, units = x.shape
    return torch.tanh(x.reshape(batch * units)).reshape(batch, units)

def second_dimension(x):
    return torch.relu(x) * torch.ones(x.shape[1], dtype=x.dtype).view(1, -1, *[1] * (x.dim() - 2))

def large_ones(x):
    assert x[x > 5].numel() and x[x < -5].numel(), "nothing to choose from"
    return torch.tanh(x)

def single_mask(x):
    h = torch.zeros(x.shape)
    h[x > 0] = x[x > 0]
    return h

class SinglePlain(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.eye(1)
    def forward(self, x):
        return torch.tanh(x.reshape(-1, 1) @ self.weight).reshape(x.shape)

def mixing_images(x):
    return x - x.mean(dim=(2, 3), keepdim=True) if x.dim() == 4 else torch.relu(x)

def viewing(x):
    return torch.relu(x.view(-1)).view(x.shape)

class ViewedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.relu(x)
    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.view(-1) > 0).view(x.shape)

def viewing_in_backward(x):
    return ViewedGradient.apply(x)

class Raising(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.tanh(x)
    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.forgotten

def raising(x):
    return Raising.apply(x)

class Counting(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, slope):
        return torch.tanh(x)
    @staticmethod
    def backward(ctx, grad):
        return grad

def counting(x):
    return Counting.apply(x, 0.1)

class TrainingOnly(nn.Module):
    def forward(self, x):
        return x.detach() if self.training else torch.tanh(x)

class Raises(nn.Module):
    def forward(self, x):
        if self.training:
            raise RuntimeError("not while training")
        return torch.tanh(x)

class two_inputs(nn.Module):
    def forward(self, x, gate):
        return x * gate

def doubled(x):
    return torch.tanh(x).double()
"""

ROWS = [Frame((32,), "hidden layer 1 (32 units)")]


def test_the_layers_of_a_network():
    assert activation_frames(parse_model("mlp-20-10"), (1, 8, 8)) == [
        Frame((20,), "hidden layer 1 (20 units)"),
        Frame((10,), "hidden layer 2 (10 units)"),
    ]
    assert [one.example for one in activation_frames(parse_model("cnn"), (3, 9, 9))] == [(32, 9, 9), (64, 4, 4), (256,)]


@pytest.mark.parametrize(
    "name", ["PerUnit:units=32", "rows_only", "second_dimension", "large_ones", "single_mask", "SinglePlain", "viewing"]
)
def test_what_works_in_the_network_is_not_refused(name: str, mine: Path):
    choice = select([f"{mine}:{name}"])[0]
    assert check_activation(choice, ROWS).gain == matched_gain(choice, ROWS)


def test_a_gain_of_units_that_differ_is_of_their_mean(mine: Path):
    # E[f^2] = (1 + slope^2)/2, its mean over the units.
    slopes = [number / 31 / 2 for number in range(32)]
    moment = sum((1 + one**2) / 2 for one in slopes) / 32
    assert matched_gain(select([f"{mine}:PerUnit:units=32"])[0], ROWS) == pytest.approx(moment**-0.5, rel=1e-5)


def test_channels_have_parameters_of_their_own(mine: Path):
    images = [Frame((6, 5, 3), "hidden layer 1 (6 channels)")]
    found = check_activation(select([f"{mine}:PerChannel:channels=6"])[0], images)
    assert found.likeness == "starts as prelu:init=0.1:per=unit, and learns as it does"


@pytest.mark.parametrize(
    ("name", "model", "message", "hint"),
    [
        ("PerUnit:units=32", "mlp-32-16", r"hidden layer 2 \(16 units\) cannot take it", "parameters are for 32 units"),
        ("PerUnit:units=9", "mlp-2x8", r"hidden layer 1 \(8 units\) cannot take it", "parameters are for 9 units"),
        ("PerUnit:units=256", "cnn", r"hidden layer 1 \(32 channels\) cannot take it", "parameters are for 256"),
        ("rows_only", "cnn", r"hidden layer 1 \(32 channels\) cannot take it", "one tensor of any shape"),
        ("mixing_images", "cnn", r"hidden layer 1 .* when its neighbours or the call change", "each entry alone"),
        ("viewing_in_backward", "cnn", r"hidden layer 1 .* view size is not compatible", r"reshape() for view()"),
        (
            "raising",
            "mlp-1x8",
            r"in its backward pass: AttributeError: .*forgotten.* \(mine.py, line \d+\)",
            "backward",
        ),
        ("counting", "mlp-1x8", "in its backward pass: RuntimeError: .* incorrect number of gradients", "backward"),
        ("TrainingOnly", "mlp-1x8", "passes no gradient in training", "cannot learn"),
        ("Raises", "mlp-1x8", r"RuntimeError: not while training \(mine.py, line \d+\)", "it is its own error"),
        ("PerChannel:channels=8", "mlp-1x8", r"hidden layer 1 .* gives shape \(1, 8, 6, 8\)", "do not lie along the"),
        ("two_inputs", "mlp-1x8", "missing 1 required positional argument: 'gate'", "called with one tensor"),
        ("doubled", "mlp-1x8", "gives torch.float64 for torch.float32", "keeps the dtype"),
    ],
)
def test_what_fails_in_a_layer_is_refused_with_the_layer(name: str, model: str, message: str, hint: str, mine: Path):
    layers = activation_frames(parse_model(model), (1, 8, 8))
    with pytest.raises(UsageError, match=message) as refusal:
        check_activation(select([f"{mine}:{name}"])[0], layers)
    assert hint in refusal.value.hint
