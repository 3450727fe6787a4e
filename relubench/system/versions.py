"""What a run was computed with: the versions of the program, of the libraries beneath it and of the system."""

from __future__ import annotations

import platform
import re
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

from relubench.version import __version__

UNKNOWN = "unknown"


@lru_cache(maxsize=1)
def library_versions() -> dict[str, str]:
    """The versions of what any run of this process is computed with, but for torch's own."""
    return {
        "relubench": __version__,
        "python": platform.python_version(),
        "numpy": _installed("numpy"),
        "llvmlite": _installed("llvmlite"),
        "blas": _blas(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return UNKNOWN


def _blas() -> str:
    """The library of torch's matrix products on a processor, with its version where torch tells it."""
    import torch

    text = torch.__config__.show()
    if match := re.search(r"Math Kernel Library Version (\S+?)-Product", text):
        return f"mkl {match[1]}"
    match = re.search(r"BLAS_INFO=(\w+)", text)
    return match[1] if match else UNKNOWN
