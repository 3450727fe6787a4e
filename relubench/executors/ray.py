"""Carries out jobs on a Ray cluster, or on a Ray that is started here."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from relubench.executors.job import Job
from relubench.executors.messages import Message
from relubench.executors.ray_cluster import RayCluster
from relubench.executors.ray_engine import Needs, RayEngine
from relubench.executors.remote.control import Control
from relubench.runs.store import Store
from relubench.system.device import Device
from relubench.training.memory import BASE_BYTES, member_bytes


class RayExecutor:
    """As many workers as the nodes of the pinned kind have threads (or GPUs) and memory for."""

    def __init__(
        self,
        cluster: RayCluster,
        device: Device,
        store: Store,
        *,
        retries: int,
        workers: int | None = None,
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`log` receives the lines for the user that jobs still have while they are being stopped."""
        self.cluster, self.device, self.store = cluster, device, store
        self.retries, self.workers, self.log = retries, workers, log

    def run(self, jobs: Sequence[Job]) -> Generator[Message, None, None]:
        """Yields messages until every job has ended; closing the generator stops the jobs after a checkpoint."""
        if not jobs:
            return
        num_workers = min(len(jobs), self.workers or len(jobs))
        engine = RayEngine(self.cluster, needs_of(jobs, self.device), num_workers, self._fits)
        yield from Control(engine, self.store, self.retries, self.log).run(jobs)

    def _fits(self, node: str) -> bool:
        """Whether the node has the device that the runs are laid out for."""
        facts, device = self.cluster.facts[node], self.device
        return not facts.problem and facts.kind(device.kind) == (device.name, device.features, device.torch)


def needs_of(jobs: Sequence[Job], device: Device) -> Needs:
    """What a worker that can take each of these jobs needs of its node."""
    heaviest = max(member_bytes(job.specs[0], job.choice.inputs_per_unit) * len(job.specs) for job in jobs)
    if not device.is_processor:
        return Needs(threads=0, gpus=1, memory=BASE_BYTES)
    return Needs(threads=max(job.specs[0].threads for job in jobs), gpus=0, memory=BASE_BYTES + heaviest)
