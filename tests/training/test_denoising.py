"""The denoising autoencoder's step against autograd, its noises, and its targets."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from relubench.activations import build, select
from relubench.models.layers.activation import AnalyticActivation
from relubench.models.layers.base import SignFlip
from relubench.models.layers.dense import Linear
from relubench.models.optimizers import Parameter
from relubench.models.random_streams import stream
from relubench.training.images import Images
from relubench.training.pretraining.dae_layer import DaeLayer, initial_bias, target_map
from relubench.training.pretraining.denoising import RECONSTRUCTIONS, Autoencoder, corrupt
from relubench.training.pretraining.greedy import LayerTraining
from relubench.training.pretraining.source import Statistics
from specs import digits, runs

COSTS = {
    "cross-entropy": lambda a, t: F.binary_cross_entropy_with_logits(a, t, reduction="sum"),
    "scaled": lambda a, t: F.binary_cross_entropy_with_logits(a, t, reduction="sum"),
    "softplus": lambda a, t: (F.softplus(a) - t).square().sum(),
    "linear": lambda a, t: (a - t).square().sum(),
    "rectifier": lambda a, t: (F.relu(a) - t).square().sum(),
}
BATCH, INPUTS, UNITS, RATE = 5, 6, 4, 0.1


def draw(name: str, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float64).normal_(generator=stream(7, name))


@pytest.mark.parametrize("reconstruction", COSTS)
@pytest.mark.parametrize("act", ["relu", "tanh", "sigmoid", "softplus"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_step_is_gradient_descent_on_the_cost(reconstruction: str, act: str, tied: bool):
    weight, bias, out = draw("w", UNITS, INPUTS), draw("b", UNITS), draw("c", INPUTS)
    decoder = None if tied else draw("d", UNITS, INPUTS)
    noisy, target = draw("x", BATCH, INPUTS), draw("t", BATCH, INPUTS).sigmoid()
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    leaves = [one.clone().requires_grad_() for one in (weight, bias, out, *([] if decoder is None else [decoder]))]
    function = build(select([act])[0]).function
    h = function(noisy @ leaves[0].t() + leaves[1]) * signs
    a = h @ (leaves[0] if tied else leaves[3]) + leaves[2]
    cost = (COSTS[reconstruction](a, target) + 0.3 * h.abs().sum()) / BATCH
    grads = torch.autograd.grad(cost, leaves)
    affine = Linear(Parameter("0.weight", weight, True), Parameter("0.bias", bias, False), False, False, "torch")
    encoder = [affine, AnalyticActivation(build(select([act])[0]), -1), SignFlip(signs)]
    model = Autoencoder(encoder, decoder, out, reconstruction=reconstruction, rate=RATE, l1=0.3)
    with torch.no_grad():
        error = model.step(noisy, target)
    assert error.item() > 0
    for now, leaf, grad in zip((weight, bias, out, decoder), leaves, grads, strict=False):
        assert now is not None
        assert torch.allclose(now, leaf - RATE * grad, atol=1e-12)


def test_noises_lose_the_share_that_is_asked_for():
    x = torch.full((200, 500), 0.5)
    masked = corrupt(x, "masking", 0.25, 0.0, 1.0, stream(0, "test"))
    assert set(masked.unique().tolist()) == {0.0, 0.5}
    assert (masked == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    salted = corrupt(x, "salt-pepper", 0.25, -1.0, 1.0, stream(0, "test"))
    shares = [(salted == value).float().mean().item() for value in (-1.0, 0.5, 1.0)]
    assert shares == pytest.approx([0.125, 0.75, 0.125], abs=0.01)
    blurred = corrupt(x, "gaussian", 0.25, 0.0, 1.0, stream(0, "test"))
    assert (blurred - x).std().item() == pytest.approx(0.25, abs=0.01)
    assert torch.equal(corrupt(x, "gaussian", 0.0, 0.0, 1.0, stream(0, "test")), x)


@pytest.mark.parametrize(
    ("reconstruction", "low", "high", "flipped", "expected"),
    [
        ("softplus", 0.0, 3.0, True, [3.0, 1.5]),
        ("scaled", 0.0, 3.0, True, [1.0, 0.5]),
        ("cross-entropy", -1.0, 1.0, False, [2.0, 1.25]),
        ("linear", -1.0, 1.0, False, [3.0, 1.5]),
    ],
)
def test_targets_are_unflipped_and_brought_into_reach(
    reconstruction: str, low: float, high: float, flipped: bool, expected: list[float]
):
    """The input is what the network sees: 3, and 1.5 whose unit is flipped where `flipped`."""
    signs = torch.tensor([1.0, -1.0]) if flipped else None
    seen = torch.tensor([[3.0, -1.5 if flipped else 1.5]])
    found = target_map(reconstruction, Statistics(torch.zeros(2), torch.ones(2), low, high), signs)(seen)
    assert found[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("reconstruction", list(RECONSTRUCTIONS))
def test_decoders_start_at_the_targets_mean(reconstruction: str):
    mean = torch.tensor([0.001, 0.2, 0.5, 0.999])
    assert torch.allclose(RECONSTRUCTIONS[reconstruction].mean(initial_bias(reconstruction, mean)), mean, atol=1e-6)
    off = RECONSTRUCTIONS[reconstruction].mean(initial_bias(reconstruction, torch.zeros(1)))
    assert 0.0 <= off.item() <= 0.0011


def test_a_flipped_layers_decoder_starts_at_the_mean_of_its_targets():
    """On codes of which half have a minus: before training, nothing is reconstructed as the mean."""
    choice, (spec,) = runs(
        "relu", model={"name": "mlp-48-32", "sign_flip": True}, pretrain={"methods": ["dae"], "epochs": 1, "lr": 0.01}
    )
    data = Images.open(digits(), device="cpu", flat=True)
    first = LayerTraining(spec, choice, data, 0, [])
    second = LayerTraining(spec, choice, data, 1, [first.model.network()])
    model = second.model
    assert isinstance(model, DaeLayer)
    targets = torch.cat([model.target(x) for x in second.source.slices("train")])
    assert targets.min() >= 0.0
    found = model.autoencoder.output.mean(model.autoencoder.bias)
    assert torch.allclose(found, targets.mean(dim=0).clamp(min=0.001), atol=1e-5)
