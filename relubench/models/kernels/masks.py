"""Where the zeros are: a word has a bit for each of 64 numbers that is not zero.

With panels (see relubench.models.kernels.panels) a worker makes its masks once a pass, in storage of its own: where
registers are few, strips are narrow, and a mask costs as much as what it saves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from relubench.models.kernels.emit import I64, Kernel, Value, word
from relubench.models.kernels.layout import Tiling, listed_rows, nonzero_rows, packed_batch, packed_place

MASK = 64
"""Numbers whose zeros are found at once: the bits of a word."""
LOOKED_AT = 8
"""Zeros are counted in every eighth sample."""


def mostly_zeros(k: Kernel, tiling: Tiling, line: Callable[[Value], Value], left: Value, right: Value) -> Value:
    """Whether enough of the numbers left...right of the batch's samples are zero; line(sample) is their address."""
    lanes = k.numbers.lanes

    def sample(place: Value, counts: list[Value]) -> list[Value]:
        values = line(place)

        def vector(column: Value, nonzeros: list[Value]) -> list[Value]:
            nonzero = k.b.bitcast(_not_zero(k, k.load_part(values, column, right)), ir.IntType(lanes))
            return [k.add(nonzeros[0], k.b.zext(k.b.ctpop(nonzero), I64))]

        (nonzeros,) = k.loop(left, right, lanes, vector, [counts[0]])
        return [nonzeros, k.add(counts[1], k.b.sub(right, left))]

    nonzeros, looked_at = k.loop(word(0), k["batch"], LOOKED_AT, sample, [word(0), word(0)])
    return k.b.icmp_signed("<", k.times(nonzeros, 100), k.times(looked_at, 100 - tiling.enough))


def mask_of(k: Kernel, values: Value, first: Value, stop: Value) -> Value:
    """A word with a bit for each of the next 64 numbers that is not zero; from `stop` on none is read."""
    lanes, mask = k.numbers.lanes, word(0)
    for start in range(0, MASK, lanes):
        nonzero = _not_zero(k, k.load_part(values, k.add(first, word(start)), stop))
        bits = k.b.zext(k.b.bitcast(nonzero, ir.IntType(lanes)), I64)
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
    bits_left, *values = (b.phi(initial.type) for initial in (mask, *carried))
    for phi, initial in zip((bits_left, *values), (mask, *carried), strict=True):
        phi.add_incoming(initial, before)
    b.cbranch(b.icmp_unsigned("!=", bits_left, word(0)), inside, after)
    b.position_at_end(inside)
    results = body(b.cttz(bits_left, ir.Constant(ir.IntType(1), 1)), list(values))
    rest = b.and_(bits_left, b.sub(bits_left, word(1)))
    for phi, result in zip((bits_left, *values), (rest, *results), strict=True):
        phi.add_incoming(result, b.block)
    b.branch(head)
    b.position_at_end(after)
    return values


# -- masks that are kept -----------------------------------------------------------------------------------------------


def mask_storage(inputs: int, segment: int, samples: int) -> int:
    """Words that a worker's masks take: of each sample's inputs, or of each listed row's samples."""
    return max(samples * -(-inputs // MASK), segment * -(-samples // MASK))


def keep_masks_of_samples(k: Kernel, line: Callable[[Value], Value]) -> None:
    """The masks of each sample's inputs; line(sample) is where these begin."""
    _keep_masks(k, k["batch"], words_of_inputs(k), lambda sample, first: mask_of(k, line(sample), first, k["inputs"]))


def keep_masks_of_rows(k: Kernel, tiling: Tiling) -> None:
    """The masks of each listed row's samples."""
    packed, size = nonzero_rows(k, tiling)[1], min(tiling.block, k.numbers.lanes)

    def mask(row: Value, first: Value) -> Value:
        def part(sample: Value, bits: list[Value]) -> list[Value]:
            values = k.load_short(packed, packed_place(k, tiling, row, sample), size)
            nonzero = k.b.fcmp_unordered("!=", values, ir.Constant(values.type, [0.0] * size))
            new = k.b.zext(k.b.bitcast(nonzero, ir.IntType(size)), I64)
            return [k.b.or_(bits[0], k.b.shl(new, k.b.sub(sample, first)))]

        (bits,) = k.loop(first, k.least(k.add(first, word(MASK)), k["batch"]), size, part, [word(0)])
        # Beyond the batch there are copies of its last sample.
        left = k.b.sub(k["batch"], first)
        inside = k.b.sub(k.b.shl(word(1), left), word(1))
        return k.b.select(k.b.icmp_signed("<", left, word(MASK)), k.b.and_(bits, inside), bits)

    _keep_masks(k, listed_rows(k), words_of_samples(k, tiling), mask)


def kept_mask(k: Kernel, line: Value, words: Value, first: Value) -> Value:
    """The mask that was kept of numbers first... of a sample or a row; `words` to each."""
    return k.load_word(_own_masks(k), k.add(k.times(line, words), k.b.udiv(first, word(MASK))))


def words_of_inputs(k: Kernel) -> Value:
    """Masks of a sample."""
    return k.b.udiv(k.add(k["inputs"], word(MASK - 1)), word(MASK))


def words_of_samples(k: Kernel, tiling: Tiling) -> Value:
    """Masks of a row."""
    return word(-(-packed_batch(k.numbers, tiling) // MASK))


def _keep_masks(k: Kernel, lines: Value, words: Value, mask: Callable[[Value, Value], Value]) -> None:
    """mask(line, first) for each line and 64 numbers of it."""

    def one_line(line: Value, _: list[Value]) -> None:
        def one_word(place: Value, _: list[Value]) -> None:
            k.store_word(mask(line, k.times(place, MASK)), _own_masks(k), k.add(k.times(line, words), place))

        k.loop(word(0), words, 1, one_word)

    k.loop(word(0), lines, 1, one_line)


def _own_masks(k: Kernel) -> Value:
    return k.b.gep(k.words_at("masks"), [k.times(k.worker, k["masks_part"])])
