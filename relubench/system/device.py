"""Which device computes, found without importing torch where a probe of this machine is cached.

`probe` asks torch once and keeps the answer in the cache folder, under everything that could change it. `resolve` turns
--device auto|cpu|cuda|mps into a device that is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from relubench.errors import ComputeError, UsageError
from relubench.system.files import write_atomically
from relubench.system.paths import cache_root

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


TORCH_ADDRESSES = 4 * 2**30
"""Bytes of addresses with which torch, the build for CUDA, loads and trains; it maps far more than it uses."""


def address_limit() -> int | None:
    """Bytes of addresses that this process may map (ulimit -v); None where that is not limited."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def check_torch_loads() -> None:
    """Raises ComputeError where the shell's limit of addresses is too small for torch, which may then abort Python."""
    limit = address_limit()
    if limit is None or limit > 2 * TORCH_ADDRESSES:
        return
    # Another process tries, since nothing catches an abort. How much is enough depends on the build.
    trial = [sys.executable, "-P", "-c", "import torch; torch.zeros(8) @ torch.zeros(8)"]
    if subprocess.run(trial, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode != 0:
        raise too_few_addresses()


def is_out_of_addresses(error: BaseException) -> bool:
    """Whether a library could not be loaded for want of memory: of addresses, where those are limited."""
    said = str(error).lower()
    return isinstance(error, ImportError | OSError | MemoryError) and (
        isinstance(error, MemoryError) or any(part in said for part in ("allocate memory", "failed to map segment"))
    )


def too_few_addresses() -> ComputeError:
    """The error for a library that could not be loaded for want of memory."""
    limit = address_limit()
    if limit is None:
        return ComputeError(
            "there is too little memory to load torch", "end other programs; `relubench doctor` shows it"
        )
    allowed = f"this shell allows {limit / 1e9:.1f} GB of addresses (ulimit -v)"
    return ComputeError(f"there is too little memory to load torch: {allowed}", "ulimit -v unlimited")


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
    limits = quota()
    # A number of threads that the user has set is the user's.
    free = found.threads if os.environ.get("OMP_NUM_THREADS") else min(found.threads, limits.threads or found.threads)
    memory = found.memory if kind == "cuda" else min(found.memory, limits.memory or found.memory)
    return Device(kind=kind, name=name, threads=free, memory=memory, torch=found.torch)


@dataclass(frozen=True, slots=True)
class Quota:
    """What a container or a batch system leaves of the machine to this process; None where it leaves all."""

    processors: float | None
    memory: int | None
    """Bytes."""

    @property
    def threads(self) -> int | None:
        """Threads that the processors keep busy: one and a half processors are two threads."""
        return None if self.processors is None else max(1, math.ceil(self.processors))


def quota(root: Path = Path("/")) -> Quota:
    """The least that a control group (version 2 or 1) of this process, or one around it, allows; read under `root`."""
    processors: list[float] = []
    memory: list[int] = []
    for folder in _control_groups(root):
        limit, _, period = _value(folder / "cpu.max").partition(" ")
        processors += _share(limit, period)
        limit, period = _value(folder / "cpu.cfs_quota_us"), _value(folder / "cpu.cfs_period_us")
        processors += _share(limit, period)
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            # Version 1 writes almost 2**63 for no limit.
            value = _value(folder / name)
            memory += [int(value)] if value.isdecimal() and 0 < int(value) < 2**60 else []
    return Quota(min(processors, default=None), min(memory, default=None))


def _share(limit: str, period: str) -> list[float]:
    """Processors that a limit of microseconds in each period comes to; nothing for none."""
    valid = limit.isdecimal() and period.isdecimal() and int(limit) > 0 and int(period) > 0
    return [int(limit) / int(period)] if valid else []


def _control_groups(root: Path) -> list[Path]:
    """The folders of this process's control groups, and of those around them."""
    folders: list[Path] = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        base = root / "sys/fs/cgroup" / controllers.removeprefix("name=")
        inner = base.joinpath(*(part for part in path.split("/") if part not in ("", ".")))
        # In a container the path may be the host's, while the folder shows the container's own group.
        group = inner if ".." not in inner.parts and inner.is_dir() else base
        folders += [group, *(one for one in group.parents if one == base or base in one.parents)]
    return list(dict.fromkeys(folders))


def _value(path: Path) -> str:
    return _text(path).strip()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _fingerprint() -> str:
    """What a probe depends on: the torch build, the host, and the variables that hide devices or set threads."""
    names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "ATEN_CPU_CAPABILITY")
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [os.cpu_count()]
    facts = [torch_version(), platform.node(), platform.machine(), *(os.environ.get(one, "") for one in names), cores]
    facts += [sorted(str(one) for one in Path("/dev").glob("nvidia[0-9]*"))]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _ask_torch() -> Probe:
    check_torch_loads()
    try:
        import torch
    except (ImportError, OSError, RuntimeError, MemoryError) as error:
        if is_out_of_addresses(error):
            raise too_few_addresses() from error
        raise ComputeError(f"torch cannot be imported: {_first_line(error)}", REPAIR) from error
    cuda = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    return Probe(
        torch=torch.__version__,
        cuda=cuda if torch.cuda.is_available() else [],
        memory=torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else machine_memory(),
        mps=torch.backends.mps.is_available(),
        cpu=f"{_processor()} ({torch.backends.cpu.get_cpu_capability()})",
        threads=torch.get_num_threads(),
    )


def machine_memory() -> int:
    """Bytes of the whole machine's memory."""
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
