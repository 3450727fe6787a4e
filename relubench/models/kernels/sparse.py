"""Products that leave out the zeros of one factor one by one: of images of digits, and of what rectifiers put out.

For each bit of a mask (see relubench.models.kernels.masks) a row of the other factor is added to a strip
of sums. What is multiplied by zero would leave every sum as it is, and the sums are taken in the dense products' order:
the bits are the same. (A weight that is infinite is noticed only where it meets a number that is not zero.)

A strip is as many vectors as a processor has sums under way at once, and 64 rows of it stay in the first cache while
all samples meet them. So a zero left out saves nearly what it would cost, and the bits cost a fifth of what is left.

Shapes: as in relubench.models.kernels.blocked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from relubench.models.kernels.emit import Kernel, Value, word
from relubench.models.kernels.layout import (
    TILE,
    Tiling,
    nonzero_rows,
    own_columns,
    packed_place,
    panel_of_delta,
    rate_of,
    turn_rows,
)
from relubench.models.kernels.masks import (
    MASK,
    keep_masks_of_samples,
    kept_mask,
    mask_of,
    over_bits,
    words_of_inputs,
    words_of_samples,
)

STRIP = 12
"""Vectors of sums beside each other: a processor has as many sums under way at once."""
ROWS = 16
"""Rows of W whose sums over some of the samples are kept while the next samples are brought."""
ENOUGH = 45
"""Per cent of zeros from which on leaving them out pays."""


# -- products ----------------------------------------------------------------------------------------------------------


def add_products(k: Kernel, tiling: Tiling, rows: Callable[[Value], Value]) -> None:
    """sums += x W in this worker's columns; rows(sample): where that sample of x begins."""
    first_sums = k.b.gep(k.numbers_at("sums"), [k.times(k.worker, k["sums_part"])])
    weights = own_weights(k)
    if tiling.panels:
        keep_masks_of_samples(k, rows)

    def strip(column: Value, vectors: int) -> None:
        strip_sums, strip_weights = (k.b.gep(address, [column]) for address in (first_sums, weights))

        def tile(first: Value, _: list[Value]) -> None:
            def one_sample(sample: Value, _: list[Value]) -> None:
                values, sums = rows(sample), k.b.gep(strip_sums, [k.times(sample, k["stride"])])

                def add(bit: Value, before: list[Value]) -> list[Value]:
                    row = k.add(first, bit)
                    return _added(k, k.load(values, row), k.b.gep(strip_weights, [k.times(row, k["w_stride"])]), before)

                mask = (
                    kept_mask(k, sample, words_of_inputs(k), first)
                    if tiling.panels
                    else mask_of(k, values, first, k["inputs"])
                )
                k.store_vectors(over_bits(k, mask, add, k.load_vectors(sums, vectors)), sums)

            k.loop(word(0), k["batch"], 1, one_sample)

        k.loop(word(0), k["inputs"], MASK, tile)

    in_strips(k, tiling, strip)


def gradients_below(k: Kernel, tiling: Tiling, row: Value) -> None:
    """below[all, a strip of rows] = delta W[those rows]^T in this worker's columns, the zeros of delta left out."""
    left, right = own_columns(k)
    transposed_rows = k.b.gep(k.numbers_at("turned_w"), [k.times(k.worker, k["turned_part"])])
    below_sums = k.b.gep(k.numbers_at("below"), [k.add(k.times(k.worker, k["below_part"]), row)])

    def piece(start: Value, _: list[Value]) -> None:
        last = k.least(k.add(start, word(MASK)), right)
        begins = k.b.icmp_signed("==", start, left)
        turn_rows(k, row, start, last, tiling.tall, transposed_rows)

        def one_sample(sample: Value, _: list[Value]) -> None:
            values = k.b.gep(k.numbers_at("delta"), [k.times(sample, k["stride"])])
            sums = k.b.gep(below_sums, [k.times(sample, k["below_stride"])])

            def add(bit: Value, before: list[Value]) -> list[Value]:
                value = k.load(values, k.add(start, bit))
                return _added(k, value, k.b.gep(transposed_rows, [k.times(bit, tiling.tall * k.numbers.lanes)]), before)

            before = [k.b.select(begins, k.zeros(), vector) for vector in k.load_vectors(sums, tiling.tall)]
            k.store_vectors(over_bits(k, mask_of(k, values, start, last), add, before), sums)

        k.loop(word(0), word(tiling.padded), 1, one_sample)

    k.loop(left, right, MASK, piece)


