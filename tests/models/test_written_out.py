"""Activations that a network writes out of elementary functions: exchanged as a whole, or refused."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relubench.activations import build, select
from relubench.errors import ComputeError, UsageError
from relubench.models.external.layer import ExternalNetwork
from relubench.models.external.survey import survey

X = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    def __init__(self, between) -> None:
        super().__init__()
        self.first, self.last, self.between = nn.Linear(8, 8), nn.Linear(8, 10), between

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.between(self.first(x)))


def layer(network: nn.Module, act: str) -> ExternalNetwork:
    return ExternalNetwork(network, survey(network, X, "mine"), build(select([act])[0]), 0, device="cpu", bf16=False)


def in_place(z: Tensor) -> Tensor:
    z.mul_(torch.sigmoid(z))
    return z


WRITTEN = [
    ("hardswish", lambda z: z * F.relu6(z + 3) / 6),
    ("hardswish", lambda z: z * (F.relu6(3 + z) / 6)),
    ("hardswish", lambda z: z * torch.clamp(z / 6 + 0.5, 0, 1)),
    ("hardswish", lambda z: z.add(3).clamp_(0, 6).div_(6).mul(z)),
    ("gelu", lambda z: 0.5 * z * (1 + torch.erf(z / math.sqrt(2)))),
    ("gelu", lambda z: z * 0.5 * (1.0 + torch.special.erf(z * 0.70710678))),
    ("gelu", lambda z: z * (torch.erf(z / torch.tensor(2.0).sqrt()) + 1) / 2),
    ("gelu", lambda z: 0.5 * z * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * torch.pow(z, 3))))),
    ("gelu", lambda z: 0.5 * z * (1 + torch.tanh(z * 0.7978845608 * (1 + 0.044715 * z * z)))),
    ("gelu", lambda z: z / 2 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (z + 0.044715 * z**3)))),
    ("relu6", lambda z: z.clamp(0, 6)),
    ("relu6", lambda z: torch.minimum(F.relu(z), 6 * torch.ones(()))),
    ("relu", lambda z: torch.clamp(z, min=0)),
    ("relu", lambda z: z.clamp_(0)),
    ("relu", lambda z: z * (z > 0)),
    ("relu", lambda z: torch.maximum(z, torch.zeros(1))),
    ("hardtanh", lambda z: torch.clip(z, -1, 1)),
    ("leaky_relu", lambda z: torch.where(z > 0, z, 0.15 * z)),
    ("leaky_relu", lambda z: torch.maximum(z, z / 50)),
    ("elu", lambda z: torch.where(z > 0, z, torch.exp(z) - 1)),
    ("mish", lambda z: z * torch.tanh(torch.log(1 + torch.exp(z)))),
    ("mish", lambda z: z * torch.tanh(torch.log1p(z.exp()))),
    ("mish", lambda z: z * torch.tanh(F.softplus(z))),
    ("silu", lambda z: z / (1 + torch.exp(-z))),
    ("silu", in_place),
    ("softplus", lambda z: torch.log(1 + torch.exp(z))),
]


@pytest.mark.parametrize(("name", "between"), WRITTEN)
def test_it_is_exchanged_as_a_whole(name: str, between):
    network = Net(between)
    (use,) = [one for one in survey(network, X, "mine") if not one.kept]
    assert (use.function, use.name) == (name, name)
    exchanged = layer(network, "abs_tanh")
    torch.testing.assert_close(exchanged.forward(X, training=False), network.last(network.first(X).tanh().abs()))
    z = network.first(X)
    scores = network.last(z.tanh().abs())
    torch.testing.assert_close(exchanged.forward(X, training=True), scores)
    (wanted,) = torch.autograd.grad(scores.sin().sum(), network.first.weight)
    (found,) = torch.autograd.grad(exchanged.y.sin().sum(), network.first.weight)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(("name", "between"), WRITTEN)
def test_its_own_function_in_its_place_gives_the_same(name: str, between):
    act = {"leaky_relu": "max(x, 0.02*x)", "relu6": "min(max(x, 0), 6)", "hardtanh": "min(max(x, -1), 1)"}.get(
        name, name
    )
    network = Net(between)
    # A GELU may be either form; of the leaky ones a slope is in the name.
    tolerance = 2e-3 if name == "gelu" else 0.2 if name == "leaky_relu" else 1e-5
    torch.testing.assert_close(layer(network, act).forward(X, False), network(X), rtol=0, atol=tolerance)


class Block(nn.Module):
    """Twice, in a module of its own, in a residual sum, behind a scale; a gate beside it stays."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        z = 2 * self.inner(x) + 1
        z = z + 0.5 * z * (1 + torch.erf(z / math.sqrt(2)))
        gate = F.relu6(z.mean(-1, keepdim=True) + 3) / 6
        return F.dropout(z, 0.5, self.training, inplace=True) * gate


