"""The memory that networks take in training, as relubench predicts it before it stacks them, and as it is."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu.members import specs_of
from benchmarks.gpu.setting import Row, Setting

CASES: tuple[tuple[str, dict[str, Any], int, int], ...] = (
    ("mlp-3x1000", {}, 1, 100),
    ("mlp-3x1000", {}, 32, 100),
    ("mlp-3x1000", {"train": {"optimizer": "adam"}}, 8, 100),
    ("mlp-3x1000", {}, 8, 4096),
    ("cnn", {}, 8, 128),
)
"""Model, sections of the configuration, members, batch."""
SMALL_CASES = 2


def rows(setting: Setting) -> Iterator[Row]:
    """A row for each case: bytes predicted, measured, and their quotient."""
    for model, sections, members, batch in CASES[:SMALL_CASES] if setting.small else CASES:
        name = "mlp-2x64" if setting.small and model.startswith("mlp") else model
        members, batch = (min(members, 2), min(batch, 50)) if setting.small else (members, batch)
        case = {"model": name, "members": members, "batch": batch, **sections}
        try:
            predicted, measured = _bytes({**sections, "model": {"name": name}}, setting, members, batch)
            yield {
                **case,
                "predicted_bytes": predicted,
                "measured_bytes": measured,
                "predicted_over_measured": None if not measured else round(predicted / measured, 3),
            }
        except Exception as problem:
            yield {**case, "error": f"{type(problem).__name__}: {problem}"}


def _bytes(sections: dict[str, Any], setting: Setting, members: int, batch: int) -> tuple[int, int]:
    """Bytes predicted and the most that were taken, the data set left out, over an epoch with its validation."""
    import torch

    from relubench.models.families import family_of
    from relubench.training.images import Images
    from relubench.training.memory import evaluation_bytes, member_bytes
    from relubench.training.population import Population

    choice, prepared, specs = specs_of(sections, setting, members=members, batch=batch)
    predicted = members * member_bytes(specs[0], choice.inputs_per_unit)
    predicted += evaluation_bytes(specs[0], choice.inputs_per_unit)
    gc.collect()
    data = Images.open(prepared, device=setting.device, flat=not family_of(specs[0].model).can("images"))
    if setting.device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        before = _resident(reset=True)
    population = Population(specs, choice, data)
    for _ in population.train():
        pass
    if setting.device == "cuda":
        torch.cuda.synchronize()
        return predicted, torch.cuda.max_memory_allocated() - before
    return predicted, _resident(reset=False) - before


def _resident(*, reset: bool) -> int:
    """Bytes of this process: the most since the last reset, which brings it down to those of now."""
    if reset:
        # Linux: 5 sets the peak back.
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])
