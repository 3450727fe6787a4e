"""RBMs of a few units against exact enumeration, numerical integration and scikit-learn."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate
from sklearn.neural_network import BernoulliRBM
from torch import Tensor

from relubench.models.random_streams import stream
from relubench.training.pretraining.rbm import ContrastiveDivergence, Rbm
from relubench.training.pretraining.units import HIDDEN, VISIBLE

TYPES = [("bernoulli", "bernoulli"), ("bernoulli", "bipolar"), ("bipolar", "bipolar"), ("bernoulli", "stepped")]
VALUES = {"bernoulli": (0.0, 1.0), "bipolar": (-1.0, 1.0)}
COPIES = 25
"""Copies of a stepped unit that are enumerated: the next one is on with probability e^-20."""


def machine(visible: str, hidden: str, inputs: int, units: int, scale: float = 0.6) -> Rbm:
    draw = stream(5, "test")
    parts = [
        torch.empty(shape, dtype=torch.float64).normal_(std=scale, generator=draw)
        for shape in ((units, inputs), (units,), (inputs,))
    ]
    return Rbm(*parts, hidden=hidden, visible=visible)


def states(kind: str, count: int) -> Tensor:
    return torch.tensor(list(itertools.product(VALUES[kind], repeat=count)), dtype=torch.float64)


def unit_sum(hidden: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """log of the sum over a hidden unit's states of exp(x h), and the mean of h, summed state by state."""
    if hidden in VALUES:
        h = torch.tensor(VALUES[hidden], dtype=torch.float64)
        weight = torch.exp(x[..., None] * h)
        return weight.sum(-1).log(), (weight * h).sum(-1) / weight.sum(-1)
    copies = x[..., None] - torch.arange(1, COPIES + 1) + 0.5
    return torch.log1p(copies.exp()).sum(-1), torch.sigmoid(copies).sum(-1)


def exact(rbm: Rbm, visible: str, hidden: str) -> tuple[Tensor, Tensor]:
    """All visible states [S, I] and their probabilities [S], from the energy alone."""
    v = states(visible, rbm.weight.shape[1])
    x = v @ rbm.weight.t() + rbm.hidden_bias
    return v, torch.softmax(v @ rbm.visible_bias + unit_sum(hidden, x)[0].sum(-1), 0)


@pytest.mark.parametrize(("visible", "hidden"), TYPES)
def test_conditionals_and_free_energy_are_those_of_enumeration(visible: str, hidden: str):
    rbm = machine(visible, hidden, 8, 4)
    v, p = exact(rbm, visible, hidden)
    x = v @ rbm.weight.t() + rbm.hidden_bias
    assert torch.allclose(rbm.hidden_mean(v), unit_sum(hidden, x)[1], atol=2e-5)
    # Probabilities of whole states: exp(-F) up to a constant.
    assert torch.allclose(torch.softmax(-rbm.free_energy(v), 0), p, rtol=2e-4)
    h = torch.rand(3, 4, dtype=torch.float64)
    a = h @ rbm.weight + rbm.visible_bias
    assert torch.allclose(rbm.visible_mean(h), torch.sigmoid(a) if visible == "bernoulli" else torch.tanh(a))


@pytest.mark.parametrize(("visible", "hidden"), [*TYPES, ("bernoulli", "nrelu")])
def test_the_free_energys_gradient_is_minus_the_statistics(visible: str, hidden: str):
    """d log Z / d W = E[h v], which makes the gradient of the log-likelihood a difference of two means."""
    rbm = machine(visible, hidden, 6, 3)
    v = states(visible, 6)
    for one in (rbm.weight, rbm.hidden_bias, rbm.visible_bias):
        one.requires_grad_()
    log_z = torch.logsumexp(-free_energy(rbm, visible, v), 0)
    grads = torch.autograd.grad(log_z, (rbm.weight, rbm.hidden_bias, rbm.visible_bias))
    with torch.no_grad():
        p = torch.softmax(-free_energy(rbm, visible, v), 0)
        # NReLU stands for the stepped unit: its free energy is that one's.
        mean = HIDDEN["stepped" if hidden == "nrelu" else hidden].mean(v @ rbm.weight.t() + rbm.hidden_bias)
        expected = ((p[:, None] * mean).t() @ v, p @ mean, p @ v)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(grads, expected, strict=True))


def free_energy(rbm: Rbm, visible: str, v: Tensor) -> Tensor:
    """As the Rbm's, differentiable where scipy's dilogarithm is not."""
    x = v @ rbm.weight.t() + rbm.hidden_bias
    kind = next(name for name, units in HIDDEN.items() if units is rbm.hidden)
    total = unit_sum("stepped" if kind == "nrelu" else kind, x)[0].sum(-1)
    return VISIBLE[visible].energy(v, rbm.visible_bias) - total


