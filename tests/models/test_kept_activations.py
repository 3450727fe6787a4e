"""`--keep-act`: what a pattern names, what stays, what it lifts; and messages that stay short."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from relubench.activations import build, select
from relubench.errors import UsageError
from relubench.models.external.kept_activations import matches
from relubench.models.external.layer import ExternalNetwork
from relubench.models.external.survey import survey

X = torch.rand(4, 8, generator=torch.Generator().manual_seed(1))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense, self.act = nn.Linear(8, 8), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.dense(x)) + F.elu(x)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks, self.last = nn.ModuleList([Block(), Block()]), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.last(torch.tanh(x) + x)


@pytest.mark.parametrize(
    ("patterns", "kept"),
    [
        ((), []),
        (("blocks.0.act",), ["blocks.0.act"]),
        (("blocks.0",), ["blocks.0.act", "blocks.0"]),
        (("*.act",), ["blocks.0.act", "blocks.1.act"]),
        (("forward", "blocks.1.act"), ["blocks.1.act", "forward"]),
    ],
)
def test_what_is_named_stays(patterns: tuple[str, ...], kept: list[str]) -> None:
    uses = survey(Net(), X, "mine", keep=patterns)
    assert [use.name for use in uses if use.kept == "--keep-act"] == kept
    assert len(uses) == 5


def test_the_second_call_of_a_module_has_a_number() -> None:
    network = nn.Sequential(nn.Linear(8, 8), shared := nn.ReLU(), nn.Linear(8, 8), shared, nn.Linear(8, 10))
    assert [use.name for use in survey(network, X, "mine")] == ["1", "1#2"]
    assert [use.kept for use in survey(network, X, "mine", keep=["1#2"])] == ["", "--keep-act"]


def test_a_kept_place_computes_what_it_did() -> None:
    network = Net()
    uses = survey(network, X, "mine", keep=["blocks"])
    layer = ExternalNetwork(network, uses, build(select(["identity"])[0]), 0, device="cpu", bf16=False)
    with torch.no_grad():
        h = network.blocks[1](network.blocks[0](X))
        torch.testing.assert_close(layer.forward(X, False), network.last(h + h))


def test_a_pattern_that_names_nothing_is_refused_with_the_places() -> None:
    with pytest.raises(UsageError, match="--keep-act tail: mine calls no activation there") as refused:
        survey(Net(), X, "mine", keep=["tail"])
    assert "blocks.0.act" in refused.value.hint


@pytest.mark.parametrize(
    "extra",
    [
        lambda z: z.clamp(min=-1),
        lambda z: z / (2 + torch.exp(-z)),
        lambda z: z * F.relu6(z + 2) / 4,
        lambda z: torch.where(z > 1, z, 0.1 * z),
        lambda z: checkpoint(F.gelu, z, use_reentrant=False),
        lambda z: torch.tanh(F.softplus(z)),
    ],
)
def test_what_cannot_be_exchanged_can_be_kept(extra) -> None:
    network = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), Odd(extra), nn.Linear(8, 10))
    with pytest.raises(UsageError, match=r"these calls cannot be exchanged: .* in (2|forward)") as refused:
        survey(network, X, "mine")
    assert "--keep-act PATH" in refused.value.hint
    uses = survey(network, X, "mine", keep=["2"])
    layer = ExternalNetwork(network, uses, build(select(["tanh"])[0]), 0, device="cpu", bf16=False)
    layer.forward(X, training=True)
    torch.testing.assert_close(layer.y, network[3](extra(torch.tanh(network[0](X)))))
    torch.autograd.grad(layer.y.sum(), layer.leaves)


class Odd(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def test_a_refusal_names_three_calls_and_counts_the_others() -> None:
    network = nn.Sequential(nn.Linear(8, 8), *(Odd(lambda z: z.clamp(min=-9)) for _ in range(200)), nn.Linear(8, 10))
    with pytest.raises(UsageError, match=r"(?m)clamp in 1; clamp in 2; clamp in 3; and 197 more$") as refused:
        survey(network, X, "mine")
    assert len(refused.value.message) < 200


@pytest.mark.parametrize(
    ("name", "pattern", "named"),
    [("a.b#2", "a.b", True), ("a.b#2", "a.b#3", False), ("a.b", "a", True), ("ab.c", "a", False), ("x", "*", True)],
)
def test_patterns(name: str, pattern: str, named: bool) -> None:
    assert matches(name, [pattern]) == named
