"""Rows, differences and verdicts, and the sentence that closes a table."""

import re
from dataclasses import replace

import pytest

from relubench.experiments.comparison import Comparison
from relubench.experiments.rows import SummaryRow
from relubench.reports.formatting import seeds_range
from relubench.reports.listings import list_columns
from relubench.reports.render import render
from relubench.reports.training.columns import COLUMNS, TableKey
from relubench.reports.training.display_columns import formatted_column, if_varied
from relubench.reports.training.gains import gain
from relubench.reports.training.groups import mean
from relubench.reports.training.summary import summarize
from relubench.reports.training.table import training_report
from tests.reports.conftest import Lab


def test_rows_in_order_of_appearance_with_paired_differences(lab):
    summary = lab.train("relu").train("sigmoid", scale=2.0).train("tanh").summary()
    relu, sigmoid, tanh = summary.rows
    assert [row.activation for row in summary.rows] == ["relu", "sigmoid", "tanh"]
    assert relu.difference_pct is None and relu.difference_verdict is None and relu.n == 3
    assert sigmoid.difference_verdict == "higher" and tanh.difference_verdict == "noise"
    assert sigmoid.difference_p < 0.05 <= tanh.difference_p and sigmoid.effect_size > 1
    assert sigmoid.detectable_difference_pct > 0 and (relu.difference_p, relu.effect_size) == (None, None)
    assert sigmoid.difference_pct == pytest.approx(sigmoid.test_error_pct - relu.test_error_pct, abs=1e-5)
    assert sigmoid.difference_ci_low_pct < sigmoid.difference_pct < sigmoid.difference_ci_high_pct
    assert (relu.seconds, relu.epochs, relu.lr, relu.init) == (183.0, 8.0, 0.1, "xavier")
    assert (relu.published_error_pct, tanh.article_error_pct) == (1.43, 2.2)


def test_json_rows_have_the_columns_in_order_and_l1_where_it_varies(lab):
    assert list(lab.train("relu").summary().json_rows()[0]) == SummaryRow.columns()
    summary = lab.train("relu", l1=0.01).summary()
    assert [list(row) for row in summary.json_rows()] == [[*SummaryRow.columns(), "l1"]] * 2
    assert "relu (l1 0.01) differs" in summary.sentence


@pytest.mark.parametrize(("scale", "beside"), [("mean", 1.52), ("sum", None), ("paper", None)])
def test_the_articles_strengths_stand_beside_those_of_a_mean_only(lab, scale, beside):
    summary = lab.train("relu").train("relu", l1=0.01, l1_scale=scale).summary()
    assert [row["article_error_pct"] for row in summary.json_rows()] == [1.43, beside]


def test_pairs_are_the_common_seeds(lab):
    summary = lab.train("relu", seeds=5).train("tanh", seeds=3, scale=2).summary()
    assert "(3 seeds)" in summary.sentence and [row.n for row in summary.rows] == [5, 3]


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_smoke_test_concludes_nothing(lab, seeds):
    lab.train("sigmoid", seeds=seeds, scale=4.0, epochs=2).train("relu", seeds=seeds, epochs=2)
    lab.train("tanh", seeds=seeds, scale=8.0, epochs=2)
    plain = summarize(lab.results, lab.timings, lambda run: lab.masks[run.id])
    smoke = summarize(lab.results, lab.timings, lambda run: lab.masks[run.id], comparison=Comparison(smoke=True))
    assert [str(row.difference_verdict).split()[0] for row in plain.rows[1:]] == ["lower", "higher"]
    assert [row.difference_verdict for row in smoke.rows] == [None, "lower in a smoke test", "higher in a smoke test"]
    assert [row.difference_pct for row in smoke.rows] == [row.difference_pct for row in plain.rows]
    assert {row.verdict for row in smoke.rows} == {"not comparable"}
    assert smoke.sentence.startswith("A smoke test: ")
    text = render(training_report(smoke, device="cpu"), "table", width=200)
    assert not re.search(r"\b(lower|higher)$", text, re.M), "no cell has a word"
    assert text.count("that the preset runs") == 1
    for words in ("on this test set", "lowest", "Lowest", "to show the differences"):
        assert words not in text, words


def test_a_smoke_test_of_the_papers_network_is_not_held_against_the_paper(lab):
    lab.train("relu", seeds=3, epochs=30)
    rows = [
        summarize(lab.results, lab.timings, lambda run: lab.masks[run.id], comparison=Comparison(smoke=smoke)).rows[0]
        for smoke in (False, True)
    ]
    assert (rows[1].verdict, rows[1].verdict_reason) == ("not comparable", rows[0].verdict_reason or "a smoke test")


