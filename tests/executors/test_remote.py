"""What all executors on other machines share: the same bytes come home, lost jobs are tried again, failed ones not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from executors.here_engine import HereEngine
from relubench.errors import RelubenchError, UsageError
from relubench.executors.inline import InlineExecutor
from relubench.executors.job import Job
from relubench.executors.messages import Done, Failed, Message, Note, Postponed, Progress, Started, Waiting
from relubench.executors.ray_cluster import RayNode
from relubench.executors.ray_engine import Member, Needs, RayEngine
from relubench.executors.remote.control import Control
from relubench.executors.remote.deliveries import PutCheckpoint
from relubench.executors.remote.engine import Arrival, Engine, Parcel
from relubench.executors.remote.performance import condensed
from relubench.experiments.config import experiment
from relubench.experiments.cost import price
from relubench.experiments.plan import Variant
from relubench.experiments.speed import check_place
from relubench.experiments.study import Study
from relubench.reports.cost import cost_report
from relubench.runs.store import Store
from relubench.training import driver
from specs import job

SMALL = {"train": {"epochs": 2, "batch_size": 64}, "model": {"name": "mlp-1x16"}, "device": "cpu"}
LONG = {"train": {"epochs": 30, "batch_size": 4}, "model": {"name": "mlp-2x32"}}
EVERYTHING = {
    **SMALL,
    "act": ["relu", "tanh"],
    "pretrain": {"methods": ["none", "dae"], "epochs": 1, "lr": 0.1},
    "data": {"test_noise": [0.1]},
}


class Away:
    """An executor of the control and an engine."""

    def __init__(self, store: Store, engine: Engine | None = None, retries: int = 3) -> None:
        self.store, self.engine, self.retries, self.lines = store, engine or HereEngine(), retries, list[str]()

    def run(self, jobs: Sequence[Job]) -> Generator[Message, None, None]:
        return Control(self.engine, self.store, self.retries, self.lines.append).run(jobs)


def contents(root: Path) -> dict[str, bytes]:
    """All that a study stored but times and locks, by path."""
    paths = [path for folder in ("runs", "stacks", "noise") for path in (root / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def of_kind(messages: Sequence[Message], kind: type) -> list[Message]:
    return [message for message in messages if isinstance(message, kind)]


def test_runs_layers_weights_and_noise_come_home_to_the_same_bytes(tmp_path: Path):
    for name, executor in {"away": Away, "inline": InlineExecutor}.items():
        study = Study.open(experiment(EVERYTHING), runs_dir=tmp_path / name, executor=executor)
        assert "failed" not in [event.kind for event in study.run()]
    here, away = contents(tmp_path / "inline"), contents(tmp_path / "away")
    assert here == away
    assert {Path(name).name for name in here} >= {"run.json", "test_wrong.bin", "weights.safetensors", "layer.json"}
    assert not list((tmp_path / "away" / "partial").glob("*"))


def test_jobs_out_at_the_same_time_are_bounded_and_go_in_order(tmp_path: Path):
    engine = HereEngine(2)
    jobs = [job(act, tmp_path, **SMALL) for act in ("relu", "tanh", "gelu", "elu", "silu")]
    messages = list(Away(Store(tmp_path), engine).run(jobs))
    assert engine.most_out == 2 and engine.closed
    assert [message.run for message in of_kind(messages, Started)] == [job.specs[0].id for job in jobs]
    assert len(of_kind(messages, Done)) == 5


def lost_at(turns: int, flights: Sequence[int], lost: str = "ended with its node") -> Callable[[int, Parcel, int], str]:
    return lambda flight, parcel, done: lost if flight in flights and done >= turns else ""


def test_a_lost_job_goes_on_from_its_last_checkpoint_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(driver, "CHECKPOINT_SECONDS", 0.0)
    away, here = tmp_path / "away", tmp_path / "here"
    engine = HereEngine(1, lost_at(3, (0, 1)))
    messages = list(Away(Store(away), engine).run([job("relu", away, **LONG)]))
    list(InlineExecutor(Store(here)).run([job("relu", here, **LONG)]))
    assert contents(away) == contents(here)
    assert [bool(parcel.supplies.checkpoints) for parcel in engine.parcels] == [False, True, True]
    notes = [note.text for note in of_kind(messages, Note)]
    again = "relu seed 0: the process ended with its node; it is tried again from its last checkpoint"
    assert notes == [f"{again} (1 of 3)", f"{again} (2 of 3)"]
    assert len(of_kind(messages, Started)) == 3 and len(of_kind(messages, Done)) == 1
    ends = [message.epochs_done for message in messages if isinstance(message, Progress)]
    assert max(ends) == 30.0 and sum(later < earlier for earlier, later in pairwise(ends)) <= 2


def test_a_fresh_job_that_is_lost_goes_on_from_the_checkpoint_that_came_home_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(driver, "CHECKPOINT_SECONDS", 0.0)
    store = Store(tmp_path)
    fresh = replace(job("relu", tmp_path, **LONG), fresh=True)
    store.put_checkpoint(fresh.name, b"of another day")
    engine = HereEngine(1, lost_at(3, (0,)))
    messages = list(Away(store, engine).run([fresh]))
    assert [bool(parcel.supplies.checkpoints) for parcel in engine.parcels] == [False, True]
    assert [parcel.job.fresh for parcel in engine.parcels] == [True, False]
    assert len(of_kind(messages, Done)) == 1


def test_a_job_that_is_lost_too_often_fails_and_leaves_the_others_alone(tmp_path: Path):
    lost, well = job("relu", tmp_path, **LONG), job("tanh", tmp_path, **SMALL)
    engine = HereEngine(1, lambda flight, parcel, turns: "was killed" if parcel.job.name == lost.name else "")
    messages = list(Away(Store(tmp_path), engine, retries=2).run([lost, well]))
    (failed,) = of_kind(messages, Failed)
    assert failed == Failed(
        run=lost.specs[0].id,
        message="the process training relu was killed (3 times in all)",
        hint="repeating the command goes on from the last checkpoint",
    )
    assert [message.run for message in of_kind(messages, Done)] == [well.specs[0].id]


def test_a_job_that_somebody_cancelled_is_not_tried_again(tmp_path: Path):
    engine = HereEngine(1, lost_at(1, (0,), "was cancelled"))
    messages = list(Away(Store(tmp_path), engine).run([job("relu", tmp_path, **LONG)]))
    assert len(of_kind(messages, Failed)) == 1 and len(engine.parcels) == 1


def test_a_job_that_fails_by_itself_is_not_tried_again(tmp_path: Path):
    engine = HereEngine(1)
    broken = job("tanh", tmp_path, **SMALL)
    broken = replace(broken, data=replace(broken.data, name=str(tmp_path / "gone.npz"), digest="0" * 64))
    messages = list(Away(Store(tmp_path), engine).run([broken]))
    assert len(of_kind(messages, Failed)) == 1 and len(engine.parcels) == 1


def test_a_job_that_ends_without_a_word_about_a_run_is_a_failed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    turn = HereEngine._turn

    def forgetful(engine: HereEngine, *of: Any) -> Arrival:
        arrival = turn(engine, *of)
        return replace(arrival, deliveries=[item for item in arrival.deliveries if not isinstance(item, Done)])

    monkeypatch.setattr(HereEngine, "_turn", forgetful)
    own = job("relu", tmp_path, **SMALL)
    (failed,) = of_kind(list(Away(Store(tmp_path)).run([own])), Failed)
    assert isinstance(failed, Failed) and failed.run == own.specs[0].id
    assert failed.message == "the job of relu seed 0 ended, and its result did not come home"


def test_closing_brings_the_checkpoint_home_and_lets_go_of_the_lock(tmp_path: Path):
    away, store = job("relu", tmp_path, train={"epochs": 500}, model={"name": "mlp-2x64"}), Store(tmp_path)
    messages = Away(store).run([away])
    assert any(isinstance(message, Progress) and message.epoch_ended for message in messages)
    messages.close()
    assert store.unfinished() == [away.specs[0].id]
    with store.lock(away.specs[0].id, lambda: False):
        pass


def test_a_stored_run_is_not_sent(tmp_path: Path):
    engine, own = HereEngine(), job("relu", tmp_path, **SMALL)
    list(InlineExecutor(Store(tmp_path)).run([own]))
    (done,) = of_kind(list(Away(Store(tmp_path), engine).run([own])), Done)
    assert isinstance(done, Done) and done.cached and engine.parcels == []


def test_a_run_that_another_process_trains_is_waited_for_and_comes_last(tmp_path: Path):
    first, second = (job(act, tmp_path, **SMALL) for act in ("relu", "tanh"))
    with Store(tmp_path).lock(first.specs[0].id) as lock:
        messages: list[Message] = []
        for message in Away(Store(tmp_path)).run([first, second]):
            messages.append(message)
            if isinstance(message, Waiting):
                lock.release()
    runs = [first.specs[0].id, second.specs[0].id]
    assert [message.run for message in of_kind(messages, Postponed)] == runs[:1]
    assert [message.run for message in of_kind(messages, Done)] == runs[::-1]


class Told(HereEngine):
    """Remembers when it was told to let go of its workers, and when it got a job."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def launch(self, flight: int, parcel: Parcel) -> None:
        self.told.append("launch")
        super().launch(flight, parcel)

    def close(self) -> None:
        self.told += ["close"] if self.told[-1:] != ["close"] else []
        super().close()


