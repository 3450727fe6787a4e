"""Errors that stop a training: which one it is, and what the user reads of it."""

from __future__ import annotations

import errno
import sys

from relubench.activations.user import changed, resolve_user_object
from relubench.errors import ComputeError, RelubenchError
from relubench.executors.job import Job
from relubench.models.families import family_of
from relubench.system.device import is_out_of_addresses, too_few_addresses
from relubench.system.user_code.origin import one_line, place_of


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch, on any device, or Python ran out of memory."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def free_memory() -> None:
    """Free the memory of networks that are no longer used."""
    import gc

    gc.collect()
    if "torch" not in sys.modules:
        return  # It could not be loaded, and would fail once more.
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def user_error(error: BaseException, job: Job) -> RelubenchError:
    """The error as a user should see it."""
    if isinstance(error, RelubenchError):
        return error
    if isinstance(error, ImportError) and is_out_of_addresses(error):
        return too_few_addresses()
    spec = job.specs[0]
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if is_out_of_memory(error):
        return ComputeError(
            f"out of memory training {spec.activation}: {spec.model}, batch {spec.batch_size}, {len(job.specs)} in all",
            f"try --batch-size {max(1, spec.batch_size // 2)}"
            + (f" or --seeds {max(1, len(job.specs) // 2)}" if len(job.specs) > 1 else " or a smaller --model"),
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return ComputeError("the disk is full: the run could not be stored", f"make room in {job.store}, then repeat")
    if place := place_of(error):
        return ComputeError(
            f"training {spec.activation} failed: {one_line(error)}", f"the error is that of your own code, in {place}"
        )
    return ComputeError(f"training {spec.activation} failed: {type(error).__name__}: {text}", "--debug shows where")


def check_unchanged(job: Job) -> None:
    """Raises ComputeError where a user's code has changed since the run got its id."""
    spec, changes = job.specs[0], list[str]()
    if job.choice.kind == "user":
        changes += changed(job.choice, spec.activation_digest)
    if family_of(spec.model).can("user code"):
        changes += changed(resolve_user_object(spec.model, "network"), spec.model_digest, "network")
    if changes:
        raise ComputeError(f"{changes[0]} has changed since the command began", "repeat the command")
