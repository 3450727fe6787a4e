"""What is looked at before training: users' own activations and formulas, and networks that somebody else wrote.

Imports torch only where there is something to look at: a study with nothing left to compute does without.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from relubench.activations import Choice
from relubench.activations.user import checked, choose_own, is_checked, is_own, renewed, say_unseen
from relubench.errors import WARNING, UsageError
from relubench.experiments.config import ExperimentConfig
from relubench.experiments.variants import Part, lay_out
from relubench.models.architecture import (
    Architecture,
    activation_frames,
    architecture_of,
    default_model,
    parse_model,
    why_no_regions,
)
from relubench.models.external.torchvision_names import PREFIX
from relubench.runs import pretrained_file
from relubench.runs.result import RunResult
from relubench.runs.spec import ForeignNetwork, RunSpec
from relubench.runs.store import Store
from relubench.system.device import Device
from relubench.system.paths import user_path
from relubench.system.user_code.records import is_users_file
from relubench.training.pretraining.layers import import_layers

Note = Callable[[str], None]

PLACES = 6
"""Places that a line names; the others are counted."""

LONGEST_WARNING = 300
"""Characters that are shown of a library's warning."""

LEFT_OUT = (
    "an epoch's last batch would be one image, which batch normalisation cannot train on: it is left out, "
    "another one every epoch"
)


def probe_own(choice: Choice, note: Note, parts: Sequence[Part] = ()) -> None:
    """Call a formula or a user's own activation once; UsageError if the study cannot use it, a note for what is odd.

    `parts`: those with it, whose layers it has to fit and whose initial weights may need its gain.
    """
    from relubench.activations import probe

    shapes = dict.fromkeys((_architecture(part), part.prepared.input_shape) for part in parts)
    layers = [frame for shape in shapes for frame in activation_frames(*shape)]
    # What a user's own code prints must not get between the rows.
    with contextlib.redirect_stdout(sys.stderr), _warned(choice.label, note):
        own = choice.kind == "user"
        found = checked(choice, "activation", lambda: probe(choice, layers)) if own else probe(choice, layers)
    if found.no_gain is not None:
        if any(part.config.model.init == "auto" and not _architecture(part).foreign for part in parts):
            raise UsageError(f"--init auto: {found.no_gain.message}", found.no_gain.hint)
        note(f"{choice.label}: {found.no_gain.message}; --init auto cannot be used with it")
    for warning in found.warnings:
        note(f"{WARNING}{choice.label}: {warning}")
    if found.likeness:
        note(f"{choice.label} {found.likeness}")


def _architecture(part: Part) -> Architecture:
    name = part.config.model.name
    return parse_model(name if name != "auto" else default_model(part.prepared.name))


def try_in_networks(choice: Choice, specs: Sequence[RunSpec]) -> None:
    """Take a training step through it in every network that somebody else wrote; UsageError where that fails."""
    foreign = {(spec.model, spec.input_shape): spec for spec in specs if architecture_of(spec).foreign}
    if foreign and choice.kind == "user":
        from relubench.models.external.activation_trial import try_activation

        with contextlib.redirect_stdout(sys.stderr):
            for spec in foreign.values():
                try_activation(spec, choice)


def settle(parts: Sequence[Part], device: Device, networks: Networks, note: Note) -> set[str]:
    """Check users' own code whose run ids are not known yet: they hold a digest of all that it brings in.

    The choices get their digests, and `networks` what was looked at; returns the labels of what was probed.
    """
    probed: set[str] = set()
    for part in parts:
        for place, choice in enumerate(part.choices):
            if choice.kind == "user" and choice.label not in probed and not is_checked(choice):
                probe_own(choice, note, _with(choice, parts))
                probed.add(choice.label)
            if choice.kind == "user":
                part.choices[place] = renewed(choice)
    _say_unseen(parts, note)
    if any(_is_unchecked(part.config.model.name) for part in parts):
        for part, spec in lay_out(parts, device):
            if _is_unchecked(spec.model):
                networks[_key(spec)] = _look_at([spec], part, [], note)
    return probed


def _say_unseen(parts: Sequence[Part], note: Note) -> None:
    """What of users' code is not part of a run's id, once for each activation."""
    for choice in {choice.label: choice for part in parts for choice in part.choices}.values():
        if choice.kind == "user":
            say_unseen(choice, "activation", note)


def _is_unchecked(model: str) -> bool:
    """Whether this is a network of the user's own that was never checked, or has changed since."""
    own = is_own(model) and not model.startswith(PREFIX)
    return own and not is_checked(choose_own(model, "network"), "network")


def check_own(
    parts: Sequence[Part], specs: Sequence[RunSpec], stored: Callable[[RunSpec], bool], probed: set[str], note: Note
) -> None:
    """Probe formulas and users' own activations, unless all their runs are stored: such a run passed before."""
    choices = {choice.label: choice for part in parts for choice in part.choices}
    for choice in choices.values():
        mine = [spec for spec in specs if spec.activation == choice.label]
        if choice.kind == "table" or (mine and all(stored(spec) for spec in mine)):
            continue
        if choice.label not in probed:
            probe_own(choice, note, _with(choice, parts))
        try_in_networks(choice, mine)


