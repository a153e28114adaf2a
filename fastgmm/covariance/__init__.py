"""The shapes of covariance matrices: one stateless module a family, bound to names here.

A new family is one module in ``families/`` with the functions of ``CovarianceFamily``, one line in
``FAMILIES`` and, where the arithmetic is new, a module of kernels.
"""

from fastgmm.covariance.families import diag, full, spherical, tied, tied_diag, tied_spherical
from fastgmm.covariance.protocol import CovarianceFamily, Density, Share, alone

__all__ = ["FAMILIES", "CovarianceFamily", "Density", "Share", "alone"]

FAMILIES: dict[str, CovarianceFamily] = {
    "full": full,
    "tied": tied,
    "diag": diag,
    "spherical": spherical,
    "tied_diag": tied_diag,
    "tied_spherical": tied_spherical,
}
"""``covariance_type`` -> module."""