def test_workers_are_let_go_of_while_another_process_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first, second = (job(act, tmp_path, **SMALL) for act in ("relu", "tanh"))
    engine = Told()
    with Store(tmp_path).lock(first.specs[0].id) as lock:
        sleep = SimpleNamespace(sleep=lambda seconds: lock.release())
        monkeypatch.setattr("relubench.executors.remote.control.time", sleep)
        list(Away(Store(tmp_path), engine).run([first, second]))
    assert engine.told == ["launch", "close", "launch", "close"]


def test_a_run_that_another_process_has_stored_needs_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    jobs = [job(act, tmp_path, **SMALL) for act in ("relu", "tanh")]
    list(InlineExecutor(Store(tmp_path)).run(jobs))

    def asked(engine: HereEngine) -> int:
        raise AssertionError("a worker was asked for")

    monkeypatch.setattr(HereEngine, "places", asked)
    messages = list(Away(Store(tmp_path)).run(jobs))
    assert [isinstance(message, Done) and message.cached for message in messages] == [False, True] * 2


def test_a_run_that_the_disk_at_home_does_not_take_is_reported_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*values: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "put", full)
    (done,) = of_kind(list(Away(Store(tmp_path)).run([job("relu", tmp_path, **SMALL)])), Done)
    assert isinstance(done, Done) and done.not_stored == "No space left on device" and done.result.outcome == "ok"


