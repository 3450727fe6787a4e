"""The course of a contest: what is trained and in which order, as far as the budget goes.

search rates -> (train seeds -> look)* -> train those that are left with fresh seeds -> confirm
"""

from __future__ import annotations

from itertools import pairwise

from relubench.experiments.choosing.contest import Contest
from relubench.experiments.choosing.rates import search_rates
from relubench.experiments.choosing.trainings import Trainings

CONFIRMATION_SEEDS = (2, 5)
"""The fewest and the most fresh seeds with which those that are left are trained again."""


def carry_out(contest: Contest, trainings: Trainings) -> None:
    """Go through the contest, until nothing more is to be trained or the budget is spent."""
    try:
        search_rates(contest.search, trainings, contest.labels)
    finally:
        contest.begin()
    if not contest.search.complete:
        return
    for previous, seeds in pairwise((0, *contest.plan.looks)):
        if contest.ended != "budget" or not _affords(contest, trainings, seeds - previous):
            break
        if not trainings.train(_rates(contest), range(seeds)):
            break
        contest.look(seeds)
    if contest.remaining and contest.seeds and not trainings.interrupted:
        _confirm(contest, trainings)


def _rates(contest: Contest) -> dict[str, list[float]]:
    return {label: [contest.rates[label]] for label in contest.remaining}


def _affords(contest: Contest, trainings: Trainings, more_seeds: int) -> bool:
    """Whether that many seeds more, and the fewest seeds of a confirmation, can be paid.

    The first look is worth its runs without a confirmation, and of a time it is always tried: what has ended by then is
    stored.
    """
    account, num_left = trainings.account, len(contest.remaining)
    if contest.seeds:
        return account.affords(num_left * (more_seeds + CONFIRMATION_SEEDS[0]))
    return account.budget.runs is None or account.affords(num_left * more_seeds)


def _confirm(contest: Contest, trainings: Trainings) -> None:
    """Train those that are left with as many fresh seeds as can be paid, and compare them on the test set, once."""
    least, most = CONFIRMATION_SEEDS
    num_left = len(contest.remaining)
    fresh = next((n for n in range(most, least - 1, -1) if trainings.account.affords(n * num_left)), 0)
    last = contest.plan.looks[-1]
    if fresh and trainings.train(_rates(contest), range(last, last + fresh)):
        contest.confirm(range(last, last + fresh))
