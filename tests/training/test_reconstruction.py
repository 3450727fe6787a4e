"""Autoencoders and VAEs: their losses by independent formulas, their steps by autograd, their draws, their memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from relubench.models.layers.latent import EVALUATION_DRAWS, Sample
from relubench.models.random_streams import MemberNoise, stream
from relubench.runs.task import task_called
from relubench.training.images import Images
from relubench.training.losses import objective_of
from relubench.training.population import Population
from relubench.training.probes.dead_units import unit_statuses
from specs import check_stopped_run, digits, runs

STEPS, BATCH, LATENTS = 100, 32, 5
TRAIN: dict[str, Any] = {"batch_size": BATCH, "lr": 0.002, "probe": "none"}


def population(model: str, act: str = "tanh", *, seeds: int = 1, train: dict[str, Any] = TRAIN, **more: Any):
    choice, specs = runs(act, seeds=seeds, train=train, model={"name": model, "latent": LATENTS, **more})
    return Population(specs, choice, Images.open(digits(), device="cpu", flat=True))


class PlainVae(nn.Module):
    """A VAE as a user of PyTorch writes it."""

    def __init__(self, act: type[nn.Module], kept: type[nn.Module]) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 24), act(), nn.Linear(24, 16), act())
        self.code = nn.Linear(16, 2 * LATENTS)
        self.decoder = nn.Sequential(nn.Linear(LATENTS, 16), kept(), nn.Linear(16, 24), kept(), nn.Linear(24, 64))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """The negative ELBO of each example, by torch's distributions."""
        mean, log_variance = self.code(self.encoder(x)).chunk(2, dim=-1)
        scale = torch.exp(log_variance / 2)
        logits = self.decoder(mean + scale * noise)
        latents = kl_divergence(Normal(mean, scale), Normal(0.0, 1.0)).sum(dim=-1)
        return latents - Bernoulli(logits=logits, validate_args=False).log_prob(x).sum(dim=-1)


class PlainAutoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        stages = [(64, 24, nn.Tanh), (24, 16, nn.Tanh), (16, LATENTS, nn.Identity)]
        stages += [(LATENTS, 16, nn.Tanh), (16, 24, nn.Tanh), (24, 64, nn.Sigmoid)]
        self.layers = nn.Sequential(*(part for i, o, act in stages for part in (nn.Linear(i, o), act())))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return (self.layers(x) - x).pow(2).mean(dim=-1)


def adopt(model: nn.Module, network: Population, member: int | None) -> None:
    with torch.no_grad():
        for own, other in zip(model.parameters(), network.parameters, strict=True):
            own.copy_((other.value if member is None else other.value[member]).reshape(own.shape))


def batches(data: Images) -> list[Tensor]:
    order = torch.randperm(data.n_train, generator=torch.Generator().manual_seed(5)).repeat(STEPS)
    return [data.train_batch(order[step * BATCH : (step + 1) * BATCH])[0] for step in range(STEPS)]


def plain_losses(model: nn.Module, xs: list[Tensor], seed: int) -> Tensor:
    """The loss of each batch before its step by AdamW; the noise is that of the member's stream."""
    generator = stream(seed, "latent", 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=TRAIN["lr"], weight_decay=0.0)
    losses = []
    for x in xs:
        loss = model(x, torch.empty(len(x), LATENTS).normal_(generator=generator)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.float64)


@torch.no_grad()
def engine_losses(network: Population, xs: list[Tensor]) -> Tensor:
    """The same of the engine's steps [steps, members]."""
    losses, members = [], len(network.members)
    for x in xs:
        network.update.set_factor(1.0)
        x = x.expand(members, *x.shape).contiguous() if network.batched else x
        record = network.train_step(x.clone(), x)
        losses.append(network.objective.total(record, x, torch.float64).reshape(members) / x.shape[-2])
    return torch.stack(losses)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize(
    ("model", "options", "plain"),
    [
        ("vae-24-16", {"act_in": "encoder"}, lambda: PlainVae(nn.Tanh, nn.ReLU)),
        ("autoencoder-24-16", {"output_act": "sigmoid"}, PlainAutoencoder),
    ],
)
def test_a_hundred_steps_are_those_of_a_plain_loop(model: str, options: dict[str, Any], plain: Any, members: int):
    network = population(model, seeds=members, train={**TRAIN, "weight_decay": 0.0}, **options)
    xs = batches(network.data)
    models = [plain() for _ in range(members)]
    for place, made in enumerate(models):
        adopt(made, network, place if members > 1 else None)
    ours = engine_losses(network, xs)
    for place, made in enumerate(models):
        theirs = plain_losses(made, xs, seed=place)
        assert theirs[-1] < 0.9 * theirs[0]
        torch.testing.assert_close(ours[:, place], theirs, rtol=2e-3, atol=2e-5)


def test_the_negative_elbo_is_that_of_the_distributions():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(7, 12, generator=generator, dtype=torch.float64)
    logits, mean, v = (torch.randn(2, 7, n, generator=generator, dtype=torch.float64) * 3 for n in (12, 4, 4))
    expected = kl_divergence(Normal(mean, torch.exp(v / 2)), Normal(0.0, 1.0)).sum(dim=-1)
    expected -= Bernoulli(logits=logits, validate_args=False).log_prob(x).sum(dim=-1)
    losses = objective_of("reconstruction").losses(torch.cat([logits, mean, v], dim=-1), x)
    torch.testing.assert_close(losses, expected)


