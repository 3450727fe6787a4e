"""What the passes through a dense layer share: their arguments, how a batch is cut, and where things lie.

Shapes: as in relubench.models.kernels.dense.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from relubench.models.kernels.emit import LINE, Kernel, Value, VectorType, word

WORDS = (
    *("workers", "batch", "x", "x_stride", "inputs", "skip", "segment", "rows", "packed", "counts"),
    *("w", "w_part", "w_stride", "b", "columns", "stride", "sums", "sums_part", "y", "delta"),
    *("below", "below_part", "below_stride", "rate", "turned", "turned_w", "turned_part"),
    *("panels", "masks", "masks_part"),
    *("fused_activation", "negative_slope", "target", "target_stride"),
)
"""What a layer's kernels are called with. `skip`: 1 to leave out inputs that are zero in the whole batch. `segment`:
rows of a list and of packed inputs, of which each worker has its own. `rate`: the address of minus the learning rate.
`turned`, `turned_w`: see relubench.models.kernels.blocked; `panels`: relubench.models.kernels.panels; `masks`:
relubench.models.kernels.masks. `fused_activation`: 1 if the kernel also applies the activation, so that y becomes y
above 0 and negative_slope*y elsewhere; `negative_slope` is the address of a number.
`target`: if x is the y of another layer with a fused activation, that layer's delta, which the gradient below goes into
times the activation's slope; else 0.
Parts (from one worker to the next) and strides (from one row to the next) are in numbers; `columns` is C, `stride` that
of y, delta and sums."""

MANY = 32
"""Registers that AVX-512 and NEON have; others have half as many."""
MOST_BLOCK = 12
"""Samples in a block: two vectors of sums for each, and what they are made of, fill 32 registers."""
TILE = 8
"""Rows of W that are taken at once; lists of rows are padded to a multiple of it."""
MOST_WIDTH = 3
"""Vectors beside each other in a tile of sums."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a batch is cut into blocks, and the columns into strips where zeros are left out."""

    block: int
    blocks: int
    strips: tuple[int, ...] = ()
    """How many vectors wide strips of columns are made, widest first; what fits none of them goes by single vectors."""
    tall: int = 1
    """How many vectors of rows are turned at once there."""
    enough: int = 100
    """Per cent of zeros from which on they are left out."""
    panels: bool = False
    """Whether both factors are laid out as they are read: see relubench.models.kernels.panels."""

    @property
    def padded(self) -> int:
        return self.block * self.blocks


