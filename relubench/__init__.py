"""Benchmark activation functions: fair training, honest intervals, beside the published numbers.

>>> import relubench
>>> table = relubench.train(act=["relu", "tanh"], dataset="digits", epochs=5)
>>> table.to_records()[0]["test_error_pct"]
"""

from __future__ import annotations

from relubench.version import __version__

# Not typing's: nothing may be imported before `__main__` has put the search path right, and importing typing takes
# longer than all the rest, while Ctrl-C is not served yet.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from relubench.api import Results, pretrain, train
    from relubench.errors import RelubenchError

__all__ = ["RelubenchError", "Results", "__version__", "pretrain", "train"]


def __getattr__(name: str) -> Any:
    # Late, so that `relubench --help` does not pay for what it does not use.
    if name in ("Results", "pretrain", "train"):
        from relubench import api

        return getattr(api, name)
    if name == "RelubenchError":
        from relubench.errors import RelubenchError

        return RelubenchError
    raise AttributeError(f"module 'relubench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
