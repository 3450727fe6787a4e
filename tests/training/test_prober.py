"""What makes looks cheap changes no number: layers counted together, and units judged without reading every weight."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch

from relubench.models.layers.dense import Linear
from relubench.training.images import Images
from relubench.training.population import Population
from relubench.training.probes import activations
from relubench.training.probes.activation_counts import ActivationCounter, LayerBatch, LayerTrace, join_layers
from relubench.training.probes.dead_units import stage_places, unit_statuses
from relubench.training.probes.slopes import SlopeScale, output_and_trace, slopes
from specs import digits, runs

ROUNDING = 1e-5


def population(act: str, members: int, model: dict[str, Any]) -> Population:
    choice, specs = runs(act, seeds=members, model=model)
    one = Population(specs, choice, Images.open(digits(), device="cpu", flat=not specs[0].channels))
    for number, parameter in enumerate(one.parameters):
        # A different share of zeros and of dead units in each layer.
        if parameter.name.endswith("bias"):
            parameter.value.uniform_(-4.0 / (1 + number), 0.1, generator=torch.Generator().manual_seed(number))
    return one


def activations_of(one: Population) -> activations.ActivationProbe:
    assert one.prober is not None
    (probe,) = one.prober.probes
    assert isinstance(probe, activations.ActivationProbe)
    return probe


def look(one: Population) -> list[list[dict[str, Any]]]:
    assert one.prober is not None
    one.prober.probe(0)
    looks = [[asdict(record) for record in member.probes] for member in one.members]
    return [[{key: one for key, one in record.items() if one is not None} for record in look] for look in looks]


def means_by_hand(one: Population, x: torch.Tensor) -> list[list[float]]:
    """The mean output of each hidden layer, by layer and member."""
    h, found = x.expand(len(one.members), *x.shape) if one.batched else x, []
    for layer in one.layers:
        h = layer.forward(h, training=False)
        if layer.hidden:
            found.append(h.reshape(len(one.members), -1).double().mean(dim=1).tolist())
    return found


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("act", ["relu", "gelu", "maxout"])
def test_layers_counted_together_give_what_each_gives_alone(
    act: str, members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups, found, means = [], [], []
    for most in (activations.JOINED_VALUES, 0):
        monkeypatch.setattr(activations, "JOINED_VALUES", most)
        one = population(act, members, {"name": "mlp-3x24", "match": "width"})
        found.append(look(one))
        assert one.prober is not None
        x, _ = one.data.train_batch(one.prober.images.index)
        groups.append([len(stages) for stages in activations_of(one)._groups_of_layers(x)])
        means = means_by_hand(one, x)
    assert groups == [[3], [1, 1, 1]]
    for member, (together, alone) in enumerate(zip(*found, strict=True)):
        assert len({record["mean"] for record in alone}) == 3, "a layer taken for another would not be seen"
        assert [record["mean"] for record in together] == pytest.approx([layer[member] for layer in means], rel=1e-4)
        for left, right in zip(together, alone, strict=True):
            assert left.pop("quantiles") == pytest.approx(right.pop("quantiles"), rel=ROUNDING), member
            assert left == pytest.approx(right, rel=ROUNDING), member


def test_layers_of_different_shapes_are_not_counted_together() -> None:
    one = population("relu", 1, {"name": "cnn"})
    assert one.prober is not None
    x, _ = one.data.train_batch(one.prober.images.index)
    shapes = [{stage.h.shape for stage in stages} for stages in activations_of(one)._groups_of_layers(x)]
    assert len(shapes) > 1
    assert all(len(some) == 1 for some in shapes)


def test_a_tally_over_several_batches_counts_like_one_over_all() -> None:
    scale = SlopeScale(1, 0.01, 0.0)
    z = torch.randn(2, 300, 40, generator=torch.Generator().manual_seed(2))
    z[1, :, 3] = -1.0
    # Alive in the first batch only.
    z[0, 130:, 5] = -1.0
    h, slope = z.relu(), (z > 0).float()
    whole, parts = (ActivationCounter(LayerBatch(z.reshape(2, -1), h, slope)) for _ in range(2))
    whole.add(LayerBatch(z, h, slope), scale)
    for part in (slice(0, 130), slice(130, 260), slice(260, 300)):
        parts.add(LayerBatch(z[:, part], h[:, part], slope[:, part]), scale)
    assert torch.equal(whole.with_slope, parts.with_slope)
    assert whole.with_slope.sum().item() == 79
    for row, (one, other) in enumerate(zip(whole.counts(), parts.counts(), strict=True)):
        assert one.zeros_pct == other.zeros_pct == 100.0 * int((h[row] == 0).sum()) / h[row].numel()
        assert one.saturated_pct == other.saturated_pct == one.zeros_pct
        assert one.near_pct == other.near_pct
        assert one.near_pct > one.zeros_pct
        for counted in (one, other):
            assert counted.mean == pytest.approx(float(h[row].double().mean()), rel=ROUNDING)
            assert counted.variance == pytest.approx(float(h[row].double().var(correction=0)), rel=ROUNDING)


@pytest.mark.parametrize("act", ["relu", "gelu", "prelu"])
def test_joined_layers_lie_layer_after_layer_with_the_slopes_of_each(act: str) -> None:
    one = population(act, 1, {"name": "mlp-3x24"})
    hidden = [layer for layer in one.layers if layer.hidden]
    zs = [torch.randn(5, 24, generator=torch.Generator().manual_seed(number)) for number in range(3)]
    layers = []
    for layer, z in zip(hidden, zs, strict=True):
        h, trace = output_and_trace(layer, z.clone())
        output = h.unsqueeze(0)
        layers.append(LayerTrace(layer, z.unsqueeze(0), output, output if trace is h else trace.unsqueeze(0)))
    stage = join_layers(layers)
    for row, (layer, z) in enumerate(zip(hidden, zs, strict=True)):
        h, slope = slopes(layer, z.clone())
        assert torch.equal(stage.z[row], z)
        assert torch.equal(stage.h[row], h)
        assert torch.equal(stage.slope[row], slope)


def cut_off_by_hand(one: Population, living: list[np.ndarray], member: int) -> list[np.ndarray]:
    """Living units that reach no output, of a network with one column a unit, weight by weight."""
    weights = [layer.weight.value for layer in one.layers if isinstance(layer, Linear)][1:]
    found: list[np.ndarray] = []
    reached: list[bool] | None = None
    for weight, live in reversed(list(zip(weights, living, strict=True))):
        w = weight[member] if one.batched else weight
        cut = []
        for unit in range(w.shape[1]):
            ways = [out for out in range(w.shape[0]) if float(w[out, unit]) != 0 and (reached is None or reached[out])]
            cut.append(bool(live[member, unit]) and not ways)
        reached = [bool(live[member, unit]) and not cut[unit] for unit in range(w.shape[1])]
        found.insert(0, np.array(cut))
    return found


@pytest.mark.parametrize("zeros", [0.0, 0.8])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("members", [1, 3])
@torch.no_grad()
def test_units_are_cut_off_as_a_scan_of_every_weight_says(members: int, share: float, zeros: float) -> None:
    one = population("relu", members, {"name": "mlp-3x12"})
    generator = torch.Generator().manual_seed(7)
    for layer in one.layers:
        if isinstance(layer, Linear):
            w = layer.weight.value
            w.mul_(torch.rand(w.shape, generator=generator) >= zeros)
            assert bool((w == 0).any()) == (zeros > 0)
    living = [(torch.rand(members, 12, generator=generator) < share).numpy().copy() for _ in stage_places(one.layers)]
    # Of one member nothing in the last hidden layer lives, of the others what chance says.
    living[-1][0] = False
    statuses = unit_statuses(one.layers, living, 1, one.batched)
    cut = 0
    for member in range(members):
        for standing, live, expected in zip(statuses, living, cut_off_by_hand(one, living, member), strict=True):
            assert standing.cut_off[member].tolist() == expected.tolist()
            assert standing.dead[member].tolist() == (~live[member]).tolist()
            cut += int(expected.sum())
    assert (cut > 0) == (share > 0), "nothing was cut off, so that the scan had nothing to tell"
