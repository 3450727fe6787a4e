"""What `speed` can time, and which settings go with it. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from relubench.errors import UsageError
from relubench.experiments.config import ExperimentConfig
from relubench.experiments.named_settings import TrainingSettings
from relubench.timing.request import Request, parse_number

TRAINING_OPTIONS = tuple(f"--{name.replace('_', '-')}" for name in TrainingSettings.__annotations__)
_NO_LAYERS = ("--seed", "--device", "--keep-act")
"""Settings of every mode, and one that only networks of other people have."""
NETWORK_OPTIONS = (
    *(option for option in TRAINING_OPTIONS if option not in _NO_LAYERS),
    *("--set", "--data-dir", "--runs-dir"),
)


@dataclass(frozen=True, slots=True)
class Mode:
    """One kind of measurement."""

    options: tuple[str, ...]
    """The settings that mean something for it; settings of no mode mean something always."""
    budget_s: float
    acts: tuple[str, ...] = ()
    """The activations that are timed unless others are named."""


GATE = ("--baseline", "--fail-on", "--strict")

MODES = {
    "": Mode(
        ("--size", "--dtype", "--pass", "--compile", "--threads", "--inputs", "--act", "--plot", *GATE), 75.0, ("all",)
    ),
    "--network": Mode(
        (*NETWORK_OPTIONS, "--target", "--method", "--act", "--plot", "--keep-act", "--compile", *GATE),
        30.0,
        ("sigmoid", "tanh", "relu"),
    ),
    "--sparsity": Mode((*NETWORK_OPTIONS, "--act", "--plot"), 30.0, ("relu",)),
    "--arithmetic": Mode((), 10.0),
}
"""The flag of what is timed, or nothing for operators; the training of networks is not part of the budget."""


def choose_mode(switches: Mapping[str, bool], options: Iterable[str]) -> str:
    """The mode that is switched on; raises UsageError for several, and for an option that means nothing in it."""
    modes = [name for name, is_on in switches.items() if is_on]
    if len(modes) > 1:
        raise UsageError(f"{' and '.join(modes)} are different measurements", "ask for one at a time")
    mode = modes[0] if modes else ""
    set_options = set(options)
    if "--inputs" in set_options and not mode:
        # Where the run and its data lie.
        set_options -= {"--data-dir", "--runs-dir"}
    for option in dict.fromkeys(option for row in MODES.values() for option in row.options):
        if option in set_options and option not in MODES[mode].options:
            modes = [name for name, row in MODES.items() if name and option in row.options]
            context = f"with {mode}" if mode else f"without {' or '.join(modes)}"
            raise UsageError(
                f"{option} means nothing {context}", f"leave {option} out" + ("" if mode else f", or add {modes[0]}")
            )
    return mode


def check_place(config: ExperimentConfig) -> None:
    """Raises UsageError for timing on other machines, where other jobs may share the node."""
    name = config.executor.name
    if config.executor.is_elsewhere:
        how = {"ray": "ray job submit --entrypoint-num-cpus N", "slurm": "srun --exclusive"}[name]
        raise UsageError(
            f"speed times the machine that it runs on, so that nothing shares it: executor {name} is not for it",
            f"take a whole node: {how} -- relubench speed ...",
        )


def options_of(named: Mapping[str, Any]) -> list[str]:
    """The command's options of the settings of `relubench.speed` that are set."""
    options = {"passes": "pass", "compiled": "compile", "settings": "set"}
    names = [name for name, value in named.items() if value is not None and value is not False]
    return [f"--{options.get(name, name).replace('_', '-')}" for name in names]


def timing_request(mode: str, rel_ci: str | None, budget: str | None, seed: int | None, **what: Any) -> Request:
    """The request of a mode: until when to measure ("2%", "75s"), and the seed of inputs and order."""
    request = Request(budget_s=MODES[mode].budget_s, **{"sizes": (), **what})
    if rel_ci is not None:
        request = replace(request, rel_ci=parse_number("--rel-ci", rel_ci, "%") / 100)
    if budget is not None:
        request = replace(request, budget_s=parse_number("--budget", budget, "s"))
    return request if seed is None else replace(request, seed=seed)


def limits_of(named: Mapping[str, Any]) -> dict[str, Any]:
    """Until when `relubench.speed` measures, as the command line has it, and the seed of inputs and order."""
    rel_ci, budget = named.get("rel_ci"), named.get("budget")
    return {
        "rel_ci": None if rel_ci is None else f"{100 * rel_ci:g}%",
        "budget": None if budget is None else f"{budget:g}",
        "seed": named.get("seed"),
    }