@pytest.mark.parametrize(("foreign", "is_noted"), [({"exchanged": 3}, True), (None, False)])
def test_why_a_network_of_ones_own_has_no_dead_units(lab, foreign, is_noted):
    summary = lab.train("relu", model="./nets.py:Net", foreign=foreign).train("tanh", model="./nets.py:Net").summary()
    notes = [note for note in summary.note_texts if "dead units are not counted in ./nets.py:Net" in note]
    assert len(notes) == is_noted


def test_a_missing_mask_or_clock_is_said(lab):
    lab.train("relu")
    lab.masks.pop("run0001"), lab.timings.pop("run0002")
    summary = lab.summary()
    assert summary.rows[0].test_error_ci_low_pct is None and summary.rows[0].seconds is None
    assert any("no interval" in note for note in summary.note_texts)


def test_mixed_settings_are_not_printed_as_one(lab):
    lab.train("relu", seeds=2)
    lab.results[0].spec["lr"] = 0.01
    assert lab.summary().rows[0].lr is None


def test_two_runs_of_one_seed_are_refused(lab):
    lab.train("relu", seeds=1).train("relu", seeds=1)
    with pytest.raises(ValueError, match="both seed 0"):
        lab.summary()


def test_outcome_is_the_worst_and_counted_below(lab):
    lab.train("relu", seeds=5).train("tanh", seeds=5).spoil("tanh", "diverged", seeds=(1, 3), message="loss was inf")
    summary = lab.summary()
    assert (summary.rows[1].outcome, summary.rows[1].n) == ("diverged", 3)
    assert (
        "tanh: 2 of 5 seeds diverged (loss was inf); its mean is over the 3 seeds with a test error"
        in summary.note_texts
    )


def test_sentence_for_one_activation(lab):
    assert lab.train("relu").summary().sentence.startswith("relu reached a test error of ")
    assert "over 3 seeds." in lab.summary().sentence


def test_sentence_for_one_seed(lab):
    sentence = lab.train("relu", seeds=1).summary().sentence
    assert "with one seed (test-set noise only; add --seeds 5 to include the noise between trainings)" in sentence
    two = lab.train("sigmoid", seeds=1, scale=3).summary()
    assert two.sentence.endswith("Test-set noise only; add --seeds 5 to include the noise between trainings.")
    assert "relu had the lowest test error" in two.sentence and "sigmoid is higher on this test set, +" in two.sentence


def test_sentence_for_a_real_and_an_undecided_difference(lab):
    sentence = lab.train("relu").train("sigmoid", scale=2).train("tanh").summary().sentence
    assert "relu had the lowest mean test error" in sentence
    assert "Compared with it (3 seeds): sigmoid is higher, +" in sentence
    assert "tanh differs by no more than noise" in sentence


def test_sentence_says_what_would_settle_a_lone_comparison(lab):
    sentence = lab.train("relu").train("tanh").summary().sentence
    assert "more seeds would show it" in sentence or "no number of seeds would settle" in sentence


def test_a_line_says_what_would_settle_each_of_several_comparisons(lab):
    lab.train("relu").train("sigmoid", scale=2).train("tanh", scale=1.15).train("elu")
    summary = lab.summary()
    (line,) = (note for note in summary.note_texts if note.startswith("to show the differences called noise"))
    by_name = {row.activation: row for row in summary.rows}
    assert by_name["sigmoid"].difference_verdict == "higher" and "sigmoid" not in line
    for name in ("tanh", "elu"):
        assert by_name[name].difference_verdict == "noise"
        row = by_name[name]
        seeds_text = seeds_range(row.seeds_to_resolve_low, row.seeds_to_resolve, row.seeds_to_resolve_high, 3)
        assert name in line and (seeds_text or "no number of seeds for") in line
    lone = lab.results[:3] + lab.results[6:9]
    lab.results[:] = lone
    assert not any("called noise, if they" in note for note in lab.summary().note_texts)


def test_sentence_where_nothing_can_be_compared(lab):
    lab.train("relu").train("tanh").spoil("tanh", "diverged", seeds=(0, 1, 2))
    assert "Not compared: tanh (diverged)." in lab.summary().sentence
    lab.spoil("relu", "failed", seeds=(0, 1, 2))
    assert lab.summary().sentence == "No training ended with a test error."


def test_sentence_where_the_first_row_diverged(lab):
    lab.train("relu").train("tanh").spoil("relu", "diverged", seeds=(0, 1, 2))
    assert "Nothing is compared: relu, the first row, diverged." in lab.summary().sentence


def test_sentence_counts_many(lab):
    lab.train("relu")
    for number in range(8):
        lab.train(f"act{number}", scale=5 if number < 5 else 1)
    sentence = lab.summary().sentence
    assert "of 8, 5 higher (act0, act1, act2, act3 and 1 more), 3 within noise (act5, act6, act7)" in sentence


