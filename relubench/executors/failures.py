"""Errors that stop a training: which one it is, and what the user reads of it."""

from __future__ import annotations

import errno
import sys

from relubench.errors import ComputeError, RelubenchError
from relubench.executors.job import Job
from relubench.runs.job_store import JobStore
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


def user_error(error: BaseException, job: Job, store: JobStore) -> RelubenchError:
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
        return ComputeError("the disk is full: the run could not be stored", f"make room in {store.root}, then repeat")
    if place := place_of(error):
        return ComputeError(
            f"training {spec.activation} failed: {one_line(error)}", f"the error is that of your own code, in {place}"
        )
    return ComputeError(f"training {spec.activation} failed: {type(error).__name__}: {text}", "--debug shows where")
