"""The exchange of activations: modules and functions, what stays, what is refused, and what is overwritten in place."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from relubench.activations import build, select
from relubench.errors import ComputeError, UsageError
from relubench.models.external.calls import CallSite
from relubench.models.external.layer import ExternalNetwork
from relubench.models.external.survey import survey

X = torch.rand(4, 8, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Two dense layers with `between` in the middle."""

    def __init__(self, between) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 10)
        self.act = between if isinstance(between, nn.Module) else nn.Identity()
        self.function = self.act if isinstance(between, nn.Module) else between

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


def uses(between) -> list[CallSite]:
    return survey(Net(between), X, "mine")


def layer(network: nn.Module, act: str) -> ExternalNetwork:
    return ExternalNetwork(network, survey(network, X, "mine"), build(select([act])[0]), 0, device="cpu", bf16=False)


MODULES = (
    *(
        nn.ReLU(),
        nn.ReLU(inplace=True),
        nn.ReLU6(),
        nn.LeakyReLU(0.1, True),
        nn.PReLU(),
        nn.RReLU(),
        nn.ELU(),
        nn.SELU(),
    ),
    *(nn.CELU(), nn.GELU(), nn.SiLU(), nn.Mish(), nn.Softplus(), nn.Hardswish(True), nn.Hardtanh(), nn.Tanh()),
    *(
        nn.Tanhshrink(),
        nn.Softsign(),
        nn.Softshrink(),
        nn.Hardshrink(),
        nn.LogSigmoid(),
        nn.Sigmoid(),
        nn.Hardsigmoid(),
    ),
    nn.Threshold(0.1, 0.0),
)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_activation_module_is_exchanged(module: nn.Module):
    network = Net(module)
    assert [(use.kept, use.place) for use in survey(network, X, "mine")] == [("", ("act", 0))]
    with torch.no_grad():
        found = layer(network, "abs_tanh").forward(X, training=False)
        expected = network.last(network.first(X).tanh().abs())
    torch.testing.assert_close(found, expected)


FUNCTIONS = [
    F.relu,
    torch.relu,
    Tensor.relu,
    Tensor.relu_,
    torch.relu_,
    F.silu,
    F.gelu,
    torch.tanh,
    F.tanh,
    Tensor.tanh_,
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__qualname__)
def test_functional_calls_are_exchanged(function):
    network = Net(function)
    (use,) = survey(network, X, "mine")
    assert (use.place, use.aliased) == (("", 0), False)
    with torch.no_grad():
        torch.testing.assert_close(layer(network, "identity").forward(X, False), network.last(network.first(X)))


def test_what_is_overwritten_in_place_and_read_again_is_the_exchanged_value():
    def forward(z: Tensor) -> Tensor:
        F.relu(z, inplace=True)
        return z + 1

    network = Net(forward)
    assert [use.aliased for use in survey(network, X, "mine")] == [True]
    exchanged = layer(network, "silu")
    z = network.first(X)
    torch.testing.assert_close(exchanged.forward(X, training=True), network.last(F.silu(z) + 1))
    torch.testing.assert_close(layer(network, "relu").forward(X, training=True), network(X))
    (expected,) = torch.autograd.grad(network.last(F.silu(z) + 1).sum(), network.first.weight)
    (found,) = torch.autograd.grad(exchanged.y.sum(), network.first.weight)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("gate", [torch.sigmoid, F.hardsigmoid, lambda z: 1 - torch.sigmoid(z)])
def test_gates_stay(gate):
    found = uses(lambda z: F.relu(z) * gate(z.flip(-1))[:, :1].expand(-1, 8))
    assert [(use.function in ("relu",), use.kept) for use in found] == [(True, ""), (False, "a gate")]


def test_a_sigmoid_that_scales_nothing_is_an_activation():
    assert [use.kept for use in uses(lambda z: torch.sigmoid(z) + z)] == [""]


