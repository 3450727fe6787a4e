"""The request of `relubench speed`: what to measure, checked before any work. Torch-free."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from relubench.errors import UsageError
from relubench.system.device import Device
from relubench.system.device_kinds import DEVICES
from relubench.system.lookup import find
from relubench.timing.machine import Caches

DTYPES = {"fp32": 4, "fp16": 2, "bf16": 2}
"""Bytes of an element."""

PASSES = ("forward", "backward", "forward+backward", "inplace", "allocating")
"""allocating: forward, into new storage in every call."""

DEFAULT_PASSES = ("forward", "forward+backward")
NAMED_SIZES = ("cache", "last", "memory")
RECORDED = ", recorded inputs"
"""The end of a mode in which the inputs are those of a network."""

LARGEST = 2**31
"""The largest number of elements of a tensor."""

GPU_SIZES = {"cache": 2**20, "last": 2**22, "memory": 2**27}
"""Elements on a GPU, which does not report its caches: 4 MB, 16 MB and 512 MB in fp32."""

HELD, WORKING = 4, 2
"""Tensors of the output's size that exist from beginning to end for each size and dtype, besides the input (output, two
gradients, a second operand), and those that a call allocates besides the gradient of its input."""


@dataclass(frozen=True, slots=True)
class Size:
    """The number of output elements, and a name for where they fit: cache, last, memory, or the number itself."""

    name: str
    elements: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What to measure, checked."""

    sizes: tuple[Size, ...]
    dtypes: tuple[str, ...] = ("fp32",)
    passes: tuple[str, ...] = DEFAULT_PASSES
    compiled: bool = False
    """Measure the compiled form beside the eager one."""
    threads: int = 1
    budget_s: float = 75.0
    rel_ci: float = 0.02
    seed: int = 0
    inputs: tuple[float, ...] = ()
    """Values that every activation is timed on as well, each as likely as the others; empty: on normal ones only."""

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes of every cell: how the activation is called, and on which inputs."""
        called = ("eager", "compiled") if self.compiled else ("eager",)
        return (*called, *(f"{mode}{RECORDED}" for mode in called if self.inputs))

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Request:
        """The request of which these are the `dataclasses.asdict`, as JSON gives them back."""
        sizes = tuple(Size(**size) for size in values["sizes"])
        tuples = {key: tuple(values[key]) for key in ("dtypes", "passes", "inputs")}
        return cls(**{**values, **tuples, "sizes": sizes})


def named_sizes(caches: Caches, device: str) -> dict[str, int]:
    """The elements of the three usual sizes in fp32: input and output fill half the second cache, a quarter of the last
    (which other cores share), and twice the last, so that a pass over them finds none of them in the cache."""
    if not DEVICES[device].is_processor:
        return dict(GPU_SIZES)
    pair = 8
    last = caches.last // 4 if caches.last > caches.second else caches.last // 2
    return {"cache": caches.second // 2 // pair, "last": last // pair, "memory": 2 * caches.last // pair}


def parse_sizes(texts: list[str], caches: Caches, device: str) -> tuple[Size, ...]:
    """The sizes that --size names, in order: cache, last, memory, sweep, or elements such as 65536, 64k and 16M."""
    names = named_sizes(caches, device)
    sizes: dict[int, Size] = {}
    for text in (piece.strip() for argument in texts for piece in argument.split(",")):
        for size in _sizes(text, names):
            sizes.setdefault(size.elements, size)
    return tuple(sizes[elements] for elements in sorted(sizes))


def parse_number(option: str, text: str, unit: str = "") -> float:
    """A positive number, with or without its unit; UsageError naming the option."""
    bare = text.removesuffix(unit) if unit else text
    try:
        number = float(bare)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise UsageError(f"{option} must be a number above 0, got {text!r}", f"for example {option} {EXAMPLES[option]}")
    return number


EXAMPLES = {"--budget": "75s", "--rel-ci": "2%"}


def check_names(option: str, texts: list[str], valid_names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of an option's values, each once; UsageError with similar names for an unknown one."""
    table = {name: name for name in valid_names}
    pieces = [piece.strip() for text in texts for piece in text.split(",")]
    see = f"{option} is one of {', '.join(valid_names)}"
    return tuple(dict.fromkeys(find(piece, table, kind=option.lstrip("-"), see=see) for piece in pieces))


def check_memory(request: Request, columns: int, memory: int, free: int | None) -> None:
    """Raises UsageError where all sizes together would not fit, before anything is allocated."""
    largest, total_elements = request.sizes[-1].elements, sum(entry.elements for entry in request.sizes)
    item_sizes = [DTYPES[entry] for entry in request.dtypes]
    # A pass in place works on a copy of the input.
    tensors_per_output = columns + HELD + ("inplace" in request.passes)
    total_elements *= 2 if request.inputs else 1
    needed = total_elements * sum(item_sizes) * tensors_per_output + largest * max(item_sizes) * (columns + WORKING)
    available = min(memory, free) if free is not None else memory
    if needed > 0.8 * available:
        fitting = max(1, int(largest * 0.8 * available / needed))
        raise UsageError(
            f"--size {largest} needs about {needed / 1e9:.1f} GB, and {available / 1e9:.1f} GB are free",
            f"use --size {fitting} or smaller, or leave the gated activations out",
        )


def check_compiler(device: Device) -> None:
    """Raises UsageError where torch.compile would find no compiler to call."""
    import os

    if device.is_processor:
        compiler = os.environ.get("CXX") or "g++"
        if shutil.which(compiler) is None and shutil.which("clang++") is None:
            raise UsageError(
                f"--compile needs a C++ compiler on a processor, and {compiler} is not there",
                "install g++ (or name one in CXX), or leave --compile out",
            )
    elif (package := DEVICES[device.kind].compiler) and find_spec(package) is None:
        raise UsageError(
            f"--compile needs {package} on {device.kind}, and it is not installed", f"pip install {package}"
        )


def _sizes(text: str, names: dict[str, int]) -> list[Size]:
    if text in names:
        return [Size(text, names[text])]
    if text == "sweep":
        first = 1024
        powers = [first * 4**k for k in range(20) if first * 4**k < names["memory"]]
        return [*(Size(str(elements), elements) for elements in powers), Size("memory", names["memory"])]
    number = re.fullmatch(r"(\d+)([kM]?)", text)
    elements = int(number[1]) * {"": 1, "k": 2**10, "M": 2**20}[number[2]] if number else 0
    if not 1 <= elements <= LARGEST:
        raise UsageError(
            f"--size is cache, last, memory, sweep or 1 to {LARGEST} elements, got {text!r}", "for example --size 64k"
        )
    return [Size(str(elements), elements)]
