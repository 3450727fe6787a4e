"""Gated activations in other people's networks: values, gradients, sizes and first weights, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relubench.activations import build, select
from relubench.errors import UsageError
from relubench.models.external.gated_blocks import matched_units, resized, spread_ratio, widen
from relubench.models.external.layer import ExternalNetwork
from relubench.models.external.linear_blocks import LinearBlock, linear_blocks
from relubench.models.external.networks import draw_network, make_gated, uses_of
from relubench.models.external.survey import survey
from specs import runs

SIZE, UNITS, CLASSES = 8, 24, 10
X = torch.rand(6, 5, SIZE, generator=torch.Generator().manual_seed(1))
"""Sequences of five rows."""


class Net(nn.Module):
    """A block in a residual, whose make is `between`; `parts` has its layers and parameters."""

    def __init__(self, between: Callable[..., Tensor], units: int = UNITS, biased=True) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(SIZE, units, bias=biased), nn.Linear(units, SIZE, bias=biased)
        self.w, self.b = nn.Parameter(torch.randn(SIZE, units) / 3), nn.Parameter(torch.randn(units) / 3)
        self.v = nn.Parameter(torch.randn(units, SIZE) / 5)
        self.drop, self.act, self.norm = nn.Dropout(0.5), nn.GELU(), nn.LayerNorm(units)
        self.out = nn.Linear(SIZE, CLASSES)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.out((x + self.between(self, x)).mean(1))


MAKES: dict[str, Callable[..., Tensor]] = {
    "modules": lambda n, x: n.drop(n.second(n.drop(n.act(n.first(x))))),
    "functions": lambda n, x: F.linear(F.silu(F.linear(x, n.w.t(), n.b)), n.v.T),
    "products": lambda n, x: torch.relu(x @ n.w + n.b) @ n.v,
    "in place": lambda n, x: n.second(F.relu(n.first(x), inplace=True)),
    "of rows": lambda n, x: torch.addmm(n.second.bias, torch.tanh(torch.addmm(n.b, x.flatten(0, 1), n.w)), n.v).view_as(
        x
    ),
    "time first": lambda n, x: n.second(n.act(n.first(x.transpose(0, 1)))).transpose(0, 1),
    "laid out between": lambda n, x: n.second(n.act(n.first(x)).flatten(0, 1)).unflatten(0, x.shape[:2]),
    "swish by hand": lambda n, x: n.second((z := n.first(x)) * torch.sigmoid(z)),
    "gelu by hand": lambda n, x: n.second(0.5 * (z := n.first(x)) * (1 + torch.erf(z / math.sqrt(2)))),
}


def network_of(between: Callable[..., Tensor], seed: int = 0, **settings) -> Net:
    torch.manual_seed(seed)
    return Net(between, **settings)


def gated(network: Net, act: str, match: str = "parameters") -> ExternalNetwork:
    choice = select([act])[0]
    uses = survey(network, X, "mine", classes=CLASSES)
    entries = list(linear_blocks(network, uses, X, (), CLASSES))
    blocks = [entry for entry in entries if isinstance(entry, LinearBlock)]
    assert len(blocks) == len(entries) == 1, entries
    units = matched_units(network, blocks, choice.inputs_per_unit, match)
    changes = resized(blocks, units, choice.inputs_per_unit)
    widen(network, changes, lambda number: network_of(network.between, number))
    return ExternalNetwork(network, uses, build(choice), 0, device="cpu", bf16=False)


def by_hand(network: Net, make: str, x: Tensor) -> Tensor:
    """The same block with x*silu(gate), written down from the network's new weights."""
    mine = make in ("functions", "products", "of rows")
    w, b = (network.w, network.b) if mine else (network.first.weight.T, network.first.bias)
    v = network.v if mine else network.second.weight.T
    value, gate = (x @ w + b).chunk(2, -1)
    h = (value * gate * torch.sigmoid(gate)) @ v
    h = h if make in ("functions", "products") else h + network.second.bias
    return network.out((x + h).mean(1))


