"""Two or three components in few columns: from rows to sums in registers.

Log densities are differences from the first component's, whose own is 0 (``differences.py``): 1.02
to 1.13 times as fast as with its own products. The highest density divided by itself is 1, so that
one exponential a row is saved; which one is the highest, the components find out one by one, and of
each bout the loser needs its exponential. With sums that stay in registers, two components are 1.2
to 1.4 times as fast as ``Relative`` ones would be, three 1.1 to 1.2 times in one and two columns,
and four 0.87 to 1.0 times.
"""

from typing import Any

from fastgmm.kernels.densities.one_unit import Relative
from fastgmm.kernels.emission import index, loop
from fastgmm.simd.arithmetic import added, fused, larger, reciprocal_of, smaller
from fastgmm.simd.powers import powers_of_two, without_exponent
from fastgmm.simd.shuffles import halved
from fastgmm.simd.vectors import FLAGS, constant


class Few(Relative):
    """Emits groups of a number of components that is known beforehand.

    Twice as many vectors a group as of others: their steps, which wait for each other, fill both
    units for arithmetic (1.06 to 1.2 times as fast as four; twelve: 0.87 to 0.94).
    """

    asks = True
    first = 1

    @staticmethod
    def vectors_of(n_features: int) -> int:
        """Return how many vectors of rows a group has."""
        return 8

    def add(self) -> Any:
        """Add all groups; return whether their densities fit."""
        builder, vector = self.builder, self.vector
        none = constant(vector, 0.0)
        n_sums = self.n_known * (1 + self.count)

        def add_group(turn: Any, carried: list[Any]) -> list[Any]:
            x = self.features_of(turn)
            highest, scale, responsibilities = self.responsibilities(x)
            sums = self.moments(x, responsibilities, carried[:n_sums])
            return [*sums, *self.add_highest(highest, scale, x, carried[n_sums:])]

        carried = [none] * n_sums + [*self.no_likelihood(), none]
        carried = loop(builder, self.n_groups, carried, add_group)
        for i, value in enumerate(carried[:n_sums]):
            self.store(self.sums, index(i * (self.width // 2)), halved(builder, value))
        product, exponents, powers, away = carried[n_sums:]
        return self.add_likelihood(product, exponents, powers, self.nears(away))

    def responsibilities(self, x: list[list[Any]]) -> tuple[list[Any], list[Any], list[list[Any]]]:
        """Return the highest log density of all vectors, the sum in its unit, and what is whose."""
        builder = self.builder
        others = self.log_densities([index(k) for k in range(1, self.n_known)], x)
        highest = [constant(self.vector, 0.0)] * len(x)
        bouts = []
        for other in others:
            pairs = list(zip(highest, other, strict=True))
            stays = [builder.fcmp_ordered(">=", *pair) for pair in pairs]
            highest = [larger(builder, *pair) for pair in pairs]
            bouts.append((stays, [smaller(builder, *pair) for pair in pairs]))
        scale = [constant(self.vector, 1.0)] * len(x)
        ratios = []
        for _, lower in bouts:
            differences = [builder.fsub(*pair) for pair in zip(lower, highest, strict=True)]
            ratios.append(powers_of_two(builder, differences))
            scale = [added(builder, *pair) for pair in zip(scale, ratios[-1], strict=True)]
        share = [reciprocal_of(builder, each) for each in scale]
        # from the last bout back to the first: the winner's share is that of a bout before
        won, responsibilities = share, []
        for (stays, _), ratio in zip(reversed(bouts), reversed(ratios), strict=True):
            lost = [builder.fmul(*pair) for pair in zip(share, ratio, strict=True)]
            cases = list(zip(stays, won, lost, strict=True))
            responsibilities.append([builder.select(yes, less, more) for yes, more, less in cases])
            won = [builder.select(*case) for case in cases]
        return highest, scale, [won, *reversed(responsibilities)]

    def moments(
        self, x: list[list[Any]], responsibilities: list[list[Any]], sums: list[Any]
    ) -> list[Any]:
        """Return the sums of responsibilities times 1 and the features, with a group's."""
        builder, new = self.builder, list(sums)
        for v in self.vectors:
            for k, of_component in enumerate(responsibilities):
                at = k * (1 + self.count)
                new[at] = added(builder, new[at], of_component[v])
                for f, feature in enumerate(x[v], at + 1):
                    new[f] = fused(builder, of_component[v], feature, new[f])
        return new

    def add_highest(
        self, highest: list[Any], scale: list[Any], x: list[list[Any]], carried: list[Any]
    ) -> list[Any]:
        """Add log densities, multiply sums in their unit; note how far away rows are."""
        builder = self.builder
        product, exponents, powers, away = carried
        for v in self.vectors:
            product = builder.fmul(product, scale[v], flags=FLAGS)  # up to 3 each
        product, exponent = without_exponent(builder, product)
        exponents = builder.add(exponents, exponent)
        powers = added(builder, powers, self.joined(highest))
        return [product, exponents, powers, self.farther(x, away)]
