"""A Transformer against torch.nn, autograd and torch.optim from the same weights, and against the formulas."""

from __future__ import annotations

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
from relubench.models.families import parse_model
from relubench.models.layers.transformer import Attention, Rotation
from relubench.models.optimizers import Parameter, Sgd
from relubench.runs.task import task_called, unigram_bits
from relubench.training.losses import objective_of
from relubench.training.population import Population
from relubench.training.probes.dead_units import unit_statuses
from relubench.training.text import Text, open_data
from specs import check_stopped_run, digits, runs

STEPS, CONTEXT, BATCH = 100, 24, 4
DATA = {"name": "docs", "context": CONTEXT}
CONSTANT = {"schedule": "constant", "warmup_epochs": 0, "batch_size": BATCH, "probe": "none"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are faster on one thread, many times so where other processes want the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class PlainNetwork(nn.Module):
    """The same network as a user of PyTorch would write it, with its own attention, norms and rotation."""

    def __init__(self, blocks: int, width: int, heads: int, units: int, act: str, norm: str) -> None:
        super().__init__()
        self.heads, self.act = heads, act
        make_norm = (lambda: nn.RMSNorm(width, eps=1e-5)) if norm == "rms" else (lambda: nn.LayerNorm(width, eps=1e-5))
        columns = 2 if act == "swiglu" else 1
        self.embedding = nn.Embedding(256, width)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "attention": make_norm(),
                    "qkv": nn.Linear(width, 3 * width),
                    "out": nn.Linear(width, width),
                    "ffn": make_norm(),
                    "up": nn.Linear(width, columns * units),
                    "down": nn.Linear(units, width),
                }
            )
            for _ in range(blocks)
        )
        self.last, self.head = make_norm(), nn.Linear(width, 256)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embedding(x)
        for block in self.blocks:
            assert isinstance(block, nn.ModuleDict)
            h = h + block["out"](attention(block["qkv"](block["attention"](h)), self.heads))
            z = block["up"](block["ffn"](h))
            if self.act == "swiglu":
                value, gate = z.chunk(2, dim=-1)
                z = value * nn.functional.silu(gate)
            else:
                z = nn.functional.relu(z) if self.act == "relu" else nn.functional.gelu(z)
            h = h + block["down"](z)
        return self.head(self.last(h))

    def adopt(self, weights: dict[str, Tensor]) -> None:
        """Take the weights of a run, by their names."""
        depth = len(self.blocks)
        names = {"embedding.weight": "0.embedding"}
        for number in range(depth):
            for layer in ("qkv", "out", "down"):
                names |= {f"blocks.{number}.{layer}.{p}": f"{number}.{layer}-{p}" for p in ("weight", "bias")}
            names |= {f"blocks.{number}.up.{p}": f"{number}.{p}" for p in ("weight", "bias")}
            for layer in ("attention", "ffn"):
                names |= {f"blocks.{number}.{layer}.weight": f"{number}.{layer}-norm-scale"}
                names |= {f"blocks.{number}.{layer}.bias": f"{number}.{layer}-norm-shift"}
        names |= {"last.weight": f"{depth}.last-norm-scale", "last.bias": f"{depth}.last-norm-shift"}
        names |= {"head.weight": f"{depth}.weight", "head.bias": f"{depth}.bias"}
        own = dict(self.named_parameters())
        assert {names[name] for name in own} == weights.keys()
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(weights[names[name]])


