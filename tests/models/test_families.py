"""Every family of the table: what its row says before a network is built agrees with the network."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest
import torch

from relubench.activations import select
from relubench.data import DataOptions, PreparedData, prepare
from relubench.errors import UsageError
from relubench.models.architecture import architecture_of, hidden_units
from relubench.models.families import FAMILIES, examples, family_of, listed_models, parse_model
from relubench.models.family import Ability
from relubench.runs.spec import RunSpec
from relubench.training.population import Population
from relubench.training.text import open_data
from specs import digits, runs

KNOWN = [family for family in FAMILIES.values() if not family.can("external")]
"""Families whose layers are the package's own."""

SMALL = {
    "mlp": "mlp-20-10",
    "resmlp": "resmlp-3x12",
    "cnn": "cnn",
    "autoencoder": "autoencoder-20-10",
    "vae": "vae-20-10",
    "transformer": "transformer-2x12",
    "vit": "vit-2x12",
}
"""Of some families a smaller model than the smallest that is listed."""


def name_of(family: Any) -> str:
    return family.name


def small(family: Any) -> str:
    return SMALL.get(family.name, list(family.models)[-1])


CONTEXT = 8


def population(specs: list[RunSpec], act: str) -> Population:
    flat = not family_of(specs[0].model).can("images")
    return Population(specs, select([act])[0], open_data(prepared_for(specs[0]), device="cpu", flat=flat))


def prepared_for(spec: RunSpec) -> PreparedData:
    return prepare("docs", options=DataOptions(context=CONTEXT)) if spec.task == "language" else digits()


@pytest.mark.parametrize("family", FAMILIES.values(), ids=name_of)
def test_names_belong_to_one_family_and_its_abilities_are_known(family: Any):
    assert FAMILIES[family.name] is family
    assert family.abilities <= set(get_args(Ability))
    assert family.example in examples()
    for model in family.models:
        assert family_of(model) is family and parse_model(model).name == model
        assert [row.name for row in FAMILIES.values() if re.fullmatch(row.pattern, model)] == [family.name]


@pytest.mark.parametrize("act", ["relu", "swiglu"])
@pytest.mark.parametrize("family", KNOWN, ids=name_of)
def test_a_network_has_the_parameters_and_units_that_its_shapes_say(family: Any, act: str):
    norm = "layer" if family.can("attention") else "batch" if family.can("normalisation") else "none"
    data = {"name": "docs", "context": CONTEXT} if family.can("text") else {}
    _, (spec,) = runs(act, model={"name": small(family), "norm": norm, "match": "width"}, data=data)
    network = population([spec], act)
    assert network.parameter_count == spec.parameters > 0
    x, outputs = next(iter(network.data.slices("valid", 2)))[0], []
    for layer in network.layers:
        x = layer.forward(x, training=False)
        outputs += [x.numel() // 2] if layer.hidden else []
    assert outputs == hidden_units(architecture_of(spec), spec.input_shape)
    # A VAE gives its latents to the loss, too.
    outputs = {"autoencoder": 64, "vae": 64 + 2 * spec.latent}.get(family.name, 10)
    assert x.shape == ((2 * CONTEXT, 256) if family.can("text") else (2, outputs))


@pytest.mark.parametrize("family", [family for family in KNOWN if family.can("batched")], ids=name_of)
def test_networks_side_by_side_are_what_each_is_alone(family: Any):
    _, specs = runs("tanh", seeds=2, model={"name": small(family)}, train={"epochs": 1, "probe": "none"})
    together = population(specs, "tanh")
    next(together.train())
    for place, spec in enumerate(specs):
        alone = population([spec], "tanh")
        next(alone.train())
        weights = together.weights(place, best=False)
        for name, value in alone.weights(0, best=False).items():
            torch.testing.assert_close(weights[name].view_as(value), value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "name", ["torchvision:nothing", "nothing-2x16", "Mlp-2x3", "mlp-2x3 ", "no_such_module_here:Net"]
)
def test_a_name_of_no_family_is_refused_with_the_names_of_all(name: str):
    with pytest.raises(UsageError, match="there is no model called") as refused:
        parse_model(name)
    assert all(family.example in refused.value.hint for family in FAMILIES.values())


def test_the_end_of_a_long_name_is_enough_for_a_hint():
    with pytest.raises(UsageError) as refused:
        parse_model("resnet18")
    assert "did you mean torchvision:resnet18?" in refused.value.hint
    assert "torchvision:resnet18" in listed_models()
