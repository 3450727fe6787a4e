"""Sine with SIREN's initialisation, and snake: their formulas, and what the first layers of a network give."""

from __future__ import annotations

from math import sqrt

import pytest
import torch

from relubench.activations import build, select
from relubench.experiments.config import experiment
from relubench.models.builder import Builder
from specs import runs


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_values_and_slopes_are_the_formulas(dtype: torch.dtype) -> None:
    z = torch.linspace(-40, 40, 4001).to(dtype)
    exact = z.double()
    formulas = {
        "sine": (torch.sin(30 * exact), 30 * torch.cos(30 * exact)),
        "sine:frequency=1": (torch.sin(exact), torch.cos(exact)),
        "snake": (exact + torch.sin(exact) ** 2, 1 + torch.sin(2 * exact)),
        "snake:alpha=20": (exact + torch.sin(20 * exact) ** 2 / 20, 1 + torch.sin(40 * exact)),
    }
    tolerance = {torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 2e-2}[dtype]
    for name, (values, slopes) in formulas.items():
        activation = build(select([name])[0])
        assert activation.gradient is not None and activation.out is not None
        scale = 30 if name == "sine" else 1
        for computed in (activation.function(z), activation.out(z, torch.empty_like(z))):
            assert computed.dtype == dtype
            torch.testing.assert_close(computed.double(), values, rtol=tolerance, atol=tolerance)
        gradient = activation.gradient(torch.ones_like(z), z)
        torch.testing.assert_close(gradient.double(), slopes, rtol=tolerance, atol=scale * tolerance)


def weights_of(act: str, **sections: object) -> list[torch.Tensor]:
    """The weights and biases of a network's layers, input to output."""
    choice, (spec,) = runs(act, **sections)
    layers = Builder(spec, choice, [spec.seed], batched=False).layers()
    return [parameter.value for layer in layers for parameter in layer.parameters]


def test_sirens_rule_draws_the_first_layer_wide_and_the_others_for_the_frequency() -> None:
    for act, frequency in (("sine", 30.0), ("sine:frequency=7", 7.0)):
        first, bias, hidden, _, output, _ = weights_of(act, model={"name": "mlp-2x512"})
        bounds = [1 / 64, sqrt(6 / 512) / frequency, sqrt(6 / 512) / frequency]
        for weight, bound in zip((first, hidden, output), bounds, strict=True):
            assert 0.95 * bound < float(weight.abs().max()) <= bound
            assert float(weight.std()) == pytest.approx(bound / sqrt(3), rel=0.03)
        assert 0.9 / 8 < float(bias.abs().max()) <= 1 / 8


def test_the_arguments_of_hidden_sines_keep_their_variance() -> None:
    """A layer with this rule has twice the second moment of its inputs; of sines of a normal variable of variance v
    that is 1 - exp(-2 v), whose fixed point is 0.797: between it and 1 the variance stays, however deep.
    """
    weights = weights_of("sine", model={"name": "mlp-5x512"})
    x = torch.rand(400, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for place in range(0, len(weights) - 2, 2):
        z = 30 * (x @ weights[place].T)
        x = torch.sin(z)
        if place:
            assert 0.75 < float(z.var()) < 1.05


def test_an_initialisation_that_is_named_is_taken_and_auto_is_the_papers() -> None:
    inits = {"lecun": "lecun", "xavier": "xavier", "auto": "siren", "siren": "siren"}
    for asked, taken in inits.items():
        assert runs("sine", model={"name": "mlp-1x8", "init": asked})[1][0].init == taken
    assert runs("sine")[1][0].init == runs("sine", train={"protocol": "modern"})[1][0].init == "siren"
    assert runs("relu")[1][0].init == "xavier" and runs("sin(x)")[1][0].init == "xavier"
    assert experiment({"act": ["sine"]}).model.init == "xavier"
