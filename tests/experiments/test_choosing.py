"""Choices within a budget: what is spent, who is out and why, what is recommended, from real trainings of tiny nets."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import relubench
from relubench.errors import ComputeError, UsageError
from relubench.executors.inline import InlineExecutor
from relubench.experiments.choosing import choice
from relubench.experiments.choosing.answer import ChoiceRow, recommended
from relubench.experiments.choosing.budget import OVERRUN_SHARE, Account, Budget, parse_budget
from relubench.experiments.choosing.plan import FOLDER, LOCK, SequentialPlan
from relubench.experiments.choosing.rates import RateSearch
from relubench.experiments.choosing.request import choice_request
from relubench.experiments.events import Event
from relubench.experiments.named_settings import configuration
from relubench.experiments.plan import Variant
from relubench.experiments.study import Study
from relubench.reports.choosing import python
from relubench.reports.choosing.report import choice_report
from relubench.reports.table import Table

TINY: dict[str, Any] = {"dataset": "digits", "model": "mlp-1x16", "batch_size": 64, "epochs": 3, "lr": 0.3}


# In one process: they share the runs of one command.
pytestmark = pytest.mark.xdist_group("choosing")


@pytest.fixture(scope="module", autouse=True)
def in_this_process() -> Iterator[None]:
    """Trainings run in this process: starting workers for every look would take longer than all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(python, "open_study", opened_inline)
        patch.setattr(choice, "PRICE_SECONDS", (0.2, 0.2))
        yield


def opened_inline(variants: Sequence[Variant], data_dir: None, runs_dir: Path) -> Study:
    return Study.open(variants, runs_dir=runs_dir, executor=InlineExecutor)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def table(runs: Path) -> Table:
    """relu against a network without any activation and one that is nearly constant."""
    return relubench.choose(["relu", "tanh", "0.001*x"], budget="40runs", seeds="3..6", runs_dir=runs, **TINY)


def answer(table: Table) -> dict[str, Any]:
    return table.report.about["answers"][0]


def test_a_bad_activation_is_out_and_the_answer_is_confirmed(table: Table) -> None:
    rows = {row["activation"]: row for row in table.rows}
    assert rows["0.001*x"]["standing"] == "worse"
    assert rows["0.001*x"]["test_metric"] is None
    assert set(answer(table)["not_told_apart"]) <= {"relu", "tanh"}
    best = rows[answer(table)["best"]]
    assert best["test_seeds"] >= 2 and best["test_metric_ci_low"] < best["test_metric"] < best["test_metric_ci_high"]
    assert table.report.sentence.startswith(f"Take {answer(table)['recommended']}: ")


def test_the_confirming_seeds_decided_nothing_before(table: Table) -> None:
    seeds = {run["spec"]["seed"] for run in table.report.runs}
    fresh = {seed for seed in seeds if seed >= 6}
    assert fresh == set(range(6, 6 + len(fresh))) and len(fresh) >= 2
    assert "0.001*x" not in {run["spec"]["activation"] for run in table.report.runs if run["spec"]["seed"] in fresh}


def test_no_more_runs_than_the_budget(table: Table) -> None:
    assert len(table.report.runs) == answer(table)["runs"] <= 40


def test_the_test_scores_are_the_means_of_the_runs(table: Table) -> None:
    for row in table.rows:
        tested = [
            run["test_error_pct"]
            for run in table.report.runs
            if run["spec"]["activation"] == row["activation"] and run["spec"]["seed"] >= 6
        ]
        if row["test_metric"] is not None:
            assert row["test_metric"] == pytest.approx(sum(tested) / len(tested), abs=1e-6)


def test_prices_and_soundness_stand_beside_the_scores(table: Table) -> None:
    for row in table.rows:
        assert row["training_us_per_example"] > 0 and row["inference_us_per_example"] > 0 and row["memory_bytes"] > 0
        assert row["soundness"] == "sound"
    assert any(row["pareto"] for row in table.rows)


