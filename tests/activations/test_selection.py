"""The --act grammar: what is chosen, in which order, how it is labelled, and every refusal."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relubench.activations import ACTIVATIONS, ActivationChoice, select
from relubench.activations.selection import repeated
from relubench.errors import UsageError

OWN = """
import torch

class Scaled(torch.nn.Module):
    def __init__(self, size: float = 2.0) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x) * self.size
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, the current one, with an activation of the user's in mine.py and in the package lab."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "__init__.py").write_text("raise SystemExit('imported too early')")
    (tmp_path / "lab" / "acts.py").write_text(OWN)
    return tmp_path


def labels(*texts: str) -> list[str]:
    return [choice.label for choice in select(texts)]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["relu"], ["relu"]),
        (["tanh", "relu"], ["tanh", "relu"]),
        (["relu,tanh,x*sigmoid(1.7*x)"], ["relu", "tanh", "x*sigmoid(1.7*x)"]),
        (["max(x,0.1*x)"], ["max(x,0.1*x)"]),
        (["max(x, 0.1*x) , relu"], ["max(x,0.1*x)", "relu"]),
        (["*_tanh"], ["lecun_tanh", "abs_tanh"]),
        (["?elu"], ["relu", "celu", "selu", "gelu"]),
        (["softplus:beta=3:threshold=20"], ["softplus:beta=3"]),
        (["softplus:threshold=30:beta=3"], ["softplus:beta=3:threshold=30"]),
        (["softplus : beta = 0.5"], ["softplus:beta=0.5"]),
        (["leaky_relu:negative_slope=0.20"], ["leaky_relu:negative_slope=0.2"]),
        (["leaky_relu:negative_slope=-0"], ["leaky_relu:negative_slope=0"]),
        (["leaky_relu:negative_slope=.01"], ["leaky_relu"]),
        (["gelu:approximate=tanh"], ["gelu:approximate=tanh"]),
        (["gelu:approximate=none"], ["gelu"]),
        (["maxout:pieces=5"], ["maxout:pieces=5"]),
        (["relu,relu", "relu"], ["relu"]),
        (["elu:alpha=1,elu:alpha=1.0,elu"], ["elu"]),
        (["relu, r*u"], ["relu", "rrelu", "reglu"]),
        (["x * 2", "2*x", "x*2"], ["x*2", "2*x"]),
        (["gated"], ["glu", "bilinear", "reglu", "geglu", "swiglu", "maxout"]),
        (["all"], list(ACTIVATIONS)),
        (["classic,rectifier,smooth,gated"], [row.name for row in ACTIVATIONS.values()]),
        (["mish,all"], ["mish", *(name for name in ACTIVATIONS if name != "mish")]),
    ],
)
def test_what_is_chosen(texts: list[str], expected: list[str]):
    assert labels(*texts) == expected


def test_a_choice_carries_complete_parameters():
    (choice,) = select(["softplus:beta=3"])
    assert choice == ActivationChoice(
        label="softplus:beta=3", kind="table", name="softplus", parameters=(("beta", 3.0), ("threshold", 20.0))
    )
    assert all(isinstance(value, float) for _, value in choice.parameters)


