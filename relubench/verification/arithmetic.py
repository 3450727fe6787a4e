"""A computation in float64, disturbed or rounded at every step where its own type would have rounded.

What is run is the very code that is checked, a table's kernel, a formula or a user's function, forward and backward:
PyTorch hands over every operation that it consists of (a TorchDispatchMode). Each rounds its result by half a unit in
the last place of its type, a library's function by a declared multiple, a fused one as its steps do (fused.py). Each
may be disturbed by that much, or by a share of it (rounding_effects.py measures what that does to the result). No
activation's name is known here, and no processor's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from relubench.verification.compare import FORMATS
from relubench.verification.fused import FUSED, power

COMPUTED = "fp32"
"""The type in which PyTorch's kernels compute, whatever the type of the values."""
QUALITY = 8.0
"""Half units in the last place by which a library's exp, tanh or sigmoid may miss: 4 ulp, twice what was measured."""
UNDERFLOW = 2.0**-124
"""Absolutely what such a function, or a fused operation, may lose where numbers are no longer normal."""
ERF = 2.0**-20
"""Absolutely what an erf may miss in a fused operation, or of 16 bits: those of some processors are polynomials."""
IN_TYPE = frozenset({"pow", "sigmoid_backward", "glu_backward"})
"""Operations of several steps that round each of them to the type itself, on some processors at least."""
CONSTANTS_IN_TYPE = frozenset({"add", "sub", "rsub", "pow", "fmod", "remainder"})
"""Operations that round a plain number to the type of the tensor beside it; a product takes it in float32."""

ROUNDED_ONCE = frozenset({"add", "sub", "rsub", "mul", "div", "reciprocal", "square"})
EXACT = frozenset(
    re.findall(
        r"\w+",
        """
        relu clamp clamp_min clamp_max maximum minimum where threshold threshold_backward hardtanh hardtanh_backward
        abs neg sign sgn floor ceil round trunc copysign heaviside softshrink_backward hardshrink hardshrink_backward
        hardsigmoid_backward max min amax amin aminmax masked_fill nan_to_num eq ne lt le gt ge isnan isinf isfinite
        logical_and logical_or logical_not logical_xor bitwise_and bitwise_or bitwise_not
        detach alias clone copy _to_copy lift_fresh view _unsafe_view reshape t transpose permute expand unsqueeze
        squeeze select slice split split_with_sizes unbind cat stack index gather scatter scatter_add index_select
        slice_backward select_backward as_strided resize new_zeros new_empty new_full new_ones empty empty_like zeros
        zeros_like ones ones_like full full_like scalar_tensor fill zero nextafter _local_scalar_dense
        """,
    )
)
"""Results that are among the operands, or whole numbers, or views: nothing is rounded but a constant."""

PRODUCTS = frozenset({"mul", "div"})
"""Operations that may be exact: products with 1 or 2. A sum that looks so has lost its digits in float64 already."""
JUMPING = frozenset({"lt", "le", "gt", "ge", "floor", "ceil", "round", "trunc", "sign", "sgn", "heaviside"})
"""Operations whose result jumps."""
NEAR = 4.0
"""Half units in the last place within which a rounded number may compare, or round, otherwise than the true one."""


