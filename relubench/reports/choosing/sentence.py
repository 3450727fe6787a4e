"""The answer of a choice in words."""

from __future__ import annotations

from relubench.experiments.choosing.answer import Answer, ChoiceRow, Want
from relubench.reports.formatting import count, duration, join_names
from relubench.runs.task import task_called


def sentence(answer: Answer, want: Want, within: float, *, named: bool) -> str:
    """Which activation to take and why, what cannot be told apart from it, and what more budget would change.

    `named`: with the data set and the network in front, where there are several.
    """
    lead = f"{answer.rows[0].dataset}, {answer.rows[0].model}: " if named else ""
    row = answer.recommended
    if row is None:
        return f"{lead}No activation can be recommended: {_unscored(answer)}. {more_budget(answer)}"
    if not answer.compared:
        task = task_called(row.task)
        score = "" if row.valid_metric is None else f", {task.text(row.valid_metric)} over {count(row.seeds, 'seed')}"
        first = (
            f"{lead}Nothing is decided yet: {row.activation} has the {task.best} validation {task.noun} so far{score}"
        )
        return f"{first}, and no activation is ruled out. {more_budget(answer)}"
    parts = [f"{lead}Take {row.activation}: {_why(answer, row, want, within)}.", _others(answer), _caveat(answer, row)]
    return " ".join(part for part in [*parts, more_budget(answer)] if part)


def _unscored(answer: Answer) -> str:
    """Who has no score yet."""
    names = [row.activation for row in answer.rows if row.valid_metric is None and row.standing != "failed"]
    remaining = [row for row in answer.rows if row.standing != "failed"]
    if not remaining:
        return "none of them trained"
    if len(names) == len(remaining):
        return "none has a score yet"
    return f"{join_names(names, 10)} {'has' if len(names) == 1 else 'have'} no score yet"


def _why(answer: Answer, row: ChoiceRow, want: Want, within: float) -> str:
    task = task_called(row.task)
    score = row.test_metric if answer.confirmed else row.valid_metric
    kind = f"{'test' if answer.confirmed else 'validation'} {task.noun}"
    size = "" if score is None else task.text(score)
    if row.standing == "best":
        return f"it has the {task.best} {kind}, {size}"
    margin = f"{within:g} {task.difference_unit}".rstrip()
    as_good = f"are not worse than {answer.best} by more than {margin}" if within else "are as good"
    cheap = "needs the least memory" if want == "memory" else "trains fastest"
    return f"of those that {as_good} it {cheap}, with a {kind} of {size}"


def _others(answer: Answer) -> str:
    names = [row.activation for row in answer.chosen if row.activation != answer.best]
    if not names:
        return "Every other activation is worse."
    return f"{join_names(names, 10)} cannot be told apart from {answer.best}."


def _caveat(answer: Answer, row: ChoiceRow) -> str:
    lines = []
    if not answer.confirmed:
        lines.append("It is not confirmed on the test set.")
    if row.soundness not in (None, "sound"):
        lines.append(f"Its arithmetic is not sound here: {row.soundness}.")
    return " ".join(lines)


def more_budget(answer: Answer) -> str:
    """What more budget would change, in one sentence or two."""
    if answer.ended == "settled":
        return "More budget would not change this."
    if answer.ended == "out of reach":
        names = [entry.activation for entry in answer.projections]
        return (
            f"More budget would hardly change this: up to the last look {join_names(names, 10)} would stay undecided."
        )
    if not answer.compared:
        return _first_answer(answer)
    if not answer.projections:
        return ""
    near = [entry for entry in answer.projections if entry.seeds is not None]
    far = [entry.activation for entry in answer.projections if entry.seeds is None]
    parts = [
        f"with {count(entry.seeds or 0, 'seed')} {entry.activation} would probably be out"
        for entry in sorted(near, key=lambda entry: entry.seeds or 0)
    ]
    text = f"If differences stay as they are, {', '.join(parts)}." if parts else ""
    if far:
        text += (
            f" {join_names(far, 10)} would stay, however large the budget."
            if text
            else (
                f"More budget would hardly change this: {join_names(far, 10)} would stay undecided up to the last look."
            )
        )
    return text.strip()


def _first_answer(answer: Answer) -> str:
    """What the first comparison needs."""
    effort = answer.effort
    needs = f"The first comparison and its confirmation need up to {count(effort.runs_needed, 'run')}"
    if effort.seconds_a_run is None or effort.seconds_needed is None:
        return f"{needs}; {answer.runs} have ended."
    return (
        f"{needs}; {answer.runs} have ended, and one takes about {duration(effort.seconds_a_run)} here: give the same "
        f"command a budget of {duration(effort.seconds_needed)}, or fewer --epochs."
    )