def test_it_is_found_in_the_midst_of_other_arithmetic():
    blocks = nn.Sequential(nn.Linear(8, 8), Block(), Block(), nn.Linear(8, 10))
    found = survey(blocks, X, "mine")
    assert [use.name for use in found if not use.kept] == ["1.gelu", "2.gelu"]
    assert {use.kept for use in found if use.function == "relu6"} == {"a gate"}
    exchanged = layer(blocks, "gelu")
    exchanged.forward(X, training=True)
    exchanged.forward(X, training=False)
    found_scores = exchanged.forward(X, training=False)
    torch.testing.assert_close(found_scores, blocks.eval()(X))


class Sigmoid6(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + 3) / 6


class Swish6(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.sigmoid = Sigmoid6()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.sigmoid(x)


class Squeezed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True), nn.Linear(8, 8), Sigmoid6())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x.mean(0, keepdim=True))


def test_one_made_of_modules_is_one_and_the_same_module_as_a_gate_stays():
    network = nn.Sequential(nn.Linear(8, 8), Swish6(), Squeezed(), nn.Linear(8, 10))
    found = survey(network, X, "mine")
    assert [use.name for use in found if not use.kept] == ["2.gate.1", "1.hardswish"]
    assert [use.kept for use in found if use.kept] == ["part of a hardswish written out", "a gate"]


def test_it_may_be_kept():
    network = Net(lambda z: F.relu(z.clamp(0, 6) + 1))
    found = survey(network, X, "mine", keep=["relu6"])
    assert [(use.name, use.kept) for use in found] == [("forward", ""), ("relu6", "--keep-act")]


@pytest.mark.parametrize(
    "between",
    [
        lambda z: z * (torch.erf(z) + 1),
        lambda z: z.clamp(0, 5),
        lambda z: z * (z.mean(-1, keepdim=True) + 3).clamp(0, 6).div_(6),
        lambda z: z * z.mean(-1, keepdim=True).add(3).clamp_(0, 6) / 6,
        lambda z: z * (z.flip(0) * 0.2 + 0.5).clamp(0, 1),
        lambda z: z * torch.exp(z.flip(0)),
        lambda z: torch.exp(z) / torch.exp(z).sum(-1, keepdim=True),
        lambda z: torch.log(1 + torch.exp(z)).mul_(z.mean()).exp(),
    ],
)
def test_what_is_no_known_activation_is_refused(between):
    with pytest.raises(UsageError, match="these calls cannot be exchanged"):
        survey(Net(between), X, "mine")


def test_another_path_through_the_network_is_an_error():
    network = Net(lambda z: z.clamp(min=0) if z.mean() < 100 else torch.sqrt(z) + 1)
    exchanged = layer(network, "tanh")
    with torch.no_grad():
        network.first.bias.fill_(1e4)
    with pytest.raises(ComputeError, match="relu in relu was called before training, and not now"):
        exchanged.forward(X, training=True)
