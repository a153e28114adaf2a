"""Two components in few columns: from rows to sums in registers, by one exponential a row.

The higher density divided by itself is 1. With one exponential, and sums that stay in registers,
two components are 1.1 to 1.3 times as fast as ``Groups`` would be.
"""

from typing import Any

from fastgmm._jit import ir
from fastgmm.kernels.densities.groups import MOST_BITS, Groups
from fastgmm.kernels.emission import index, loop
from fastgmm.simd.arithmetic import added, fused, larger, reciprocal_of, smaller
from fastgmm.simd.powers import powers_of_two, without_exponent
from fastgmm.simd.vectors import FLAGS, call, constant, integers_like


class Pairs(Groups):
    """Emits groups of two components.

    Twice as many vectors a group as of others: their steps, which wait for each other, fill both
    units for arithmetic (1.06 times as fast as four).
    """

    @staticmethod
    def vectors_of(n_features: int) -> int:
        """Return how many vectors of rows a group has."""
        return 8

    def add(self) -> Any:
        """Add all groups; return whether their densities fit."""
        builder, vector = self.builder, self.vector
        none = constant(vector, 0.0)
        n_sums = 2 * (1 + self.count)

        def add_group(turn: Any, carried: list[Any]) -> list[Any]:
            x = self.features_of(turn)
            highest, scale, pair = self.responsibilities(x)
            sums = self.moments(x, pair, carried[:n_sums])
            return [*sums, *self.add_highest(highest, scale, x, carried[n_sums:])]

        zeros = ir.Constant(integers_like(vector), [0] * self.width)
        carried = [none] * n_sums + [constant(vector, 1.0), zeros, none, none, none]
        carried = loop(builder, self.n_groups, carried, add_group)
        for i, value in enumerate(carried[:n_sums]):
            self.store(self.sums, index(i * self.width), value)
        product, exponents, powers, least, away = carried[n_sums:]
        powers = added(builder, powers, builder.sitofp(exponents, vector))
        # no power is too small here, but so far away products of columns lack digits
        within = builder.fcmp_ordered(">=", least, constant(vector, -MOST_BITS[self.bits]))
        return self.finish(product, powers, within, away)

    def responsibilities(self, x: list[list[Any]]) -> tuple[list[Any], list[Any], list[list[Any]]]:
        """Return the higher log density of all vectors, the sum in its unit, and what is whose."""
        builder, one = self.builder, constant(self.vector, 1.0)
        pairs = list(zip(*self.log_densities([index(0), index(1)], x), strict=True))
        highest = [larger(builder, *pair) for pair in pairs]
        # not the lower less the higher one: what is no number shows in any difference
        differences = [builder.fsub(*pair) for pair in pairs]
        name = f"llvm.fabs.v{self.width}f{self.bits}"
        sizes = [call(builder, name, self.vector, each) for each in differences]
        ratios = powers_of_two(builder, [builder.fneg(each) for each in sizes])
        scale = [added(builder, one, ratio) for ratio in ratios]
        more = [reciprocal_of(builder, each) for each in scale]
        less = [builder.fmul(a, b) for a, b in zip(more, ratios, strict=True)]
        zero = constant(self.vector, 0.0)
        is_first = [builder.fcmp_ordered(">=", each, zero) for each in differences]
        both = list(zip(is_first, more, less, strict=True))
        first = [builder.select(yes, a, b) for yes, a, b in both]
        second = [builder.select(yes, b, a) for yes, a, b in both]
        return highest, scale, [first, second]

    def moments(self, x: list[list[Any]], pair: list[list[Any]], sums: list[Any]) -> list[Any]:
        """Return the sums of responsibilities times 1 and the features, with a group's."""
        builder, new = self.builder, list(sums)
        for v in self.vectors:
            for k, responsibilities in enumerate(pair):
                at = k * (1 + self.count)
                new[at] = added(builder, new[at], responsibilities[v])
                for f, feature in enumerate(x[v], at + 1):
                    new[f] = fused(builder, responsibilities[v], feature, new[f])
        return new

    def add_highest(
        self, highest: list[Any], scale: list[Any], x: list[list[Any]], carried: list[Any]
    ) -> list[Any]:
        """Add log densities, multiply sums in their unit; note the least and how far rows are."""
        builder = self.builder
        product, exponents, powers, least, away = carried
        for v in self.vectors:
            powers = added(builder, powers, highest[v])
            least = smaller(builder, highest[v], least)
            product = builder.fmul(product, scale[v], flags=FLAGS)  # up to 2 each
        product, exponent = without_exponent(builder, product)
        exponents = builder.add(exponents, exponent)
        return [product, exponents, powers, least, self.farther(x, away)]
