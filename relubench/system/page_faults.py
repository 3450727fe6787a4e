"""Page faults at the constants of PyTorch's kernels, prevented before anything is timed or trained.

A masked AVX-512 load whose mask is empty may not fault: where the page of its constant has never been touched, the
processor finds that out anew at every load, slowly, and the page stays absent. On an AMD EPYC expm1 and log1p (elu,
selu, celu, softplus, mish) then take ten to fifteen times as long, for as long as the process lives, or not, as other
kernels happen to touch that page or not. Results do not depend on it.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path

MAPS = Path("/proc/self/maps")
LIBRARY = "libtorch_cpu"
POPULATE_READ = 22
"""madvise's MADV_POPULATE_READ, of Linux 5.14."""


def prefault_constants() -> int:
    """Read PyTorch's read-only data into this process; gives the number of bytes, 0 where that cannot be done."""
    import torch  # noqa: F401

    if not sys.platform.startswith("linux"):
        return 0
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return sum(size for start, size in constants() if advise(start, size, POPULATE_READ) == 0)


def constants() -> Iterator[tuple[int, int]]:
    """(address, bytes) of every part of the library that can be read and neither written to nor executed."""
    try:
        lines = MAPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        addresses, rights, *fields = line.split(maxsplit=5)
        if rights.startswith("r--") and LIBRARY in fields[-1]:
            start, end = (int(bound, 16) for bound in addresses.split("-"))
            yield start, end - start
