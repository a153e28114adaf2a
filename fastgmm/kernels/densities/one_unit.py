"""Groups whose densities have one unit for all rows: no maxima, 1.04 to 1.1 times as fast.

In few columns densities at nearly all rows are in range then. The unit is a number
(``relative.py``): where densities are not in range, rows are told by their sums of densities and by
how far away they are. Or it is one component's density (``differences.py``): that is 1.04 to 1.18
times as fast again, with three to eight components, and rows far from all others' means do not fall
out of range if they do not from the widest one's.
"""

from functools import partial, reduce
from typing import Any

from fastgmm.kernels.densities.groups import Groups
from fastgmm.kernels.emission import index
from fastgmm.simd.arithmetic import larger, smaller
from fastgmm.simd.powers import powers_of_two, without_exponent
from fastgmm.simd.vectors import FLAGS, call, constant

# A row's sum of densities, relative to the reference, lies between 2^-most and 2^most: densities
# become 0 below 2^-1020 (float32: 2^-124), so that of responsibilities no more than 2^-520 (2^-64)
# is lost, and the product of so many rows' sums is a number.
MOST_BITS = {64: 500.0, 32: 60.0}
SUMS_TOGETHER = 2

# A density relative to the first one's is no more than 2^most: two sums of sixteen are a number.
MOST_BITS_OF_ONE = {64: 500.0, 32: 56.0}


class Relative(Groups):
    """Emits groups whose densities stay relative to the reference."""

    def write_log_densities(self, begin: Any, x: list[Any]) -> list[Any]:
        """Write the log densities of all components; what nobody takes is not computed."""
        super().write_log_densities(begin, x)
        return []

    def powers(self, values: list[Any], rounding: list[Any]) -> list[Any]:
        """Return densities for log densities."""
        return powers_of_two(self.builder, values)

    def no_rows(self) -> list[Any]:
        """Return what ``likelihood`` carries on: and the extremes of sums and features."""
        one, none = constant(self.vector, 1.0), constant(self.vector, 0.0)
        return [*self.no_likelihood(), one, one, none]

    def farther(self, x: list[list[Any]], away: Any) -> Any:
        """Return the largest of ``away`` and of the features that tell how far away rows are."""
        builder = self.builder
        for features in x:
            squares = [f for f, sum_ in enumerate(self.products) if all(i == j for i, j in sum_)]
            sizes = [features[self.d + f] for f in squares]
            if not squares:
                name = f"llvm.fabs.v{self.width}f{self.bits}"
                sizes = [call(builder, name, self.vector, each) for each in features]
            for size in sizes:
                away = larger(builder, size, away)
        return away

    def nears(self, away: Any) -> Any:
        """Return whether no row is too far ``away``."""
        return self.builder.fcmp_ordered("<=", away, self.number(self.farthest, index(0)))

    def likelihood(
        self, rounding: list[Any], scale: list[Any], x: list[list[Any]], carried: list[Any]
    ) -> list[Any]:
        """Multiply a product by sums of densities; note their extremes and the columns'."""
        builder = self.builder
        product, exponents, powers, least, most, away = carried
        for each in scale:
            least, most = smaller(builder, each, least), larger(builder, each, most)
        product, exponents = self.multiplied(product, exponents, scale)
        return [product, exponents, powers, least, most, self.farther(x, away)]

    def multiplied(self, product: Any, exponents: Any, scale: list[Any]) -> tuple[Any, Any]:
        """Return a product, and exponents taken off it, times sums of densities."""
        builder = self.builder
        for i, each in enumerate(scale, 1):
            # in this order: the product of all of them might be too small
            product = builder.fmul(product, each, flags=FLAGS)
            if i % SUMS_TOGETHER == 0:
                product, exponent = without_exponent(builder, product)
                exponents = builder.add(exponents, exponent)
        return product, exponents

    def finish(self, product: Any, exponents: Any, powers: Any, *extremes: Any) -> Any:
        """Add the log of a product times 2^exponents if sums and features are not extreme."""
        builder, vector = self.builder, self.vector
        least, most, away = extremes
        limit = 2.0 ** MOST_BITS[self.bits]
        enough = builder.fcmp_ordered(">=", least, constant(vector, 1 / limit))
        not_too_much = builder.fcmp_ordered("<=", most, constant(vector, limit))
        near = self.nears(away)
        return self.add_likelihood(product, exponents, powers, enough, not_too_much, near)


class RelativeToFirst(Relative):
    """Emits groups whose densities are in units of the first component's.

    That one takes no products and no exponential, and its moments are sums of features. Another's
    density may be too high for 2^x, which would wrap around unseen: so all are looked at before.
    """

    first = 1

    def write_log_densities(self, begin: Any, x: list[Any]) -> list[Any]:
        """Write log densities; return the highest of all rows' in each lane."""
        return self.highest(begin, x, [constant(self.vector, 0.0)])

    def higher(self, values: list[Any], highest: list[Any]) -> list[Any]:
        """Return the larger ones, one for all vectors of rows."""
        return [reduce(partial(larger, self.builder), [*values, *highest])]

    def no_rows(self) -> list[Any]:
        """Return what ``likelihood`` carries on: and how high densities are, how far away rows."""
        return [*self.no_likelihood(), *[constant(self.vector, 0.0)] * 2]

    def likelihood(
        self, rounding: list[Any], scale: list[Any], x: list[list[Any]], carried: list[Any]
    ) -> list[Any]:
        """Multiply a product by sums of densities; note the highest one, and rows far away."""
        product, exponents, powers, most, away = carried
        product, exponents = self.multiplied(product, exponents, scale)
        return [product, exponents, powers, *self.higher(rounding, [most]), self.farther(x, away)]

    def finish(self, product: Any, exponents: Any, powers: Any, *extremes: Any) -> Any:
        """Add the log of a product times 2^exponents if densities and features are not extreme."""
        most, away = extremes
        limit = constant(self.vector, MOST_BITS_OF_ONE[self.bits])
        not_too_much = self.builder.fcmp_ordered("<=", most, limit)
        return self.add_likelihood(product, exponents, powers, not_too_much, self.nears(away))
