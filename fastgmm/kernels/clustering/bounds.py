"""Which rows may have changed their cluster: one number a row next to how far centres have moved.

The bound of Hamerly (2010) with one number a row: its *slack* is what there was between its two
nearest centres, and how far these had moved by then.
"""

from typing import Any

from fastgmm._jit import intrinsic, ir, types
from fastgmm.kernels.blocks import CHUNK_VECTORS
from fastgmm.kernels.clustering.bits import bits_of_masks
from fastgmm.kernels.emission import (
    data_of,
    index,
    loop,
    number_at,
    vector_at,
)
from fastgmm.simd.memory import store_at
from fastgmm.simd.vectors import call, constant, llvm_vector, splat, vector_of


@intrinsic
def any_below(typingctx: Any, like: Any, slack: Any, limit: Any, first: Any) -> Any:
    """Return whether the slack of any row of a chunk is no more than a limit."""
    chunk = CHUNK_VECTORS * vector_of(like.dtype).lanes

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        single = llvm_vector(vector_of(types.float32))
        (slack_at,) = (data_of(context, signature.args[1], arguments[1], builder),)
        limit = splat(builder, arguments[2], single.count)
        found = None
        for t in range(0, chunk, single.count):
            at = builder.add(arguments[3], index(t))
            mask = builder.fcmp_unordered("<=", vector_at(builder, slack_at, at, single), limit)
            found = mask if found is None else builder.or_(found, mask)
        bits = builder.bitcast(found, ir.IntType(single.count))
        return builder.icmp_unsigned("!=", bits, bits.type(0))

    return types.boolean(like, slack, types.float32, types.intp), codegen


@intrinsic
def unsure_rows(
    typingctx: Any,
    like: Any,
    slack: Any,
    labels: Any,
    limits: Any,
    size: Any,
    first: Any,
) -> Any:
    """Return a bit for each row of a chunk: whether its slack is no more than its label's limit.

    There are ``size`` limits.
    """
    chunk = CHUNK_VECTORS * vector_of(like.dtype).lanes

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        single = llvm_vector(vector_of(types.float32))
        integers = ir.VectorType(ir.IntType(32), single.count)
        slack_at, labels_at, limits_at = (
            _as_floats(builder, data_of(context, signature.args[i], arguments[i], builder))
            for i in (1, 2, 3)
        )
        masks = []
        for t in range(0, chunk, single.count):
            at = builder.add(arguments[5], index(t))
            label = builder.bitcast(vector_at(builder, labels_at, at, single), integers)
            limit = _looked_up(builder, limits_at, arguments[4], label)
            # not "<=": what is no number is unsure, too
            masks.append(
                builder.fcmp_unordered("<=", vector_at(builder, slack_at, at, single), limit)
            )
        return bits_of_masks(builder, masks)

    return types.uint64(like, slack, labels, limits, types.intp, types.intp), codegen


@intrinsic
def label_chunk(
    typingctx: Any,
    which: Any,
    gaps: Any,
    drift: Any,
    size: Any,
    labels: Any,
    slack: Any,
    first: Any,
    old: Any,
) -> Any:
    """Label the rows of a chunk; return a bit for each whose label has changed.

    Their slack is the gap between their nearest centres and the drift, one of ``size``, of the
    nearest up to now. ``old`` is given the labels that were there.
    """
    vector_type = vector_of(which.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        single, integers = _halves(vector)
        which_at = data_of(context, signature.args[0], arguments[0], builder)
        gaps_at, drift_at, labels_at, slack_at, old_at = (
            _as_floats(builder, data_of(context, signature.args[i], arguments[i], builder))
            for i in (1, 2, 4, 5, 7)
        )
        masks = []
        for v in range(CHUNK_VECTORS):
            here = index(v * vector.count)
            there = builder.add(arguments[6], here)
            label = builder.fptosi(vector_at(builder, which_at, here, vector), integers)
            before = builder.bitcast(vector_at(builder, labels_at, there, single), integers)
            gap = vector_at(builder, gaps_at, here, single)
            sure = builder.fadd(gap, _looked_up(builder, drift_at, arguments[3], label))
            for pointer, place, value in ((old_at, here, before), (labels_at, there, label)):
                value = builder.bitcast(value, single)
                store_at(builder, builder.gep(pointer, [place]), value)
            store_at(builder, builder.gep(slack_at, [there]), sure)
            masks.append(builder.icmp_signed("!=", label, before))
        return bits_of_masks(builder, masks)

    size = types.intp
    return types.uint64(which, gaps, drift, size, labels, slack, size, old), codegen


def _looked_up(builder: Any, table: Any, size: Any, which: Any) -> Any:
    """Load a float32 number of a table of ``size`` for each of a vector of indices.

    One by one: processors gather a vector in 30 cycles, in which 32 entries are compared.
    """
    vector = ir.VectorType(ir.FloatType(), which.type.count)

    def choose(entry: Any, found: list[Any]) -> list[Any]:
        number = splat(builder, builder.trunc(entry, ir.IntType(32)), which.type.count)
        value = splat(builder, number_at(builder, table, entry), which.type.count)
        return [builder.select(builder.icmp_signed("==", which, number), value, found[0])]

    few = builder.icmp_signed("<=", size, index(32))
    with builder.if_else(few) as (then, otherwise):
        with then:
            (chosen,) = loop(builder, size, [constant(vector, 0.0)], choose)
            after_choice = builder.block
        with otherwise:
            gathered = _gathered(builder, table, which)
            after_gathering = builder.block
    found = builder.phi(vector)
    found.add_incoming(chosen, after_choice)
    found.add_incoming(gathered, after_gathering)
    return found


def _gathered(builder: Any, table: Any, which: Any) -> Any:
    """Load a float32 number of a table for each of a vector of indices."""
    lanes = which.type.count
    vector = ir.VectorType(ir.FloatType(), lanes)
    places = ir.VectorType(ir.IntType(64), lanes)
    bytes_each = constant(places, 4)
    at = builder.mul(builder.zext(which, places), bytes_each)
    base = splat(builder, builder.ptrtoint(table, ir.IntType(64)), lanes)
    pointers = builder.inttoptr(
        builder.add(base, at), ir.VectorType(ir.FloatType().as_pointer(), lanes)
    )
    every = constant(ir.VectorType(ir.IntType(1), lanes), 1)
    align = ir.Constant(ir.IntType(32), 4)
    name = f"llvm.masked.gather.v{lanes}f32.v{lanes}p0"
    return call(builder, name, vector, pointers, align, every, constant(vector, 0.0))


def _as_floats(builder: Any, pointer: Any) -> Any:
    """Return a pointer to float32 numbers: int32 are moved as such."""
    return builder.bitcast(pointer, ir.FloatType().as_pointer())


def _halves(vector: Any) -> tuple[Any, Any]:
    """Return LLVM's types of as many float32 numbers, and of 32-bit integers, as a vector has."""
    return ir.VectorType(ir.FloatType(), vector.count), ir.VectorType(ir.IntType(32), vector.count)
