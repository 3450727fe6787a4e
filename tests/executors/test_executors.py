"""Jobs end in the same bytes whoever carries them out, and every executor reports the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from relubench.errors import ComputeError
from relubench.executors import inline, tasks
from relubench.executors.base import Executor
from relubench.executors.inline import InlineExecutor
from relubench.executors.job import Job
from relubench.executors.local import LocalExecutor
from relubench.executors.messages import Alive, Done, Failed, Message, Postponed, Progress, Started
from relubench.experiments.config import experiment
from relubench.experiments.study import Study
from relubench.runs.job_store import JobStore
from relubench.runs.store import Busy, Store
from specs import CPU, job, runs

SMALL = {"train": {"epochs": 2, "batch_size": 64}, "model": {"name": "mlp-1x16"}}
PRETRAINED = {**SMALL, "pretrain": {"methods": ["dae"], "epochs": 1}}
EXECUTORS: dict[str, Callable[[Store], Executor]] = {
    "local": lambda store: LocalExecutor(CPU, store),
    "inline": InlineExecutor,
}


def contents(root: Path) -> dict[str, bytes]:
    """The stored runs and pre-trained layers, by path."""
    paths = [path for folder in ("runs", "stacks") for path in (root / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def jobs(root: Path) -> list[Job]:
    """Three different jobs."""
    two = job("relu", root, **SMALL, seeds=2)
    return [job("nrelu", root, **SMALL), replace(two, specs=two.specs[1:]), job("tanh", root, **PRETRAINED)]


def test_both_executors_store_the_same_bytes_and_report_the_same(tmp_path: Path):
    done: dict[str, dict[str, Done]] = {}
    for name, executor_on in EXECUTORS.items():
        messages = list(executor_on(Store(tmp_path / name)).run(jobs(tmp_path / name)))
        done[name] = {message.run: message for message in messages if isinstance(message, Done)}
        for run in done[name]:
            own = [message for message in messages if message.run == run]
            assert isinstance(own[0], Started) and isinstance(own[-1], Done)
            assert all(isinstance(message, Progress | Alive) for message in own[1:-1])
            assert sum(isinstance(message, Progress) and message.epoch_ended for message in own) >= 2
    assert contents(tmp_path / "local") == contents(tmp_path / "inline")
    assert len(done["local"]) == 3
    for run, local in done["local"].items():
        other = done["inline"][run]
        assert local.result == other.result == Store(tmp_path / "local").result(run)
        assert np.array_equal(local.wrong, other.wrong)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", EXECUTORS)
def test_a_study_runs_on_the_executor_that_it_is_given(name: str, tmp_path: Path):
    class Counting:
        """Counts the jobs that it hands on."""

        num_jobs = 0

        def __init__(self, store: Store) -> None:
            self.inner = EXECUTORS[name](store)

        def run(self, jobs: Sequence[Job]) -> Generator[Message, None, None]:
            Counting.num_jobs += len(jobs)
            return self.inner.run(jobs)

    config = experiment({"act": ["relu", "tanh"], **SMALL, "data": {"test_noise": [0.1]}})
    study = Study.open(config, runs_dir=tmp_path, executor=Counting)
    kinds = [event.kind for event in study.run()]
    assert kinds.count("done") == 2 and "failed" not in kinds
    assert Counting.num_jobs == 4, "two trainings and two tests under noise"
    assert [result.outcome for result in study.results] == ["ok", "ok"]
    assert [study.store.noise(result.id, 0.1) is not None for result in study.results] == [True, True]
    assert study.results == [study.store.result(result.id) for result in study.results]


@pytest.mark.parametrize("name", EXECUTORS)
def test_a_study_says_what_a_job_has_for_the_user(name: str, tmp_path: Path):
    lines: list[str] = []
    study = Study.open(
        experiment({"act": ["relu"], **SMALL}),
        runs_dir=tmp_path,
        executor=EXECUTORS[name],
        note=lines.append,
    )
    checkpoint = study.store.checkpoint(study.specs[0].id)
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"not a checkpoint at all")
    assert "note" not in [event.kind for event in study.run()]
    assert [line for line in lines if line.startswith(f"the checkpoint {checkpoint} cannot be used (")] == lines[-1:]
    assert study.results[0].outcome == "ok"


@pytest.mark.parametrize("name", EXECUTORS)
def test_an_error_of_one_job_leaves_the_next_alone(name: str, tmp_path: Path):
    broken = job("tanh", tmp_path, **SMALL)
    broken = replace(broken, data=replace(broken.data, name=str(tmp_path / "gone.npz"), digest="0" * 64))
    messages = list(EXECUTORS[name](Store(tmp_path)).run([broken, job("relu", tmp_path, **SMALL)]))
    (failed,) = (message for message in messages if isinstance(message, Failed))
    assert failed.run == broken.specs[0].id
    assert str(tmp_path / "gone.npz") in failed.message
    assert sum(isinstance(message, Done) for message in messages) == 1


@pytest.mark.parametrize("name", EXECUTORS)
def test_closing_stops_after_a_checkpoint(name: str, tmp_path: Path):
    long = job("relu", tmp_path, train={"epochs": 500, "batch_size": 16}, model={"name": "mlp-2x64"})
    messages = EXECUTORS[name](Store(tmp_path)).run([long])
    assert any(isinstance(message, Progress) and message.epoch_ended for message in messages)
    messages.close()
    assert Store(tmp_path).unfinished() == [long.specs[0].id]
    with Store(tmp_path).lock(long.specs[0].id, lambda: False):
        pass  # The lock has been let go.


def test_silent_workers_are_heard_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A worker takes longer than this to import torch, and says nothing meanwhile."""
    monkeypatch.setattr("relubench.executors.local.SILENT_SECONDS", 0.05)
    given = job("relu", tmp_path, **SMALL)
    messages = list(LocalExecutor(CPU, Store(tmp_path)).run([given]))
    assert messages[1] == Alive(run=given.specs[0].id)
    assert isinstance(messages[-1], Done)