def transition(rbm: Rbm, visible: str, hidden: str) -> Tensor:
    """T [S, S]: the probability of one visible state after another, over all hidden states (NReLU: by quadrature)."""
    v = states(visible, rbm.weight.shape[1])
    x = v @ rbm.weight.t() + rbm.hidden_bias
    found = torch.zeros(len(v), len(v), dtype=torch.float64)
    for start in range(len(v)):
        units = [hidden_law(hidden, float(one)) for one in x[start]]
        for combination in itertools.product(*units):
            h = torch.tensor([value for value, _ in combination], dtype=torch.float64)
            weight = math.prod(p for _, p in combination)
            a = h @ rbm.weight + rbm.visible_bias
            on = torch.sigmoid(a) if visible == "bernoulli" else torch.sigmoid(2 * a)
            found[start] += weight * torch.where(v > 0, on, 1 - on).prod(-1)
    return found


def hidden_law(hidden: str, x: float) -> list[tuple[float, float]]:
    """Values of a hidden unit with their probabilities; NReLU's density at quadrature nodes, and its atom at 0."""
    if hidden in VALUES:
        values = VALUES[hidden]
        weights = [math.exp(x * one) for one in values]
        return [(value, weight / sum(weights)) for value, weight in zip(values, weights, strict=True)]
    spread = math.sqrt(1 / (1 + math.exp(-x)))
    atom = 0.5 * math.erfc(x / spread / math.sqrt(2))
    nodes, weights = np.polynomial.legendre.leggauss(12)
    low, high = max(0.0, x - 6 * spread), x + 6 * spread
    h = 0.5 * (high - low) * (nodes + 1) + low
    density = np.exp(-0.5 * ((h - x) / spread) ** 2) / (spread * math.sqrt(2 * math.pi))
    inside = [(float(a), float(b)) for a, b in zip(h, 0.5 * (high - low) * weights * density, strict=True)]
    return [(0.0, atom), *inside]


@pytest.mark.parametrize(
    ("visible", "hidden"), [("bernoulli", "bernoulli"), ("bipolar", "bipolar"), ("bernoulli", "nrelu")]
)
@pytest.mark.parametrize("k", [1, 4])
def test_the_expected_step_is_that_of_the_exact_chain(visible: str, hidden: str, k: int):
    """CD-k's mean change of the weights, over 200,000 chains, against the k-th power of the transition matrix."""
    rbm = machine(visible, hidden, 4, 2)
    v, _ = exact(rbm, visible, "stepped" if hidden == "nrelu" else hidden)
    start = v[5:6]
    end = torch.linalg.matrix_power(transition(rbm, visible, hidden), k)[5]
    assert end.sum() == pytest.approx(1.0, abs=1e-5)
    mean = rbm.hidden_mean
    expected = mean(start).t() @ start - (end[:, None] * mean(v)).t() @ v
    chains, rounds = 20_000, 10
    found, generator = torch.zeros_like(expected), stream(1, "chains")
    for _ in range(rounds):
        rows, h = rbm.statistics(start.expand(chains, -1), k=k, sampled=True, generator=generator)
        found += h.t() @ rows / (chains * rounds)
    assert torch.allclose(found, expected, atol=6e-3)


@pytest.mark.parametrize(
    ("visible", "hidden"), [("bernoulli", "bernoulli"), ("bernoulli", "bipolar"), ("bipolar", "bipolar")]
)
def test_as_k_grows_the_expected_step_becomes_the_likelihoods_gradient(visible: str, hidden: str):
    rbm = machine(visible, hidden, 6, 4)
    v, p = exact(rbm, visible, hidden)
    data = torch.softmax(torch.linspace(0, 3, len(v), dtype=torch.float64), 0)
    mean = rbm.hidden_mean(v)
    gradient = ((data - p)[:, None] * mean).t() @ v
    step = transition(rbm, visible, hidden)
    gaps = []
    for k in (1, 2, 8, 64):
        end = data @ torch.linalg.matrix_power(step, k)
        gaps.append(float((((data - end)[:, None] * mean).t() @ v - gradient).abs().max()))
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 1e-3
    assert gaps[-1] < 1e-6


def test_active_nrelu_units_come_near_to_the_stepped_likelihoods_gradient():
    """NReLU stands for stepped units where it is active; around 0 its mean is lower (0.28 against 0.69 at 0)."""
    rbm = machine("bernoulli", "nrelu", 4, 2, scale=0.3)
    rbm.hidden_bias += 5.0
    v, p = exact(rbm, "bernoulli", "stepped")
    data = torch.softmax(torch.linspace(0, 3, len(v), dtype=torch.float64), 0)
    mean = rbm.hidden_mean(v)
    gradient = ((data - p)[:, None] * HIDDEN["stepped"].mean(v @ rbm.weight.t() + rbm.hidden_bias)).t() @ v
    end = data @ torch.linalg.matrix_power(transition(rbm, "bernoulli", "nrelu"), 64)
    found = ((data - end)[:, None] * mean).t() @ v
    assert torch.allclose(found, gradient, atol=0.05 * float(gradient.abs().max()))


