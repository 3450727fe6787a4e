"""Linear regions on a plane: networks whose regions are known, and the network's own patterns of activity."""

from __future__ import annotations

import pytest
import torch

from relubench.training.images import Images
from relubench.training.population import Population
from relubench.training.probes.linear_regions import LinearMap, PiecewiseLinear, linear_stages
from relubench.training.probes.region_plane import plane_through, regions_on
from specs import digits, runs

RELU = PiecewiseLinear(torch.relu, (0.0,), 1)
ZERO, FIRST, SECOND = torch.zeros(3), torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0])


def halves(*lines: tuple[float, float, float]) -> LinearMap:
    """A unit for each line a x + b y = c of the plane."""
    rows = torch.tensor([[a, b, 0.0] for a, b, _ in lines], dtype=torch.float64)
    return LinearMap(rows, torch.tensor([-c for *_, c in lines], dtype=torch.float64))


@pytest.mark.parametrize(
    ("lines", "regions"),
    [
        ([(1.0, 0.0, 9.0)], 1),
        ([(1.0, 0.0, 0.5)], 2),
        ([(1.0, 0.0, 0.5), (0.0, 1.0, 0.5)], 4),
        ([(1.0, 0.0, 0.5), (0.0, 1.0, 0.5), (1.0, 1.0, 0.6)], 7),
    ],
)
def test_lines_in_general_position_make_as_many_regions_as_they_should(lines, regions):
    out = LinearMap(torch.eye(2, len(lines), dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
    found = regions_on([halves(*lines), RELU, out], plane_through(ZERO, FIRST, SECOND), 101)
    assert found.count == regions
    assert found.region.shape == found.label.shape == (101, 101)
    assert found.region.max() == regions - 1


def test_columns_of_a_maximum_and_several_kinks_are_pieces_too():
    out = LinearMap(torch.ones(2, 1, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
    maximum = PiecewiseLinear(lambda z: torch.maximum(*z.chunk(2, dim=1)), (), 2)
    plane = plane_through(ZERO, FIRST, SECOND)
    assert regions_on([halves((1, 0, 0), (0, 1, 0)), maximum, out], plane, 101).count == 2
    clipped = PiecewiseLinear(lambda z: z.clamp(0, 0.4), (0.0, 0.4), 1)
    assert regions_on([halves((1, 0, 0.3)), clipped, out], plane, 101).count == 3


def test_the_plane_keeps_distances_and_images_on_a_line_have_none():
    a, b, c = torch.rand(3, 20, generator=torch.Generator().manual_seed(0)).double()
    plane = plane_through(a, b, c)
    for image, (u, v) in zip((a, b, c), plane.corners, strict=True):
        torch.testing.assert_close(plane.origin + u * plane.first + v * plane.second, image)
        low_u, high_u, low_v, high_v = plane.square
        assert low_u < u < high_u
        assert low_v < v < high_v
    with pytest.raises(ValueError, match="lie on a line"):
        plane_through(a, b, a + 2 * (b - a))


@pytest.mark.parametrize("act", ["relu", "leaky_relu"])
def test_regions_and_classes_are_the_networks_own(act: str):
    choice, specs = runs(act, model={"name": "mlp-3x6"})
    one = Population(specs, choice, Images.open(digits(), device="cpu", flat=True))
    x, _ = one.data.train_batch(torch.arange(3))
    plane = plane_through(*x)
    found = regions_on(linear_stages(one.layers, act, None), plane, 41)
    low_u, high_u, low_v, high_v = plane.square
    u, v = torch.linspace(low_u, high_u, 41).double(), torch.linspace(low_v, high_v, 41).double()
    h = (plane.origin + v[:, None, None] * plane.second + u[None, :, None] * plane.first).reshape(41 * 41, -1).float()
    patterns = []
    for layer in one.layers:
        if layer.hidden:
            patterns.append(h > 0)
        h = layer.forward(h, training=False)
    assert len(torch.cat(patterns, dim=1).unique(dim=0)) == found.count > 5
    assert h.argmax(dim=1).tolist() == found.label.flatten().tolist()