def test_the_same_command_trains_nothing_and_answers_the_same(table: Table, runs: Path) -> None:
    ids = set((runs / "runs").rglob("result.json"))
    again = relubench.choose(["relu", "tanh", "0.001*x"], budget="40runs", seeds="3..6", runs_dir=runs, **TINY)
    timed = ("training", "inference", "pareto", "recommended")
    kept = [{key: row[key] for key in row if not key.startswith(timed)} for row in table.rows]
    assert [{key: row[key] for key in row if not key.startswith(timed)} for row in again.rows] == kept
    assert set((runs / "runs").rglob("result.json")) == ids


@pytest.mark.slow
def test_a_smaller_budget_answers_the_same_or_wider(table: Table, runs: Path) -> None:
    sets = [set(answer(table)["not_told_apart"])]
    for budget in ("25runs", "15runs"):
        smaller = relubench.choose(["relu", "tanh", "0.001*x"], budget=budget, seeds="3..6", runs_dir=runs, **TINY)
        assert answer(smaller)["runs"] <= int(budget.removesuffix("runs"))
        sets.append(set(answer(smaller)["not_told_apart"]))
    assert all(wider >= narrower for narrower, wider in itertools.pairwise(sets))


def test_the_plan_is_frozen_in_a_file(table: Table, runs: Path) -> None:
    (plan,) = table.report.about["plans"]
    content = json.loads((runs / FOLDER / plan["digest"] / LOCK).read_text())
    assert content["looks"] == [3, 4, 5, 6] == plan["looks"]
    assert content["activations"] == ["relu", "tanh", "0.001*x"]