def result_of(steps: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The steps' result, of a copy of the points: a user's code may write over them."""
    return steps(x.contiguous().clone()).detach()


def emulated(steps: Callable[[Tensor], Tensor], x: Tensor, dtype: str) -> tuple[Tensor, Tensor]:
    """The result of `steps` at x [C, N] in float64, every step's rounded to the nearest number of `dtype`.

    And where a step's result is beyond the largest number of the type, bool [N].
    """
    roundings = Roundings(dtype, points=x.shape[1], rounded=True)
    with roundings:
        return result_of(steps, x), roundings.largest.isinf()


@contextmanager
def widened() -> Iterator[None]:
    """A block in which a user's casts to shorter types leave float64 as it is."""
    with Roundings("fp64"):
        yield


_TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_EXPONENT = 0x7FF << 52


def half_ulp(y: Tensor, dtype: str) -> Tensor:
    """Half the distance of neighbouring numbers of the type at y (float64)."""
    digits, least_exponent, greatest_exponent = FORMATS[dtype]
    scale = (y.contiguous().view(torch.int64) & _EXPONENT).view(torch.float64)
    return scale.clamp_(2.0**least_exponent, 2.0**greatest_exponent).mul_(2.0**-digits)


class Roundings(TorchDispatchMode):
    """Operations on float64 as `dtype` would have them: counted, one of them disturbed, or each of them rounded.

    With 'fp64' they are only kept in float64.
    """

    def __init__(
        self, dtype: str, *, points: int = 0, disturbed: Mapping[int, Tensor] | None = None, rounded: bool = False
    ) -> None:
        super().__init__()
        self.dtype, self.points, self.rounded = dtype, points, rounded
        self.disturbed = disturbed or {}
        """Step -> the share of its rounding, -1 (all of it, down) to 1, for all points or for each."""
        self.precision = dtype
        """The type whose roundings the operations at hand have: float32's within a fused one."""
        self.fused = False
        self.step = 0
        self.rounded_steps: list[int] = []
        """The steps at which something is rounded at all."""
        self.largest = torch.zeros(points, dtype=torch.float64)
        self.arithmetic = False
        self.library = False
        """Whether an exp or its like is among the operations."""
        self.jumps = False
        """Whether a rounded number is compared, or rounded to a whole one."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        keywords = dict(kwargs or {})
        name = func._schema.name.partition("::")[2]
        base = name.removesuffix("_")
        if base == "_to_copy" and getattr(keywords.get("dtype"), "is_floating_point", False):
            keywords["dtype"] = torch.float64
        if self.dtype == "fp64":
            return func(*args, **keywords)
        if base in EXACT:
            args = self._disturb_beside_jump(args) if base in JUMPING else args
            return func(*self._constants(func, args, self.precision), **keywords)
        steps = self._steps(base, args)
        if steps is not None and not (self.rounded and base in FUSED):
            result = self._by_steps(base, steps, args, func, keywords, in_place=name != base)
        else:
            constants_precision = self.precision if base in CONSTANTS_IN_TYPE else COMPUTED
            result = func(*self._constants(func, args, constants_precision), **keywords)
            if isinstance(result, tuple):
                return result
            self._round(result, base, args, in_place=name != base)
        return result

    def _steps(self, base: str, args: Sequence[Any]) -> Callable[..., Any] | None:
        if base == "pow" and isinstance(args[0], Tensor) and isinstance(args[1], int | float):
            exponent = args[1]
            return (lambda x, _: power(x, exponent)) if exponent in (0, 1, 2, 3, -1, -2) else None
        return FUSED.get(base)

    def _by_steps(
        self,
        base: str,
        steps: Callable[..., Any],
        args: Sequence[Any],
        func: Any,
        keywords: dict[str, Any],
        in_place: bool,
    ) -> Any:
        """The result of an operation that consists of several, written where the operation itself would have it."""
        targets = [
            keywords.pop(argument.name)
            for argument in func._schema.arguments
            if argument.is_out and argument.name in keywords
        ]
        saved_state, is_fused = (self.precision, self.fused), base in FUSED
        self.precision, self.fused = self.precision if base in IN_TYPE else COMPUTED, is_fused
        # A user's tape must not see the steps: the operation has a backward pass of its own.
        with self, torch.no_grad():
            result = steps(*args, **keywords)
        self.precision, self.fused = saved_state
        first_result = result[0] if isinstance(result, tuple) else result
        if is_fused:
            self._round(first_result, "fused", args, in_place=True)
        if in_place or targets:
            return (targets[0] if targets else args[0]).copy_(first_result)
        return result

    def _disturb_beside_jump(self, args: Sequence[Any]) -> Sequence[Any]:
        """The operands of what jumps; the first, where it was rounded, may lie on the other side of a near jump."""
        first = args[0]
        if not isinstance(first, Tensor) or first.dtype != torch.float64 or self.rounded:
            return args
        step, self.step = self.step, self.step + 1
        if step in self.disturbed:
            share = _share_of_each(self.disturbed[step], first)
            return [first + half_ulp(first, self.precision) * NEAR * share, *args[1:]]
        if not self.disturbed and not self._is_representable(first):
            self.rounded_steps.append(step)
            self.jumps = True
        return args

    def _constants(self, func: Any, args: Sequence[Any], precision: str) -> list[Any]:
        """The arguments, with constants as their type has them: rounded, or disturbed by their own rounding."""
        like = next((argument for argument in args if isinstance(argument, Tensor)), None)
        return [
            # Where the operation takes a tensor in its place, each point has a share of its own.
            self._constant(value, precision, like if isinstance(slot.type, torch.TensorType) else None)
            if isinstance(value, float)
            else value
            for value, slot in zip(args, func._schema.arguments, strict=False)
        ]

    def _constant(self, value: float, precision: str, like: Tensor | None) -> float | Tensor:
        rounded = float(torch.tensor(value, dtype=torch.float64).to(_TYPES[precision]))
        if rounded == value or not -torch.inf < rounded < torch.inf:
            return value
        step, self.step = self.step, self.step + 1
        if self.rounded:
            return rounded
        self.rounded_steps.append(step)
        if step not in self.disturbed:
            return value
        share = self.disturbed[step]
        size = abs(rounded - value)
        return value + size * (float(share.flatten()[0]) if like is None else _share_of_each(share, like))

    def _round(self, result: Any, base: str, args: Sequence[Any], *, in_place: bool) -> None:
        """Count the rounding of a fresh result, disturb it, or do it; over the result itself."""
        if not isinstance(result, Tensor) or result.dtype != torch.float64:
            return
        step, self.step = self.step, self.step + 1
        self.arithmetic = True
        if self.rounded:
            if self.precision != COMPUTED or self.dtype == COMPUTED:
                result.copy_(result.to(_TYPES[self.precision]))
                self._track_largest(result)
        elif step in self.disturbed:
            disturbed = result + self._error(result, base) * _share_of_each(self.disturbed[step], result)
            # Rounding never takes a number to the other side of 0.
            result.copy_(torch.where(disturbed * result.sign() < 0, 0.0, disturbed))
        elif not self.disturbed and not (base in PRODUCTS and self._is_exact(result, args, in_place)):
            self.rounded_steps.append(step)
            self.library |= base not in ROUNDED_ONCE
            self._track_largest(result)

    def _error(self, result: Tensor, base: str) -> Tensor:
        if base == "fused":
            # In float32 the last step has been rounded already.
            return torch.full_like(result, UNDERFLOW).add_(
                half_ulp(result, self.precision) if self.precision != COMPUTED else 0.0
            )
        own_rounding = half_ulp(result, self.precision)
        if base in ROUNDED_ONCE:
            return own_rounding
        if base == "erf" and (self.fused or self.precision != COMPUTED):
            return own_rounding.add_(ERF)
        library_error = half_ulp(result, COMPUTED).mul_(QUALITY).add_(UNDERFLOW)
        return library_error if self.precision == COMPUTED else own_rounding.add_(library_error)

    def _is_exact(self, result: Tensor, args: Sequence[Any], in_place: bool) -> bool:
        """Whether it is one of the operands (a product with 1), or numbers of the type made of such."""
        operands = [operand for operand in args if isinstance(operand, Tensor) and operand is not result]
        if not in_place and any(_same(operand, result) for operand in operands):
            return True
        return not in_place and all(self._is_representable(operand) for operand in (*operands, result))

    def _is_representable(self, values: Tensor) -> bool:
        return _same(values.to(_TYPES[self.precision]).to(values.dtype), values)

    def _track_largest(self, result: Tensor) -> None:
        if self.points and result.numel() and result.numel() % self.points == 0:
            magnitudes = result.detach().abs().reshape(-1, self.points).amax(0)
            self.largest = torch.maximum(self.largest, magnitudes.nan_to_num(torch.inf, torch.inf))


def _share_of_each(share: Tensor, values: Tensor) -> Tensor | float:
    """The share for each of the values, which hold the share's points once or several times in turn."""
    if share.numel() == values.numel():
        return share.view_as(values)
    if share.numel() and values.numel() % share.numel() == 0:
        return share.flatten().repeat(values.numel() // share.numel()).view_as(values)
    return 1.0


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())
