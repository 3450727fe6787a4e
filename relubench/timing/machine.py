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
"""Bytes of the data caches where the machine does not say: first, second, last."""

BUSY_CORES = 0.1
"""Cores that others may use before the table warns."""

LOCK = "relubench-timing.lock"


@dataclass(frozen=True, slots=True)
class Caches:
    """Bytes of the data caches, as one core sees them."""

    first: int
    second: int
    last: int
    known: bool = True
    """Whether the machine told them."""


def caches(folder: Path = CPU / "cpu0" / "cache") -> Caches:
    """The first, second and last data cache of a core, from Linux's sysfs; usual ones where it is silent."""
    found: dict[int, int] = {}
    for index in sorted(folder.glob("index*")):
        with contextlib.suppress(OSError, ValueError):
            if (index / "type").read_text().strip() != "Instruction":
                found[int((index / "level").read_text())] = _bytes((index / "size").read_text())
    if 1 not in found or len(found) < 2:
        return Caches(*USUAL_CACHES, known=False)
    return Caches(found[1], found.get(2, found[1]), found[max(found)])


def free_memory() -> int | None:
    """Bytes that can be taken without swapping; None where the machine does not say."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024
    return None


@dataclass(slots=True)
class Watch:
    """What others did to this machine from here on: cores used beside us, throttling events, lost time slices."""

    read_stat: Callable[[], str] = STAT.read_text
    clock: Callable[[], float] = time.perf_counter
    ours: Callable[[], float] = lambda: sum(os.times()[:4])
    started: float = field(init=False)
    busy: float | None = field(init=False)
    own: float = field(init=False)
    throttled: int = field(init=False)

    def __post_init__(self) -> None:
        self.started, self.busy, self.own, self.throttled = self.clock(), self._busy(), self.ours(), throttle_events()

    def neighbours(self) -> float | None:
        """Cores that other processes, or the host, used on average meanwhile; None where the machine does not say."""
        now, passed = self._busy(), self.clock() - self.started
        if now is None or self.busy is None or passed <= 0:
            return None
        return max(0.0, (now - self.busy) - (self.ours() - self.own)) / passed

    def warnings(self) -> list[str]:
        """What a reader of the table has to know."""
        found: list[str] = []
        cores = self.neighbours()
        if cores is not None and cores > BUSY_CORES:
            found.append(
                f"warning: the machine was busy: others used {cores:.1f} of {os.cpu_count()} cores; repeat it when idle"
            )
        if (events := throttle_events() - self.throttled) > 0:
            found.append(f"warning: the processor was throttled {events} times for its temperature")
        return found

    def _busy(self) -> float | None:
        """Seconds that all cores together have worked, or would have but for the host."""
        try:
            fields = [int(one) for one in self.read_stat().split("\n", 1)[0].split()[1:9]]
        except (OSError, ValueError):
            return None
        user, nice, system, _, _, irq, softirq, steal = fields
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def throttle_events(folder: Path = CPU) -> int:
    """How often the cores have been slowed for their temperature since the start of the machine, where it counts."""
    total = 0
    for counter in folder.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"):
        with contextlib.suppress(OSError, ValueError):
            total += int(counter.read_text())
    return total


@contextlib.contextmanager
def alone(wait: Callable[[], None], folder: Path | None = None) -> Iterator[None]:
    """No other timing run of this program shares the machine meanwhile; `wait` is called once if one has to end first.

    The lock lies in the folder for temporary files, which all users of the machine share.
    """
    from filelock import FileLock, Timeout

    place = (folder or Path(tempfile.gettempdir())) / LOCK
    lock = FileLock(place, mode=0o666)
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
