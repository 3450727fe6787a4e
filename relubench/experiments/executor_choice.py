"""Where a study's jobs are carried out: the device that its runs are laid out for, and who carries them out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from relubench.executors.base import Executor
from relubench.executors.local import LocalExecutor
from relubench.experiments.config import ExperimentConfig
from relubench.runs.store import Store
from relubench.system.device import Device, resolve
from relubench.system.device_kinds import DEVICES
from relubench.system.paths import user_path

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


def open_site(config: ExperimentConfig, store: Store, note: Note) -> Site:
    """The place that `executor.name` names; lines about nodes that take no jobs go to `note`.

    Raises UsageError where it needs a package that is not installed, or where no node can take jobs.
    """
    match config.executor.name:
        case "ray":
            return _ray_site(config, note)
        case "slurm":
            return _slurm_site(config, store, note)
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
    is_same = not device.features or _processor_here() == (device.name, device.features)
    return device if is_same else replace(device, features="")


def _processor_here() -> tuple[str, str]:
    processor = resolve("cpu")
    return processor.name, processor.features


def _slurm_site(config: ExperimentConfig, store: Store, note: Note) -> Site:
    from relubench.executors.slurm import SlurmExecutor
    from relubench.executors.slurm_look import slurm_device
    from relubench.executors.slurm_queue import SlurmOptions, check_slurm

    check_slurm()
    section, executor_section = config.slurm, config.executor
    needs_gpu = config.device in DEVICES and DEVICES[config.device].own_memory
    options = SlurmOptions(
        **{name: getattr(section, name) for name in ("partition", "account", "qos", "constraint", "setup")},
        minutes=section.time,
        gpus=section.gpus if section.gpus is not None else int(needs_gpu),
        processors=section.processors,
        signal_seconds=section.signal,
        workers=executor_section.workers,
    )
    folder = user_path(section.folder).absolute() if section.folder else store.root.absolute() / "slurm"
    device = slurm_device(config.device, options, folder, executor_section.processor, note)

    def executor(store: Store, log: Note) -> Executor:
        retries, memory = executor_section.retries, section.memory
        return SlurmExecutor(store, options, device, retries=retries, root=folder, gigabytes=memory, log=log)

    return Site(as_here(device), executor)