def _with(choice: Choice, parts: Sequence[Part]) -> list[Part]:
    """The parts that compare this activation."""
    return [part for part in parts if any(other.label == choice.label for other in part.choices)]


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
            import_layers(pretrained_file.read(user_path(part.config.pretrain.source)), spec, store)


Networks = dict[tuple[Any, ...], ForeignNetwork]
"""What was looked at, by model, data, batch and whatever else decides about a training step."""


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
    if not architecture_of(spec).foreign:
        return spec
    key = _key(spec)
    if key not in networks:
        # The layout is part of a run's id, and known only once the network was looked at.
        ids = [replace(one, layout=layout).id for one in company for layout in (None, "contiguous")]
        networks[key] = _look_at(company, part, [stored(one) for one in ids], note)
    network = networks[key]
    learned = next(choice.learned for choice in part.choices if choice.label == spec.activation)
    return replace(
        spec,
        foreign=network,
        layout=network.layout or None,
        parameters=network.parameters + learned * network.exchanged,
    )


def _key(spec: RunSpec) -> tuple[Any, ...]:
    """What decides about a training step of the network."""
    step = (spec.batch_size, spec.keep_act, spec.precision, spec.optimizer, spec.augment)
    return spec.model, spec.data_digest, *step


def _look_at(specs: Sequence[RunSpec], part: Part, stored: Sequence[RunResult | None], note: Note) -> ForeignNetwork:
    """What the network of these runs is, from a stored run of it or built once, and a note that says so."""
    known = next((one.spec["foreign"] for one in stored if one and one.spec.get("foreign")), None)
    network = ForeignNetwork.from_json(known) if known is not None else _built(specs[0], part, note)
    model = specs[0].model
    for line in _described(network, specs[0], part):
        note(f"{WARNING * line.startswith(WARNING)}{model}: {line.removeprefix(WARNING)}")
    if is_own(model) and not model.startswith(PREFIX):
        say_unseen(choose_own(model, "network"), "network", note)
    return network


def _described(network: ForeignNetwork, spec: RunSpec, part: Part) -> list[str]:
    """What was found, a line for each thing; warnings last."""
    plural = "" if network.exchanged == 1 else "s"
    parts = [f"{network.exchanged} activation{plural} exchanged ({network.functions})"]
    parts += [f"left as they are: {network.kept}"] if network.kept else []
    parts += ["the initial weights are its own", *([network.stem] if network.stem else [])]
    lines = ["; ".join(parts)]
    if network.places:
        again = next((place for place in network.places if "#" in place), "")
        called = f"; #{again.rpartition('#')[2]} is the second call there" if again.endswith("#2") else ""
        more = f", and {len(network.places) - PLACES} more" if len(network.places) > PLACES else ""
        lines.append(
            f"exchanged at {', '.join(network.places[:PLACES])}{more} (--keep-act PATH leaves one out{called})"
        )
    if network.merged:
        where = ", ".join(path or "forward" for path in network.merged[:PLACES])
        lines.append(f"the calls in {where} follow the size of the batch: they count as one place")
    if network.layout:
        lines.append(
            "it gets its images in PyTorch's usual (contiguous) layout, since it does not take channels-last ones"
        )
    if network.pairs and part.prepared.n_train % spec.batch_size == 1:
        lines.append(LEFT_OUT)
    return lines + [f"warning: {one}" for one in network.remarks]


def _built(spec: RunSpec, part: Part, note: Note) -> ForeignNetwork:
    from relubench.models.external.inspection import inspect_network

    def inspect() -> ForeignNetwork:
        return inspect_network(spec, part.choices[0])

    with contextlib.redirect_stdout(sys.stderr), _warned(spec.model, note):
        if spec.model.startswith(PREFIX):
            return inspect()
        return checked(choose_own(spec.model, "network"), "network", inspect)


@contextlib.contextmanager
def _warned(label: str, note: Note) -> Iterator[None]:
    """What is warned of inside is said once; the workers, which do the same again, are silent.

    A warning raised in a user's file is that file's: several activations may lie in it, and others import it.
    """
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            yield
    finally:
        for line in dict.fromkeys(f"{_whose(one, label)}: {one.category.__name__}: {one.message}" for one in caught):
            note(" ".join(line.split())[: len(label) + LONGEST_WARNING])


def _whose(warning: warnings.WarningMessage, label: str) -> str:
    """The place in a user's own code where a warning was raised; else `label`, for whose sake a library was called."""
    return f"{Path(warning.filename).name}, line {warning.lineno}" if is_users_file(warning.filename) else label


def remarks(part: Part) -> list[str]:
    """What was asked for that changes nothing, or hardly what was meant."""
    train, match, norm = part.config.train, part.config.model.match, part.config.model.norm
    found = []
    if norm == "batch" and part.prepared.n_train % train.batch_size == 1 and part.prepared.n_train > 1:
        found.append(f"--norm batch: {LEFT_OUT}")
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
