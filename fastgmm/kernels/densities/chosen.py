"""Which rows of a tile count for a component: where columns are many, most count for one alone.

A row whose responsibility is next to nothing adds nothing to a component's moments. Where most are
such, moments are summed component by component over the rows that are chosen.
"""

from typing import Any

from fastgmm._jit import part
from fastgmm.simd import (
    broadcast,
    first_on,
    lanes_of,
    lanes_on,
    load,
    select,
    square_root,
    store,
    total,
)

LEAST_SHARE_DOUBLE, LEAST_SHARE_SINGLE = 1e-19, 1e-12
"""Components pass rows over whose r is no more than this times the mean r of all rows until then.

Of what a block of rows gives a component these are this times 1 + log of its tiles, less than ten
times as much: of a covariance 1e-12 (1e-5) where they are 1e3 standard deviations away, which is
what moments about a common centre may lose, too (``covariance/nearness.py``). Of separated
components most rows are such (110 digits in 41 columns: 1.6 times as fast a fit). A share that knew
neither the rows nor the dtype, 1e-30, made passes over 16 columns and 32 components on a curved
surface 1.1 (float32: 1.22) times as long."""

FEWEST_COLUMNS = 16
"""From so many columns on: of fewer, looking at a responsibility costs a tenth of its products."""

LOOK_AT = 4
"""Of so many vectors of rows one is looked at to tell how many rows count."""

COUNTS_DOUBLE, COUNTS_SINGLE = 1e-21, 1e-14
"""What is more counts, in fractions of a row's highest density: for the first look alone."""


@part
def least_share(n_rows: int, like: Any) -> float:
    """Return the share of what ``n_rows`` rows have given a component that it passes over."""
    share = LEAST_SHARE_DOUBLE if like.itemsize == 8 else LEAST_SHARE_SINGLE
    return share / max(n_rows, 1)


@part
def few_chosen(
    joint: Any,
    at: int,
    stride: int,
    n_components: int,
    d: int,
    size: int,
    pairs: float,
    given: Any,
    until: int,
) -> bool:
    """Whether ``choose`` would take at most one of so many pairs of a row and a component.

    Some rows are looked at. ``joint`` (k, stride), from ``at`` on, are the fractions of ``size``
    rows, ``given`` (k,) what components have been given by the ``until`` rows before: where rows
    are sorted, those whose rows come later have next to nothing, and would be given a little of
    every row.
    """
    if d < FEWEST_COLUMNS or not _few_count(joint, at, stride, n_components, size, pairs):
        return False
    width = lanes_of(joint)
    one, none = broadcast(joint.dtype.type(1)), broadcast(joint.dtype.type(0))
    found = none
    share = least_share(until + size, joint)
    for k in range(n_components):
        here = at + k * stride
        sum_ = none
        for t in range(0, size, LOOK_AT * width):
            sum_ = sum_ + load(joint, here + t)
        bound = broadcast(joint.dtype.type(share * (given[k] + LOOK_AT * total(sum_))))
        for t in range(0, size, LOOK_AT * width):
            found = found + select(load(joint, here + t) > bound, one, none)
    return pairs * total(found) <= _looks(size, width) * n_components


@part
def _looks(size: int, width: int) -> int:
    """Return how many of ``size`` rows are looked at."""
    return (size + LOOK_AT * width - 1) // (LOOK_AT * width) * width


@part
def _few_count(
    joint: Any, at: int, stride: int, n_components: int, size: int, pairs: float
) -> bool:
    """Whether so few count at all: asked first, as dense tiles are told by half the work."""
    width = lanes_of(joint)
    one, none = broadcast(joint.dtype.type(1)), broadcast(joint.dtype.type(0))
    counts = COUNTS_DOUBLE if joint.itemsize == 8 else COUNTS_SINGLE
    bound, found = broadcast(joint.dtype.type(counts)), none
    for t in range(0, size, LOOK_AT * width):
        for k in range(n_components):
            found = found + select(load(joint, at + k * stride + t) > bound, one, none)
    return pairs * total(found) <= _looks(size, width) * n_components


@part
def shared(joint: Any, at: int, size: int, shares: Any) -> float:
    """Multiply ``size`` fractions by their shares, which makes responsibilities; return the sum."""
    width = lanes_of(joint)
    result = broadcast(joint.dtype.type(0))
    for t in range(0, size, width):
        r = load(joint, at + t) * load(shares, t)
        store(joint, at + t, r)
        result = result + r
    return total(result)


@part
def choose(joint: Any, at: int, size: int, least: float, chosen: Any) -> int:
    """Write which of ``size`` rows have more than the least; return how many.

    Vectors with a chosen row become square roots, others stay responsibilities: for nothing else
    serves ``joint`` afterwards. With a negative least all are chosen.
    """
    width = lanes_of(joint)
    bound = broadcast(joint.dtype.type(least))
    n = 0
    for first in range(0, size, width):
        r = load(joint, at + first)
        on = lanes_on(r > bound)
        if on == 0:
            continue
        store(joint, at + first, square_root(r))
        while on != 0:
            chosen[n] = first + first_on(on)
            n += 1
            on &= on - 1
    # what pads the last vector is chosen only if everything is
    return min(n, size)