@pytest.mark.parametrize("x", [-8.0, -1.0, 0.0, 0.7, 3.0, 20.0])
def test_nrelu_mean_and_samples_agree_with_numerical_integration(x: float):
    spread = math.sqrt(1 / (1 + math.exp(-x)))

    def density(h: float) -> float:
        return math.exp(-0.5 * ((h - x) / spread) ** 2) / (spread * math.sqrt(2 * math.pi))

    top = max(x, 0.0) + 12 * spread
    mean, second = (integrate.quad(lambda h, n=n: h**n * density(h), 0.0, top, limit=200)[0] for n in (1, 2))
    at = torch.full((200_000,), x, dtype=torch.float64)
    assert HIDDEN["nrelu"].mean(at[:1]).item() == pytest.approx(mean, rel=1e-6, abs=1e-12)
    drawn = HIDDEN["nrelu"].sample(at, at, stream(0, "test"))
    assert drawn.mean().item() == pytest.approx(mean, abs=0.01)
    assert drawn.var().item() == pytest.approx(second - mean**2, abs=0.02)


@pytest.mark.parametrize("x", [-6.0, 0.0, 0.4, 5.3, 40.0])
def test_stepped_samples_have_the_mean_and_variance_of_their_copies(x: float):
    copies = 1 / (1 + np.exp(-(x - np.arange(1, 100) + 0.5)))
    at = torch.full((100_000,), x, dtype=torch.float64)
    drawn = HIDDEN["stepped"].sample(at, at, stream(0, "test"))
    assert drawn.mean().item() == pytest.approx(copies.sum(), abs=0.02)
    assert drawn.var().item() == pytest.approx((copies * (1 - copies)).sum(), abs=0.03)
    assert HIDDEN["stepped"].mean(at[:1]).item() == pytest.approx(copies.sum(), abs=2e-5)


def test_gaussian_visible_units_have_a_mean_and_a_quadratic_energy():
    rbm = machine("gaussian", "bernoulli", 1, 2)
    h = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert torch.allclose(rbm.visible_mean(h), rbm.weight[:1] + rbm.visible_bias)
    # p(v) is the mixture over hidden states of unit normals: exp(-F) integrates to the sum of their masses.
    total = integrate.quad(
        lambda v: math.exp(-rbm.free_energy(torch.tensor([[v]], dtype=torch.float64)).item()), -30, 30
    )
    masses = 0.0
    for state in itertools.product((0.0, 1.0), repeat=2):
        one = torch.tensor(state, dtype=torch.float64)
        pull = float(one @ rbm.weight[:, 0])
        masses += math.exp(float(one @ rbm.hidden_bias) + pull * float(rbm.visible_bias) + 0.5 * pull**2)
    assert total[0] == pytest.approx(masses * math.sqrt(2 * math.pi), rel=1e-6)


def test_free_energy_and_conditionals_agree_with_scikit_learn():
    rbm = machine("bernoulli", "bernoulli", 12, 7)
    peer = BernoulliRBM(7)
    x = (torch.rand(20, 12, generator=stream(2, "test")) < 0.5).double().numpy()
    peer.fit(x)
    peer.components_ = rbm.weight.numpy()
    peer.intercept_hidden_, peer.intercept_visible_ = rbm.hidden_bias.numpy(), rbm.visible_bias.numpy()
    v = torch.from_numpy(x)
    assert np.allclose(rbm.free_energy(v).numpy(), peer._free_energy(x))
    assert np.allclose(rbm.hidden_mean(v).numpy(), peer.transform(x))


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_an_update_is_the_formula(momentum: float):
    """Two steps with decay, against the same written out."""
    rbm = machine("bernoulli", "bernoulli", 6, 4)
    w, b, c = (one.clone() for one in (rbm.weight, rbm.hidden_bias, rbm.visible_bias))
    speeds = [torch.zeros_like(one) for one in (w, b, c)]
    rate, decay = 0.3, 0.01
    trainer = ContrastiveDivergence(rbm, rate=rate, momentum=momentum, weight_decay=decay, generator=stream(3, "test"))
    twin = stream(3, "test")
    v0 = (torch.rand(5, 6, generator=stream(4, "test")) < 0.5).double()
    for _ in range(2):
        h0 = torch.sigmoid(v0 @ w.t() + b)
        drawn = (torch.empty_like(h0).uniform_(generator=twin) < h0).double()
        v1 = torch.sigmoid(drawn @ w + c)
        h1 = torch.sigmoid(v1 @ w.t() + b)
        gradients = ((h0.t() @ v0 - h1.t() @ v1) / 5 - decay * w, (h0 - h1).mean(0), (v0 - v1).mean(0))
        speeds = [momentum * speed + one for speed, one in zip(speeds, gradients, strict=True)]
        w, b, c = (one + rate * speed for one, speed in zip((w, b, c), speeds, strict=True))
        error = trainer.step(v0)
        assert error.item() == pytest.approx(float((v0 - v1).square().sum()))
    assert all(
        torch.allclose(a, z) for a, z in zip((rbm.weight, rbm.hidden_bias, rbm.visible_bias), (w, b, c), strict=True)
    )
