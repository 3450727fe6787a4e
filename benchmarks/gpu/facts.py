"""The machine: its device, driver and libraries, and which packages it lacks."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.gpu.setting import Row, Setting

ROOT = Path(__file__).parents[2]
QUERY = "name,driver_version,memory.total,clocks.max.sm,power.limit"
WHEEL_COMMAND = (
    "python3 -m pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp "
    "--platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d wheels"
)
"""How wheels for a machine without a network are fetched elsewhere; the names of the missing packages follow."""


def rows(setting: Setting) -> Iterator[Row]:
    """What is installed, what is missing, and what the device says of itself."""
    lacking = missing(requirements())
    yield {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": installed(),
        "missing": lacking,
        "wheels": f"{WHEEL_COMMAND} {' '.join(lacking)}" if lacking else None,
    }
    yield {"device": setting.device, **_device(setting.device)}


def requirements() -> list[str]:
    """The packages that relubench needs, and those that are compared with it."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], "jax"]
    # The parts of pydantic and pooch that come as packages of their own.
    further = ("pydantic-core", "annotated-types", "typing-inspection", "requests")
    return sorted({*(re.split(r"[<>=!~\[; ]", text, maxsplit=1)[0] for text in texts), *further})


def missing(names: list[str]) -> list[str]:
    """Those of the packages that are not installed here."""
    return [name for name in names if _version(name) is None]


def installed() -> dict[str, str]:
    """The versions of the packages that matter here."""
    names = [*requirements(), "jaxlib", "triton", "jax-cuda13-plugin"]
    return {name: version for name in names if (version := _version(name)) is not None}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _device(kind: str) -> dict[str, Any]:
    import torch

    if kind == "cpu":
        return {"name": platform.processor(), "torch": torch.__version__, "threads": torch.get_num_threads()}
    answer = subprocess.run(
        ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"], capture_output=True, text=True
    )
    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_bytes": properties.total_memory,
        "nvidia_smi": answer.stdout.strip() or answer.stderr.strip(),
    }
