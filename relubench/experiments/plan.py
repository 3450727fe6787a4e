"""From an experiment to its runs: a RunSpec holds all that may change its numbers, and so names its run. Torch-free."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from relubench.activations import ACTIVATIONS, ActivationChoice, select
from relubench.data import DataOptions, PreparedData
from relubench.data.prepared import image_range
from relubench.errors import UsageError
from relubench.experiments.backend_choice import with_backends
from relubench.experiments.compatibility import check_exchange, check_family, check_precision, check_stack, check_task
from relubench.experiments.config import MAX_SEED, ExperimentConfig
from relubench.experiments.deviations import deviations
from relubench.experiments.output_activation import check_targets, output_activation
from relubench.experiments.outside_rows import rows_of, source_digest
from relubench.experiments.pretraining_plan import stack_spec
from relubench.experiments.sections import DataSection, ModelSection
from relubench.models.architecture import (
    Architecture,
    architecture_of,
    check_input,
    default_model,
    hidden_units,
    matched,
    multiplications,
    parameter_count,
    parse_model,
    with_ffn,
    with_heads,
)
from relubench.models.families import family_of
from relubench.models.mixture import PLAIN, mixture_of
from relubench.runs import pretrained_file
from relubench.runs.spec import FROM_FILE, SHUFFLED, RunSpec
from relubench.runs.task import Task, task_called
from relubench.system.device import Device

NOT_OF_A_RUN = ("lr", "lr_grid", "lr_seeds", "l1", "l1_pairs", "backend")
"""Keys of `train` that a run does not take over as they are: `lr`, `l1` and `backend` are resolved, others say how."""

SHARED_PRODUCTS = 1_000_000
"""Products in a step, one for each weight and sample, from which on several threads share them."""

PAPER_L1_DIVISOR = 30.0
"""What the paper's L1 coefficient seems to be divided by; see `l1_of_sum`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One configuration of a study; a study of several prints them in one table."""

    config: ExperimentConfig
    label: str = ""
    """Tells its rows from those of the other variants."""
    as_published: frozenset[str] = frozenset()
    """Keys whose setting is the reference's own, though the protocol has another: no departure from it."""


def data_options(section: DataSection) -> DataOptions:
    """What a configuration sets of its data set."""
    return DataOptions(
        image_size=section.image_size,
        train_size=section.train_size,
        split=section.split,
        labels=section.labels,
        target=section.target,
        ignore=section.ignore,
        task=section.task,
        context=section.context,
    )


def rows(config: ExperimentConfig, choices: Sequence[ActivationChoice]) -> list[tuple[ActivationChoice, str]]:
    """What is compared: every activation with every way of pre-training, activations outermost."""
    methods = [
        name
        for method in config.pretrain.methods
        for name in ([method, method + SHUFFLED] if config.pretrain.control and method != "none" else [method])
    ]
    return [(choice, method) for choice in choices for method in methods]


def expand(
    config: ExperimentConfig,
    choices: Sequence[ActivationChoice],
    prepared: PreparedData,
    device: Device,
    lr: Sequence[float],
    *,
    lone: bool | None = None,
) -> list[RunSpec]:
    """One RunSpec for each row, L1 strength and seed, rows outermost; `lr` holds one learning rate a row.

    On a processor a lone run takes every thread (unless it is `too_small_to_share`) and several runs take one thread
    each, so the number asked for (not the number still to do) decides, and the same command always takes the same path.
    `lone`: whether the whole study is one run; by default that is decided by these choices and seeds.
    """
    check_precision(config.train.precision, device.kind)
    arch = requested_architecture(config.model, prepared.name)
    check_task(config, prepared, arch)
    check_input(arch, prepared.input_shape, prepared.name)
    arch = with_heads(arch, config.model.heads)
    check_family(config, choices, arch)
    check_exchange(config, choices, arch)
    check_targets(posed_task(config.model, prepared), prepared)
    if config.data.augment != "none" and not (family_of(arch.name).can("images") and len(prepared.input_shape) == 3):
        raise UsageError(
            f"--augment {config.data.augment} needs a convolutional network, not {arch.name}", "add --model cnn"
        )
    pairs, compared_rows = strengths_and_seeds(config), rows(config, choices)
    check_stack(config, choices, arch)
    lone = len(compared_rows) * len(pairs) == 1 if lone is None else lone
    threads = 0 if not device.is_processor else device.threads if lone else 1
    return [
        replace(spec, seed=seed, l1=l1_of_sum(l1, spec), l1_asked=l1)
        for (choice, method), rate in zip(compared_rows, lr, strict=True)
        for spec in [_resolve(config, choice, prepared, device, arch, rate, threads)]
        for spec in [replace(spec, threads=1) if threads and too_small_to_share(spec) else spec]
        for spec in [_pretrained(spec, method, config, choice, prepared)]
        for spec in [with_backends(spec, choice, config.train.backend, device, prepared)]
        for l1, seed in pairs
    ]