@pytest.mark.parametrize("make", MAKES)
def test_a_block_computes_what_the_gated_one_does_by_hand(make: str):
    """Values and all gradients; 24 units of 17 parameters become 16 of 25, within 1 % (of 24*17 and 16*25)."""
    network = network_of(MAKES[make])
    network.drop.p = 0.0
    layer = gated(network, "swiglu")
    assert (network.w if make in ("functions", "products", "of rows") else network.first.weight).numel() == SIZE * 32
    leaves = [leaf for leaf in network.parameters()]
    expected = by_hand(network, make, X)
    expected_gradients = torch.autograd.grad(expected.square().sum(), leaves, allow_unused=True, materialize_grads=True)
    torch.testing.assert_close(layer.forward(X, training=False), expected.detach())
    y = layer.forward(X, training=True)
    torch.testing.assert_close(y, expected.detach())
    gradients = torch.autograd.grad(layer.y, leaves, 2 * y, allow_unused=True, materialize_grads=True)
    assert sum(bool(gradient.any()) for gradient in gradients) >= 4
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("act", "pieces"), [("glu", 2), ("reglu", 2), ("bilinear", 2), ("maxout:pieces=3", 3)])
def test_the_number_of_parameters_stays_within_one_percent(act: str, pieces: int):
    network = network_of(MAKES["modules"], units=48)
    before = sum(parameter.numel() for parameter in network.parameters())
    layer = gated(network, act)
    after = sum(parameter.numel() for parameter in network.parameters())
    assert abs(after - before) <= 0.01 * before
    units = network.second.in_features
    assert network.first.out_features == pieces * units and units < 48
    assert layer.forward(X, training=True).shape == (6, CLASSES)


def test_at_equal_width_the_first_layer_doubles():
    network = network_of(MAKES["modules"])
    gated(network, "geglu", match="width")
    assert (network.first.weight.shape, network.second.weight.shape) == ((2 * UNITS, SIZE), (SIZE, UNITS))


def test_a_layer_between_two_activations_changes_on_both_sides():
    def chain(n: Net, x: Tensor) -> Tensor:
        return F.relu(n.act(n.first(x)) @ n.between_both) @ n.v

    network = network_of(chain, units=48)
    network.between_both = nn.Parameter(torch.randn(48, 48))
    uses = survey(network, X, "mine", classes=CLASSES)
    blocks = [block for block in linear_blocks(network, uses, X, (), CLASSES) if isinstance(block, LinearBlock)]
    units = matched_units(network, blocks, 2, "parameters")
    changed = {id(change.parameter): change.shape for change in resized(blocks, units, 2)}
    assert changed == {
        id(network.first.weight): [2 * units[0], SIZE],
        id(network.first.bias): [2 * units[0]],
        id(network.between_both): [units[0], 2 * units[1]],
        id(network.v): [units[1], SIZE],
    }


def test_no_widths_within_one_percent_are_refused():
    network = network_of(MAKES["modules"], units=2)
    uses = survey(network, X, "mine", classes=CLASSES)
    blocks = [block for block in linear_blocks(network, uses, X, (), CLASSES) if isinstance(block, LinearBlock)]
    for parameter in (network.w, network.b, network.v, *network.out.parameters(), *network.norm.parameters()):
        parameter.requires_grad_(False)
    with pytest.raises(UsageError, match="no widths of its 1 linear blocks come within 1 %"):
        matched_units(network, blocks, 2, "parameters")


@pytest.mark.parametrize("rule", [nn.init.xavier_uniform_, nn.init.kaiming_normal_, "own", "fixed"])
def test_new_weights_have_the_spread_of_the_rule_that_drew_the_old_ones(rule):
    def drawn(inputs: int, outputs: int) -> Tensor:
        layer = nn.Linear(inputs, outputs)
        if rule == "fixed":
            nn.init.trunc_normal_(layer.weight, std=0.02)
        elif rule != "own":
            rule(layer.weight)
        return layer.weight.detach()

    torch.manual_seed(0)
    old, new = drawn(300, 80), drawn(200, 80)
    ratio = spread_ratio(old, (300, 80), (200, 80))
    assert float(old.std()) * ratio == pytest.approx(float(new.std()), rel=0.02)
    assert (ratio == 1.0) == (rule == "fixed")


