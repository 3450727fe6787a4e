"""`python -m benchmarks.probes`: what the probes after each epoch cost, by `relubench train` with and without them.

    python -m benchmarks.probes --output benchmarks/results/probes.json

Each case is trained by the command itself with `--probe none` and with the default, in turn, so that what slows the
machine down meets both. The cost is of the whole run's seconds: training, validation, the test, the look before the
first epoch and after each, and the confirmation of dead units on the whole training set at the end, which weighs the
more the fewer epochs there are. The losses have to be the same to the bit.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import Neighbours, describe

PROBES = ("none", "activations")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One training."""

    name: str
    arguments: tuple[str, ...]
    epochs: int


CASES = (
    Case(name="mnist, mlp-3x1000, batch 10", arguments=("--dataset", "mnist", "--batch-size", "10"), epochs=8),
    Case(name="mnist, mlp-3x1000, batch 100", arguments=("--dataset", "mnist", "--batch-size", "100"), epochs=10),
    Case(name="digits, mlp-3x128, batch 10", arguments=("--dataset", "digits"), epochs=30),
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One case: seconds of each round without and with probes, and what they cost."""

    case: str
    epochs: int
    without: list[float]
    with_probes: list[float]
    cost_pct: float
    """The median over rounds of (with - without) / without."""
    lowest_pct: float
    highest_pct: float
    same_losses: bool


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each case with and without (3)")
    parser.add_argument("--case", nargs="+", choices=[one.name for one in CASES], help="only these (all)")
    parser.add_argument("--data-dir", help="where MNIST's files are (as relubench looks for them)")
    parser.add_argument("--output", type=Path, help="a JSON file for the result (stdout)")
    asked = parser.parse_args()
    neighbours = Neighbours()
    with tempfile.TemporaryDirectory() as runs:
        chosen = [one for one in CASES if not asked.case or one.name in asked.case]
        rows = [_measured(one, asked.rounds, runs, asked.data_dir) for one in chosen]
    facts = {
        **describe(["python", "-m", "benchmarks.probes", *sys.argv[1:]], asked.data_dir),
        "rounds": asked.rounds,
        "cores_kept_busy_by_others": neighbours.cores(),
        "rows": [asdict(one) for one in rows],
    }
    text = json.dumps(facts, indent=1) + "\n"
    if asked.output:
        asked.output.write_text(text)
    else:
        print(text, end="")
    return 0 if all(one.same_losses for one in rows) else 1


def _measured(case: Case, rounds: int, runs: str, data_dir: str | None) -> Measured:
    seconds: dict[str, list[float]] = {probe: [] for probe in PROBES}
    curves = []
    for place in range(rounds):
        # In turn first, so that neither always meets the warmer machine.
        for probe in PROBES if place % 2 == 0 else PROBES[::-1]:
            run = _train(case, probe, runs, data_dir)
            seconds[probe].append(round(run["timing"]["seconds"], 4))
            curves.append([(one["train_loss"], one["valid_loss"]) for one in run["curve"]])
    costs = [100.0 * (on / off - 1.0) for off, on in zip(*seconds.values(), strict=True)]
    return Measured(
        case=case.name,
        epochs=case.epochs,
        without=seconds["none"],
        with_probes=seconds["activations"],
        cost_pct=round(median(costs), 2),
        lowest_pct=round(min(costs), 2),
        highest_pct=round(max(costs), 2),
        same_losses=all(one == curves[0] for one in curves),
    )


def _train(case: Case, probe: str, runs: str, data_dir: str | None) -> dict[str, Any]:
    """The run that the command gives, as its JSON has it."""
    command = [sys.executable, "-m", "relubench", "train", "--act", "relu", *case.arguments]
    command += ["--epochs", str(case.epochs), "--probe", probe, "--device", "cpu", "--runs-dir", runs, "--no-cache"]
    command += ["--keep", "none", "--format", "json", "--quiet"]
    command += ["--data-dir", data_dir] if data_dir else []
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)}\n{ended.stderr}")
    return json.loads(ended.stdout)["runs"][0]


if __name__ == "__main__":
    raise SystemExit(main())
