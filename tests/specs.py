"""Makes the specifications of small runs on the embedded digits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from relubench.activations import Choice, select
from relubench.config import experiment
from relubench.data import DataOptions, PreparedData, prepare
from relubench.device import Device
from relubench.jobs import Job
from relubench.plan import RunSpec, expand

CPU = Device(kind="cpu", name="test", threads=1, memory=2**33, torch="test")


def digits(labels: int | None = None) -> PreparedData:
    return prepare("digits", options=DataOptions(labels=labels))


def runs(act: str, *, seeds: int = 1, **sections: Any) -> tuple[Choice, list[RunSpec]]:
    """One activation's runs over `seeds` seeds, one thread each; sections as in the configuration."""
    config = experiment({"act": [act], "seeds": list(range(seeds)), **sections})
    choice = select([act])[0]
    assert config.train.lr != "auto"
    specs = expand(config, [choice], digits(config.data.labels), CPU, [config.train.lr])
    return choice, [replace(spec, threads=1) for spec in specs]


def job(act: str, store: Path, *, seeds: int = 1, keep: str = "best", **sections: Any) -> Job:
    choice, specs = runs(act, seeds=seeds, **sections)
    prepared = digits(specs[0].labels)
    return Job(specs=specs, choice=choice, prepared=prepared, store=store, keep=keep, fresh=False)
