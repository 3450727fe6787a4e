"""How far rounding can explain an error: what the result does when the roundings of a computation are disturbed.

Each rounding is disturbed by all of itself, up and down; the larger changes of the result, added up, are what the
roundings explain to first order. Where the result does not follow the disturbances in proportion (sin of a large x,
whose rounding moves it by many periods; a step nearby) two values of an interval say nothing about the rest: there
random shares of the roundings are drawn, of one rounding at a time and of all at once. Where a few of these change the
result far more than most do, the largest change is searched for: beside a pole (tan of a large x) there is none.

N points; C columns, of which slopes have several.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relubench.models.random_streams import stream
from relubench.verification.arithmetic import UNDERFLOW, Roundings, result_of

SLACK = 1.01
"""First order is not everything."""
FAR_ABOVE_UNDERFLOW = 2.0**-100
"""Changes below it come of numbers that are not normal in float32."""
DISPROPORTION = 1 / 4
"""Share of a change from which on it does not follow the disturbance in proportion."""
DRAWS = 12
"""Shares drawn of each rounding where the result is nonlinear in it."""
UNEVEN = 2.2
"""Times the median of the drawn changes; a largest one beyond it is searched for. A sine's is at most twice."""
REACH, SCANNED, SEARCHES = 1.25, 8, 15
"""How many roundings a search goes up and down, for other roundings may help; over how many points, and then nearer."""
POLE = 8.0
"""Times the largest change at the points of a search; what lies between them and is larger still is a pole."""


@dataclass(frozen=True, slots=True)
class RoundingEffect:
    """The effect of roundings on a computation's result [..., N]."""

    allowance: Tensor
    """By how much roundings may change it."""
    nonlinear: Tensor
    """Where one rounding changes it much, and not in proportion: sin(x) of a large x, a step nearby."""
    largest: Tensor
    """[N]: the largest magnitude among what it is made of."""
    undefined: Tensor
    """Where its own steps give NaN in float64 already: a product of infinity and 0."""
    arithmetic: bool
    """Whether any step computes; False where values are only selected."""


def rounding_effect(steps: Callable[[Tensor], Tensor], x: Tensor, dtype: str) -> RoundingEffect:
    """What the roundings of `steps` at x [C, N], written for `dtype` and run in float64, explain of the result."""
    counting = Roundings(dtype, points=x.shape[1])
    with counting:
        base = result_of(steps, x)
    disturbances = _Disturbances(steps, x, dtype, base, counting.rounded_steps, counting.jumps)
    total, is_nonlinear = disturbances.to_first_order()
    is_drawn = is_nonlinear.view(-1, x.shape[1]).any(0)
    if is_drawn.any():
        effects = disturbances.at(is_drawn).drawn().view(-1, int(is_drawn.sum()))
        rows = total.view(-1, x.shape[1])
        rows[:, is_drawn] = torch.maximum(rows[:, is_drawn], effects)
    total = SLACK * total + (UNDERFLOW if counting.library else 0.0)
    return RoundingEffect(total, is_nonlinear, counting.largest, base.isnan(), counting.arithmetic)


