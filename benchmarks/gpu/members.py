"""Whether a network trained in company equals the same network trained alone: its weights after some steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.gpu.data import SHAPES, dataset
from benchmarks.gpu.setting import Row, Setting

MEMBERS, SMALL_MEMBERS = 4, 2
STEPS, SMALL_STEPS = 8, 3
SMALL_BATCH = 20
CLOSE, WIDE = 1e-3, 5e-2
"""Of the change of the weights: rounding differs, and every step carries on what the one before it has rounded. Adam
divides by a gradient's size, which makes a step of one that is nothing but rounding, and which of four pixels is the
largest may be decided by it."""

CASES: dict[str, tuple[dict[str, Any], float]] = {
    "mlp, sgd": ({"model": {"name": "mlp-3x256"}}, CLOSE),
    "mlp, adam, batch norm": ({"model": {"name": "mlp-2x128", "norm": "batch"}, "train": {"optimizer": "adam"}}, WIDE),
    "mlp, dropout, l1": ({"model": {"name": "mlp-2x128", "dropout": 0.2}, "train": {"l1": 1e-4}}, CLOSE),
    "cnn": ({"model": {"name": "cnn"}}, WIDE),
    "resmlp": ({"model": {"name": "resmlp-4x64"}}, CLOSE),
}
"""Kind of network -> sections of the configuration, and how far apart its weights may be."""
RATES = {"adam": 1e-3}


def rows(setting: Setting) -> Iterator[Row]:
    """A row for each kind of network: the largest relative difference over its members."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    members, steps = (SMALL_MEMBERS, SMALL_STEPS) if setting.small else (MEMBERS, STEPS)
    for name, (sections, tolerance) in CASES.items():
        try:
            differences = _differences(sections, setting, members, steps)
            is_equal = max(differences) <= tolerance
            yield {
                "case": name,
                "members": members,
                "steps": steps,
                "largest_difference": max(differences),
                "tolerance": tolerance,
                "equal": is_equal,
                **({} if is_equal else {"error": f"{name}: {max(differences):.1e} apart"}),
            }
        except Exception as problem:
            yield {"case": name, "error": f"{type(problem).__name__}: {problem}"}


def specs_of(sections: dict[str, Any], setting: Setting, *, members: int, batch: int = 50):
    """The activation, the data and the specifications of these networks, as `relubench train` has them."""
    from relubench.activations import select
    from relubench.data import prepare
    from relubench.experiments.config import experiment
    from relubench.experiments.plan import data_options, expand
    from relubench.system.device import resolve

    train = {"batch_size": batch, "epochs": 1, **sections.get("train", {})}
    train.setdefault("lr", RATES.get(train.get("optimizer", ""), 0.1))
    data = dataset("grey", setting)
    values = {"act": ["relu"], "seeds": list(range(members)), "data": {"name": data.name}, **sections, "train": train}
    config = experiment(values)
    choices = select(config.act)
    folder = Path(setting.data_dir) if setting.data_dir else None
    prepared = prepare(config.data.name, data_dir=folder, options=data_options(config.data))
    assert prepared.input_shape == SHAPES["grey"]
    specs = expand(config, choices, prepared, resolve(setting.device), [float(train["lr"])])
    if setting.device == "cpu":
        # In company only PyTorch's own products are possible, and only a device other than the processor does that.
        specs = [replace(spec, threads=1, backend="torch") for spec in specs]
    return choices[0], prepared, specs


def _differences(sections: dict[str, Any], setting: Setting, members: int, steps: int) -> list[float]:
    """Of each member the distance of its weights in company from those alone, over the distance that they moved."""
    from relubench.models.families import family_of
    from relubench.training.images import Images
    from relubench.training.population import Population

    batch = SMALL_BATCH if setting.small else 50
    choice, prepared, specs = specs_of(sections, setting, members=members, batch=batch)
    data = Images.open(prepared, device=setting.device, flat=not family_of(specs[0].model).can("images"))
    company = Population(specs, choice, data)
    start = [company.weights(place, best=False) for place in range(members)]
    start = [{name: value.clone() for name, value in weights.items()} for weights in start]
    _train_steps(company, steps)
    differences = []
    for place, spec in enumerate(specs):
        lone = Population([spec], choice, data)
        _train_steps(lone, steps)
        alone, together = lone.weights(0, best=False), company.weights(place, best=False)
        apart = sum(float((alone[name] - together[name]).double().square().sum()) for name in alone)
        moved = sum(float((alone[name] - start[place][name]).double().square().sum()) for name in alone)
        differences.append((apart / max(moved, 1e-30)) ** 0.5)
    return differences


def _train_steps(population: Any, steps: int) -> None:
    """The first steps of the first epoch."""
    population.batch_chunk = steps
    for step in population.train():
        if step.images:
            return
