"""A training by looks before the user's eyes: `train --seeds 3..50`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from relubench.cli import output
from relubench.cli.study import StudyFlags, carry_out, preparing, show_record
from relubench.errors import UsageError

if TYPE_CHECKING:
    from relubench.cli.output import Target
    from relubench.experiments.config import ExperimentConfig
    from relubench.experiments.plan import Variant
    from relubench.experiments.study import Study


def show_looks(config: ExperimentConfig, looks: tuple[int, ...], target: Target, flags: StudyFlags) -> None:
    """Train look by look until every difference is settled, and show the table of the last look."""
    from relubench.experiments.study import Study
    from relubench.reports.training.sequential import SequentialTraining

    if flags.no_cache:
        raise UsageError("--no-cache and looks exclude each other: a look goes on with what is stored", "leave one out")
    note = output.once(flags.note)

    def open_study(variants: Sequence[Variant]) -> Study:
        return Study.open(variants, data_dir=flags.data_dir, runs_dir=flags.runs_dir, note=note)

    with preparing():
        training = SequentialTraining.open(config, looks, open_study)
    flags.note(training.plan.describe())
    output.check_stdout(target)
    training.run(lambda study: carry_out(study, flags.quiet, flags.log))
    show_record(training.study, training.report, target, flags, interrupted=training.interrupted)
