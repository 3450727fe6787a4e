"""The products of larger batches where registers are few: both factors lie in the order in which they are read.

With 16 registers a tile has four samples and three vectors, so a number that is loaded serves few products, and loads
must be cheap: one stream of numbers and one of vectors, both without gaps. So the inputs are packed by blocks of four
samples, and W, W turned and delta are copied into panels, as wide as a strip of sums.

Each sum is taken in the order of relubench.models.kernels.blocked: the bits are the same.

Shapes, beside those of relubench.models.kernels.blocked: packed [workers, T/4, I, 4]; turned [T/4, C, 4]; a panel
[rows, strip]; panels [strips, T, strip].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relubench.models.kernels.emit import Kernel, Value, word
from relubench.models.kernels.layout import (
    Tiling,
    in_strips,
    listed_rows,
    load_row,
    nonzero_rows,
    own_columns,
    own_sum,
    packed_batch,
    panel_of_delta,
    rate_of,
    row_starts,
    weight_at,
    width_for,
)

DEPTH = 256
"""Rows of W in a panel: with four samples of them they stay in the first cache."""
UNROLLED = 4
"""Rows, columns or samples that a turn of the innermost loop adds."""


def store_by_blocks(
    k: Kernel, tiling: Tiling, vector: Value, where: tuple[Value, Value], place: Value, first: Value
) -> None:
    """A vector of samples from `first` on of row `place`; `where`: base and rows of [T/4, rows, 4]."""
    (base, rows), block, lanes = where, tiling.block, k.numbers.lanes
    size = min(block, lanes)
    for start in range(0, lanes, size):
        sample = k.add(first, word(start))
        line = k.times(k.add(k.times(k.b.udiv(sample, word(block)), rows), place), block)
        part = vector if size == lanes else k.part(vector, start, size)
        k.store_vector(part, base, k.add(line, k.b.urem(sample, word(block))))


def in_own_strips(k: Kernel, tiling: Tiling, strip: Callable[[Value, int], None]) -> None:
    """strip(column, vectors) over this worker's columns, as wide as sums fit."""
    in_strips(k, *own_columns(k), width_for(k.numbers, tiling.block), strip)


def listed_products(k: Kernel, tiling: Tiling) -> None:
    """sums += x W over the listed rows, in this worker's columns."""
    (rows, packed), panel, lanes = nonzero_rows(k, tiling), own_panel(k), k.numbers.lanes

    def piece(first: Value, _: list[Value]) -> None:
        last = k.least(k.add(first, word(DEPTH)), listed_rows(k))

        def strip(column: Value, vectors: int) -> None:
            columns = [k.add(column, word(number * lanes)) for number in range(vectors)]

            def copy(place: Value, _: list[Value]) -> None:
                (start,) = row_starts(k, rows, place, 1)
                line = k.times(k.b.sub(place, first), vectors * lanes)
                k.store_vectors([k.load_vector(*weight_at(k, start, col)) for col in columns], k.b.gep(panel, [line]))

            whole_turns = k.times(k.b.udiv(k.add(k.b.sub(last, first), word(UNROLLED - 1)), word(UNROLLED)), UNROLLED)
            k.loop(first, k.add(first, whole_turns), 1, copy)

            def block(sample: Value, _: list[Value]) -> None:
                places = [
                    own_sum(k, k.add(sample, word(number)), col) for number in range(tiling.block) for col in columns
                ]
                values = k.b.gep(packed, [k.add(k.times(sample, k["segment"]), k.times(first, tiling.block))])
                sums = [k.load_vector(*where) for where in places]
                _store(k, places, _sums(k, tiling, k.b.sub(last, first), values, panel, vectors, sums))

            k.loop(word(0), word(tiling.padded), tiling.block, block)

        in_own_strips(k, tiling, strip)

    k.loop(word(0), listed_rows(k), DEPTH, piece)


def turn_delta(k: Kernel, tiling: Tiling) -> None:
    """This worker's columns of delta by blocks of samples."""
    samples, lanes, turned = packed_batch(k.numbers, tiling), k.numbers.lanes, k.numbers_at("turned")

    def column(place: Value, _: list[Value]) -> None:
        def square(sample: Value, _: list[Value]) -> None:
            rows = [load_row(k, "delta", k.add(sample, word(lane)), place) for lane in range(lanes)]
            for lane, vector in enumerate(k.transposed(rows)):
                store_by_blocks(k, tiling, vector, (turned, k["columns"]), k.add(place, word(lane)), sample)

        k.loop(word(0), word(samples), lanes, square)

    k.loop(*own_columns(k), lanes, column)


