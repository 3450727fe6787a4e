"""Products that leave out the zeros of one factor one by one: of images of digits, and of what rectifiers put out.

A word has a bit for each of 64 numbers that is not zero, and for each bit a row of the other factor is added to a strip
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

from llvmlite import ir

from relubench.models.kernels.emit import I64, Kernel, Value, word
from relubench.models.kernels.layout import TILE, Plan, listed, own_columns, packed_batch, rate_of, turn_rows

MASK = 64
"""Numbers whose zeros are found at once: the bits of a word."""
STRIP = 12
"""Vectors of sums beside each other: a processor has as many sums under way at once."""
ROWS = 16
"""Rows of W whose sums over some of the samples are kept while the next samples are brought."""
ENOUGH = 45
"""Per cent of zeros from which on leaving them out pays."""
LOOKED_AT = 8
"""Zeros are counted in every eighth sample."""


# -- finding zeros -----------------------------------------------------------------------------------------------------


def mostly_zeros(k: Kernel, cut: Plan, line: Callable[[Value], Value], left: Value, right: Value) -> Value:
    """Whether enough of the numbers left...right of the batch's samples are zero; line(sample) is their address."""
    lanes = k.numbers.lanes

    def sample(place: Value, counts: list[Value]) -> list[Value]:
        values = line(place)

        def vector(column: Value, others: list[Value]) -> list[Value]:
            there = k.b.bitcast(_not_zero(k, k.load_part(values, column, right)), ir.IntType(lanes))
            return [k.add(others[0], k.b.zext(k.b.ctpop(there), I64))]

        (others,) = k.loop(left, right, lanes, vector, [counts[0]])
        return [others, k.add(counts[1], k.b.sub(right, left))]

    others, looked_at = k.loop(word(0), k["batch"], LOOKED_AT, sample, [word(0), word(0)])
    return k.b.icmp_signed("<", k.times(others, 100), k.times(looked_at, 100 - cut.enough))


def mask_of(k: Kernel, values: Value, first: Value, stop: Value) -> Value:
    """A word with a bit for each of the next 64 numbers that is not zero; from `stop` on none is read."""
    lanes, mask = k.numbers.lanes, word(0)
    for start in range(0, MASK, lanes):
        there = _not_zero(k, k.load_part(values, k.add(first, word(start)), stop))
        bits = k.b.zext(k.b.bitcast(there, ir.IntType(lanes)), I64)
        mask = k.b.or_(mask, k.b.shl(bits, word(start)))
    return mask


def _not_zero(k: Kernel, vector: Value) -> Value:
    return k.b.fcmp_unordered("!=", vector, k.zeros())


def over_bits(
    k: Kernel, mask: Value, body: Callable[[Value, list[Value]], list[Value]], carried: Sequence[Value]
) -> list[Value]:
    """body(bit, values) for each bit of the mask that is set, from the lowest; the values go from turn to turn."""
    b, before = k.b, k.b.block
    head, inside, after = (b.append_basic_block(name) for name in ("bits", "bit", "done"))
    b.branch(head)
    b.position_at_end(head)
    left, *values = (b.phi(one.type) for one in (mask, *carried))
    for phi, one in zip((left, *values), (mask, *carried), strict=True):
        phi.add_incoming(one, before)
    b.cbranch(b.icmp_unsigned("!=", left, word(0)), inside, after)
    b.position_at_end(inside)
    results = body(b.cttz(left, ir.Constant(ir.IntType(1), 1)), list(values))
    rest = b.and_(left, b.sub(left, word(1)))
    for phi, one in zip((left, *values), (rest, *results), strict=True):
        phi.add_incoming(one, b.block)
    b.branch(head)
    b.position_at_end(after)
    return values


# -- products ----------------------------------------------------------------------------------------------------------


def add_products(k: Kernel, cut: Plan, rows: Callable[[Value], Value]) -> None:
    """sums += x W in this worker's columns; rows(sample): where that sample of x begins."""
    first_sums = k.b.gep(k.numbers_at("sums"), [k.times(k.worker, k["sums_part"])])
    weights = own_weights(k)

    def strip(column: Value, vectors: int) -> None:
        some_sums, some_weights = (k.b.gep(one, [column]) for one in (first_sums, weights))

        def tile(first: Value, _: list[Value]) -> None:
            def one_sample(sample: Value, _: list[Value]) -> None:
                values, sums = rows(sample), k.b.gep(some_sums, [k.times(sample, k["stride"])])

                def add(bit: Value, before: list[Value]) -> list[Value]:
                    row = k.add(first, bit)
                    return _added(k, k.load(values, row), k.b.gep(some_weights, [k.times(row, k["w_stride"])]), before)

                mask = mask_of(k, values, first, k["inputs"])
                k.store_vectors(over_bits(k, mask, add, k.load_vectors(sums, vectors)), sums)

            k.loop(word(0), k["batch"], 1, one_sample)

        k.loop(word(0), k["inputs"], MASK, tile)

    in_strips(k, cut, strip)


