"""Networks that write into what their activations read or gave: safe behind any activation that is put there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relubench.activations import build, select
from relubench.models.external.layer import ExternalNetwork, Form
from relubench.models.external.survey import survey

X = torch.rand(4, 8, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Two dense layers with `between` in the middle."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.between = nn.Linear(8, 8), nn.Linear(8, 10), between

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.between(self.first(x)))


def dropped(z: Tensor, training: bool = True) -> Tensor:
    return F.dropout(F.silu(z), 0.5, training, inplace=True)


def added(z: Tensor) -> Tensor:
    h = F.gelu(z)
    h += 0.5
    return h


def through_a_view(z: Tensor) -> Tensor:
    h = F.silu(z)
    h.view(-1).mul_(2.0)
    return h


def zeroed(z: Tensor) -> Tensor:
    h = F.silu(z)
    h[:, 0] = 0.0
    return h


def input_written(z: Tensor) -> Tensor:
    h = F.relu(z)
    z -= 1.0
    return h + z


def product_written(z: Tensor) -> Tensor:
    h = z * torch.sigmoid(z)
    h += z.detach()
    return h


def into_out(z: Tensor) -> Tensor:
    h = F.silu(z)
    return h.add_(z).div_(2.0)


WRITING = [dropped, added, through_a_view, zeroed, input_written, product_written, into_out]
ACTS = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "silu": F.silu, "identity": lambda z: z}


@pytest.mark.parametrize("act", [*ACTS, "elu", "x*tanh(x)", "exp(-x*x)"])
@pytest.mark.parametrize("between", WRITING, ids=lambda one: one.__name__)
def test_a_step_of_training_and_an_evaluation(between: Callable[[Tensor], Tensor], act: str) -> None:
    network = Net(between)
    layer = ExternalNetwork(network, survey(network, X, "mine"), build(select([act])[0]), 0, device="cpu", bf16=False)
    layer.forward(X, training=True)
    grads = torch.autograd.grad(layer.y.sum(), layer.leaves)
    assert all(bool(torch.isfinite(one).all()) for one in grads)
    with torch.no_grad():
        layer.forward(X, training=False)


def expected(between: Callable[[Tensor], Tensor], f: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """What `between` computes with f in the place of its own activation, written without writing."""
    h = f(z)
    match between.__name__:
        case "added":
            return h + 0.5
        case "through_a_view":
            return 2.0 * h
        case "zeroed":
            return torch.cat([torch.zeros_like(h[:, :1]), h[:, 1:]], 1)
        case "input_written":
            return h + (z - 1.0)
        case "product_written":
            return h + z.detach()
        case _:
            return (h + z) / 2.0


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("between", WRITING[1:], ids=lambda one: one.__name__)
def test_scores_and_gradients_are_those_of_the_same_without_writing(
    between: Callable[[Tensor], Tensor], act: str
) -> None:
    network = Net(between)
    layer = ExternalNetwork(network, survey(network, X, "mine"), build(select([act])[0]), 0, device="cpu", bf16=False)
    layer.forward(X, training=True)
    other = Net(lambda z: expected(between, ACTS[act], z))
    y = other(X)
    torch.testing.assert_close(layer.y, y)
    mine = torch.autograd.grad(layer.y.square().sum(), list(network.parameters()))
    theirs = torch.autograd.grad(y.square().sum(), list(other.parameters()))
    for one, two in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, two)


def test_nothing_is_copied_where_nothing_is_written() -> None:
    network = Net(lambda z: F.silu(z) + 0.5)
    (use,) = survey(network, X, "mine")
    assert (use.overwritten, use.input_overwritten, use.aliased) == (False, False, False)


PRODUCTS = [
    (lambda z: z * torch.sigmoid(z), "sigmoid"),
    (lambda z: torch.sigmoid(z).mul(z), "sigmoid"),
    (lambda z: torch.mul(z.sigmoid(), z), "sigmoid"),
    (lambda z: z * torch.sigmoid(1.702 * z), "sigmoid"),
    (lambda z: z * F.hardsigmoid(z), "hardsigmoid"),
    (lambda z: z * torch.tanh(F.softplus(z, beta=2.0)), "tanh"),
]


@pytest.mark.parametrize(("between", "function"), PRODUCTS, ids=[str(one) for one in range(len(PRODUCTS))])
def test_a_product_with_its_own_input_is_exchanged_as_one(between: Callable[[Tensor], Tensor], function: str) -> None:
    check_product(Net(between), function, merged=())


def test_a_mish_is_exchanged_as_a_product_where_the_calls_of_a_module_are_one_place() -> None:
    check_product(Net(lambda z: z * torch.tanh(F.softplus(z))), "tanh", merged=("",))


def check_product(network: Net, function: str, merged: Sequence[str]) -> None:
    uses = survey(network, X, "mine", merged=merged)
    assert [(use.function, use.product) for use in uses if not use.kept] == [(function, True)]
    layer = ExternalNetwork(
        network, uses, build(select(["relu"])[0]), 0, device="cpu", bf16=False, form=Form(merged=tuple(merged))
    )
    with torch.no_grad():
        torch.testing.assert_close(layer.forward(X, False), network.last(F.relu(network.first(X))))
        assert float(layer.zero_counts[0]) > 0
