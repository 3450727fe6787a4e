"""The verdict against a reference number: reached, flipped, withheld, and said in every place."""

import numpy as np
import pytest

from relubench.experiments import references
from relubench.experiments.comparison import Comparison
from relubench.experiments.references import Entry
from relubench.reports.training.summary import summarize
from relubench.statistics import equivalence

MNIST = {"examples": 10_000, "scale": 0.28, "seeds": 5}
"""About 1.4 % of 10,000 examples."""


def swap(monkeypatch, changes):
    """Other published values for networks on mnist without pre-training."""
    old = references.entries

    def entries(source: str) -> tuple[Entry, ...]:
        return tuple(
            Entry(**{**{f: getattr(entry, f) for f in Entry.__slots__}, "value": changes[entry.activation]})
            if (entry.source, entry.dataset, entry.pretraining, entry.table)
            == ("glorot2011", "mnist", "none", "table1")
            else entry
            for entry in old(source)
        )

    monkeypatch.setattr(references, "entries", entries)


def test_reproduced_and_worse_with_the_numbers_they_rest_on(lab):
    relu, tanh = lab.train("relu", **MNIST).train("tanh", **{**MNIST, "scale": 0.7}).summary().rows
    assert (relu.verdict, relu.verdict_against, relu.published_error_pct) == ("reproduced", "published", 1.43)
    assert relu.reference_difference_pct == pytest.approx(relu.test_error_pct - 1.43, abs=1e-5)
    assert relu.reference_ci_low_pct < relu.reference_difference_pct < relu.reference_ci_high_pct
    assert relu.margin_pct == pytest.approx(2 * 0.2327, abs=1e-3)
    assert tanh.verdict == "worse" and tanh.reference_ci_low_pct > 0


def test_swapped_published_values_flip_the_verdicts(lab, monkeypatch):
    lab.train("relu", **MNIST).train("tanh", **{**MNIST, "scale": 0.45})
    swap(monkeypatch, {"relu": 1.43, "tanh": 2.2, "softplus": 1.77})
    assert [row.verdict for row in lab.summary().rows] == ["reproduced", "reproduced"]
    monkeypatch.undo()
    swap(monkeypatch, {"relu": 2.2, "tanh": 1.43, "softplus": 1.77})
    assert [row.verdict for row in lab.summary().rows] == ["better", "worse"]


def test_the_articles_value_where_nothing_is_published(lab):
    (row,) = lab.train("sigmoid", **{**MNIST, "scale": 0.58}).summary().rows
    assert (row.verdict, row.verdict_against, row.published_error_pct) == ("reproduced", "article", None)
    assert "article's value" in " ".join(lab.summary().note_texts)


def test_one_seed_is_undecided(lab):
    (row,) = lab.train("relu", **{**MNIST, "seeds": 1}).summary().rows
    assert row.verdict == "undecided" and row.reference_difference_pct is None
    assert any("one seed does not tell" in note for note in lab.summary().note_texts)


def test_without_a_test_error_there_is_no_verdict(lab):
    lab.train("relu", seeds=2).spoil("relu", "diverged", seeds=(0, 1))
    assert lab.summary().rows[0].verdict is None


@pytest.mark.parametrize(
    ("activation", "spec", "reason"),
    [
        ("relu", {"epochs": 2}, "trained otherwise: 2 epochs of 30"),
        ("relu", {"optimizer": "adamw", "batch_size": 128}, "trained otherwise: optimizer adamw, batch size 128"),
        ("relu", {"dropout": 0.5}, "trained otherwise: dropout 0.5"),
        ("relu", {"lr": 0.3}, "trained otherwise: learning rate 0.3"),
        ("relu", {"train_size": 500}, "trained on 500 images only"),
        ("relu", {"model": "mlp-2x500"}, "another network than the paper's"),
        ("relu", {"model": "cnn"}, "the article does not describe its cnn"),
        ("relu", {"pretraining": "made-up"}, "the paper has no pre-training by made-up"),
        ("gelu", {"dataset": "cifar10"}, "not among the paper's activations; published for"),
        ("relu", {"dataset": "digits"}, "nothing is published on digits"),
        ("relu", {"dataset": "nistp-like"}, "a rebuild of NISTP, which is not public"),
        ("gelu", {"dataset": "nistp-like"}, "a rebuild of NISTP, which is not public"),
        ("mish", {"dataset": "norb"}, "the paper used jittered-cluttered NORB"),
        ("relu", {"dataset": "cifar10"}, "another split: 45,000 training images, in the paper 50,000"),
    ],
)
def test_not_comparable_says_why(lab, activation, spec, reason):
    lab.train(activation, seeds=2, examples=10_000)
    for result in lab.results:
        result.spec.update(spec)
    (row,) = lab.summary().rows
    assert row.verdict == "not comparable" and row.verdict_reason.startswith(reason)
    if row.published_error_pct is not None:
        assert any(row.verdict_reason in note for note in lab.summary().note_texts)


