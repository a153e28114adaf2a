"""Covariances that belong to one component each: some put in the places of others."""

from fastgmm._typing import Float64Array, IntArray


def replace(covariances: Float64Array, components: IntArray, others: Float64Array) -> Float64Array:
    """Return a copy in which ``components`` have the covariances ``others`` (m, ...)."""
    replaced = covariances.copy()
    replaced[components] = others
    return replaced
