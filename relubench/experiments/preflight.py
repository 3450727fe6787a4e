"""What is looked at before training: users' own activations and formulas, and networks that somebody else wrote.

Imports torch only where there is something to look at: a study with nothing left to compute does without.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence

from relubench.activations import ActivationChoice
from relubench.activations.user import checked, is_checked, renewed, resolve_user_object, say_unseen
from relubench.data import lines_about
from relubench.errors import WARNING, UsageError
from relubench.experiments.caught_warnings import Note, warnings_as_notes
from relubench.experiments.config import ExperimentConfig
from relubench.experiments.external_networks import LEFT_OUT, Networks, examine_network, network_key
from relubench.experiments.output_activation import remark_on_outputs
from relubench.experiments.plan import posed_task, requested_architecture
from relubench.experiments.same_functions import lines_about_twins
from relubench.experiments.variants import Part, lay_out
from relubench.models.architecture import Architecture, activation_frames, parse_model
from relubench.models.families import family_of
from relubench.models.norm_table import NORMS
from relubench.models.optimizer_table import OPTIMIZERS
from relubench.runs import pretrained_file
from relubench.runs.result import RunResult
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store
from relubench.system.device import Device
from relubench.system.paths import user_path
from relubench.training.pretraining.layers import import_layers
from relubench.training.probes.table import probes_of


def probe_own(choice: ActivationChoice, note: Note, parts: Sequence[Part] = ()) -> None:
    """Call a formula or a user's own activation once; UsageError if the study cannot use it, a note for what is odd.

    `parts`: those with it, whose layers it has to fit and whose initial weights may need its gain.
    """
    from relubench.activations import check_activation

    shapes = dict.fromkeys((_architecture(part), part.prepared.input_shape) for part in parts)
    layers = [frame for shape in shapes for frame in activation_frames(*shape)]
    # What a user's own code prints must not get between the rows.
    with contextlib.redirect_stdout(sys.stderr), warnings_as_notes(choice.label, note):
        is_users = choice.kind == "user"
        report = (
            checked(choice, "activation", lambda: check_activation(choice, layers))
            if is_users
            else check_activation(choice, layers)
        )
    if report.no_gain is not None:
        if any(
            part.config.model.init == "auto" and family_of(_architecture(part).name).can("initialisation")
            for part in parts
        ):
            raise UsageError(f"--init auto: {report.no_gain.message}", report.no_gain.hint)
        note(f"{choice.label}: {report.no_gain.message}; --init auto cannot be used with it")
    for warning in report.warnings:
        note(f"{WARNING}{choice.label}: {warning}")
    if report.likeness:
        note(f"{choice.label} {report.likeness}")


def _architecture(part: Part) -> Architecture:
    return requested_architecture(part.config.model, part.prepared.name)


def try_in_networks(choice: ActivationChoice, specs: Sequence[RunSpec]) -> None:
    """Take a training step through it in every network that somebody else wrote; UsageError where that fails."""
    external = {(spec.model, spec.input_shape): spec for spec in specs if family_of(spec.model).can("external")}
    if external and choice.kind == "user":
        from relubench.models.external.activation_trial import try_activation

        with contextlib.redirect_stdout(sys.stderr):
            for spec in external.values():
                try_activation(spec, choice)


def identify(parts: Sequence[Part], device: Device, networks: Networks, note: Note) -> set[str]:
    """Check users' own code whose run ids are not known yet: they hold a digest of all that it brings in.

    The choices get their digests, and `networks` what was looked at; returns the labels of what was probed.
    """
    probed: set[str] = set()
    for part in parts:
        for index, choice in enumerate(part.choices):
            if choice.kind == "user" and choice.label not in probed and not is_checked(choice):
                probe_own(choice, note, _with(choice, parts))
                probed.add(choice.label)
            if choice.kind == "user":
                part.choices[index] = renewed(choice)
    _say_unseen(parts, note)
    if any(_is_unchecked(part.config.model.name) for part in parts):
        for part, spec in lay_out(parts, device):
            if _is_unchecked(spec.model):
                networks[network_key(spec)] = examine_network([spec], part, [], note)
    return probed


def _say_unseen(parts: Sequence[Part], note: Note) -> None:
    """What of users' code is not part of a run's id, once for each activation."""
    for choice in {choice.label: choice for part in parts for choice in part.choices}.values():
        if choice.kind == "user":
            say_unseen(choice, "activation", note)


def _is_unchecked(model: str) -> bool:
    """Whether this is a network of the user's own that was never checked, or has changed since."""
    is_user_code = model != "auto" and family_of(parse_model(model).name).can("user code")
    return is_user_code and not is_checked(resolve_user_object(model, "network"), "network")


