"""The source: the rows of a Dask array or data frame, whose partitions are the blocks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize

from fastgmm.exceptions import DataError
from fastgmm.sources.base import Chunk
from fastgmm.sources.columns import frame_columns
from fastgmm.sources.dask_collections.checks import (
    checked_rows,
    checked_weights,
    layout_of,
    lengths_of,
)
from fastgmm.sources.dask_collections.cutting import cut
from fastgmm.sources.dask_collections.partitions import Layout, Partitions
from fastgmm.sources.grid import Grid, lengths_grid
from fastgmm.sources.identity import Fingerprint, fingerprint_of

_SHARES_WORK = (
    "the partitions of X share work, so that computing one computes most of the others: call "
    "X.persist() first, write X to files, or compute what they share (such as X.mean(axis=0)) "
    "beforehand"
)


@dataclass(frozen=True, eq=False)
class DaskSource:
    """The rows of a Dask array or data frame."""

    collections: tuple[Any, ...]
    """X, and the weights if there are any."""
    partitions: Partitions | None
    """None if the partitions share work: only :meth:`recut` persisted collections can be read."""
    layout: Layout
    columns: Sequence[str] | None
    known_lengths: tuple[int, ...] | None
    """Number of rows of every partition, or None while only a pass could tell."""

    @property
    def n_samples(self) -> int | None:
        """Number of rows, or None while only a pass could tell."""
        return None if self.known_lengths is None else sum(self.known_lengths)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self.layout.n_features

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """float32 if everything is float32, else float64."""
        return self.layout.dtype

    def widened(self) -> "DaskSource":
        """Return the same rows in float64, whatever they are stored in."""
        layout = self.layout._replace(dtype=np.dtype(np.float64))
        partitions = None if self.partitions is None else replace(self.partitions, layout=layout)
        return replace(self, layout=layout, partitions=partitions)

    @property
    def weighted(self) -> bool:
        """Whether there are weights."""
        return self.layout.weighted

    @property
    def reads_files(self) -> bool:
        """Partitions mostly come from files: computing one while the kernel runs pays."""
        return True

    @property
    def fingerprint(self) -> Fingerprint:
        """The tokens of the collections: what they are computed from, not what comes out."""
        drop = self.layout.drop_missing
        tokens = [tokenize(collection) for collection in self.collections]
        lengths = None if self.known_lengths is None else list(self.known_lengths)
        return fingerprint_of(self, partitions=lengths, collections=tokens, drop_missing=drop)

    @property
    def independent(self) -> Partitions:
        """The partitions; raises DataError if they share work."""
        if self.partitions is None:
            raise DataError(_SHARES_WORK)
        return self.partitions

    def grid(self, chunk_size: int | None) -> Grid:
        """Return the grid whose blocks are the partitions, small ones together.

        The numbers of rows must be known.
        """
        if chunk_size is not None:
            raise DataError(
                "chunk_size cannot be given for a Dask collection, whose partitions are the "
                "blocks: use X.rechunk or X.repartition instead"
            )
        if self.known_lengths is None:
            raise DataError("the partitions of X have unknown numbers of rows: count them first")
        return lengths_grid(self.known_lengths, self.n_features)

    def chunks(self, grid: Grid, first: int, last: int) -> Iterator[Chunk]:
        """Compute partition after partition; none is kept."""
        return self.independent.chunks(grid, first, last)

    def counted(
        self, map_blocks: Callable[[Callable[[int], int], Iterable[int]], Iterable[int]] = map
    ) -> "DaskSource":
        """Return a copy that knows its number of rows, which may take one pass.

        ``map_blocks`` is ``map``, or the same on a pool of threads.
        """
        if self.known_lengths is not None:
            return self
        parts = self.independent
        return self.with_lengths(list(map_blocks(parts.length, range(len(parts.parts)))))

    def with_lengths(self, lengths: Sequence[int]) -> "DaskSource":
        """Return a copy that knows the number of rows of every partition."""
        return replace(self, known_lengths=tuple(lengths))

    def recut(self, collections: Sequence[Any]) -> "DaskSource":
        """Return the same rows from other collections, such as the persisted ones."""
        X, *weights = collections
        partitions = cut(X, weights[0] if weights else None, self.layout)
        return replace(self, collections=tuple(collections), partitions=partitions)


def collection_source(X: Any, sample_weight: Any, missing: str) -> DaskSource:
    """Turn a Dask array or data frame into a source; nothing is computed.

    Parameters
    ----------
    X : dask array (n, d) or dask data frame
        Partitions may be empty and of unknown length.
    sample_weight : dask array or series, array, or None
        A collection must have the partitions of X; an array is cut like X, whose lengths must
        be known.
    missing : {"raise", "drop"}
        Whether rows with NaN are left out.

    Raises
    ------
    DataError
        Not a table of real numbers, or weights that do not fit.
    """
    X = checked_rows(X)
    lengths = lengths_of(X)
    weights = None if sample_weight is None else checked_weights(sample_weight, X, lengths)
    drop = missing == "drop"
    layout = layout_of(X, weights is not None, drop)
    return DaskSource(
        collections=(X,) if weights is None else (X, weights),
        partitions=cut(X, weights, layout),
        layout=layout,
        columns=None if isinstance(X, da.Array) else frame_columns(X),
        known_lengths=None if lengths is None or drop else tuple(lengths),
    )
