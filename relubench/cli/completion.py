"""Names that a shell completes: the tables' own. They are imported when a name is asked for."""

from __future__ import annotations


def acts(incomplete: str) -> list[str]:
    from relubench.activations import ACTIVATIONS

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in ACTIVATIONS if name.startswith(last)]


def datasets(incomplete: str) -> list[str]:
    from relubench.data.table import PERTURBED, TABLE

    # Only where one is begun: every second name would be in the way of the others.
    perturbed = [row.name + PERTURBED for row in TABLE.values() if row.perturbable and "+" in incomplete]
    return [name for name in (*TABLE, *perturbed) if name.startswith(incomplete)]


def models(incomplete: str) -> list[str]:
    from relubench.models.families import listed_models

    return [name for name in listed_models() if name.startswith(incomplete)]


def formats(incomplete: str) -> list[str]:
    from relubench.reports.render import FORMATS

    return [name for name in FORMATS if name.startswith(incomplete)]


def lists(incomplete: str) -> list[str]:
    from relubench.reports.listings import LISTS

    return [name for name in LISTS if name.startswith(incomplete)]


def presets(incomplete: str) -> list[str]:
    from relubench.system.paths import presets_folder

    return sorted(path.stem for path in presets_folder().glob("*.yaml") if path.stem.startswith(incomplete))


def lessons(incomplete: str) -> list[str]:
    from relubench.experiments.presets.catalogue import LESSONS

    return [name for name in LESSONS if name.startswith(incomplete)]


def scales(incomplete: str) -> list[str]:
    return [name for name in ("smoke", "quick", "paper") if name.startswith(incomplete)]
