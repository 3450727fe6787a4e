"""What a network, a device or an activation cannot do, refused before any work. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from relubench.activations import ACTIVATIONS, ActivationChoice, select
from relubench.activations.row import PER, UNIT
from relubench.data import PreparedData
from relubench.errors import UsageError
from relubench.experiments.config import ExperimentConfig
from relubench.models.families import family_of
from relubench.models.family import Ability, Architecture, Family
from relubench.models.norm_table import NORMS
from relubench.models.optimizer_table import OPTIMIZERS
from relubench.system.device_kinds import DEVICES


def check_family(config: ExperimentConfig, choices: Sequence[ActivationChoice], arch: Architecture) -> None:
    """Raises UsageError for what means nothing to networks of this family."""
    family, model = family_of(arch.name), config.model
    if model.init == "own" and family.can("initialisation"):
        raise UsageError(
            f"--init own belongs to networks of torchvision and your own, not to {arch.name}",
            "use auto, xavier, he, lecun, uniform or siren",
        )
    if model.keep_act and not family.can("external"):
        raise UsageError(
            f"--keep-act {model.keep_act[0]} belongs to networks of torchvision and your own, not to {arch.name}",
            "leave it out: here every hidden layer has the activation",
        )
    if not family.latent and (model.latent is not None or model.act_in != "both"):
        option = f"--latent {model.latent}" if model.latent is not None else f"--act-in {model.act_in}"
        raise UsageError(
            f"{option} belongs to autoencoders, not to {arch.name}", "leave it out, or use --model vae-2x400"
        )
    for choice in choices:
        if choice.inputs_per_unit > 1 and not family.can("gated"):
            raise UsageError(
                f"{choice.label} is gated: it needs {choice.inputs_per_unit} pre-activations a unit, which the layers "
                f"of {arch.name} do not give",
                "leave it out, or compare gated activations on an mlp or the cnn",
            )
    _check_learned(config, choices, family)
    _check_mixes(choices, arch)
    for option in _meaningless_options(config, family):
        reason = (
            "its layers and initial weights are its own" if family.can("external") else "its layers have no such thing"
        )
        raise UsageError(f"{option} means nothing to {arch.name}: {reason}", "leave it out; an mlp or the cnn takes it")
    if family.can("attention") and NORMS[model.norm].target and not NORMS[model.norm].stream_target:
        names = " or ".join(name for name, row in NORMS.items() if row.stream_target)
        raise UsageError(f"--norm {model.norm} does not fit {arch.name}", f"use --norm {names}")
    if NORMS[model.norm].over_batch and arch.hidden and config.train.batch_size == 1:
        raise UsageError(
            f"--norm {model.norm} cannot train on batches of one image: a single value has no spread",
            "use --batch-size 2 or more, or --norm layer",
        )


def check_exchange(config: ExperimentConfig, choices: Sequence[ActivationChoice], arch: Architecture) -> None:
    """Raises UsageError where another activation cannot take over for the last tenth of the epochs."""
    label, train = config.train.exchange, config.train
    if label is None:
        return
    later = select([label])
    simple = [choice for choice in (*choices, *later) if _has_state(choice)]
    for is_wrong, reason, hint in (
        (len(later) != 1, "names several activations", "name one, such as relu"),
        (
            bool(simple),
            f"{simple[0].label if simple else ''} learns, draws, is gated or your own",
            "use relu, silu, gelu",
        ),
        (family_of(arch.name).can("external"), f"the layers of {arch.name} are somebody else's", "use an mlp or a vit"),
        (train.epochs < 2, "needs an epoch on either side, and there is one", "use --epochs 10 or more"),
        (train.patience is not None, "does not go with train.patience", "leave train.patience out"),
    ):
        if is_wrong:
            raise UsageError(f"train.exchange={label}: {reason}", hint)


def _has_state(choice: ActivationChoice) -> bool:
    """Whether an activation has more to it than a function of one value."""
    noisy = any(part.kind == "table" and ACTIVATIONS[part.name].noisy for part in choice.alone)
    return bool(choice.may_learn or noisy or choice.inputs_per_unit > 1 or choice.layers)


def _check_learned(config: ExperimentConfig, choices: Sequence[ActivationChoice], family: Family) -> None:
    """Raises UsageError for a rate that nothing has, and for learned numbers a unit where units are not known."""
    rate, optimizer = config.train.act_lr, config.train.optimizer
    if rate is not None and not any(choice.may_learn for choice in choices):
        labels = ", ".join(choice.label for choice in choices)
        raise UsageError(
            f"train.act_lr={rate:g} is the rate of what activations learn, and none of {labels} learns anything",
            "leave it out, or add an activation with learned parameters, such as prelu",
        )
    if rate is not None and not OPTIMIZERS[optimizer].learned_rate:
        raise UsageError(f"the optimizer {optimizer} has one learning rate for all: no train.act_lr", "leave it out")
    for choice in choices:
        if choice.per_unit and family.can("external"):
            raise UsageError(
                f"{choice.label}: which dimension holds the units of a network that somebody else wrote is not known",
                f"leave {PER}={UNIT} out: each layer then has one learned number of each kind",
            )


def _check_mixes(choices: Sequence[ActivationChoice], arch: Architecture) -> None:
    """Raises UsageError for a mix that does not have an activation for each hidden layer of the network."""
    num_layers = len(arch.channels) + len(arch.hidden)
    for choice in choices:
        if not choice.layers:
            continue
        if family_of(arch.name).can("external"):
            raise UsageError(
                f"{choice.label} has an activation for each layer, and the layers of {arch.name} are not the package's",
                "use an mlp, resmlp, cnn, transformer or vit",
            )
        if arch.act_in != "both":
            raise UsageError(f"{choice.label} and --act-in {arch.act_in} exclude each other", "leave --act-in out")
        if len(choice.layers) != num_layers:
            example = f"relu*{num_layers - 1},gelu" if num_layers > 1 else "relu"
            raise UsageError(
                f"{choice.label} has activations for {len(choice.layers)} layers, and {arch.name} has {num_layers}",
                f"the numbers must add up to {num_layers}, for example --act-by-layer {example}",
            )


def check_task(config: ExperimentConfig, prepared: PreparedData, arch: Architecture) -> None:
    """Raises UsageError for a text and a network that reads none, and for a text's options that mean nothing to it."""
    is_text, reads_texts = prepared.context is not None, family_of(arch.name).can("text")
    if is_text and not reads_texts:
        raise UsageError(
            f"{prepared.name} is a text, and --model {arch.name} reads none",
            "use a Transformer, for example --model transformer-2x64",
        )
    if reads_texts and not is_text:
        shape = "x".join(str(side) for side in prepared.input_shape)
        kind = "images" if len(prepared.input_shape) == 3 else "rows"
        raise UsageError(
            f"--model {arch.name} reads texts, and {prepared.name} has {kind} of {shape}",
            "use --dataset docs or a file ./text.txt of your own, or another --model, such as an mlp",
        )
    if is_text and any(config.data.test_noise):
        raise UsageError("data.test_noise is for images: characters take no noise", "leave data.test_noise out")


