"""Groups of vectors of rows in few columns: from rows to sums of responsibilities times features.

A group is some vectors of rows. Its columns, features, sums and shares stay in registers, as many
as these are; densities, and what the moments take of a group, wait in L1 until some groups' moments
are added. Two or three components need not wait (``few.py``).

Densities are in units of each row's highest. One unit for all rows saves the maxima, where it goes
for all components' rows (``one_unit.py``).
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from fastgmm._jit import ir
from fastgmm.kernels.blocks import CHUNK_VECTORS, joined_ways
from fastgmm.kernels.columns import ask_for_rows, columns_of_rows, pitch
from fastgmm.kernels.emission import (
    index,
    loop,
    number_at,
    vector_at,
)
from fastgmm.simd.arithmetic import added, fused, larger, reciprocal_of, smaller
from fastgmm.simd.elementary import log_of
from fastgmm.simd.memory import store_at
from fastgmm.simd.powers import (
    LN2,
    lowest_share_power,
    powers_of_two,
    rounding_of,
    without_exponent,
)
from fastgmm.simd.shuffles import doubled, folded, halved
from fastgmm.simd.vectors import (
    FLAGS,
    bits_of,
    constant,
    integers_like,
    splat,
)

FEW_FEATURES = 5
"""So many features of a group lie in registers; more are loaded, and serve three components a time:
with nine, 1.05 to 1.2 times as fast; with five, slower. (Three are 1.03 times as fast as two.)"""

TWO = 2
"""Features with which groups have twice as many vectors, whose steps wait less for each other: 1.03
to 1.06 times as fast with three or four components, 0.95 to 1.0 with dozens; with other numbers of
features slower."""

LINES_A_COMPONENT = 2
"""Of rows that are asked for in a component's turn."""

SUMS_IN_REGISTERS = 24
"""Of the moments of one or several components."""

TOGETHER_WITH_FIRST = 4
"""Components, at most, whose moments are added together with those of a first one whose density is
1. There are as many: three only in so many columns that fewer's sums fit into registers."""

FEATURES_AT_ONCE = 12
"""Of a component's moments: of 18 all at once cost 1.05 times as much as twice nine."""


