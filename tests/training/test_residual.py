"""Residual networks: a hundred explicit steps against torch.nn and autograd, for every kind of activation and norm."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from relubench.activations import ACTIVATIONS, ActivationChoice, build
from relubench.errors import UsageError
from relubench.experiments.config import experiment
from relubench.experiments.study import Study
from relubench.models.architecture import matched, parameter_count, parse_model
from relubench.models.random_streams import stream
from relubench.runs.store import Store
from relubench.training.images import Images
from relubench.training.population import Population
from specs import digits, finish, job, runs
from tests.training.test_against_autograd import adopt, batches_of, engine_losses, plain_losses

DEPTH, WIDTH = 4, 42


class Plain(nn.Module):
    """h + f(norm(W h + b)) / sqrt(skips), by autograd; noise from the same stream as the engine's."""

    def __init__(self, choice: ActivationChoice, norm: str, sizes: list[int], seed: int) -> None:
        super().__init__()
        self.activation = build(choice)
        columns = choice.inputs_per_unit
        self.stages = nn.ModuleList()
        inputs = 64
        for size in sizes:
            norms = {"none": nn.Identity, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
            normed = norms[norm](size * columns) if norm != "rms" else nn.RMSNorm(size * columns, eps=1e-5)
            stage = nn.Sequential(nn.Linear(inputs, size * columns), normed)
            for number, value in enumerate(self.activation.learned):
                stage.register_parameter(f"learned-{number}", nn.Parameter(torch.tensor([value])))
            self.stages.append(stage)
            inputs = size
        self.head = nn.Linear(inputs, 10)
        self.generators = [stream(seed, "activation", place) for place in range(len(sizes))]

    def parameters(self, recurse: bool = True):
        """In the engine's order: an activation's own come behind the stage's weights."""
        for stage in self.stages:
            yield from (one for _, part in stage.named_children() for one in part.parameters())
            yield from stage._parameters.values()
        yield from self.head.parameters()

    def forward(self, x: Tensor) -> Tensor:
        for place, stage in enumerate(self.stages):
            z = stage(x)
            noise = None
            if self.activation.draw is not None and self.training:
                noise = self.activation.draw(z.shape, self.generators[place])
            learned = tuple(one for one in stage._parameters.values() if one is not None)
            h = self.activation.function(z, learned=learned, noise=noise)
            x = h if place == 0 else x[:, : h.shape[1]] + h / (len(self.stages) - 1) ** 0.5
        return self.head(x)


def check(act: str, norm: str, members: int, match: str = "width") -> None:
    model = {"name": f"resmlp-{DEPTH}x{WIDTH}", "norm": norm, "match": match}
    choice, specs = runs(act, seeds=members, model=model, train={"lr": 0.02})
    data = Images.open(digits(), device="cpu", flat=True)
    population = Population(specs, choice, data)
    batches = batches_of(data, 10)
    models = [Plain(choice, norm, list(specs[0].hidden), spec.seed) for spec in specs]
    for place, one in enumerate(models):
        adopt(one, population, place if members > 1 else None)
    ours = engine_losses(population, batches)
    for place, one in enumerate(models):
        theirs = plain_losses(one, batches, torch.optim.SGD(list(one.parameters()), lr=0.02))
        torch.testing.assert_close(ours[:, place], torch.tensor(theirs, dtype=torch.float64), rtol=5e-3, atol=5e-4)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("act", ["relu", "tanh", "silu", "prelu", "nrelu", "swiglu", "maxout:pieces=3", "x*tanh(x)"])
def test_every_kind_of_activation(act: str, members: int):
    check(act, "none", members)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("norm", ["batch", "layer", "rms"])
def test_every_norm(norm: str, members: int):
    check("relu", norm, members)


def test_a_matched_gated_network_whose_width_steps_down():
    _, specs = runs("geglu", model={"name": f"resmlp-{DEPTH}x{WIDTH}"})
    assert len(set(specs[0].hidden)) == 2
    check("geglu", "none", 1, match="parameters")
    check("geglu", "batch", 2, match="parameters")


def test_every_plain_activation_is_finite_through_twenty_layers():
    # A square, and a gated activation is one, outgrows any scale of the skips.
    for act in [row.name for row in ACTIVATIONS.values() if row.family != "gated" and "**2" not in row.formula]:
        choice, specs = runs(act, model={"name": "resmlp-20x16", "match": "width"}, train={"lr": 0.01})
        data = Images.open(digits(), device="cpu", flat=True)
        losses = engine_losses(Population(specs, choice, data), batches_of(data, 10)[:3])
        assert torch.isfinite(losses).all(), act


def test_sparsity_is_of_the_activations_not_of_the_sums():
    choice, specs = runs("relu", model={"name": "resmlp-6x16"})
    population = Population(specs, choice, Images.open(digits(), device="cpu", flat=True))
    zeros = population.evaluate("valid", sparsity=True).zeros[0]
    assert len(zeros) == 6
    assert zeros.min() > 0.2


def test_the_skips_have_no_parameters():
    plain = {"inputs_per_unit": 1, "learned": lambda layer, units: 0, "norm": "none"}
    counts = {parameter_count(parse_model(name), (64,), 10, **plain) for name in ("mlp-20x100", "resmlp-20x100")}
    assert len(counts) == 1


@pytest.mark.parametrize("columns", [2, 3])
def test_a_matched_network_steps_down_at_most_once_and_by_one_unit(columns: int):
    arch = matched(
        parse_model("resmlp-20x100"),
        (1, 28, 28),
        10,
        inputs_per_unit=columns,
        learned=lambda layer, units: 0,
        norm="none",
    )
    steps = [before - after for before, after in zip(arch.hidden, arch.hidden[1:], strict=False)]
    assert set(steps) <= {0, 1} and sum(steps) <= 1


def test_linear_regions_are_those_of_plain_networks(tmp_path: Path):
    """Counting stops at a skip: asked for alone they are refused, and with all probes the others are taken."""
    named = {"act": ["relu"], "data": {"name": "digits"}, "model": {"name": "resmlp-3x8"}}
    with pytest.raises(UsageError, match=r"linear regions are those of an mlp .*: resmlp-3x8 is no mlp"):
        Study.open(experiment({**named, "train": {"probe": "regions"}}), runs_dir=tmp_path)
    finish(job("relu", tmp_path, model=named["model"], train={"epochs": 1, "batch_size": 64, "probe": "all"}))
    (result,) = [Store(tmp_path).result(run) for run in Store(tmp_path).ids()]
    assert result is not None and result.outcome != "failed" and result.probes and not result.regions
