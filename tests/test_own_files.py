"""Ten networks and ten activations of a user's own, from files: trained, timed, verified, and held to plain loops.

`python -m tests.test_own_files --output FILE` writes what came of each as a table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

from own_files import networks as own_networks
from relubench.activations import build, select
from relubench.errors import UsageError
from relubench.models.external.inspection import inspect_network
from relubench.models.external.networks import draw_network
from relubench.runs.spec import RunSpec
from relubench.system.device import resolve
from relubench.timing.operators import training
from relubench.timing.steps import Network, time_steps
from relubench.training.images import Images
from relubench.training.population import Population
from relubench.verification.check import check
from specs import digits, runs

FILES = Path(__file__).parent / "own_files"
RATE, BATCH = 0.05, 32

FUNCTIONAL = ("Functional", "Residual", "Lazy", "Skipping")
NETWORKS = ("Timm", "Nested", "Shared", *FUNCTIONAL, "Attention", "factory", "InPlace")
ACTIVATIONS = {
    "lisht": lambda x: x * torch.tanh(x),
    "scaled:height=1.5": lambda x: 1.5 * x / (1 + x.abs()),
    "leaky": lambda x: torch.maximum(x, 0.2 * x),
    "bounded": lambda x: x.clamp(-2, 2),
    "factory": lambda x: x.clamp(0, 4),
    "Serf": lambda x: x * torch.erf(torch.log1p(torch.exp(x))),
    "Learned:beta=2": lambda x: x / (1 + torch.exp(-2 * x)),
    "PerChannel": lambda x: torch.where(x > 0, x, x / 4),
    "InPlace": lambda x: torch.where(x > 0, x, torch.expm1(x)),
    "squared": lambda x: torch.where(x > 0, x * x, torch.zeros_like(x)),
}
"""Each with its values as a formula of its own."""
LEARNED = {"Learned:beta=2": 1, "PerChannel": 16}


def few(names: Iterable[str], *quick: str) -> list[Any]:
    """The names, of which all but `quick` are slow tests."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


@dataclass(frozen=True, slots=True)
class Trained:
    """An epoch of a network or an activation: how it ended."""

    population: Population
    spec: RunSpec
    error_pct: float


def trained(act: str, model: str, epochs: int = 1) -> Trained:
    sections: dict[str, Any] = {"train": {"epochs": epochs, "batch_size": BATCH, "lr": RATE}, "model": {"name": model}}
    choice, (spec,) = runs(act, **sections)
    if model.startswith(str(FILES)):
        spec = replace(spec, foreign=(facts := inspect_network(spec, choice)), layout=facts.layout or None)
    population = Population([spec], choice, Images.open(digits(), device="cpu", flat=model.startswith("mlp")))
    for _ in population.train():
        continue
    return Trained(population, spec, 100 * float(population.evaluate("test").scores.mean()))


def plain_loop(network: nn.Module, data: Images) -> None:
    """An epoch of plain SGD."""
    order = data.epoch_order(0, 0)
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)
    network.train()
    for index in order.split(BATCH):
        x, y = data.train_batch(index)
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()


def in_its_place(name: str) -> nn.Module:
    """The user's network, made with tanh where it has relu."""
    act = torch.tanh if name in FUNCTIONAL else nn.Tanh
    return getattr(own_networks, name)(act=act)


@pytest.mark.parametrize("name", few([name for name in NETWORKS if name != "Skipping"], "Nested", "Residual"))
def test_a_network_trains_as_a_plain_loop_trains_it_with_the_other_activation(name: str) -> None:
    """From the same initial weights, on the same batches; a chance of its own has only the one that skips layers."""
    exchanged = trained("tanh", f"{FILES / 'networks.py'}:{name}")
    network, data = in_its_place(name), exchanged.population.data
    network(data.train_batch(torch.arange(4))[0])  # Lazy layers take their sizes.
    network.load_state_dict(draw_network(exchanged.spec)[0].state_dict())
    plain_loop(network, data)
    kept = exchanged.population.weights(0, best=False)
    for key, parameter in network.named_parameters():
        torch.testing.assert_close(kept[key].view_as(parameter), parameter.detach(), rtol=1e-3, atol=1e-5)
    assert exchanged.error_pct == pytest.approx(error_pct(network, data), abs=0.6)


def error_pct(network: nn.Module, data: Images) -> float:
    with torch.no_grad():
        wrong = [network.eval()(x).argmax(1) != y for x, y in data.slices("test", 360)]
    return 100 * float(torch.cat(wrong).double().mean())


@pytest.mark.parametrize("name", [pytest.param("Skipping", marks=pytest.mark.slow), "Nested"])
def test_a_network_learns_and_its_steps_are_timed(name: str) -> None:
    ended = trained("gelu", f"{FILES / 'networks.py'}:{name}", epochs=12)
    assert ended.error_pct < 75
    assert image_microseconds(ended) > 0


def image_microseconds(ended: Trained) -> float:
    """The time of an image in training steps: the shortest of three."""
    network = Network(ended.spec.activation, "network", ended.population)
    return min(time_steps(ended.population, network) for _ in range(3))