def check_own(
    parts: Sequence[Part], specs: Sequence[RunSpec], stored: Callable[[RunSpec], bool], probed: set[str], note: Note
) -> None:
    """Probe formulas and users' own activations, unless all their runs are stored: such a run passed before."""
    choices = {choice.label: choice for part in parts for choice in part.choices}
    for choice in choices.values():
        own_specs = [spec for spec in specs if spec.activation == choice.label]
        if all(kind.kind == "table" for kind in choice.alone) or (
            own_specs and all(stored(spec) for spec in own_specs)
        ):
            continue
        for kind in choice.alone:
            if kind.kind != "table" and kind.label not in probed:
                probe_own(kind, note, _with(choice, parts))
                probed.add(kind.label)
        try_in_networks(choice, own_specs)


def _with(choice: ActivationChoice, parts: Sequence[Part]) -> list[Part]:
    """The parts that compare this activation."""
    return [part for part in parts if any(part_choice.label == choice.label for part_choice in part.choices)]


def check_probes(runs: Sequence[tuple[Part, RunSpec]], note: Note) -> None:
    """Raises UsageError where a variant asks for a probe by name that can be done for none of its networks."""
    for part in {id(part): part for part, _ in runs}.values():
        choice = part.config.train.probe
        specs = [spec for own_part, spec in runs if own_part is part]
        for name, row in probes_of(choice).items():
            reasons = [row.why_not(spec) for spec in specs]
            remarks_on_probe = list(dict.fromkeys(reason for reason in reasons if reason is not None))
            if choice == name and None not in reasons:
                raise UsageError(f"{row.rule}: {', '.join(remarks_on_probe)}", f"for example {row.example}")
            for reason in remarks_on_probe if row.lacking else ():
                note(f"{row.lacking}: {reason}")


def import_stacks(runs: Sequence[tuple[Part, RunSpec]], store: Store) -> None:
    """Put the pre-trained stacks that are read from files into the store, for the runs that start from them."""
    for part, spec in runs:
        if part.config.pretrain.source is not None and spec.stack is not None and spec.stack.source:
            import_layers(pretrained_file.read(user_path(part.config.pretrain.source)), spec, store)


def say_remarks(parts: Sequence[Part], note: Note) -> None:
    """Notes each remark on the data and on the settings once."""
    for line in dict.fromkeys(line for part in parts for line in [*lines_about([part.prepared]), *remarks(part)]):
        note(line)


def remarks(part: Part) -> list[str]:
    """What was asked for that changes nothing, or hardly what was meant."""
    train, match, norm = part.config.train, part.config.model.match, part.config.model.norm
    lines = lines_about_twins(part.choices)
    if NORMS[norm].over_batch and part.prepared.n_train % train.batch_size == 1 and part.prepared.n_train > 1:
        lines.append(f"--norm {norm}: {LEFT_OUT}")
    if match == "width" and not any(choice.inputs_per_unit > 1 for choice in part.choices):
        lines.append("--match width changes nothing here: none of the activations is gated")
    if train.batch_size > part.prepared.n_train:
        images = f"{part.prepared.n_train:,} training images"
        lines.append(f"batches of {train.batch_size:,}: {part.prepared.name} has {images}, so a step takes them all")
    if line := remark_on_outputs(part.config.model, posed_task(part.config.model, part.prepared)):
        lines.append(line)
    rate = OPTIMIZERS[train.optimizer].rate
    if "lr" not in train.model_fields_set and train.lr != "auto" and train.lr > rate:
        lines.append(
            f"lr {train.lr:g} is the paper's for sgd, and large for {train.optimizer}: try --lr {rate:g} or --lr auto"
        )
    return lines


def other_weights(store: Store, stored: Sequence[RunResult], config: ExperimentConfig) -> str:
    """A line about stored runs without the weights that were asked for; empty if they have them, or nobody asked."""
    if "keep" not in config.model_fields_set or config.keep == "none":
        return ""
    tested = [result.id for result in stored if result.test_score is not None]
    lacking = sum(store.kept(run) != config.keep for run in tested)
    runs = f"{lacking} stored run{'s' if lacking != 1 else ''}"
    return f"{runs} kept other weights than --keep {config.keep}: --no-cache trains again" if lacking else ""
