"""The table: gains against quadrature and torch, defaults within their ranges, everything buildable."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from relubench.activations import ACTIVATIONS, FAMILIES, build, matched_gain, select

TORCH_NAMES = {"identity": "linear", "sigmoid": "sigmoid", "tanh": "tanh", "relu": "relu", "selu": "selu"}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gain_is_the_matched_gain(name: str):
    assert ACTIVATIONS[name].gain == pytest.approx(matched_gain(select([name])[0]), abs=1e-9)


@pytest.mark.parametrize(
    ("label", "gain"),
    [
        ("relu", 2**0.5),
        ("leaky_relu:negative_slope=0.2", (2 / 1.04) ** 0.5),
        ("hardtanh", 1.3920361404483),
        ("gelu:approximate=tanh", 1.5335805216661),
        # The largest of three normals has variance 1 - 9/(4 pi) + sqrt(3)/(2 pi) and mean 3/(2 sqrt(pi)).
        ("maxout:pieces=3", (1 + 3**0.5 / (2 * torch.pi)) ** -0.5),
        ("clip(x,-0.77,1.23)", None),
    ],
)
def test_matched_gain_to_a_millionth(label: str, gain: float | None):
    choice = select([label])[0]
    if gain is None:
        z = torch.linspace(-12, 12, 4_000_001, dtype=torch.float64)
        density = torch.exp(-(z**2) / 2) / (2 * torch.pi) ** 0.5
        gain = float(torch.trapezoid(z.clamp(-0.77, 1.23) ** 2 * density, z)) ** -0.5
    assert matched_gain(choice) == pytest.approx(gain, rel=1e-6)
    assert matched_gain(build(choice)) == matched_gain(choice)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_torch_gain_is_what_torch_says(name: str):
    row = ACTIVATIONS[name]
    if name == "leaky_relu":
        assert row.torch_gain == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.01))
    elif name in TORCH_NAMES:
        assert row.torch_gain == pytest.approx(torch.nn.init.calculate_gain(TORCH_NAMES[name]))
    else:
        assert row.torch_gain is None
        with pytest.raises(ValueError, match="Unsupported nonlinearity"):
            torch.nn.init.calculate_gain(name)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_row_agrees_with_itself_and_with_what_it_builds(name: str):
    row = ACTIVATIONS[name]
    assert row.name == name
    assert row.family in FAMILIES
    assert set(row.ranges) | set(row.options) == set(row.parameters)
    assert all(low <= row.parameters[key] <= high for key, (low, high) in row.ranges.items())
    assert all(row.parameters[key] in allowed for key, allowed in row.options.items())
    choice = select([name])[0]
    built = build(choice)
    assert built.inputs_per_unit == choice.inputs_per_unit == row.inputs_per_unit_with(row.parameters)
    assert (built.inputs_per_unit > 1) == (built.combines != "") == (row.family == "gated")
    assert len(built.learned) == choice.learned == len(row.learned)
    assert (built.draw is not None) == row.noisy
    assert (built.gradient is None) == bool(row.learned or row.noisy)


def test_selecting_does_not_import_torch():
    code = (
        "import sys; from relubench.activations import ACTIVATIONS, select; "
        "select(['all', 'max(0,x)', 'torch.nn:Mish']); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_attribute_is_an_attribute_error():
    import relubench.activations

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = relubench.activations.nonsense
