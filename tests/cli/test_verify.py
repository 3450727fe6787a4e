"""`relubench verify`: what is wrong, what could not be judged, and what a large error is ok against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relubench.reports.render import render
from relubench.reports.verification import sentence, verification_report
from relubench.verification.judge import VerifyRow
from tests.cli.fakes import Cli

CODE = """
import torch
def halves(x):
    if x.dtype == torch.float16:
        raise RuntimeError("no halves")
    return torch.relu(x)
def never(x):
    raise ValueError("never")
class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.dtype = x.dtype
        return x * 2
    @staticmethod
    def backward(ctx, g):
        if ctx.dtype == torch.bfloat16:
            raise ValueError("no slopes in bf16")
        return g * 2
def doubled(x): return Doubled.apply(x)
class Crooked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        if x.dtype == torch.float16:
            raise RuntimeError("no halves")
        return x * 2
    @staticmethod
    def backward(ctx, g): return g * 3
def crooked(x): return Crooked.apply(x)
class Flat(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2
    @staticmethod
    def backward(ctx, g):
        raise ValueError("no slopes")
def flat(x): return Flat.apply(x)
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(CODE)
    return path


@pytest.mark.parametrize(
    ("name", "outcomes", "code", "said"),
    [
        ("halves", ["failed", "failed", "ok", "ok"], 0, "warning: 2 of 4 checks could not be made"),
        ("doubled", ["ok", "ok", "ok", "failed"], 0, "warning: 1 of 4 checks could not be made"),
        ("never", ["failed"] * 4, 1, "error: none of 4 checks could be made"),
        ("flat", ["ok", "failed"] * 2, 1, "error: the backward pass of "),
        (
            "crooked",
            ["failed", "failed", "ok", "wrong"],
            1,
            "error: 1 of 4 checks found something wrong; 2 of 4 checks could not be made",
        ),
    ],
)
def test_what_failed_is_not_what_is_wrong(
    cli: Cli, own: Path, name: str, outcomes: list[str], code: int, said: str
) -> None:
    ended = cli("verify", "--act", f"{own}:{name}", "--dtype", "fp16,bf16", "--format", "json", "--quiet")
    rows = json.loads(ended.out)["rows"]
    assert [row["outcome"] for row in rows] == outcomes
    assert (ended.code, ended.err.splitlines()[0][: len(said)]) == (code, said)
    for row in rows:
        assert all((row[key] is None) == (row["outcome"] == "failed") for key in ("wrong", "known", "forms_differ"))


def row(**values: Any) -> dict[str, Any]:
    given = {"activation": "hardish", "dtype": "bf16", "pass_": "forward", "points": 10, "forms": "eager", **values}
    return VerifyRow(**given).to_json()


def test_the_sentence_says_them_apart() -> None:
    good, failed = row(), row(pass_="backward", outcome="failed", message="ValueError: no")
    wrong = row(activation="bent", outcome="wrong", wrong=1)
    assert sentence([good, failed]) == (
        "Could not be judged: hardish (bf16 backward). Nothing else is wrong: 1 activation in bf16, 10 values, each "
        "within what rounding explains."
    )
    assert sentence([failed]) == "Could not be judged: hardish (bf16 backward)."
    assert sentence([good, wrong, failed]) == (
        "Could not be judged: hardish (bf16 backward). Wrong: bent (bf16 forward); checked were 2 activations in bf16, "
        "20 values."
    )
    assert sentence([good]).startswith("Nothing is wrong: ")


def test_a_large_error_that_is_ok_stands_beside_its_bound() -> None:
    large = row(max_error_ulp=1990.0, mean_error_ulp=0.2, max_error=1e-3, at=-9.0, bound_ulp=2345.0, bound_used=0.85)
    report = verification_report([large], device="cpu", torch="2", compiled=False)
    shown = render(report, "table", width=80)
    table = [line for line in shown.splitlines() if line.startswith("hardish")]
    assert table and "1.99e+03  2.34e" in table[0] and table[0].endswith("ok")
    assert max(map(len, shown.splitlines())) <= 80
