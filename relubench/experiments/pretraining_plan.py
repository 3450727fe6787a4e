"""How a network's hidden layers are pre-trained, one after the other: all that a stack of them depends on. Torch-free.

A network is pre-trained bottom up. Layer n learns, without labels, to explain what the finished layers below it make of
the images: as a restricted Boltzmann machine (rbm) or as a denoising autoencoder (dae).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from relubench.activations import ActivationChoice
from relubench.errors import UsageError, with_article
from relubench.experiments.sections import PretrainSection
from relubench.runs.spec import SHUFFLED, PretrainingSpec
from relubench.version import PRETRAINING_VERSION

PRETRAIN_DEFAULTS: dict[str, Any] = {
    "act": ("sigmoid", "tanh", "relu", "softplus"),
    "pretrain": {"methods": ("none", "rbm")},
}
"""What `pretrain` compares unless something else is asked for: all of them have an RBM."""

RBM_HIDDEN = {"sigmoid": "bernoulli", "tanh": "bipolar", "relu": "nrelu", "nrelu": "nrelu", "softplus": "stepped"}
"""Activation -> the hidden units of an RBM whose mean it is (Nair & Hinton 2010 for the last two)."""

RBM_NEXT = {"bernoulli": "bernoulli", "bipolar": "bipolar", "nrelu": "gaussian", "stepped": "gaussian"}
"""Hidden units -> what they are as the visible units of the layer above."""

DAE_ABOVE = {"sigmoid": "cross-entropy", "tanh": "cross-entropy"}
DAE_ABOVE |= dict.fromkeys(("relu", "nrelu", "softplus", "relu6"), "softplus")
"""Activation -> how its codes are reconstructed (Glorot et al. 2011, sections 3.2 and 4.1); any other one: linear."""

CODES_IN_BOUNDS = ("sigmoid", "tanh")
"""Activations whose codes cross-entropy takes as they are."""

BOUNDED = ("cross-entropy", "scaled", "softplus", "rectifier")
"""Reconstructions that cannot reach every number."""


def stack_spec(
    method: str,
    config: PretrainSection,
    choice: ActivationChoice,
    *,
    layers: int,
    batch_size: int,
    low: float,
    high: float,
) -> PretrainingSpec:
    """The stack of `layers` hidden layers that `method` (rbm, dae, with -shuffled behind it: the control) makes.

    `low`, `high`: the range of the images. An automatic rate stands as 1.0 until it is known. Raises UsageError where
    the activation, the images and the settings do not go together.
    """
    rate = 1.0 if config.lr == "auto" else config.lr
    common = PretrainingSpec(
        method=method.removesuffix(SHUFFLED),
        rates=(rate,) * layers,
        epochs=config.epochs,
        batch_size=config.batch_size or batch_size,
        shuffled=method.endswith(SHUFFLED),
        version=PRETRAINING_VERSION,
    )
    if common.method == "rbm":
        return _with_rbm(common, config, choice, low, high)
    return _with_autoencoder(common, config, choice, low, high)


def _with_rbm(
    stack: PretrainingSpec, config: PretrainSection, choice: ActivationChoice, low: float, high: float
) -> PretrainingSpec:
    """The stack with the settings of restricted Boltzmann machines."""
    hidden = _hidden_units(choice)
    first = _visible_units(config.visible, low, high)
    return replace(
        stack,
        hidden=hidden,
        visible=(first, *(RBM_NEXT[hidden],) * (stack.layers - 1)),
        k=config.k,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        sampled=config.sampled,
    )


def _with_autoencoder(
    stack: PretrainingSpec, config: PretrainSection, choice: ActivationChoice, low: float, high: float
) -> PretrainingSpec:
    """The stack with the settings of denoising autoencoders."""
    if config.tied and choice.inputs_per_unit > 1:
        raise UsageError(
            f"{choice.label} is gated: its weights cannot be tied to a decoder's",
            "let the decoder have weights of its own: --set pretrain.tied=false",
        )
    return replace(
        stack,
        reconstruction=_reconstructions(config.reconstruction, choice, stack.layers, low, high),
        noise=config.noise,
        corruption=config.corruption,
        tied=config.tied,
        l1=config.l1,
    )


def _hidden_units(choice: ActivationChoice) -> str:
    if choice.kind == "table" and choice.label in RBM_HIDDEN:
        return RBM_HIDDEN[choice.label]
    kind = (
        "gated"
        if choice.inputs_per_unit > 1
        else "a formula"
        if choice.kind == "formula"
        else "without a hidden unit type"
    )
    raise UsageError(
        f"{choice.label} is {kind}: there is no RBM with such units",
        f"--method rbm takes {', '.join(RBM_HIDDEN)}; --method dae takes any activation",
    )


def _visible_units(setting: str, low: float, high: float) -> str:
    in_unit_interval = low >= 0.0 and high <= 1.0
    if setting == "bernoulli" and not in_unit_interval:
        raise UsageError(
            f"Bernoulli visible units need images in 0..1, but these lie in {low:g}..{high:g}",
            "leave pretrain.visible at auto, or set it to gaussian",
        )
    return setting if setting != "auto" else "bernoulli" if in_unit_interval else "gaussian"


def _reconstructions(setting: str, choice: ActivationChoice, layers: int, low: float, high: float) -> tuple[str, ...]:
    """The first layer reconstructs the images, those above reconstruct codes."""
    bounded = low >= -1.0 and high <= 1.0
    above = DAE_ABOVE.get(choice.name, "linear") if setting == "auto" else setting
    if setting in BOUNDED and not bounded:
        raise UsageError(
            f"{with_article(setting)} reconstruction needs images in -1..1, but these lie in {low:g}..{high:g}",
            "leave pretrain.reconstruction at auto, or set it to linear",
        )
    if setting == "cross-entropy" and layers > 1 and choice.name not in CODES_IN_BOUNDS:
        raise UsageError(
            f"cross-entropy needs codes in 0..1 or -1..1, which {choice.label} does not give",
            "--set pretrain.reconstruction=scaled scales them to 0..1",
        )
    first = ("cross-entropy" if above == "cross-entropy" else "softplus") if setting == "auto" else setting
    return (first if bounded else "linear", *(above,) * (layers - 1))
