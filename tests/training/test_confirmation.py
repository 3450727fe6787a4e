"""Candidates for dead units looked at again: the same ones live as in a plain pass over every layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from relubench.training.images import Images
from relubench.training.population import Population
from relubench.training.probes.confirmation import confirm_dead_units
from relubench.training.probes.dead_units import by_member, columns_with_slope
from relubench.training.probes.slopes import slope_scale, slopes
from specs import digits, runs

NETWORKS: list[tuple[str, int, dict[str, Any]]] = [
    ("relu", 1, {"name": "mlp-3x24"}),
    ("relu", 2, {"name": "mlp-3x24"}),
    ("gelu", 1, {"name": "mlp-3x24", "norm": "batch"}),
    ("maxout", 1, {"name": "mlp-2x24"}),
    ("prelu", 1, {"name": "mlp-2x24"}),
    ("relu", 1, {"name": "cnn"}),
]


@pytest.mark.parametrize(("act", "members", "model"), NETWORKS)
@torch.no_grad()
def test_the_same_columns_live_as_in_a_plain_pass(act: str, members: int, model: dict[str, Any]) -> None:
    choice, specs = runs(act, seeds=members, model=model)
    one = Population(specs, choice, Images.open(digits(), device="cpu", flat=not specs[0].channels))
    for parameter in one.parameters:
        # Far down, so that many units live at a few images only and some at none.
        if parameter.name.endswith("bias"):
            parameter.value.uniform_(-6.0, -0.3, generator=torch.Generator().manual_seed(1))
    x, _ = one.data.train_batch(torch.arange(300))
    h = x.expand(members, *x.shape) if one.batched else x
    living, eps, start = [], 0.0, h
    for layer in one.layers:
        if not layer.hidden:
            h = layer.forward(h, training=False)
            continue
        eps = slope_scale(layer, h.shape).eps
        h, slope = slopes(layer, h)
        living.append(columns_with_slope(by_member(slope).abs(), eps))
    doubted = [torch.zeros_like(live) for live in living]
    for live in doubted:
        # Some columns are known to live from before, and not looked at.
        live[..., ::3] = True
    expected = [live | known for live, known in zip(living, doubted, strict=True)]
    mixed = any(0 < int((~live).sum()) < live.numel() for live in expected)
    assert mixed == (act != "prelu"), "prelu has a slope everywhere"
    assert confirm_dead_units(one.layers, doubted, start, [eps] * len(doubted))
    for found, true in zip(doubted, expected, strict=True):
        assert torch.equal(found, true)


def test_without_candidates_nothing_is_computed() -> None:
    choice, specs = runs("relu", model={"name": "mlp-2x8"})
    one = Population(specs, choice, Images.open(digits(), device="cpu", flat=True))
    living = [torch.ones(1, 8, dtype=torch.bool) for _ in range(2)]
    assert not confirm_dead_units(one.layers, living, torch.empty(0), [0.0] * len(living))
