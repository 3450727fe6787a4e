"""A user's own activation in somebody else's network: one training step, before any work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from relubench.activations import ActivationChoice
from relubench.errors import RelubenchError, UsageError
from relubench.models.external.trial import attempt
from relubench.runs.spec import RunSpec
from relubench.system.user_code.origin import one_line


def try_activation(spec: RunSpec, choice: ActivationChoice) -> None:
    """Take one training step with it, as the runs do; raises UsageError where the activation fails in the network."""
    if (problem := attempt(spec, choice)) is not None:
        with failing_in(spec, choice):
            raise problem


@contextlib.contextmanager
def failing_in(spec: RunSpec, choice: ActivationChoice) -> Iterator[None]:
    """Inside, what fails in the activation, or through it, is an error of the user with its place."""
    try:
        yield
    except UsageError:
        raise
    except RelubenchError as problem:
        raise UsageError(f"{spec.model}: {problem.message}", problem.hint) from problem
    except Exception as problem:
        raise UsageError(
            f"{choice.label} failed in {spec.model}: {one_line(problem)}",
            "every activation of the network is exchanged: the new one gets every shape that is there",
        ) from problem
