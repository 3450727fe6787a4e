"""Populations: every activation trains, alone and batched; members do not touch each other; a stop can be resumed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from relubench.activations import ACTIVATIONS
from relubench.runs.checkpoint import from_bytes, to_bytes
from relubench.training.images import Images
from relubench.training.population import Population
from relubench.training.schedule import lr_factor
from specs import digits, finished, runs

EVERYTHING = {"model": {"name": "mlp-2x32", "norm": "batch", "dropout": 0.2, "sign_flip": True}}


def population(act: str, *, seeds: int = 1, flat: bool = True, **sections: Any) -> Population:
    choice, specs = runs(act, seeds=seeds, **sections)
    return Population(specs, choice, Images.open(digits(), device="cpu", flat=flat))


@pytest.mark.parametrize("act", [*ACTIVATIONS, "x*tanh(softplus(x))"])
@pytest.mark.parametrize("members", [1, 4])
def test_every_activation_trains_two_epochs(act: str, members: int):
    one = finished(population(act, seeds=members, train={"epochs": 2, "lr": 0.02}, **EVERYTHING))
    for member in one.members:
        assert len(member.curve) == 2
        assert member.stopped == ""
        for point in member.curve:
            assert point.train_loss is not None and math.isfinite(point.train_loss)


@pytest.mark.parametrize("act", ["relu", "prelu", "nrelu", "swiglu", "maxout:pieces=3", "x*sigmoid(1.7*x)"])
@pytest.mark.parametrize("norm", ["none", "batch", "layer", "rms"])
def test_every_norm_trains_a_cnn_alone_and_stacked(act: str, norm: str):
    for members in (1, 2):
        model = {"name": "cnn", "norm": norm, "dropout": 0.1, "sign_flip": True, "match": "width"}
        one = finished(
            population(act, seeds=members, flat=False, model=model, train={"epochs": 1, "lr": 0.01, "batch_size": 128})
        )
        assert all(member.curve[0].train_loss is not None for member in one.members)


@pytest.mark.parametrize("act", ["relu", "prelu", "nrelu", "rrelu", "geglu"])
def test_a_member_of_a_stack_agrees_with_the_same_network_alone(act: str):
    """Within float32 rounding: the first steps' weights are the same, learned, drawn and normed state included."""
    sections = {"train": {"epochs": 1, "lr": 0.01}, **EVERYTHING}
    together = population(act, seeds=3, **sections)
    alone = population(act, seeds=3, **sections)
    choice, specs = runs(act, seeds=3, **sections)
    alone = Population([specs[2]], choice, together.data)
    for _, _ in zip(range(1), together.train(), strict=False):
        pass
    for _, _ in zip(range(1), alone.train(), strict=False):
        pass
    for name, value in alone.weights(0, best=False).items():
        torch.testing.assert_close(together.weights(2, best=False)[name].view_as(value), value, rtol=1e-3, atol=1e-4)


def test_what_a_users_module_draws_is_the_members_own():
    """nn.RReLU draws from the global generator: whatever that holds, the run is the same, and it stays as it was."""
    first = finished(population("torch.nn:RReLU", train={"epochs": 1, "lr": 0.02}, **EVERYTHING))
    torch.manual_seed(7)
    before = torch.get_rng_state()
    again = finished(population("torch.nn:RReLU", train={"epochs": 1, "lr": 0.02}, **EVERYTHING))
    assert torch.equal(torch.get_rng_state(), before)
    assert again.members[0].curve == first.members[0].curve
    choice, specs = runs("torch.nn:RReLU", seeds=3, train={"epochs": 1}, **EVERYTHING)
    forth = finished(Population(specs, choice, first.data))
    back = finished(Population(specs[::-1], choice, first.data))
    for place in range(3):
        assert forth.members[place].curve == back.members[2 - place].curve


def test_permuting_members_permutes_their_results():
    choice, specs = runs("nrelu", seeds=3, train={"epochs": 1}, **EVERYTHING)
    data = Images.open(digits(), device="cpu", flat=True)
    forth = finished(Population(specs, choice, data))
    back = finished(Population(specs[::-1], choice, data))
    for place in range(3):
        assert forth.members[place].curve == back.members[2 - place].curve


