"""What can be measured of a network after each epoch, a row each. Torch-free.

A new probe is a class in `relubench.training.probes` and a row here; what it measures of a network as one number an
epoch (`Member.measure`) is stored with the run, and stands in the table's rows and in `relubench runs show`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relubench.models.mixture import PLAIN, mixture_of
from relubench.models.norm_table import NORMS
from relubench.runs.task_names import CLASSIFICATION

if TYPE_CHECKING:
    from relubench.runs.spec import RunSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeRow:
    """What a study has to know of a probe before it trains."""

    target: str
    """"module:class" of its `relubench.training.probes.base.Probe`."""
    measures: tuple[str, ...] = ()
    """The names of what it measures of a network as one number: a column of the table each."""
    why_not: Callable[[RunSpec], str | None] = lambda _: None
    """Why it cannot be done for a network; None if it can."""
    rule: str = ""
    """The networks that it can be done for, in words."""
    example: str = ""
    """Flags with which it can be done."""
    in_all: bool = True
    """Whether `--probe all` asks for it."""
    always: bool = False
    """Whether every value of `--probe` but none asks for it."""
    lacking: str = ""
    """What a study lacks of a network for which it cannot be done, in words."""


def why_no_regions(spec: RunSpec) -> str | None:
    """Why linear regions cannot be counted in this network; None if they can."""
    # Imported here: a help needs the names of the probes, not the table of activations and its grammar.
    from relubench.activations.table import ACTIVATIONS
    from relubench.models.families import family_of

    kind, _, _ = spec.activation.partition(":")
    if kind.startswith("["):
        return f"{spec.activation} is a mix, and regions are those of one activation"
    if kind not in ACTIVATIONS or ACTIVATIONS[kind].kinks is None:
        return f"{spec.activation} is not piecewise linear"
    if not family_of(spec.model).can("regions"):
        return f"{spec.model} is no mlp"
    return None if NORMS[spec.norm].linear else f"{spec.norm} norm is not piecewise linear"


def why_no_overlap(spec: RunSpec) -> str | None:
    """Why active units cannot be compared by class in this network; None if they can."""
    if spec.task != CLASSIFICATION:
        return f"the task of {spec.dataset} has no classes"
    return why_no_gradients(spec)


def why_no_gradients(spec: RunSpec) -> str | None:
    """Why the rows of a hidden layer are not those of the images in this network; None if they are."""
    return None if mixture_of(spec.model) is PLAIN else f"an expert of {spec.model} sees a part of each example only"


def why_no_experts(spec: RunSpec) -> str | None:
    """Why no experts can be counted in this network; None if they can."""
    return f"{spec.model} has no experts" if mixture_of(spec.model) is PLAIN else None


PROBES: dict[str, ProbeRow] = {
    "activations": ProbeRow(target="relubench.training.probes.activations:ActivationProbe", always=True),
    "experts": ProbeRow(
        target="relubench.training.probes.experts:ExpertProbe",
        measures=("experts_used_pct", "busiest_expert_pct"),
        why_not=why_no_experts,
        rule="experts are those of a mixture",
        example="--act relu --model transformer-2x64 --ffn moe-8x2 --dataset docs --probe experts",
        always=True,
    ),
    "gradients": ProbeRow(
        target="relubench.training.probes.gradients:GradientProbe",
        why_not=why_no_gradients,
        rule="gradients by example need a network without experts",
        example="--act relu --model mlp-3x128 --probe gradients",
        lacking="no gradients are measured",
    ),
    "regions": ProbeRow(
        target="relubench.training.probes.linear_regions:RegionProbe",
        why_not=why_no_regions,
        rule="linear regions are those of an mlp with a piecewise-linear activation",
        example="--act relu --model mlp-3x128 --probe regions",
        lacking="no linear regions are counted",
    ),
    "overlap": ProbeRow(
        target="relubench.training.probes.overlap:OverlapProbe",
        measures=("overlap_within_pct", "overlap_between_pct"),
        why_not=why_no_overlap,
        rule="the overlap of active units is that of classes",
        example="--act relu --dataset digits --probe overlap",
        lacking="no overlap is measured",
        in_all=False,
    ),
}
"""Value of `--probe` -> its row."""


def probe_choices() -> tuple[str, ...]:
    """The values of `--probe`."""
    return "none", *PROBES, "all"


def probes_of(choice: str) -> dict[str, ProbeRow]:
    """The rows of the probes that a value of `--probe` asks for, in the order in which they are made."""
    if choice == "none":
        return {}
    return {
        name: row for name, row in PROBES.items() if row.always or name == choice or (choice == "all" and row.in_all)
    }
