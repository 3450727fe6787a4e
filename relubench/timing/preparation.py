"""A session that is ready to run: the process set up as the engine's is, every contestant tried once."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from relubench.activations import Choice
from relubench.errors import ComputeError
from relubench.system.page_faults import prefault_constants
from relubench.timing.clocks import choose_clock
from relubench.timing.machine import caches
from relubench.timing.request import Request
from relubench.timing.schedule import Session, prepare


def set_up(request: Request) -> None:
    """This process as the engine's are while they train, with the threads of the request."""
    torch.set_flush_denormal(True)
    prefault_constants()
    torch.set_num_threads(request.threads)


def operators_session(request: Request, choices: Sequence[Choice], device: str) -> Session:
    """Every form of every activation, compiled where asked, called once."""
    set_up(request)
    clock = choose_clock(device, request.threads)
    return prepare(request, choices, device=device, last_cache=caches().last, clock=clock)


def is_measurable(session: Session) -> bool:
    """Whether there is an activation to measure."""
    return any(one.task for cell in session.cells for one in cell.contestants if one.role == "activation")


def check_measurable(session: Session) -> None:
    """Raises ComputeError where no activation can be measured."""
    if not is_measurable(session):
        every = [one for cell in session.cells for one in cell.contestants if one.role == "activation"]
        why = "; ".join(sorted({f"{one.label}: {one.failure}" for one in every if one.failure}))
        raise ComputeError("no activation could be measured", why or "none of them has the form that --pass asks for")