def update_rows(k: Kernel, tiling: Tiling, start: Value, last: Value) -> None:
    """W[start : last] += rate x[all, start : last]^T delta, the zeros of x left out.

    64 samples of a strip of delta stay in the first cache while a group of rows meets them; the rows' sums then wait
    for the next 64.
    """
    rows, rate, weights = nonzero_rows(k, tiling)[0], rate_of(k), own_weights(k)

    def strip(column: Value, vectors: int) -> None:
        strip_weights, deltas = k.b.gep(weights, [column]), k.b.gep(k.numbers_at("delta"), [column])
        if tiling.panels:
            deltas = panel_of_delta(k, tiling, column)

        def row_group(place: Value, _: list[Value]) -> None:
            def part(first: Value, _: list[Value]) -> None:
                def row(number: Value, _: list[Value]) -> None:
                    sums = _waiting_sums(k, k.b.sub(number, place))
                    after = _row_sums(k, tiling, number, first, deltas, sums, vectors)
                    with k.b.if_else(k.b.icmp_signed(">=", k.add(first, word(MASK)), k["batch"])) as (then, otherwise):
                        with then:
                            at = k.b.gep(strip_weights, [k.times(k.load_word(rows, number), k["w_stride"])])
                            updates = zip(after, k.load_vectors(at, vectors), strict=True)
                            k.store_vectors([k.fma(rate, total, weight) for total, weight in updates], at)
                        with otherwise:
                            k.store_vectors(after, sums)

                k.loop(place, k.least(k.add(place, word(ROWS)), last), 1, row)

            k.loop(word(0), k["batch"], MASK, part)

        k.loop(start, last, ROWS, row_group)

    in_strips(k, tiling, strip)


def _waiting_sums(k: Kernel, number: Value) -> Value:
    """Where this worker keeps the sums of a strip of that row of the group."""
    waiting = k.b.gep(k.numbers_at("turned_w"), [k.times(k.worker, k["turned_part"])])
    return k.b.gep(waiting, [k.times(number, STRIP * k.numbers.lanes)])


def _row_sums(
    k: Kernel, tiling: Tiling, number: Value, first: Value, deltas: Value, sums: Value, vectors: int
) -> list[Value]:
    """The sums of a row over the samples before `first`, with the next 64 samples' products added."""
    packed, begins = nonzero_rows(k, tiling)[1], k.b.icmp_signed("==", first, word(0))
    # A panel of delta is as wide as the strip.
    stride = word(vectors * k.numbers.lanes) if tiling.panels else k["stride"]

    def add(bit: Value, before: list[Value]) -> list[Value]:
        sample = k.add(first, bit)
        value = k.load(packed, packed_place(k, tiling, number, sample))
        return _added(k, value, k.b.gep(deltas, [k.times(sample, stride)]), before)

    before = [k.b.select(begins, k.zeros(), vector) for vector in k.load_vectors(sums, vectors)]
    if tiling.panels:
        mask = kept_mask(k, number, words_of_samples(k, tiling), first)
    else:
        mask = mask_of(k, k.b.gep(packed, [packed_place(k, tiling, number, word(0))]), first, k["batch"])
    return over_bits(k, mask, add, before)


def own_weights(k: Kernel) -> Value:
    """Where this worker's part of W would begin if it had all columns."""
    return k.b.gep(k.numbers_at("w"), [k.b.sub(k.times(k.worker, k["w_part"]), own_columns(k)[0])])


def _added(k: Kernel, value: Value, address: Value, sums: Sequence[Value]) -> list[Value]:
    """The sums plus that value times the vectors at the address."""
    broadcast = k.broadcast(value)
    vectors = k.load_vectors(address, len(sums))
    return [k.fma(broadcast, vector, total) for vector, total in zip(vectors, sums, strict=True)]


def in_strips(k: Kernel, tiling: Tiling, strip: Callable[[Value, int], None]) -> None:
    """strip(column, vectors) over this worker's columns, cut into strips whose widths differ by one vector at most."""
    (left, right), lanes = own_columns(k), k.numbers.lanes
    size = k.b.udiv(k.b.sub(right, left), word(lanes))
    count = k.b.udiv(k.add(size, word(STRIP - 1)), word(STRIP))
    at_least_one = k.b.select(k.b.icmp_signed(">", count, word(0)), count, word(1))
    narrow, wider = k.b.udiv(size, at_least_one), k.b.urem(size, at_least_one)
    for width in tiling.strips:
        strip_numbers, of_narrow = width * lanes, k.b.icmp_signed("==", narrow, word(width))
        num_strips = k.b.select(of_narrow, k.b.sub(count, wider), word(0))
        num_strips = k.b.select(k.b.icmp_signed("==", k.add(narrow, word(1)), word(width)), wider, num_strips)
        stop = k.add(left, k.times(num_strips, strip_numbers))
        k.loop(left, stop, strip_numbers, lambda column, _, width=width: strip(column, width))
        left = stop
    k.loop(left, right, lanes, lambda column, _: strip(column, 1))


def in_strips_of(tiling: Tiling, columns: Sequence[int], workers: int, lanes: int) -> Tiling:
    """The plan for layers of so many outputs, each of which is the next one's input."""
    widths: set[int] = set()
    for num_columns in columns:
        edges = [-(-num_columns // lanes) * worker // workers for worker in range(workers + 1)]
        for size in (right - left for left, right in pairwise(edges)):
            count = max(1, -(-size // STRIP))
            widths |= {size // count, size // count + bool(size % count)}
    strips = tuple(sorted(widths - {0, 1}, reverse=True))
    # The rows of a group are updated by whole tiles: one that reached into the next group would be updated twice.
    sizes = (size for size in range(STRIP, 0, -1) if size * lanes % TILE == 0)
    # A strip costs about as much more as four vectors, whatever its width.
    costs = {size: sum(-(-num // (size * lanes)) * (size + 4) for num in columns[:-1]) for size in sizes}
    return replace(tiling, strips=strips, tall=min(costs, key=lambda size: costs[size]), enough=ENOUGH)
