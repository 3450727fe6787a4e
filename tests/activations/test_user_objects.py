"""A user's object as an activation: partials, factories, instances, TorchScript's; each network with its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from relubench.activations import build, check_activation, select
from relubench.errors import UsageError

SOURCE = """
import functools
import torch
import torch.nn.functional as F
from torch import nn

print("imported")
hard = functools.partial(nn.Hardtanh, max_val=3.0)
leaky = functools.partial(F.leaky_relu, negative_slope=0.3)
twice = functools.partial(functools.partial(nn.ELU, alpha=2.0), inplace=False)
instance = nn.CELU(alpha=0.5)
shared = nn.PReLU()

def factory():
    return nn.Sequential(nn.Tanh(), nn.PReLU())

def same_every_time():
    return shared

def of_class(kind="ELU"):
    return getattr(nn, kind)

def closure(slope=0.1):
    return lambda x: torch.where(x > 0, x, slope * x)

def registry(name):
    return {"mish": nn.Mish()}[name]

def with_default(x=None):
    return torch.tanh(x)

def star(*tensors):
    return torch.tanh(tensors[0])

def two(x, y):
    return x + y

def number():
    return 3

def broken():
    raise ValueError("no such kind")

class Called:
    def __init__(self, slope=0.2):
        self.slope = slope
    def __call__(self, x):
        print("called")
        return F.leaky_relu(x, self.slope)

called = Called(0.4)

class Hidden:
    def __init__(self):
        self.slope = nn.Parameter(torch.tensor(0.2))
    def __call__(self, x):
        return torch.where(x > 0, x, self.slope * x)

class Flag(nn.Module):
    def __init__(self, flag=True, name=None):
        super().__init__()
        self.flag, self.name = flag, name
    def forward(self, x):
        return F.relu(x) if self.flag else F.elu(x)

class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x
    @staticmethod
    def backward(ctx, grad):
        return 2 * grad

scripted = torch.jit.script(nn.Mish())
scripted_prelu = torch.jit.script(nn.PReLU())

@torch.jit.script
def script(x: torch.Tensor, slope: float = 0.3) -> torch.Tensor:
    return torch.where(x > 0, x, slope * x)
