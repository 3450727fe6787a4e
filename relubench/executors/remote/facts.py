"""What a node of a cluster is: its versions, its devices, and why it cannot take jobs. Torch-free.

A node is asked by the text `SOURCE`, which needs nothing installed there: it says what is missing, too.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relubench.errors import UsageError
from relubench.system.device import Device
from relubench.system.device_kinds import DEVICES
from relubench.version import ENGINE_VERSION, __version__

SOURCE = '''
def look():
    """The versions and the devices of the machine that calls it, as JSON values; whatever is missing there."""
    import platform
    facts = {"host": platform.node(), "python": platform.python_version(), "relubench": "", "engine": 0, "torch": ""}
    facts.update(devices={}, error="")
    try:
        from relubench.version import ENGINE_VERSION, __version__
        facts.update(relubench=__version__, engine=ENGINE_VERSION)
        from relubench.executors.remote.nodes import devices_here
        facts.update(devices_here())
    except Exception as error:
        facts["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
    return facts
'''
"""The function `look`, as text: a node without relubench runs it all the same."""

HINT = "install the same relubench there as here: pip install relubench=={version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeFacts:
    """What a node says of itself."""

    host: str
    python: str
    relubench: str
    """Empty where it is not installed."""
    engine: int
    torch: str
    """Empty where it is not installed, or does not load."""
    devices: Mapping[str, Device]
    """By kind: `cpu`, `cuda`."""
    error: str = ""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> NodeFacts:
        devices = {kind: Device(**device) for kind, device in values["devices"].items()}
        return cls(**{**values, "devices": devices})

    @property
    def problem(self) -> str:
        """Why the node can take no job of this process, with both versions where two differ; empty if it can."""
        if _release(self.python) != _release(platform.python_version()):
            return f"Python {self.python} is there, Python {platform.python_version()} here"
        if not self.relubench:
            return f"relubench is not installed there ({self.error})"
        if (self.relubench, self.engine) != (__version__, ENGINE_VERSION):
            answer = f"relubench {self.relubench} with engine {self.engine} is there"
            return f"{answer}, relubench {__version__} with engine {ENGINE_VERSION} here"
        if not self.torch or not self.devices:
            return f"torch does not work there ({self.error or 'it is not installed'})"
        return ""

    def kind(self, device: str) -> tuple[str, str, str] | None:
        """What the bits of a run depend on: the device's name, its features, torch's version; None if it has none."""
        if device not in self.devices:
            return None
        named = self.devices[device]
        return named.name, named.features, named.torch


def _release(version: str) -> str:
    """Major and minor number of a version of Python: records are exchanged between such."""
    return ".".join(version.split(".")[:2])


def usable(nodes: Sequence[NodeFacts]) -> list[NodeFacts]:
    """The nodes that can take jobs; raises UsageError with the reason where there is none."""
    good_nodes = [node for node in nodes if not node.problem]
    if not good_nodes:
        reasons = Counter(node.problem for node in nodes).most_common(1)
        reason = f"{nodes[0].host}: {reasons[0][0]}" if reasons else "it has no nodes"
        raise UsageError(f"the cluster cannot take jobs: {reason}", HINT.format(version=__version__))
    return good_nodes


def device_kind(choice: str, nodes: Sequence[NodeFacts]) -> str:
    """The kind of device for --device: auto takes a GPU where a node has any. Raises UsageError for a missing one."""
    kinds = sorted(DEVICES, key=lambda kind: DEVICES[kind].is_processor)
    present = [kind for kind in kinds if any(kind in node.devices for node in nodes)]
    if choice == "auto":
        return present[0]
    if choice not in present:
        raise UsageError(f"no node of the cluster has a {choice} device", f"use --device {' or '.join(present)}")
    return choice


def pinned(choice: str, nodes: Sequence[NodeFacts], processor: str | None = None) -> tuple[Device, list[NodeFacts]]:
    """The device that all runs are laid out for, and the nodes that have it: the kind that most threads belong to.

    `processor`: a part of the name of the processor or GPU to take. The device has the least threads and memory of
    these nodes, so that each of them can take each run. Raises UsageError where no node has it.
    """
    kind = device_kind(choice, nodes)
    candidates = [node for node in nodes if kind in node.devices]
    named = [node for node in candidates if processor is None or processor.lower() in node.devices[kind].name.lower()]
    if not named:
        names = ", ".join(sorted({node.devices[kind].name for node in candidates}))
        raise UsageError(f"executor.processor={processor}: no node has it", f"the nodes have: {names}")
    threads: Counter[tuple[str, str, str]] = Counter()
    for node in named:
        key = node.kind(kind)
        assert key is not None
        threads[key] += max(1, node.devices[kind].threads)
    most = min(threads, key=lambda key: (-threads[key], key))
    chosen = [node for node in named if node.kind(kind) == most]
    devices = [node.devices[kind] for node in chosen]
    name, features, torch = most
    device = Device(
        kind=kind,
        name=name,
        threads=min(device.threads for device in devices),
        memory=min(device.memory for device in devices),
        torch=torch,
        features=features,
    )
    return device, chosen


def left_out(nodes: Sequence[NodeFacts], chosen: Sequence[NodeFacts], device: Device) -> list[str]:
    """A line for each reason why nodes take no jobs, with their number."""
    reasons: Counter[str] = Counter()
    for node in nodes:
        if node in chosen:
            continue
        named = node.devices.get(device.kind)
        other_kind = f"{named.name}, torch {named.torch}" if named else f"no {device.kind} device"
        reasons[node.problem or f"{other_kind}: all runs are pinned to {device.name}, torch {device.torch}"] += 1
    return [f"{count} of {len(nodes)} nodes take no jobs: {reason}" for reason, count in sorted(reasons.items())]
