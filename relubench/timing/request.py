"""What `relubench speed` is asked to measure, checked before any work. Torch-free."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from relubench.errors import UsageError
from relubench.system.device import Device
from relubench.system.lookup import find
from relubench.timing.machine import Caches

DTYPES = {"fp32": 4, "fp16": 2, "bf16": 2}
"""Bytes of an element."""

PASSES = ("forward", "backward", "forward+backward", "inplace", "allocating")
"""allocating: forward, into storage that is made anew by every call."""

DEFAULT_PASSES = ("forward", "forward+backward")
NAMED_SIZES = ("cache", "last", "memory")
LARGEST = 2**31
"""Elements of a tensor."""

GPU_SIZES = {"cache": 2**20, "last": 2**22, "memory": 2**27}
"""Elements on a GPU, whose caches nobody tells: 4 MB, 16 MB and 512 MB in fp32."""

HELD, WORKING = 4, 2
"""Tensors of the output's size that each size and dtype holds beside its input, from beginning to end (output, gradient
twice, a partner), and those that a call makes beside the gradient of its input."""


@dataclass(frozen=True, slots=True)
class Size:
    """Elements of the output, and where they lie: cache, last, memory, or the number itself."""

    name: str
    elements: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A checked request."""

    sizes: tuple[Size, ...]
    dtypes: tuple[str, ...] = ("fp32",)
    passes: tuple[str, ...] = DEFAULT_PASSES
    compiled: bool = False
    """Measure the compiled form beside the eager one."""
    threads: int = 1
    budget_s: float = 75.0
    rel_ci: float = 0.02
    seed: int = 0

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Request:
        """The request of which these are the `dataclasses.asdict`, as JSON gives them back."""
        sizes = tuple(Size(**one) for one in values["sizes"])
        several = {key: tuple(values[key]) for key in ("dtypes", "passes")}
        return cls(**{**values, **several, "sizes": sizes})


def named_sizes(caches: Caches, device: str) -> dict[str, int]:
    """Elements of the three usual sizes in fp32: input and output fill half the second cache, a quarter of the last
    (which other cores share), and twice the last, so that going through them in turn finds nothing left of it."""
    if device != "cpu":
        return dict(GPU_SIZES)
    pair = 8
    last = caches.last // 4 if caches.last > caches.second else caches.last // 2
    return {"cache": caches.second // 2 // pair, "last": last // pair, "memory": 2 * caches.last // pair}


def parse_sizes(texts: list[str], caches: Caches, device: str) -> tuple[Size, ...]:
    """The sizes that --size names: cache, last, memory, sweep, or elements such as 65536, 64k and 16M; in order."""
    names = named_sizes(caches, device)
    found: dict[int, Size] = {}
    for text in (piece.strip() for one in texts for piece in one.split(",")):
        for size in _sizes(text, names):
            found.setdefault(size.elements, size)
    return tuple(found[elements] for elements in sorted(found))


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


def check_names(option: str, texts: list[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """The names given for an option, each once; UsageError with near names for an unknown one."""
    table = {one: one for one in known}
    pieces = [piece.strip() for text in texts for piece in text.split(",")]
    see = f"{option} is one of {', '.join(known)}"
    return tuple(dict.fromkeys(find(piece, table, kind=option.lstrip("-"), see=see) for piece in pieces))


def check_memory(request: Request, columns: int, memory: int, free: int | None) -> None:
    """Raises UsageError where all sizes together would not fit, before anything is allocated."""
    largest, every = request.sizes[-1].elements, sum(one.elements for one in request.sizes)
    items = [DTYPES[one] for one in request.dtypes]
    # In place, a copy of the input is worked on.
    held = columns + HELD + ("inplace" in request.passes)
    needed = every * sum(items) * held + largest * max(items) * (columns + WORKING)
    room = min(memory, free) if free is not None else memory
    if needed > 0.8 * room:
        raise UsageError(
            f"--size {largest} needs about {needed / 1e9:.1f} GB, and {room / 1e9:.1f} GB are free",
            f"use --size {max(1, int(largest * 0.8 * room / needed))} or smaller, or leave the gated activations out",
        )


def check_compiler(device: Device) -> None:
    """Raises UsageError where torch.compile would find no compiler to call."""
    import os

    if device.kind == "cpu":
        compiler = os.environ.get("CXX") or "g++"
        if shutil.which(compiler) is None and shutil.which("clang++") is None:
            raise UsageError(
                f"--compile needs a C++ compiler on a processor, and {compiler} is not there",
                "install g++ (or name one in CXX), or leave --compile out",
            )
    elif device.kind == "cuda" and find_spec("triton") is None:
        raise UsageError("--compile needs triton on cuda, and it is not installed", "pip install triton")


def _sizes(text: str, names: dict[str, int]) -> list[Size]:
    if text in names:
        return [Size(text, names[text])]
    if text == "sweep":
        first = 1024
        powers = [first * 4**k for k in range(20) if first * 4**k < names["memory"]]
        return [*(Size(str(one), one) for one in powers), Size("memory", names["memory"])]
    number = re.fullmatch(r"(\d+)([kM]?)", text)
    elements = int(number[1]) * {"": 1, "k": 2**10, "M": 2**20}[number[2]] if number else 0
    if not 1 <= elements <= LARGEST:
        raise UsageError(
            f"--size is cache, last, memory, sweep or 1 to {LARGEST} elements, got {text!r}", "for example --size 64k"
        )
    return [Size(str(elements), elements)]