"""


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize(
    ("name", "likeness"),
    [
        ("hard", "equals hardtanh between -1 and 3"),
        ("leaky", "equals leaky_relu:negative_slope=0.3"),
        ("leaky:negative_slope=0.4", "equals leaky_relu:negative_slope=0.4"),
        ("twice", "equals elu:alpha=2"),
        ("instance", "equals celu:alpha=0.5"),
        ("same_every_time", "starts as prelu, and learns as it does"),
        ("factory", ""),
        ("of_class", "equals elu"),
        ("of_class:kind=Mish", "equals mish"),
        ("closure:slope=0.2", "equals leaky_relu:negative_slope=0.2"),
        ("registry:name=mish", "equals mish"),
        ("with_default", "equals tanh"),
        ("star", "equals tanh"),
        ("Called", "equals leaky_relu:negative_slope=0.2"),
        ("Called:slope=0.3", "equals leaky_relu:negative_slope=0.3"),
        ("called", "equals leaky_relu:negative_slope=0.4"),
        ("two:y=0.0", "equals identity"),
        ("Flag:flag=False", "equals elu"),
        ("Flag:flag=false", "equals elu"),
        ("Flag:flag=True:name=None", "equals relu"),
        ("Double", "equals 2 times identity"),
        ("Double.apply", "equals 2 times identity"),
        ("scripted", "equals mish"),
        ("script", "equals leaky_relu:negative_slope=0.3"),
        ("scripted_prelu", "starts as prelu, and learns as it does"),
    ],
)
def test_what_can_be_called_is_an_activation(name: str, likeness: str, mine: Path, capsys: pytest.CaptureFixture[str]):
    assert check_activation(select([f"{mine}:{name}"])[0]).likeness == likeness
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", ["torch:tanh", "torch.special:expit", "torch.nn:Tanh", "torch:nn.Tanh"])
def test_torch_s_own_are_named_by_their_module(text: str):
    assert check_activation(select([text])[0]).equals in ("tanh", "sigmoid")


@pytest.mark.parametrize("name", ["instance", "same_every_time", "factory", "Called"])
def test_every_network_gets_one_of_its_own(name: str, mine: Path):
    activation = build(select([f"{mine}:{name}"])[0])
    assert activation.module is not None
    first, second = activation.module(), activation.module()
    assert first is not second
    parameters = {id(one) for one in first.parameters()}
    assert not parameters & {id(one) for one in second.parameters()}


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("two", r"takes 2 arguments \(x, y\), not one tensor", "two:y=..."),
        ("number", "takes no tensor and gives int", "name a torch.nn.Module class"),
        ("broken", r"calling it failed: ValueError: no such kind \(mine.py, line \d+\)", "name a torch.nn.Module"),
        ("registry", r"KeyError: tensor\(.*\(mine.py, line \d+\)", "if it makes activations, give its arguments"),
        ("Hidden", "is no torch.nn.Module, so that its parameters would not be trained", "derive it"),
        ("Flag:flga=True", "takes no argument 'flga'", "did you mean flag"),
        ("instance:alpha=2", "is an instance of CELU, which takes no more arguments", "name CELU itself"),
    ],
)
def test_what_is_no_activation_is_refused_for_what_it_is(name: str, message: str, hint: str, mine: Path):
    with pytest.raises(UsageError, match=message) as refusal:
        check_activation(select([f"{mine}:{name}"])[0])
    assert hint in refusal.value.hint


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("False", False),
        ("true", True),
        ("None", None),
        ("none", "none"),
        ("'True'", "True"),
        ('"a:b"', "a:b"),
        ("'3'", "3"),
        ("3", 3),
        ("3.0", 3.0),
        ("(1,2.5)", (1, 2.5)),
        ("(-1,)", (-1,)),
    ],
)
def test_arguments_arrive_as_python_s_values(text: str, value: object, mine: Path):
    choice = select([f"{mine}:Flag:name={text}"])[0]
    ((_, found),) = choice.parameters
    assert (found, type(found)) == (value, type(value))
    assert select([choice.label])[0] == choice
    assert type(choice).from_json(choice.to_json()).parameters == choice.parameters


@pytest.mark.parametrize(("text", "hint"), [("torch.nn.LSTM", "torch.nn:LSTM"), ("nn.GLU", "torch.nn:GLU")])
def test_a_dotted_name_is_led_to_its_spelling(text: str, hint: str):
    with pytest.raises(UsageError, match="no activation called") as refusal:
        select([text])
    assert hint in refusal.value.hint


def test_a_module_beside_the_user_is_led_to_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beside_me.py").write_text("f = 1")
    monkeypatch.setattr("sys.path", [one for one in __import__("sys").path if one])
    with pytest.raises(UsageError, match="no activation called 'beside_me'") as refusal:
        select(["beside_me:f"])
    assert "./beside_me.py:f" in refusal.value.hint


def test_a_tuple_that_is_none_is_refused(mine: Path):
    with pytest.raises(UsageError, match="is no tuple of finite numbers"):
        select([f"{mine}:Flag:name=(1,two)"])


def test_a_compiled_function_is_tried_as_it_was_written(mine: Path, monkeypatch: pytest.MonkeyPatch):
    from relubench.activations.user_objects import activation_of

    def plain(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x)

    def compiled(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("compiled anew")

    compiled._torchdynamo_orig_callable = plain  # type: ignore[attr-defined]
    assert activation_of(compiled, {}, "mine").function(torch.zeros(1)).item() == 0


@pytest.mark.parametrize("declared", ["beta: float", "beta=1.0", "beta: 'float' = None"])
def test_a_whole_number_is_a_float_where_it_is_declared_as_one(tmp_path: Path, declared: str) -> None:
    (tmp_path / "acts.py").write_text(
        "import torch\nfrom torch import nn\n\nclass Learned(nn.Module):\n"
        f"    def __init__(self, {declared}, count=3):\n        super().__init__()\n"
        "        self.beta, self.pieces = nn.Parameter(torch.tensor(beta)), [0] * count\n"
        "    def forward(self, x):\n        return x * torch.sigmoid(self.beta * x)\n"
    )
    (choice,) = select([f"{tmp_path}/acts.py:Learned:beta=2:count=4"])
    module = build(choice).module
    assert module is not None and [value.item() for value in module().parameters()] == [2.0]
