"""A mixture of experts against a plain loop over experts, and what is measured of its routers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from relubench.data import prepare
from relubench.data.prepared import DataOptions
from relubench.errors import UsageError
from relubench.executors.messages import Done
from relubench.executors.tasks import carry_out
from relubench.models.families import parse_model
from relubench.models.layers.experts import Router
from relubench.runs.store import Store
from relubench.training.driver import Interrupted
from relubench.training.population import Population
from relubench.training.probes.experts import used_and_busiest
from relubench.training.text import open_data
from specs import digits, finish, job, runs

STEPS, CONTEXT, BATCH, WIDTH, HEADS = 100, 12, 4, 16, 2
DATA = {"name": "docs", "context": CONTEXT}
TRAIN = {
    "schedule": "constant",
    "warmup_epochs": 0,
    "batch_size": BATCH,
    "probe": "none",
    "optimizer": "sgd",
    "lr": 0.05,
    "weight_decay": 0.0,
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are faster on one thread, many times so where other processes want the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def population_of(act: str, ffn: str, balance: float = 0.01, model: str = f"transformer-2x{WIDTH}") -> Population:
    sections: dict[str, Any] = {"model": {"name": model, "ffn": ffn, "heads": HEADS, "balance": balance}}
    if model.startswith("vit"):
        choice, (spec,) = runs(act, train=TRAIN, **sections)
        return Population([spec], choice, open_data(digits(), device="cpu", flat=False))
    choice, (spec,) = runs(act, data=DATA, train=TRAIN, **sections)
    data = prepare("docs", options=DataOptions(context=CONTEXT))
    return Population([spec], choice, open_data(data, device="cpu", flat=True))


class PlainLoop:
    """The same network from its weights by name, as a plain loop over blocks and experts."""

    def __init__(self, population: Population, act: str) -> None:
        self.spec, self.act = population.spec, act
        mixture = self.spec.model.rpartition("-moe-")[2].split("x")
        self.experts, self.chosen = int(mixture[0]), int(mixture[1])
        self.blocks = len(self.spec.hidden) // self.experts
        self.w = {name: value.clone().requires_grad_() for name, value in population.weights(0, best=False).items()}
        self.balancing = torch.zeros(())

    def dense(self, x: Tensor, name: str) -> Tensor:
        return x @ self.w[f"{name}weight"].T + self.w[f"{name}bias"]

    def normed(self, x: Tensor, name: str) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * self.w[f"{name}-norm-scale"]

    def expert(self, x: Tensor, place: int) -> Tensor:
        z = self.dense(x, f"{place}.")
        if self.act == "swiglu":
            value, gate = z.chunk(2, dim=-1)
            z = value * nn.functional.silu(gate)
        else:
            z = nn.functional.gelu(z)
        return self.dense(z, f"{place}.down-")

    def mixture(self, x: Tensor, place: int) -> Tensor:
        """Of rows [R, D]: every expert on every row, times 0 where it was not chosen."""
        p = (x @ self.w[f"{place}.router-weight"].T).softmax(dim=-1)
        least = p.sort(dim=-1, descending=True).values[:, self.chosen - 1 : self.chosen]
        is_chosen = (p >= least).to(p.dtype)
        assert (is_chosen.sum(dim=-1) == self.chosen).all()
        gates = p * is_chosen
        gates = gates / gates.sum(dim=-1, keepdim=True) if self.chosen > 1 else gates
        shares = is_chosen.sum(dim=0) / is_chosen.sum()
        self.balancing = self.balancing + self.experts * sum(
            share * p[:, expert].mean() for expert, share in enumerate(shares.tolist())
        )
        return sum(gates[:, e : e + 1] * self.expert(x, place + e) for e in range(self.experts))  # type: ignore

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The cross-entropy; `balancing` then has the sum of the blocks' balancing losses."""
        self.balancing = torch.zeros(())
        h = self.w["0.embedding"][x]
        batch, context = x.shape
        for block in range(self.blocks):
            place = block * self.experts
            qkv = self.dense(self.normed(h, f"{place}.attention"), f"{place}.qkv-")
            q, k, v = (part.view(batch, context, HEADS, -1).transpose(1, 2) for part in qkv.split(WIDTH, dim=-1))
            later = torch.ones(context, context, dtype=torch.bool).triu(1)
            scores = rotated(q) @ rotated(k).transpose(-1, -2) / math.sqrt(WIDTH // HEADS)
            attended = scores.masked_fill(later, -math.inf).softmax(dim=-1) @ v
            h = h + self.dense(attended.transpose(1, 2).reshape(batch, context, WIDTH), f"{place}.out-")
            rows = self.normed(h, f"{place}.ffn").flatten(0, 1)
            h = h + self.mixture(rows, place).view_as(h)
        last = self.blocks * self.experts
        logits = self.dense(self.normed(h, f"{last}.last"), f"{last}.")
        return nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())


