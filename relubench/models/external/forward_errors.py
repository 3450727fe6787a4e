"""Why a network that somebody else wrote does not take these images, as its author should hear it."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor, nn

from relubench.errors import UsageError
from relubench.system.user_code.origin import places_noted

LONGEST = 300
"""Characters that are shown of somebody else's message."""

TOKENS = 8
"""The length of a sequence that a network of tokens is tried with."""


def short(problem: BaseException) -> str:
    """The kind of error and the first line of its message, cut where it is long."""
    lines = str(problem).strip().splitlines()
    text = f"{type(problem).__name__}: {lines[0]}" if lines else type(problem).__name__
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
    return ", ".join([text.removesuffix("."), *notes]) if (notes := places_noted(problem)) else text


def check_inputs(network: nn.Module, label: str) -> None:
    """Raises UsageError where the forward takes anything else than one input."""
    try:
        parameters = inspect.signature(network.forward).parameters.values()
    except (TypeError, ValueError):
        return
    required = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if len(required) > 1:
        raise UsageError(
            f"{label}: its forward takes {len(required)} inputs ({', '.join(required)}), and there is one: the images",
            f"give {', '.join(required[1:])} a default, or name a network around it that takes the images alone",
        )


def why_not(network: nn.Module, label: str, images: Tensor, problem: Exception) -> UsageError:
    """The error for a forward that failed on these images."""
    if isinstance(problem, UsageError):
        return problem
    shape = list(images.shape[1:])
    if _takes_tokens(network):
        return UsageError(
            f"{label} takes tokens (whole numbers that an embedding looks up), not images of shape {shape}",
            "relubench trains classifiers of images: name a network that takes float32 images [B, C, Y, X]",
        )
    default = "; images of 1x8x8 are the digits, which are taken without --dataset" if shape == [1, 8, 8] else ""
    return UsageError(
        f"{label} failed on images of shape {tuple(images.shape)}: {short(problem)}", _hint(problem, shape) + default
    )


def _hint(problem: Exception, shape: list[int]) -> str:
    text, values = str(problem), 1
    for side in shape:
        values *= side
    if "mat1 and mat2" in text or "size mismatch" in text:
        return f"an image has {values} values: flatten it with x.flatten(1), and let the dense layer take them"
    if "to have" in text and "channels" in text:
        return f"the images have {shape[0]} channel{'s' if shape[0] > 1 else ''}: a parameter in_channels is given that"
    if "too small" in text or "size can't be greater" in text or "size is too small" in text:
        return "the images are too small for it: leave out a pool or a stride, or choose a --dataset with larger ones"
    return f"the network takes float32 images [B, {', '.join(str(side) for side in shape)}]"


def _takes_tokens(network: nn.Module) -> bool:
    """Whether it has an embedding, and computes on a few tokens what it does not on images."""
    embeddings = [module for module in network.modules() if isinstance(module, nn.Embedding)]
    if not embeddings:
        return False
    length = min([TOKENS, *(embedding.num_embeddings for embedding in embeddings)])
    tokens = torch.zeros(2, length, dtype=torch.long)
    try:
        with torch.no_grad():
            network(tokens)
    except Exception:
        return False
    return True
