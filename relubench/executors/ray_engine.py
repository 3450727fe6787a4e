"""Carries jobs to the workers of a Ray cluster: an actor a worker, on the nodes that can take them."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from relubench.data import DataReference
from relubench.data.shipment import pieces
from relubench.errors import ComputeError, RelubenchError
from relubench.executors.messages import Failed
from relubench.executors.ray_cluster import RayCluster, RayNode
from relubench.executors.remote.engine import Arrival, Parcel
from relubench.executors.remote.worker import Worker, worker_environment

STOP_SECONDS = 30.0
"""How long interrupted workers have for their checkpoints."""
LOOK_AROUND_SECONDS = 5.0
"""How often nodes are looked for that have joined or are gone."""
PATIENCE_SECONDS = 300.0
"""How long a cluster may be without any node that can take jobs."""
FEWER = "--set executor.workers=N takes fewer at once"
ROOM = "`ray memory` shows what fills it; `ray start --object-store-memory BYTES` makes it larger"
KILLED = "OutOfMemoryError"
"""The name of Ray's error for a process that Ray killed since its node's memory ran out."""
FULL = ("ObjectStoreFullError", "OutOfDiskError")
"""The names of Ray's errors for an object store that is full."""
AHEAD = 2
"""Turns that a worker is told of in advance, so that it does not wait for the network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """What each worker takes of its node."""

    threads: int
    """0: of a GPU's worker."""
    gpus: int
    memory: int
    """Bytes, as predicted."""

    def places_on(self, node: RayNode) -> int:
        """How many workers the node has room for."""
        if self.gpus:
            return node.gpus // self.gpus
        by_memory = max(1, node.memory // self.memory) if node.memory else node.processors
        return min(node.processors // max(1, self.threads), by_memory)


@dataclass(slots=True, eq=False)
class Member:
    """One actor, and the job that it has."""

    actor: Any
    node: RayNode
    is_ready: bool = False
    flight: int | None = None
    parcel: Parcel | None = None
    turns: int = 0
    """Turns that it was told of and has not answered."""


@dataclass(slots=True)
class RayEngine:
    """The workers of one call of the executor."""

    cluster: RayCluster
    needs: Needs
    wanted: int
    """Workers at the most."""
    fits: Callable[[str], bool]
    """Whether the node of this id can take the runs."""
    members: list[Member] = field(default_factory=list)
    pending: dict[Any, tuple[Member | RayNode, str, int | None]] = field(default_factory=dict)
    """Reference of a call -> whose it is, its name, and the job that it belongs to."""
    sent: dict[str, list[Any]] = field(default_factory=dict)
    """Digest of a data set -> the references of its pieces in Ray's object store."""
    looked_around: float = 0.0
    had_members: float = field(default_factory=time.monotonic)
    crowded: Counter[str] = field(default_factory=Counter)
    """Id of a node -> how many of its workers were lost since memory ran out: it gets so many fewer."""

    def places(self) -> int:
        """How many workers wait for a job."""
        self._look_around()
        return sum(member.is_ready and member.flight is None for member in self.members)

    def workers(self) -> int:
        """How many workers there are."""
        return len(self.members)

    def launch(self, flight: int, parcel: Parcel) -> None:
        """Give a job to a worker that has none."""
        member = next(member for member in self.members if member.is_ready and member.flight is None)
        member.flight, member.parcel = flight, parcel
        self._call(member, "begin", parcel.job, parcel.supplies)

    def arrivals(self, seconds: float) -> list[Arrival]:
        """What has arrived; raises ComputeError where no node has been able to take jobs for minutes."""
        self._look_around()
        if not self.pending:
            time.sleep(seconds)
            return []
        ray = self.cluster.ray
        # A worker's answers in the order of its calls: a small last one arrives before a large one with the weights.
        oldest: dict[Member | RayNode, Any] = {}
        for reference, (owner, _, _) in self.pending.items():
            oldest.setdefault(owner, reference)
        references = list(oldest.values())
        ready, _ = ray.wait(references, num_returns=1, timeout=seconds, fetch_local=True)
        if ready:
            ready, _ = ray.wait(references, num_returns=len(references), timeout=0, fetch_local=True)
        return [arrival for reference in ready for arrival in self._answer(reference)]

    def stop(self) -> list[Arrival]:
        """Interrupts the jobs that are out, and waits for their checkpoints for a while; their last deliveries."""
        for member in self.members:
            if member.flight is not None and member.is_ready:
                self._call(member, "stop")
        references = [reference for reference, (_, name, _) in self.pending.items() if name in ("advance", "stop")]
        ready, _ = self.cluster.ray.wait(references, num_returns=len(references), timeout=STOP_SECONDS)
        arrivals: list[Arrival] = []
        for reference in references:
            _, name, flight = self.pending.pop(reference)
            if flight is None or reference not in ready:
                continue
            try:
                answer = self.cluster.ray.get(reference)
            except self.cluster.ray.exceptions.RayError:
                continue
            arrivals.append(Arrival(flight=flight, deliveries=answer if name == "stop" else answer[0]))
        return arrivals

    def close(self) -> None:
        """End all workers."""
        for member in self.members:
            self.cluster.ray.kill(member.actor)
        self.members.clear()
        self.pending.clear()
        self.sent.clear()

    def _call(self, member: Member, name: str, *arguments: Any) -> None:
        """Call a method of a worker; its answer is pending."""
        reference = getattr(member.actor, name).remote(*arguments)
        self.pending[reference] = (member, name, member.flight)

    def _look_around(self) -> None:
        """Now and then: start workers on nodes that have room, and ask nodes that have joined what they are."""
        now = time.monotonic()
        if now - self.looked_around < LOOK_AROUND_SECONDS:
            return
        self.looked_around = now
        waited_for = {owner.id for owner, _, _ in self.pending.values() if isinstance(owner, RayNode)}
        nodes = [node for node in self.cluster.nodes() if node.processors]
        for node in nodes:
            if node.id not in self.cluster.facts and node.id not in waited_for:
                self.pending[self.cluster.ask(node)] = (node, "look", None)
        self._start_workers([node for node in nodes if node.id in self.cluster.facts and self.fits(node.id)])
        self.had_members = now if self.members else self.had_members
        if now - self.had_members > PATIENCE_SECONDS:
            raise ComputeError(
                "the cluster has had no node that can take jobs for five minutes", "`ray status` there; then repeat"
            )

    def _start_workers(self, nodes: list[RayNode]) -> None:
        """Start workers up to the number wanted, on each node in turn; where there is no other, on a crowded one."""
        num_members = Counter(member.node.id for member in self.members)
        while len(self.members) < self.wanted:
            free_nodes = [node for node in nodes if num_members[node.id] < self._places_on(node)]
            free_nodes = free_nodes or ([] if self.members else nodes)
            if not free_nodes:
                return
            node = min(free_nodes, key=lambda node: (num_members[node.id], node.id))
            num_members[node.id] += 1
            member = Member(self._actor(node), node)
            self.members.append(member)
            self._call(member, "ready")

    def _places_on(self, node: RayNode) -> int:
        return self.needs.places_on(node) - self.crowded[node.id]

    def _actor(self, node: RayNode) -> Any:
        """A worker on this node, which Ray starts once it has room."""
        variables = worker_environment(self.needs.threads)
        variables |= {name: os.environ[name] for name in ("RELUBENCH_DEBUG",) if name in os.environ}
        options: dict[str, Any] = {"num_cpus": self.needs.threads or 1, "num_gpus": self.needs.gpus, "max_restarts": 0}
        options |= {"memory": min(self.needs.memory, node.memory)} if node.memory else {}
        options |= {"scheduling_strategy": self.cluster.on(node)}
        return self.cluster.ray.remote(Worker).options(**options).remote(variables)

    def _answer(self, reference: Any) -> Iterator[Arrival]:
        """What follows from a call's answer, or from its failure."""
        owner, name, flight = self.pending.pop(reference)
        if isinstance(owner, RayNode):
            self.cluster.take_facts(owner, reference)
            self.looked_around = 0.0
            return
        ray = self.cluster.ray
        try:
            answer = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            cause = getattr(error, "cause", None) or error
            lose = type(cause).__name__ in FULL
            yield from self._lose(owner, flight, cause) if lose else self._fail(owner, flight, cause)
        except ray.exceptions.RayError as error:
            yield from self._lose(owner, flight, error)
        else:
            yield from self._go_on(owner, name, flight, answer)

    def _go_on(self, member: Member, name: str, flight: int | None, answer: Any) -> Iterator[Arrival]:
        """The next call after an answer; what the job has delivered."""
        parcel = member.parcel
        if name == "ready":
            member.is_ready = True
        elif flight is None or flight != member.flight or parcel is None:
            return  # A turn that the worker was told of before the job ended.
        elif name == "begin" and answer:
            yield from self._send_data(member, parcel.job.data, answer)
        elif name == "begin":
            for _ in range(AHEAD):
                self._call(member, "advance")
        elif name == "receive" and answer:
            yield self._failed(member, f"the data set {parcel.job.data.name} could not be sent: {answer}")
        elif name == "receive":
            self._call(member, "begin", parcel.job, parcel.supplies)
        elif name == "advance":
            deliveries, is_ended = answer
            if is_ended:
                member.flight = member.parcel = None
            else:
                self._call(member, "advance")
            yield Arrival(flight=flight, deliveries=deliveries, ended=is_ended)

    def _send_data(self, member: Member, data: DataReference, reason: str) -> Iterator[Arrival]:
        """Send a data set that the worker's node lacks; it is put into Ray's object store once."""
        ray = self.cluster.ray
        try:
            if data.digest not in self.sent:
                self.sent[data.digest] = [ray.put(piece) for piece in pieces(data)]
        except ray.exceptions.RayError as error:
            yield from self._lose(member, member.flight, error)
            return
        except (RelubenchError, OSError) as error:
            text = getattr(error, "message", None) or _first_line(error)
            yield self._failed(member, f"the data set {data.name} is missing there and cannot be sent: {text}", reason)
            return
        # As arguments of their own: Ray hands over a list's references as they are.
        self._call(member, "receive", data, *self.sent[data.digest])

    def _failed(self, member: Member, message: str, reason: str = "") -> Arrival:
        """The end of a job that could not begin."""
        assert member.flight is not None and member.parcel is not None
        hint = f"put it where the job runs ({reason})" if reason else "see `relubench doctor --executor ray`"
        failed = [Failed(run=spec.id, message=message, hint=hint) for spec in member.parcel.job.specs]
        arrival = Arrival(flight=member.flight, deliveries=failed, ended=True)
        member.flight = member.parcel = None
        return arrival

    def _fail(self, member: Member, flight: int | None, error: Exception) -> Iterator[Arrival]:
        """A worker's method raised: what it had is not tried again, and the worker is not used any more."""
        if flight is not None and flight == member.flight:
            yield self._failed(member, f"the worker failed: {_first_line(error)}")
        self._remove(member)

    def _lose(self, member: Member, flight: int | None, error: Exception) -> Iterator[Arrival]:
        """A worker's process or node has ended."""
        is_new = member in self.members
        self.crowded[member.node.id] += is_new and (type(error).__name__ in (KILLED, *FULL))
        self._remove(member)
        if is_new and member.flight is not None:
            lost, hint = _cause(error)
            yield Arrival(flight=member.flight, lost=lost, hint=hint)

    def _remove(self, member: Member) -> None:
        if member in self.members:
            self.members.remove(member)
            self.cluster.ray.kill(member.actor)


def _cause(error: Exception) -> tuple[str, str]:
    """How a worker ended, as a phrase behind `the process`, and what helps against it."""
    name, text = type(error).__name__, str(error)
    if name == KILLED:
        return "was killed, since the memory of its node ran out", FEWER
    if name in FULL:
        return "could not exchange data, since Ray's object store is full", ROOM
    if name == "NodeDiedError" or "node has died" in text or "node died" in text:
        return "ended with its node", ""
    return "was killed, or ended by itself", f"if memory ran out there: {FEWER}"


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