class Groups:
    """Emits the steps of groups: what all of them know, and where in memory it is."""

    asks = False
    """Whether rows are asked for where others are read."""

    first = 0
    """The first component whose log density is computed; 1 if these are differences from that of
    the one before, whose density is 1 (``differences.py``)."""

    def __init__(
        self,
        builder: Any,
        vector: Any,
        pointers: list[Any],
        numbers: list[Any],
        d: int,
        products: list[Any],
        n_known: int,
    ) -> None:
        self.n_known = n_known
        self.d, self.products, self.count = d, products, d + len(products)
        self.vectors = range(self.vectors_of(self.count))
        self.builder, self.vector, self.width = builder, vector, vector.count
        self.bits = bits_of(vector)
        self.rows, self.centre, self.slopes, self.constants, self.farthest = pointers[:5]
        self.densities, self.weighted, self.sums, self.log_likelihood = pointers[5:]
        self.start, self.n_groups, self.together, self.n_components = numbers
        self.n_computed = builder.sub(self.n_components, index(self.first))
        if self.first:
            behind = builder.mul(self.n_components, index(self.count))
            self.slopes = builder.gep(self.slopes, [behind])
            self.constants = builder.gep(self.constants, [self.n_components])
        self.row = index(len(self.vectors) * vector.count)

    @staticmethod
    def vectors_of(n_features: int) -> int:
        """Return how many vectors of rows a group has."""
        return 2 * CHUNK_VECTORS if n_features == TWO else CHUNK_VECTORS

    def number(self, pointer: Any, at: Any) -> Any:
        """Return a number of memory in all lanes."""
        return splat(self.builder, number_at(self.builder, pointer, at), self.width)

    def load(self, pointer: Any, at: Any) -> Any:
        """Return a vector of memory."""
        return vector_at(self.builder, pointer, at, self.vector)

    def store(self, pointer: Any, at: Any, value: Any) -> None:
        """Write a vector."""
        store_at(self.builder, self.builder.gep(pointer, [at]), value)

    def begin(self, turn: Any, n_rows: Any) -> Any:
        """Return where a group's matrix of so many rows begins (``pitch_of`` apart)."""
        run = len(self.vectors) * self.width
        return self.builder.mul(turn, pitch(self.builder, n_rows, run, self.vector))

    def place(self, begin: Any, row: Any, v: int) -> Any:
        """Return where vector ``v`` of a row of such a matrix is."""
        at = self.builder.add(begin, self.builder.mul(row, self.row))
        return self.builder.add(at, index(v * self.width))

    def for_components(
        self,
        sizes: list[int],
        body: Callable[[list[Any], list[Any]], list[Any]],
        carried: list[Any],
        first: int = 0,
    ) -> list[Any]:
        """Carry values through a body for components, so many at a time as one of the sizes."""
        builder, done = self.builder, index(first)
        for size in sizes:
            turns = builder.sdiv(builder.sub(self.n_components, done), index(size))

            def some(turn: Any, old: list[Any], done: Any = done, size: int = size) -> list[Any]:
                first = builder.add(done, builder.mul(turn, index(size)))
                return body([builder.add(first, index(i)) for i in range(size)], old)

            carried = loop(builder, turns, carried, some)
            done = builder.add(done, builder.mul(turns, index(size)))
        return carried

    def features_of(self, group: Any) -> list[list[Any]]:
        """Return the features of all vectors of a group."""
        at = self.begin_of(group)
        places = [self.builder.add(at, index(v * self.width * self.d)) for v in self.vectors]
        return [self.features(place) for place in places]

    def begin_of(self, group: Any) -> Any:
        """Return where a group's rows begin."""
        builder = self.builder
        apart = builder.mul(self.row, index(self.d))
        return builder.add(self.start, builder.mul(group, apart))

    def features(self, at: Any) -> list[Any]:
        """Return columns about the centre, and sums of products of these, of a vector of rows."""
        builder = self.builder
        columns = columns_of_rows(builder, self.rows, at, self.d, self.vector, asks=self.asks)
        centre = [self.number(self.centre, index(j)) for j in range(self.d)]
        x = [builder.fsub(column, at) for column, at in zip(columns, centre, strict=True)]
        features = list(x)
        for (first, second), *more in self.products:
            feature = builder.fmul(x[first], x[second])
            for i, j in more:
                feature = fused(builder, x[i], x[j], feature)
            features.append(feature)
        return features

    def joined(self, values: list[Any]) -> Any:
        """Return the sum of a power of two of vectors: one by one, float32 would lose a digit."""
        while len(values) > 1:
            pairs = zip(values[::2], values[1::2], strict=True)
            values = [added(self.builder, *pair) for pair in pairs]
        return values[0]

    def log_densities(self, ks: list[Any], x: list[Any]) -> list[list[Any]]:
        """Return constants + slopes x features, of some components and all vectors of a group."""
        builder, count = self.builder, self.count
        values = [[self.number(self.constants, k)] * len(x) for k in ks]
        for f in range(count):
            for value, k in zip(values, ks, strict=True):
                at = builder.add(builder.mul(k, index(count)), index(f))
                factor = self.number(self.slopes, at)
                value[:] = [fused(builder, factor, x[v][f], value[v]) for v in self.vectors]
        return values

    def write_log_densities(self, begin: Any, x: list[Any]) -> list[Any]:
        """Write log densities; return ``rounding_of`` less the highest."""
        lowest = [constant(self.vector, float("-inf"))] * len(self.vectors)
        return self.rounding_less(self.highest(begin, x, lowest))

    def highest(self, begin: Any, x: list[Any], known: list[Any]) -> list[Any]:
        """Write log densities; return the highest of them and what is known."""

        def components(ks: list[Any], highest: list[Any]) -> list[Any]:
            for value, k in zip(self.log_densities(ks, x), ks, strict=True):
                for v in self.vectors:
                    self.store(self.densities, self.place(begin, k, v), value[v])
                highest = self.higher(value, highest)
            return highest

        sizes = [1] if self.count <= FEW_FEATURES else [3, 2, 1]
        return self.for_components(sizes, components, known, self.first)

    def higher(self, values: list[Any], highest: list[Any]) -> list[Any]:
        """Return the larger ones, row by row."""
        return [larger(self.builder, *pair) for pair in zip(values, highest, strict=True)]

    def ask_for(self, group: Any, line: Any) -> None:
        """Ask for one of the lines that are read some groups later (see ``ask_for_rows``)."""
        begin = self.begin_of(self.builder.add(group, index(1)))
        at = self.builder.add(begin, self.builder.mul(line, index(self.width)))
        ask_for_rows(self.builder, self.rows, at, self.vector)

    def exponentiate(self, begin: Any, rounding: list[Any], group: Any) -> list[Any]:
        """Replace log densities by densities in units of the highest; return their sums.

        To write them first costs nothing: in one loop there are too few registers. Meanwhile lines
        of rows are asked for: all at once they wait for each other, and passes from memory over 16
        columns took 1.15 times as long.
        """
        builder = self.builder
        last = index(self.d * len(self.vectors) - 1)

        def component(turn: Any, scale: list[Any]) -> list[Any]:
            k = builder.add(turn, index(self.first))
            for i in range(LINES_A_COMPONENT):
                line = builder.add(builder.mul(turn, index(LINES_A_COMPONENT)), index(i))
                is_beyond = builder.icmp_signed(">", line, last)
                self.ask_for(group, builder.select(is_beyond, last, line))
            places = [self.place(begin, k, v) for v in self.vectors]
            powers = []
            # of eight vectors at once: 1.01 times as fast in float64, 0.93 to 0.96 in float32
            at_once = CHUNK_VECTORS if self.bits == 32 else len(places)
            for first in range(0, len(places), at_once):
                some = slice(first, first + at_once)
                values = [self.load(self.densities, at) for at in places[some]]
                powers += self.powers(values, rounding[some])
            for at, power in zip(places, powers, strict=True):
                self.store(self.densities, at, power)
            return [added(self.builder, a, b) for a, b in zip(scale, powers, strict=True)]

        known = [constant(self.vector, float(self.first))] * len(self.vectors)
        scale = loop(builder, self.n_computed, known, component)
        asked = builder.mul(self.n_computed, index(LINES_A_COMPONENT))

        def ask(turn: Any, nothing: list[Any]) -> list[Any]:
            self.ask_for(group, builder.add(asked, turn))
            return nothing

        loop(builder, builder.sub(builder.add(last, index(1)), asked), [], ask)
        return scale

    def rounding_less(self, values: list[Any]) -> list[Any]:
        """Return ``rounding_of`` less each value: where it is a part of that, the other one."""
        whole = constant(self.vector, rounding_of(self.vector))
        return [self.builder.fsub(whole, each, flags=FLAGS) for each in values]

    def powers(self, values: list[Any], rounding: list[Any]) -> list[Any]:
        """Return densities for log densities."""
        return powers_of_two(self.builder, values, lowest_share_power(self.bits), rounding)

    def write_weighted(self, begin: Any, scale: list[Any], x: list[Any]) -> None:
        """Write shares, and these times the features."""
        for v in self.vectors:
            share = reciprocal_of(self.builder, scale[v])
            values = [share, *(self.builder.fmul(share, each) for each in x[v])]
            for f, value in enumerate(values):
                self.store(self.weighted, self.place(begin, index(f), v), value)

    def add_moments(self, n_groups: Any) -> None:
        """Add the densities of some groups times what is weighted with their shares.

        Of many features some at a time, so that every density that is loaded serves several.
        """
        n_features = 1 + self.count
        n_parts = -(-n_features // FEATURES_AT_ONCE)
        bounds = [n_features * i // n_parts for i in range(n_parts + 1)]
        for features in (range(*both) for both in pairwise(bounds)):
            most = max(SUMS_IN_REGISTERS // len(features), 1)
            sizes = [size for size in (8, 4, 2, 1) if size <= most]
            add, done = partial(self._add_products, n_groups, features), 0
            if self.first:
                done = min(sizes[0], TOGETHER_WITH_FIRST)
                add([index(k) for k in range(done)], [], n_ones=1)
            self.for_components(sizes, add, [], done)

    def _add_products(
        self, n_groups: Any, features: range, ks: list[Any], nothing: list[Any], n_ones: int = 0
    ) -> list[Any]:
        """Add densities of some components times features; the first ``n_ones`` are all 1.

        Those are not in memory: to load and to multiply by them made passes 1.05 times as long.
        """
        builder = self.builder
        n_features, count = 1 + self.count, len(features)
        half = ir.VectorType(self.vector.element, self.width // 2)
        rows = [
            builder.add(builder.mul(k, index(n_features)), index(f)) for k in ks for f in features
        ]
        places = [builder.mul(row, index(half.count)) for row in rows]
        # fewer sums would wait for each other
        ways = min(len(self.vectors), -(-8 // len(places)))

        def add_group(turn: Any, old: list[Any]) -> list[Any]:
            new = list(old)
            mine = self.begin(turn, self.n_components)
            theirs = self.begin(turn, index(n_features))
            for v in self.vectors:
                first = v % ways * len(places)
                densities = [self.load(self.densities, self.place(mine, k, v)) for k in ks[n_ones:]]
                for i, f in enumerate(features, first):
                    feature = self.load(self.weighted, self.place(theirs, index(f), v))
                    own = range(i, first + len(places), count)
                    for which in own[:n_ones]:
                        new[which] = added(builder, new[which], feature)
                    for which, density in zip(own[n_ones:], densities, strict=True):
                        new[which] = fused(builder, density, feature, new[which])
            return new

        found = [doubled(builder, vector_at(builder, self.sums, at, half)) for at in places]
        found += [constant(self.vector, 0.0)] * (len(places) * (ways - 1))
        found = loop(builder, n_groups, found, add_group)
        for at, value in zip(places, joined_ways(builder, found, len(places)), strict=True):
            self.store(self.sums, at, halved(builder, value))
        return nothing

    def no_likelihood(self) -> list[Any]:
        """Return the likelihood of no rows: a product, its exponents, the sum of powers beside."""
        zeros = ir.Constant(integers_like(self.vector), [0] * self.width)
        return [constant(self.vector, 1.0), zeros, constant(self.vector, 0.0)]

    def no_rows(self) -> list[Any]:
        """Return what ``likelihood`` carries on: and how far a row's highest go down and up."""
        return [*self.no_likelihood(), *[constant(self.vector, 0.0)] * 2]

    def likelihood(
        self, rounding: list[Any], scale: list[Any], x: list[list[Any]], carried: list[Any]
    ) -> list[Any]:
        """Multiply a product by sums of densities; add the logarithms of what their unit is."""
        builder = self.builder
        product, exponents, powers, least, most = carried
        for v in self.vectors:
            product = builder.fmul(product, scale[v], flags=FLAGS)  # up to k each
        product, exponent = without_exponent(builder, product)
        highest = self.rounding_less(rounding)  # as they were, but rounded
        for each in highest:
            least, most = smaller(builder, each, least), larger(builder, each, most)
        powers = added(builder, powers, self.joined(highest))
        return [product, builder.add(exponents, exponent), powers, least, most]

    def add(self) -> Any:
        """Add all groups; return whether their densities fit."""
        builder, together = self.builder, self.together

        def add_chunk(chunk: Any, carried: list[Any]) -> list[Any]:
            first = builder.mul(chunk, together)
            rest = builder.sub(self.n_groups, first)
            size = builder.select(builder.icmp_signed("<", rest, together), rest, together)

            def add_group(turn: Any, carried: list[Any]) -> list[Any]:
                group = builder.add(first, turn)
                x = self.features_of(group)
                begin = self.begin(turn, self.n_components)
                rounding = self.write_log_densities(begin, x)
                scale = self.exponentiate(begin, rounding, group)
                self.write_weighted(self.begin(turn, index(1 + self.count)), scale, x)
                return self.likelihood(rounding, scale, x, carried)

            carried = loop(builder, size, carried, add_group)
            self.add_moments(size)
            return carried

        n_chunks = builder.add(self.n_groups, builder.sub(together, index(1)))
        n_chunks = builder.sdiv(n_chunks, together)
        return self.finish(*loop(builder, n_chunks, self.no_rows(), add_chunk))

    def finish(self, product: Any, exponents: Any, powers: Any, *extremes: Any) -> Any:
        """Add to the log likelihood if no row's highest is beyond what ``rounding_of`` rounds.

        Return whether none is.
        """
        builder = self.builder
        far = constant(self.vector, rounding_of(self.vector) / 3)  # 1.5 -> 0.5 of a power of two
        least, most = extremes
        above = builder.fcmp_ordered(">", least, builder.fneg(far))
        below = builder.fcmp_ordered("<", most, far)
        return self.add_likelihood(product, exponents, powers, above, below)

    def add_likelihood(self, product: Any, exponents: Any, powers: Any, *within: Any) -> Any:
        """Add the log of a product times 2^(exponents + powers) if rows are ``within``.

        Return whether all are, and no density is NaN.
        """
        builder, vector = self.builder, self.vector
        all_fit = builder.fcmp_ordered("ord", product, powers)  # no NaN
        for each in within:
            all_fit = builder.and_(all_fit, each)
        all_fit = builder.bitcast(all_fit, ir.IntType(self.width))
        fits = builder.icmp_unsigned("==", all_fit, ir.Constant(all_fit.type, -1))
        powers = added(builder, powers, builder.sitofp(exponents, vector))
        logarithm = log_of(builder, product)
        value = folded(builder, fused(builder, powers, constant(vector, LN2), logarithm))
        total = builder.load(self.log_likelihood)
        if value.type != total.type:
            value = builder.fpext(value, total.type)
        value = builder.select(fits, builder.fadd(total, value), total)
        builder.store(value, self.log_likelihood)
        return fits