def choose_tiling(batch: int, registers: int) -> Tiling:
    """One block up to 12 samples; beyond that blocks of 8, 10 or 12, whichever leave the least over.

    Where registers are few, blocks of 4 samples, and panels.
    """
    if batch <= MOST_BLOCK:
        return Tiling(batch, 1)
    if registers < MANY:
        return Tiling(4, -(-batch // 4), panels=True)
    size = min((8, 10, 12), key=lambda size: -(-batch // size) * size)
    return Tiling(size, -(-batch // size))


def width_for(numbers: VectorType, height: int) -> int:
    """Vectors beside each other in a tile of sums of that height: with as many of what they are made of, and one."""
    return max(1, min(MOST_WIDTH, (numbers.registers - 1) // (height + 1)))


def is_narrow(k: Kernel) -> bool:
    """Whether registers are few. At small batches W is then asked for ahead."""
    return k.numbers.registers < MANY


def packed_batch(numbers: VectorType, tiling: Tiling) -> int:
    """T: samples of one packed input. Of several blocks they are turned square by square, in whole vectors."""
    return tiling.padded if tiling.blocks == 1 else -(-tiling.padded // numbers.lanes) * numbers.lanes


def nonzero_rows(k: Kernel, tiling: Tiling) -> tuple[Value, Value]:
    """Where this worker's list of rows and its packed inputs begin."""
    first = k.times(k.worker, k["segment"])
    rows = k.b.gep(k.words_at("rows"), [first])
    return rows, k.b.gep(k.numbers_at("packed"), [k.times(first, packed_batch(k.numbers, tiling))])


def packed_place(k: Kernel, tiling: Tiling, row: Value, sample: Value) -> Value:
    """Where a sample of a listed row stands in this worker's packed inputs: [I, T], with panels [T/block, I, block]."""
    if not tiling.panels:
        return k.add(k.times(row, packed_batch(k.numbers, tiling)), sample)
    block = k.b.udiv(sample, word(tiling.block))
    line = k.times(k.add(k.times(block, k["segment"]), row), tiling.block)
    return k.add(line, k.b.urem(sample, word(tiling.block)))


def panel_of_delta(k: Kernel, tiling: Tiling, column: Value) -> Value:
    """Where the panel of delta begins that starts with that column."""
    return k.b.gep(k.numbers_at("panels"), [k.times(column, packed_batch(k.numbers, tiling))])


def end_of_list(k: Kernel, tiling: Tiling, count: Value) -> None:
    """Note that this worker has listed so many rows, and add the unused row with inputs of 0 up to a whole tile."""
    rows, packed = nonzero_rows(k, tiling)
    zero = ir.Constant(k.numbers.scalar, 0.0)
    k.store_word(count, k.words_at("counts"), k.times(k.worker, LINE))
    padded = k.times(k.b.udiv(k.add(count, word(TILE - 1)), word(TILE)), TILE)

    def nothing(place: Value, _: list[Value]) -> None:
        k.store_word(k["inputs"], rows, place)
        samples = word(packed_batch(k.numbers, tiling))
        k.loop(word(0), samples, 1, lambda sample, _: k.store(zero, packed, packed_place(k, tiling, place, sample)))

    k.loop(count, padded, 1, nothing)


def listed_rows(k: Kernel) -> Value:
    """How many rows this worker has listed."""
    return k.load_word(k.words_at("counts"), k.times(k.worker, LINE))


def own_sum(k: Kernel, sample: Value, column: Value) -> tuple[Value, Value]:
    """Base and place of a vector of this worker's own sums: in a common y, one core would fetch the other's ahead."""
    part = k.times(k.worker, k["sums_part"])
    return k.numbers_at("sums"), k.add(part, k.times(sample, k["stride"]), column)


def multiply(k: Kernel, tiling: Tiling, add_products: Callable[[Kernel, Tiling], None]) -> None:
    """y = x W + b in this worker's columns; `add_products` adds x W to the sums, which begin as b."""

    def begin(column: Value, _: list[Value]) -> None:
        value = k.load_vector(k.numbers_at("b"), column)
        k.loop(word(0), word(tiling.padded), 1, lambda sample, _: k.store_vector(value, *own_sum(k, sample, column)))

    fused, slope = k.b.icmp_signed("!=", k["fused_activation"], word(0)), negative_slope_of(k)

    def end(column: Value, _: list[Value]) -> None:
        def one_sample(sample: Value, _: list[Value]) -> None:
            total = k.load_vector(*own_sum(k, sample, column))
            store_row(k, k.b.select(fused, with_slope(k, total, total, slope), total), "y", sample, column)

        k.loop(word(0), word(tiling.padded), 1, one_sample)

    k.loop(*own_columns(k), k.numbers.lanes, begin)
    add_products(k, tiling)
    k.loop(*own_columns(k), k.numbers.lanes, end)


def in_strips(k: Kernel, left: Value, right: Value, width: int, strip: Callable[[Value, int], None]) -> None:
    """strip(column, vectors) for strips `width` vectors wide, then for what is left over."""
    strip_numbers = width * k.numbers.lanes
    end_of_whole_strips = k.add(left, k.times(k.b.udiv(k.b.sub(right, left), word(strip_numbers)), strip_numbers))
    k.loop(left, end_of_whole_strips, strip_numbers, lambda column, _: strip(column, width))
    vectors_left = k.b.udiv(k.b.sub(right, end_of_whole_strips), word(k.numbers.lanes))
    for vectors in range(1, width):
        rest = k.b.select(k.b.icmp_signed("==", vectors_left, word(vectors)), right, end_of_whole_strips)
        k.loop(end_of_whole_strips, rest, vectors * k.numbers.lanes, lambda at, _, vectors=vectors: strip(at, vectors))


def own_columns(k: Kernel) -> tuple[Value, Value]:
    """This worker's share of the outputs, in whole vectors."""
    first, last = share_of(k, k.b.udiv(k["columns"], word(k.numbers.lanes)))
    return k.times(first, k.numbers.lanes), k.times(last, k.numbers.lanes)


def share_of(k: Kernel, units: Value) -> tuple[Value, Value]:
    """Where this worker's share begins and ends when `units` are dealt out."""
    first, last = (k.b.udiv(k.times(units, k.add(k.worker, word(more))), k["workers"]) for more in (0, 1))
    return first, last


def row_starts(k: Kernel, rows: Value, place: Value, count: int) -> list[Value]:
    """`row_start` of the next rows of the list."""
    return [row_start(k, k.load_word(rows, k.add(place, word(row)))) for row in range(count)]


def row_start(k: Kernel, number: Value) -> Value:
    """Where that row would begin in this worker's part of W if it had all columns."""
    part = k.b.sub(k.times(k.worker, k["w_part"]), own_columns(k)[0])
    return k.add(part, k.times(number, k["w_stride"]))


def turn_rows(k: Kernel, row: Value, start: Value, last: Value, vectors: int, into: Value) -> None:
    """So many vectors of rows of W, from `row` on, by columns: W[row..., start : last]^T.

    Rows beyond the last input are the unused one.
    """
    lanes = k.numbers.lanes
    height = vectors * lanes

    def columns(column: Value, _: list[Value]) -> None:
        line = k.times(k.b.sub(column, start), height)
        for strip in range(0, height, lanes):
            starts = [row_start(k, k.least(k.add(row, word(strip + lane)), k["inputs"])) for lane in range(lanes)]
            columns_of_rows = k.transposed([k.load_vector(*weight_at(k, row_begin, column)) for row_begin in starts])
            for lane, vector in enumerate(columns_of_rows):
                k.store_vector(vector, into, k.add(line, word(lane * height + strip)))

    k.loop(start, last, lanes, columns)


def weight_at(k: Kernel, start: Value, column: Value) -> tuple[Value, Value]:
    """Base and place of a vector of W."""
    return k.numbers_at("w"), k.add(start, column)


def rate_of(k: Kernel) -> Value:
    return k.broadcast(k.load(k.numbers_at("rate"), word(0)))


def negative_slope_of(k: Kernel) -> Value:
    return k.broadcast(k.load(k.numbers_at("negative_slope"), word(0)))


def with_slope(k: Kernel, value: Value, where: Value, slope: Value) -> Value:
    """The value where `where` is above 0 (or NaN), and elsewhere the slope times it, 0 if there is none."""
    not_zero = k.b.fcmp_ordered("!=", slope, k.zeros())
    low = k.b.select(not_zero, k.b.fmul(value, slope), k.zeros())
    return k.b.select(k.b.fcmp_unordered(">", where, k.zeros()), value, low)


def load_row(k: Kernel, name: str, sample: Value, column: Value) -> Value:
    """A vector of y or delta."""
    return k.load_vector(k.numbers_at(name), k.add(k.times(sample, k["stride"]), column))


def store_row(k: Kernel, value: Value, name: str, sample: Value, column: Value) -> None:
    k.store_vector(value, k.numbers_at(name), k.add(k.times(sample, k["stride"]), column))


def store_below(k: Kernel, value: Value, sample: Value, row: Value) -> None:
    """Into this worker's part of the gradient below."""
    part = k.times(k.worker, k["below_part"])
    k.store(value, k.numbers_at("below"), k.add(part, k.times(sample, k["below_stride"]), row))
