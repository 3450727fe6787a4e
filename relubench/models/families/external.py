"""Networks that somebody else wrote: torchvision's classifiers, and the user's own. Torch-free.

Their layers are not known here: `relubench.models.external` builds such a network once and looks at it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from relubench.models.external.torchvision_names import CLASSIFIERS, PREFIX
from relubench.models.family import Architecture, Family, LayerShape, NetworkBuilder, abilities, needs_images

if TYPE_CHECKING:
    from relubench.models.layers.base import Layer


def unknown_shapes(arch: Architecture, input_shape: tuple[int, ...]) -> list[LayerShape]:
    """No hidden stages: what there is to know was measured, and is in the run's specification."""
    return []


def layers(builder: NetworkBuilder) -> list[Layer]:
    """The whole network as one layer."""
    from relubench.models.external.networks import external_layer

    return [external_layer(replace(builder.spec, seed=builder.seeds[0]), builder.choice)]


def parse_torchvision(match: re.Match[str]) -> Architecture | None:
    """The classifier of that name, if torchvision has it."""
    return Architecture(name=match[0]) if match[0] in CLASSIFIERS else None


def torchvision_digest(name: str) -> str:
    """The version of torchvision."""
    from importlib import metadata

    return f"torchvision {metadata.version('torchvision')}"


def parse_user(match: re.Match[str]) -> Architecture | None:
    """The user's network under its full name, if there is such a module or file."""
    from relubench.activations.user import names_user_object, resolve_user_object

    return Architecture(name=resolve_user_object(match[0]).label) if names_user_object(match[0]) else None


def user_digest(name: str) -> str | None:
    """The digest of the sources that the network is made by."""
    from relubench.activations.user import resolve_user_object

    return resolve_user_object(name, "network").source_digest


TORCHVISION = Family(
    name="torchvision",
    pattern=rf"{PREFIX}(?s:.*)",
    example="torchvision:resnet18 and the like (`relubench list models`)",
    models=CLASSIFIERS,
    parse=parse_torchvision,
    shapes=unknown_shapes,
    layers=layers,
    abilities=abilities("external", "gated", "images"),
    check_input=needs_images,
    digest=torchvision_digest,
)

USER = Family(
    name="user",
    pattern=rf"(?!{PREFIX})(?s:.*:.*|.*\.py)",
    example="your own ./file.py:Net",
    models={},
    parse=parse_user,
    shapes=unknown_shapes,
    layers=layers,
    abilities=abilities("external", "gated", "images", "user code"),
    digest=user_digest,
)
