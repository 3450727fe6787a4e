"""Another way to run jobs is a class of its own and the place that names it: here threads that only texts reach."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Generator, Sequence
from pathlib import Path

from relubench.executors.inline import InlineExecutor
from relubench.executors.job import Job
from relubench.executors.messages import Message, from_json, to_json
from relubench.experiments.config import experiment
from relubench.experiments.study import Study
from relubench.runs.job_store import JobStore


class ThreadExecutor:
    """Carries out jobs one after another in a thread; jobs and messages travel as JSON."""

    def __init__(self, store: JobStore) -> None:
        self.store = store

    def run(self, jobs: Sequence[Job]) -> Generator[Message, None, None]:
        """Yields messages until every job has ended; closing the generator stops the thread after a checkpoint."""
        texts, stopped = [json.dumps(job.to_json()) for job in jobs], threading.Event()
        answers: queue.SimpleQueue[str] = queue.SimpleQueue()

        def work() -> None:
            messages = InlineExecutor(self.store).run([Job.from_json(json.loads(text)) for text in texts])
            for message in messages:
                answers.put(json.dumps(to_json(message)))
                if stopped.is_set():
                    messages.close()
            answers.put("")

        thread = threading.Thread(target=work)
        thread.start()
        try:
            while answer := answers.get():
                message = from_json(json.loads(answer))
                assert isinstance(message, Message)
                yield message
        finally:
            stopped.set()
            thread.join()


CONFIG = {
    "act": ["relu", "tanh"],
    "train": {"epochs": 2, "batch_size": 64},
    "model": {"name": "mlp-1x16"},
    "pretrain": {"methods": ["none", "dae"], "epochs": 1, "lr": 0.1},
    "data": {"test_noise": [0.1]},
    "device": "cpu",
}


def contents(root: Path) -> dict[str, bytes]:
    """All that a study stored but times and locks, by path."""
    paths = [path for folder in ("runs", "stacks", "noise") for path in (root / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def test_a_study_is_carried_out_by_an_executor_from_outside_the_package(tmp_path: Path):
    executors = {"toy": ThreadExecutor, "inline": InlineExecutor}
    tables: dict[str, list[tuple[str, float | None]]] = {}
    for name, executor in executors.items():
        study = Study.open(experiment(CONFIG), runs_dir=tmp_path / name, executor=executor)
        kinds = [event.kind for event in study.run()]
        assert "failed" not in kinds and kinds.count("epoch") >= 8
        tables[name] = [(result.id, result.test_error_pct) for result in study.table_results]
    assert tables["toy"] == tables["inline"] and len(tables["toy"]) == 4
    assert contents(tmp_path / "toy") == contents(tmp_path / "inline") != {}


def test_a_study_that_is_closed_stops_it_after_a_checkpoint(tmp_path: Path):
    config = experiment({**CONFIG, "act": ["relu"], "pretrain": {}, "train": {"epochs": 5000, "batch_size": 16}})
    study = Study.open(config, runs_dir=tmp_path, executor=ThreadExecutor)
    events = study.run()
    assert any(event.kind == "epoch" for event in events)
    events.close()
    assert study.store.unfinished() == [study.specs[0].id]
