"""Finds where a network that somebody else wrote calls activations, and what becomes of each; see `activation_swap`.

`survey` runs the network once in training and once in evaluation, under a `TorchFunctionMode` that sees every call of
a function of torch: a module that is used twice counts twice, and control flow of any kind is followed. A call of a
function in `calls.NAMES` is exchanged, but for

- gates: a (hard) sigmoid whose result multiplies another tensor that depends on the images (squeeze-excitation),
- what does not depend on the images (Swin v2's position bias),
- what gives the network's output itself,
- what `keep` names.

A sigmoid times its own input (x*sigmoid(x), also x*sigmoid(1.702*x) and x*tanh(softplus(x))) is one activation: their
product is exchanged; so are those that are written out of elementary functions (see `written_out`). Softmax is never
an activation here. Refused is what cannot be exchanged, or not be told from an activation: other functions in
`survey_mode.HANDMADE`, a hard sigmoid made of relu6 that is no gate, one function of another's result, fused recurrent
layers, calls out of autograd's sight, calls repeated in the backward pass.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from relubench.errors import UsageError
from relubench.models.external.calls import CallSite, undisturbed
from relubench.models.external.kept_activations import check_kept, check_refused
from relubench.models.external.survey_mode import SurveyMode


def survey(
    network: nn.Module,
    images: Tensor,
    label: str,
    *,
    keep: Sequence[str] = (),
    merged: Collection[str] = (),
    classes: int | None = None,
) -> list[CallSite]:
    """Every call of an activation in the network's forward on `images` [B, ...], in the order of the first call.

    `keep`: patterns of places that stay; `merged`: see `CallSiteTracker`. The network is left as it was, its buffers
    included. Raises UsageError for what cannot be exchanged.
    """
    _refuse_scripts(network, label)
    finder = SurveyMode(network, len(images), keep, merged, classes)
    required_gradient = {parameter: parameter.requires_grad for parameter in network.parameters()}
    try:
        with undisturbed(network):
            for parameter in required_gradient:
                parameter.requires_grad_(False)  # So that whatever requires a gradient depends on the images.
            for training in (True, False):
                network.train(training)
                finder.run(images.clone().requires_grad_())
    finally:
        for parameter, requires_grad in required_gradient.items():
            parameter.requires_grad_(requires_grad)
        finder.places.remove()
    check_refused(finder.refusals(), label)
    uses = list(finder.uses.values())
    check_kept(keep, uses, finder.names, label)
    if all(use.kept for use in uses):
        stay = f": {', '.join(f'{use} stays ({use.kept})' for use in uses[:3])}" if uses else ""
        raise UsageError(
            f"{label} calls no activation that could be exchanged{stay}",
            "write activations as modules or functions of torch.nn, such as nn.ReLU() or F.gelu(x)",
        )
    return uses


def _refuse_scripts(network: nn.Module, label: str) -> None:
    """Raises UsageError where TorchScript hides the calls of a module."""
    for path, module in network.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise UsageError(
                f"{label}: {path or 'the network'} is compiled by TorchScript, and its activations cannot be seen",
                "name the class itself, not what torch.jit made of it",
            )