def test_the_rows_of_a_gate_are_those_of_another_draw():
    network, other = network_of(MAKES["modules"]), network_of(MAKES["modules"], 1)
    own = network.first.weight.detach().clone()
    gated(network, "swiglu")
    torch.testing.assert_close(network.first.weight, torch.cat([own, other.first.weight])[:32])
    assert not torch.equal(network.first.weight[16:], network.first.weight[:16])


REFUSED: dict[str, tuple[Callable[..., Tensor], str]] = {
    "a shared layer": (lambda n, x: n.second(n.act(n.first(x))) + n.second(n.norm(n.first(x))), "shared"),
    "a layer twice": (lambda n, x: n.second(n.act(n.first(n.second(n.act(n.first(x)))))), "shared"),
    "tied weights": (lambda n, x: n.act(x @ n.v.T) @ n.v, "shared"),
    "weights read beside": (lambda n, x: n.second(n.act(n.first(x))) * n.first.weight.detach().norm(), "shared"),
    "a penalty inside": (lambda n, x: n.second(n.act(n.first(x))) + n.second.weight.square().mean(), "shared"),
    "a bias read beside": (lambda n, x: n.second(n.act(n.first(x))) + n.first.bias.sum(), "shared"),
    "a norm in front": (lambda n, x: n.second(n.act(n.norm(n.first(x)))), "a layer norm stands there"),
    "a norm behind": (lambda n, x: n.second(n.norm(n.act(n.first(x)))), "a layer norm stands there"),
    "its input read": (lambda n, x: n.second(n.act(z := n.first(x))) + z.mean(), "its input is used elsewhere"),
    "its result read": (lambda n, x: n.second(h := n.act(n.first(x))) + h.mean(), "its result is used elsewhere"),
    "a part": (lambda n, x: n.act(n.first(x)[..., :SIZE]), "does not come straight from a linear layer"),
    "no second": (lambda n, x: n.act(n.second(n.first(x))), "does not go straight into a linear layer"),
    "another axis": (lambda n, x: torch.relu(x @ n.w).mT.reshape(6, -1, UNITS)[:, :5] @ n.v, "does not go"),
    "computed weights": (lambda n, x: n.second(n.act(x @ (n.w * 2))), "computed"),
    "a convolution": (
        lambda n, x: n.second(n.act(F.conv1d(x.mT, n.first.weight[..., None])).mT),
        "does not come straight from a linear layer: a convolution",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_block_of_its_own_says_why(name: str):
    between, reason = REFUSED[name]
    network = network_of(between)
    uses = survey(network, X, "mine", classes=CLASSES)
    reasons = [block for block in linear_blocks(network, uses, X, (), CLASSES) if not isinstance(block, LinearBlock)]
    assert reasons and reason in reasons[0][1]


def test_weights_that_were_loaded_give_no_gate():
    network = network_of(MAKES["modules"])
    uses = survey(network, X, "mine", classes=CLASSES)
    blocks = [block for block in linear_blocks(network, uses, X, (), CLASSES) if isinstance(block, LinearBlock)]
    with pytest.raises(UsageError, match=r"first.weight does not come from the seed"):
        widen(network, resized(blocks, [16], 2), lambda number: network_of(MAKES["modules"], 0))


def test_a_torchvision_network_narrows_its_blocks_and_another_one_is_refused():
    """torchvision's Swin: 384 to 3072 units, of which two thirds stay; a ResNet's activations follow batch norms."""
    _, (run,) = runs("relu", model={"name": "mlp-1x8"})
    spec = replace(
        run, match="parameters", model="torchvision:swin_t", channels=(), hidden=(), init="own", input_shape=(3, 32, 32)
    )
    network, _ = draw_network(spec)
    before = sum(parameter.numel() for parameter in network.parameters())
    choice = select(["swiglu"])[0]
    text = make_gated(network, uses_of(network, spec), spec, choice)
    assert text.startswith("384 units become 256, 768 units become 512")
    assert abs(sum(parameter.numel() for parameter in network.parameters()) - before) < 0.01 * before
    spec = replace(spec, model="torchvision:resnet18")
    network, _ = draw_network(spec)
    with pytest.raises(
        UsageError, match=r"resnet18, relu in relu: its input does not come .* a batch norm stands"
    ) as no:
        make_gated(network, uses_of(network, spec), spec, choice)
    assert "--keep-act relu" in no.value.hint
