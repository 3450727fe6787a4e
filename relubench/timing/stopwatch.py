"""Moments of a device: the clock's on a processor, events on a GPU, whose calls do not wait for their results."""

from __future__ import annotations

import time
from typing import Any

import torch

from relubench.system.device_kinds import DEVICES, synchronizer


class Stopwatch:
    """Takes moments, and tells the seconds between any two of them once the device has reached both."""

    def __init__(self, device: str, cuda: Any = torch.cuda) -> None:
        self.cuda, self.with_events = cuda, DEVICES[device].graphs
        self.wait = None if self.with_events else synchronizer(device)

    def moment(self) -> Any:
        """Now: when all calls so far have been carried out."""
        if self.with_events:
            event = self.cuda.Event(enable_timing=True)
            event.record()
            return event
        if self.wait is not None:
            self.wait()
        return time.perf_counter()

    def seconds(self, start: Any, end: Any) -> float:
        """The time from one moment to another."""
        if not self.with_events:
            return end - start
        end.synchronize()
        return start.elapsed_time(end) / 1e3
