"""Where a study's jobs are carried out: the device that its runs are laid out for, and who carries them out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from relubench.errors import UsageError
from relubench.executors.base import Executor
from relubench.executors.local import LocalExecutor
from relubench.experiments.config import ExperimentConfig
from relubench.runs.store import Store
from relubench.system.device import Device, processor_features, resolve

Note = Callable[[str], None]


def nothing() -> None:
    """There is nothing to let go of."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place where jobs can be carried out."""

    device: Device
    """The device of every run: its name, threads and torch are part of their ids."""
    executor: Callable[[Store, Note], Executor]
    close: Callable[[], None] = nothing
    """Ends what was started for it."""


def open_site(config: ExperimentConfig, note: Note) -> Site:
    """The place that `executor.name` names; lines about nodes that take no jobs go to `note`.

    Raises UsageError where it needs a package that is not installed, or where no node can take jobs.
    """
    match config.executor.name:
        case "ray":
            return _ray_site(config, note)
        case "slurm":
            return _slurm_site(config, note)
        case "inline":
            from relubench.executors.inline import InlineExecutor

            return Site(resolve(config.device), lambda store, log: InlineExecutor(store))
        case _:
            device = resolve(config.device)
            return Site(device, lambda store, log: LocalExecutor(device, store, log))


def _ray_site(config: ExperimentConfig, note: Note) -> Site:
    from relubench.executors.ray import RayExecutor
    from relubench.executors.ray_cluster import RayCluster
    from relubench.executors.remote.facts import left_out, pinned, usable

    section = config.executor
    cluster = RayCluster.connect(section.address)
    try:
        nodes = cluster.look_at_nodes()
        device, chosen = pinned(config.device, usable(nodes), section.processor)
    except BaseException:
        cluster.close()
        raise
    for line in left_out(nodes, chosen, device):
        note(f"warning: {line}")

    def executor(store: Store, log: Note) -> Executor:
        return RayExecutor(cluster, device, store, retries=section.retries, workers=section.workers, log=log)

    return Site(as_here(device), executor, cluster.close)


def as_here(device: Device) -> Device:
    """The device as this machine may ask it which backend is the fastest: only where it is of its own kind.

    Of another kind of processor the package's own table decides, or plain PyTorch.
    """
    is_same = not device.features or device.features == processor_features()
    return device if is_same else replace(device, features="")


def _slurm_site(config: ExperimentConfig, note: Note) -> Site:
    raise UsageError("--executor slurm is not built yet", "use --executor ray or local")
