"""What a data set's options leave in a run: its id, its deviations, and the published numbers beside it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relubench.activations import select
from relubench.data import prepare
from relubench.errors import UsageError
from relubench.experiments.config import experiment, parse_assignments
from relubench.experiments.deviations import deviations
from relubench.experiments.plan import data_options, expand
from relubench.experiments.references import split_notes
from relubench.experiments.rows import SummaryRow
from relubench.reports.training.summary import summarize
from relubench.runs.spec import RunSpec
from tests.cli.fakes import mask, result, timing
from tests.specs import CPU


def spec_of(**data: object) -> RunSpec:
    config = experiment({"act": ["relu"], "data": data})
    prepared = prepare("digits", options=data_options(config.data))
    return expand(config, select(["relu"]), prepared, CPU, [0.1])[0]


def test_deviations_speak_of_labels_and_split():
    config = experiment(parse_assignments(["data.labels=10000", "data.split=paper", "data.train_size=500"]))
    assert deviations(config) == ("500 training images", "the paper's split", "10,000 labels")
    assert deviations(experiment({"data": {"labels": 1}})) == ("1 label",)
    assert deviations(experiment()) == ()


def test_deviations_say_what_an_l1_strength_multiplies():
    def told(**train: object) -> tuple[str, ...]:
        return deviations(experiment({"train": train}))

    assert told(l1=0.001) == ("L1 0.001",)
    assert told(l1=0.001, l1_scale="paper") == ("L1 0.001 (paper scale)",)
    assert told(l1_scale="mean") == ()


def test_labels_change_a_runs_id_and_survive_the_store():
    plain, few = spec_of(), spec_of(labels=100)
    assert few.id != plain.id and (few.labels, plain.labels) == (100, None)
    assert RunSpec.from_json(few.to_json()) == few
    # A run stored before there were labels has neither key.
    old = {key: value for key, value in plain.to_json().items() if key not in ("labels", "split")}
    assert RunSpec.from_json(old) == plain and RunSpec.from_json(old).id == plain.id


def test_notes_do_not_enter_the_id():
    plain = spec_of()
    assert replace(plain, labels=5, split="paper").id == plain.id


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data.labels=0", r"data\.labels should be greater than or equal to 1, got 0"),
        ("data.labels=some", r"data\.labels should be a valid integer"),
        ("data.split=mine", r"data\.split should be 'standard' or 'paper', got 'mine'"),
    ],
)
def test_bad_values_are_refused(text: str, message: str):
    with pytest.raises(UsageError, match=message):
        experiment(parse_assignments([text]))


def row(**spec: object) -> SummaryRow:
    run = result(dataset="cifar10", model="mlp-3x1000", **spec)
    return summarize([run], {run.id: timing()}, lambda one: mask(0)).rows[0]


def test_published_numbers_stand_beside_all_labels_only():
    assert row().published_error_pct == 50.86
    assert row(labels=10_000).published_error_pct is None


def test_another_split_than_the_papers_is_noted():
    shown = [row()]
    (note,) = split_notes(shown, {("cifar10", "standard")})
    assert note.startswith("cifar10 is split 45,000/5,000/10,000 here (training/validation/test), in the paper 50,000/")
    assert split_notes(shown, {("cifar10", "paper")}) == []
    assert split_notes([replace(shown[0], published_error_pct=None)], {("cifar10", "standard")}) == []
    mnist = SummaryRow(activation="relu", dataset="mnist", model="mlp-3x1000", published_error_pct=1.43)
    assert split_notes([mnist], {("mnist", "standard")}) == []
    run = result(dataset="cifar10", model="mlp-3x1000")
    assert note in summarize([run], {run.id: timing()}, lambda one: mask(0)).note_texts


def test_a_lone_run_takes_every_thread_unless_its_steps_are_too_small_to_share():
    four = replace(CPU, threads=4)

    def threads(seeds: int = 1, **sections: object) -> set[int]:
        config = experiment({"act": ["relu"], "seeds": list(range(seeds)), **sections})
        return {spec.threads for spec in expand(config, select(["relu"]), prepare("digits"), four, [0.1])}

    assert threads() == {1}
    assert (
        threads(train={"batch_size": 100})
        == threads(model={"name": "mlp-2x300"})
        == threads(model={"name": "cnn"})
        == {4}
    )
    assert threads(seeds=2, model={"name": "mlp-2x300"}) == {1}