def test_a_turn_hands_over_one_progress_for_each_run_and_the_last_checkpoint():
    def progress(run: str, epochs: float, ended: bool = False) -> Progress:
        return Progress(run=run, epochs_done=epochs, epoch_ended=ended)

    old, new = (PutCheckpoint(name="a", content=content) for content in (b"old", b"new"))
    note = Note(run="a", text="...")
    sent = [progress("a", 0.5), progress("b", 0.5), progress("a", 1.0, True), old, note, progress("a", 1.5), new]
    assert condensed(sent) == [progress("b", 0.5), note, progress("a", 1.5, True), new]


def test_nothing_of_the_control_loads_torch_or_an_engine():
    code = "import sys, relubench.executors.remote.control as c; print(any(m in sys.modules for m in ('torch', 'ray')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        (
            {"executor": {"name": "local", "address": "ray://x:1"}},
            "address .* belongs to the executor ray, not",
        ),
        ({"executor": {"name": "inline", "workers": 3}}, "workers .* belongs to the executor ray or slurm"),
        ({"slurm": {"partition": "gpu"}}, "belongs to the executor slurm, not to local"),
        ({"executor": {"name": "cloud"}}, "executor.name"),
        ({"executor": {"retries": -1}}, "executor.retries"),
    ],
)
def test_settings_of_another_executor_are_refused(values: dict[str, object], rule: str):
    with pytest.raises(RelubenchError, match=rule):
        experiment(values)


def test_a_price_is_for_as_many_workers_as_are_named():
    config = experiment({**SMALL, "act": ["relu"], "seeds": list(range(9)), "executor": {"name": "ray", "workers": 4}})
    assert price([Variant(config=config)]).workers == 4
    few = config.model_copy(update={"seeds": (0, 1)})
    assert price([Variant(config=few)]).workers == 2


