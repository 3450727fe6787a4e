"""What is looked at before training: users' own activations and formulas, and networks that somebody else wrote.

Imports torch only where there is something to look at: a study with nothing left to compute does without.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from relubench.activations import Choice
from relubench.plan import ForeignNetwork, RunSpec
from relubench.results import RunResult
from relubench.variants import Part

Note = Callable[[str], None]


def probe_own(choice: Choice, note: Note) -> None:
    """Call a formula or a user's own activation once; UsageError if it is none, a note for what is odd about it."""
    from relubench.activations import probe

    # What a user's own code prints must not get between the rows.
    with contextlib.redirect_stdout(sys.stderr):
        found = probe(choice)
    for warning in found.warnings:
        note(f"{choice.label}: {warning}")
    if found.equals is not None:
        note(f"{choice.label} equals {found.equals}")


Networks = dict[tuple[str, str, int], ForeignNetwork]
"""What was looked at, by model, data and batch."""


def with_network(
    spec: RunSpec,
    part: Part,
    company: Sequence[RunSpec],
    networks: Networks,
    stored: Callable[[str], RunResult | None],
    note: Note,
) -> RunSpec:
    """The run with what its network, if somebody else wrote it, was found to be.

    `company`: the runs of its part; `stored` gives the run of an id; `networks` grows, so that each is looked at once.
    """
    if not spec.architecture.foreign:
        return spec
    key = (spec.model, spec.data_digest, spec.batch_size)
    if key not in networks:
        networks[key] = _look_at(company, part, [stored(one.id) for one in company], note)
    network = networks[key]
    learned = next(choice.learned for choice in part.choices if choice.label == spec.activation)
    return replace(spec, foreign=network, parameters=network.parameters + learned * network.exchanged)


def _look_at(specs: Sequence[RunSpec], part: Part, stored: Sequence[RunResult | None], note: Note) -> ForeignNetwork:
    """What the network of these runs is, from a stored run of it or built once, and a note that says so."""
    known = next((one.spec["foreign"] for one in stored if one and one.spec.get("foreign")), None)
    found = ForeignNetwork(**known) if known is not None else _built(specs[0], part)
    plural = "" if found.exchanged == 1 else "s"
    told = [f"{found.exchanged} activation{plural} exchanged ({found.functions})"]
    told += [f"{found.kept} left as they are"] if found.kept else []
    told += ["initial weights its own", *([found.stem] if found.stem else [])]
    note(f"{specs[0].model}: {'; '.join(told)}")
    return found


def _built(spec: RunSpec, part: Part) -> ForeignNetwork:
    from relubench.foreign.inspection import inspect_network

    with contextlib.redirect_stdout(sys.stderr):
        return inspect_network(spec, part.choices[0], part.prepared.n_train % spec.batch_size or spec.batch_size)
