"""What may be asked of `relubench speed`, and what is refused."""

from __future__ import annotations

import pytest

from relubench.errors import UsageError
from relubench.system.device import Device
from relubench.timing import request
from relubench.timing.machine import Caches

CACHES = Caches(32 * 2**10, 2**20, 32 * 2**20)
CPU = Device(kind="cpu", name="cpu", threads=2, memory=8 * 10**9, torch="2")


def sizes(*texts: str) -> dict[str, int]:
    return {one.name: one.elements for one in request.parse_sizes(list(texts), CACHES, "cpu")}


def test_named_sizes_follow_the_caches() -> None:
    found = sizes("memory,cache", "last")
    assert found == {"cache": 2**16, "last": 2**20, "memory": 2**23}
    assert list(found) == ["cache", "last", "memory"]
    assert 8 * found["memory"] == 2 * CACHES.last


def test_sizes_by_number_and_sweep() -> None:
    assert sizes("64k,1M", "100") == {"100": 100, "65536": 65536, "1048576": 2**20}
    swept = list(sizes("sweep").values())
    assert swept[0] == 1024
    assert swept[-1] == 2**23
    assert swept == sorted(swept)


@pytest.mark.parametrize("text", ["0", "-3", "1.5", "big", "", "9999999999"])
def test_bad_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--size is cache, last, memory, sweep or 1 to"):
        sizes(text)


def test_a_size_beyond_the_memory_is_refused_before_it_is_allocated() -> None:
    asked = request.Request(sizes=(request.Size("x", 2**31),))
    with pytest.raises(UsageError, match=r"needs about 85\.9 GB, and 8\.0 GB are free") as refused:
        request.check_memory(asked, 2, CPU.memory, None)
    smaller = int(refused.value.hint.split()[2])
    request.check_memory(request.Request(sizes=(request.Size("x", smaller),)), 2, CPU.memory, None)


def test_memory_counts_every_size_and_dtype_since_all_are_held_at_once() -> None:
    half = request.Size("x", 10 * 2**20)
    request.check_memory(request.Request(sizes=(half,)), 1, 2**30, None)
    several = request.Request(sizes=tuple(request.Size(str(one), half.elements) for one in range(4)))
    with pytest.raises(UsageError, match=r"and 1\.1 GB are free"):
        request.check_memory(several, 1, 2**30, None)
    with pytest.raises(UsageError, match=r"and 1\.1 GB are free"):
        wide = request.Request(sizes=several.sizes[:2], dtypes=("fp32", "fp16", "bf16"), passes=("inplace",))
        request.check_memory(wide, 1, 2**30, None)


def test_an_arena_takes_no_more_than_was_estimated() -> None:
    """What is held, in tensors of the output's size, beside columns for the input."""
    import torch

    from relubench.timing.buffers import Buffers

    made = Buffers.make(2**19, 2, torch.float32, "cpu", 0, pool=True)
    held = sum(one.numel() for one in (made.z, made.h, made.grad_source, made.grad, made.second_operand, *made.pool))
    assert held <= (2 + request.HELD + 1) * 2**19


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "x"])
def test_a_budget_is_above_zero(text: str) -> None:
    with pytest.raises(UsageError, match="--budget must be a number above 0"):
        request.parse_number("--budget", text, "s")


def test_numbers_take_their_unit() -> None:
    assert request.parse_number("--budget", "60s", "s") == request.parse_number("--budget", "60", "s") == 60.0


def test_unknown_dtypes_have_near_names() -> None:
    with pytest.raises(UsageError, match="no dtype called 'fp23'") as refused:
        request.check_names("--dtype", ["fp23"], tuple(request.DTYPES))
    assert "fp32" in refused.value.hint


def test_compile_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UsageError, match="--compile needs a C\\+\\+ compiler on a processor, and no-such-compiler"):
        request.check_compiler(CPU)
