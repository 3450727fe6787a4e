"""The passes through one dense layer, y = x W + b, each of which reads the weights once.

At a small batch the weights' traffic is what a step costs. `forward` reads each weight once for the whole batch.
`backward` takes a row of W from memory, makes from it the gradient of the input, updates it, and puts it back: two
reads and a write in all, where three products take three reads, two writes and the gradient's storage. For batches of
more than one block of samples see relubench.models.kernels.blocked.

Rows of W belong to inputs, so that a row whose input is zero in the whole batch (the border of a digit) is neither read
nor updated: both would leave every bit as it is.

A worker has columns of W to itself in all passes, in storage of their own: a line that another core has written takes
long to come, and a core fetches lines ahead that it never needs, whoever writes them. For the same reason each worker
packs all of x, sums y apart from the others, and makes its own part of the gradient below; the parts are then added,
always in the same order.

Shapes: B batch, in blocks of `block` samples, padded to whole blocks; I inputs, O outputs, C = O padded to whole
vectors, D the most columns of a worker. W [workers, I+1, D], its last row unused; b [C]; x [B, I]; y, delta [B, C];
sums [workers, B, C]; below [workers, B, I+1 or more], the sum in the first; packed [workers, I, B].
"""

from __future__ import annotations

from llvmlite import ir

from relubench.models.kernels import blocked
from relubench.models.kernels.emit import Kernel, Value, VectorType, word
from relubench.models.kernels.layout import (
    TILE,
    WORDS,
    Tiling,
    in_strips,
    is_narrow,
    listed_rows,
    load_row,
    multiply,
    negative_slope_of,
    nonzero_rows,
    own_columns,
    own_sum,
    rate_of,
    row_starts,
    share_of,
    weight_at,
    width_for,
    with_slope,
)
from relubench.models.kernels.packing import pack_block, pack_blocks
from relubench.models.kernels.rows import rows_at_once

PART = 6
"""Samples of a block whose sums are in registers at once where those are few; two vectors of each then fit."""


def emit_forward(module: ir.Module, numbers: VectorType, tiling: Tiling) -> None:
    """forward: pack x, then y = x W + b."""
    k = Kernel(module, "forward", numbers, WORDS)
    pack_block(k, tiling) if tiling.blocks == 1 else pack_blocks(k, tiling)
    multiply(k, tiling, listed_products if tiling.blocks == 1 else blocked.products)
    k.b.ret_void()


def emit_backward(
    module: ir.Module, numbers: VectorType, tiling: Tiling, *, first: bool, by_zeros: bool = True
) -> None:
    """backward, or backward_first: below = delta W^T (unless first), W += rate x^T delta, b += rate sum(delta).

    Of the gradient below each worker makes a part; see `emit_gather`.
    """
    k = Kernel(module, "backward_first" if first else "backward", numbers, WORDS)
    update_bias(k, tiling)
    rows_at_once(k, tiling, first) if tiling.blocks == 1 else blocked.backward(k, tiling, first, by_zeros)
    k.b.ret_void()


def emit_gather(module: ir.Module, numbers: VectorType, tiling: Tiling) -> None:
    """gather: after `backward`, the parts of the gradient below become one."""
    k = Kernel(module, "gather", numbers, WORDS)
    _add_parts(k, tiling)
    k.b.ret_void()


# -- forward -----------------------------------------------------------------------------------------------------------


def listed_products(k: Kernel, tiling: Tiling) -> None:
    """sums += x W over the listed rows, in this worker's columns."""
    if tiling.blocks > 1:
        blocked.listed_products(k, tiling)
        return
    (rows, packed), parts = nonzero_rows(k, tiling), _parts(k, tiling)

    def tile(place: Value, _: list[Value]) -> None:
        starts, values = row_starts(k, rows, place, TILE), k.b.gep(packed, [k.times(place, tiling.padded)])
        next_tile = k.add(place, word(TILE))
        next_place = k.b.select(k.b.icmp_signed("<", next_tile, listed_rows(k)), next_tile, place)
        next_starts = row_starts(k, rows, next_place, TILE) if is_narrow(k) else []

        def strip(column: Value, vectors: int) -> None:
            for next_start in next_starts:
                k.prefetch(*weight_at(k, next_start, column))
            for samples in parts:
                _add_products(k, tiling, samples, starts, values, column, vectors)

        in_strips(k, *own_columns(k), width_for(k.numbers, len(parts[0])), strip)

    k.loop(word(0), listed_rows(k), TILE, tile)