def test_data_sets_are_compared_apart(lab):
    for dataset in ("mnist", "norb"):
        lab.train("relu", dataset=dataset).train("tanh", dataset=dataset, scale=2)
    summary = lab.summary()
    assert [row.difference_pct is None for row in summary.rows] == [True, False, True, False]
    assert "On mnist, mlp-3x1000: " in summary.sentence and "On norb, mlp-3x1000: " in summary.sentence
    for dataset in ("cifar10", "nistp"):
        lab.train("relu", dataset=dataset).train("tanh", dataset=dataset, scale=2)
    assert "Lowest mean test error over 4 data sets and models: relu in 4." in lab.summary().sentence


def test_stalled_keeps_its_error(lab):
    lab.train("relu", seeds=1).spoil("relu", "stalled", seeds=(0,), error=90.0)
    assert "It stalled: it is still at chance." in lab.summary().sentence


@pytest.mark.parametrize(
    ("match", "note"),
    [
        ("parameters", "swiglu, glu: narrowed to the parameters of the plain network, within 1 %"),
        ("width", "swiglu, glu: as wide as the plain network, so with more parameters"),
    ],
)
def test_the_table_says_how_gated_networks_compare(lab, match, note):
    summary = lab.train("relu", match="-").train("swiglu", match=match).train("glu", match=match).summary()
    assert note in summary.note_texts
    assert not any("plain network" in note for note in lab.__class__().train("relu", match="-").summary().note_texts)


def test_a_lone_row_under_noise_has_its_name_in_the_sentence(lab):
    assert lab.train("relu", test_noise=0.1).summary().sentence.startswith("relu reached a")


ACTS = ("relu", "sigmoid", "tanh", "elu", "gelu")


def test_interval_word_and_p_agree_in_every_row(lab):
    for number, act in enumerate(ACTS):
        lab.train(act, scale=1 + 0.14 * number)
    rows = lab.summary().rows[1:]
    for row in rows:
        inside = row.difference_ci_low_pct <= 0 <= row.difference_ci_high_pct
        assert (row.difference_verdict == "noise") == inside == (row.difference_p >= 0.05), row
    assert {row.difference_verdict for row in rows} == {"noise", "higher"}
    # Four comparisons together have wider intervals than one.
    lab.results[:] = [result for result in lab.results if result.spec["activation"] in ("relu", "gelu")]
    (_, alone) = lab.summary().rows
    assert alone.difference_ci_high_pct < rows[-1].difference_ci_high_pct
    assert alone.detectable_difference_pct < rows[-1].detectable_difference_pct


def test_one_seed_is_called_different_on_this_test_set_only(lab):
    summary = lab.train("relu", seeds=1).train("sigmoid", seeds=1, scale=3).train("elu", seeds=1, scale=0.3).summary()
    words = [row.difference_verdict for row in summary.rows]
    assert words == [None, "higher on this test set", "lower on this test set"]
    assert any("compares one training of each" in note for note in summary.note_texts)
    table = render(training_report(summary, device=None), "table", width=80)
    assert max(map(len, table.splitlines())) <= 80 and table.count("on this test set") >= 2
    wide = render(training_report(summary, device=None), "markdown")
    assert "higher on this test set" in wide and "lower on this test set" in wide


def test_many_of_one_seed_are_counted_with_their_limit(lab):
    lab.train("relu", seeds=1)
    for number in range(8):
        lab.train(f"act{number}", seeds=1, scale=5 if number < 5 else 1)
    assert "of 8, 5 higher on this test set (act0, act1, act2, act3 and 1 more), 3 within" in lab.summary().sentence
    for dataset in ("norb", "cifar10", "nistp"):
        lab.train("relu", seeds=1, dataset=dataset).train("tanh", seeds=1, dataset=dataset, scale=4)
    assert "are more than this test set's noise" in lab.summary().sentence


def test_the_table_says_what_it_could_have_seen_or_that_it_could_not(lab):
    summary = lab.train("relu").train("tanh").summary()
    (note,) = (note for note in summary.note_texts if note.startswith("the smallest difference"))
    assert f"{summary.rows[1].detectable_difference_pct:.2f} points" in note
    few = Lab().train("relu", seeds=2, examples=2).train("tanh", seeds=2, examples=2).summary()
    assert few.rows[1].detectable_difference_pct is None
    assert any("even the largest possible difference would be missed" in note for note in few.note_texts)


