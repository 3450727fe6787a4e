"""Checks of activations against their true functions, one row for each activation, type and pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from relubench.activations import ActivationChoice, select
from relubench.errors import RelubenchError, UsageError
from relubench.verification.check import VerifyRow, check


def reference_choice(against: str, choices: Sequence[ActivationChoice]) -> ActivationChoice:
    """The activation that all `choices` are compared with; raises UsageError unless each has one variable."""
    references = select([against])
    if len(references) > 1:
        raise UsageError(f"--against {against} names several activations", "name one")
    for choice in (*choices, *references):
        if choice.inputs_per_unit > 1:
            raise UsageError(
                f"--against compares functions of one variable, and {choice.label} has {choice.inputs_per_unit}",
                "leave it out",
            )
    return references[0]


def check_rows(
    choices: Sequence[ActivationChoice], dtypes: Sequence[str], *, compiled: bool, against: ActivationChoice | None
) -> Iterator[VerifyRow]:
    """The rows of every activation in every type; what cannot be computed is a row whose outcome is failed."""
    import torch

    torch.set_num_threads(1)
    # Subnormal numbers are among those checked.
    torch.set_flush_denormal(False)
    for choice in choices:
        for dtype in dtypes:
            try:
                yield from check(choice, dtype, compiled=compiled, against=against)
            except Exception as problem:
                yield _failed(choice, dtype, problem)


def _failed(choice: ActivationChoice, dtype: str, problem: Exception) -> VerifyRow:
    message = (
        f"{problem.message}; {problem.hint}"
        if isinstance(problem, RelubenchError)
        else f"{type(problem).__name__}: {problem}"
    )
    return VerifyRow(
        activation=choice.label, dtype=dtype, pass_="forward", points=0, forms="", outcome="failed", message=message
    )
