"""What a measurement must be read with: processor, cores, library versions, date, and how busy the machine was."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

LIBRARIES = (
    "relubench",
    "torch",
    "torchvision",
    "lightning",
    "keras",
    "jax",
    "jaxlib",
    "scikit-learn",
    "numpy",
    "scipy",
)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "XLA_FLAGS")


def describe(arguments: Iterable[str], data_dir: str | None) -> dict[str, Any]:
    """The facts of this machine and this call; the data folder's place is left out."""
    command = " ".join("DATA" if data_dir and one == data_dir else one for one in arguments)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "cpu": processor(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "thread_variables": {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """The installed libraries; relubench's own comes from its source where it is not installed."""
    found: dict[str, str] = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if "relubench" not in found:
        from relubench.version import __version__

        found["relubench"] = __version__
    return found


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Neighbours:
    """How many cores were kept from us, by other processes or by the host, from here on.

    Where they are not free, every measurement with two threads is void: threads that wait for each other at every
    product wait for a core as well, and lose tenfold.
    """

    def __init__(self) -> None:
        self.busy, self.ours, self.started = _busy(), _ours(), time.perf_counter()

    def cores(self) -> float:
        """The mean since then; what we and our finished child processes used does not count."""
        passed = time.perf_counter() - self.started
        return round(max(0.0, (_busy() - self.busy) - (_ours() - self.ours)) / passed, 2)


def _busy() -> float:
    """Seconds that all cores together have worked, or would have but for the host."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)


def _ours() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def processor() -> str:
    """The processor's name and the widest vector instructions it has."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    flags = facts.get("flags", "").split()
    vector = next((name for name in ("avx512f", "avx2") if name in flags), "")
    model = f"family {facts.get('cpu family', '?')} model {facts.get('model', '?')}"
    return ", ".join(filter(None, (facts.get("model name", ""), model, vector)))