def test_nobody_wins_where_nothing_was_learned(lab):
    lab.train("relu", seeds=1).train("hardswish", seeds=1).train("tanh", seeds=1)
    lab.spoil("relu", "failed", seeds=(0,)).spoil("hardswish", "stalled", seeds=(0,), error=90.0)
    lab.spoil("tanh", "diverged", seeds=(0,))
    sentence = lab.summary().sentence
    assert "lowest" not in sentence
    assert "Nothing learned anything, so that none is the best" in sentence and "hardswish" in sentence


def test_the_lowest_is_one_that_learned(lab):
    lab.train("relu").train("tanh").spoil("relu", "stalled", seeds=(0, 1, 2), error=1.0)
    summary = lab.summary()
    assert [row.n_learned for row in summary.rows] == [0, 3]
    assert "tanh had the lowest mean test error" in summary.sentence and "Still at chance: relu." in summary.sentence
    lab.spoil("tanh", "stalled", seeds=(0,), error=90.0)
    assert "tanh had the lowest" in lab.summary().sentence
    for dataset in ("norb", "cifar10", "nistp"):
        lab.train("relu", dataset=dataset)
    lab.results[:] = [replace(result, outcome="stalled") for result in lab.results]
    assert lab.summary().sentence.startswith("Nothing learned anything")


def test_a_range_of_seeds_is_given_and_in_order(lab):
    summary = lab.train("relu", seeds=4).train("tanh", seeds=4, scale=1.3).summary()
    row = summary.rows[1]
    if row.difference_verdict == "noise" and row.seeds_to_resolve:
        numbers = [row.seeds_to_resolve_low, row.seeds_to_resolve, row.seeds_to_resolve_high or 10**9]
        assert numbers == sorted(numbers) and "with 80 % probability" in summary.sentence
    assert seeds_range(9, 20, 63, 3) == "about 6 to 60 more seeds"
    assert seeds_range(9, 20, None, 3) == "at least 6 more seeds"
    assert seeds_range(4, 4, 4, 4) == "about 1 more seed"
    assert seeds_range(9, None, None, 3) == "at least 6 more seeds, if any number of them,"
    assert seeds_range(None, None, None, 3) == ""


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("lower", "rbm gains +2.00 points"),
        ("higher on this test set", "rbm loses on this test set, +2.00 points"),
        ("lower on this test set", "rbm gains on this test set, +2.00 points"),
        ("noise", "rbm gains no more than noise, +2.00 points"),
    ],
)
def test_a_gain_has_the_words_of_its_row(verdict, words):
    common = {"activation": "relu", "dataset": "mnist", "model": "mlp", "n": 1}
    row = SummaryRow(**common, pretraining="rbm", difference_pct=-2.0, difference_verdict=verdict)
    assert gain(row, SummaryRow(**common)).startswith(words)
    still = replace(row, n_learned=0)
    assert "neither learned anything" in gain(still, SummaryRow(**common, n_learned=0))


def test_every_column_is_explained():
    assert [row["name"] for row in list_columns()][: len(SummaryRow.columns())] == SummaryRow.columns()


def test_a_column_is_one_row_of_columns(lab, request):
    train_loss = TableKey(
        "train_loss",
        "the loss of the last epoch",
        values=lambda runs: [mean([run.curve[-1].train_loss for run in group.results]) for group in runs.groups],
        place=145,
        column=formatted_column("train_loss", "train loss", lambda row: f"{row['train_loss']:.3f}"),
    )
    COLUMNS.append(train_loss)
    request.addfinalizer(lambda: COLUMNS.remove(train_loss))
    report = training_report(lab.train("relu").train("tanh", epochs=4).summary(), device=None)
    assert [row["train_loss"] for row in report.rows] == [0.125, 0.25]
    headers = [column.header for column in report.columns]
    assert headers.index("train loss") == headers.index("test error %") + 1
    assert "0.125" in render(report, "markdown") and render(report, "tsv").splitlines()[0].endswith("\ttrain_loss")


@pytest.mark.parametrize("maker", [lambda row: "same", lambda row: row["activation"]])
def test_a_column_that_says_the_same_in_every_row_is_left_out(maker):
    rows = [{"key": None, "activation": "relu"}, {"key": None, "activation": "tanh"}]
    column = if_varied(formatted_column("key", "header", maker))(rows, "")
    assert (column is None) == (maker(rows[0]) == maker(rows[1]))
    assert formatted_column("another", "header", maker)(rows, "") is None


def test_the_first_row_is_named_again_after_those_at_chance(lab):
    lab.train("relu").train("tanh", scale=4.0).spoil("tanh", "stalled", seeds=(0, 1, 2), error=90.0)
    assert "Still at chance: tanh. Compared with relu (3 seeds): " in lab.summary().sentence
    assert "Compared with it (3 seeds): " in Lab().train("relu").train("tanh", scale=4.0).summary().sentence
