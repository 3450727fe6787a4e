"""A session that is ready to run: the process is set up as for training, and every candidate has been called once."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from relubench.activations import ActivationChoice
from relubench.errors import ComputeError
from relubench.system.page_faults import prefault_constants
from relubench.timing.clocks import choose_clock
from relubench.timing.machine import caches
from relubench.timing.request import Request
from relubench.timing.schedule import Session, prepare


def set_up(request: Request) -> None:
    """Set up this process as for training, with the threads of the request."""
    torch.set_flush_denormal(True)
    prefault_constants()
    torch.set_num_threads(request.threads)


def operators_session(request: Request, choices: Sequence[ActivationChoice], device: str) -> Session:
    """The session of every form of every activation, compiled where the request says so, each called once."""
    set_up(request)
    clock = choose_clock(device, request.threads)
    return prepare(request, choices, device=device, last_cache=caches().last, clock=clock)


def is_measurable(session: Session) -> bool:
    """Whether there is an activation to measure."""
    return any(
        candidate.timed_call
        for cell in session.cells
        for candidate in cell.candidates
        if candidate.role == "activation"
    )


def check_measurable(session: Session) -> None:
    """Raises ComputeError where no activation can be measured."""
    if not is_measurable(session):
        candidates = [
            candidate for cell in session.cells for candidate in cell.candidates if candidate.role == "activation"
        ]
        reasons = "; ".join(
            sorted({f"{candidate.label}: {candidate.failure}" for candidate in candidates if candidate.failure})
        )
        raise ComputeError(
            "no activation could be measured", reasons or "none of them has the form that --pass asks for"
        )
