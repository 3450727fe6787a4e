"""Probes on networks whose dead, revived, saturated and cut-off units are known, and on the training they watch."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import Tensor

from relubench.training.images import Images
from relubench.training.population import Population
from relubench.training.probes.slopes import slope_scale, slopes
from specs import digits, runs

SMOOTH_EPS = 1e-3


def population(act: str, *, members: int = 1, **sections: Any) -> Population:
    sections.setdefault("model", {"name": "mlp-2x8", "match": "width"})
    choice, specs = runs(act, seeds=members, **sections)
    return Population(specs, choice, Images.open(digits(), device="cpu", flat=not specs[0].channels))


def shift(one: Population, layer: int, columns: list[int], bias: float) -> None:
    """Put pre-activations of a hidden layer where `bias` says, whatever the image."""
    weight, place = [par for par in one.parameters if par.name.endswith("weight")][layer], f"{layer}.bias"
    offset = next(par for par in one.parameters if par.name == place)
    weight.value[..., columns, :] = 0.0
    offset.value[..., columns] = bias


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize(
    ("act", "dead"),
    [("relu", 3), ("leaky_relu", 0), ("prelu", 0), ("gelu", 3), ("relu6", 3), ("max(0, x)", 3), ("sigmoid", 3)],
)
def test_units_pushed_far_down_are_dead_where_there_is_no_slope(act: str, dead: int, members: int):
    one = population(act, members=members)
    shift(one, 0, [1, 4, 6], -40.0)
    assert one.prober is not None
    one.prober.probe(0)
    for member in one.members:
        first = member.probes[0]
        assert (first.layer, first.units, first.dead, first.idle_columns, first.cut_off) == (1, 8, dead, dead, 0)
        if act in ("leaky_relu", "prelu"):
            assert first.saturated_pct == 0
        else:
            assert first.saturated_pct >= 100 * 3 / 8


def test_slopes_count_from_zero_or_from_a_thousandth_of_the_largest():
    for act, eps in (("relu", 0.0), ("leaky_relu", 0.0), ("maxout", 0.0), ("squared_relu", 0.0), ("hardtanh", 0.0)):
        layer = next(one for one in population(act).layers if one.hidden)
        assert slope_scale(layer, (5, 8)).eps == eps, act
    for act, largest in (("sigmoid", 0.25), ("tanh", 1.0), ("gelu", 1.1289), ("softplus", 0.9975)):
        layer = next(one for one in population(act).layers if one.hidden)
        scale = slope_scale(layer, (5, 8))
        assert scale.eps == pytest.approx(SMOOTH_EPS * largest, rel=1e-3), act
        assert scale.saturated == pytest.approx(10 * scale.eps, rel=1e-3)


@pytest.mark.parametrize("act", ["relu", "gelu", "prelu", "swish", "maxout", "glu", "reglu", "x*sigmoid(1.7*x)"])
def test_slopes_are_autograds(act: str):
    one = population(act)
    layer = next(layer for layer in one.layers if layer.hidden)
    columns = getattr(layer, "activation").inputs_per_unit  # noqa: B009
    z = torch.randn(20, 8 * columns, generator=torch.Generator().manual_seed(1))
    learned = tuple(parameter.value for parameter in layer.parameters)
    x = z.clone().requires_grad_()
    h = getattr(layer, "activation").function(x, learned=learned)  # noqa: B009
    (expected,) = torch.autograd.grad(h.sum(), x)
    value, slope = slopes(layer, z.clone())
    torch.testing.assert_close(value, h.detach())
    torch.testing.assert_close(slope, expected)


def test_a_piece_of_maxout_that_never_wins_is_idle_and_no_unit_dead():
    one = population("maxout", model={"name": "mlp-2x8", "match": "width"})
    # Columns 8 to 15 are the second pieces of units 0 to 7.
    shift(one, 0, [8, 9, 13], -50.0)
    assert one.prober is not None
    one.prober.probe(0)
    first = one.members[0].probes[0]
    assert first.dead == 0
    assert first.idle_columns >= 3
    living = one.prober.probes[0]._count()[1][0][0]
    assert not living[[8, 9, 13]].any()


def test_below_a_dead_layer_every_living_unit_is_cut_off():
    one = population("relu")
    shift(one, 1, list(range(8)), -1.0)
    assert one.prober is not None
    one.prober.probe(0)
    first, second = one.members[0].probes
    assert (second.dead, second.cut_off, second.zeros_pct, second.near_zeros_pct) == (8, 0, 100.0, 100.0)
    assert first.dead is not None
    assert first.cut_off == 8 - first.dead


@pytest.mark.parametrize("sign_flip", [False, True])
def test_half_negated_units_are_as_alive_as_the_others(sign_flip: bool):
    one = population("relu", model={"name": "mlp-2x8", "sign_flip": sign_flip})
    shift(one, 0, [0, 1, 2], -1.0)
    shift(one, 0, [3], 1.0)
    assert one.prober is not None
    one.prober.probe(0)
    first = one.members[0].probes[0]
    assert (first.dead, first.cut_off) == (3, 0)
    assert first.zeros_pct is not None
    assert 100 * 3 / 8 <= first.zeros_pct < 100


def test_died_and_revived_are_told_at_their_epoch_and_the_end_is_confirmed_on_all_images():
    one = population("relu", train={"epochs": 2})
    assert one.prober is not None
    weights = next(par.value for par in one.parameters if par.name == "0.weight")
    offset = next(par.value for par in one.parameters if par.name == "0.bias")
    weights.uniform_(0.0, 0.1, generator=torch.Generator().manual_seed(3))
    offset.zero_()
    offset[0] = -100.0
    one.prober.probe(0)
    offset[0], offset[1], offset[2] = 0.0, -100.0, -100.0
    one.prober.probe(1)
    # Alive for one training image only, which is not among those looked at.
    x, _ = one.data.train_batch(torch.arange(one.data.n_train))
    h = (x @ weights[2]).clone()
    seen = set(one.prober.images.index.tolist())
    order = [place for place in h.argsort(descending=True).tolist() if place not in seen]
    highest_seen = max(float(h[place]) for place in seen)
    assert float(h[order[0]]) > highest_seen
    offset[2] = -(float(h[order[0]]) + highest_seen) / 2
    one.prober.probe(2)
    looks = [look for look in one.members[0].probes if look.layer == 1]
    assert [(look.dead, look.died, look.revived) for look in looks] == [(1, 0, 0), (2, 2, 1), (2, 0, 0)]
    end = one.members[0].dead_units[0]
    assert (end.units, end.candidates, end.dead, end.born_dead, end.eps) == (8, 2, 1, 1, 0.0)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize(
    "sections",
    [
        {"model": {"name": "mlp-2x16", "norm": "batch", "dropout": 0.2, "sign_flip": True}},
        {"model": {"name": "mlp-2x16"}, "train": {"optimizer": "adamw", "lr": 0.01, "l1": 1e-4}},
        {"model": {"name": "cnn"}, "train": {"batch_size": 64}},
    ],
)
def test_the_losses_are_the_same_to_the_bit_with_and_without_probes(sections: dict[str, Any], members: int):
    curves = []
    for probe in ("none", "activations", "all"):
        train = {**sections.get("train", {}), "epochs": 2, "probe": probe}
        if sections["model"]["name"] == "cnn":
            train["epochs"] = 1
        one = population("relu", members=members, **{**sections, "train": train})
        for _ in one.train():
            continue
        curves.append([[asdict(point) for point in member.curve] for member in one.members])
        assert bool(one.members[0].probes) == (probe != "none")
    assert curves[0] == curves[1] == curves[2]


def plain_gradients(one: Population, x: Tensor, y: Tensor) -> tuple[list[float], list[float]]:
    """Of a two-layer relu network, by torch: gradient norms in weights and outputs."""
    w = [par.value.clone().requires_grad_() for par in one.parameters]
    first = torch.relu(x @ w[0].T + w[1])
    second = torch.relu(first @ w[2].T + w[3])
    loss = torch.nn.functional.cross_entropy(second @ w[4].T + w[5], y)
    found = torch.autograd.grad(loss, [w[0], w[2], first, second])
    outputs = [(grad * len(x)).norm(dim=1).mean().item() for grad in found[2:]]
    return [grad.norm().item() for grad in found[:2]], outputs


def test_gradient_norms_are_autograds_and_the_update_ratio_is_the_step_of_sgd():
    one = population("relu", train={"probe": "gradients", "lr": 0.05})
    assert one.prober is not None
    before = [par.value.clone() for par in one.parameters]
    one.prober.probe(0)
    assert all(torch.equal(old, par.value) for old, par in zip(before, one.parameters, strict=True))
    x, y = one.data.train_batch(one.prober.images.index)
    weights, outputs = plain_gradients(one, x, y)
    assert [look.weight_gradient for look in one.members[0].probes] == pytest.approx(weights, rel=1e-4)
    assert [look.activation_gradient for look in one.members[0].probes] == pytest.approx(outputs, rel=1e-4)
    small, _ = plain_gradients(one, x[:10], y[:10])
    expected = [0.05 * grad / one.parameters[2 * place].value.norm().item() for place, grad in enumerate(small)]
    assert [look.update_ratio for look in one.members[0].probes] == pytest.approx(expected, rel=1e-3)


def test_a_collapsed_network_is_all_dead():
    one = population("relu", train={"l1": 100.0, "epochs": 1})
    for _ in one.train():
        continue
    member = one.members[0]
    assert [(end.dead, end.units) for end in member.dead_units] == [(8, 8), (8, 8)]
    assert one.still_at_chance(member)


FIVE = ("relu", "leaky_relu", "gelu", "prelu", "maxout")
FLAT = ("relu", "gelu")
"""Those of them that have no slope far below 0."""


def set_layer(one: Population, layer: int, heights: list[float]) -> None:
    """Give each unit of a hidden layer one pre-activation, whatever the image; every other column of a unit is 0."""
    weight = [par for par in one.parameters if par.name.endswith("weight")][layer]
    offset = next(par for par in one.parameters if par.name == f"{layer}.bias")
    weight.value.zero_()
    offset.value.zero_()
    offset.value[..., : len(heights)] = torch.tensor(heights)


@pytest.mark.parametrize("sign_flip", [False, True])
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("act", FIVE)
def test_dead_died_revived_and_saturated_are_exact_for_each_kind(act: str, members: int, sign_flip: bool):
    one = population(act, members=members, model={"name": "mlp-2x8", "match": "width", "sign_flip": sign_flip})
    assert one.prober is not None
    set_layer(one, 0, [-40.0, 1, 1, 1, 1, 1, 1, 2])
    one.prober.probe(0)
    set_layer(one, 0, [1, -40.0, -40.0, 1, 1, 1, 1, 2])
    one.prober.probe(1)
    for member in one.members:
        before, after = (look for look in member.probes if look.layer == 1)
        flat = act in FLAT
        assert (before.dead, before.died, before.revived) == ((1, 0, 0) if flat else (0, 0, 0))
        assert (after.dead, after.died, after.revived) == ((2, 2, 1) if flat else (0, 0, 0))
        assert before.saturated_pct == (12.5 if flat else 0.0)
        assert after.saturated_pct == (25.0 if flat else 0.0)
        # gelu(-40) is -0.0; a maximum is that of 0 and -40.
        assert before.zeros_pct == (12.5 if act in (*FLAT, "maxout") else 0.0)
        # One column of each maximum is beaten at every image.
        assert before.idle_columns == (8 if act == "maxout" else 1 if flat else 0)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("act", FIVE)
def test_units_that_nobody_hears_are_cut_off_whatever_the_activation(act: str, members: int):
    one = population(act, members=members, model={"name": "mlp-3x8", "match": "width"})
    for layer in range(2):
        set_layer(one, layer, [1.0] * 8)
    weights = [par.value for par in one.parameters if par.name.endswith("weight")]
    weights[1].fill_(0.01)
    weights[2].fill_(0.01)
    weights[3].fill_(0.01)
    # Nobody hears unit 2 of the third layer, and only it would hear unit 5 of the second.
    weights[3][..., :, 2] = 0.0
    weights[2][..., :, 5] = 0.0
    weights[2][..., 2, 5] = 1.0
    assert one.prober is not None
    one.prober.probe(0)
    for member in one.members:
        assert [(look.dead, look.cut_off) for look in member.probes] == [(0, 0), (0, 1), (0, 1)]


def test_a_gradient_below_fifty_layers_of_sigmoid_is_small_and_not_zero():
    one = population("sigmoid", model={"name": "mlp-50x8"}, train={"probe": "gradients"})
    assert one.prober is not None
    one.prober.probe(0)
    norms = [look.activation_gradient for look in one.members[0].probes]
    assert norms[0] is not None
    assert norms[-1] is not None
    # A norm whose squares underflow in float32.
    assert 0 < norms[0] < 1e-23
    assert norms[-1] > 0.1
    weights = [look.weight_gradient for look in one.members[0].probes]
    assert weights[0] is not None
    assert 0 < weights[0] < 1e-23