def test_a_checkpoint_that_could_not_be_written_at_the_stop_is_said(tmp_path: Path):
    lines: list[str] = []
    long = job("relu", tmp_path, train={"epochs": 5000, "batch_size": 16}, model={"name": "mlp-2x64"})
    messages = LocalExecutor(CPU, Store(tmp_path), lines.append).run([long])
    assert any(isinstance(message, Progress) and message.epoch_ended for message in messages)
    (tmp_path / "partial").write_text("no folder")
    messages.close()
    assert len(lines) == 1 and lines[0].startswith("no checkpoint was written: ")


def test_inline_puts_a_run_that_another_process_trains_behind_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first, second = (replace(job(act, tmp_path, **SMALL), patient=False) for act in ("relu", "tanh"))
    handed_out: list[tuple[str, bool]] = []

    def busy_at_first(given: Job, store: JobStore, stop: tasks.Stop = tasks.never):
        handed_out.append((given.specs[0].id, given.patient))
        if given.specs == first.specs and not given.patient:
            raise Busy(given.specs[0].id)
        yield from tasks.messages_of(given, store, stop)

    monkeypatch.setattr(inline, "messages_of", busy_at_first)
    messages = list(InlineExecutor(Store(tmp_path)).run([first, second]))
    ids = [first.specs[0].id, second.specs[0].id]
    assert handed_out == [(ids[0], False), (ids[1], False), (ids[0], True)]
    assert [message.run for message in messages if isinstance(message, Postponed)] == [ids[0]]
    assert [message.run for message in messages if isinstance(message, Done)] == ids[::-1]


def test_a_stored_run_that_is_gone_is_an_error(tmp_path: Path):
    _, (spec,) = runs("relu", **SMALL)
    with pytest.raises(ComputeError, match="is gone from"):
        tasks.stored_run(Store(tmp_path), spec)


TWICE = """
import json, os, sys
from pathlib import Path
from relubench.executors.job import Job
from relubench.executors.messages import to_json
from relubench.executors.tasks import carry_out
from relubench.runs.store import Store
import relubench.training.population  # torch is imported once for both
job, store = Job.from_json(json.loads(sys.argv[1])), Store(Path(sys.argv[2]))
child = os.fork()
messages = [to_json(message) for message in carry_out(job, store)]
text = json.dumps([message for message in messages if message["event"] == "done"])
os.write(1, text.encode() + b"\\n")
if child:
    sys.exit(os.waitpid(child, 0)[1])
"""
"""Two processes that carry out one job at the same time."""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a process")
def test_two_processes_train_a_run_once(tmp_path: Path):
    one = job("relu", tmp_path / "runs", train={"epochs": 3}, model={"name": "mlp-2x64"})
    argv = [sys.executable, "-c", TWICE, json.dumps(one.to_json()), str(one.store)]
    both = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert both.returncode == 0, both.stderr
    told = [json.loads(line) for line in both.stdout.splitlines()]
    assert sorted(message["cached"] for messages in told for message in messages) == [False, True]
    assert told[0][0]["result"] == told[1][0]["result"]
