"""The device that computes, without importing torch where a probe of this machine is cached.

`probe` asks torch once and stores the answer in the cache folder, under a digest of everything that could change it.
`resolve` turns --device into a device that this machine has.
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
from relubench.system.device_kinds import DEVICES, Probe, best_device
from relubench.system.kept_answers import keep_answer, read_answer
from relubench.system.paths import cache_root

REPAIR = "repair both with: pip install --force-reinstall torch torchvision"


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """A device to compute on."""

    kind: str
    """A key of `DEVICES`."""
    name: str
    threads: int
    """Threads of the processor that this process may use."""
    memory: int
    """Bytes of memory that it has."""
    torch: str
    features: str = ""
    """A processor's generation and a digest of its instructions; empty for one that is not this machine's."""

    @property
    def is_processor(self) -> bool:
        """Whether networks run on the threads of the processor."""
        return DEVICES[self.kind].is_processor


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
    """Whether the error means that a library could not be loaded because memory (or addresses) ran out."""
    if isinstance(error, ImportError | OSError):
        return any(phrase in str(error).lower() for phrase in ("allocate memory", "failed to map segment"))
    return isinstance(error, MemoryError)


def too_few_addresses() -> ComputeError:
    """The error for a library that could not be loaded because memory ran out."""
    limit = address_limit()
    if limit is None:
        return ComputeError(
            "there is too little memory to load torch", "end other programs; `relubench doctor` shows it"
        )
    shell_limit = f"this shell allows {limit / 1e9:.1f} GB of addresses (ulimit -v)"
    return ComputeError(f"there is too little memory to load torch: {shell_limit}", "ulimit -v unlimited")


def torch_version() -> str:
    """The installed torch's version, local part included, from its metadata; raises ComputeError if there is none."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError as error:
        raise ComputeError("torch is not installed", "pip install torch torchvision") from error


def probe(*, fresh: bool = False) -> Probe:
    """The cached probe of this machine; torch is asked anew if there is none, it is unreadable, or `fresh` is set."""
    path = cache_root() / f"device-{_fingerprint()}.json"
    if not fresh and (values := read_answer(path)) is not None:
        with contextlib.suppress(TypeError):  # Of another version, with other fields.
            return Probe(**values)
    result = _probe_torch()
    with contextlib.suppress(OSError):
        keep_answer(path, asdict(result))
    return result


def resolve(choice: str) -> Device:
    """The device for --device; auto takes a GPU where there is any. Raises UsageError for a device that is missing."""
    machine = probe()
    kind = best_device(machine) if choice == "auto" else choice
    names = DEVICES[kind].names(machine)
    if not names:
        devices = [name for row in DEVICES.values() if not row.is_processor for name in row.names(machine)]
        devices.append(machine.cpu)
        raise UsageError(f"there is no {kind} device here", f"found: {', '.join(devices)}; use --device auto or cpu")
    limits = quota()
    # A number of threads that the user has set is the user's.
    is_set = bool(os.environ.get("OMP_NUM_THREADS"))
    num_threads = machine.threads if is_set else min(machine.threads, limits.threads or machine.threads)
    row = DEVICES[kind]
    memory = machine.memory if row.own_memory else min(machine.memory, limits.memory or machine.memory)
    features = processor_features() if row.is_processor else ""
    return Device(kind=kind, name=names[0], threads=num_threads, memory=memory, torch=machine.torch, features=features)


@dataclass(frozen=True, slots=True)
class Quota:
    """The share of the machine that a container or a batch system gives to this process; None: all of it."""

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
        limit, _, period = _read_value(folder / "cpu.max").partition(" ")
        processors += _num_processors(limit, period)
        limit, period = _read_value(folder / "cpu.cfs_quota_us"), _read_value(folder / "cpu.cfs_period_us")
        processors += _num_processors(limit, period)
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            # Version 1 writes almost 2**63 for no limit.
            value = _read_value(folder / name)
            memory += [int(value)] if value.isdecimal() and 0 < int(value) < 2**60 else []
    return Quota(min(processors, default=None), min(memory, default=None))


def _num_processors(limit: str, period: str) -> list[float]:
    """The number of processors that so many microseconds in each period are, in a list; empty without a limit."""
    valid = limit.isdecimal() and period.isdecimal() and int(limit) > 0 and int(period) > 0
    return [int(limit) / int(period)] if valid else []


def _control_groups(root: Path) -> list[Path]:
    """The folders of this process's control groups, and of those around them."""
    folders: list[Path] = []
    for line in _read_text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        base = root / "sys/fs/cgroup" / controllers.removeprefix("name=")
        inner = base.joinpath(*(part for part in path.split("/") if part not in ("", ".")))
        # In a container the path may be the host's, while the folder shows the container's own group.
        group = inner if ".." not in inner.parts and inner.is_dir() else base
        folders += [group, *(parent for parent in group.parents if parent == base or base in parent.parents)]
    return list(dict.fromkeys(folders))


def _read_value(path: Path) -> str:
    return _read_text(path).strip()


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _fingerprint() -> str:
    """A digest of what a probe depends on: torch's build, the host, the variables that hide devices or set threads."""
    names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "ATEN_CPU_CAPABILITY")
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [os.cpu_count()]
    facts = [torch_version(), platform.node(), platform.machine(), *(os.environ.get(name, "") for name in names), cores]
    facts += [sorted(str(path) for path in Path("/dev").glob("nvidia[0-9]*"))]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _probe_torch() -> Probe:
    check_torch_loads()
    try:
        import torch
    except (ImportError, OSError, RuntimeError, MemoryError) as error:
        if is_out_of_addresses(error):
            raise too_few_addresses() from error
        raise ComputeError(f"torch cannot be imported: {_first_line(error)}", REPAIR) from error
    cuda = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Probe(
        torch=torch.__version__,
        cuda=cuda if torch.cuda.is_available() else [],
        memory=torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else machine_memory(),
        mps=torch.backends.mps.is_available(),
        cpu=f"{_processor_name()} ({torch.backends.cpu.get_cpu_capability()})",
        threads=torch.get_num_threads(),
    )


def usable_processors() -> int:
    """How many processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine_memory() -> int:
    """Bytes of the whole machine's memory."""
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 4 * 2**30  # Windows has no sysconf: what any machine that runs torch has.


def _processor_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.split(":", 1)[1].split())
    return platform.processor() or platform.machine()


def processor_features() -> str:
    """What tells this processor from others of its name: 'family 25, model 17' and a digest of its instructions."""
    facts = {"machine": platform.machine(), "flags": platform.processor()}
    with contextlib.suppress(OSError):
        first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
        facts |= {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    flags = " ".join(sorted((facts.get("flags", "") + " " + facts.get("Features", "")).split()))
    named = [f"{label} {facts[key]}" for label, key in _GENERATION.items() if key in facts] or [facts["machine"]]
    return ", ".join([*named, f"instructions {hashlib.sha256(flags.encode()).hexdigest()[:8]}"])


_GENERATION = {"family": "cpu family", "model": "model", "part": "CPU part"}
"""What tells a processor's generation: its name here -> in /proc/cpuinfo."""


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