@pytest.mark.parametrize(("task", "outputs"), [("reconstruction", 18), ("reconstruction-mse", 12)])
def test_the_gradient_is_that_of_the_mean_loss(task: str, outputs: int):
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(7, 12, generator=generator, dtype=torch.float64)
    output = torch.randn(7, outputs, generator=generator, dtype=torch.float64).requires_grad_(True)
    objective = objective_of(task)
    losses = objective.losses(output.unsqueeze(0), x)
    (expected,) = torch.autograd.grad(losses.mean(), output)
    grad, record = objective.gradient(output.detach(), x)
    torch.testing.assert_close(grad, expected)
    torch.testing.assert_close(objective.total(record, x, torch.float64), losses.sum().detach())


def test_chance_is_the_best_constant_image():
    pixels = np.random.default_rng(0).random((50, 6)).astype(np.float32)
    pixels[:, 0] = 0.0
    for name, loss in (
        ("reconstruction", lambda p: -(pixels * np.log(p) + (1 - pixels) * np.log1p(-p)).sum(axis=1)),
        ("reconstruction-mse", lambda p: ((pixels - p) ** 2).mean(axis=1)),
    ):
        chance = task_called(name).chance(pixels)
        best = np.clip(pixels.mean(axis=0), 1e-12, 1 - 1e-12)
        np.testing.assert_allclose(chance, loss(best), rtol=1e-5, atol=1e-6)
        for other in (best * 0.99, best + 0.01):
            assert chance.mean() < loss(np.clip(other, 1e-12, 1 - 1e-12)).mean()


def test_an_evaluated_example_has_one_draw_whatever_its_batch_and_whoever_evaluates():
    def layer(seed: int) -> Sample:
        return Sample(3, MemberNoise([seed], "latent", 0, "cpu"))

    statistics = torch.zeros(EVALUATION_DRAWS + 50, 6)
    whole = layer(1).forward(statistics, training=False)
    parts, other = [], layer(2)
    for start in range(0, len(statistics), 999):
        other.evaluates_from(start)
        parts.append(other.forward(statistics[start : start + 999], training=False))
    assert torch.equal(whole, torch.cat(parts))
    assert torch.equal(whole[:50], whole[EVALUATION_DRAWS:])
    assert abs(float(whole.mean())) < 0.02 and abs(float(whole.std()) - 1) < 0.02


def test_the_stored_losses_are_the_elbo_with_those_draws():
    network = population("vae-24-16", act_in="encoder")
    model = PlainVae(nn.Tanh, nn.ReLU)
    adopt(model, network, None)
    x = next(iter(network.data.slices("test", 10_000)))[0]
    noise = torch.empty(EVALUATION_DRAWS, LATENTS).normal_(generator=stream(0, "latent-evaluation"))[: len(x)]
    scores = network.evaluate("test").scores
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores[0], model(x, noise).detach().numpy(), rtol=1e-4)


@pytest.mark.parametrize("model", ["vae-24-16", "autoencoder-24"])
def test_a_run_that_is_stopped_ends_in_the_same_bytes(model: str, tmp_path: Path):
    sections = {"model": {"name": model}, "train": {"epochs": 3, "batch_size": 32, "probe": "gradients"}}
    check_stopped_run("gelu", tmp_path, 2, **sections)


def test_an_encoder_s_units_are_not_cut_off_by_a_decoder_that_reads_nothing():
    """The divergence of the latents sends them a gradient all the same; an autoencoder's code has no other way."""
    for model, cut_off in (("vae-24-16", False), ("autoencoder-24-16", True)):
        network = population(model)
        reader = next(parameter for parameter in network.parameters if parameter.name == "2.weight")
        reader.value.zero_()
        with_slope = [np.ones((1, shape), dtype=bool) for shape in (24, 16, 16, 24)]
        statuses = unit_statuses(network.layers, with_slope, 1, batched=False)
        assert bool(statuses[1].cut_off.all()) is cut_off and not statuses[2].cut_off.any()


def test_only_the_compared_half_has_the_activation_and_is_narrowed():
    for act_in, places in (("encoder", [0, 1]), ("decoder", [2, 3]), ("both", [0, 1, 2, 3])):
        _, (plain,) = runs("relu", model={"name": "vae-64-48", "act_in": act_in})
        _, (gated,) = runs("swiglu", model={"name": "vae-64-48", "act_in": act_in})
        assert abs(gated.parameters / plain.parameters - 1) < 0.01
        narrowed = [place for place in range(4) if gated.hidden[place] < plain.hidden[place]]
        assert narrowed == places
        network = Population([gated], runs("swiglu")[0], Images.open(digits(), device="cpu", flat=True))
        assert network.parameter_count == gated.parameters
        assert sum(layer.hidden for layer in network.layers) == len(places)


def test_noise_is_in_the_input_alone():
    """A network that is tested under noise is held against the clean image."""
    data = Images.open(digits(), device="cpu", flat=True)
    data.noise, data.reconstructed = 0.5, True
    x, target = next(iter(data.slices("test", 100)))
    data.noise = 0.0
    assert torch.equal(target, next(iter(data.slices("test", len(x))))[0]) and not torch.equal(x, target)