def test_what_gives_the_output_or_knows_no_image_stays():
    class Ends(Net):
        def forward(self, x: Tensor) -> Tensor:
            bias = F.gelu(self.first.bias)
            return torch.sigmoid(self.last(F.relu(self.first(x)) + bias))

    found = survey(Ends(nn.Identity()), X, "mine")
    assert [(use.function, use.kept) for use in found] == [
        ("gelu", "not of the images"),
        ("relu", ""),
        ("sigmoid", "the output"),
    ]


class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return torch.tanh(z)

    @staticmethod
    def backward(ctx, grad):
        return grad * (1 - torch.tanh(ctx.saved_tensors[0]) ** 2)


WEIGHTS = (torch.ones(8, 8), torch.ones(8, 8))

REFUSED = [
    (lambda z: z.mul_(torch.sigmoid(z)).sum(-1, keepdim=True) * torch.erf(z), "erf in forward"),
    (lambda z: torch.tanh(F.softplus(z)), "tanh in forward .call 2. of a result of softplus"),
    (lambda z: z * (F.relu6(z + 2) / 4), "relu6 in forward scaled by a number"),
    (lambda z: z.clamp(min=0.2), "clamp in forward"),
    (lambda z: torch.maximum(z, z.flip(0)), "maximum in forward"),
    (lambda z: torch.where(z > 0, z, 0.1 * z**2), "gt in forward; where in forward"),
    (lambda z: z / (2 + torch.exp(-z)), "exp in forward"),
    (lambda z: z * (1 + torch.erf(z)), "erf in forward"),
    (lambda z: F.glu(torch.cat([z, z], -1)), "glu in forward"),
    (lambda z: torch.rnn_relu_cell(z, z, *WEIGHTS), "rnn_relu_cell in forward"),
    (Own.apply, "tanh in forward without autograd"),
    (lambda z: checkpoint(F.relu, z, use_reentrant=False), "repeated in the backward pass"),
]


@pytest.mark.parametrize(
    ("between", "told"), REFUSED, ids=lambda value: value[:30] if isinstance(value, str) else "network"
)
def test_what_cannot_be_exchanged_is_refused_by_name(between, told: str):
    network = Net(between)
    with pytest.raises(UsageError, match=f"mine: these calls cannot be exchanged: .*{told}"):
        survey(network, X, "mine")


def test_a_network_without_activations_is_refused():
    with pytest.raises(UsageError, match="mine calls no activation that could be exchanged"):
        uses(lambda z: F.softmax(z, -1))


def test_a_scripted_network_is_refused():
    with pytest.raises(UsageError, match="is compiled by TorchScript"):
        survey(torch.jit.script(nn.Sequential(nn.Linear(8, 8), nn.ReLU())), X, "mine")


def test_control_flow_is_followed_and_a_new_path_in_training_is_an_error():
    network = Net(lambda z: F.relu(z) if z.mean() < 100 else F.relu(F.relu(z)))
    exchanged = layer(network, "tanh")
    with torch.no_grad():
        network.first.bias.fill_(1e4)
    with pytest.raises(ComputeError, match=r"relu in forward \(call 2\) was never called before training"):
        exchanged.forward(X, training=True)


def test_a_survey_leaves_the_network_as_it_was():
    network = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.PReLU(), nn.Linear(8, 10))
    network[0].weight.requires_grad_(False)
    before = {name: one.clone() for name, one in network.state_dict().items()}
    survey(network, X, "mine")
    assert all(torch.equal(one, before[name]) for name, one in network.state_dict().items())
    assert [one.requires_grad for one in network.parameters()] == [False, True, True, True, True, True, True]
    assert not any(module._forward_hooks for module in network.modules())
    # The exchanged nn.PReLU's slope and the frozen weight are not trained.
    trained = [one.name for one in layer(network, "prelu").parameters]
    assert trained == ["0.bias", "1.weight", "1.bias", "3.weight", "3.bias", "activation-0.0"]


def test_zeros_are_counted_over_the_exchanged_results():
    exchanged = layer(Net(nn.ReLU()), "relu")
    with torch.no_grad():
        exchanged.forward(X, training=False)
        expected = (F.relu(exchanged.network.first(X)) == 0).double().mean(1).sum()
    assert float(exchanged.zero_counts[0]) == pytest.approx(float(expected))
