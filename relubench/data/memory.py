"""The memory that a data set may use, and the error for a set that needs more. Torch-free."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from relubench.errors import DataError

COPIES = 3
"""Reading, splitting and converting hold a data set in memory this many times."""
UNKNOWN = 4 * 2**30
"""Where the system does not say (Windows has no sysconf): what any machine that runs torch has."""
MEMINFO, CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup/memory.max")
"""The files with the memory that Linux has available, and that a container may use."""


def memory() -> int:
    """The bytes of memory that this process may still use: what the machine has left, its container, ulimit -v."""
    bounds: list[int] = []
    with contextlib.suppress(ValueError, OSError, AttributeError):
        bounds.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(OSError):
        available = re.search(r"^MemAvailable: +(\d+) kB$", MEMINFO.read_text(), re.MULTILINE)
        bounds += [int(available[1]) * 1024] if available else []
    with contextlib.suppress(OSError, ValueError):
        # "max" where there is no limit.
        bounds.append(int(CGROUP.read_text()))
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        bounds += [limit] if limit != resource.RLIM_INFINITY else []
    return min(bounds, default=UNKNOWN)


def check_room(contents: str, size: int) -> None:
    """Raises DataError where `size` bytes of `contents` would not fit into memory COPIES times."""
    available = memory()
    if COPIES * size > available:
        raise DataError(
            f"{contents} takes {format_bytes(size)} of memory, {COPIES} times of which is more than the "
            f"{format_bytes(available)} here",
            "use fewer or smaller images",
        )


def format_bytes(size: int) -> str:
    """A number of bytes as text: 4.7 GB."""
    return f"{size / 1e9:.3g} GB" if size >= 1e8 else f"{size / 1e6:.3g} MB"
