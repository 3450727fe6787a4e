"""Pre-trained stacks in files of a user's: one to start from (--from), and one to write (--export)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relubench.activations import select
from relubench.errors import UsageError
from relubench.experiments.config import ExperimentConfig
from relubench.experiments.pretraining_plan import PRETRAIN_DEFAULTS
from relubench.system.output_files import check_file, save_file

if TYPE_CHECKING:
    from relubench.experiments.study import Study


def pretraining_defaults(source: Path | None, methods: Sequence[str]) -> dict[str, Any]:
    """What `pretrain` has for a default where `train` pre-trains nothing; `methods` are those that are asked for.

    Raises UsageError where the method and the file to start from do not go together.
    """
    if source is None:
        if "file" in methods:
            raise UsageError("--method file starts from a stack, and none is given", "name its file with --from FILE")
        return PRETRAIN_DEFAULTS
    if methods:
        raise UsageError(
            f"--from {source} and --method {','.join(methods)} exclude each other",
            "--from fine-tunes from a finished stack, and compares it with none",
        )
    return PRETRAIN_DEFAULTS | {"pretrain": {"methods": ("none", "file"), "source": str(source.absolute())}}


def check_export(path: Path, config: ExperimentConfig) -> None:
    """Raises UsageError where there would not be one stack to write, or nowhere to write it."""
    check_file("--export", path)
    methods = [method for method in config.pretrain.methods if method != "none"]
    if len(methods) != 1 or len(config.seeds) != 1:
        raise UsageError(
            f"--export writes one stack: this asks for {len(methods)} methods and {len(config.seeds)} seeds",
            "name one, for example --method none,rbm --seed 0",
        )
    if (num_choices := len(select(config.act))) != 1:
        raise UsageError(f"--export writes one stack: this asks for {num_choices} activations", "name one with --act")


def export_stack(study: Study, path: Path) -> None:
    """Write the stack that a finished study has pre-trained; raises ComputeError where that fails after all."""
    from relubench.training.pretraining.layers import export_layers

    (pretrained,) = (spec for spec in study.specs if spec.stack is not None and not spec.stack.shuffled)
    save_file("--export", path, export_layers(pretrained, study.store))
