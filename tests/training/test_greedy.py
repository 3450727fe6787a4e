"""Whole layers on the embedded digits: what they learn, what is folded into the network, what can be resumed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from relubench.activations import ActivationChoice
from relubench.errors import UsageError
from relubench.runs.layer_id import layer_id
from relubench.runs.spec import RunSpec
from relubench.training.images import Images
from relubench.training.pretraining.greedy import LayerTraining, hidden_stages, shuffled
from relubench.training.pretraining.rbm_layer import RbmLayer
from specs import digits, runs

MODEL = {"name": "mlp-48-32"}


def pretrained(
    act: str, method: str, model: dict[str, Any] | None = None, **pretrain: Any
) -> tuple[ActivationChoice, RunSpec]:
    settings = {"methods": [method], "epochs": 3, "lr": 0.02, **pretrain}
    choice, specs = runs(act, model={**MODEL, **(model or {})}, pretrain=settings)
    return choice, specs[0]


def stack(choice: ActivationChoice, spec: RunSpec) -> list[LayerTraining]:
    data, done, below = Images.open(digits(), device="cpu", flat=True), [], []
    for layer in range(2):
        training = LayerTraining(spec, choice, data, layer, below)
        for _ in training.train():
            pass
        done.append(training)
        below.append(training.model.network())
    return done


@pytest.mark.parametrize(
    ("act", "method", "settings"),
    [
        ("sigmoid", "rbm", {"lr": 0.1, "momentum": 0.5}),
        ("tanh", "rbm", {"k": 2}),
        ("relu", "rbm", {"sampled": True}),
        ("softplus", "rbm", {}),
        ("relu", "dae", {}),
        ("tanh", "dae", {}),
        ("gelu", "dae", {"noise": "gaussian"}),
        ("prelu", "dae", {"tied": False, "lr": 0.003}),
        ("swiglu", "dae", {"tied": False, "lr": 0.001}),
        ("relu", "dae", {"noise": "salt-pepper", "reconstruction": "scaled", "l1": 1e-3}),
    ],
)
def test_reconstruction_errors_fall_in_every_layer(act: str, method: str, settings: dict[str, Any]):
    choice, spec = pretrained(act, method, {"sign_flip": act == "relu"}, **settings)
    for training in stack(choice, spec):
        assert not training.diverged
        errors = [point.valid_error for point in training.curve]
        assert None not in errors
        # The second layer of a sigmoid stack has next to nothing to explain after three epochs.
        assert errors[-1] <= errors[0] * 1.05  # type: ignore[operator]


def test_the_folded_weights_give_the_rbms_own_hidden_inputs():
    """Gaussian units on a flipped rectifier layer: the network's z is the RBM's x."""
    choice, spec = pretrained("relu", "rbm", {"sign_flip": True})
    _, second = stack(choice, spec)
    assert isinstance(second.model, RbmLayer)
    x = next(iter(second.source.slices("valid", 20)))
    weights = second.model.network()
    z = x @ weights["1.weight"].t() + weights["1.bias"]
    v = second.model.map(x)
    assert v.std() == pytest.approx(1.0, abs=0.35)
    assert torch.allclose(z, v @ second.model.rbm.weight.t() + second.model.rbm.hidden_bias, atol=1e-4)
    assert torch.allclose(
        second.model.map(second.model.reconstruction(x)), second.model.rbm.reconstruction(v), atol=1e-4
    )


def test_an_interrupted_layer_goes_on_to_the_same_bits():
    for act, method in (("relu", "rbm"), ("nrelu", "dae")):
        choice, spec = pretrained(act, method)
        data = Images.open(digits(), device="cpu", flat=True)
        whole, first, second = (LayerTraining(spec, choice, data, 0, []) for _ in range(3))
        for _ in whole.train():
            pass
        for number, _ in enumerate(first.train()):
            if number == 3:
                break
        tensors, values = first.state()
        second.load({name: one.clone() for name, one in tensors.items()}, values)
        for _ in second.train():
            pass
        assert second.curve == whole.curve
        assert all(torch.equal(one, whole.model.network()[name]) for name, one in second.model.network().items())


def test_a_layer_that_diverges_says_which_and_when():
    choice, spec = pretrained("relu", "dae", reconstruction="linear", lr=50.0)
    data = Images.open(digits(), device="cpu", flat=True)
    training = LayerTraining(spec, choice, data, 0, [])
    for _ in training.train():
        pass
    assert training.diverged.startswith("pre-training of layer 1 diverged in epoch 1")
    assert training.curve[-1].valid_error is None


def test_a_layer_of_gaussian_units_that_diverges_says_what_rates_they_need():
    choice, spec = pretrained("softplus", "rbm", visible="gaussian", lr=5.0)
    training = LayerTraining(spec, choice, Images.open(digits(), device="cpu", flat=True), 0, [])
    for _ in training.train():
        pass
    assert "(Gaussian visible units need rates 10 to 100 times smaller, here less than 5)" in training.diverged


def test_a_free_energy_without_bound_is_a_divergence():
    choice, spec = pretrained("relu", "rbm", lr=0.02)
    training = LayerTraining(spec, choice, Images.open(digits(), device="cpu", flat=True), 0, [])
    assert "grows without bound" in training._divergence(0.1, 0.1, [-1e9, -1e9])
    assert training._divergence(0.1, 0.1, [-100.0, None]) == ""


def test_stacks_with_equal_lower_layers_share_them():
    _, spec = pretrained("relu", "rbm")
    assert spec.stack is not None
    tuned = replace(spec, lr=0.3, epochs=7, dropout=0.5, stack=spec.stack.with_rates((0.02, 0.5)))
    assert layer_id(tuned, 0) == layer_id(spec, 0)
    assert layer_id(tuned, 1) != layer_id(spec, 1)
    for other in (replace(spec, seed=1), replace(spec, activation="tanh"), replace(spec, threads=2)):
        assert layer_id(other, 0) != layer_id(spec, 0)


def test_the_control_has_the_same_numbers_elsewhere():
    weights = {"0.weight": torch.randn(5, 7), "0.bias": torch.randn(5)}
    moved = shuffled(weights, 0, 0)
    for name, one in weights.items():
        assert torch.equal(one.flatten().sort().values, moved[name].flatten().sort().values)
    assert not torch.equal(weights["0.weight"], moved["0.weight"])


def test_stages_take_the_weights_of_finished_layers():
    choice, spec = pretrained("tanh", "dae")
    weights = {"0.weight": torch.full((48, 64), 0.25), "0.bias": torch.full((48,), 0.5)}
    stages = hidden_stages(spec, choice, [weights])
    assert all(torch.equal(one.value, weights[one.name]) for one in stages[0][0].parameters)


@pytest.mark.parametrize(
    ("act", "method", "sections", "words"),
    [
        ("swiglu", "rbm", {}, "swiglu is gated: there is no RBM with such units"),
        ("x*sigmoid(x)", "rbm", {}, "is a formula: there is no RBM"),
        ("elu", "rbm", {}, "elu is without a hidden unit type"),
        ("swiglu", "dae", {}, "its weights cannot be tied"),
        ("relu", "dae", {"pretrain": {"reconstruction": "cross-entropy"}}, "cross-entropy needs codes in"),
        ("relu", "rbm", {"model": {"name": "cnn"}}, "only the layers of a plain mlp are pre-trained"),
        ("relu", "rbm", {"model": {"norm": "batch"}}, "such a layer is not pre-trained"),
        ("relu", "rbm", {"model": {"name": "mlp-10-0"}}, "a layer has 1 to"),
        ("relu", "rbm", {"pretrain": {"corruption": 0.1}}, "belongs to the method dae"),
        ("relu", "dae", {"pretrain": {"k": 3}}, "belongs to the method rbm"),
        ("relu", "file", {}, "--from FILE sets both"),
    ],
)
def test_what_does_not_go_together_is_refused(act: str, method: str, sections: dict[str, Any], words: str):
    pretrain = {"methods": [method], "lr": 0.1, **sections.get("pretrain", {})}
    with pytest.raises(UsageError, match=words):
        runs(act, model={**MODEL, **sections.get("model", {})}, pretrain=pretrain)
