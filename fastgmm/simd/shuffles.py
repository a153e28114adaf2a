"""Across lanes: horizontal sums and maxima, transposes."""

from collections.abc import Callable
from typing import Any

from fastgmm._jit import TypingError, intrinsic, ir, types
from fastgmm.simd.arithmetic import added, larger
from fastgmm.simd.memory import address, load_at, store_at
from fastgmm.simd.vectors import (
    VectorType,
    constant,
    llvm_vector,
    require_vectors,
    shuffle,
    vector_of,
)


def halved(builder: Any, value: Any, join: Callable[..., Any] = added) -> Any:
    """Join the upper half of a vector with its lower half."""
    half = value.type.count // 2
    low = shuffle(builder, value, value, list(range(half)))
    high = shuffle(builder, value, value, list(range(half, 2 * half)))
    return join(builder, low, high)


def doubled(builder: Any, value: Any) -> Any:
    """Return a vector twice as long, with zeros in its upper half."""
    return shuffle(builder, value, constant(value.type, 0.0), list(range(2 * value.type.count)))


def folded(builder: Any, value: Any, join: Callable[..., Any] = added) -> Any:
    """Join the upper half of a vector with its lower half until one number is left."""
    while value.type.count > 1:
        value = halved(builder, value, join)
    return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


@intrinsic
def total(typingctx: Any, vector: Any) -> Any:
    """Return the sum of a vector's lanes: upper half plus lower half, and so on."""
    require_vectors("total", vector)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return folded(builder, arguments[0])

    return vector.dtype(vector), codegen


@intrinsic
def highest(typingctx: Any, vector: Any) -> Any:
    """Return the largest of a vector's lanes; unspecified when one of them is NaN."""
    require_vectors("highest", vector)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return folded(builder, arguments[0], larger)

    return vector.dtype(vector), codegen


def _exchanged(builder: Any, a: Any, b: Any, block: int) -> tuple[Any, Any]:
    """Return [a0 b0 a2 b2 ...] and [a1 b1 a3 b3 ...], in blocks of ``block`` lanes."""
    lower, upper = [], []
    count = a.type.count
    for start in range(0, count, 2 * block):
        lower += [*range(start, start + block), *range(count + start, count + start + block)]
        upper += [lane + block for lane in lower[-2 * block :]]
    return shuffle(builder, a, b, lower), shuffle(builder, a, b, upper)


def transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Transpose as many vectors as each has lanes, in log2(lanes) rounds of exchanges.

    Fewer, a power of two, are transposed in squares side by side.
    """
    rows = list(rows)
    block = 1
    while block < len(rows):
        for first in (row for row in range(len(rows)) if not row & block):
            rows[first], rows[first + block] = _exchanged(
                builder, rows[first], rows[first + block], block
            )
        block *= 2
    return rows


def exchanges_of_rows(d: int) -> int:
    """Return how many exchanges ``columns_of`` makes for rows of d numbers."""
    return d * (d - 1) if d % 2 else d + 2 * exchanges_of_rows(d // 2)


def columns_of(builder: Any, loaded: list[Any]) -> list[Any]:
    """Return the d columns of rows of d numbers that follow each other in d vectors.

    Even columns are parted from odd ones as long as d is even, each half then by itself.
    """
    d, lanes = len(loaded), loaded[0].type.count
    if d % 2:
        return [_strided(builder, loaded, first) for first in range(d)]
    evens = list(range(0, 2 * lanes, 2))
    halves = []
    for order in (evens, [lane + 1 for lane in evens]):
        pairs = zip(loaded[::2], loaded[1::2], strict=True)
        halves.append(columns_of(builder, [shuffle(builder, a, b, order) for a, b in pairs]))
    return [column for both in zip(*halves, strict=True) for column in both]


def _strided(builder: Any, loaded: list[Any], first: int) -> Any:
    """Pick, out of d vectors that follow each other, every d-th number from ``first`` on."""
    d, lanes = len(loaded), loaded[0].type.count
    # lane t of the result is number t d + first: in which vector, at which lane
    places = [divmod(t * d + first, lanes) for t in range(lanes)]
    sources = sorted({source for source, _ in places})
    if len(sources) == 1:
        return shuffle(builder, loaded[sources[0]], loaded[sources[0]], [p for _, p in places])
    result = loaded[sources[0]]
    picked = False
    for source in sources[1:]:
        order = []
        for t, (at, lane) in enumerate(places):
            if at == source:
                order.append(lanes + lane)
            else:
                order.append(t if picked else lane)
        result = shuffle(builder, result, loaded[source], order)
        picked = True
    return result


def _require_square(operation: str, vectors: Any) -> None:
    vector = getattr(vectors, "dtype", None)
    if not isinstance(vectors, types.UniTuple) or not isinstance(vector, VectorType):
        raise TypingError(f"{operation} takes a tuple of vectors, not {vectors}.")
    if vectors.count != vector.lanes:
        raise TypingError(f"{operation} takes {vector.lanes} vectors, not {vectors.count}.")


def _unpacked(builder: Any, vectors: Any, count: int) -> list[Any]:
    return [builder.extract_value(vectors, index) for index in range(count)]


def joined_totals(builder: Any, rows: list[Any]) -> Any:
    """Return the vector of the sums of some vectors: a power of two, up to as many as lanes."""
    n_sums = len(rows)
    block = 1
    while len(rows) > 1:
        pairs = zip(rows[::2], rows[1::2], strict=True)
        rows = [added(builder, *_exchanged(builder, a, b, block)) for a, b in pairs]
        block *= 2
    result = rows[0]
    while result.type.count > n_sums:
        result = halved(builder, result)
    return result


@intrinsic
def totals(typingctx: Any, vectors: Any) -> Any:
    """Return the vector of the sums of a tuple's vectors, which are as many as each has lanes.

    It costs little more than one ``total``, and there is no better way to make several.
    """
    _require_square("totals", vectors)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return joined_totals(builder, _unpacked(builder, arguments[0], vectors.count))

    return vectors.dtype(vectors), codegen


@intrinsic
def transpose(typingctx: Any, vectors: Any) -> Any:
    """Return the tuple of vectors whose lane j of vector i is lane i of vector j."""
    _require_square("transpose", vectors)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows = transposed(builder, _unpacked(builder, arguments[0], vectors.count))
        return context.make_tuple(builder, vectors, rows)

    return vectors(vectors), codegen


@intrinsic
def transpose_block(
    typingctx: Any,
    source: Any,
    source_index: Any,
    source_stride: Any,
    target: Any,
    target_index: Any,
    target_stride: Any,
) -> Any:
    """Copy a square block of lanes x lanes numbers from one array to another, transposed.

    An index is that of the block's first number; a stride is how many numbers lie from one of
    its rows to the next.
    """
    arrays = (source, target)
    if not all(isinstance(each, types.Array) and each.layout == "C" for each in arrays):
        raise TypingError("transpose_block takes C-contiguous arrays.")
    if source.dtype != target.dtype or not target.mutable:
        raise TypingError("transpose_block takes arrays of one dtype, the second to be written.")
    vector = vector_of(source.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def rows(array_type: Any, array: Any, index: Any, stride: Any) -> list[Any]:
            pointers = [address(context, builder, array_type, array, index)]
            for _ in range(1, vector.lanes):
                pointers.append(builder.gep(pointers[-1], [stride], inbounds=True))
            return pointers

        loaded = [
            load_at(builder, pointer, llvm_vector(vector))
            for pointer in rows(source, *arguments[:3])
        ]
        for pointer, row in zip(
            rows(target, *arguments[3:]), transposed(builder, loaded), strict=True
        ):
            store_at(builder, pointer, row)
        return context.get_dummy_value()

    numbers = (types.intp, types.intp)
    return types.void(source, *numbers, target, *numbers), codegen