def attention(qkv: Tensor, heads: int) -> Tensor:
    """Causal attention with rotary positions, by its formula, of [B, T, 3D]."""
    batch, context, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    q, k, v = (part.view(batch, context, heads, -1).transpose(1, 2) for part in qkv.split(width, dim=-1))
    q, k = rotated(q), rotated(k)
    scores = q @ k.transpose(-1, -2) / math.sqrt(width // heads)
    later = torch.ones(context, context, dtype=torch.bool).triu(1)
    p = scores.masked_fill(later, -math.inf).softmax(dim=-1)
    return (p @ v).transpose(1, 2).reshape(batch, context, width)


def rotated(x: Tensor) -> Tensor:
    """Each pair of neighbouring features of [B, H, T, E] turned by t / 10000^(2e/E)."""
    context, width = x.shape[-2:]
    angle = torch.arange(context)[:, None] / 10000 ** (torch.arange(0, width, 2) / width)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x[..., 0::2], x[..., 1::2]
    return torch.stack([first * cos - second * sin, first * sin + second * cos], dim=-1).flatten(-2)


def network(act: str, norm: str, **train: Any) -> Population:
    choice, (spec,) = runs(act, data=DATA, model={"name": "transformer-2x16", "norm": norm}, train=CONSTANT | train)
    return Population([spec], choice, open_data(prepared(), device="cpu", flat=True))


def prepared(context: int = CONTEXT) -> Any:
    return prepare("docs", options=DataOptions(context=context))


def batches(population: Population) -> list[tuple[Tensor, Tensor]]:
    order = population.data.epoch_order(0, 0)
    return [population.data.train_batch(order[step * BATCH : (step + 1) * BATCH]) for step in range(STEPS)]


@pytest.mark.parametrize(
    ("act", "norm", "optimizer"),
    [("relu", "rms", "sgd"), ("swiglu", "rms", "adamw"), ("gelu", "layer", "sgd"), ("gelu", "rms", "adam")],
)
def test_a_hundred_steps_are_those_of_a_plain_loop(act: str, norm: str, optimizer: str):
    rate = 0.05 if optimizer == "sgd" else 0.001
    population = network(act, norm, optimizer=optimizer, lr=rate, weight_decay=0.0)
    plain = PlainNetwork(2, 16, population.spec.heads, population.spec.hidden[0], act, norm)
    assert population.spec.hidden[0] == population.spec.hidden[1]
    plain.adopt(population.weights(0, best=False))
    makers = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    keywords = {"weight_decay": 0.0} if optimizer == "adamw" else {}
    update = makers[optimizer](plain.parameters(), lr=rate, **keywords)
    for x, y in batches(population):
        update.zero_grad()
        loss = nn.functional.cross_entropy(plain(x).flatten(0, 1), y.flatten())
        loss.backward()
        update.step()
        target = population.objective.targets(y, 256)
        with torch.no_grad():
            population.update.set_factor(1.0)
            record = population.train_step(x, target)
        total = float(population.objective.total(record, target, torch.float64))
        assert total / BATCH == pytest.approx(loss.item(), rel=2e-3 if optimizer != "sgd" else 1e-3)
    if optimizer == "sgd":
        twin = PlainNetwork(2, 16, population.spec.heads, population.spec.hidden[0], act, norm)
        twin.adopt(population.weights(0, best=False))
        for own, other in zip(plain.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(own, other, rtol=5e-3, atol=5e-4)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_its_formula_and_sees_nothing_later(heads: int):
    generator = torch.Generator().manual_seed(heads)
    width, context, batch = 16, 7, 3
    layer = Attention(heads, context, Rotation(width // heads, context), causal=True)
    qkv = torch.randn(batch * context, 3 * width, generator=generator)
    grad = torch.randn(batch * context, width, generator=generator)
    leaf = qkv.double().requires_grad_()
    expected = attention(leaf.view(batch, context, -1), heads).reshape(-1, width)
    (expected_grad,) = torch.autograd.grad(expected, leaf, grad.double())
    with torch.no_grad():
        torch.testing.assert_close(layer.forward(qkv.clone(), training=False).double(), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(layer.forward(qkv.clone(), training=True).double(), expected, rtol=1e-4, atol=1e-5)
        update = Sgd([Parameter("x", torch.zeros(1), False)], [0.1], 0.0, 0.0, False)
        torch.testing.assert_close(layer.backward(grad, update, False).double(), expected_grad, rtol=1e-4, atol=1e-5)
        changed = qkv.clone().view(batch, context, -1)
        changed[:, 4:] += 1.0
        before, after = (
            layer.forward(value.reshape(batch * context, -1), training=False).view(batch, context, -1)
            for value in (qkv.clone(), changed)
        )
    assert torch.equal(before[:, :4], after[:, :4]) and not torch.allclose(before[:, 4:], after[:, 4:])


def test_the_task_is_scored_by_its_formula():
    objective, generator = objective_of("language"), torch.Generator().manual_seed(0)
    z = torch.randn(3 * 5, 256, generator=generator, dtype=torch.float64).requires_grad_(True)
    y = torch.randint(0, 256, (3, 5), generator=generator)
    p = z.detach().softmax(dim=-1).view(3, 5, 256)
    bits = torch.tensor([[-math.log2(p[b, t, y[b, t]]) for t in range(5)] for b in range(3)], dtype=torch.float64)
    torch.testing.assert_close(objective.scores(z, y), bits.mean(dim=1))
    torch.testing.assert_close(objective.losses(z.unsqueeze(0), y), bits.mean(dim=1).mul(math.log(2)).unsqueeze(0))
    (expected,) = torch.autograd.grad(objective.losses(z, y).mean(), z)
    target = objective.targets(y, 256)
    grad, record = objective.gradient(z.detach(), target)
    torch.testing.assert_close(grad, expected)
    total = objective.total(record, target, torch.float64)
    torch.testing.assert_close(total, bits.mean(dim=1).sum() * math.log(2))


def test_chance_is_the_entropy_of_the_characters():
    text = np.frombuffer(b"aaabbc" * 4, np.uint8).reshape(4, 6)
    entropy = -sum(share * math.log2(share) for share in (1 / 2, 1 / 3, 1 / 6))
    assert unigram_bits(text).shape == (4,) and unigram_bits(text).mean() == pytest.approx(entropy)
    task = task_called("language")
    assert task.is_at_chance(entropy, text) and not task.is_at_chance(entropy - 0.5, text) and task.lower_is_better


def test_windows_cover_the_text_at_another_offset_in_every_epoch():
    data = open_data(prepared(), device="cpu", flat=True)
    assert isinstance(data, Text)
    text = data.splits["train"][0].numpy()
    begins = [data.epoch_order(3, epoch) for epoch in range(4)]
    offsets = [int(order.min()) for order in begins]
    assert len(set(offsets)) > 1 and all(0 <= offset < CONTEXT for offset in offsets)
    for order, offset in zip(begins, offsets, strict=True):
        assert sorted(order.tolist()) == [offset + CONTEXT * number for number in range(data.n_train)]
        assert int(order.max()) + CONTEXT < len(text)
    assert torch.equal(data.epoch_order(3, 1), begins[1]) and not torch.equal(data.epoch_order(4, 1), begins[1])
    x, y = data.train_batch(begins[0][:2])
    for row, begin in enumerate(begins[0][:2].tolist()):
        assert bytes(text[begin : begin + CONTEXT]) == bytes(x[row].tolist())
        assert bytes(text[begin + 1 : begin + 1 + CONTEXT]) == bytes(y[row].tolist())
    held_out = data.splits["valid"][0].numpy()
    targets = np.concatenate([y.numpy().ravel() for _, y in data.slices("valid", 7)])
    assert bytes(targets.astype(np.uint8)) == bytes(held_out[1 : len(targets) + 1])
    assert len(held_out) - len(targets) <= CONTEXT and np.array_equal(data.labels("valid").ravel(), targets)


def test_a_run_that_is_stopped_ends_in_the_same_bytes(tmp_path: Path):
    sections = {
        "data": {**DATA, "train_size": 1200},
        "model": {"name": "transformer-1x8", "dropout": 0.1},
        "train": {"epochs": 3, "batch_size": 100, "probe": "all"},
    }
    check_stopped_run("swiglu", tmp_path, 1, **sections)


def test_gated_networks_have_equal_parameters():
    for model in ("transformer-2x64", "transformer-4x128", "transformer-2x16"):
        counts = [runs(act, data=DATA, model={"name": model})[1][0].parameters for act in ("relu", "swiglu", "maxout")]
        assert max(counts) / min(counts) < 1.01
    _, (spec,) = runs("relu", data=DATA, model={"name": "transformer-4x128", "norm": "layer"})
    block = 4 * 128 * 128 + 4 * 128 + 2 * 4 * 128 * 128 + 5 * 128 + 2 * 2 * 128
    assert spec.parameters == 4 * block + 256 * 128 + 2 * 128 + 129 * 256
    assert parse_model("transformer-4x128").heads == 4 and parse_model("transformer-1x10").heads == 1


def test_a_vision_transformer_s_steps_are_those_of_a_plain_loop():
    model = {"name": "vit-1x8", "heads": 2}
    choice, (spec,) = runs("gelu", model=model, train=CONSTANT | {"optimizer": "sgd", "lr": 0.05, "weight_decay": 0.0})
    population = Population([spec], choice, open_data(digits(), device="cpu", flat=False))
    weights = {name: value.clone().requires_grad_() for name, value in population.weights(0, best=False).items()}
    # Patches of 2 x 2 of the digits' 8 x 8 pixels, by lines; sines and cosines of a patch's line and column.
    places = torch.tensor([[line, column] for line in range(4) for column in range(4)], dtype=torch.float64)
    rates = torch.tensor([1.0, 1e-4], dtype=torch.float64)
    codes = torch.cat(
        [
            torch.cat([(places[:, axis, None] * rates).sin(), (places[:, axis, None] * rates).cos()], 1)
            for axis in (0, 1)
        ],
        dim=1,
    ).float()

    def logits(images: Tensor) -> Tensor:
        patches = images.view(-1, 4, 2, 4, 2).permute(0, 1, 3, 2, 4).reshape(-1, 16, 4)
        h = patches @ weights["0.patches-weight"].T + weights["0.patches-bias"] + codes

        def dense(x: Tensor, name: str) -> Tensor:
            return x @ weights[f"{name}weight"].T + weights[f"{name}bias"]

        def normed(x: Tensor, name: str) -> Tensor:
            return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weights[f"{name}-norm-scale"]

        qkv = dense(normed(h, "0.attention"), "0.qkv-")
        q, k, v = (part.reshape(-1, 16, 2, 4).transpose(1, 2) for part in qkv.split(8, dim=-1))
        p = (q @ k.transpose(-1, -2) / 2.0).softmax(dim=-1)
        h = h + dense((p @ v).transpose(1, 2).reshape(-1, 16, 8), "0.out-")
        h = h + dense(nn.functional.gelu(dense(normed(h, "0.ffn"), "0.")), "0.down-")
        return dense(normed(h, "1.last").mean(dim=1), "1.")

    order = population.data.epoch_order(0, 0)
    for step in range(STEPS):
        x, y = population.data.train_batch(order[step * BATCH : (step + 1) * BATCH])
        loss = nn.functional.cross_entropy(logits(x.contiguous()), y)
        grads = torch.autograd.grad(loss, list(weights.values()))
        with torch.no_grad():
            for value, grad in zip(weights.values(), grads, strict=True):
                value -= 0.05 * grad
            population.update.set_factor(1.0)
            target = population.objective.targets(y, 10)
            record = population.train_step(x, target)
        assert float(population.objective.total(record, target, torch.float64)) / BATCH == pytest.approx(
            loss.item(), rel=1e-4
        )
    for name, value in population.weights(0, best=False).items():
        torch.testing.assert_close(value, weights[name].detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("act", ["relu", "swiglu"])
def test_a_unit_without_a_way_into_the_stream_is_cut_off(act: str):
    population = network(act, "rms")
    columns = 2 if act == "swiglu" else 1
    units = population.spec.hidden
    with_slope = [np.ones((1, columns * width), dtype=bool) for width in units]
    with_slope[1][:] = False
    values = {parameter.name: parameter.value for parameter in population.parameters}
    values["0.down-weight"][:, 3] = 0.0
    statuses = unit_statuses(population.layers, with_slope, columns, batched=False)
    # All units of the second block are dead, and yet the first one's reach the output: by the stream.
    assert np.flatnonzero(statuses[0].cut_off).tolist() == [3] and not statuses[0].dead.any()
    assert statuses[1].dead.all()