def test_columns_and_learned():
    found = {
        choice.name: (choice.inputs_per_unit, choice.learned)
        for choice in select(["relu,glu,maxout:pieces=4,prelu,swish"])
    }
    assert found == {"relu": (1, 0), "glu": (2, 0), "maxout": (4, 0), "prelu": (1, 1), "swish": (1, 1)}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("rleu", "no activation called 'rleu'", "did you mean relu"),
        ("PolyNorm", "'PolyNorm' is no function of one unit", "poly_relu is the form of its article"),
        ("softmax", "'softmax' is no function of one unit", "list activations"),
        ("torch.layer_norm", "is no function of one unit", "list activations"),
        ("", "an empty activation name", "one comma"),
        ("relu,,tanh", "an empty activation name in 'relu,,tanh'", "one comma"),
        ("relu,", "an empty activation name", "one comma"),
        ("z*", "no activation's name matches 'z\\*'", "a formula contains x"),
        ("[a-z]*", "no activation's name matches", "list activations"),
        ("2*yz", "no activation's name matches '2\\*yz'", "a formula contains x"),
        ("3.0", "no activation called '3.0'", "list activations"),
        ("rleu:alpha=1", "no activation called 'rleu'", "did you mean relu"),
        ("nowhere:Name", "no activation called 'nowhere'", r"\./file.py:Name"),
        ("*elu:alpha=2", "names several activations", "one by one"),
        ("all:alpha=2", "'all' names several activations", "one by one"),
        ("relu:slope=1", "relu has no parameters, so not 'slope'", "just relu"),
        ("leaky_relu:slope=0.1", "leaky_relu has no parameter 'slope'", "leaky_relu has negative_slope"),
        ("leaky_relu:negativ_slope=0.1", "no parameter 'negativ_slope'", "did you mean negative_slope"),
        ("leaky_relu:0.1", "'0.1' in 'leaky_relu:0.1' is not of the form name=value", "elu:alpha"),
        ("elu:", "'' in 'elu:' is not of the form", "elu:alpha"),
        ("elu:alpha=", "'alpha=' in 'elu:alpha=' is not of the form", "elu:alpha"),
        ("elu:alpha=1:alpha=2", "alpha is given twice", "once"),
        ("elu:alpha=big", "elu:alpha is a number from 0.001 to 100, not 'big'", "default is 1.0"),
        ("elu:alpha=0", "elu:alpha is a number from 0.001 to 100, not '0'", "default"),
        ("elu:alpha=nan", "elu:alpha is a number from 0.001 to 100, not 'nan'", "default"),
        ("elu:alpha=inf", "elu:alpha is a number", "default"),
        ("elu:alpha=1e400", "elu:alpha is a number", "default"),
        ("maxout:pieces=1", "maxout:pieces is a whole number from 2 to 16, not '1'", "default is 2"),
        ("maxout:pieces=2.5", "maxout:pieces is a whole number", "default is 2"),
        ("maxout:pieces=" + "9" * 5000, "maxout:pieces is a whole number", "default is 2"),
        ("softplus:threshold=1000", "softplus:threshold is a number from 1 to 80", "default is 20.0"),
        ("gelu:approximate=tan", "gelu:approximate is one of none, tanh, not 'tan'", "did you mean tanh"),
        ("rrelu:lower=0.5", "rrelu needs lower <= upper, not 0.5", "swap"),
        ("x +", "is not a formula", "made of"),
        ("max(x, 0.1*x", "is not a formula", "needs its"),
        ("x:beta=3", "has no parameter 'beta'", "leave its value out"),
        ("(" * 5000 + "x" + ")" * 5000, "at most 500 characters", "shorter"),
        ("q" * 10_000, "no activation called 'qqq", "list activations"),
        ("relu\0", "no activation called 'relu", "relu"),
        ("./none.py:Name", "there is no file './none.py'", "taken from"),
        ("none.py", "does not say which class or function of 'none.py'", r"\./file.py:Name"),
        ("./none.py:", "does not say which class or function", r"\./file.py:Name"),
        ("./a\0.py:Name", "cannot be read", r"\./file.py:Name"),
        ("no.such.module:Name", "there is no module 'no.such.module'", "named by its path"),
        ("os.path:join", "there is no module 'os.path'", "named by its path"),
        ("./mine.py:Scaled:3", "'3' in .* is not an argument of the form key=value", r"\./file.py:Name"),
        ("./mine.py:Scaled:size=1:size=2", "size is given twice", "once"),
        ("./mine.py:Scaled:size=nan", "size=nan in .* is not finite", "finite"),
        ("./mine.py:Scaled:size=1e999", "size=1e999 in .* is not finite", "finite"),
    ],
)
def test_refusal(text: str, message: str, hint: str, own: Path):
    with pytest.raises(UsageError, match=message) as refusal:
        select([text])
    with pytest.raises(AssertionError, match=hint):
        raise AssertionError(refusal.value.hint)
    assert len(refusal.value.message) < 400