@pytest.mark.parametrize(
    ("spec", "examples", "value"),
    [
        ({"dataset": "cifar10", "split": "paper"}, 5000, 50.86),
        ({"dataset": "norb-jittered-cluttered", "model": "mlp-4000-2000"}, 58_320, 16.40),
    ],
)
def test_the_papers_split_and_one_next_to_it_are_comparable(lab, spec, examples, value):
    lab.train("relu", seeds=3, examples=examples, scale=value / 5)
    for result in lab.results:
        result.spec.update(spec)
    (row,) = lab.summary().rows
    assert row.published_error_pct == value and row.verdict in ("reproduced", "better", "worse", "undecided")


def test_some_labels_are_not_comparable_with_the_articles_value_of_all(lab):
    lab.train("relu", seeds=2, examples=10_000)
    for result in lab.results:
        result.spec.update(labels=1000)
    (row,) = lab.summary().rows
    assert (row.verdict, row.verdict_reason) == ("not comparable", "trained on 1,000 labels only")


def test_noise_and_a_preset_without_references_say_why_nothing_is_compared(lab):
    lab.train("relu", seeds=2, test_noise=0.1, examples=10_000).train("relu", seeds=2, variant="x", examples=10_000)
    rows = summarize(lab.results, lab.timings, lambda run: lab.masks[run.id], comparison=Comparison(references={})).rows
    reasons = ["tested on noisy images", "no table of published numbers was asked for"]
    assert [row.verdict_reason for row in rows] == reasons


def test_another_test_set_is_not_comparable(lab):
    (row,) = lab.train("relu", examples=2000).summary().rows
    assert row.verdict_reason == "another split: 2,000 test images, in the paper 10,000"


@pytest.mark.parametrize("spec", [{"l1": 0.001}, {"sign_flip": True}, {"lr": 0.01}, {"epochs": 60}, {"init": "he"}])
def test_what_the_paper_did_or_does_not_state_bars_no_verdict(lab, spec):
    lab.train("relu", **MNIST)
    for result in lab.results:
        result.spec.update(spec)
    assert lab.summary().rows[0].verdict == "reproduced"


def test_an_undecided_row_says_what_would_settle_it():
    """Seeds that differ as much as these leave a wide interval, which more of them would narrow."""
    masks = [np.arange(10_000) < wrong for wrong in (120, 150, 180)]
    reproduction = equivalence.compare_with_published(masks, 1.43, 10_000, 0.4654)
    assert reproduction.verdict == "undecided" and reproduction.seeds_to_settle.likely is None
    few = [np.random.default_rng(seed).random(10_000) < 0.0155 for seed in range(3)]
    reproduction = equivalence.compare_with_published(few, 1.43, 10_000, 0.4)
    needed = reproduction.seeds_to_settle
    assert reproduction.verdict == "undecided" and 3 <= needed.low < 100
    # Seeds that leave the variance between trainings open leave this open too.
    assert needed.likely is None or needed.low <= needed.likely


def test_no_number_of_seeds_settles_what_the_test_set_hides():
    agreeing = [np.arange(10_000) < 171] * 3
    reproduction = equivalence.compare_with_published(agreeing, 1.43, 10_000, 0.25)
    assert reproduction.verdict == "undecided" and reproduction.seeds_to_settle.likely is None
    with pytest.raises(ValueError, match="one seed"):
        equivalence.compare_with_published(agreeing[:1], 1.43, 10_000, 0.25)


@pytest.mark.parametrize(("name", "size", "half"), [("mnist", 10_000, 0.23), ("cifar10", 5_000, 1.39)])
def test_the_margin_is_twice_the_published_noise(name, size, half):
    typical = references.typical_error_pct("glorot2011", name)
    assert equivalence.margin_pct(typical, size) == pytest.approx(2 * half, abs=0.011)
    assert equivalence.margin_pct(0.0, size) == equivalence.LEAST_MARGIN_PCT


def test_sentence_and_table_carry_the_verdict(lab):
    from relubench.reports.render import FORMATS, render
    from relubench.reports.training.table import training_report

    summary = lab.train("relu", **MNIST).train("tanh", **{**MNIST, "scale": 0.7}).train("gelu", **MNIST).summary()
    assert "Against the published values: relu reproduced (" in summary.sentence and "tanh worse (+" in summary.sentence
    report = training_report(summary, device="cpu")
    for name in FORMATS:
        text = render(report, name, width=160, colour=False)
        assert "reproduced" in text and "worse" in text, name
    assert any(note.startswith("not comparable: gelu (not among the paper's activations") for note in report.note_texts)


def test_a_fixed_rate_is_said_where_the_paper_searched(lab):
    lab.train("relu", **{**MNIST, "scale": 0.9})
    assert any("searched every network's learning rate" in note for note in lab.summary().note_texts)
