"""Which run a user means. Torch-free."""

from __future__ import annotations

from relubench.errors import UsageError


def find_run(start: str, run_ids: list[str]) -> str:
    """The id that begins with `start`; raises UsageError where none or several do."""
    matching = [run_id for run_id in run_ids if run_id.startswith(start)] if start else []
    if start in run_ids:
        return start
    if len(matching) > 1:
        examples = ", ".join(matching[:4]) + (", ..." if len(matching) > 4 else "")
        raise UsageError(f"{len(matching)} runs begin with {start!r}", f"give more of the id: {examples}")
    if not matching:
        raise UsageError(f"there is no run {start!r}", "`relubench runs` lists the ids; --runs-dir says where")
    return matching[0]
