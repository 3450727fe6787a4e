"""Linear pieces along a line against a brute-force count on a dense grid."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from relubench.errors import UsageError
from relubench.experiments.study import Study
from relubench.training.images import Images
from relubench.training.population import Population
from relubench.training.probes.linear_regions import LinearMap, LinearStage, count_pieces, linear_stages, pieces_along
from relubench.training.probes.table import why_no_regions
from specs import digits, runs

STEPS = 200_001


def network(act: str, *, members: int = 1, **model: Any) -> Population:
    choice, specs = runs(act, seeds=members, model={"name": "mlp-2x10", **model})
    one = Population(specs, choice, Images.open(digits(), device="cpu", flat=True))
    for par in one.parameters:
        if par.name.endswith("bias"):
            par.value.uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(1))
    return one


def outputs(stages: list[LinearStage], x: Tensor) -> Tensor:
    for stage in stages:
        x = x @ stage.weight.T + stage.bias if isinstance(stage, LinearMap) else stage.function(x)
    return x


def brute_force(stages: list[LinearStage], a: Tensor, b: Tensor) -> int:
    """Pieces of the outputs sampled on a grid: runs of equal differences, each bend between two grid points."""
    t = torch.linspace(0, 1, STEPS, dtype=torch.float64)[:, None]
    y = outputs(stages, a.double() + t * (b.double() - a.double()))
    slope = (y[1:] - y[:-1]) * (STEPS - 1)
    bent = ((slope[1:] - slope[:-1]).abs().amax(dim=1) > 1e-6 * slope.abs().max()).tolist()
    # A bend inside a grid step changes two differences in a row: one run of changes is one bend.
    return 1 + sum(now and not before for before, now in zip([False, *bent], bent, strict=False))


@pytest.mark.parametrize(
    ("act", "model"),
    [
        ("relu", {}),
        ("leaky_relu:negative_slope=0.2", {}),
        ("prelu", {"norm": "batch"}),
        ("relu6", {"sign_flip": True}),
        ("hardtanh", {"dropout": 0.1}),
        ("maxout:pieces=3", {"match": "width"}),
    ],
)
def test_pieces_are_those_of_a_brute_force_count(act: str, model: dict[str, Any]):
    one = network(act, **model)
    stages = linear_stages(one.layers, act, None)
    x, _ = one.data.train_batch(torch.arange(6))
    found = [count_pieces(stages, 3 * a, 3 * b) for a, b in zip(x[::2], x[1::2], strict=True)]
    assert found == [brute_force(stages, 3 * a, 3 * b) for a, b in zip(x[::2], x[1::2], strict=True)]
    assert max(found) > 3


def test_every_piece_has_the_networks_own_values_and_slopes():
    one = network("relu", members=2)
    stages = linear_stages(one.layers, "relu", 1)
    x, _ = one.data.train_batch(torch.arange(2))
    pieces = pieces_along(stages, x[0], x[1])
    middle = (pieces.cuts[1:] + pieces.cuts[:-1]) / 2
    at = x[0].double() + middle[:, None] * (x[1] - x[0]).double()
    here = pieces.value + pieces.slope * ((pieces.cuts[1:] - pieces.cuts[:-1]) / 2)[:, None]
    torch.testing.assert_close(here, outputs(stages, at))
    logits = at.float().expand(2, *at.shape)
    for layer in one.layers:
        logits = layer.forward(logits, training=False)
    torch.testing.assert_close(here.float(), logits[1], rtol=1e-4, atol=1e-4)


def test_a_linear_network_is_one_piece_and_so_is_a_dead_one():
    for act, bias in (("identity", 0.0), ("relu", -1e3)):
        one = network(act)
        next(par for par in one.parameters if par.name == "0.bias").value.fill_(bias)
        x, _ = one.data.train_batch(torch.arange(2))
        assert count_pieces(linear_stages(one.layers, act, None), x[0], x[1]) == 1


@pytest.mark.parametrize(
    ("act", "model", "why"), [("gelu", "mlp-2x8", "gelu is not piecewise linear"), ("relu", "cnn", "cnn is no mlp")]
)
def test_where_there_are_no_regions_to_count_they_are_refused(act: str, model: str, why: str):
    _, specs = runs(act, model={"name": model})
    assert why_no_regions(specs[0]) == why
    from relubench.experiments.config import experiment

    config = experiment({"act": [act], "model": {"name": model}, "train": {"probe": "regions"}, "device": "cpu"})
    with pytest.raises(UsageError, match=why):
        Study.open(config)
