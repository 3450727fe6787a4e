"""Networks of one's own, of different make: each is looked at, trained for an epoch, or refused with the reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from relubench.activations import ActivationChoice, select
from relubench.errors import UsageError
from relubench.models.external.inspection import inspect_network
from relubench.runs.spec import RunSpec
from relubench.timing.steps import prepare_step_benchmark
from relubench.training.images import Images
from relubench.training.population import Population
from specs import digits, runs

NETWORKS = '''
import functools
import warnings
from dataclasses import dataclass
import torch
import torch.nn as nn
import torch.nn.functional as F

class Timm(nn.Module):
    """The class of the activation is an argument, and it works in place."""
    def __init__(self, num_classes=1000, in_chans=1, act_layer=nn.ReLU, width=8):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(in_chans, width, 3, padding=1), nn.BatchNorm2d(width)
        self.act, self.head = act_layer(inplace=True), nn.Linear(width, num_classes)
    def features(self, x):
        return self.act(self.bn(self.conv(x))).mean((2, 3))
    def forward(self, x):
        return self.head(self.features(x))

class Nested(nn.Sequential):
    def __init__(self, num_classes):
        block = lambda i, o: nn.Sequential(nn.Linear(i, o), nn.Sequential(nn.GELU(), nn.Dropout(0.1)))
        super().__init__(nn.Flatten(), nn.Sequential(block(64, 16), block(16, 16)), nn.Linear(16, num_classes))

class Shared(nn.Module):
    """One activation at two places; the second layer's weights are the first one's."""
    def __init__(self, num_classes):
        super().__init__()
        self.act, self.inner, self.a, self.b = nn.PReLU(), nn.Linear(64, 24), nn.Linear(24, 24), nn.Linear(24, 24)
        self.b.weight = self.a.weight
        self.last = nn.Linear(24, num_classes)
    def forward(self, x):
        x = self.inner(x.flatten(1))
        return self.last(self.act(self.b(self.act(self.a(x)))))

class Functional(nn.Module):
    """Views of what a convolution gives: memory in rows."""
    def __init__(self, num_classes):
        super().__init__()
        self.c, self.d, self.last = nn.Conv2d(1, 6, 3, padding=1), nn.Linear(96, 24), nn.Linear(24, num_classes)
    def forward(self, x):
        x = F.max_pool2d(F.relu(self.c(x)), 2).view(len(x), -1)
        return self.last(torch.tanh(self.d(x)))

class Residual(nn.Module):
    def __init__(self, num_classes, depth=3):
        super().__init__()
        self.stem, self.last = nn.Linear(64, 24), nn.Linear(24, num_classes)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(24, 24), nn.SiLU()) for _ in range(depth))
    def forward(self, x):
        x = self.stem(x.flatten(1))
        for block in self.blocks:
            h = block(x)
            h += x
            x = h
        return self.last(F.silu(x, inplace=True))

class Parts(nn.Module):
    """Works on four images at a time."""
    def __init__(self, num_classes):
        super().__init__()
        self.a, self.b = nn.Linear(64, 24), nn.Linear(24, num_classes)
    def forward(self, x):
        return torch.cat([self.b(F.relu(self.a(part))) for part in x.flatten(1).split(4)])

class Lazy(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(
            nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(num_classes)
        )

class Auxiliary(Timm):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.aux = nn.Linear(8, num_classes)
    def forward(self, x):
        h = self.features(x)
        return {"aux": self.aux(h), "out": self.head(h)} if self.training else self.head(h)

@dataclass
class Output:
    hidden: torch.Tensor
    logits: torch.Tensor

class Objects(Timm):
    def forward(self, x):
        h = self.features(x)
        return Output(h, self.head(h))

class Swish(Timm):
    def features(self, x):
        x = self.bn(self.conv(x))
        return (x * torch.sigmoid(x)).mean((2, 3))

class Alone(nn.Module):
    """Drops the dimension of a batch of one image."""
    def __init__(self, num_classes):
        super().__init__()
        self.d, self.last = nn.Linear(64, 24), nn.Linear(24, num_classes)
    def forward(self, x):
        return self.last(F.relu(self.d(x.flatten(1)))).squeeze()

instance = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.LayerNorm(24), nn.Mish(), nn.Linear(24, 10))
partial = functools.partial(Timm, width=6)
def factory(num_classes, depth: int = 1):
    hidden = [layer for _ in range(depth) for layer in (nn.Linear(64, 64), nn.ELU(inplace=True))]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(64, num_classes))

class Listed(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.layers, self.last = [nn.Linear(64, 32), nn.Linear(32, 32)], nn.Linear(32, num_classes)
    def forward(self, x):
        x = x.flatten(1)
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.last(x)

class Softmax(Shared):
    def forward(self, x):
        return super().forward(x).softmax(1)

class Logarithms(Shared):
    def forward(self, x):
        return F.log_softmax(super().forward(x), 1)

class Uncalled(Timm):
    def features(self, x):
        return F.gelu(self.bn(self.conv(x))).mean((2, 3))

class Idle(Timm):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.unused = nn.Linear(3, 3)

class Skips(Timm):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.branch = nn.Linear(num_classes, num_classes)
    def forward(self, x):
        y = super().forward(x)
        return y if self.training and torch.rand(()) < 0.5 else y + self.branch(y)

class Two(nn.Module):
    def forward(self, x, mask):
        return x

class Tokens(nn.Module):
    def __init__(self, vocabulary=65):
        super().__init__()
        self.wte, self.head = nn.Embedding(vocabulary, 16), nn.Linear(16, vocabulary)
    def forward(self, idx, targets=None):
        b, t = idx.size()
        return self.head(F.gelu(self.wte(idx))), None

class Flat(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))

class Colour(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))

class Token(nn.Module):
    def __init__(self):
        super().__init__()
        self.token, self.last = nn.Parameter(torch.zeros(64)), nn.Linear(64, 10)
    def forward(self, x):
        return self.last(F.relu(x.flatten(1) + self.token))

class Normed(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10))

once = Normed()
def same():
    return once
drawn = Token()
'''


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("own") / "networks.py"
    path.write_text(NETWORKS)
    return str(path)


def looked_at(file: str, name: str, act: str = "tanh", **train: object) -> tuple[RunSpec, ActivationChoice]:
    """The run of the network, with what it was found to be."""
    sections = {"train": {"epochs": 1, "batch_size": 64, "lr": 0.1, **train}, "model": {"name": f"{file}:{name}"}}
    choice, (spec,) = runs(act, **sections)
    network = inspect_network(spec, choice)
    return replace(spec, foreign=network, layout=network.layout or None, parameters=network.parameters), choice


TRAINED = [
    ("Timm", "1 relu", ""),
    ("Nested", "2 gelu", ""),
    ("Shared", "2 prelu", ""),
    ("Functional", "1 relu, 1 tanh", "contiguous"),
    ("Residual", "4 silu", ""),
    ("Parts", "1 relu", ""),
    ("Lazy", "1 relu", ""),
    ("Auxiliary", "1 relu", ""),
    ("Objects", "1 relu", ""),
    ("Swish", "1 x*sigmoid(x)", ""),
    ("Alone", "1 relu", ""),
    ("instance", "1 mish", ""),
    ("partial", "1 relu", ""),
    ("factory", "1 elu", ""),
]


@pytest.mark.parametrize(("name", "functions", "layout"), TRAINED, ids=[one[0] for one in TRAINED])
def test_it_trains_for_an_epoch(name: str, functions: str, layout: str, file: str) -> None:
    spec, choice = looked_at(file, name)
    assert spec.foreign is not None
    assert (spec.foreign.functions, spec.foreign.layout) == (functions, layout)
    population = Population([spec], choice, Images.open(digits(), device="cpu", flat=False))
    before = population.evaluate("valid").loss[0]
    for _ in population.train():
        continue
    (point,) = population.members[0].curve
    assert point.valid_loss is not None and point.valid_loss < before
    assert population.evaluate("test", sparsity=True).zeros.shape == (1, spec.foreign.exchanged)


def test_an_instance_has_other_weights_for_each_seed(file: str) -> None:
    spec, choice = looked_at(file, "instance")
    images = Images.open(digits(), device="cpu", flat=False)
    weights = [
        Population([replace(spec, seed=seed)], choice, images).weights(0, best=True)["1.weight"] for seed in (0, 0, 1)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert spec.foreign is not None and "a copy of the instance" in spec.foreign.stem


@pytest.mark.parametrize("act", ["prelu", "silu"])
def test_a_network_that_works_on_parts_counts_one_place_whatever_the_batch(act: str, file: str) -> None:
    spec, choice = looked_at(file, "Parts", act, batch_size=10)
    assert spec.foreign is not None and (spec.foreign.merged, spec.foreign.exchanged) == (("",), 1)
    population = Population([spec], choice, Images.open(digits(), device="cpu", flat=False))
    learned = [name for name in population.weights(0, best=True) if name.startswith("activation-")]
    assert len(learned) == (act == "prelu")


def test_the_layout_is_part_of_the_id_only_where_it_is_another(file: str) -> None:
    functional, nested = (looked_at(file, name)[0] for name in ("Functional", "Nested"))
    assert functional.id != replace(functional, layout=None).id
    assert nested.layout is None
    assert RunSpec.from_json(functional.to_json()) == functional


REMARKS = [
    ("Listed", "330 of 3,466 parameters are trained: the others lie in layers, which PyTorch does not see"),
    ("Softmax", "its class scores sum to 1, as behind a softmax"),
    ("Logarithms", "its class scores are logarithms of probabilities"),
    ("Uncalled", "act is never called"),
    ("Idle", "unused.weight, unused.bias get no gradient"),
    ("Auxiliary", "its forward gives a dictionary (aux, out) in training"),
    ("Objects", "its forward gives an object (Output)"),
]


@pytest.mark.parametrize(("name", "told"), REMARKS, ids=[one[0] for one in REMARKS])
def test_what_is_odd_is_said(name: str, told: str, file: str) -> None:
    spec, _ = looked_at(file, name)
    assert spec.foreign is not None
    assert sum(told in one for one in spec.foreign.remarks) == 1


@pytest.mark.parametrize("name", ["Timm", "Nested", "Shared", "Residual", "Lazy", "instance", "factory", "Skips"])
def test_nothing_is_said_of_what_is_usual(name: str, file: str) -> None:
    spec, _ = looked_at(file, name)
    assert spec.foreign is not None and spec.foreign.remarks == ()


REFUSED = [
    ("Two", r"its forward takes 2 inputs \(x, mask\), and there is one: the images", "give mask a default"),
    ("Tokens", "takes tokens .*, not images of shape", "relubench trains classifiers of images"),
    ("Flat", "failed on images of shape", "an image has 64 values: flatten it"),
    ("Colour", "failed on images of shape", "the images have 1 channel"),
    ("same", "gives the same 1.weight twice", "make the network inside the function"),
    ("drawn", "is an instance of Token, and its token cannot be drawn anew", "name its class"),
]


@pytest.mark.parametrize(("name", "rule", "hint"), REFUSED, ids=[one[0] for one in REFUSED])
def test_what_cannot_be_trained_is_refused_with_the_reason(name: str, rule: str, hint: str, file: str) -> None:
    with pytest.raises(UsageError, match=rule) as refused:
        looked_at(file, name)
    assert hint in refused.value.hint
    assert len(refused.value.message) < 600


@pytest.mark.parametrize(("name", "size", "trained"), [("Normed", 4, 1076), ("Timm", 4, 1077), ("Alone", 4, 1076)])
def test_a_lone_image_is_left_out_where_the_network_takes_none(name: str, size: int, trained: int, file: str) -> None:
    """The digits have 1,077 training images."""
    spec, choice = looked_at(file, name, batch_size=size)
    population = Population([spec], choice, Images.open(digits(), device="cpu", flat=False))
    assert population.images == trained
    assert sum(step.images for step in population.train()) == trained


@pytest.mark.parametrize("names", [("Functional",), ("Lazy",)])
def test_its_steps_can_be_timed(names: tuple[str, ...], file: str) -> None:
    made = [looked_at(file, name, act)[0] for name in names for act in ("silu", "relu")]
    race = prepare_step_benchmark(made, select(["silu", "relu"]), digits(), 0.01, 0.5)
    for _ in race.run():
        continue
    assert race.base == "silu"
    assert [one.failure for one in race.networks] == ["", "", ""]
    assert all(one.samples and one.stages["forward"] for one in race.networks)