def _meaningless_options(config: ExperimentConfig, family: Family) -> list[str]:
    """The options of this configuration that its family of networks does not know, as they are typed."""
    model, l1 = config.model, max(config.train.strengths)
    # A default of the protocol is not a wish of the user's.
    probe = config.train.probe if "probe" in config.train.model_fields_set else "none"
    init = model.init if "init" in model.model_fields_set else "own"
    options: list[tuple[str, bool, Ability]] = [
        (f"--init {init}", init not in ("own", "auto"), "initialisation"),
        (f"--norm {model.norm}", bool(NORMS[model.norm].target), "normalisation"),
        (f"--dropout {model.dropout:g}", model.dropout > 0, "dropout"),
        ("--sign-flip", model.sign_flip, "sign flip"),
        (f"train.l1={l1:g}", l1 > 0, "l1"),
        (f"--probe {probe}", probe != "none", "probes"),
    ]
    return [option for option, is_set, ability in options if is_set and not family.can(ability)]


def check_precision(precision: str, device: str) -> None:
    """Raises UsageError where the device has no such arithmetic."""
    if precision not in DEVICES[device].precisions:
        kinds = " and ".join(kind for kind, row in DEVICES.items() if precision in row.precisions)
        raise UsageError(
            f"--precision {precision} exists on {kinds} only, not on {device}",
            f"use --precision {' or '.join(DEVICES[device].precisions)}",
        )


def check_stack(config: ExperimentConfig, choices: Sequence[ActivationChoice], arch: Architecture) -> None:
    """Raises UsageError where the network has layers that cannot be pre-trained."""
    if set(config.pretrain.methods) == {"none"}:
        return
    if not family_of(arch.name).can("pretraining"):
        raise UsageError(
            f"--model {arch.name}: only the layers of a plain mlp are pre-trained", "use --model mlp-3x1000"
        )
    if mixes := [choice.label for choice in choices if choice.layers]:
        raise UsageError(f"{mixes[0]}: layers of several activations are not pre-trained", "use one activation")
    if NORMS[config.model.norm].target:
        raise UsageError(
            f"--norm {config.model.norm} stands between weights and activation: such a layer is not pre-trained",
            "leave --norm out, or pre-train with --method none",
        )
