"""Which device computes, found without importing torch where a probe of this machine is cached.

`probe` asks torch once and keeps the answer in the cache folder, under everything that could change it. `resolve` turns
--device auto|cpu|cuda|mps into a device that is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from relubench.durable import write_atomically
from relubench.errors import ComputeError, UsageError
from relubench.places import cache_root

REPAIR = "repair both with: pip install --force-reinstall torch torchvision"


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What torch said of this machine."""

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
class Device:
    """A device to compute on."""

    kind: str
    """cpu, cuda or mps."""
    name: str
    threads: int
    """Threads of the processor that are free to use."""
    memory: int
    """Bytes of memory that it has."""
    torch: str


def torch_version() -> str:
    """The installed torch's version, local part included, from its metadata; raises ComputeError if there is none."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError as error:
        raise ComputeError("torch is not installed", "pip install torch torchvision") from error


def probe(*, fresh: bool = False) -> Probe:
    """The cached probe of this machine, taken anew where it is absent, unreadable or `fresh` is asked."""
    path = cache_root() / f"device-{_fingerprint()}.json"
    if not fresh:
        with contextlib.suppress(OSError, ValueError, TypeError):
            return Probe(**json.loads(path.read_text()))
    found = _ask_torch()
    with contextlib.suppress(OSError):
        write_atomically(path, json.dumps(asdict(found)).encode())
    return found


def resolve(wanted: str) -> Device:
    """The device for --device; auto takes cuda, then mps, then cpu. Raises UsageError if `wanted` is not there."""
    found = probe()
    kind = wanted
    if wanted == "auto":
        kind = "cuda" if found.cuda else "mps" if found.mps else "cpu"
    if (kind == "cuda" and not found.cuda) or (kind == "mps" and not found.mps):
        there = [*found.cuda, *(["mps"] if found.mps else []), found.cpu]
        raise UsageError(f"there is no {kind} device here", f"found: {', '.join(there)}; use --device auto or cpu")
    name = {"cuda": found.cuda[0] if found.cuda else "", "mps": "Apple GPU", "cpu": found.cpu}[kind]
    return Device(kind=kind, name=name, threads=found.threads, memory=found.memory, torch=found.torch)


def _fingerprint() -> str:
    """What a probe depends on: the torch build, the host, and the variables that hide devices or set threads."""
    names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "ATEN_CPU_CAPABILITY")
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [os.cpu_count()]
    facts = [torch_version(), platform.node(), platform.machine(), *(os.environ.get(one, "") for one in names), cores]
    facts += [sorted(str(one) for one in Path("/dev").glob("nvidia[0-9]*"))]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _ask_torch() -> Probe:
    try:
        import torch
    except (ImportError, OSError, RuntimeError) as error:
        raise ComputeError(f"torch cannot be imported: {_first_line(error)}", REPAIR) from error
    cuda = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    return Probe(
        torch=torch.__version__,
        cuda=cuda if torch.cuda.is_available() else [],
        memory=torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else _machine_memory(),
        mps=torch.backends.mps.is_available(),
        cpu=f"{_processor()} ({torch.backends.cpu.get_cpu_capability()})",
        threads=torch.get_num_threads(),
    )


def _machine_memory() -> int:
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 4 * 2**30  # Windows has no sysconf: what any machine that runs torch has.


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.split(":", 1)[1].split())
    return platform.processor() or platform.machine()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
