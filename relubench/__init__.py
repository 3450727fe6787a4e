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

    from relubench.api import (
        ablate_sparsity,
        compare,
        pretrain,
        run,
        speed,
        train,
        verify,
    )
    from relubench.errors import ComputeError, DataError, RelubenchError, UsageError
    from relubench.reports.listings import (
        list_activations,
        list_columns,
        list_datasets,
        list_figures,
        list_formats,
        list_functions,
        list_models,
        list_presets,
        list_references,
    )
    from relubench.reports.table import Results, Table

_TABLES = ("Results", "Table")
_ERRORS = ("ComputeError", "DataError", "RelubenchError", "UsageError")

__all__ = [
    "ComputeError",
    "DataError",
    "RelubenchError",
    "Results",
    "Table",
    "UsageError",
    "__version__",
    "ablate_sparsity",
    "compare",
    "list_activations",
    "list_columns",
    "list_datasets",
    "list_figures",
    "list_formats",
    "list_functions",
    "list_models",
    "list_presets",
    "list_references",
    "pretrain",
    "run",
    "speed",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    # Late, so that `relubench --help` does not pay for what it does not use.
    if name not in __all__:
        raise AttributeError(f"module 'relubench' has no attribute {name!r}")
    if name in _ERRORS:
        from relubench import errors as module
    elif name in _TABLES:
        from relubench.reports import table as module
    elif name.startswith("list_"):
        from relubench.reports import listings as module
    else:
        from relubench import api as module
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
