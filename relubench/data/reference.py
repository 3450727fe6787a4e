"""The prepared data set that a reference names: found in the cache of this machine, or prepared here. Torch-free."""

from __future__ import annotations

from dataclasses import replace

from relubench.data.files.cache import Log, prepared_roots
from relubench.data.preparation import prepare
from relubench.data.prepared import DataReference, PreparedData, read
from relubench.data.split import limit_labels
from relubench.data.text_windows import windowed
from relubench.errors import DataError


def obtain(reference: DataReference, progress: Log | None = None) -> PreparedData:
    """The prepared data set: a copy with its digest, or one that is made here of its source files, by its name.

    Source files may be downloaded. Raises DataError where what has that name here is something else, and what
    `prepare` raises.
    """
    prepared = copy_here(reference)
    if prepared is None:
        prepared = prepare(reference.name, options=reference.options, progress=progress)
    if prepared.reference != reference:
        raise DataError(
            f"the data set {reference.name} is not here: what has its name has another content",
            "repeat the command where the data set is",
        )
    return prepared


def copy_here(reference: DataReference) -> PreparedData | None:
    """The copy in a cache of this machine, with the labels that the reference leaves; None if there is none."""
    for root in prepared_roots():
        for folder in sorted(root.glob(f"*-{reference.digest[:16]}")):
            prepared = read(folder, name=reference.name, digest=reference.digest, origin=reference.name)
            if prepared is not None:
                return windowed(limit_labels(replace(prepared, options=reference.options)))
    return None
