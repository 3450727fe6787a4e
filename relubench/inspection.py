"""What is looked at before training: users' own activations and formulas, and networks that somebody else wrote.

Imports torch only where there is something to look at: a study with nothing left to compute does without.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from relubench import stack_file
from relubench.activations import Choice
from relubench.config import ExperimentConfig
from relubench.errors import UsageError
from relubench.places import user_path
from relubench.plan import ForeignNetwork, RunSpec, why_no_regions
from relubench.results import RunResult
from relubench.stacking import import_file
from relubench.store import Store
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


def check_regions(runs: Sequence[tuple[Part, RunSpec]], note: Note) -> None:
    """Raises UsageError where a variant asks for linear regions and none of its networks has any to count."""
    for part in dict.fromkeys(id(part) for part, _ in runs):
        mine = [(one, spec) for one, spec in runs if id(one) == part]
        asked = mine[0][0].config.train.probe
        if asked not in ("regions", "all"):
            continue
        reasons = [why_no_regions(spec) for _, spec in mine]
        told = list(dict.fromkeys(one for one in reasons if one is not None))
        if asked == "regions" and None not in reasons:
            rule = "linear regions are those of an mlp with a piecewise-linear activation"
            raise UsageError(f"{rule}: {', '.join(told)}", "for example --act relu --model mlp-3x128 --probe regions")
        for one in told:
            note(f"no linear regions are counted: {one}")


def import_stacks(runs: Sequence[tuple[Part, RunSpec]], store: Store) -> None:
    """Put the pre-trained stacks that are read from files into the store, for the runs that start from them."""
    for part, spec in runs:
        if part.config.pretrain.source is not None and spec.stack is not None and spec.stack.source:
            import_file(stack_file.read(user_path(part.config.pretrain.source)), spec, store)


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


def remarks(part: Part) -> list[str]:
    """What was asked for that changes nothing, or hardly what was meant."""
    train, match = part.config.train, part.config.model.match
    found = []
    if match == "width" and not any(choice.columns > 1 for choice in part.choices):
        found.append("--match width changes nothing here: none of the activations is gated")
    if train.batch_size > part.prepared.n_train:
        images = f"{part.prepared.n_train:,} training images"
        found.append(f"batches of {train.batch_size:,}: {part.prepared.name} has {images}, so a step takes them all")
    if train.optimizer != "sgd" and "lr" not in train.model_fields_set:
        found.append(
            f"lr {train.lr:g} is the paper's for sgd, and large for {train.optimizer}: try --lr 0.001 or --lr auto"
        )
    return found


def other_weights(store: Store, stored: Sequence[RunResult], config: ExperimentConfig) -> str:
    """A line about stored runs without the weights that were asked for; empty if they have them, or nobody asked."""
    if "keep" not in config.model_fields_set or config.keep == "none":
        return ""
    tested = [one.id for one in stored if one.test_error_pct is not None]
    lacking = sum(store.kept(run) != config.keep for run in tested)
    runs = f"{lacking} stored run{'s' if lacking != 1 else ''}"
    return f"{runs} kept other weights than --keep {config.keep}: --no-cache trains again" if lacking else ""
