"""Clocks for single calls: torch.utils.benchmark.Timer, and on CUDA events around replays of a graph."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import torch

from relubench.errors import UsageError
from relubench.system.device_kinds import DEVICES, synchronizer

# Importing the Timer imports torch's builder of extensions, which remarks on a CUDA toolkit without a GPU.
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
from torch.utils import benchmark  # noqa: E402

Call = Callable[[], object]

WARM_UP_CALLS = 2
"""The least number of calls that Timer.timeit makes before it measures."""

FLUSH_BYTES = 256 * 2**20
"""Bytes written between cold samples on CUDA: more than the second cache of any GPU so far."""


class Clock(Protocol):
    """The time of calls."""

    name: str

    def sample(self, call: Call, number: int, *, cold: bool) -> float:
        """The mean seconds of a call over `number` calls; `cold`: the cache holds nothing of the previous call."""
        ...


class HostClock:
    """torch.utils.benchmark.Timer: without garbage collection, with a fixed number of threads."""

    def __init__(self, threads: int, synchronize: Call | None = None) -> None:
        self.threads, self.synchronize = threads, synchronize
        self.name = f"torch.utils.benchmark.Timer, {threads} thread{'s' if threads > 1 else ''}"

    def sample(self, call: Call, number: int, *, cold: bool) -> float:
        # Beyond the caches no call finds data of the previous one, so that Timer's warm-up calls would only cost time.
        target = _After(call, WARM_UP_CALLS) if cold and number == 1 else call
        statement = "call()" if self.synchronize is None else "call(); wait()"
        timer = benchmark.Timer(
            stmt=statement, globals={"call": target, "wait": self.synchronize}, num_threads=self.threads
        )
        return timer.timeit(number).mean


class EventClock:
    """CUDA events around replays of a captured graph, after a flush of the cache where the sample is cold.

    Clocks and power are left as they are. What cannot be captured is launched call by call, and `name` says so.
    """

    def __init__(self, cuda: Any = torch.cuda) -> None:
        self.cuda, self.name = cuda, "CUDA events, graph replay"
        self.flush: Any = None
        self.graphs: dict[int, Any] = {}
        self.calls: list[Call] = []

    def sample(self, call: Call, number: int, *, cold: bool) -> float:
        run = self._replay(call)
        start, end = self.cuda.Event(enable_timing=True), self.cuda.Event(enable_timing=True)
        self.cuda.synchronize()
        if cold:
            self._flush()
        else:
            run()
        start.record()
        for _ in range(number):
            run()
        end.record()
        self.cuda.synchronize()
        return start.elapsed_time(end) / 1e3 / number

    def _replay(self, call: Call) -> Call:
        """The call as a graph; itself where it cannot be captured, as with user code that synchronizes."""
        if id(call) not in self.graphs:
            self.calls.append(call)  # A kept object's id is not given to another object.
            self.graphs[id(call)] = self._capture(call)
        return self.graphs[id(call)]

    def _capture(self, call: Call) -> Call:
        side = self.cuda.Stream()
        side.wait_stream(self.cuda.current_stream())
        with self.cuda.stream(side):
            for _ in range(3):
                call()
        self.cuda.current_stream().wait_stream(side)
        graph = self.cuda.CUDAGraph()
        try:
            with self.cuda.graph(graph):
                call()
        except RuntimeError:
            self.cuda.synchronize()
            self.name = "CUDA events; what could not be captured was launched call by call"
            return call
        return graph.replay

    def _flush(self) -> None:
        if self.flush is None:
            self.flush = torch.empty(FLUSH_BYTES // 4, dtype=torch.int32, device="cuda")
        self.flush.zero_()


class _After:
    """A call that does nothing the first few times."""

    def __init__(self, call: Call, skipped: int) -> None:
        self.call, self.num_skipped = call, skipped

    def __call__(self) -> None:
        if self.num_skipped:
            self.num_skipped -= 1
        else:
            self.call()


def choose_clock(device: str, threads: int) -> Clock:
    """The clock for a device."""
    return EventClock() if DEVICES[device].graphs else HostClock(threads, synchronizer(device))


def check_dtypes(names: tuple[str, ...], device: str) -> None:
    """Raises UsageError where the device cannot compute with one of these."""
    from relubench.timing.buffers import TORCH_DTYPES

    for name in names:
        try:
            torch.relu(torch.zeros(2, dtype=TORCH_DTYPES[name], device=device))
        except (RuntimeError, TypeError) as error:
            raise UsageError(f"--dtype {name} does not work on {device} here: {error}", "leave that one out") from error
