"""From an experiment to its runs: a RunSpec holds all that may change its numbers, and so names its run. Torch-free."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from relubench import stack_file
from relubench.activations import Choice
from relubench.architecture import (
    Architecture,
    check_input,
    default_model,
    matched,
    parameter_count,
    parse_model,
)
from relubench.config import ExperimentConfig, experiment
from relubench.data import PreparedData
from relubench.data.prepared import image_range
from relubench.device import Device
from relubench.errors import UsageError
from relubench.stack import FROM_FILE, SHUFFLED, StackSpec, stack_spec
from relubench.version import ENGINE_VERSION

LR_GRIDS = {"sgd": (0.1, 0.01, 0.001, 0.0001), "adam": (0.01, 0.001, 0.0001), "adamw": (0.01, 0.001, 0.0001)}
"""Learning rates that --lr auto tries; for sgd the paper's own (Glorot et al. 2011, section 4.1)."""

TUNING_SEED = 2**31 - 1
"""The seed of the tuning runs: none that --seeds N reports."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSpec:
    """One network to train, fully resolved. Fields marked as notes are printed and do not enter the run's id."""

    activation: str
    """The canonical label; `select([label])` gives the activation back."""
    activation_digest: str | None
    """SHA-256 of a user's own source file."""
    dataset: str
    data_digest: str
    augment: str
    input_shape: tuple[int, ...]
    classes: int
    model: str
    channels: tuple[int, ...]
    hidden: tuple[int, ...]
    """Units after the activation, of each dense hidden layer."""
    match: str
    """'-' for a plain activation."""
    init: str
    norm: str
    dropout: float
    sign_flip: bool
    optimizer: str
    lr: float
    momentum: float
    weight_decay: float
    batch_size: int
    epochs: int
    schedule: str
    warmup_epochs: float
    patience: int | None
    l1: float
    precision: str
    pretraining: str = "none"
    """The row's name: none, rbm, dae, or one of them with -shuffled behind it (the control)."""
    stack: StackSpec | None = None
    """How the hidden layers were pre-trained; None: not at all."""
    seed: int
    device: str
    device_name: str
    threads: int
    """Processor threads a network is trained with: they change the last bits of a sum. 0 on other devices."""
    torch: str
    engine: int = ENGINE_VERSION
    protocol: str = field(metadata={"note": True})
    departures: tuple[str, ...] = field(metadata={"note": True})
    """What was set otherwise than the protocol has it, e.g. 'momentum 0.9'."""
    train_size: int | None = field(metadata={"note": True})
    """Training images asked for; None: all of them. The data's digest tells them apart."""
    parameters: int = field(metadata={"note": True})

    @property
    def id(self) -> str:
        """16 hexadecimal digits of the SHA-256 over every field that is not a note."""
        notes = {one.name for one in fields(self) if one.metadata.get("note")}
        facts = {key: value for key, value in asdict(self).items() if key not in notes}
        if self.stack is None:
            # So that a run without pre-training keeps the id that it had before there was any.
            del facts["stack"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def architecture(self) -> Architecture:
        return Architecture(name=self.model, channels=self.channels, hidden=self.hidden)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunSpec:
        shapes = {key: tuple(values[key]) for key in ("input_shape", "channels", "hidden", "departures")}
        stack = values.get("stack")
        return cls(**{**values, **shapes, "stack": StackSpec.from_json(stack) if stack else None})


def rows(config: ExperimentConfig, choices: Sequence[Choice]) -> list[tuple[Choice, str]]:
    """What is compared: every activation with every way of pre-training, activations outermost."""
    methods = [
        name
        for method in config.pretrain.methods
        for name in ([method, method + SHUFFLED] if config.pretrain.control and method != "none" else [method])
    ]
    return [(choice, method) for choice in choices for method in methods]


def expand(
    config: ExperimentConfig, choices: Sequence[Choice], prepared: PreparedData, device: Device, lr: Sequence[float]
) -> list[RunSpec]:
    """One RunSpec for each row and seed, rows outermost; `lr` holds one learning rate a row.

    On a processor a lone run takes every thread and several runs take one thread each, so the number asked for (not the
    number still to do) decides, and the same command always takes the same path.
    """
    check_precision(config.train.precision, device.kind)
    arch = parse_model(config.model.name if config.model.name != "auto" else default_model(prepared.name))
    check_input(arch, prepared.input_shape, prepared.name)
    if config.data.augment != "none" and not arch.channels:
        raise UsageError(
            f"--augment {config.data.augment} needs a convolutional network, not {arch.name}", "add --model cnn"
        )
    compared = rows(config, choices)
    check_stack(config, arch)
    lone = len(compared) * len(config.seeds) == 1
    threads = 0 if device.kind != "cpu" else device.threads if lone else 1
    return [
        replace(spec, seed=seed)
        for (choice, method), rate in zip(compared, lr, strict=True)
        for spec in [_resolve(config, choice, prepared, device, arch, rate, threads)]
        for spec in [_pretrained(spec, method, config, choice, prepared)]
        for seed in config.seeds
    ]


def departures(config: ExperimentConfig) -> tuple[str, ...]:
    """Whatever is set otherwise than the protocol has it, the learning rate and the initialisation aside.

    Those two have columns of their own, and so have what is compared: activations, data set, model and seeds.
    """
    standard = experiment({"train": {"protocol": config.train.protocol, "epochs": config.train.epochs}})
    usual_epochs = experiment({"train": {"protocol": config.train.protocol}}).train.epochs
    found: list[str] = []
    for mine, usual in ((config.train, standard.train), (config.model, standard.model), (config.data, standard.data)):
        for key in type(mine).model_fields:
            value = getattr(mine, key)
            if key not in ("name", "lr", "init", "match", "protocol") and value != getattr(usual, key):
                found.append(_spoken(key, value))
    if config.train.epochs != usual_epochs:
        found.append(f"{config.train.epochs} epoch{'s' if config.train.epochs > 1 else ''}")
    return tuple(found)


def _spoken(key: str, value: object) -> str:
    """A setting in words: 'sign flip', 'no momentum', 'batch size 64', '500 training images'."""
    if key == "train_size":
        return f"{value} training images"
    words = {"l1": "L1"}.get(key, key.replace("_", " "))
    if value is True:
        return words
    return (
        f"no {words}"
        if value in (0, None, "none")
        else f"{words} {value:g}"
        if isinstance(value, float)
        else f"{words} {value}"
    )


def check_precision(precision: str, device: str) -> None:
    """Raises UsageError where the device has no such arithmetic."""
    if precision == "tf32" and device != "cuda":
        raise UsageError(f"--precision tf32 exists on cuda only, not on {device}", "use --precision fp32 or bf16")


def check_stack(config: ExperimentConfig, arch: Architecture) -> None:
    """Raises UsageError where the network has layers that cannot be pre-trained."""
    if set(config.pretrain.methods) == {"none"}:
        return
    if arch.channels:
        raise UsageError(
            f"--model {arch.name} has convolutions: only dense layers are pre-trained", "use --model mlp-3x1000"
        )
    if config.model.norm != "none":
        raise UsageError(
            f"--norm {config.model.norm} stands between weights and activation: such a layer is not pre-trained",
            "leave --norm out, or pre-train with --method none",
        )


def _pretrained(
    spec: RunSpec, method: str, config: ExperimentConfig, choice: Choice, prepared: PreparedData
) -> RunSpec:
    if method == "none":
        return spec
    if method.removesuffix(SHUFFLED) == FROM_FILE:
        assert config.pretrain.source is not None
        file = stack_file.read(Path(config.pretrain.source))
        stack_file.check_fit(file, spec.input_shape, spec.hidden, choice.columns)
        return replace(spec, pretraining=method, stack=replace(file.spec, shuffled=method.endswith(SHUFFLED)))
    low, high = image_range(prepared)
    stack = stack_spec(
        method, config.pretrain, choice, layers=len(spec.hidden), batch_size=spec.batch_size, low=low, high=high
    )
    return replace(spec, pretraining=method, stack=stack)


def _resolve(
    config: ExperimentConfig,
    choice: Choice,
    prepared: PreparedData,
    device: Device,
    arch: Architecture,
    lr: float,
    threads: int,
) -> RunSpec:
    shape = {"columns": choice.columns, "learned": choice.learned, "norm": config.model.norm}
    gated = choice.columns > 1
    if gated and config.model.match == "parameters":
        arch = matched(arch, prepared.input_shape, prepared.classes, **shape)
    return RunSpec(
        activation=choice.label,
        activation_digest=choice.source_digest,
        dataset=prepared.name,
        data_digest=prepared.digest,
        augment=config.data.augment,
        input_shape=prepared.input_shape,
        classes=prepared.classes,
        model=arch.name,
        channels=arch.channels,
        hidden=arch.hidden,
        match=config.model.match if gated else "-",
        init=config.model.init,
        norm=config.model.norm,
        dropout=config.model.dropout,
        sign_flip=config.model.sign_flip,
        lr=lr,
        seed=0,
        device=device.kind,
        device_name=device.name,
        threads=threads,
        torch=device.torch,
        parameters=parameter_count(arch, prepared.input_shape, prepared.classes, **shape),
        departures=departures(config),
        train_size=config.data.train_size,
        **config.train.model_dump(exclude={"lr"}),
    )
