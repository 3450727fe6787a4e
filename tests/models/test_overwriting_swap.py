"""Activations that a network writes over their input are exchanged by ones that do the same, to the same bits."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relubench.activations import build, select
from relubench.models.external.layer import ExternalNetwork
from relubench.models.external.survey import survey

X = torch.rand(6, 8, generator=torch.Generator().manual_seed(1)) - 0.5


class Written(nn.Module):
    """Activations in place: behind a norm, of a sum that is used again, and of a result that is then written into."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 10)
        self.norm, self.act = nn.BatchNorm1d(8), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.norm(self.first(x)))
        total = self.second(h) + h
        F.relu(total, inplace=True)
        scaled = self.act(self.second(total) + total)
        return self.last(scaled)


class AlsoChanged(Written):
    """The result of an activation is written into by what follows it."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.norm(self.first(x))).clone()
        z = self.second(h)
        z = torch.sigmoid_(z)
        return self.last(z.mul(2.0).add_(1.0))


def layer_of(kind: type[nn.Module], act: str, *, overwrites: bool) -> ExternalNetwork:
    torch.manual_seed(3)
    network = kind()
    activation = build(select([act])[0])
    layer = ExternalNetwork(network, survey(network, X, "mine"), activation, 0, device="cpu", bf16=False)
    if not overwrites:
        layer.exchange.overwriting = None
    return layer


def gradients(layer: ExternalNetwork) -> list[Tensor]:
    y = layer.forward(X.clone(), training=True)
    return [y, *torch.autograd.grad(layer.y, layer.leaves, torch.ones_like(y))]


@pytest.mark.parametrize("act", ["relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("kind", [Written, AlsoChanged])
def test_outputs_and_gradients_are_the_same_bits_as_of_copies(kind: type[nn.Module], act: str) -> None:
    overwriting, copying = (layer_of(kind, act, overwrites=overwrites) for overwrites in (True, False))
    assert overwriting.exchange.overwriting is not None
    pairs = list(zip(gradients(overwriting), gradients(copying), strict=True))
    assert len(pairs) > 8 and all(torch.equal(mine, other) for mine, other in pairs)
    with torch.no_grad():
        assert torch.equal(overwriting.forward(X.clone(), False), copying.forward(X.clone(), False))
    assert [counts.item() for counts in overwriting.zero_counts] == [counts.item() for counts in copying.zero_counts]


@pytest.mark.parametrize("act", ["gelu", "leaky_relu", "x*tanh(x)"])
def test_what_autograd_cannot_follow_in_place_is_a_copy(act: str) -> None:
    layer = layer_of(Written, act, overwrites=True)
    assert layer.exchange.overwriting is None
    assert all(bool(torch.isfinite(grad).all()) for grad in gradients(layer))


def test_relu_over_its_input_saves_its_storage() -> None:
    """Of a network with its activation in place, the input of relu is not there any more after the forward pass."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last, self.act = nn.Linear(8, 8), nn.Linear(8, 10), nn.ReLU(inplace=True)
            self.seen: list[Tensor] = []

        def forward(self, x: Tensor) -> Tensor:
            z = self.first(x)
            h = self.act(z)
            self.seen = [z, h]
            return self.last(h)

    for overwrites in (True, False):
        layer = layer_of(Net, "relu", overwrites=overwrites)
        layer.forward(X.clone(), training=True)
        z, h = layer.network.seen
        assert (z.data_ptr() == h.data_ptr()) == overwrites
