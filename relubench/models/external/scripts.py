"""Activations inside TorchScript, which no mode sees: a scripted function runs as the Python that it was made of.

torch.jit.script keeps that function beside its graph. Where there is none (traced functions, methods of TorchScript's
modules), or where it computes something else (`torch.jit.is_scripting()`), the function is sealed: it runs as it is,
and whoever surveys the network is told. A function whose graph calls nothing that is looked for is left alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.jit._state import _try_get_jit_cached_function
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

CALLABLES: tuple[Any, ...] = (torch.jit.ScriptFunction, torch._C.ScriptMethod)
CLOSE = {"rtol": 1e-3, "atol": 1e-5, "equal_nan": True}
"""How far the Python may be from its graph, whose operations may be fused."""


@dataclass(frozen=True, slots=True)
class _Script:
    """A function of TorchScript that was called."""

    function: Any
    """Held, so that no other takes its identity."""
    name: str
    """The first of the functions that are looked for; '' where its graph calls none."""
    original: Callable[..., Any] | None
    """The Python that computes the same; None where it is sealed."""


class ScriptOpeningMode(TorchFunctionMode, ABC):
    """A mode that sees what scripted functions call, if it is among the `sought` names of torch's functions."""

    def __init__(self, sought: Collection[str]) -> None:
        super().__init__()
        self.sought = frozenset(sought)
        self.scripts: dict[int, _Script] = {}
        self.calls: list[Callable[..., Any]] = []
        """What calling TorchScript's functions did before the mode was entered."""

    @abstractmethod
    def sealed(self, name: str, tensors: list[Tensor]) -> None:
        """A sealed function that calls the function of this name is about to be called with these tensors."""

    def __enter__(self) -> Any:
        self.calls = [kind.__call__ for kind in CALLABLES]
        for kind, call in zip(CALLABLES, self.calls, strict=True):
            kind.__call__ = self._opening(call)
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        for script_kind, call in zip(CALLABLES, self.calls, strict=True):
            script_kind.__call__ = call
        super().__exit__(kind, problem, trace)

    def _opening(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """What a call of a scripted function does while the mode is entered."""

        def opened(function: Any, *args: Any, **kwargs: Any) -> Any:
            # An exchanged activation may be TorchScript's itself: then the mode is left while it runs.
            if torch.overrides._get_current_function_mode() is not self:
                return call(function, *args, **kwargs)
            script = self.scripts.get(id(function))
            if script is None:
                script = self.scripts[id(function)] = self._examined(function, call, args, kwargs)
            if script.original is not None:
                return script.original(*args, **kwargs)
            if script.name:
                self.sealed(script.name, [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)])
            return call(function, *args, **kwargs)

        return opened

    def _examined(self, function: Any, call: Callable[..., Any], args: Any, kwargs: Any) -> _Script:
        name = next((name for name in operations(function.inlined_graph) if name in self.sought), "")
        original = getattr(function, "_torchdynamo_inline", None)
        # Traced functions have one, too: what they do may depend on the values that they were traced with.
        compiled = _try_get_jit_cached_function(original) if original is not None else None
        if not name or original is None or compiled is None or compiled.qualified_name != function.qualified_name:
            return _Script(function, name, None)

        def compute(callee: Callable[..., Any], *before: Any) -> Any:
            return callee(*before, *_copied(args), **_copied(kwargs))

        same = _give_the_same(partial(compute, call, function), partial(compute, original))
        return _Script(function, name, original if same else None)


def operations(graph: Any) -> Iterator[str]:
    """The names of a graph's operations in their order, those of inner blocks included, without in-place marks."""
    for node in graph.nodes():
        yield node.kind().partition("::")[2].removesuffix("_")
        for block in node.blocks():
            yield from operations(block)


def _copied(arguments: Any) -> Any:
    return tree_map(lambda leaf: leaf.detach().clone() if isinstance(leaf, Tensor) else leaf, arguments)


def _give_the_same(*computations: Callable[[], Any]) -> bool:
    """Whether both give the same from the same state of chance, and neither raises."""
    results: list[list[Any]] = []
    with torch._C.DisableTorchFunction(), torch.no_grad():
        for compute in computations:
            with torch.random.fork_rng(devices=[]):
                try:
                    results.append(tree_leaves(compute()))
                except Exception:
                    return False
        first, second = results
        return len(first) == len(second) and all(map(_same, first, second))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and torch.allclose(a.double(), b.double(), **CLOSE)
    return type(a) is type(b) and a == b