def rotated(x: Tensor) -> Tensor:
    """Each pair of neighbouring features of [B, H, T, E] turned by t / 10000^(2e/E)."""
    context, width = x.shape[-2:]
    angle = torch.arange(context)[:, None] / 10000 ** (torch.arange(0, width, 2) / width)
    first, second = x[..., 0::2], x[..., 1::2]
    turned = [first * angle.cos() - second * angle.sin(), first * angle.sin() + second * angle.cos()]
    return torch.stack(turned, dim=-1).flatten(-2)


@pytest.mark.parametrize(
    ("act", "ffn", "balance"), [("gelu", "moe-4x2", 0.5), ("swiglu", "moe-5x2", 0.0), ("gelu", "moe-3x1", 0.1)]
)
def test_a_hundred_steps_are_those_of_a_plain_loop(act: str, ffn: str, balance: float):
    population = population_of(act, ffn, balance)
    plain = PlainLoop(population, act)
    order = population.data.epoch_order(0, 0)
    for step in range(STEPS):
        x, y = population.data.train_batch(order[step * BATCH : (step + 1) * BATCH])
        loss = plain.loss(x, y)
        grads = torch.autograd.grad(loss + balance * plain.balancing, list(plain.w.values()))
        with torch.no_grad():
            for value, grad in zip(plain.w.values(), grads, strict=True):
                value -= 0.05 * grad
            population.update.set_factor(1.0)
            target = population.objective.targets(y, 256)
            record = population.train_step(x, target)
        total = float(population.objective.total(record, target, torch.float64))
        assert total / BATCH == pytest.approx(loss.item(), rel=1e-4)
    for name, value in population.weights(0, best=False).items():
        torch.testing.assert_close(value, plain.w[name].detach(), rtol=2e-3, atol=2e-4)


def test_balancing_makes_the_choices_even():
    used = []
    for balance in (0.0, 0.3):
        population = population_of("relu", "moe-4x1", balance, model="transformer-1x16")
        (first, *_) = (layer for layer in population.layers if isinstance(layer, Router))
        with torch.no_grad():
            # One expert is preferred by the rows whose features are positive in the mean.
            first.weight.value[0].add_(0.5)
        order = population.data.epoch_order(0, 0)
        for step in range(50):
            x, y = population.data.train_batch(order[step * BATCH : (step + 1) * BATCH])
            with torch.no_grad():
                population.update.set_factor(1.0)
                population.train_step(x, population.objective.targets(y, 256))
        used.append(used_and_busiest(first.counts)[0])
    assert used[1] > used[0] + 5


def test_the_share_of_experts_used_is_the_number_of_equal_ones():
    assert used_and_busiest([5, 5, 5, 5]) == pytest.approx((100, 25))
    assert used_and_busiest([7, 0, 7, 0]) == pytest.approx((50, 50))
    assert used_and_busiest([0, 0, 3, 0]) == pytest.approx((25, 100))
    assert used_and_busiest([3, 1, 0, 0])[0] == pytest.approx(
        25 * math.exp(-0.75 * math.log(0.75) + 0.25 * math.log(4))
    )


