"""An activation that gives way to another one on the way: against plain populations and NumPy, and resumed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from relubench.errors import UsageError
from relubench.training.exchange import ExchangingPopulation, epochs_before, population_of
from relubench.training.images import Images
from relubench.training.population import Population
from specs import digits, finished, runs

TRAIN = {"epochs": 4, "lr": 0.003, "optimizer": "adam", "probe": "none"}


def opened(act: str = "silu", **train: object) -> Population:
    choice, specs = runs(act, model={"name": "mlp-2x16"}, train={**TRAIN, **train})
    return population_of(specs, choice, Images.open(digits(), device="cpu", flat=True))


def by_numpy(weights: dict[str, torch.Tensor], population: Population, act) -> tuple[float, float]:
    """Test error and zeros, in percent."""
    (images, labels), zeros = next(iter(population.data.slices("test", 10_000))), []
    h = images.numpy()
    names = sorted({name.rpartition(".")[0] for name in weights}, key=int)
    for place, name in enumerate(names):
        h = h @ weights[f"{name}.weight"].numpy().T + weights[f"{name}.bias"].numpy()
        if place < len(names) - 1:
            h = act(h)
            zeros.append(float((h == 0).mean()))
    return 100 * float((h.argmax(1) != labels.numpy()).mean()), 100 * sum(zeros) / len(zeros)


def test_the_exchange_keeps_the_weights_and_is_measured_on_both_sides():
    """Three epochs of SiLU, where a plain run of the same seed is, too; then its weights under ReLU."""
    population = finished(opened(exchange="relu"))
    assert isinstance(population, ExchangingPopulation) and epochs_before(population.spec) == 3
    plain = opened()
    for step in plain.train():
        if step.epoch_ended and plain.epoch == 3:
            break
    weights = plain.weights(0, best=False)
    measured = {value.name: value.value for value in population.members[0].measured}
    silu = by_numpy(weights, plain, lambda z: z / (1 + np.exp(-z)))
    relu = by_numpy(weights, plain, lambda z: np.maximum(z, 0))
    assert measured["before_exchange"] == pytest.approx(silu[0]) and measured["zeros_before_exchange_pct"] == 0
    assert measured["after_exchange"] == pytest.approx(relu[0])
    assert measured["zeros_after_exchange_pct"] == pytest.approx(relu[1], abs=1e-3)
    assert 5 < relu[1] < 90
    assert population.members[0].best_epoch == 4 and len(population.members[0].curve) == 4
    end = population.evaluate("test", best=True, sparsity=True)
    assert by_numpy(population.weights(0, best=True), population, lambda z: np.maximum(z, 0))[0] == pytest.approx(
        population.task.score(end.scores[0])
    )


def test_the_optimizer_goes_on():
    """An exchange for the same function, under another name, changes no bit: neither weights nor moments are lost."""
    same = "x*sigmoid(x)"
    plain, exchanged = finished(opened(same)), opened(same)
    exchanged = ExchangingPopulation([replace(exchanged.spec, exchange=same)], runs(same)[0], exchanged.data)
    finished(exchanged)
    for name, value in plain.weights(0, best=False).items():
        assert torch.equal(value, exchanged.weights(0, best=False)[name]), name


@pytest.mark.parametrize("epoch", [2, 3, 4])
def test_stopped_and_resumed_it_ends_in_the_same_bits(epoch: int):
    """Before the exchange, at it, and behind it."""
    whole, first = finished(opened(exchange="relu", epochs=5)), opened(exchange="relu", epochs=5)
    for step in first.train():
        if step.epoch_ended and first.epoch == epoch:
            break
    tensors, values = first.state()
    tensors = {name: value.clone() for name, value in tensors.items()}
    second = opened(exchange="relu", epochs=5)
    second.load(tensors, values)
    finished(second)
    for name, value in whole.weights(0, best=True).items():
        assert torch.equal(value, second.weights(0, best=True)[name]), name
    assert whole.members[0].state() == second.members[0].state()


def test_stored_weights_are_those_of_the_later_activation():
    population, later = finished(opened(exchange="relu")), opened(exchange="relu")
    later.load_weights(population.weights(0, best=True))
    assert np.array_equal(later.evaluate("test").scores[0], population.evaluate("test", best=True).scores[0])


def test_an_exchange_for_itself_is_the_plain_run_and_another_one_is_a_run_of_its_own():
    def run(**train: object) -> str:
        return runs("relu", train=train)[1][0].id

    assert run(exchange="relu") == run() != run(exchange="gelu")


REFUSED = [
    ("relu", {"exchange": "prelu"}, {}, "prelu learns, draws, is gated or your own"),
    ("swiglu", {"exchange": "relu"}, {}, "swiglu learns"),
    ("nrelu", {"exchange": "relu"}, {}, "nrelu learns"),
    ("silu", {"exchange": "relu,tanh"}, {}, "names several activations"),
    ("silu", {"exchange": "relu", "epochs": 1}, {}, "needs an epoch on either side"),
    ("silu", {"exchange": "relu", "patience": 3}, {}, "does not go with train.patience"),
    ("silu", {"exchange": "relu"}, {"name": "torchvision:resnet18"}, "layers of torchvision:resnet18 are somebody"),
    ("silu", {"exchange": "rleu"}, {}, "rleu"),
]


@pytest.mark.parametrize(("act", "train", "model", "reason"), REFUSED)
def test_what_cannot_be_exchanged_is_refused(act: str, train: dict, model: dict, reason: str):
    with pytest.raises(UsageError, match=reason):
        runs(act, train=train, model=model or {"name": "mlp-1x8"})