def add_gradients(
    k: Kernel, tiling: Tiling, piece: tuple[Value, Value], sample: Value, places: Sequence[tuple[Value, Value]]
) -> None:
    """The gradient below of a block of samples at `places`, with delta[block, piece] times the worker's panel added."""
    (start, last), vectors = piece, len(places) // tiling.block
    values = k.b.gep(k.numbers_at("turned"), [k.add(k.times(sample, k["columns"]), k.times(start, tiling.block))])
    begins = k.b.icmp_signed("==", start, own_columns(k)[0])
    before = [k.b.select(begins, k.zeros(), k.load_vector(*where)) for where in places]
    _store(k, places, _sums(k, tiling, k.b.sub(last, start), values, own_panel(k), vectors, before))


def copy_delta(k: Kernel, tiling: Tiling, strips: Callable[[Callable[[Value, int], None]], None]) -> None:
    """This worker's columns of delta as panels; strips(strip) calls strip(column, vectors) for each."""

    def strip(column: Value, vectors: int) -> None:
        panel = panel_of_delta(k, tiling, column)

        def one_sample(sample: Value, _: list[Value]) -> None:
            row = k.b.gep(k.numbers_at("delta"), [k.add(k.times(sample, k["stride"]), column)])
            k.store_vectors(k.load_vectors(row, vectors), k.b.gep(panel, [k.times(sample, vectors * k.numbers.lanes)]))

        k.loop(word(0), word(tiling.padded), 1, one_sample)

    strips(strip)


def update_rows(k: Kernel, tiling: Tiling, start: Value, last: Value) -> None:
    """W[start : last] += rate x[all, start : last]^T delta, the sums over the samples in registers."""
    (rows, packed), rate = nonzero_rows(k, tiling), rate_of(k)
    height, lanes = tiling.block, k.numbers.lanes

    def strip(column: Value, vectors: int) -> None:
        columns = [k.add(column, word(number * lanes)) for number in range(vectors)]
        panel = panel_of_delta(k, tiling, column)

        def tile(place: Value, _: list[Value]) -> None:
            values = k.b.gep(packed, [k.times(place, tiling.block)])

            def block(sample: Value, sums: list[Value]) -> list[Value]:
                numbers = k.b.gep(values, [k.times(sample, k["segment"])])
                deltas = k.b.gep(panel, [k.times(sample, vectors * lanes)])
                for number in range(tiling.block):
                    xs = (k.load(numbers, word(row * tiling.block + number)) for row in range(height))
                    vector = [k.load_vector(deltas, word((number * vectors + v) * lanes)) for v in range(vectors)]
                    sums = k.products(xs, vector, sums)
                return sums

            sums = k.loop(word(0), word(tiling.padded), tiling.block, block, [k.zeros()] * (height * vectors))
            weights = [weight_at(k, begin, col) for begin in row_starts(k, rows, place, height) for col in columns]
            updated = [k.fma(rate, total, k.load_vector(*at)) for total, at in zip(sums, weights, strict=True)]
            _store(k, weights, updated)

        k.loop(start, last, height, tile)

    in_own_strips(k, tiling, strip)


def own_panel(k: Kernel) -> Value:
    """Where this worker's storage for a panel of W begins."""
    return k.b.gep(k.numbers_at("turned_w"), [k.times(k.worker, k["turned_part"])])


def _sums(
    k: Kernel, tiling: Tiling, count: Value, values: Value, panel: Value, vectors: int, sums: Sequence[Value]
) -> list[Value]:
    """The sums of a block, with `count` rows of values [rows, block] times the panel's [rows, vectors] added."""
    lanes, block = k.numbers.lanes, tiling.block
    rows_at_once = min(UNROLLED, lanes)

    def turn(first: Value, sums: list[Value]) -> list[Value]:
        own_values = k.b.gep(values, [k.times(first, block)])
        own_rows = k.b.gep(panel, [k.times(first, vectors * lanes)])
        for row in range(rows_at_once):
            weights = [k.load_vector(own_rows, word((row * vectors + number) * lanes)) for number in range(vectors)]
            numbers = (k.load(own_values, word(row * block + number)) for number in range(block))
            sums = k.products(numbers, weights, sums)
        return sums

    return k.loop(word(0), count, rows_at_once, turn, sums)


def _store(k: Kernel, places: Sequence[tuple[Value, Value]], vectors: Sequence[Value]) -> None:
    for place, vector in zip(places, vectors, strict=True):
        k.store_vector(vector, *place)