def test_an_expert_without_rows_is_probed_and_tested(tmp_path: Path):
    sections = sections_of("transformer-1x8", "moe-200x1", 1)
    messages = finish(job("gelu", tmp_path, data={**DATA, "train_size": 300}, **sections))
    (result,) = (message.result for message in messages if isinstance(message, Done))
    measured = {value.name: value.value or 0.0 for value in result.measured if value.epoch == 1}
    assert 100 / 200 <= measured["experts_used_pct"] < 100 and measured["busiest_expert_pct"] > 100 / 200
    assert len(result.probes) == 2 * 200 and result.test_score is not None
    idle = [probe for probe in result.probes if probe.quantiles[0] is None]
    # What got no row has no slope anywhere.
    assert idle and all(probe.zeros_pct == 0 and probe.dead == probe.units for probe in idle)


def sections_of(name: str, ffn: str, epochs: int) -> dict[str, Any]:
    return {"model": {"name": name, "ffn": ffn}, "train": {"epochs": epochs, "batch_size": 100}}


def test_a_run_that_is_stopped_ends_in_the_same_bytes(tmp_path: Path):
    sections = {"data": {**DATA, "train_size": 1200}, **sections_of("transformer-1x8", "moe-4x2", 3)}
    whole, stopped = job("swiglu", tmp_path / "whole", **sections), job("swiglu", tmp_path / "stopped", **sections)
    finish(whole)
    calls = itertools.count()
    with pytest.raises(Interrupted):
        list(carry_out(stopped, Store(stopped.store), lambda: next(calls) > 1))
    finish(stopped)
    for file in (tmp_path / "whole" / "runs").rglob("*"):
        if file.is_file():
            assert file.read_bytes() == (tmp_path / "stopped" / file.relative_to(tmp_path / "whole")).read_bytes()


@pytest.mark.parametrize("model", ["transformer-2x64", "transformer-1x32", "vit-2x32"])
def test_parameters_are_what_the_shapes_say_and_equal_for_gated_ones(model: str):
    counts = []
    for act in ("relu", "swiglu"):
        population = population_of(act, "moe-8x2", model=model)
        assert population.parameter_count == population.spec.parameters
        counts.append(population.spec.parameters)
    assert max(counts) / min(counts) < 1.01


def test_a_mixture_has_the_multiplications_of_one_network():
    from relubench.models.architecture import multiplications

    plain, mixed = (population_of("relu", ffn, model="transformer-2x64").spec for ffn in ("plain", "moe-8x2"))
    router = 2 * CONTEXT * 64 * 8
    assert multiplications(mixed, 1) == multiplications(plain, 1) + router
    assert mixed.hidden == (128,) * 16 and mixed.model == "transformer-2x64-moe-8x2" and mixed.balance == 0.01
    assert plain.id != mixed.id and plain.balance == 0.0


def test_images_have_experts_too():
    population = population_of("relu", "moe-4x2", model="vit-1x8")
    with torch.no_grad():
        losses = []
        for step in range(40):
            x, y = population.data.train_batch(torch.arange(64) + 0 * step)
            target = population.objective.targets(y, 10)
            population.update.set_factor(1.0)
            losses.append(float(population.objective.total(population.train_step(x, target), target, torch.float64)))
    assert np.isfinite(losses).all() and losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("model", "ffn", "rule"),
    [
        ("mlp-2x16", "moe-8x2", "--ffn moe-8x2 means nothing to mlp-2x16"),
        ("transformer-1x16-moe-8x2", "moe-4x2", "says already what its experts are"),
        ("transformer-1x16", "moe-1x1", "2 to 256 experts"),
        ("transformer-1x16", "moe-8x8", "2 to 256 experts"),
        ("vit-1x16", "moe-300x2", "2 to 256 experts"),
        ("transformer-1x16", "moe-8x3", "64 hidden units cannot be dealt out evenly to 3"),
    ],
)
def test_what_cannot_be_is_refused(model: str, ffn: str, rule: str):
    with pytest.raises(UsageError, match=rule):
        runs(
            "relu",
            data=DATA if model.startswith("transformer") else {"name": "digits"},
            model={"name": model, "ffn": ffn},
        )


def test_the_name_says_what_the_flag_says():
    assert parse_model("transformer-2x64-moe-8x2").hidden == (128,) * 16
    with pytest.raises(UsageError, match="no model called"):
        parse_model("mlp-2x16-moe-8x2")