@pytest.fixture
def unpriced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without prices and a check of the arithmetic, which take as long as all trainings."""
    monkeypatch.setattr(choice.Choice, "_prices", lambda choosing, contest, trainings: {})
    monkeypatch.setattr(choice, "soundness", lambda choices, precision, budget_s: {})


@pytest.mark.usefixtures("unpriced")
def test_relu_against_a_renamed_relu_is_never_decided(runs: Path) -> None:
    table = relubench.choose(["relu", "again=max(x,0)"], budget="40runs", seeds="3..5", runs_dir=runs, **TINY)
    assert answer(table)["not_told_apart"] == ["relu", "max(x,0)"] or set(answer(table)["not_told_apart"]) == {
        row["activation"] for row in table.rows
    }
    # Their scores are the same: nothing that is trained after the first look could tell them apart.
    assert (answer(table)["ended"], answer(table)["seeds"]) == ("out of reach", 3)
    assert "More budget would hardly change this" in answer(table)["more_budget"]
    # People read the name that they gave.
    assert "again cannot be told apart from relu" in table.report.sentence


@pytest.mark.usefixtures("unpriced")
def test_a_diverging_activation_is_out_with_its_reason(runs: Path) -> None:
    table = relubench.choose(["relu", "exp(5*x)"], budget="30runs", seeds="2..3", runs_dir=runs, **TINY)
    row = next(row for row in table.rows if row["activation"] != "relu")
    assert row["standing"] == "failed" and "diverged" in row["reason"]
    assert answer(table)["recommended"] == "relu"


RUNS_30 = Budget(runs=30)
LAST = {"kind": "started", "activation": "0.001*x", "seed": 1}
"""The event at which the last run of the first look starts, when seed 0 has ended for everybody."""


def interrupted_at(
    stop: int | dict[str, Any], runs_dir: Path, budget: Budget = RUNS_30, **changes: Any
) -> tuple[choice.Choice, int]:
    """A choice that Ctrl-C stops at the event of that number, or with these values, and how many events there were."""
    seen = 0

    def watch(study: Study, events: Generator[Event]) -> bool:
        nonlocal seen
        with closing(events):
            for event in events:
                seen += 1
                if stop in (seen, {key: getattr(event, key) for key in LAST}):
                    # As the display of the command line has it, or between two trainings.
                    if seen % 2:
                        raise KeyboardInterrupt
                    return True
        return False

    config = configuration(["relu", "tanh", "0.001*x"], {**TINY, **changes}, None)
    request = choice_request(config, datasets=[], models=[], budget=budget, want="error", within=None, seeds="2..4")
    opened = choice.Choice.open(request, lambda variants: opened_inline(variants, None, runs_dir), watch)
    opened.run()
    return opened, seen


@pytest.mark.slow
@pytest.mark.usefixtures("unpriced")
def test_ctrl_c_at_any_event_leaves_an_answer_and_the_same_command_ends_as_if_undisturbed(tmp_path: Path) -> None:
    whole, _ = interrupted_at(0, tmp_path / "undisturbed")
    (final,) = whole.answers
    # What is stored has one event, so that each of them gets a little further; the last ones get to the end.
    for number in (2, 9, 14, 21, 23, 26, 30, 35, 1000):
        stopped, num_events = interrupted_at(number, tmp_path / "stopped")
        (so_far,) = stopped.answers
        assert stopped.interrupted == (num_events == number)
        # Whoever is left at the end was left at every moment before it.
        assert {row.activation for row in so_far.chosen} >= {row.activation for row in final.chosen}
        assert so_far.runs <= final.runs and choice_report(stopped).sentence
    assert so_far == replace(final, effort=so_far.effort)


@pytest.mark.slow
@pytest.mark.usefixtures("unpriced")
def test_several_data_sets_and_networks_have_an_answer_each_and_one_ranking(tmp_path: Path) -> None:
    table = relubench.choose(
        ["relu", "tanh"],
        **{**TINY, "dataset": ["digits", "wine"], "model": ["mlp-1x16", "mlp-1x8"]},
        budget="80runs",
        seeds="2..3",
        runs_dir=tmp_path,
    )
    answers = table.report.about["answers"]
    names = [("digits", "mlp-1x16"), ("digits", "mlp-1x8"), ("wine", "mlp-1x16"), ("wine", "mlp-1x8")]
    assert [(entry["dataset"], entry["model"]) for entry in answers] == names
    assert all(entry["recommended"] in entry["not_told_apart"] and entry["confirmed"] for entry in answers)
    assert {(row["dataset"], row["model"], row["activation"]) for row in table.rows} == {
        (*name, label) for name in names for label in ("relu", "tanh")
    }
    assert sum(entry["runs"] for entry in answers) == len(table.report.runs) <= 80
    assert table.report.about["ranking"]["rows"]


@pytest.mark.usefixtures("unpriced")
def test_a_budget_without_room_for_one_training_says_what_it_would_take(tmp_path: Path) -> None:
    short, _ = interrupted_at(0, tmp_path, budget=Budget(seconds=2), epochs=100_000)
    (so_far,) = short.answers
    assert (so_far.recommended, so_far.compared, so_far.runs) == (None, False, 0)
    assert so_far.effort.seconds_needed is not None and so_far.effort.seconds_needed > 100
    sentence = choice_report(short).sentence
    assert sentence.startswith("No activation can be recommended: none has a score yet. The first comparison ")
    assert "need up to 12 runs; 0 have ended, and one takes about" in sentence and "a budget of" in sentence


@pytest.mark.usefixtures("unpriced")
def test_before_the_first_look_nothing_is_ruled_out(tmp_path: Path) -> None:
    stopped, _ = interrupted_at(LAST, tmp_path)
    (so_far,) = stopped.answers
    assert (so_far.compared, so_far.confirmed) == (False, False)
    assert {row.standing for row in so_far.rows} == {"best", "not told apart"}
    assert choice_report(stopped).sentence.startswith(f"Nothing is decided yet: {so_far.best} has the lowest")


def test_rates_are_searched_from_the_middle_outwards() -> None:
    search = RateSearch((0.001, 0.01, 0.1, 1.0))
    assert search.next_rates("relu") == [0.01, 0.1]
    search.scores["relu"] = {0.01: 5.0, 0.1: 3.0}
    assert search.next_rates("relu") == [1.0]
    search.scores["relu"][1.0] = float("inf")
    assert search.next_rates("relu") == [] and search.best("relu") == 0.1
    search.scores["tanh"] = {0.01: 2.0, 0.1: 3.0}
    assert search.next_rates("tanh") == [0.001]


@pytest.mark.parametrize("grid", [(0.1,), (0.01, 0.1), (0.01, 0.1, 1.0), tuple(10.0**-k for k in range(7, 0, -1))])
def test_a_search_over_one_valley_finds_its_bottom(grid: tuple[float, ...]) -> None:
    for bottom in grid:
        search = RateSearch(grid)
        while rates := search.next_rates("relu"):
            known = search.scores.setdefault("relu", {})
            known |= {rate: float(abs(grid.index(rate) - grid.index(bottom))) for rate in rates}
        assert search.best("relu") == bottom


def test_budgets_are_times_or_numbers_of_runs() -> None:
    assert parse_budget("20m") == Budget(seconds=1200)
    assert parse_budget(" 1.5h ") == Budget(seconds=5400)
    assert parse_budget("40runs") == parse_budget("40 runs") == Budget(runs=40)
    assert [str(parse_budget(text)) for text in ("20m", "90s", "2h", "40runs")] == ["20m", "90s", "2h", "40 runs"]


@pytest.mark.parametrize("text", ["", "20", "m", "-5m", "0runs", "1.5runs", "0s", "twenty", "1e3s"])
def test_any_other_budget_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--budget must be"):
        parse_budget(text)


def test_an_account_of_time_foresees_what_runs_take() -> None:
    now = [0.0]
    account = Account(Budget(seconds=100), clock=lambda: now[0], reserve_share=0.2)
    assert account.affords(10**6)
    now[0] = 40.0
    account.spend(["a", "b", "c", "d"], [9.0, 11.0, 10.0, 10.0], wall_s=40.0)
    assert account.affords(4) and not account.affords(5)


def test_an_account_of_time_knows_what_two_workers_take_and_their_start() -> None:
    now = [0.0]
    account = Account(Budget(seconds=100), clock=lambda: now[0])
    for run in ("a", "b"):
        account.pace.observe(Event(kind="started", run=run), 0.0)
    now[0] = 35.0
    # Three trainings of 10 s by two workers are two in a row: what is more than 20 s is the workers' start.
    account.spend(["a", "b", "c"], [10.0, 10.0, 10.0], wall_s=35.0)
    assert (account.pace.start_s, account.pace.seconds_of(5)) == (15.0, 45.0)
    assert account.affords(10) and not account.affords(11)


def test_a_time_that_is_too_short_is_told_before_the_first_training_has_ended() -> None:
    now, notes = [0.0], []
    account = Account(Budget(seconds=60), clock=lambda: now[0], least_runs=10)

    def events() -> Generator[Event]:
        yield Event(kind="started", run="a", epochs=100)
        for epoch in range(1, 100):
            now[0] += 2.0
            yield Event(kind="epoch", run="a", epochs=100, epochs_done=epoch)

    seen = list(account.until_spent(events(), notes.append))
    assert seen[-1].epochs_done == 31 and now[0] == 62.0
    (note,) = notes
    assert "one training takes about 3 min" in note and "10 of them, about 33 min: more than the 60 s" in note


def test_an_account_of_runs_counts_a_run_once() -> None:
    account = Account(Budget(runs=5))
    account.spend(["a", "b"], [1.0, 1.0], wall_s=2.0)
    account.spend(["a", "b", "c"], [1.0], wall_s=1.0)
    assert account.affords(2) and not account.affords(3)


SILENT = """
import sys, time
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.act, self.last = torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10)

    def forward(self, x):
        if "relubench.executors.worker" in sys.modules:
            time.sleep(600)
        return self.last(self.act(self.first(x.flatten(1))))
