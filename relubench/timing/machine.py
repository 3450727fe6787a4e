"""The machine while it is being timed: its caches, its memory, its neighbours, its throttling, its lock. Torch-free."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

CPU = Path("/sys/devices/system/cpu")
STAT = Path("/proc/stat")

USUAL_CACHES = (32 * 2**10, 2**20, 32 * 2**20)
"""Bytes of the data caches where the machine does not report them: first, second, last."""

BUSY_CORES = 0.1
"""Cores that other processes may use before the table warns."""

LOCK = "relubench-timing.lock"


@dataclass(frozen=True, slots=True)
class Caches:
    """Bytes of the data caches, as one core sees them."""

    first: int
    second: int
    last: int


def caches(folder: Path = CPU / "cpu0" / "cache") -> Caches:
    """The first, second and last data cache of a core, from Linux's sysfs; usual sizes where it has none."""
    sizes: dict[int, int] = {}
    for index in sorted(folder.glob("index*")):
        with contextlib.suppress(OSError, ValueError):
            if (index / "type").read_text().strip() != "Instruction":
                sizes[int((index / "level").read_text())] = _bytes((index / "size").read_text())
    if 1 not in sizes or len(sizes) < 2:
        return Caches(*USUAL_CACHES)
    return Caches(sizes[1], sizes.get(2, sizes[1]), sizes[max(sizes)])


def free_memory() -> int | None:
    """Bytes that can be allocated without swapping; None where the machine does not report it."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024
    return None


@dataclass(slots=True)
class MachineMonitor:
    """Monitors the machine from now on: the cores that other processes use, and throttling events."""

    read_stat: Callable[[], str] = STAT.read_text
    clock: Callable[[], float] = time.perf_counter
    own_time: Callable[[], float] = lambda: sum(os.times()[:4])
    start: float = field(init=False)
    busy: float | None = field(init=False)
    own_seconds: float = field(init=False)
    throttled: int = field(init=False)

    def __post_init__(self) -> None:
        self.start, self.busy, self.own_seconds, self.throttled = (
            self.clock(),
            self._busy(),
            self.own_time(),
            throttle_events(),
        )

    def neighbours(self) -> float | None:
        """The cores that other processes, or the host, used on average since then; None where it is not reported."""
        now, elapsed = self._busy(), self.clock() - self.start
        if now is None or self.busy is None or elapsed <= 0:
            return None
        return max(0.0, (now - self.busy) - (self.own_time() - self.own_seconds)) / elapsed

    def warnings(self) -> list[str]:
        """Warnings for the reader of the table."""
        lines: list[str] = []
        cores = self.neighbours()
        if cores is not None and cores > BUSY_CORES:
            lines.append(
                f"warning: the machine was busy: others used {cores:.1f} of {os.cpu_count()} cores; repeat it when idle"
            )
        if (events := throttle_events() - self.throttled) > 0:
            lines.append(f"warning: the processor was throttled {events} times for its temperature")
        return lines

    def _busy(self) -> float | None:
        """The seconds that all cores together were busy, time that the host took away included."""
        try:
            fields = [int(value) for value in self.read_stat().split("\n", 1)[0].split()[1:9]]
        except (OSError, ValueError):
            return None
        user, nice, system, _, _, irq, softirq, steal = fields
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def throttle_events(folder: Path = CPU) -> int:
    """The number of throttling events of all cores since the machine started, where it counts them."""
    total = 0
    for counter in folder.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"):
        with contextlib.suppress(OSError, ValueError):
            total += int(counter.read_text())
    return total


@contextlib.contextmanager
def exclusive_timing(wait: Callable[[], None], folder: Path | None = None) -> Iterator[None]:
    """Hold a lock so that no other timing run of this program shares the machine; `wait` is called once before waiting.

    The lock is in the folder for temporary files, which all users of the machine share.
    """
    from filelock import FileLock, Timeout

    path = (folder or Path(tempfile.gettempdir())) / LOCK
    lock = FileLock(path, mode=0o666)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        wait()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _bytes(text: str) -> int:
    """32K, 1024K, 32M as bytes."""
    text = text.strip()
    factor = {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1], 1)
    return int(text.rstrip("KMG")) * factor