def test_a_network_of_two_inputs_is_refused() -> None:
    with pytest.raises(UsageError, match=r"its forward takes 2 inputs \(x, mask\)"):
        trained("tanh", f"{FILES / 'networks.py'}:TwoInputs")


class Plain(nn.Module):
    """One hidden layer with the activation as a formula, and what it learns as a parameter."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.hidden, self.last, self.formula = nn.Linear(64, 16), nn.Linear(16, 10), ACTIVATIONS[name]
        self.slope = nn.Parameter(torch.full((16,), 0.25)) if name == "PerChannel" else None
        self.beta = nn.Parameter(torch.tensor(2.0)) if name.startswith("Learned") else None

    def forward(self, x: Tensor) -> Tensor:
        z = self.hidden(x)
        if self.slope is not None:
            return self.last(torch.where(z > 0, z, z * self.slope))
        return self.last(self.formula(z) if self.beta is None else z / (1 + torch.exp(-self.beta * z)))


@pytest.mark.parametrize("name", few(ACTIVATIONS, "PerChannel", "squared"))
def test_an_activation_trains_as_its_formula_does_in_a_plain_loop(name: str) -> None:
    label = f"{FILES / 'activations.py'}:{name}"
    sections: dict[str, Any] = {"train": {"epochs": 1, "batch_size": BATCH, "lr": RATE}, "model": {"name": "mlp-1x16"}}
    choice, (spec,) = runs(label, **sections)
    data = Images.open(digits(), device="cpu", flat=True)
    population, network = Population([spec], choice, data), Plain(name)
    drawn = population.weights(0, best=False)
    layers = [parameter for layer in (network.hidden, network.last) for parameter in (layer.weight, layer.bias)]
    with torch.no_grad():
        for parameter, value in zip(
            layers, (drawn[key] for key in ("0.weight", "0.bias", "1.weight", "1.bias")), strict=True
        ):
            parameter.copy_(value.view_as(parameter))
    for _ in population.train():
        continue
    plain_loop(network, data)
    kept = population.weights(0, best=False)
    torch.testing.assert_close(kept["0.weight"].view(16, 64), network.hidden.weight.detach(), rtol=1e-3, atol=1e-5)
    learned = [parameter.detach() for parameter in (network.slope, network.beta) if parameter is not None]
    for expected in learned:
        (value,) = [value for key, value in kept.items() if "module" in key]
        torch.testing.assert_close(value.view_as(expected), expected, rtol=1e-3, atol=1e-5)
    assert 100 * float(population.evaluate("test").scores.mean()) == pytest.approx(error_pct(network, data), abs=0.6)


@pytest.mark.parametrize("name", few(ACTIVATIONS, "PerChannel", "squared"))
def test_an_activation_has_its_formula_s_values_and_is_verified(name: str) -> None:
    (choice,) = select([f"{FILES / 'activations.py'}:{name}"])
    z = torch.linspace(-4, 4, 801).repeat_interleave(16)  # Each value for each of sixteen units.
    call, leaves = training(build(choice), z)
    torch.testing.assert_close(call(z), ACTIVATIONS[name](z.clone()))
    assert sum(leaf.numel() for leaf in leaves) == LEARNED.get(name, 0)
    assert [row.outcome for row in check(choice, "bf16")] == ["ok", "ok"]


def main() -> None:
    """Write the table of all: numbers trained, test error after three epochs, time in training, what verify says."""
    parser = argparse.ArgumentParser(description="ten own networks and ten own activations")
    parser.add_argument("--output", type=Path, required=True)
    output = parser.parse_args().output
    lines = [f"{resolve('cpu').name}, torch {torch.__version__}, digits, one thread"]
    lines.append(f"{BATCH} images a step, lr {RATE}, three epochs, one seed; 90 % is chance")
    lines.append(f"{'':24}{'parameters':>11}{'test error':>12}{'an image':>11}   verify")
    for name in NETWORKS:
        lines.append(_line(name, "tanh", f"{FILES / 'networks.py'}:{name}", "(with tanh)"))
    for name in ACTIVATIONS:
        label = f"{FILES / 'activations.py'}:{name}"
        verified = [
            row for dtype in ("fp32", "fp16", "bf16") for row in check(select([label])[0], dtype, num_points=60_000)
        ]
        said = [f"{row.dtype} {row.pass_} {row.outcome}" for row in verified if row.outcome != "ok"]
        lines.append(_line(name, label, "mlp-1x16", ", ".join(said) or f"{len(verified)} of {len(verified)} ok"))
    try:
        trained("tanh", f"{FILES / 'networks.py'}:TwoInputs")
    except UsageError as refusal:
        lines.append(f"{'TwoInputs':24}refused: {refusal.message.partition(': ')[2]}")
    output.write_text("\n".join(lines) + "\n")


def _line(name: str, act: str, model: str, verified: str) -> str:
    ended = trained(act, model, epochs=3)
    count, microseconds = ended.population.parameter_count, image_microseconds(ended)
    return f"{name:24}{count:>11,}{ended.error_pct:>10.2f} %{microseconds:>8.1f} us   {verified}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