def gradients_below(k: Kernel, cut: Plan, row: Value) -> None:
    """below[all, a strip of rows] = delta W[those rows]^T in this worker's columns, the zeros of delta left out."""
    left, right = own_columns(k)
    mine = k.b.gep(k.numbers_at("turned_w"), [k.times(k.worker, k["turned_part"])])
    some_sums = k.b.gep(k.numbers_at("below"), [k.add(k.times(k.worker, k["below_part"]), row)])

    def piece(start: Value, _: list[Value]) -> None:
        last = k.least(k.add(start, word(MASK)), right)
        begins = k.b.icmp_signed("==", start, left)
        turn_rows(k, row, start, last, cut.tall, mine)

        def one_sample(sample: Value, _: list[Value]) -> None:
            values = k.b.gep(k.numbers_at("delta"), [k.times(sample, k["stride"])])
            sums = k.b.gep(some_sums, [k.times(sample, k["below_stride"])])

            def add(bit: Value, before: list[Value]) -> list[Value]:
                value = k.load(values, k.add(start, bit))
                return _added(k, value, k.b.gep(mine, [k.times(bit, cut.tall * k.numbers.lanes)]), before)

            before = [k.b.select(begins, k.zeros(), one) for one in k.load_vectors(sums, cut.tall)]
            k.store_vectors(over_bits(k, mask_of(k, values, start, last), add, before), sums)

        k.loop(word(0), word(cut.padded), 1, one_sample)

    k.loop(left, right, MASK, piece)


def update_rows(k: Kernel, cut: Plan, start: Value, last: Value) -> None:
    """W[start : last] += rate x[all, start : last]^T delta, the zeros of x left out.

    64 samples of a strip of delta stay in the first cache while some rows meet them, whose sums then wait for the next.
    """
    (rows, packed), samples, rate = listed(k, cut), packed_batch(k.numbers, cut), rate_of(k)
    waiting = k.b.gep(k.numbers_at("turned_w"), [k.times(k.worker, k["turned_part"])])
    weights = own_weights(k)

    def strip(column: Value, vectors: int) -> None:
        deltas, some_weights = (k.b.gep(one, [column]) for one in (k.numbers_at("delta"), weights))

        def some(place: Value, _: list[Value]) -> None:
            def part(first: Value, _: list[Value]) -> None:
                begins = k.b.icmp_signed("==", first, word(0))
                ends = k.b.icmp_signed(">=", k.add(first, word(MASK)), k["batch"])

                def row(number: Value, _: list[Value]) -> None:
                    values = k.b.gep(packed, [k.times(number, samples)])
                    sums = k.b.gep(waiting, [k.times(k.b.sub(number, place), STRIP * k.numbers.lanes)])

                    def add(bit: Value, before: list[Value]) -> list[Value]:
                        sample = k.add(first, bit)
                        return _added(
                            k, k.load(values, sample), k.b.gep(deltas, [k.times(sample, k["stride"])]), before
                        )

                    before = [k.b.select(begins, k.zeros(), one) for one in k.load_vectors(sums, vectors)]
                    after = over_bits(k, mask_of(k, values, first, k["batch"]), add, before)
                    with k.b.if_else(ends) as (then, otherwise):
                        with then:
                            at = k.b.gep(some_weights, [k.times(k.load_word(rows, number), k["w_stride"])])
                            both = zip(after, k.load_vectors(at, vectors), strict=True)
                            k.store_vectors([k.fma(rate, total, weight) for total, weight in both], at)
                        with otherwise:
                            k.store_vectors(after, sums)

                k.loop(place, k.least(k.add(place, word(ROWS)), last), 1, row)

            k.loop(word(0), k["batch"], MASK, part)

        k.loop(start, last, ROWS, some)

    in_strips(k, cut, strip)


def own_weights(k: Kernel) -> Value:
    """Where this worker's part of W would begin if it had all columns."""
    return k.b.gep(k.numbers_at("w"), [k.b.sub(k.times(k.worker, k["w_part"]), own_columns(k)[0])])


def _added(k: Kernel, value: Value, address: Value, sums: Sequence[Value]) -> list[Value]:
    """The sums plus that value times the vectors at the address."""
    several = k.spread(value)
    return [k.fma(several, one, total) for one, total in zip(k.load_vectors(address, len(sums)), sums, strict=True)]


def in_strips(k: Kernel, cut: Plan, strip: Callable[[Value, int], None]) -> None:
    """strip(column, vectors) over this worker's columns, cut into strips whose widths differ by one vector at most."""
    (left, right), lanes = own_columns(k), k.numbers.lanes
    size = k.b.udiv(k.b.sub(right, left), word(lanes))
    count = k.b.udiv(k.add(size, word(STRIP - 1)), word(STRIP))
    some = k.b.select(k.b.icmp_signed(">", count, word(0)), count, word(1))
    narrow, wider = k.b.udiv(size, some), k.b.urem(size, some)
    for width in cut.strips:
        wide, of_narrow = width * lanes, k.b.icmp_signed("==", narrow, word(width))
        here = k.b.select(of_narrow, k.b.sub(count, wider), word(0))
        here = k.b.select(k.b.icmp_signed("==", k.add(narrow, word(1)), word(width)), wider, here)
        stop = k.add(left, k.times(here, wide))
        k.loop(left, stop, wide, lambda column, _, width=width: strip(column, width))
        left = stop
    k.loop(left, right, lanes, lambda column, _: strip(column, 1))


def in_strips_of(cut: Plan, columns: Sequence[int], workers: int, lanes: int) -> Plan:
    """The plan for layers of so many outputs, each of which is the next one's input."""
    found: set[int] = set()
    for one in columns:
        edges = [-(-one // lanes) * worker // workers for worker in range(workers + 1)]
        for size in (right - left for left, right in pairwise(edges)):
            count = max(1, -(-size // STRIP))
            found |= {size // count, size // count + bool(size % count)}
    strips = tuple(sorted(found - {0, 1}, reverse=True))
    # The rows of a group are updated by whole tiles: one that reached into the next group would be updated twice.
    sizes = (size for size in range(STRIP, 0, -1) if size * lanes % TILE == 0)
    # A strip costs about as much more as four vectors, whatever its width.
    costs = {size: sum(-(-one // (size * lanes)) * (size + 4) for one in columns[:-1]) for size in sizes}
    return replace(cut, strips=strips, tall=min(costs, key=lambda size: costs[size]), enough=ENOUGH)
