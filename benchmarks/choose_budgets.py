"""Do answers of `choose` agree between budgets? Real trainings with five budgets, and relu against a renamed relu.

    python -m benchmarks.choose_budgets --dataset digits
    python -m benchmarks.choose_budgets --dataset mnist --model mlp-2x100 --epochs 3

All budgets share one store, so that all of them cost about as much as the largest one. A smaller budget must answer
with the same set of activations or with a wider one; relu and a formula that is relu must never be told apart.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import relubench
from relubench.version import __version__

ACTIVATIONS = ("relu", "gelu", "tanh", "sigmoid")
BUDGETS = (24, 32, 44, 60, 90)
"""Runs."""


def answers(**settings: Any) -> list[dict[str, Any]]:
    """The answer of each budget, smallest first."""
    return [
        {"budget_runs": budget, **_answer(list(ACTIVATIONS), budget=f"{budget}runs", **settings)} for budget in BUDGETS
    ]


def _answer(acts: list[str], **settings: Any) -> dict[str, Any]:
    table = relubench.choose(acts, **settings)
    return {**table.report.about["answers"][0], "sentence": table.report.sentence}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--model")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    settings = {"dataset": arguments.dataset, "model": arguments.model, "epochs": arguments.epochs}
    settings |= {"protocol": "modern", "lr": 0.01}
    by_budget = answers(**settings)
    for answer in by_budget:
        print(f"{answer['budget_runs']:4} runs: {', '.join(answer['not_told_apart'])}  ({answer['ended']})")
    sets = [set(answer["not_told_apart"]) for answer in by_budget]
    nested = all(wider >= narrower for wider, narrower in itertools.pairwise(sets))
    renamed = _answer(["relu", "max(x,0)"], budget="60runs", **settings)
    apart = len(renamed["not_told_apart"]) < 2
    print(f"a smaller budget has the same set or a wider one: {'yes' if nested else 'NO'}")
    print(f"relu and a renamed relu are told apart: {'YES' if apart else 'no'}")
    if arguments.output:
        content = {"version": __version__, "settings": settings, "answers": by_budget, "renamed": renamed}
        arguments.output.write_text(json.dumps({**content, "nested": nested, "told_apart": apart}, indent=1) + "\n")


if __name__ == "__main__":
    main()
