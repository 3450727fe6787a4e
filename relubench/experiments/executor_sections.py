"""The sections of the configuration that say where jobs are carried out. None of their keys moves a result."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from relubench.experiments.sections import Section

Name = Annotated[str, Field(min_length=1)]


class ExecutorSection(Section):
    name: Literal["local", "inline", "ray", "slurm"] = "local"
    """Who carries out the jobs: worker processes on this machine, this process, a Ray cluster or SLURM."""
    address: Name | None = None
    """The Ray cluster: HOST:6379, ray://HOST:10001 or auto; by default RAY_ADDRESS, else a Ray that starts here."""
    workers: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Jobs at the same time at the most; by default as many as fit."""
    retries: Annotated[int, Field(ge=0, le=1000)] = 3
    """How often a job is tried again whose node or process has ended."""
    processor: Name | None = None
    """Take only nodes whose processor (or GPU) has this in its name; by default the kind with the most threads."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether jobs may be carried out on other machines."""
        return self.name in ("ray", "slurm")

    @model_validator(mode="after")
    def _consistent(self) -> ExecutorSection:
        for key, names in _ONLY_FOR.items():
            value = getattr(self, key)
            if value is not None and self.name not in names:
                raise ValueError(f"{key} (={value}) belongs to the executor {' or '.join(names)}, not to {self.name}")
        return self


_ONLY_FOR = {"address": ("ray",), "workers": ("ray", "slurm"), "processor": ("ray", "slurm")}
"""Key -> the executors that take it."""


class SlurmSection(Section):
    partition: Name | None = None
    """The partition; by default the cluster's own."""
    account: Name | None = None
    qos: Name | None = None
    constraint: Name | None = None
    """A feature that nodes must have, for example a kind of processor."""
    time: Annotated[int, Field(ge=1, le=525_600)] = 1440
    """Minutes that a job may take; one that takes longer writes a checkpoint and is queued again."""
    processors: Annotated[int, Field(ge=1, le=1024)] = 1
    """Processors of each job; a lone run takes as many threads."""
    memory: Annotated[int, Field(ge=1)] | None = None
    """Gigabytes of each job; by default as predicted."""
    gpus: Annotated[int, Field(ge=0, le=16)] | None = None
    """GPUs of each job; by default 1 with --device cuda."""
    setup: tuple[str, ...] = ()
    """Lines of shell that come before each job: module load ..., source .../activate."""
    folder: Name | None = None
    """A folder that the login node and the nodes share, for jobs on their way; by default beside the runs."""
    signal: Annotated[int, Field(ge=1, le=3600)] = 90
    """Seconds before the end of its time that a job is told to write a checkpoint."""