def requested_architecture(model: ModelSection, dataset: str) -> Architecture:
    """The shape of the network that a configuration asks for, before it is narrowed for a gated activation."""
    arch = with_ffn(parse_model(model.name if model.name != "auto" else default_model(dataset)), model.ffn)
    return replace(arch, latent=model.latent or family_of(arch.name).latent, act_in=model.act_in)


def posed_task(model: ModelSection, prepared: PreparedData) -> Task:
    """The task of the network: its family's own, else the data set's."""
    arch = requested_architecture(model, prepared.name)
    return task_called(family_of(arch.name).task or prepared.task)


def too_small_to_share(spec: RunSpec) -> bool:
    """Whether a step is over before several threads have agreed on their parts of it, and one is faster.

    So it is for the digits' network in batches of 10 (420,000 products), no longer in batches of 32; and threads that
    have to wait for a core hold each other up at every product.
    """
    return not family_of(spec.model).can("images") and spec.batch_size * multiplications(spec, 1) < SHARED_PRODUCTS


def tuning_seeds(config: ExperimentConfig) -> tuple[int, ...]:
    """The seeds of the tuning runs, from the highest down: none that is reported."""
    free = (seed for seed in range(MAX_SEED, -1, -1) if seed not in config.seeds)
    return tuple(itertools.islice(free, config.train.lr_seeds))


def l1_of_sum(strength: float, spec: RunSpec) -> float:
    """The coefficient of sum |h| over a layer's units that `strength` is under the network's `l1_scale`.

    sum: itself. mean: over the units of a hidden layer, of which there are as many as its layers have on average.
    paper: a thirtieth, at which the paper's 0.001 gives about the 83.4 % of zeros that it reports (83.9 % over three
    seeds, 82.6 to 85.5; benchmarks/results/train-mnist-relu-paper-l1.txt); it does not state
    its scaling (Glorot et al. 2011, section 4.1), and 30 is what a mean over its batch of 10 and 3 layers would be.
    """
    if spec.l1_scale == "paper":
        return strength / PAPER_L1_DIVISOR
    if spec.l1_scale == "mean":
        units = hidden_units(architecture_of(spec), spec.input_shape)
        return strength * len(units) / sum(units)
    return strength


def strengths_and_seeds(config: ExperimentConfig) -> list[tuple[float, int]]:
    """The L1 strength and the seed of each network of an activation."""
    if config.train.l1_pairs:
        return list(zip(config.train.strengths, config.seeds, strict=True))
    return [(l1, seed) for l1 in dict.fromkeys(config.train.strengths) for seed in config.seeds]


def _pretrained(
    spec: RunSpec, method: str, config: ExperimentConfig, choice: ActivationChoice, prepared: PreparedData
) -> RunSpec:
    if method == "none":
        return spec
    if method.removesuffix(SHUFFLED) == FROM_FILE:
        assert config.pretrain.source is not None
        file = pretrained_file.read(Path(config.pretrain.source))
        pretrained_file.check_fit(file, spec.input_shape, spec.hidden, choice.inputs_per_unit)
        return replace(spec, pretraining=method, stack=replace(file.spec, shuffled=method.endswith(SHUFFLED)))
    low, high = image_range(prepared)
    stack = stack_spec(
        method, config.pretrain, choice, layers=len(spec.hidden), batch_size=spec.batch_size, low=low, high=high
    )
    return replace(spec, pretraining=method, stack=stack, images_digest=prepared.images_digest)