def test_a_member_that_diverges_does_not_disturb_the_others():
    choice, specs = runs("relu", seeds=3, train={"epochs": 2}, model={"name": "mlp-2x32"})
    data = Images.open(digits(), device="cpu", flat=True)
    calm = finished(Population(specs, choice, data))
    wild = finished(Population([specs[0], replace(specs[1], lr=1e30), specs[2]], choice, data))
    assert wild.members[1].stopped == "diverged"
    assert wild.members[1].curve[-1].train_loss is None
    for place in (0, 2):
        assert wild.members[place].curve == calm.members[place].curve
    np.testing.assert_array_equal(
        wild.evaluate("test", best=True).scores[[0, 2]], calm.evaluate("test", best=True).scores[[0, 2]]
    )


def test_a_lone_diverged_network_stops_early():
    one = finished(population("relu", train={"epochs": 5, "lr": 1e30}, model={"name": "mlp-2x32"}))
    assert one.members[0].stopped == "diverged"
    assert len(one.members[0].curve) < 5


def test_a_network_that_learns_nothing_is_stalled():
    one = finished(population("sigmoid", train={"epochs": 1, "lr": 1e-9}, model={"name": "mlp-3x32"}))
    assert one.still_at_chance(one.members[0])
    good = finished(population("relu", train={"epochs": 2}, model={"name": "mlp-2x32"}))
    assert not good.still_at_chance(good.members[0])


def test_the_same_seed_gives_the_same_batches_to_every_activation():
    orders = []
    for act in ("relu", "nrelu", "swiglu"):
        one = population(act, **EVERYTHING)
        one.draw_order()
        orders.append(one.order_PN)
    assert torch.equal(orders[0], orders[1]) and torch.equal(orders[0], orders[2])


def test_the_same_seed_starts_from_the_same_draws():
    first, second = population("relu", model={"init": "he"}), population("tanh", model={"init": "he"})
    assert torch.equal(first.parameters[0].value, second.parameters[0].value)


def test_patience_stops_and_the_best_epochs_weights_are_tested():
    one = finished(population("relu", train={"epochs": 40, "patience": 2}, model={"name": "mlp-2x32"}))
    member = one.members[0]
    errors = [point.valid_error_pct for point in member.curve]
    assert member.stopped == "patience" and len(errors) < 40
    assert member.best_epoch == errors.index(min(errors)) + 1 == len(errors) - 2
    assert 100 * one.evaluate("valid", best=True).scores[0].mean() == min(errors)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_population_resumed_anywhere_ends_in_the_same_bits(members: int, optimizer: str):
    sections = {"train": {"epochs": 2, "optimizer": optimizer, "lr": 0.01, "batch_size": 100}, **EVERYTHING}
    whole = population("nrelu", seeds=members, **sections)
    whole.batch_chunk = 3
    states = [to_bytes(*whole.state())]
    for _ in whole.train():
        states.append(to_bytes(*whole.state()))
    end = states[-1]
    for state in states[:-1]:
        resumed = population("nrelu", seeds=members, **sections)
        resumed.batch_chunk = 3
        resumed.load(*from_bytes(state))
        assert to_bytes(*finished(resumed).state()) == end


def test_augmented_training_draws_from_its_own_stream():
    train = {"epochs": 1, "batch_size": 64, "lr": 0.01}
    plain = finished(population("relu", flat=False, model={"name": "cnn"}, train=train))
    moved = finished(population("relu", flat=False, model={"name": "cnn"}, train=train, data={"augment": "crop+flip"}))
    assert plain.members[0].curve != moved.members[0].curve


def test_exact_zeros_are_counted_per_hidden_layer():
    relu = finished(population("relu", train={"epochs": 1}, model={"name": "mlp-3x32"}))
    zeros = relu.evaluate("test", sparsity=True).zeros
    assert zeros.shape == (1, 3) and (zeros > 0.05).all() and (zeros < 0.95).all()
    tanh = finished(population("tanh", train={"epochs": 1}, model={"name": "mlp-3x32"}))
    assert tanh.evaluate("test", sparsity=True).zeros.tolist() == [[0.0, 0.0, 0.0]]


def test_warmup_and_cosine_shape_the_learning_rate():
    spec = population("relu", train={"epochs": 4, "schedule": "cosine", "warmup_epochs": 1}).spec
    factors = [lr_factor(spec, step, 10) for step in range(40)]
    assert factors[:10] == sorted(factors[:10]) and factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[10] == 1.0 and factors[-1] < 0.01


def test_bf16_trains_close_to_fp32():
    sections = {"train": {"epochs": 1}, "model": {"name": "mlp-2x32"}}
    full = finished(population("relu", **sections))
    sections["train"] = {"epochs": 1, "precision": "bf16"}
    half = finished(population("relu", **sections))
    assert half.members[0].curve != full.members[0].curve
    assert abs(half.members[0].best_score - full.members[0].best_score) < 5
