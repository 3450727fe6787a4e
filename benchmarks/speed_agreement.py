"""Does `relubench speed` agree with clocks that are not its own?

    python -m benchmarks.speed_agreement [--rounds 15] [--output FILE]

For some activations and sizes, in turn: the inner clock of `relubench speed`, and one of its own, perf_counter around
an unrolled loop (on CUDA: around replays of a graph, with a synchronization at either end). Medians over the rounds;
they must agree within 3 %. And a plain copy_ beside the measured read-write roof: 95 to 105 %. Exit 1 if not.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe
from relubench.activations import build, select
from relubench.system.page_faults import prefault_constants
from relubench.timing.buffers import Buffers
from relubench.timing.clocks import choose_clock
from relubench.timing.machine import MachineMonitor, caches, exclusive_timing
from relubench.timing.operators import TimedCall, timed_call
from relubench.timing.request import named_sizes
from relubench.timing.roof import timed_roof

ACTIVATIONS = ("relu", "sigmoid", "gelu", "swiglu")
CLOSE, ROOF = 0.03, (0.95, 1.05)


def unrolled(call: Callable[[], object], number: int, synchronize: Callable[[], None]) -> float:
    """Mean seconds a call, ten calls written out in a row."""
    call()
    synchronize()
    start = time.perf_counter()
    for _ in range(max(1, number // 10)):
        call(), call(), call(), call(), call(), call(), call(), call(), call(), call()
    synchronize()
    return (time.perf_counter() - start) / (10 * max(1, number // 10))


def compare(arena: Buffers, made: TimedCall, cold: bool, device: str, rounds: int) -> tuple[float, float]:
    """Median seconds a call by the command's clock and by the independent one, taken in turn."""
    clock = choose_clock(device, 1)
    synchronize = torch.cuda.synchronize if device == "cuda" else lambda: None
    number = max(1, round(0.01 / clock.sample(made.call, 1, cold=cold)))
    mine, theirs = [], []
    for _ in range(rounds):
        turns = [
            lambda: mine.append(clock.sample(made.call, number, cold=cold)),
            lambda: theirs.append(unrolled(made.call, number, synchronize)),
        ]
        random.shuffle(turns)
        for turn in turns:
            made.refill()
            turn()
    return statistics.median(mine), statistics.median(theirs)


def copy_share(arena: Buffers, cold: bool, device: str, rounds: int) -> float:
    """Time of the roof's kernel over that of copy_, the median of pairs."""
    clock, roof = choose_clock(device, 1), timed_roof("read-write", arena)
    z, h = arena.z[: arena.elements], arena.h
    number = max(1, round(0.005 / clock.sample(roof.call, 1, cold=cold)))
    pairs = [
        clock.sample(roof.call, number, cold=cold) / clock.sample(lambda: h.copy_(z), number, cold=cold)
        for _ in range(rounds)
    ]
    return statistics.median(pairs)


def measure(device: str, rounds: int) -> list[dict[str, Any]]:
    """One record for each size and activation, and one for copy_; prints each as it comes."""
    found: list[dict[str, Any]] = []
    for name, elements in named_sizes(caches(), device).items():
        arena = Buffers.make(elements, 2, torch.float32, device, 0, pool=False)
        cold = name == "memory"
        for label in ACTIVATIONS:
            made = timed_call(build(select([label])[0]), "forward", arena)
            a, b = compare(arena, made, cold, device, rounds)
            mine, theirs = 1e9 * a / elements, 1e9 * b / elements
            print(f"{label:10} {name:7} {mine:8.4f} {theirs:8.4f} ns  {a / b:.3f}", flush=True)
            found.append(
                {
                    "what": label,
                    "size": name,
                    "elements": elements,
                    "command_ns_per_element": mine,
                    "independent_ns_per_element": theirs,
                    "ratio": a / b,
                    "agrees": abs(a / b - 1) <= CLOSE,
                }
            )
        share = copy_share(arena, cold, device, 2 * rounds)
        print(f"{'copy_':10} {name:7} reaches {100 * share:.1f} % of the roof", flush=True)
        agrees = ROOF[0] <= share <= ROOF[1] or name != "memory"
        found.append(
            {"what": "copy_", "size": name, "elements": elements, "share_of_the_roof": share, "agrees": agrees}
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, help="a JSON file for the result")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    prefault_constants()
    with exclusive_timing(lambda: print("waiting for another timing run", file=sys.stderr)), torch.no_grad():
        watch = MachineMonitor()
        found = measure(given.device, given.rounds)
        warnings = watch.warnings()
    for line in warnings:
        print(line)
    good = all(one["agrees"] for one in found)
    print("agrees" if good else "does not agree")
    if given.output:
        machine = describe(["python", "-m", "benchmarks.speed_agreement", "--rounds", str(given.rounds)], None)
        result = {"agrees": good, "rounds": given.rounds, "rows": found, "warnings": warnings, "machine": machine}
        given.output.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
