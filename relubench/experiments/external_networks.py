"""Networks that somebody else wrote: what is known of them from a stored run, or from building one once."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from relubench.activations.user import checked, resolve_user_object, say_unseen
from relubench.errors import WARNING
from relubench.experiments.caught_warnings import Note, warnings_as_notes
from relubench.experiments.variants import Part
from relubench.models.families import family_of
from relubench.runs.result import RunResult
from relubench.runs.spec import ExternalModel, RunSpec

PLACES = 6
"""Places that a line names; the others are counted."""

LEFT_OUT = (
    "an epoch's last batch would be one image, which batch normalisation cannot train on: it is left out, "
    "another one every epoch"
)


Networks = dict[tuple[Any, ...], ExternalModel]
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
    if not family_of(spec.model).can("external"):
        return spec
    key = network_key(spec)
    if key not in networks:
        # The layout is part of a run's id, and known only once the network was looked at.
        alike = [other_spec for other_spec in company if network_key(other_spec) == key]
        ids = [replace(other_spec, layout=layout).id for other_spec in alike for layout in (None, "contiguous")]
        networks[key] = examine_network(alike, part, [stored(run) for run in ids], note)
    network = networks[key]
    learned = next(choice.learned for choice in part.choices if choice.label == spec.activation)
    return replace(
        spec,
        foreign=network,
        layout=network.layout or None,
        parameters=network.parameters + learned * network.exchanged,
    )


def network_key(spec: RunSpec) -> tuple[Any, ...]:
    """What decides about a training step of the network; a gated activation changes the network itself."""
    step = (spec.batch_size, spec.keep_act, spec.precision, spec.optimizer, spec.augment)
    gated = (spec.activation, spec.match) if spec.match != "-" else ()
    return spec.model, spec.data_digest, *step, *gated


def examine_network(
    specs: Sequence[RunSpec], part: Part, stored: Sequence[RunResult | None], note: Note
) -> ExternalModel:
    """What the network of these runs is, from a stored run of it or built once, and a note that says so."""
    record = next((run.spec["foreign"] for run in stored if run and run.spec.get("foreign")), None)
    network = ExternalModel.from_json(record) if record is not None else _build_and_inspect(specs[0], part, note)
    model = specs[0].model
    for line in describe_network(network, specs[0], part):
        note(f"{WARNING * line.startswith(WARNING)}{model}: {line.removeprefix(WARNING)}")
    if family_of(model).can("user code"):
        say_unseen(resolve_user_object(model, "network"), "network", note)
    return network


def describe_network(network: ExternalModel, spec: RunSpec, part: Part) -> list[str]:
    """What was found, a line for each thing; warnings last."""
    if network.narrowed:
        places = "1 place" if network.exchanged == 1 else f"{network.exchanged} places"
        return [
            f"{spec.activation}: at {places} between linear layers, {network.narrowed} gated ones "
            f"({network.parameters:,} parameters); new weights are drawn as the network draws its own"
        ]
    plural = "" if network.exchanged == 1 else "s"
    phrases = [f"{network.exchanged} activation{plural} exchanged ({network.functions})"]
    phrases += [f"left as they are: {network.kept}"] if network.kept else []
    phrases += ["the initial weights are its own", *([network.stem] if network.stem else [])]
    lines = ["; ".join(phrases)]
    if network.places:
        second_call = next((place for place in network.places if "#" in place), "")
        explanation = (
            f"; #{second_call.rpartition('#')[2]} is the second call there" if second_call.endswith("#2") else ""
        )
        more = f", and {len(network.places) - PLACES} more" if len(network.places) > PLACES else ""
        lines.append(
            f"exchanged at {', '.join(network.places[:PLACES])}{more} (--keep-act PATH leaves one out{explanation})"
        )
    if network.merged:
        paths = ", ".join(path or "forward" for path in network.merged[:PLACES])
        lines.append(f"the number of calls in {paths} changes from batch to batch: they count as one place")
    if network.layout:
        lines.append(
            "it gets its images in PyTorch's usual (contiguous) layout, since it does not take channels-last ones"
        )
    if network.pairs and part.prepared.n_train % spec.batch_size == 1:
        lines.append(LEFT_OUT)
    return lines + [f"warning: {remark}" for remark in network.remarks]


def _build_and_inspect(spec: RunSpec, part: Part, note: Note) -> ExternalModel:
    from relubench.models.external.inspection import inspect_network

    def inspect() -> ExternalModel:
        choice = next((choice for choice in part.choices if choice.label == spec.activation), part.choices[0])
        return inspect_network(spec, choice)

    with contextlib.redirect_stdout(sys.stderr), warnings_as_notes(spec.model, note):
        if not family_of(spec.model).can("user code"):
            return inspect()
        return checked(resolve_user_object(spec.model, "network"), "network", inspect)
