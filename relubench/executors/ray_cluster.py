"""A connection to Ray, and what its nodes are. Ray is imported late: it is an extra."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from relubench.errors import ComputeError, UsageError
from relubench.executors.remote.facts import SOURCE, NodeFacts
from relubench.system.device import resolve

INSTALL = "pip install 'relubench[ray]'"
WHERE = "`ray status` there shows its address"
CONNECT_SECONDS = 5.0
"""How long an address may take to answer."""
LOOK_SECONDS = 120.0
"""How long nodes may take to say what they are: torch is loaded there for it."""


def ray_module() -> Any:
    """Ray; raises UsageError with the command that installs it."""
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise UsageError("--executor ray needs Ray, which is not installed here", INSTALL) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class RayNode:
    """A node of the cluster that is alive."""

    id: str
    processors: int
    gpus: int
    memory: int
    """Bytes that Ray shares out."""


@dataclass(slots=True)
class RayCluster:
    """A connection to Ray. `facts` has what each node said of itself, by its id."""

    address: str
    """As the user gave it, or `local` for a Ray that was started here."""
    ray: Any
    owned: bool
    """Whether this process made the connection, and ends it."""
    facts: dict[str, NodeFacts] = field(default_factory=dict)

    @classmethod
    def connect(cls, address: str | None) -> RayCluster:
        """The cluster at `address`, at RAY_ADDRESS, or one that is started here; raises UsageError if there is none.

        A connection that this process has already is used as it is.
        """
        ray = ray_module()
        place = address or os.environ.get("RAY_ADDRESS") or "local"
        if ray.is_initialized():
            return cls(place, ray, owned=False)
        check_reachable(place)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray would say so on stderr of every kind of processor that has no GPU.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        is_debugging = bool(os.environ.get("RELUBENCH_DEBUG"))
        options: dict[str, Any] = {"log_to_driver": is_debugging, "logging_level": "INFO" if is_debugging else "FATAL"}
        if place == "local":
            num_threads = resolve("cpu").threads
            options |= {"num_cpus": num_threads, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        if not is_debugging:
            _silence()
        try:
            with _own_signals():
                ray.init(address=place, **options)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
            raise _refusal(place, error) from error
        return cls(place, ray, owned=True)

    def nodes(self) -> list[RayNode]:
        """The nodes that are alive, in the order of their ids."""
        return sorted((_node(values) for values in self.ray.nodes() if values["Alive"]), key=lambda node: node.id)

    def ask(self, node: RayNode) -> Any:
        """The reference of what the node will say of itself."""
        return self._look().options(scheduling_strategy=self.on(node), num_cpus=0, max_retries=0).remote()

    def on(self, node: RayNode) -> Any:
        """The scheduling strategy of what must be on this node."""
        strategies = importlib.import_module("ray.util.scheduling_strategies")
        return strategies.NodeAffinitySchedulingStrategy(node_id=node.id, soft=False)

    def look_at_nodes(self) -> list[NodeFacts]:
        """What all nodes say of themselves; raises ComputeError where none of them answers."""
        references = {self.ask(node): node for node in self.nodes() if node.processors}
        answered, _ = self.ray.wait(list(references), num_returns=len(references), timeout=LOOK_SECONDS)
        for reference in answered:
            self.take_facts(references[reference], reference)
        if not self.facts:
            raise ComputeError(f"no node of the cluster at {self.address} answers", "see `ray status`")
        return list(self.facts.values())

    def take_facts(self, node: RayNode, reference: Any) -> None:
        """Keep what a node has said; one that died meanwhile has said nothing."""
        try:
            facts = NodeFacts.from_json(self.ray.get(reference))
            # Ray gives the process that answers one thread; a run may have all that Ray shares out.
            devices = {
                kind: replace(device, threads=node.processors) if device.is_processor else device
                for kind, device in facts.devices.items()
            }
            self.facts[node.id] = replace(facts, devices=devices)
        except (self.ray.exceptions.RayError, KeyError, TypeError):
            self.facts.pop(node.id, None)

    def close(self) -> None:
        """End the connection, and a Ray that was started here."""
        if self.owned and self.ray.is_initialized():
            with _own_signals():
                self.ray.shutdown()

    def _look(self) -> Any:
        """The function `look` as a task; of `__main__`, so that it travels as it is, to nodes without relubench too."""
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(SOURCE, names)
        return self.ray.remote(names["look"])


def check_reachable(address: str) -> None:
    """Raises UsageError for an address that is none, or where nothing answers."""
    if address in ("local", "auto"):
        return
    if address.startswith(("http://", "https://")):
        raise UsageError(
            f"{address} is the address of Ray's dashboard, for `ray job submit`",
            "a cluster is HOST:6379 or ray://HOST:10001",
        )
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not host or not port.isdigit():
        raise UsageError(f"{address!r} is no address of a Ray cluster", "for example --address ray://HOST:10001")
    host = host.strip("[]")
    if host in ("localhost", "127.0.0.1", "::1") and not address.startswith("ray://"):
        # Ray looks for it at this machine's own address, where a cluster that listens on loopback alone never answers.
        host = importlib.import_module("ray.util").get_node_ip_address()
    try:
        with socket.create_connection((host, int(port)), CONNECT_SECONDS):
            pass
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"no Ray cluster answers at {address}: {reason}", WHERE) from error
    if not _speaks_grpc(f"{host}:{port}"):
        raise UsageError(f"what answers at {address} is no Ray cluster", WHERE)


def _speaks_grpc(place: str) -> bool:
    """Whether gRPC answers there, as a cluster does; True where that cannot be asked."""
    if importlib.util.find_spec("grpc") is None or os.environ.get("RAY_USE_TLS"):
        return True
    grpc = importlib.import_module("grpc")
    with grpc.insecure_channel(place) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=CONNECT_SECONDS)
        except grpc.FutureTimeoutError:
            return False
    return True


def _silence() -> None:
    """Keep Ray from printing what goes wrong on its nodes to this program's stdout, which is the result's."""
    worker: Any = importlib.import_module("ray._private.worker")
    if hasattr(worker, "listen_error_messages"):
        worker.listen_error_messages = lambda *arguments: None


def _refusal(address: str, error: Exception) -> UsageError:
    """Why Ray could not be started or reached, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if any("ersion mismatch" in line for line in lines):
        return UsageError(
            f"the cluster at {address} has another version: {' '.join(lines)}",
            "use the same Python and Ray in both places",
        )
    hint = "is it running? `ray status` says so" if address != "local" else "see the logs in /tmp/ray/session_latest"
    return UsageError(f"Ray at {address} could not be used: {lines[0]}", hint)


def _node(values: dict[str, Any]) -> RayNode:
    resources = values["Resources"]
    return RayNode(
        id=values["NodeID"],
        processors=int(resources.get("CPU", 0)),
        gpus=int(resources.get("GPU", 0)),
        memory=int(resources.get("memory", 0)),
    )


@contextmanager
def _own_signals() -> Iterator[None]:
    """Inside, Ray may set a handler of SIGTERM; behind, this program's is back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
