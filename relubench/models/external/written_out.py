"""Recognises activations that a forward writes out of elementary functions: x*relu6(x + 3)/6, x/(1 + exp(-x)).

Every elementwise call is computed beside itself on a grid, as a function of each tensor that it goes back to alone:
its roots. Where that is a known activation's curve, the steps from the root to the result are one activation. What a
step is called: the path of the module at work and how many elementwise calls it made before in the same forward.

Shapes: a grid's values [N], float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relubench.models.external.calls import Chain, Step, functions_of

STEPS = (
    *("mul", "multiply", "div", "divide", "true_divide", "__rdiv__", "__rtruediv__", "add", "sub", "subtract"),
    *("rsub", "__rsub__", "neg", "negative", "pow", "__pow__", "__rpow__", "square", "sqrt", "reciprocal", "abs"),
    *("exp", "expm1", "log", "log1p", "erf", "tanh", "sigmoid", "expit", "softplus", "relu", "relu6", "hardtanh"),
    *("clamp", "clip", "clamp_min", "clamp_max", "maximum", "minimum", "fmax", "fmin", "where"),
    *("gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal", "logaddexp"),
)
"""Functions of each entry alone that activations are written with."""
_STEPS = functions_of(STEPS)

SCALINGS = ("mul", "multiply", "div", "divide", "true_divide")
BOUNDED = ("relu6", "hardtanh")
GATES = ("hardsigmoid",)
"""Recognised so that no part of it is taken for an activation."""

GRID = torch.linspace(-9.0, 9.0, 362, dtype=torch.float64)
"""Never 0, where a kink is what the author made of it."""
CLOSE = 2e-5
"""Constants are typed with few digits: 0.79788456, 1.4142."""
ROOTS = 6
"""So many tensors that a result goes back to are followed, the latest."""


class Steps:
    """Names the elementwise calls of a forward in their order."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def start(self) -> None:
        """A forward begins."""
        self.counts.clear()

    def next(self, path: str) -> Step:
        """The name of a call that the module at `path` makes."""
        number = self.counts.get(path, 0)
        self.counts[path] = number + 1
        return path, number


def is_step(func: Any) -> bool:
    """Whether it is a function of each entry alone that is followed."""
    return func in _STEPS


def step_name(func: Any) -> str:
    """The name that the step's function goes by."""
    return _STEPS[func]


@dataclass(slots=True)
class _Curve:
    """A result as a function of one root."""

    values: Tensor
    first: Step
    argument: int
    inside: frozenset[int]
    """Numbers of the steps from the root on, this one included."""


@dataclass(slots=True)
class _Node:
    """A result, with its version: held, so that no other tensor has its identity."""

    value: Tensor
    version: int
    curves: dict[tuple[int, int], _Curve]


@dataclass(slots=True)
class Written:
    """A result that has a known activation's curve."""

    function: str
    chain: Chain
    inside: frozenset[int]
    result: Tensor