class _Disturbances:
    """A computation at x [C, N] under disturbed roundings, against its undisturbed result `base` [..., N]."""

    def __init__(
        self,
        steps: Callable[[Tensor], Tensor],
        x: Tensor,
        dtype: str,
        base: Tensor,
        rounded_steps: Sequence[int],
        jumps: bool,
    ) -> None:
        self.steps, self.x, self.dtype, self.base = steps, x, dtype, base
        self.rounded_steps, self.jumps = rounded_steps, jumps
        self.generator = stream(0, "verify-roundings")

    def at(self, chosen: Tensor) -> _Disturbances:
        """The same at some of the points; bool [N]."""
        base = self.base.view(-1, self.x.shape[1])[:, chosen]
        base = base if self.base.dim() > 1 else base[0]
        return _Disturbances(self.steps, self.x[:, chosen], self.dtype, base, self.rounded_steps, self.jumps)

    def change(self, disturbed: Mapping[int, Tensor]) -> Tensor:
        """The change of the result when these steps are disturbed by these shares of their roundings."""
        with Roundings(self.dtype, disturbed=disturbed):
            return (result_of(self.steps, self.x) - self.base).nan_to_num_(0.0, torch.inf, -torch.inf)

    def to_first_order(self) -> tuple[Tensor, Tensor]:
        """The changes by each rounding, up and down, added up; and where the result is nonlinear in them."""
        straight, bent, num_bent, proportional = (torch.zeros_like(self.base) for _ in range(4))
        is_nonlinear = torch.zeros_like(self.base, dtype=torch.bool)
        directions: dict[int, Tensor] = {}
        shares = {step: self._random_shares() for step in self.rounded_steps}
        for step, share in shares.items():
            up, down = (self.change({step: sign}) for sign in (_UP, -_UP))
            change = torch.maximum(up.abs(), down.abs())
            is_bent = (up + down).abs() > change * DISPROPORTION
            straight += torch.where(is_bent, 0.0, change)
            bent += torch.where(is_bent, change, 0.0)
            num_bent += is_bent
            is_nonlinear |= is_bent & self._is_large(change)
            proportional += torch.where(share > 0, up * share, down * -share)
            directions[step] = torch.where(up >= down, 1.0, -1.0)
        # Beside an extremum k changes grow with the square of a sum, which is up to k times the sum of the squares.
        total = straight + torch.where(is_nonlinear, 1.0, num_bent) * bent
        # Up and down may change nothing where half a rounding does: both may be a whole number of periods.
        between = self.change(shares)
        is_nonlinear |= ((between - proportional).abs() > total * DISPROPORTION) & self._is_large(between.abs())
        together, is_jump = self._together(directions, total)
        return torch.where(is_jump, together + 2 * total, torch.maximum(total, together)), is_nonlinear | (
            is_jump & self._is_large(together)
        )

    def _together(self, directions: Mapping[int, Tensor], total: Tensor) -> tuple[Tensor, Tensor]:
        """The change by all roundings in their worst directions, and where it is a jump that only several reach.

        Theirs may have shortened what the jump changes, and may lengthen it.
        """
        together = torch.zeros_like(total)
        for side in (1.0, -1.0) if len(directions) > 1 else ():
            change = self.change({step: side * up for step, up in directions.items()})
            together = torch.maximum(together, change.abs())
        # What only moves the argument of a jump has no direction of its own.
        for _ in range(DRAWS // 2 if self.jumps and len(directions) > 1 else 0):
            change = self.change({step: self._random_shares().sign() for step in directions})
            together = torch.maximum(together, change.abs())
        return together, together > 2 * total

    def drawn(self) -> Tensor:
        """The largest change by random shares of each rounding, added up, or of all at once."""
        total = torch.zeros_like(self.base)
        for step in self.rounded_steps:
            shares = [_UP, -_UP, *(self._random_shares() for _ in range(DRAWS))]
            total += torch.stack([self.change({step: share}).abs() for share in shares]).amax(0)
        changes: list[Tensor] = []
        for draw in range(DRAWS if self.rounded_steps else 0):
            shares = {step: self._random_shares() for step in self.rounded_steps}
            disturbed = shares if draw % 2 else {step: share.sign() for step, share in shares.items()}
            changes.append(self.change(disturbed).abs())
        stacked = torch.stack(changes) if changes else total[None]
        largest = torch.maximum(total, stacked.amax(0))
        is_uneven = (stacked.amax(0) > UNEVEN * stacked.median(dim=0).values).view(-1, self.x.shape[1]).any(0)
        if is_uneven.any():
            searched = self.at(is_uneven).searched().view(-1, int(is_uneven.sum()))
            rows = largest.view(-1, self.x.shape[1])
            rows[:, is_uneven] = torch.maximum(rows[:, is_uneven], searched)
        return largest

    def searched(self) -> Tensor:
        """The largest change by any share of one rounding, as far as a search finds it; infinite beside a pole."""
        largest = torch.zeros_like(self.base)
        for step in self.rounded_steps:
            centre, first = self._scanned(step)
            low, high, peak = centre - REACH / SCANNED, centre + REACH / SCANNED, first
            for _ in range(SEARCHES):
                nearer, farther = low + (high - low) / 3, high - (high - low) / 3
                changes = [self.change({step: share}).abs() for share in (nearer, farther)]
                is_nearer = torch.ge(*(change.view(-1, self.x.shape[1]).amax(0) for change in changes))
                low, high = torch.where(is_nearer, low, nearer), torch.where(is_nearer, farther, high)
                peak = torch.maximum(peak, torch.maximum(*changes))
            largest = torch.maximum(largest, torch.where(peak > POLE * first, torch.inf, peak))
        return largest

    def _scanned(self, step: int) -> tuple[Tensor, Tensor]:
        """The share, of those at even distances, with the largest change, [N], and that change."""
        centre, largest = torch.zeros_like(self.x[0]), torch.zeros_like(self.base)
        for place in range(-SCANNED, SCANNED + 1):
            share = torch.full_like(centre, REACH * place / SCANNED)
            change = self.change({step: share}).abs()
            centre = torch.where((change > largest).view(-1, self.x.shape[1]).any(0), share, centre)
            largest = torch.maximum(largest, change)
        return centre, largest

    def _random_shares(self) -> Tensor:
        return torch.rand(self.x.shape[1], generator=self.generator, dtype=torch.float64) * 2 - 1

    def _is_large(self, change: Tensor) -> Tensor:
        return (change > self.base.abs() / 8) & (change > FAR_ABOVE_UNDERFLOW)


_UP = torch.ones((), dtype=torch.float64)
