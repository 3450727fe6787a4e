"""An activation called on points, whatever shape it takes: laid out as a layer's input, and read back.

Shapes: N points, U units (1 where an activation takes any shape), a frame's example (F,) or (C, Y, X).
"""

from __future__ import annotations

import contextlib
import itertools
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from relubench.activations.definition import Activation, fixed
from relubench.activations.layer_input import ANY, Frame
from relubench.errors import UsageError
from relubench.system.user_code.origin import missing_module, one_line
from relubench.system.user_code.records import sample

ROWS, COLUMNS = 6, 14
"""Of the input that stands for any shape: a width that no activation was made for."""
RANGE = 6.0
"""Within this of 0 everything must be finite: where normalised pre-activations lie."""
_CROWD = 97
"""Points between -6 and 6 that go with every call, so that no part of the range is ever empty."""
SHAPE_HINT = "an activation takes one tensor of any shape and gives one of the same shape"
_SAME = (1e-5, 1e-6)
"""Relative and absolute: a user's code may compute in float32 whatever it is given, and round by place in a vector."""


class Unfit(UsageError):
    """The activation does not take this shape or type; it may take another."""


class Trial:
    """One instance of an activation in evaluation, with its errors turned into ours."""

    def __init__(
        self, label: str, activation: Activation, frame: Frame = ANY, dtype: torch.dtype = torch.float64
    ) -> None:
        self.label, self.activation, self.frame, self.dtype = label, activation, frame, dtype
        self.calls = itertools.count()
        self.module: nn.Module | None = None
        if activation.module is not None:
            self.module = fixed(activation.module).to(dtype).eval()
        self.learned = tuple(torch.tensor(value, dtype=dtype, requires_grad=True) for value in activation.learned)

    def values(self, points: Tensor) -> Tensor:
        """f at the points [N]: [N, U]."""
        with torch.no_grad():
            return self.read(self.call(self.laid(points)), len(points))

    def slopes(self, points: Tensor) -> Tensor:
        """What autograd makes of f' at the points [N]: [N, U]."""
        return self.with_slopes(points)[1]

    def with_slopes(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Values and slopes [N, U]; UsageError where no gradient gets through."""
        laid = self.laid(points).contiguous().requires_grad_()
        with torch.enable_grad():
            h = self.call(laid)
            if not h.requires_grad:
                raise UsageError(
                    f"{self.label} passes no gradient to its input",
                    "a network cannot learn through a step, nor past autograd (detach, numpy)",
                )
        (slopes,) = self.gradients(h.sum(), [laid])
        return self.read(h.detach(), len(points)), self.read(slopes, len(points))

    def gradients(self, output_sum: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The gradients of a scalar; an error in a backward pass is the user's."""
        with guarded(f"{self.label} failed in its backward pass", "see its backward(): what it gives, and how many"):
            result = torch.autograd.grad(output_sum, inputs, allow_unused=True, materialize_grads=True)
        return tuple(result)

    def call(self, z: Tensor) -> Tensor:
        """f(z), its random numbers new at every call and given back; UsageError, Unfit for its own errors."""
        message = f"{self.label} failed on a {z.dtype} tensor of shape {tuple(z.shape)}"
        with guarded(message, SHAPE_HINT, Unfit), chance(next(self.calls)):
            result = self.module(z) if self.module is not None else self.activation.function(z, learned=self.learned)
        sample()
        if not isinstance(result, Tensor):
            kind = type(result).__name__
            hint = "return one tensor"
            if isinstance(result, nn.Module):
                hint = "it makes activations: give its arguments behind colons, or name what it returns"
            raise UsageError(f"{self.label} gives {kind}, not a tensor", hint)
        return result

    def check(self) -> None:
        """Refuse what is not a deterministic function of each entry alone."""
        z = examples(self.frame, ROWS, self.dtype)
        argument = z.clone()
        with torch.no_grad():
            h = self.call(argument)
            if not torch.equal(argument, z):
                raise UsageError(
                    f"{self.label} changes its input in place, but not always",
                    "return a new tensor: x.mul(y), not x.mul_(y)",
                )
            check_shape(self.label, h, z)
            if h.dtype != z.dtype:
                raise Unfit(f"{self.label} gives {h.dtype} for {z.dtype}", "an activation keeps the dtype")
            replacement = examples(self.frame, ROWS, self.dtype, seed=1)
            is_replaced = torch.rand(z.shape, generator=torch.Generator().manual_seed(2)) < 0.5
            views = [(z, h, ...), (torch.where(is_replaced, replacement, z), h, ~is_replaced), (z[1:5], h[1:5], ...)]
            if not self.frame.example:
                views.append((z.flatten()[:, None], h.flatten()[:, None], ...))
            for view, expected, is_kept in views:
                self._check_part(view, expected, is_kept)

    def _check_part(self, view: Tensor, expected: Tensor, is_kept: object) -> None:
        h = self.call(view.clone())
        if h.shape != view.shape:
            raise Unfit(f"{self.label} gives shape {tuple(h.shape)} for shape {tuple(view.shape)}", SHAPE_HINT)
        if not torch.allclose(h[is_kept], expected[is_kept], rtol=_SAME[0], atol=_SAME[1], equal_nan=True):  # type: ignore[index]
            raise UsageError(
                f"{self.label} gives an entry another value when its neighbours or the call change",
                "an activation must depend on each entry alone, and draw noise only while self.training",
            )

    def laid(self, points: Tensor) -> Tensor:
        """The points and a crowd around them in the frame's shape, each unit with all of them."""
        z = torch.cat([points.to(self.dtype), torch.linspace(-RANGE, RANGE, _CROWD, dtype=self.dtype)])
        example = self.frame.example
        if len(example) == 1:
            return z[:, None].expand(-1, example[0]).clone()
        pixels = math.prod(example[1:]) if example else COLUMNS
        z = torch.cat([z, z[: -len(z) % pixels]]) if len(z) >= pixels else z.repeat(math.ceil(pixels / len(z)))[:pixels]
        if not example:
            return z.reshape(-1, COLUMNS)
        return z.reshape(-1, 1, *example[1:]).expand(-1, *example).clone()

    def read(self, laid: Tensor, points: int) -> Tensor:
        example = self.frame.example
        if len(example) == 1:
            return laid[:points]
        by_unit = laid.reshape(-1, 1) if not example else laid.movedim(1, -1).reshape(-1, example[0])
        return by_unit[:points]


def fitting(label: str, activation: Activation, layers: Sequence[Frame] = ()) -> Trial:
    """A trial in the first shape and type that the activation takes, float64 if it can; UsageError if there is none."""
    first_problem: UsageError | None = None
    layer_problem: UsageError | None = None
    for dtype in (torch.float64, torch.float32):
        for frame in [ANY, *(dict.fromkeys(layers) if layers else _frames_of_parameters(activation))]:
            trial = Trial(label, activation, frame, dtype)
            try:
                trial.check()
                return trial
            except Unfit as problem:
                first_problem = first_problem or problem
                if frame.layer:
                    layer_problem = layer_problem or UsageError(
                        f"{frame.layer} cannot take it: {problem.message}", layer_hint(activation, frame, problem.hint)
                    )
    assert first_problem is not None
    raise layer_problem or first_problem


def layer_hint(activation: Activation, frame: Frame, otherwise: str) -> str:
    """What to do where a layer cannot take it, because its parameters are for another number of units."""
    widths = _parameter_widths(activation)
    if not widths:
        return otherwise
    if frame.units in widths:
        kind = "[B, C, Y, X]" if len(frame.example) == 3 else "[B, F]"
        return f"its parameters do not lie along the units of a layer with values {kind}: see their shapes"
    numbers = " or ".join(str(width) for width in widths)
    return f"its parameters are for {numbers} units: give it another number behind a colon, or the layers that width"


def _parameter_widths(activation: Activation) -> list[int]:
    """The widths that an instance of the module tells."""
    return widths_of(fixed(activation.module)) if activation.module is not None else []


def widths_of(module: nn.Module) -> list[int]:
    """The lengths of the parameters and buffers that have one number a unit."""
    shapes = [item.shape for item in [*module.parameters(), *module.buffers()] if not is_lazy(item)]
    return sorted({max(shape) for shape in shapes if math.prod(shape) == max(shape, default=0) > 1})


def flat_call(function: Callable[[Tensor], Tensor], activation: Activation) -> Callable[[Tensor], Tensor]:
    """The function, which `activation` gave, of points [N]: in rows, or as images, where it takes no flat tensor.

    Each point is then one unit's, in turn. What takes no shape at all is left as it is, and says so when it is called.
    """
    first_parameter = next(function.parameters(), None) if isinstance(function, nn.Module) else None
    sample_tensor = first_parameter if first_parameter is not None else torch.empty(0)
    shapes = [(frame.example[0], *[1] * len(frame.example[1:])) for frame in _frames_of_parameters(activation)]
    for shape in [(), (COLUMNS,), *shapes]:
        call = _Rows(function, shape) if shape else function
        with contextlib.suppress(Exception), silenced(), torch.no_grad(), chance(0):
            z = torch.linspace(-RANGE, RANGE, _CROWD, dtype=sample_tensor.dtype, device=sample_tensor.device)
            if call(z).shape == z.shape:
                return call
    return function


class _Rows:
    """A function of [R, *shape] as one of [N], filled up with zeros."""

    def __init__(self, function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
        self.function, self.shape = function, shape

    def __call__(self, z: Tensor) -> Tensor:
        padding = -len(z) % math.prod(self.shape)
        rows = (torch.nn.functional.pad(z, (0, padding)) if padding else z).view(-1, *self.shape)
        return self.function(rows).reshape(-1)[: len(z)]


def _frames_of_parameters(activation: Activation) -> Iterator[Frame]:
    """Shapes that the module's parameters and buffers suggest, where no network is known."""
    for width in _parameter_widths(activation):
        yield Frame((width,))
        yield Frame((width, 5, 7))


def examples(frame: Frame, rows: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Inputs of the frame's shape [rows, ...], from -6 to 6 in every row."""
    shape = (rows, *(frame.example or (COLUMNS,)))
    num_values = math.prod(shape[1:])
    generator = torch.Generator().manual_seed(seed)
    row = torch.linspace(-RANGE, RANGE, num_values, dtype=dtype) if num_values > 1 else torch.ones(1, dtype=dtype)
    shift = torch.rand(rows, 1, generator=generator, dtype=torch.float64).to(dtype) * 0.1
    order = torch.stack([torch.randperm(num_values, generator=generator) for _ in range(rows)])
    return ((row.expand(rows, -1) - shift).gather(1, order)).reshape(shape)


def check_shape(label: str, h: Tensor, z: Tensor) -> None:
    if h.shape != z.shape:
        halves = h.dim() == z.dim() and 2 * h.numel() == z.numel()
        hint = "gated activations are the table's: glu, swiglu, geglu, reglu, bilinear; they get two columns a unit"
        raise Unfit(
            f"{label} gives shape {tuple(h.shape)} for shape {tuple(z.shape)}",
            hint if halves else "an activation keeps the shape",
        )


def silenced() -> contextlib.redirect_stdout[TextIO]:
    """Inside, what a user's code prints goes to stderr."""
    return contextlib.redirect_stdout(sys.stderr)


@contextlib.contextmanager
def guarded(message: str, hint: str, kind: type[UsageError] = UsageError) -> Iterator[None]:
    """A user's code: its errors become ours with their place, and what it prints goes to stderr."""
    try:
        with silenced():
            yield
    except UsageError:
        raise
    except (Exception, SystemExit) as problem:
        raise kind(f"{message}: {one_line(problem)}", _hint(problem, hint)) from problem


def _hint(problem: BaseException, otherwise: str) -> str:
    """What the error itself says to do; `otherwise` where it says nothing, or is about shapes."""
    if missing := missing_module(problem):
        return missing
    text = str(problem)
    if "in-place operation" in text or "modified by an inplace" in text:
        return "it changes a tensor in place that its backward pass needs: make a new tensor"
    if "numpy" in text:
        return "numpy has no gradients: use the functions of torch"
    if otherwise != SHAPE_HINT:
        return otherwise
    if isinstance(problem, KeyError | AttributeError | TypeError):
        return "it is called with one tensor, nothing else; if it makes activations, give its arguments behind colons"
    about_shapes = re.search(r"shape|size|dimension|dim\b|channel|unpack|index", text, re.IGNORECASE)
    return (
        SHAPE_HINT
        if about_shapes
        else f"it is its own error: try it on torch.linspace(-6, 6, 84).view({ROWS}, {COLUMNS})"
    )


@contextlib.contextmanager
def chance(number: int) -> Iterator[None]:
    """Inside, random numbers are those of this number; afterwards torch's generator is as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(number)
        yield
