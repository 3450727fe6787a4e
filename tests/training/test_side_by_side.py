"""Small networks whose steps are batched have the bits that each has alone, or are trained alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from relubench.activations import ActivationChoice
from relubench.executors.job import jobs_of
from relubench.executors.tasks import carry_out
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store
from relubench.system.device import Device
from relubench.training import side_by_side
from relubench.training.driver import Interrupted
from relubench.training.images import Images
from relubench.training.population import Population
from relubench.training.side_by_side import SharedSgd, SideBySide
from specs import digits, finish, job, runs

MLP = {"name": "mlp-2x32"}


def small(act: str = "relu", *, seeds: int = 3, model: dict[str, Any] | None = None, **train: Any) -> Any:
    """The choice and the runs of a few seeds, two epochs each."""
    torch.set_num_threads(1)
    return runs(act, seeds=seeds, model=model or MLP, train={"epochs": 2, "batch_size": 10, "lr": 0.05, **train})


def trained(choice: ActivationChoice, specs: Sequence[RunSpec], *, batches: bool | None = True) -> SideBySide:
    networks = SideBySide(specs, choice, Images.open(digits(), device="cpu", flat=True))
    networks.batches = batches
    for _ in networks.train():
        pass
    return networks


def check_as_alone(networks: SideBySide, choice: ActivationChoice, specs: Sequence[RunSpec]) -> None:
    """Every network's parameters, curve and probes are those of a network that is trained alone, as bits."""
    for spec, population in zip(specs, networks.populations, strict=True):
        alone = Population([spec], choice, population.data)
        for _ in alone.train():
            pass
        (tensors, values), (own_tensors, own_values) = alone.state(), population.state()
        assert values == own_values and list(tensors) == list(own_tensors)
        for name, tensor in tensors.items():
            assert tensor.numpy().tobytes() == own_tensors[name].numpy().tobytes(), name
        ours, theirs = population.evaluate("test", best=True), alone.evaluate("test", best=True)
        assert ours.loss == theirs.loss and (ours.scores == theirs.scores).all()


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("relu", {}),
    "decay and a schedule": ("tanh", {"weight_decay": 0.01, "schedule": "cosine", "model": {"name": "mlp-64-32"}}),
    "dropout": ("gelu", {"model": {**MLP, "dropout": 0.3}, "epochs": 1}),
    "gated, signs flipped": ("swiglu", {"model": {**MLP, "sign_flip": True, "match": "width"}, "epochs": 1}),
    "a penalty": ("sigmoid", {"l1": 1e-4, "batch_size": 64, "epochs": 4}),
}


@pytest.mark.parametrize("case", CASES)
def test_networks_side_by_side_have_the_bits_of_lone_ones(case: str):
    act, train = CASES[case]
    choice, specs = small(act, **train)
    specs = [replace(spec, l1=spec.l1 * number) for number, spec in enumerate(specs)]
    networks = trained(choice, specs)
    assert networks.stack is not None
    check_as_alone(networks, choice, specs)


def test_a_network_that_stops_leaves_the_others():
    choice, specs = small(epochs=8, patience=1, lr=0.4)
    broken = replace(specs[0], seed=7, lr=specs[0].lr)
    networks = SideBySide([broken, *specs], choice, Images.open(digits(), device="cpu", flat=True))
    networks.batches = True
    networks.populations[0].parameters[0].value.fill_(float("inf"))
    for _ in networks.train():
        pass
    assert networks.members[0].stopped == "diverged"
    assert len({member.curve[-1].epoch for member in networks.members}) > 2, "they have to stop at several moments"
    rest = SideBySide(specs, choice, networks.data)
    rest.populations = networks.populations[1:]
    check_as_alone(rest, choice, specs)


def test_another_bit_or_a_slower_step_has_each_trained_alone(monkeypatch: pytest.MonkeyPatch):
    choice, specs = small()
    seconds = iter(range(1000))
    monkeypatch.setattr(side_by_side.time, "thread_time", lambda: next(seconds) ** 2)
    assert trained(choice, specs, batches=None).batches, "every way takes longer than the one before"
    monkeypatch.setattr(side_by_side.time, "thread_time", lambda: -(next(seconds) ** 2))
    assert not trained(choice, specs, batches=None).batches
    monkeypatch.undo()

    product = SharedSgd.product

    def nearly(update: SharedSgd, parameter: Any, delta: torch.Tensor, x: torch.Tensor) -> None:
        product(update, parameter, delta, x)
        value = parameter.value[-1].view(-1)[-1:]
        value.copy_(torch.nextafter(value, value + 1))

    monkeypatch.setattr(SharedSgd, "product", nearly)
    networks = trained(choice, specs, batches=None)
    assert networks.batches is False
    check_as_alone(networks, choice, specs)


def test_a_group_that_was_stopped_goes_on_to_the_same_bytes(tmp_path: Any):
    model, train = MLP, {"epochs": 3, "batch_size": 10, "lr": 0.05}
    group = job("relu", tmp_path / "group", seeds=3, model=model, train=train)
    stops = iter([False, True])
    with pytest.raises(Interrupted):
        list(carry_out(group, Store(tmp_path / "group"), lambda: next(stops, True)))
    assert [path.name for path in (tmp_path / "group" / "partial").iterdir()]
    finish(group)
    lone = [replace(group, specs=[spec], store=tmp_path / "lone") for spec in group.specs]
    for part in lone:
        finish(part)
    for spec in group.specs:
        folders = [tmp_path / name / "runs" / spec.id for name in ("group", "lone")]
        assert [(p.name, p.read_bytes()) for p in sorted(folders[0].iterdir())] == [
            (p.name, p.read_bytes()) for p in sorted(folders[1].iterdir())
        ]


@pytest.mark.parametrize(
    ("act", "changes", "sizes"),
    [
        ("relu", {}, [3, 2]),
        ("relu", {"l1": 1e-4}, [3, 2]),
        ("relu", {"optimizer": "adam"}, [1] * 5),
        ("relu", {"momentum": 0.9}, [1] * 5),
        ("tanh", {"model": {"name": "mlp-33"}, "batch_size": 7}, [1] * 5),
        ("relu", {"model": {"name": "mlp-2x1024"}}, [1] * 5),
        ("relu", {"model": {**MLP, "norm": "batch"}}, [1] * 5),
        ("prelu", {}, [1] * 5),
        ("x*sigmoid(x)", {}, [1] * 5),
    ],
)
def test_only_small_networks_alike_are_one_job(act: str, changes: dict[str, Any], sizes: list[int], tmp_path: Any):
    choice, specs = small(act, seeds=5, **changes)
    device = Device(kind="cpu", name="test", threads=2, memory=2**33, torch="test")
    arguments: dict[str, Any] = {"keep": "none", "fresh": False, "device": device}
    data, store = {specs[0].data_digest: digits()}, Store(tmp_path)
    jobs = jobs_of(specs, {choice.label: choice}, data, store, **arguments)
    assert [len(part.specs) for part in jobs] == sizes
    assert {spec.id for part in jobs for spec in part.specs} == {spec.id for spec in specs}
    alone = jobs_of(specs, {choice.label: choice}, data, store, **arguments, pretrain_only=True)
    assert [len(part.specs) for part in alone] == [1] * 5
    rates = [replace(spec, lr=0.01 * (1 + number % 2)) for number, spec in enumerate(specs)]
    by_rate = jobs_of(rates, {choice.label: choice}, data, store, **arguments)
    assert all(len({spec.lr for spec in part.specs}) == 1 for part in by_rate)