def _resolve(
    config: ExperimentConfig,
    choice: ActivationChoice,
    prepared: PreparedData,
    device: Device,
    arch: Architecture,
    lr: float,
    threads: int,
) -> RunSpec:
    """The run of this activation with seed 0, without an L1 penalty and without pre-training."""
    task = posed_task(config.model, prepared)
    outputs = math.prod(prepared.input_shape) if task.reconstructs else prepared.classes
    activation = {"inputs_per_unit": choice.inputs_per_unit, "learned": choice.learned_in, "norm": config.model.norm}
    family = family_of(arch.name)
    if choice.inputs_per_unit > 1 and config.model.match == "parameters" and not family.can("external"):
        arch = matched(arch, prepared.input_shape, outputs, **activation)
    count = 0 if family.can("external") else parameter_count(arch, prepared.input_shape, outputs, **activation)
    spec = RunSpec(
        activation=choice.label,
        activation_digest=choice.source_digest,
        lr=lr,
        seed=0,
        device=device.kind,
        device_name=device.name,
        threads=threads,
        torch=device.torch,
        parameters=count,
        departures=deviations(config),
        l1=0.0,
        l1_asked=0.0,
        task=task.name,
        classes=outputs,
        output_act=output_activation(config.model, task, prepared),
        **_data_fields(config, prepared),
        **_model_fields(config, choice, arch),
        **{**config.train.model_dump(exclude=set(NOT_OF_A_RUN)), **({} if family.can("probes") else {"probe": "none"})},
    )
    spec = _of_choice(spec, choice)
    return replace(spec, parts_digest=source_digest(rows_of(spec)))


def _of_choice(spec: RunSpec, choice: ActivationChoice) -> RunSpec:
    """The run without what means nothing to its activation: a rate for what it learns, an exchange for itself."""
    later = select([spec.exchange])[0].label if spec.exchange else choice.label
    act_lr = spec.act_lr if choice.may_learn else None
    return replace(spec, act_lr=act_lr, exchange=later if later != choice.label else None)


def _data_fields(config: ExperimentConfig, prepared: PreparedData) -> dict[str, Any]:
    """The fields of a RunSpec that the data set decides."""
    return {
        "dataset": prepared.name,
        "data_digest": prepared.digest,
        "augment": config.data.augment,
        "input_shape": prepared.input_shape,
        "train_size": config.data.train_size,
        "labels": config.data.labels,
        "split": config.data.split,
        "target": config.data.target,
    }


def _model_fields(config: ExperimentConfig, choice: ActivationChoice, arch: Architecture) -> dict[str, Any]:
    """The fields of a RunSpec that the network decides."""
    model = config.model
    return {
        "model": arch.name,
        "model_digest": family_of(arch.name).digest(arch.name),
        "keep_act": model.keep_act or None,
        "channels": arch.channels,
        "hidden": arch.hidden,
        "latent": arch.latent,
        "act_in": arch.act_in,
        "heads": arch.heads,
        "balance": model.balance if mixture_of(arch.name) is not PLAIN else 0.0,
        "match": model.match if choice.inputs_per_unit > 1 else "-",
        "init": _init(model, choice) if family_of(arch.name).can("initialisation") else "own",
        "norm": model.norm,
        "dropout": model.dropout,
        "dropout_kind": model.dropout_kind,
        "sign_flip": model.sign_flip,
    }


def _init(model: ModelSection, choice: ActivationChoice) -> str:
    """The rule for initial weights: the activation's own where it has one and the user names no other."""
    is_named = "init" in model.model_fields_set and model.init != "auto"
    row = ACTIVATIONS.get(choice.name) if choice.kind == "table" else None
    return row.init if row is not None and row.init and not is_named else model.init
