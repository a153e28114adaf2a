"""Sets of rows: a bit for each row of a chunk, or of a few chunks, in one number."""

from typing import Any

import numpy as np

from fastgmm._jit import intrinsic, ir, types
from fastgmm.kernels.emission import index

BITS = 64
"""Rows that have their bits in one number: whole chunks of any vectors."""

EVERY = np.uint64(2**64 - 1)
"""All of its bits."""


def bits_of_masks(builder: Any, masks: list[Any]) -> Any:
    """Return the masks of a chunk's vectors as one number."""
    bits = index(0)
    for v, mask in enumerate(masks):
        lanes = mask.type.count
        own = builder.zext(builder.bitcast(mask, ir.IntType(lanes)), ir.IntType(64))
        bits = builder.or_(bits, builder.shl(own, index(v * lanes)))
    return bits


@intrinsic
def first_bit(typingctx: Any, bits: Any) -> Any:
    """Return where the lowest bit of a number that is not 0 is."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.intp(types.uint64), codegen


@intrinsic
def count_bits(typingctx: Any, bits: Any) -> Any:
    """Return how many bits are on."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.intp(types.uint64), codegen
