"""Caches, neighbours and the lock, from made-up machines and from a real burning neighbour."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relubench.timing import machine


def sysfs(folder: Path, *caches: tuple[int, str, str]) -> Path:
    for place, (level, kind, size) in enumerate(caches):
        index = folder / f"index{place}"
        index.mkdir()
        for name, text in (("level", str(level)), ("type", kind), ("size", size)):
            (index / name).write_text(text + "\n")
    return folder


def test_caches_are_read(tmp_path: Path) -> None:
    folder = sysfs(
        tmp_path, (1, "Data", "48K"), (1, "Instruction", "64K"), (2, "Unified", "2M"), (3, "Unified", "30720K")
    )
    assert machine.caches(folder) == machine.Caches(48 * 2**10, 2 * 2**20, 30 * 2**20)


def test_a_silent_machine_has_usual_caches(tmp_path: Path) -> None:
    assert machine.caches(tmp_path) == machine.Caches(*machine.USUAL_CACHES)


def fake_watch(busy: list[int], clock: list[float], ours: list[float]) -> machine.MachineMonitor:
    stats = iter(f"cpu {one} 0 0 500 0 0 0 0 0 0\n" for one in busy)
    times, own = iter(clock), iter(ours)
    return machine.MachineMonitor(read_stat=lambda: next(stats), clock=lambda: next(times), own_time=lambda: next(own))


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="needs clock ticks")
def test_neighbours_are_what_is_not_ours() -> None:
    tick = os.sysconf("SC_CLK_TCK")
    watch = fake_watch([0, 15 * tick], [0.0, 10.0], [0.0, 10.0])
    assert watch.neighbours() == pytest.approx(0.5)


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="needs clock ticks")
@pytest.mark.parametrize(("others", "warned"), [(0.05, False), (0.5, True)])
def test_a_busy_machine_is_told(others: float, warned: bool) -> None:
    tick = os.sysconf("SC_CLK_TCK")
    watch = fake_watch([0, round(10 * (1 + others) * tick)], [0.0, 10.0], [0.0, 10.0])
    told = watch.warnings()
    assert [f"others used {others:.1f} of" in one for one in told] == ([True] if warned else [])


@pytest.mark.skipif(not machine.STAT.exists(), reason="needs /proc/stat")
def test_a_burning_neighbour_is_seen() -> None:
    # Not our child: it would be counted as ours once it has ended, and may not be once it has not.
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        watch = machine.MachineMonitor()
        time.sleep(1.0)
        cores = watch.neighbours()
        assert cores is not None
        assert cores > machine.BUSY_CORES
        assert any("the machine was busy" in one for one in watch.warnings())
    finally:
        burner.kill()
        burner.wait()


def test_throttling_is_counted(tmp_path: Path) -> None:
    for core, events in (("cpu0", "3"), ("cpu1", "4")):
        folder = tmp_path / core / "thermal_throttle"
        folder.mkdir(parents=True)
        (folder / "core_throttle_count").write_text(events)
    assert machine.throttle_events(tmp_path) == 7


HOLD = """
import sys, pathlib
from relubench.timing.machine import exclusive_timing
with exclusive_timing(lambda: None, pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_two_timing_runs_do_not_share_the_machine(tmp_path: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdin is not None
    assert other.stdout.readline() == "held\n"
    told: list[str] = []

    def wait() -> None:
        told.append("waiting")
        other.stdin.write("go\n")  # type: ignore[union-attr]
        other.stdin.flush()  # type: ignore[union-attr]

    with machine.exclusive_timing(wait, tmp_path):
        assert told == ["waiting"]
    assert other.wait(300) == 0
