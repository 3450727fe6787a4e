"""Values of other networks are compared in order alone, and only where their direction is known."""

from __future__ import annotations

from typing import Any

import pytest

from relubench.errors import UsageError
from relubench.experiments.presets.document import read_document
from relubench.experiments.presets.resolve import resolve
from relubench.experiments.published_order import published_order
from relubench.reports.training.published_order import claim_line, order_line

SHAZEER = {"source": "shazeer2020", "table": "table1", "metric": "log_perplexity", "condition": "steps=524288"}


def rows(scores: dict[str, float], **more: Any) -> list[dict[str, Any]]:
    usual = {"dataset": "mnist", "model": "mlp-3x1000", "task": "reconstruction", "metric": "nats"}
    usual |= {"lower_is_better": True}
    return [{"activation": name, "test_metric": score, **usual, **more} for name, score in scores.items()]


def test_pairs_are_counted_by_the_direction_of_each_metric() -> None:
    # Shazeer 2020, table 1, 524,288 steps: geglu 1.633, swiglu 1.636, bilinear 1.648, relu 1.677, silu 1.683.
    order = published_order(**SHAZEER)
    assert len(order.values) == 8 and order.values["geglu"] == 1.633
    same = order.agreement({"geglu": 1.0, "relu": 2.0, "silu": 3.0, "tanh": 0.0}, lower_is_better=True)
    assert (len(same.agreeing), same.turned) == (3, [])
    turned = order.agreement({"geglu": 1.0, "relu": 2.0, "silu": 3.0}, lower_is_better=False)
    assert turned.agreeing == [] and set(turned.turned) == {("relu", "silu"), ("relu", "geglu"), ("silu", "geglu")}
    # An accuracy: elu 94.1 and prelu 94.1 are equal there and do not count.
    accuracy = published_order("ramachandran2017", "accuracy", table="table4", dataset="cifar10", model="ResNet-164")
    agreement = accuracy.agreement({"elu": 5.0, "prelu": 4.0, "relu": 6.0, "silu": 6.0}, lower_is_better=True)
    assert (agreement.pairs, len(agreement.agreeing)) == (4, 2)


def test_a_line_says_why_the_values_are_not_compared() -> None:
    line = order_line(published_order(**SHAZEER), rows({"relu": 30.0, "geglu": 29.0, "silu": 28.0}))
    assert line == (
        "Shazeer 2020, table 1, steps=524288: not comparable (T5-base FFN, not mlp-3x1000; C4 held-out shard, "
        "not mnist; log perplexity, not nats); of the means the order agrees: 1 of 3 pairs, not for relu and silu, "
        "silu and geglu"
    )
    assert order_line(published_order(**SHAZEER), rows({"relu": 30.0, "tanh": 29.0})) == ""


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({**SHAZEER, "source": "shazeer2021"}, "there is no source of references called 'shazeer2021'"),
        ({**SHAZEER, "metric": "seconds"}, "whether a higher seconds is better is not known"),
        ({**SHAZEER, "condition": ""}, "has several values of condition: 'steps=65536', 'steps=524288'"),
        ({**SHAZEER, "table": "table77"}, "has fewer than two activations to compare"),
    ],
)
def test_what_has_no_order_is_refused(request_: dict[str, str], message: str, tmp_path: Any) -> None:
    with pytest.raises(UsageError, match=message):
        published_order(**request_)
    path = tmp_path / "preset.yaml"
    settings = ", ".join(f"{key}: {value}" for key, value in request_.items() if value)
    path.write_text(f"description: x\nreference:\n  - {{{settings}}}\nact: [relu]\n")
    # A reference without a condition in the file is one that leaves it out.
    with pytest.raises(UsageError, match=message):
        resolve(read_document(path, "preset"), "preset")


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ({"relu": "lower", "gelu": "lower"}, "does not hold here: relu, gelu are better"),
        ({"relu": "higher", "gelu": "higher"}, "holds here: relu, gelu are worse"),
        ({"relu": "noise", "gelu": "noise"}, "is neither confirmed nor refuted here: relu, gelu are no"),
        ({"relu": "noise", "gelu": "higher"}, "holds here in part: gelu is worse; relu is no different"),
    ],
)
def test_a_claim_gets_its_verdict(verdicts: dict[str, str], words: str) -> None:
    scores = {"tanh": 1.0, "relu": 1.0, "gelu": 1.0}
    judged = [{**row, "difference_verdict": verdicts.get(row["activation"])} for row in rows(scores)]
    line = claim_line("tanh", judged).replace(": compared with it, ", ": ")
    assert line.startswith(f"the claim that tanh is the best {words}")
    one_seed = [{**row, "difference_verdict": "lower on this test set"} for row in judged]
    assert claim_line("tanh", one_seed) == ""
