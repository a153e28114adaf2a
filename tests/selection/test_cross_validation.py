"""Cross-validation in shared passes is the same folds fitted one by one."""

import numpy as np
import pytest
from problems import blobs, fit

from fastgmm import select
from fastgmm.covariance import FAMILIES
from fastgmm.exceptions import DataError
from fastgmm.folds import Folds
from fastgmm.initialization import first_pass
from fastgmm.sources import NO_WEIGHTS, Chunk

pytestmark = pytest.mark.filterwarnings("ignore:Best performing:UserWarning")

X, _ = blobs(3000, 3, 4, seed=2, spread=4.0)
WEIGHTS = np.random.default_rng(0).integers(0, 4, size=len(X)).astype(float)
SWEEP = {
    "n_components": 4,
    "covariance_type": tuple(FAMILIES),
    "n_init": 2,
    "random_state": 5,
    "max_iter": 20,
    "criterion": "cv",
    "n_folds": 3,
}


def one_by_one(candidate, weights, fit_without, **settings):
    """The held-out log likelihood per row of folds fitted alone."""
    folds = Folds(3, 5).of(np.arange(len(X)))
    total = n = 0.0
    for fold in range(3):
        model = fit_without(
            folds != fold,
            n_components=candidate.n_components,
            covariance_type=candidate.covariance_type,
            n_init=2,
            random_state=5,
            max_iter=20,
            **settings,
        )
        mine = folds == fold
        w = np.ones(mine.sum()) if weights is None else weights[mine]
        total += w @ model.score_samples(X[mine])
        n += w.sum()
    return total / n


@pytest.mark.parametrize(
    ("weights", "regularization"),
    [(None, "absolute"), (WEIGHTS, "relative")],
    ids=["rows", "weights"],
)
def test_folds_are_fits_to_the_other_rows(weights, regularization):
    found = select(X, **SWEEP, sample_weight=weights, regularization=regularization)

    def fit_without(training, **settings):
        w = None if weights is None else weights[training]
        return fit(X[training], w, **settings, regularization=regularization)

    for candidate in found.table:
        expected = one_by_one(candidate, weights, fit_without)
        assert abs(candidate.cv - expected) < 1e-10 * abs(expected)


def test_folds_from_samples_are_fits_with_the_others_of_weight_zero(monkeypatch):
    monkeypatch.setattr(first_pass, "WHOLE_ELEMENTS", 3000)
    monkeypatch.setattr(first_pass, "SAMPLE_ELEMENTS", 300)
    found = select(X, **SWEEP)

    def fit_without(training, **settings):
        return fit(X, training.astype(float), **settings)

    for candidate in found.table:
        expected = one_by_one(candidate, None, fit_without)
        assert abs(candidate.cv - expected) < 1e-10 * abs(expected)


def test_reseeding_looks_at_the_training_rows_only():
    rng = np.random.default_rng(1)
    rows = rng.standard_t(2.0, size=(1500, 3))
    settings = {"init_params": "k-means++", "on_collapse": "reseed", "max_iter": 6, "n_init": 1}
    sweep = {"criterion": "cv", "n_folds": 2, "random_state": 0, "allow_degenerate": True}
    found = select(rows, 16, "diag", **sweep, **settings)
    assert found.passes.reseeding > 0
    folds = Folds(2, 0).of(np.arange(len(rows)))
    expected = 0.0
    for fold in range(2):
        model = fit(
            rows[folds != fold],
            n_components=16, covariance_type="diag", random_state=0, **settings,
        )  # fmt: skip
        expected += model.score_samples(rows[folds == fold]).sum() / len(rows)
    assert abs(found.table[0].cv - expected) < 1e-8 * abs(expected)


def test_every_row_is_held_out_once_whatever_the_chunks():
    rows = np.arange(5000.0)[:, np.newaxis]
    for n_folds in (2, 5):
        folds = Folds(n_folds, 7)
        of = folds.of(np.arange(len(rows)))
        assert set(of) == set(range(n_folds))
        expected = len(rows) / n_folds
        assert np.abs(np.bincount(of) - expected).max() < 5 * np.sqrt(expected)
        for first in (0, 1234):
            chunk = Chunk(first, rows[first : first + 500], NO_WEIGHTS)
            held_out = [folds.cut(chunk, folds.held_out(f)).rows for f in range(n_folds)]
            assert np.array_equal(np.sort(np.concatenate(held_out), axis=0), chunk.rows)
            for f in range(n_folds):
                training = folds.cut(chunk, folds.training(f)).rows
                assert np.array_equal(training[:, 0], chunk.rows[of[first : first + 500] != f, 0])
    assert (Folds(2, 7).of(np.arange(100)) != Folds(2, 8).of(np.arange(100))).any()


def test_folds_and_the_sample_that_starts_take_are_independent():
    """Hashes of the same index: with one and the same, a sample would lie in the first fold."""
    from fastgmm import kernels

    keys = np.empty(100_000)
    kernels.rows.sampling_keys(np.uint64(3), 0, np.empty(0), keys)
    sampled = np.argsort(keys)[:10_000]
    counts = np.bincount(Folds(5, 3).of(sampled), minlength=5)
    assert np.abs(counts - 2000).max() < 5 * np.sqrt(2000)


@pytest.mark.parametrize(
    ("n_rows", "n_components", "n_folds", "message"),
    [
        (3, 1, 10, r"Fold \d of 10 has none of the 3 rows, so nothing is held out"),
        (6, 6, 2, r"Outside of fold \d of 2 are \d of the 6 rows, too few for 6 components"),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_folds_without_enough_rows_are_refused(weighted, n_rows, n_components, n_folds, message):
    rows, weights = X[: 2 * n_rows], np.repeat([1.0, 0.0], n_rows)
    if not weighted:  # rows of weight zero are none
        rows, weights = rows[:n_rows], None
    settings = {"criterion": "cv", "n_folds": n_folds, "random_state": 0, "n_init": 1}
    with pytest.raises(DataError, match=message):
        select(rows, n_components, "diag", sample_weight=weights, **settings)
