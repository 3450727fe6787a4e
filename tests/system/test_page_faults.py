"""Constants of PyTorch's kernels are present once they were asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from relubench.system import page_faults

MEASURE = """
import re
from pathlib import Path
from relubench.system.page_faults import LIBRARY, prefault_constants

def resident():
    sizes = [0, 0]
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = LIBRARY in line and " r--p " in line
        elif inside and line.startswith(("Size:", "Rss:")):
            sizes[line.startswith("Rss:")] += int(line.split()[1]) * 1024
    return sizes

import torch
before, mapped, after = resident(), prefault_constants(), resident()
print(*before, mapped, *after)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_every_page_of_the_constants_is_there_afterwards() -> None:
    ended = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    size, before, mapped, whole, after = map(int, ended.stdout.split())
    if not mapped:
        pytest.skip("this kernel has no MADV_POPULATE_READ")
    assert before < size == mapped == whole == after


def test_only_what_can_be_read_alone_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.write_text(
        "1000-3000 r--p 00000000 fe:00 12 /a/libtorch_cpu.so\n"
        "3000-5000 r-xp 00002000 fe:00 12 /a/libtorch_cpu.so\n"
        "5000-6000 rw-p 00004000 fe:00 12 /a/libtorch_cpu.so\n"
        "6000-7000 r--p 00000000 fe:00 13 /a/libc.so\n"
        "7000-8000 r--p 00000000 00:00 0 \n"
    )
    monkeypatch.setattr(page_faults, "MAPS", maps)
    assert list(page_faults.constants()) == [(0x1000, 0x2000)]


def test_a_system_without_maps_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(page_faults, "MAPS", tmp_path / "none")
    assert list(page_faults.constants()) == []
