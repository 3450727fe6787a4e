"""The kinds of devices that networks are trained on, a row each. Torch-free until a device is asked for something.

A new kind is a row here, and a field of `relubench.system.device.Probe` with what torch reports of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What torch reports of this machine."""

    torch: str
    cuda: list[str]
    """Name of every CUDA device, in torch's order."""
    memory: int
    """Bytes of the first CUDA device, or of the machine."""
    mps: bool
    cpu: str
    """The processor and the instruction set that torch uses on it."""
    threads: int
    """torch's own number of threads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceKind:
    """What planning, training and timing have to know of a kind of device."""

    names: Callable[[Probe], list[str]]
    """The names of the devices of this kind that a machine has, the one that is used first."""
    is_processor: bool = False
    """Whether networks run on its threads, each on its own; elsewhere they are batched, and calls do not wait."""
    own_memory: bool = False
    """Whether `Probe.memory` is its own where it is there; else it has the machine's, as far as a quota allows."""
    float64: bool = True
    channels_last: bool = True
    """Whether images lie with their channels last, which is faster there."""
    precisions: tuple[str, ...] = ("fp32", "bf16")
    """The values of `--precision` that it takes."""
    graphs: bool = False
    """Whether calls can be captured as a CUDA graph, and timed by CUDA's events."""
    deterministic: bool = True
    """Whether the same calls give the same bits without torch being told so."""
    compiler: str = ""
    """The package that torch.compile needs for it, which may be missing."""


DEVICES: dict[str, DeviceKind] = {
    "cpu": DeviceKind(names=lambda probe: [probe.cpu], is_processor=True),
    "cuda": DeviceKind(
        names=lambda probe: probe.cuda,
        own_memory=True,
        precisions=("fp32", "tf32", "bf16"),
        graphs=True,
        deterministic=False,
        compiler="triton",
    ),
    "mps": DeviceKind(names=lambda probe: ["Apple GPU"] if probe.mps else [], float64=False, channels_last=False),
}
"""Value of `--device`, as torch calls it -> its row. Of several that are there, auto takes the first but the cpu."""


def device_choices() -> tuple[str, ...]:
    """The values of `--device`."""
    return "auto", *DEVICES


def best_device(machine: Probe) -> str:
    """The device that auto takes: the first that computes for the processor, else the processor itself."""
    kinds = sorted(DEVICES, key=lambda kind: DEVICES[kind].is_processor)
    return next(kind for kind in kinds if DEVICES[kind].names(machine))


def has_float64(kind: str) -> bool:
    """Whether tensors on this device, which may be none of the table's, can be of float64."""
    return kind not in DEVICES or DEVICES[kind].float64


def torch_module(kind: str) -> Any:
    """The module of torch with a device's functions: get_rng_state, set_rng_state, and synchronize of a GPU."""
    import torch

    return torch if DEVICES[kind].is_processor else getattr(torch, kind)


def synchronizer(kind: str) -> Callable[[], object] | None:
    """Waits for all calls on a device; None for the processor, whose calls wait themselves."""
    return None if DEVICES[kind].is_processor else torch_module(kind).synchronize