@dataclass(slots=True)
class Tracker:
    """Follows the elementwise calls of one forward."""

    steps: Steps = field(default_factory=Steps)
    nodes: dict[int, _Node] = field(default_factory=dict)
    alive: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    """Every argument: so that no other tensor takes its identity."""
    written: list[Written] = field(default_factory=list)
    scaled: set[int] = field(default_factory=set)
    """Of tensors that are multiplied or divided."""
    number: int = 0
    """Of the latest step; 0 before the first."""

    def before(self, func: Any, args: Sequence[Any], path: str) -> Callable[[Any, dict[str, Any]], None] | None:
        """What has to be called with the result of a step; None for other calls."""
        if func not in _STEPS or not torch.is_grad_enabled():
            return None
        step = self.steps.next(path)
        self.number += 1
        arguments_by_root = {root: self._arguments(args, root) for root in self._roots(args)}
        if _STEPS[func] in SCALINGS:
            self.scaled |= {id(argument) for argument in args if isinstance(argument, Tensor)}

        def after(h: Any, kwargs: dict[str, Any]) -> None:
            if isinstance(h, Tensor):
                self._add(func, kwargs, h, arguments_by_root, step)

        return after

    def largest(self, refused: frozenset[int], activation_steps: Mapping[int, str]) -> Iterator[Written]:
        """Those that hold a step of `refused`, and are not part of a larger one.

        `activation_steps`: steps that are an activation -> its name. One of these alone, or what changes nothing about
        it, is not written out. A bounded one that is scaled may be a hard sigmoid, thus a gate. Of a GELU the tanh
        alone would be exchanged.
        """
        fitting = [
            candidate
            for candidate in self.written
            if (candidate.inside & refused or candidate.function == "gelu")
            and candidate.inside - activation_steps.keys()
            and candidate.function not in _functions_inside(candidate, activation_steps)
        ]
        for candidate in fitting:
            scaled = candidate.function in BOUNDED and id(candidate.result) in self.scaled
            gate = candidate.function in GATES or scaled
            if not gate and not any(candidate.inside < larger.inside for larger in fitting):
                yield candidate

    def _roots(self, args: Sequence[Any]) -> list[tuple[int, int]]:
        """The tensors that all tensors among the arguments go back to, or are."""
        root_sets: list[dict[tuple[int, int], None]] = []
        for argument in args:
            if isinstance(argument, Tensor) and not _is_constant(argument):
                self.alive[_identity(argument)] = argument
                node = self._node(argument)
                root_sets.append({**(dict.fromkeys(node.curves) if node else {}), _identity(argument): None})
        common = [root for root in (root_sets[0] if root_sets else {}) if all(root in roots for roots in root_sets)]
        return common[-ROOTS:]

    def _node(self, x: Tensor) -> _Node | None:
        node = self.nodes.get(id(x))
        return node if node is not None and node.version == x._version else None

    def _arguments(self, args: Sequence[Any], root: tuple[int, int]) -> list[tuple[Any, _Curve | None]]:
        """Each argument on the grid, and the curve that it is where it is not the root itself."""
        grid_arguments: list[tuple[Any, _Curve | None]] = []
        for argument in args:
            if not isinstance(argument, Tensor):
                grid_arguments.append((argument, None))
            elif _identity(argument) == root:
                grid_arguments.append((GRID, None))
            elif _is_constant(argument):
                grid_arguments.append((argument.detach().double().cpu().reshape(()), None))
            else:
                node = self._node(argument)
                assert node is not None
                grid_arguments.append((node.curves[root].values, node.curves[root]))
        return grid_arguments

    def _add(
        self,
        func: Any,
        kwargs: dict[str, Any],
        h: Tensor,
        arguments_by_root: dict[tuple[int, int], list[tuple[Any, _Curve | None]]],
        step: Step,
    ) -> None:
        if any(isinstance(value, Tensor) for value in kwargs.values()):
            return
        curves: dict[tuple[int, int], _Curve] = {}
        for root, arguments in arguments_by_root.items():
            values = _on_grid(func, [value for value, _ in arguments], kwargs)
            if values is None:
                continue
            below = [curve for _, curve in arguments if curve is not None]
            own = next((n for n, (value, _) in enumerate(arguments) if value is GRID), None)
            first = min(below, key=lambda curve: min(curve.inside)) if below else None
            if own is not None:
                begin, argument = step, own
            else:
                assert first is not None
                begin, argument = first.first, first.argument
            inside = frozenset({self.number}).union(*(curve.inside for curve in below))
            curves[root] = _Curve(values, begin, argument, inside)
            if values.dtype == torch.float64 and (function := known(values)):
                chain = Chain(begin, argument, step, step_name(func))
                self.written.append(Written(function, chain, inside, h))
        if curves:
            self.nodes[id(h)] = _Node(h, h._version, curves)


def _functions_inside(written: Written, activation_steps: Mapping[int, str]) -> set[str]:
    """The names of the activations that are steps of it."""
    return {activation_steps[step] for step in written.inside & activation_steps.keys()}


def _identity(x: Tensor) -> tuple[int, int]:
    return id(x), x._version


def _is_constant(x: Tensor) -> bool:
    return x.numel() == 1 and not x.requires_grad and not isinstance(x, nn.Parameter)


def _on_grid(func: Any, arguments: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    """The step's result on the grid; None where it has none of one value a point."""
    own = [argument.clone() if isinstance(argument, Tensor) else argument for argument in arguments]
    try:
        with torch.no_grad():
            values = func(*own, **kwargs)
    except (RuntimeError, TypeError, ValueError, IndexError):
        return None
    return values if isinstance(values, Tensor) and values.shape == GRID.shape else None


_KNOWN: dict[str, list[Tensor]] = {
    "relu": [F.relu(GRID)],
    "relu6": [F.relu6(GRID)],
    "hardtanh": [F.hardtanh(GRID)],
    "hardswish": [F.hardswish(GRID)],
    "gelu": [F.gelu(GRID), F.gelu(GRID, approximate="tanh")],
    "silu": [F.silu(GRID)],
    "mish": [F.mish(GRID)],
    "softplus": [F.softplus(GRID)],
    "elu": [F.elu(GRID)],
    "selu": [F.selu(GRID)],
    "tanh": [torch.tanh(GRID)],
    "hardsigmoid": [F.hardsigmoid(GRID), (0.2 * GRID + 0.5).clamp(0, 1), (GRID / 2 + 0.5).clamp(0, 1)],
}


def known(values: Tensor) -> str:
    """The activation that has these values on the grid; '' if none has."""
    for name, curves in _KNOWN.items():
        if any(torch.allclose(values, curve, rtol=0, atol=CLOSE) for curve in curves):
            return name
    slope = float(values[0] / GRID[0])
    return (
        "leaky_relu" if 0 < slope < 1 and torch.allclose(values, F.leaky_relu(GRID, slope), rtol=0, atol=CLOSE) else ""
    )