"""


@pytest.mark.slow
@pytest.mark.usefixtures("unpriced")
def test_a_run_that_says_nothing_does_not_overrun_the_budget(tmp_path: Path) -> None:
    """One training step takes ten minutes: no event comes of it, and its process does not listen."""
    (tmp_path / "net.py").write_text(SILENT)
    config = configuration(["relu", "tanh"], {**TINY, "model": f"{tmp_path / 'net.py'}:Net"}, None)
    budget = Budget(seconds=20)
    request = choice_request(config, datasets=[], models=[], budget=budget, want="error", within=None, seeds="2..4")
    opened = choice.Choice.open(request, lambda variants: Study.open(variants, runs_dir=tmp_path), python._watch)
    opened.opened = start = time.monotonic()
    opened.run()
    assert time.monotonic() - start < 20 * (1 + OVERRUN_SHARE)
    (so_far,) = opened.answers
    assert (so_far.recommended, so_far.runs) == (None, 0)


def row(name: str, standing: Any, time: float | None = None, memory: int | None = None, high: float = 9.0) -> ChoiceRow:
    return ChoiceRow(
        activation=name,
        dataset="digits",
        model="cnn",
        standing=standing,
        task="classification",
        metric="error_pct",
        lower_is_better=True,
        training_us_per_example=time,
        memory_bytes=memory,
        test_difference_ci_low=-high,
        test_difference_ci_high=high,
    )


def test_what_is_wanted_decides_among_those_that_are_as_good() -> None:
    rows = [
        row("gelu", "best", 3.0, 30),
        row("relu", "not told apart", 1.0, 40, high=0.5),
        row("tanh", "not told apart", 2.0, 20, high=0.2),
        row("sigmoid", "worse", 0.1, 1),
    ]
    assert recommended(rows, "error", 0.0) == "gelu"
    assert recommended(rows, "time", 0.0) == "relu"
    assert recommended(rows, "memory", 0.0) == "tanh"
    assert recommended(rows, "error", 0.3) == "tanh"
    assert recommended(rows, "time", 0.6) == "relu"
    assert recommended(rows[3:], "error", 0.0) is None


def test_without_prices_the_best_is_recommended() -> None:
    assert recommended([row("gelu", "best"), row("relu", "not told apart")], "time", 0.0) == "gelu"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"act": "relu"}, "two activations or more, got relu"),
        ({"budget": "5runs"}, "too little for one look"),
        ({"want": "beauty"}, "--want must be one of error, time, memory"),
        ({"within": -1}, "--within must be a number of at least 0"),
        ({"seeds": "5"}, "--seeds must be LEAST..MOST"),
        ({"seeds": "5..3"}, "the least first"),
        ({"seeds": "1..3"}, "--seeds must be from 2"),
    ],
)
def test_what_cannot_be_chosen_is_refused(changes: dict[str, Any], message: str, runs: Path) -> None:
    values = {"act": ["relu", "tanh"], "budget": "20runs", "runs_dir": runs, **TINY, **changes}
    with pytest.raises(UsageError, match=message):
        relubench.choose(**values)


def plan(**changes: Any) -> SequentialPlan:
    values: dict[str, Any] = {
        "command": "choose",
        "activations": ("relu", "tanh"),
        "settings": ("digits, cnn",),
        "metric": "error_pct",
        "decides_on": "validation",
        "looks": (3, 4),
        "error_rate": 0.05,
        "compared": "all pairs",
    }
    return SequentialPlan(**{**values, **changes})


@pytest.mark.parametrize(
    "changes", [{"activations": ("relu",)}, {"looks": (3, 5)}, {"error_rate": 0.1}, {"metric": "mse"}]
)
def test_a_changed_plan_is_another_one(changes: dict[str, Any]) -> None:
    assert plan(**changes).digest != plan().digest


def test_a_plan_that_was_changed_meanwhile_is_found(tmp_path: Path) -> None:
    path = plan().freeze(tmp_path)
    plan().check(tmp_path)
    path.write_text(path.read_text().replace("0.05", "0.5"))
    with pytest.raises(ComputeError, match="was changed while its runs were trained"):
        plan().check(tmp_path)
    path.unlink()
    with pytest.raises(ComputeError, match="cannot be read"):
        plan().check(tmp_path)
