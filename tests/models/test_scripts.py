"""Activations inside TorchScript, in a user's network: exchanged, or refused by name; never left in silence."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relubench.activations import build, select
from relubench.errors import UsageError
from relubench.models.external.calls import count_calls
from relubench.models.external.layer import ExternalNetwork
from relubench.models.external.survey import survey

pytestmark = pytest.mark.filterwarnings("ignore")
X = torch.rand(4, 8, generator=torch.Generator().manual_seed(1))


def relu(x: Tensor) -> Tensor:
    return F.relu(x)


def gate(x: Tensor, scale: float = 1.0) -> Tensor:
    y = x * torch.sigmoid(x)
    return y * scale


def by_size(x: Tensor) -> Tensor:
    if x.size(0) > 100:
        return torch.tanh(x)
    return F.gelu(x)


def in_place(x: Tensor) -> Tensor:
    return torch.relu_(x.clone())


def several(x: Tensor, times: int = 2) -> Tensor:
    for _ in range(times):
        x = F.elu(x)
    return x


def dropped(x: Tensor) -> Tensor:
    return F.relu(F.dropout(x, 0.5, True))


def doubled(x: Tensor) -> Tensor:
    return 2 * x + x.mean()


def two_faced(x: Tensor) -> Tensor:
    if torch.jit.is_scripting():
        return F.relu(x)
    return F.relu(x) + 1


@torch.jit.script
def inner(x: Tensor) -> Tensor:
    return F.silu(x)


def outer(x: Tensor) -> Tensor:
    return inner(x) * 3


class Act(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x)


class Net(nn.Module):
    def __init__(self, between: Callable[..., Tensor], also: Callable[[Tensor], Tensor] = lambda x: x) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 10)
        self.functions = (between, also)  # A tuple: a module in it is no part of the network.

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for function in self.functions:
            x = function(x)
        return self.last(x)


def network(*functions: Callable[..., Tensor]) -> Net:
    torch.manual_seed(0)
    return Net(*functions)


SCRIPTED = {"relu": relu, "gate": gate, "by_size": by_size, "in_place": in_place, "several": several, "outer": outer}


@pytest.mark.parametrize("function", SCRIPTED.values(), ids=SCRIPTED)
def test_a_scripted_function_is_exchanged_as_its_python_is(function: Callable[..., Tensor]):
    """The survey, the result and the gradients of both networks are equal, with another activation in its place."""
    values = []
    for form in (function, torch.jit.script(function)):
        made = network(form)
        uses = survey(made, X, "mine")
        layer = ExternalNetwork(made, uses, build(select(["softsign"])[0]), 0, device="cpu", bf16=False)
        logits = layer.forward(X, training=True)
        (grad,) = torch.autograd.grad(layer.y.sum(), layer.leaves[:1])
        values.append(([(use.name, use.function, use.kept) for use in uses], logits, grad))
    assert values[0][0] == values[1][0] and values[0][0]
    assert torch.equal(values[0][1], values[1][1]) and torch.equal(values[0][2], values[1][2])


def test_what_is_exchanged_is_not_what_was_written():
    made = network(torch.jit.script(relu))
    plain = made(X)
    layer = ExternalNetwork(made, survey(made, X, "mine"), build(select(["identity"])[0]), 0, device="cpu", bf16=False)
    assert torch.allclose(layer.forward(X, training=False), made.last(made.first(X)))
    assert torch.equal(made(X), plain), "the scripted function is itself again afterwards"


def test_chance_in_a_scripted_function_is_compared_from_the_same_state():
    uses = survey(network(torch.jit.script(dropped)), X, "mine")
    assert [use.function for use in uses] == ["relu"]


def sealed_forms() -> Iterator[tuple[str, Callable[..., Tensor], str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield "traced function", torch.jit.trace(relu, torch.rand(4, 8)), "relu"
        yield "scripted module", torch.jit.script(Act()), "tanh"
        yield "traced module", torch.jit.trace(Act(), torch.rand(4, 8)), "tanh"
        yield "another computation", torch.jit.script(two_faced), "relu"


SEALED = list(sealed_forms())


class WithModule(Net):
    """`between` is a function of the forward, and a module of the network follows it."""

    def __init__(self, between: Callable[..., Tensor]) -> None:
        super().__init__(between, nn.ReLU())
        self.second = self.functions[1]


@pytest.mark.parametrize(("function", "name"), [form[1:] for form in SEALED], ids=[form[0] for form in SEALED])
def test_what_stays_closed_is_refused_by_name_and_stays_if_asked(function: Callable[..., Tensor], name: str):
    """By wish it counts as a place: those behind it are the same in the survey and in the run."""
    made = WithModule(function)
    with pytest.raises(UsageError, match=f"{name} in forward inside a scripted function") as refusal:
        survey(made, X, "mine")
    assert "--keep-act" in refusal.value.hint
    uses = survey(made, X, "mine", keep=["forward"])
    assert [(use.name, use.kept) for use in uses] == [("second", "")]
    layer = ExternalNetwork(made, uses, build(select(["identity"])[0]), 0, device="cpu", bf16=False)
    assert torch.allclose(layer.forward(X, training=False), made.last(function(made.first(X))))


def test_a_scripted_function_without_activations_is_left_alone():
    calls: list[str] = []
    scripted = torch.jit.script(doubled)
    made = network(scripted, F.relu)
    original = scripted._torchdynamo_inline
    scripted._torchdynamo_inline = lambda x: calls.append("python") or original(x)
    assert [use.name for use in survey(made, X, "mine")] == ["forward"]
    assert not calls


def test_calls_inside_scripts_are_counted_by_place():
    assert count_calls(network(torch.jit.script(several), F.relu), X, training=True) == {"": 3}


def test_a_scripted_activation_in_an_exchanged_place_is_itself(tmp_path):
    (tmp_path / "own.py").write_text(
        "import torch\n@torch.jit.script\ndef act(x: torch.Tensor):\n    return torch.relu(x) - torch.tanh(x)\n"
    )
    made = network(F.gelu)
    choice = select([f"{tmp_path}/own.py:act"])[0]
    layer = ExternalNetwork(made, survey(made, X, "mine"), build(choice), 0, device="cpu", bf16=False)
    z = made.first(X)
    assert torch.allclose(layer.forward(X, training=False), made.last(torch.relu(z) - torch.tanh(z)))
