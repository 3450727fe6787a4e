"""The table of model families: a row for each kind of network. Torch-free.

Adding a family is one file with its row, and one place in the table; a program of your own adds its row with
`FAMILIES["name"] = row`.
"""

from __future__ import annotations

import re

from relubench.errors import UsageError
from relubench.models.families import autoencoder, cnn, external, mlp, resmlp, transformer, vae, vit
from relubench.models.family import Architecture, Family
from relubench.system.lookup import did_you_mean

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        mlp.FAMILY,
        resmlp.FAMILY,
        cnn.FAMILY,
        autoencoder.FAMILY,
        vae.FAMILY,
        transformer.FAMILY,
        vit.FAMILY,
        external.TORCHVISION,
        external.USER,
    )
}


def family_of(model: str) -> Family:
    """The family of a model's name, as it is in a run's specification; raises UsageError if there is none."""
    for family in FAMILIES.values():
        if re.fullmatch(family.pattern, model):
            return family
    raise _no_model(model)


def parse_model(name: str) -> Architecture:
    """The architecture that `name` stands for; raises UsageError for a name, a width or a depth that cannot be."""
    for family in FAMILIES.values():
        match = re.fullmatch(family.pattern, name)
        if match is not None and (arch := family.parse(match)) is not None:
            return arch
    raise _no_model(name)


def listed_models() -> dict[str, str]:
    """The models that a list shows, with their descriptions."""
    return {name: description for family in FAMILIES.values() for name, description in family.models.items()}


def examples() -> str:
    """How models of every family are named, in words; those that somebody else wrote last."""
    *names, last = [family.example for family in sorted(FAMILIES.values(), key=lambda row: row.can("external"))]
    return f"{', '.join(names)}, or {last}"


def _no_model(name: str) -> UsageError:
    """The error for a name that no family knows, with the names that are near."""
    names = list(listed_models())
    same_ending = [listed for listed in names if listed.partition(":")[2] == name]
    see = f"models are {examples()}"
    return UsageError(
        f"there is no model called {name!r}",
        did_you_mean(same_ending[0], same_ending, see) if same_ending else did_you_mean(name, names, see),
    )