def test_a_price_elsewhere_is_said_in_processor_hours_too():
    values = {**SMALL, "act": ["relu"], "seeds": list(range(9))}
    away = price([Variant(config=experiment({**values, "executor": {"name": "ray", "workers": 4}}))])
    away = replace(away, rows=[replace(away.rows[0], hours=6.0)], threads=2)
    assert "about 1h30m on 4 workers" in (title := cost_report(away, "own").title) and ", 12 processor-hours" in title
    assert "processor-hours" not in cost_report(price([Variant(config=experiment(values))]), "own").title


@pytest.mark.parametrize("name", ["ray", "slurm"])
def test_speed_does_not_share_a_machine(name: str):
    with pytest.raises(UsageError, match=f"executor {name} is not for it"):
        check_place(experiment({"executor": {"name": name}}))
    check_place(experiment({}))


class SixPlaces:
    """A cluster whose nodes a and b have three places each; its workers are the names of their nodes."""

    def __init__(self) -> None:
        self.killed: list[str] = []
        self.ray = SimpleNamespace(kill=self.killed.append)


class OutOfMemoryError(Exception):
    """Called as Ray's own."""


def test_a_node_whose_memory_ran_out_gets_fewer_workers_unless_there_is_no_other(monkeypatch: pytest.MonkeyPatch):
    nodes = [RayNode(id=name, processors=3, gpus=0, memory=0) for name in "ab"]
    cluster: Any = SixPlaces()
    engine = RayEngine(cluster, Needs(threads=1, gpus=0, memory=1), 5, lambda node: True)
    monkeypatch.setattr(RayEngine, "_actor", lambda self, node: node.id)
    monkeypatch.setattr(RayEngine, "_call", lambda self, member, name: None)

    def lose(node: str, error: Exception) -> list[str]:
        """Lose a worker of this node; the nodes of those that there are then."""
        member = next(member for member in engine.members if member.node.id == node)
        assert list(engine._lose(member, None, error)) == []
        engine._start_workers(nodes)
        return sorted(member.node.id for member in engine.members)

    engine._start_workers(nodes)
    assert sorted(lose("b", RuntimeError())) == ["a", "a", "a", "b", "b"]
    assert lose("a", OutOfMemoryError()) == ["a", "a", "b", "b", "b"]
    assert lose("a", OutOfMemoryError()) == ["a", "b", "b", "b"]
    assert lose("a", OutOfMemoryError()) == ["b", "b", "b"]
    assert [lose("b", OutOfMemoryError()) for _ in range(3)] == [["b", "b"], ["b"], ["a"]]
    assert len(cluster.killed) == 7


def test_a_last_answer_that_arrives_before_a_larger_one_ends_no_job(monkeypatch: pytest.MonkeyPatch):
    answers = {"large": (["weights"], False), "small": ([], True)}
    arrived = {"small"}

    def wait(references: list[str], num_returns: int, **options: Any) -> tuple[list[str], list[str]]:
        ready = [reference for reference in references if reference in arrived][:num_returns]
        return ready, [reference for reference in references if reference not in ready]

    errors = SimpleNamespace(RayTaskError=KeyError, RayError=LookupError)
    cluster: Any = SimpleNamespace(ray=SimpleNamespace(wait=wait, get=answers.get, exceptions=errors))
    engine = RayEngine(cluster, Needs(threads=1, gpus=0, memory=1), 1, lambda node: True)
    parcel: Any = object()
    member = Member(None, RayNode(id="a", processors=1, gpus=0, memory=0), is_ready=True, flight=7, parcel=parcel)
    engine.members.append(member)
    engine.pending |= {reference: (member, "advance", 7) for reference in answers}
    monkeypatch.setattr(RayEngine, "_look_around", lambda self: None)
    monkeypatch.setattr(RayEngine, "_call", lambda self, member, name: None)
    assert engine.arrivals(0.0) == []
    arrived.add("large")
    arrivals = [*engine.arrivals(0.0), *engine.arrivals(0.0)]
    assert [(arrival.deliveries, arrival.ended) for arrival in arrivals] == [(["weights"], False), ([], True)]
