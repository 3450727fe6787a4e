"""`relubench learn`: five lessons on activation functions, each an experiment of a minute or two."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from relubench.cli import completion, output
from relubench.cli.config_flags import ConfigFlags, offer
from relubench.cli.run import PRESET_SEEDS
from relubench.cli.study import StudyFlags, show_study

LessonName = Annotated[
    str | None,
    typer.Argument(
        metavar="LESSON",
        autocompletion=completion.lessons,
        help="A lesson to take: depth, zeros, dying, pretraining or difference. Default: they are listed.",
    ),
]
OFFERED = offer(PRESET_SEEDS, "device", "--runs-dir", "--no-cache")


def learn(config: Annotated[ConfigFlags, OFFERED], flags: StudyFlags, lesson: LessonName = None) -> None:
    """Learn what activation functions do: five lessons of ten minutes, on a small data set that comes along.

    A lesson trains its networks in a minute or two, and says what to look at and what to expect; --plot draws its
    figure, and --report makes a page to project.
    """
    target = flags.target()
    from relubench.experiments.presets.catalogue import lessons, load_lesson

    if lesson is None:
        from relubench.reports.report import listing

        output.emit_report(listing("learn", lessons(), title="lessons: relubench learn NAME"), target)
        return
    preset = load_lesson(lesson, config.layers())
    from relubench.reports.training.preset import lesson_lines, preset_report

    for line in [preset.question, *lesson_lines(preset)]:
        flags.note(line)
    show_study(flags.open(preset.variants), partial(preset_report, preset=preset), target, flags)