def _parts(k: Kernel, tiling: Tiling) -> list[range]:
    """The samples of a block whose sums are in registers at once."""
    count = -(-tiling.block // PART) if is_narrow(k) else 1
    height = -(-tiling.block // count)
    return [range(first, min(first + height, tiling.block)) for first in range(0, tiling.block, height)]


def _add_products(
    k: Kernel, tiling: Tiling, samples: range, starts: list[Value], values: Value, column: Value, vectors: int
) -> None:
    """sums[samples, strip] += x[samples, tile] W[tile, strip], in registers."""
    places = [k.add(column, word(number * k.numbers.lanes)) for number in range(vectors)]
    wheres = [own_sum(k, word(sample), place) for sample in samples for place in places]
    sums = [k.load_vector(*where) for where in wheres]
    for row, start in enumerate(starts):
        weights = [k.load_vector(*weight_at(k, start, place)) for place in places]
        xs = (k.load(values, word(row * tiling.padded + number)) for number in samples)
        sums = k.products(xs, weights, sums)
    for where, total in zip(wheres, sums, strict=True):
        k.store_vector(total, *where)


# -- backward ----------------------------------------------------------------------------------------------------------


def update_bias(k: Kernel, tiling: Tiling) -> None:
    """b += rate * sum over samples of delta, in this worker's columns."""
    left, right = own_columns(k)
    rate = rate_of(k)

    def column(place: Value, _: list[Value]) -> None:
        (total,) = k.loop(
            *(word(0), word(tiling.padded), 1),
            lambda sample, sums: [k.b.fadd(sums[0], load_row(k, "delta", sample, place))],
            [k.zeros()],
        )
        bias = k.numbers_at("b")
        k.store_vector(k.fma(rate, total, k.load_vector(bias, place)), bias, place)

    k.loop(left, right, k.numbers.lanes, column)


def _add_parts(k: Kernel, tiling: Tiling) -> None:
    """The parts of the gradient below, added into the first or into the target: each worker some columns of it."""
    below, target, lanes, slope = k.numbers_at("below"), k.numbers_at("target"), k.numbers.lanes, negative_slope_of(k)
    goes_on = k.b.icmp_signed("!=", k["target"], word(0))
    inputs = k.b.udiv(k.add(k["inputs"], word(lanes - 1)), word(lanes))
    left, right = share_of(k, k.b.select(goes_on, inputs, k.b.udiv(k["below_stride"], word(lanes))))

    def one_sample(sample: Value, _: list[Value]) -> None:
        def column(place: Value, _: list[Value]) -> None:
            where = k.add(k.times(sample, k["below_stride"]), place)

            def part(number: Value, sums: list[Value]) -> list[Value]:
                return [k.b.fadd(sums[0], k.load_vector(below, k.add(where, k.times(number, k["below_part"]))))]

            (total,) = k.loop(word(1), k["workers"], 1, part, [k.load_vector(below, where)])
            with k.b.if_else(goes_on) as (then, otherwise):
                with then:
                    h = k.load_vector(k.numbers_at("x"), k.add(k.times(sample, k["x_stride"]), place))
                    k.store_vector(
                        with_slope(k, total, h, slope), target, k.add(k.times(sample, k["target_stride"]), place)
                    )
                with otherwise:
                    k.store_vector(total, below, where)

        k.loop(k.times(left, lanes), k.times(right, lanes), lanes, column)

    needed = k.b.or_(goes_on, k.b.icmp_signed(">", k["workers"], word(1)))
    k.loop(word(0), k.b.select(needed, word(tiling.padded), word(0)), 1, one_sample)
