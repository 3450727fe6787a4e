"""A job: one population of runs, with all that is needed to train it elsewhere. Torch-free.

It holds no path of this machine: its data set is named by digest and options, a user's own code comes as source, and
the store is a handle that the executor gives to whoever carries the job out (`runs.job_store`).

On a processor every network is a job of its own, but for small ones, whose steps are batched (`training.side_by_side`);
on another device networks of one shape are one job, batched over as many members as fit into its memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from relubench.activations import ActivationChoice
from relubench.data import DataReference, PreparedData
from relubench.executors.sources import UserSource, sources_of, without_path
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store
from relubench.system.device import Device
from relubench.training.memory import MOST_SIDE_BY_SIDE, members_that_fit, shares_steps


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One population to train; its members share everything but seed, learning rate and L1 penalty."""

    specs: list[RunSpec]
    choice: ActivationChoice
    """A user's own activation by the file as the user named it."""
    data: DataReference
    sources: tuple[UserSource, ...] = ()
    """The user's own code that the runs need."""
    keep: str
    """best, last or none: which weights are stored."""
    fresh: bool
    """Train it even if it is stored, from the start even if it was begun."""
    pretrain_only: bool = False
    """Pre-train the members' layers, and train nothing: what the search for a layer's rate asks for."""
    patient: bool = True
    """Wait while another process trains one of its runs; otherwise the job is handed back, and others come first."""
    noise: tuple[float, ...] = ()
    """Train nothing: test the stored network under noise of these standard deviations."""

    @property
    def name(self) -> str:
        """The name of its checkpoint: the run's id, or a digest of all its members' ids."""
        if len(self.specs) == 1:
            return self.specs[0].id
        return "p" + hashlib.sha256(" ".join(spec.id for spec in self.specs).encode()).hexdigest()[:15]

    def to_json(self) -> dict[str, Any]:
        return {
            "specs": [spec.to_json() for spec in self.specs],
            "choice": self.choice.to_json(),
            "data": self.data.to_json(),
            "sources": [source.to_json() for source in self.sources],
            "keep": self.keep,
            "fresh": self.fresh,
            "pretrain_only": self.pretrain_only,
            "patient": self.patient,
            "noise": list(self.noise),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Job:
        return cls(
            specs=[RunSpec.from_json(spec) for spec in values["specs"]],
            choice=ActivationChoice.from_json(values["choice"]),
            data=DataReference.from_json(values["data"]),
            sources=tuple(UserSource.from_json(source) for source in values["sources"]),
            keep=values["keep"],
            fresh=values["fresh"],
            pretrain_only=values["pretrain_only"],
            patient=values["patient"],
            noise=tuple(values["noise"]),
        )


def jobs_of(
    specs: Sequence[RunSpec],
    choices: Mapping[str, ActivationChoice],
    prepared: Mapping[str, PreparedData],
    store: Store,
    *,
    keep: str,
    fresh: bool,
    device: Device,
    pretrain_only: bool = False,
) -> list[Job]:
    """The jobs of these runs, the longest first, so that no worker trains alone at the end.

    `choices` by activation label, `prepared` by digest, `device` the one that trains. A run that is stored all the
    same is trained again: its weights were not kept.
    """
    jobs, stored = list[Job](), set(store.ids())
    sources: dict[tuple[str, str], tuple[UserSource, ...]] = {}
    for members in _batchable(specs, {} if pretrain_only else choices):
        choice = choices[members[0].activation]
        key = (choice.label, members[0].model)
        sources[key] = sources[key] if key in sources else sources_of(choice, members[0])
        num_members = min(-(-len(members) // max(1, device.threads)), MOST_SIDE_BY_SIDE)
        if not members[0].on_processor:
            num_members = members_that_fit(members[0], choice.inputs_per_unit, device.memory)
        for start in range(0, len(members), num_members):
            jobs.append(
                Job(
                    specs=members[start : start + num_members],
                    choice=without_path(choice),
                    data=prepared[members[0].data_digest].reference,
                    sources=sources[key],
                    keep=keep,
                    fresh=fresh or (not pretrain_only and members[start].id in stored and store.has(members[start].id)),
                    pretrain_only=pretrain_only,
                    patient=False,
                )
            )
    return sorted(jobs, key=lambda job: _cost(job, prepared[job.specs[0].data_digest]), reverse=True)


def _batchable(specs: Sequence[RunSpec], choices: Mapping[str, ActivationChoice]) -> list[list[RunSpec]]:
    """The runs in groups that can be one population: those alike in all but what members of one may differ in.

    On a processor these are small networks of the activations in `choices`, with one learning rate; others are alone.
    """
    notes: dict[str, Any] = {"l1_asked": 0.0, "l1_scale": "", "protocol": "", "departures": (), "variant": ""}
    shared: dict[str, Any] = {"seed": 0, "l1": 0.0, **notes}
    groups: dict[RunSpec, list[RunSpec]] = {}
    for spec in specs:
        key = replace(spec, **shared)
        if not spec.on_processor:
            key = replace(key, lr=0.0)
        elif spec.activation not in choices or not shares_steps(spec, choices[spec.activation]):
            key = spec
        groups.setdefault(key, []).append(spec)
    return list(groups.values())


def _cost(job: Job, prepared: PreparedData) -> float:
    """The cost of a job in multiplications of the dense layers, by which jobs are ordered."""
    spec = job.specs[0]
    images = 0 if job.pretrain_only else spec.epochs * prepared.n_train
    images += spec.stack.epochs * prepared.with_all_images.n_train if spec.stack else 0
    return float(len(job.specs)) * images * spec.parameters
