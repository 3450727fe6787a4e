"""Makes the specifications of small runs, on the embedded digits unless they name another data set."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from relubench.activations import ActivationChoice, select
from relubench.data import DataOptions, PreparedData, prepare
from relubench.data.reference import obtain
from relubench.executors.job import Job
from relubench.executors.messages import Message, Note
from relubench.executors.sources import sources_of, without_path
from relubench.executors.tasks import carry_out, never
from relubench.experiments.config import ExperimentConfig, experiment
from relubench.experiments.plan import data_options, expand
from relubench.runs.layer_id import layer_id
from relubench.runs.spec import PretrainingSpec, RunSpec
from relubench.runs.store import Store
from relubench.system.device import Device
from relubench.training.driver import Interrupted

if TYPE_CHECKING:
    from relubench.training.population import Population

CPU = Device(kind="cpu", name="test", threads=1, memory=2**33, torch="test")


def digits(labels: int | None = None) -> PreparedData:
    return prepare("digits", options=DataOptions(labels=labels))


def data_of(config: ExperimentConfig) -> PreparedData:
    """The digits, or another data set with its options."""
    if config.data.name == "digits":
        return digits(config.data.labels)
    return prepare(config.data.name, options=data_options(config.data))


def runs(act: str, *, seeds: int = 1, **sections: Any) -> tuple[ActivationChoice, list[RunSpec]]:
    """One activation's runs over `seeds` seeds, one thread each; sections as in the configuration."""
    config = experiment({"act": [act], "seeds": list(range(seeds)), **sections})
    choice = select([act])[0]
    assert config.train.lr != "auto"
    specs = expand(config, [choice], data_of(config), CPU, [config.train.lr])
    return choice, [replace(spec, threads=1) for spec in specs]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredJob(Job):
    """A job, and the folder of the store that it is carried out on, which its JSON does not name."""

    store: Path

    @property
    def prepared(self) -> PreparedData:
        return obtain(self.data)


def job(act: str, store: Path, *, seeds: int = 1, keep: str = "best", **sections: Any) -> StoredJob:
    choice, specs = runs(act, seeds=seeds, **sections)
    data, sources = data_of(experiment(sections)).reference, sources_of(choice, specs[0])
    choice = without_path(choice)
    return StoredJob(specs=specs, choice=choice, data=data, sources=sources, store=store, keep=keep, fresh=False)


def stored(job: Job, store: Path) -> StoredJob:
    """The job with the folder of a store beside it."""
    return StoredJob(store=store, **{field.name: getattr(job, field.name) for field in fields(Job)})


def finish(unfinished: StoredJob, *, stop: Callable[[], bool] = never) -> list[Message]:
    """Carries a job out in this process, to its end; its messages."""
    return list(carry_out(unfinished, Store(unfinished.store), stop))


def check_stopped_run(act: str, folder: Path, stop_after: int, **sections: Any) -> None:
    """Checks that a run that is stopped at that question whether to stop, and goes on, ends in the same bytes."""
    whole, stopped = (job(act, folder / name, **sections) for name in ("whole", "stopped"))
    finish(whole)
    calls, store = itertools.count(), Store(stopped.store)
    with pytest.raises(Interrupted):
        finish(stopped, stop=lambda: next(calls) > stop_after)
    assert store.unfinished() and not store.ids()
    finish(stopped)
    files = [file for file in (whole.store / "runs").rglob("*") if file.is_file()]
    assert files
    for file in files:
        assert file.read_bytes() == (stopped.store / file.relative_to(whole.store)).read_bytes()


def finished(population: Population) -> Population:
    """The population once its training has ended."""
    for _ in population.train():
        continue
    return population


def notes(messages: list[Message]) -> list[str]:
    """The lines for the user among a job's messages."""
    return [message.text for message in messages if isinstance(message, Note)]


VERSIONS = {"engine": 6, "pretraining": 3}
"""In place of the versions of the source, which are part of the ids and are raised now and then."""


def pinned(act: str, *, device: Device = CPU, **sections: Any) -> list[RunSpec]:
    """Runs whose ids are the same on every machine and at every version, of a device that is nowhere: one a row."""
    config = experiment({"act": [act], **sections})
    assert config.train.lr != "auto"
    prepared = prepare(config.data.name, options=data_options(config.data))
    methods = len(config.pretrain.methods) * (1 + config.pretrain.control)
    specs = expand(config, select([act]), prepared, device, [config.train.lr] * methods)
    return [replace(spec, engine=VERSIONS["engine"], stack=_at_a_version(spec.stack)) for spec in specs]


def _at_a_version(stack: PretrainingSpec | None) -> PretrainingSpec | None:
    return replace(stack, version=VERSIONS["pretraining"]) if stack is not None and stack.version else stack


def through_json(spec: RunSpec) -> RunSpec:
    """The run as it comes back from a record or from a message to another process."""
    return RunSpec.from_json(json.loads(json.dumps(spec.to_json())))


def layer_ids(spec: RunSpec) -> list[str]:
    """The names of the run's pre-trained layers, bottom up."""
    assert spec.stack is not None
    return [layer_id(spec, layer) for layer in range(spec.stack.layers)]
