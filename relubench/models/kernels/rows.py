"""The backward pass of one block of samples: a row of W is read once, for the gradient of its input and for its update.

Shapes: as in relubench.models.kernels.dense.
"""

from __future__ import annotations

from relubench.models.kernels.emit import Kernel, Value, word
from relubench.models.kernels.layout import (
    Tiling,
    is_narrow,
    listed_rows,
    load_row,
    nonzero_rows,
    own_columns,
    rate_of,
    row_starts,
    store_below,
    weight_at,
)

CHUNK_BYTES = 20_000
"""Of delta, where registers are few: the first cache has 32 kB there."""
ROWS = 16
"""Rows of W that meet a chunk of delta one after the other."""


def rows_at_once(k: Kernel, tiling: Tiling, first: bool) -> None:
    """One block of samples: a row of W is read once for the gradient of its input and for its update."""
    if is_narrow(k):
        _rows_by_chunks(k, tiling, first)
        return
    (left, right), none = own_columns(k), _no_sums(k, tiling, first)

    def row(place: Value, _: list[Value]) -> None:
        _store_sums_below(k, place, _row_part(k, tiling, place, left, right, none), nonzero_rows(k, tiling)[0])

    k.loop(word(0), listed_rows(k), 1, row)


def _rows_by_chunks(k: Kernel, tiling: Tiling, first: bool) -> None:
    """The same, by chunks of columns whose delta stays in the first cache while a group of rows meets it.

    The sums of a row wait for the next chunk in the storage of W turned.
    """
    (left, right), lanes, none = own_columns(k), k.numbers.lanes, _no_sums(k, tiling, first)
    waiting = k.b.gep(k.numbers_at("turned_w"), [k.times(k.worker, k["turned_part"])])
    size = _chunk_size(k, tiling)

    def group(start: Value, _: list[Value]) -> None:
        last = k.least(k.add(start, word(ROWS)), listed_rows(k))

        def chunk(begin: Value, _: list[Value]) -> None:
            end = k.least(k.add(begin, size), right)
            is_first, is_last = k.b.icmp_signed("==", begin, left), k.b.icmp_signed(">=", end, right)

            def row(place: Value, _: list[Value]) -> None:
                row_sums = k.b.gep(waiting, [k.times(k.b.sub(place, start), tiling.block * lanes)])
                before = [k.b.select(is_first, k.zeros(), total) for total in k.load_vectors(row_sums, len(none))]
                sums = _row_part(k, tiling, place, begin, end, before)
                if first:
                    return
                with k.b.if_else(is_last) as (then, otherwise):
                    with then:
                        _store_sums_below(k, place, sums, nonzero_rows(k, tiling)[0])
                    with otherwise:
                        k.store_vectors(sums, row_sums)

            k.loop(start, last, 1, row)

        # A worker without columns has a gradient below too: zeros.
        k.loop(left, k.b.select(k.b.icmp_signed("<", left, right), right, k.add(left, word(1))), size, chunk)

    k.loop(word(0), listed_rows(k), ROWS, group)


def _chunk_size(k: Kernel, tiling: Tiling) -> Value:
    """Columns in a chunk, whole vectors; all chunks but the last have as many."""
    left, right = own_columns(k)
    lanes = k.numbers.lanes
    vectors, most = k.b.udiv(k.b.sub(right, left), word(lanes)), CHUNK_BYTES // (tiling.block * k.numbers.bytes * lanes)
    chunks = k.b.udiv(k.add(vectors, word(most - 1)), word(most))
    chunks = k.b.select(k.b.icmp_signed(">", chunks, word(1)), chunks, word(1))
    size = k.times(k.b.udiv(k.add(vectors, k.b.sub(chunks, word(1))), chunks), lanes)
    return k.b.select(k.b.icmp_signed(">", size, word(0)), size, word(lanes))


def _no_sums(k: Kernel, tiling: Tiling, first: bool) -> list[Value]:
    """What the gradient of one input begins with; nothing where nobody reads it."""
    return [] if first else [k.zeros()] * tiling.block


def _row_part(k: Kernel, tiling: Tiling, place: Value, begin: Value, end: Value, before: list[Value]) -> list[Value]:
    """Update columns begin...end of a row of the list; `before` (if any) plus its products with delta."""
    rows, packed = nonzero_rows(k, tiling)
    rate = rate_of(k)
    starts = row_starts(k, rows, place, 2 if is_narrow(k) else 1)
    values = k.b.gep(packed, [k.times(place, tiling.padded)])
    steps = [k.b.fmul(rate, k.broadcast(k.load(values, word(sample)))) for sample in range(tiling.block)]

    def strip(column: Value, sums: list[Value]) -> list[Value]:
        for next_start in starts[1:]:
            k.prefetch(*weight_at(k, next_start, column))
        weight = updated = k.load_vector(*weight_at(k, starts[0], column))
        totals = []
        for sample, step in enumerate(steps):
            delta = load_row(k, "delta", word(sample), column)
            if sums:
                totals.append(k.fma(delta, weight, sums[sample]))
            updated = k.fma(step, delta, updated)
        k.store_vector(updated, *weight_at(k, starts[0], column))
        return totals

    return k.loop(begin, end, k.numbers.lanes, strip, before)


def _store_sums_below(k: Kernel, place: Value, sums: list[Value], rows: Value) -> None:
    """The gradient of the input that row `place` of the list belongs to."""
    number = k.load_word(rows, place)
    for sample, total in enumerate(sums):
        store_below(k, k.horizontal_sum(total), word(sample), number)
