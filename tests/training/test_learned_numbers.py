"""What activations learn by unit and at a rate of its own, and mixes, against plain autograd loops."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relubench.activations import select
from relubench.activations.choice import ActivationChoice
from relubench.errors import UsageError
from relubench.runs.checkpoint import from_bytes
from relubench.runs.store import Store
from relubench.training.images import Images
from relubench.training.population import Population
from specs import digits, finish, job, runs

STEPS = 100


class Swish(nn.Module):
    """z sigmoid(b z) with a b for each feature, or one; in images for each channel."""

    def __init__(self, units: int, beta: float, *, image: bool = False) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.full((units, 1, 1) if image else (units,), beta))

    def forward(self, z: Tensor) -> Tensor:
        return z * torch.sigmoid(self.beta * z)


def plain_mlp(activations: list[nn.Module]) -> nn.Sequential:
    stages: list[nn.Module] = []
    for number, activation in enumerate(activations):
        stages += [nn.Linear(32 if number else 64, 32), activation]
    return nn.Sequential(*stages, nn.Linear(32, 10))


def plain_cnn() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 5, padding=2), Swish(32, 1.5, image=True), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 5, padding=2), Swish(64, 1.5, image=True), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64 * 4, 256), Swish(256, 1.5), nn.Linear(256, 10)),
    )


def adopted(model: nn.Module, population: Population, member: int) -> nn.Module:
    """The model with the initial weights of a member."""
    with torch.no_grad():
        for own, other in zip(model.parameters(), population.parameters, strict=True):
            own.copy_((other.value[member] if population.batched else other.value).reshape(own.shape))
    return model


def train_both(population: Population, models: list[nn.Module], learned_rate: float, make: Any, steps: int) -> None:
    """Train the population and the models on the same batches, and compare every parameter in the end."""
    data, size = population.data, population.spec.batch_size
    order = torch.randperm(data.n_train, generator=torch.Generator().manual_seed(5)).repeat(steps)
    batches = [data.train_batch(order[step * size : (step + 1) * size]) for step in range(steps)]
    for model in models:
        learned = [value for name, value in model.named_parameters() if name.endswith("beta")]
        others = [value for name, value in model.named_parameters() if not name.endswith("beta")]
        groups = [{"params": others}, {"params": learned, "lr": learned_rate}]
        optimizer = make(groups if learned else others, population.spec.lr)
        for x, y in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x.clone()), y).backward()
            optimizer.step()
    with torch.no_grad():
        for x, y in batches:
            target = nn.functional.one_hot(y, 10).float()
            population.update.set_factor(1.0)
            if population.batched:
                x, target = x.expand(len(models), *x.shape).contiguous(), target.expand(len(models), *target.shape)
            population.train_step(x.clone(), target)
    for place, model in enumerate(models):
        for own, other in zip(model.parameters(), population.parameters, strict=True):
            value = other.value[place] if population.batched else other.value
            torch.testing.assert_close(value.reshape(own.shape), own.detach(), rtol=2e-3, atol=3e-4, msg=other.name)


MAKE = {
    "sgd": lambda groups, lr: torch.optim.SGD(groups, lr=lr, momentum=0.5),
    "adamw": lambda groups, lr: torch.optim.AdamW(groups, lr=lr, weight_decay=0.0),
}


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.05), ("adamw", 0.002)])
@pytest.mark.parametrize(("per", "members"), [("unit", 1), ("unit", 2), ("layer", 2)])
def test_an_mlp_learns_as_a_plain_loop_does(per: str, members: int, optimizer: str, lr: float) -> None:
    momentum = 0.5 if optimizer == "sgd" else 0.0
    train = {"optimizer": optimizer, "lr": lr, "momentum": momentum, "act_lr": 8 * lr}
    choice, specs = runs(f"swish:beta=1.5:per={per}", seeds=members, train=train, model={"name": "mlp-2x32"})
    population = Population(specs, choice, Images.open(digits(), device="cpu", flat=True))
    units = 32 if per == "unit" else 1
    assert population.parameter_count == specs[0].parameters == 64 * 32 + 32 + 32 * 32 + 32 + 330 + 2 * units
    models = [adopted(plain_mlp([Swish(units, 1.5), Swish(units, 1.5)]), population, place) for place in range(members)]
    train_both(population, models, 8 * lr, MAKE[optimizer], STEPS if members == 1 else 20)
    (moved,) = (parameter.value for parameter in population.parameters if parameter.name == "0.learned-0")
    assert float((moved - 1.5).abs().max()) > 0.005


@pytest.mark.parametrize("members", [1, 2])
def test_a_cnn_learns_one_number_for_each_channel(members: int) -> None:
    train = {"batch_size": 16, "lr": 0.02, "act_lr": 0.1}
    choice, specs = runs("swish:beta=1.5:per=unit", seeds=members, train=train, model={"name": "cnn"})
    population = Population(specs, choice, Images.open(digits(), device="cpu", flat=False))
    assert population.parameter_count == specs[0].parameters
    models = [adopted(plain_cnn(), population, place) for place in range(members)]
    train_both(population, models, 0.1, lambda groups, lr: torch.optim.SGD(groups, lr=lr), 10)


@pytest.mark.parametrize("members", [1, 2])
def test_a_mix_has_each_activation_in_its_layers(members: int) -> None:
    choice, specs = runs("[relu*2,gelu,swish:per=unit]", seeds=members, model={"name": "mlp-4x32"})
    assert specs[0].activation == "[relu*2,gelu,swish:per=unit]"
    population = Population(specs, choice, Images.open(digits(), device="cpu", flat=True))
    assert population.parameter_count == specs[0].parameters == 65 * 32 + 3 * 33 * 32 + 330 + 32
    layers: list[nn.Module] = [nn.ReLU(), nn.ReLU(), nn.GELU(), Swish(32, 1.0)]
    models = [adopted(plain_mlp(layers), population, place) for place in range(members)]
    train_both(population, models[:1] if members == 1 else models, 0.1, lambda p, lr: torch.optim.SGD(p, lr=lr), 20)


def test_a_rate_that_is_named_moves_only_what_is_learned() -> None:
    """Runs of activations that learn nothing keep their ids, and the schedule scales both rates."""
    (_, (plain,)), (_, (with_rate,)) = (runs("relu", train=train) for train in ({}, {}))
    assert plain.id == with_rate.id
    (prelu,), (own,) = runs("prelu")[1], runs("prelu", train={"act_lr": 0.01})[1]
    assert (prelu.act_lr, own.act_lr) == (None, 0.01)
    assert prelu.id != own.id
    with pytest.raises(UsageError, match=r"train.act_lr=0.01 is the rate of what activations learn, and none of relu"):
        runs("relu", train={"act_lr": 0.01})
    with pytest.raises(UsageError, match=r"which dimension holds the units"):
        runs("prelu:per=unit", model={"name": "torchvision:resnet18"})


def test_what_was_learned_is_stored_with_its_mean_and_spread(tmp_path: Any) -> None:
    one = job("prelu:per=unit", tmp_path, train={"epochs": 1, "act_lr": 0.05}, model={"name": "mlp-2x16"})
    finish(one)
    result = Store(tmp_path).result(one.specs[0].id)
    assert result is not None
    measured = {value.name: value.value for value in result.measured}
    names = [f"a of layer {layer}{part}" for layer in (1, 2) for part in ("", ": spread")]
    assert [name for name in measured if name.startswith("a of")] == names
    content = Store(tmp_path).weights_of(one.specs[0].id)
    assert content is not None
    weights, _ = from_bytes(content)
    for layer in (1, 2):
        values = weights[f"{layer - 1}.learned-0"].double()
        assert measured[f"a of layer {layer}"] == pytest.approx(float(values.mean()), rel=1e-6)
        assert measured[f"a of layer {layer}: spread"] == pytest.approx(float(values.std(correction=0)), rel=1e-5)


@pytest.mark.parametrize(
    ("text", "label", "layers"),
    [
        ("[relu*2,gelu]", "[relu*2,gelu]", ["relu", "relu", "gelu"]),
        ("[relu,relu,elu:alpha=0.5*1]", "[relu*2,elu:alpha=0.5]", ["relu", "relu", "elu:alpha=0.5"]),
        ("early=[tanh , relu * 2]", "[tanh,relu*2]", ["tanh", "relu", "relu"]),
        ("[(x*tanh(x))*2,silu]", "[(x*tanh(x))*2,silu]", ["x*tanh(x)"] * 2 + ["silu"]),
        ("[prelu:per=unit*2]", "[prelu:per=unit*2]", ["prelu:per=unit"] * 2),
        ("[swiglu,geglu*2]", "[swiglu,geglu*2]", ["swiglu", "geglu", "geglu"]),
    ],
)
def test_a_mix_is_written_with_its_layers(text: str, label: str, layers: list[str]) -> None:
    (choice,) = select([text])
    assert (choice.label, [layer.label for layer in choice.layers]) == (label, layers)
    assert select([choice.label]) == [choice] == [ActivationChoice.from_json(choice.to_json())]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[relu*0]", "in 1 to 200 layers"),
        ("[relu*150,gelu*51]", "at most 200 layers, got 201"),
        ("[x*tanh(x)*2]", "may mean 2 layers, or a formula"),
        ("[relu,swiglu]", "relu takes 1 pre-activation a unit and swiglu takes 2"),
        ("[rectifier*2]", "in a mix names"),
        ("[[relu*2],gelu]", "is a mix itself"),
        ("[relu*2,gellu]", "no activation called 'gellu'"),
        ("[relu,]", "empty activation name"),
    ],
)
def test_what_is_no_mix_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        select([text])


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"name": "mlp-3x32"}}, r"has activations for 2 layers, and mlp-3x32 has 3"),
        ({"model": {"name": "torchvision:resnet18"}}, r"the layers of torchvision:resnet18 are not the package's"),
        ({"model": {"name": "mlp-2x32"}, "pretrain": {"methods": ["rbm"]}}, "are not pre-trained"),
        ({"model": {"name": "vae-1x32", "act_in": "decoder"}}, "exclude each other"),
    ],
)
def test_a_mix_has_to_fit_its_network(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        runs("[relu,gelu]", **sections)
