"""The six steps of a pass that differ from family to family, and which density takes which.

``expectation.py`` calls the steps by the names below. A family's module implements them for its own
``Density`` record (``implement``), and the compiler picks them by the record's type.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from fastgmm._jit import overload, part
from fastgmm._typing import FloatArray
from fastgmm.kernels import columns
from fastgmm.kernels.memory import stride_of

MOST_ROWS = 512
"""Of a tile, at most: panels have room for so many."""

WIDE_TILE_BYTES = 2**20
"""Of a tile's columns and densities, at most half of L2: passes over 768 columns of float64 became
1.1 times as fast."""


class Tile(NamedTuple):
    """Some rows of a block, and where their joint densities are."""

    rows: FloatArray
    """The block's, flat: d numbers a row."""
    start: int
    """The tile's first row."""
    size: int
    """How many rows it has."""
    joint: FloatArray
    """(k, stride) of each chunk, one behind the other (see ``columns.pitch_of``)."""
    stride: int
    """From one component of a chunk to the next."""


def work(density: Any, tile_rows: int) -> Any:
    """Return the family's own memory for a block of rows in tiles of ``tile_rows`` rows."""
    raise NotImplementedError("implemented for each density, for kernels only")


def shape_of_tile(density: Any, n_rows: int) -> tuple[int, int, int]:
    """Return how many rows a tile of a block of rows has, how many a chunk, and the stride.

    A chunk is a whole tile, or some vectors that divide it; then they are its stride as well.
    """
    raise NotImplementedError("implemented for each density, for kernels only")


def log_density(tile: Tile, density: Any, scratch: Any) -> None:
    """Write log2(weight_k N(x_t | k)) of a tile's rows to its joint densities.

    Row t of a chunk goes to k stride + t behind its beginning. Whole vectors are written, whole
    chunks where these are smaller than tiles: what lies behind the last row is finite but means
    nothing.
    """
    raise NotImplementedError("implemented for each density, for kernels only")


def common_log_density(tile: Tile, density: Any, scratch: Any, chunk: int, highest: Any) -> None:
    """Add to ``highest`` what ``log_density`` left out: the same number for all components.

    Called after ``log_density`` for the rows of each chunk of the tile, where a density is asked
    for; neither responsibilities nor moments need it. A fit adds it to the log likelihood from
    constants of the data (``complete`` of the family).
    """
    raise NotImplementedError("implemented for each density, for kernels only")


def accumulate(tile: Tile, density: Any, scratch: Any, shares: Any, statistics: Any) -> None:
    """Add a tile's counts and moments about ``density.origins``.

    A row's responsibilities are its joint densities times its share; both are zero behind the
    last row, up to a whole vector, or a whole chunk where chunks are smaller than tiles. Called
    after ``log_density`` of the same rows, which may have left things in ``scratch``. Sums may
    stay there until ``finish``.
    """
    raise NotImplementedError("implemented for each density, for kernels only")


def finish(density: Any, scratch: Any, statistics: Any) -> None:
    """Add to ``statistics`` what ``accumulate`` has left in ``scratch``, once a block of rows."""
    raise NotImplementedError("implemented for each density, for kernels only")


def whole_tiles(density: Any, n_rows: Any) -> Any:
    """Return the ``shape_of_tile`` of families that take a tile at once, as large as L2 allows."""
    n_components, n_features = density.means.shape
    a_row = density.means.itemsize * (n_components + n_features)
    most = min(WIDE_TILE_BYTES // a_row // 64 * 64, MOST_ROWS if a_row <= 2048 else 256)
    rows = tile_of(max(most, 64), n_rows)
    return rows, rows, stride_of(rows, density.means)


def small_chunks(density: Any, n_rows: Any) -> Any:
    """Return the ``shape_of_tile`` of families that take few vectors of rows at a time."""
    n_components, n_features = density.means.shape
    # 128 rows of 8 columns and 16 densities in float64, 256 in float32, stay in L1 from one step to
    # the next; with very few, longer sums are worth more
    most = MOST_ROWS if n_components * (1 + n_features) <= 12 else 1024 // density.means.itemsize
    chunk = columns.chunk_rows(density.means)
    return tile_of(most, n_rows), chunk, chunk


def nothing_common(tile: Any, density: Any, scratch: Any, chunk: Any, highest: Any) -> None:
    """Add nothing: the ``common_log_density`` of families that leave nothing out."""


@part
def tile_of(most: int, n_rows: int) -> int:
    """Return how many rows a tile has: no more than there are, in steps of 64."""
    return min(most, max(n_rows + 63, 64) // 64 * 64)


class Steps(NamedTuple):
    """A density's implementations of the functions above, with the same names of arguments."""

    work: Callable[..., Any]
    shape_of_tile: Callable[..., Any]
    log_density: Callable[..., Any]
    accumulate: Callable[..., Any]
    finish: Callable[..., Any]
    common_log_density: Callable[..., Any] = nothing_common


_steps: dict[type, Steps] = {}


def implement(record: type, steps: Steps) -> None:
    """Say which steps a record takes."""
    _steps[record] = steps


def _of(density: Any) -> Steps:
    return _steps[density.instance_class]


@overload(work, makes_arrays=True)
def _work(density: Any, tile_rows: Any) -> Any:
    return _of(density).work


@overload(shape_of_tile)
def _shape_of_tile(density: Any, n_rows: Any) -> Any:
    return _of(density).shape_of_tile


@overload(log_density)
def _log_density(tile: Any, density: Any, scratch: Any) -> Any:
    return _of(density).log_density


@overload(common_log_density)
def _common_log_density(tile: Any, density: Any, scratch: Any, chunk: Any, highest: Any) -> Any:
    return _of(density).common_log_density


@overload(accumulate)
def _accumulate(tile: Any, density: Any, scratch: Any, shares: Any, statistics: Any) -> Any:
    return _of(density).accumulate


@overload(finish)
def _finish(density: Any, scratch: Any, statistics: Any) -> Any:
    return _of(density).finish