def test_nothing_is_refused_as_such():
    with pytest.raises(UsageError, match="no activation is given"):
        select([])


@pytest.mark.parametrize("place", ["./mine.py", "mine.py", "lab/acts.py", "lab.acts"])
def test_a_user_s_own_is_found_without_being_imported(place: str, own: Path):
    (choice,) = select([f"{place}:Scaled:size=1.5"])
    assert choice.label == f"{place}:Scaled:size=1.5"
    assert choice.kind == "user"
    assert choice.parameters == (("size", 1.5),)
    assert choice.source_digest == hashlib.sha256(OWN.encode()).hexdigest()
    assert choice.name == ("lab.acts:Scaled" if place == "lab.acts" else f"{(own / place).resolve()}:Scaled")


def test_the_digest_follows_the_file(own: Path):
    before = select(["./mine.py:Scaled"])[0]
    (own / "mine.py").write_text(OWN + "\n")
    after = select(["./mine.py:Scaled"])[0]
    assert before.label == after.label
    assert before.source_digest != after.source_digest


def test_two_spellings_of_a_path_are_one_activation(own: Path):
    assert labels("./mine.py:Scaled,mine.py:Scaled", f"{own}/mine.py:Scaled") == ["./mine.py:Scaled"]


def test_a_user_s_own_keeps_the_kind_of_its_arguments(own: Path):
    (choice,) = select(["./mine.py:Scaled:b=3.0:a=3:c=-0.5:d=text"])
    assert choice.label == "./mine.py:Scaled:a=3:b=3.0:c=-0.5:d=text"
    assert [type(value) for _, value in choice.parameters] == [int, float, float, str]
    assert repr(select([choice.label])[0]) == repr(choice)


@pytest.mark.parametrize(
    "text", ["all", "softplus:beta=0.3", "x*sigmoid(1.7*x)", "./mine.py:Scaled:size=3", "lab.acts:Scaled"]
)
def test_label_json_and_pickle_round_trips(text: str, own: Path):
    for choice in select([text]):
        assert select([choice.label]) == [choice]
        assert pickle.loads(pickle.dumps(choice)) == choice
        values = json.loads(json.dumps(choice.to_json()))
        assert "source_digest" not in values
        back = ActivationChoice.from_json(values)
        assert back.to_json() == choice.to_json()
        assert back.label == choice.label
        assert back.source_digest is None
        if choice.kind != "user":
            assert back == choice


@given(st.floats(0.001, 1000), st.floats(1, 80))
@settings(max_examples=50, deadline=None)
def test_any_number_survives_its_label(beta: float, threshold: float):
    (choice,) = select([f"softplus:beta={beta!r}:threshold={threshold!r}"])
    assert dict(choice.parameters) == {"beta": beta, "threshold": threshold}
    assert select([choice.label]) == [choice]


@given(st.text(alphabet="relu*?:=.,/()[]{}x0123 \\~_-", max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_is_chosen_or_refused(text: str):
    try:
        found = select([text])
    except UsageError:
        return
    for choice in found:
        assert select([choice.label]) == [choice]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["relu,relu"], ["relu"]),
        (["softplus:beta=1", "softplus", "tanh"], ["softplus"]),
        (["max(x,0)", "max(x,0)"], ["max(x,0)"]),
        (["relu", "all"], []),
        (["relu,tanh", "gelu"], []),
    ],
)
def test_what_is_named_more_than_once(texts: list[str], expected: list[str]):
    assert repeated(texts) == expected


@pytest.mark.parametrize(
    ("typed", "label"),
    [("ReLU", "relu"), ("LeakyReLU:negative_slope=0.2", "leaky_relu:negative_slope=0.2"), ("Hard-Swish", "hardswish")],
)
def test_a_name_may_be_spelled_as_its_class_is(typed: str, label: str) -> None:
    assert [choice.label for choice in select([typed])] == [label]
