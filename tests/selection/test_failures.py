"""A candidate that cannot be fitted is left out, and nothing of the others changes."""

import numpy as np
import pytest
from problems import fingerprint, fit

from fastgmm import GaussianMixture, select
from fastgmm.exceptions import CollapseError, FitError, IllDefinedCovarianceError, NotFittedError
from fastgmm.folds import Folds

pytestmark = pytest.mark.filterwarnings("ignore:Best performing:UserWarning")


def rows_on_a_point():
    """Three clouds; the third has no spread: whoever gives it a component of its own fails."""
    rows = np.random.default_rng(0).normal(size=(300, 3))
    rows[100:200] += 9.0
    rows[200:] = 40.0
    return rows


X = rows_on_a_point()
SWEEP = {
    "n_components": (1, 2, 3),
    "covariance_type": ("full", "diag"),
    "n_init": 2,
    "random_state": 5,
    "max_iter": 20,
}


@pytest.mark.parametrize(
    ("policy", "error"),
    [
        ({"reg_covar": 0.0}, IllDefinedCovarianceError),
        ({"on_collapse": "raise", "init_params": "random_from_data"}, CollapseError),
    ],
    ids=["reg_covar", "on_collapse"],
)
def test_those_fail_whose_own_fits_do(policy, error):
    with pytest.warns(UserWarning, match="of 6 candidates failed: full 2, full 3") as told:
        found = select(X, **SWEEP, **policy)
    failed = [one for one in found.table if one.failure is not None]
    names = [f"{one.covariance_type} {one.n_components}" for one in failed]
    assert ", ".join(names) in str(told[0].message)
    for candidate, model in zip(found.table, found.models, strict=True):
        settings = {name: SWEEP[name] for name in ("n_init", "random_state", "max_iter")}
        settings |= {"n_components": candidate.n_components, **policy}
        settings["covariance_type"] = candidate.covariance_type
        if candidate.failure is None:
            assert fingerprint(model) == fingerprint(fit(X, **settings))
        else:
            with pytest.raises(error) as caught:
                fit(X, **settings)
            assert candidate.failure.partition("(")[0] == str(caught.value).partition("(")[0]
            assert np.isnan([candidate.log_likelihood, candidate.bic, candidate.icl]).all()
            with pytest.raises(NotFittedError):
                model.predict(X)
    assert found.table[found.best_index].failure is None
    assert found.best.n_components == 1


def test_what_is_given_up_reads_no_further():
    sweep = {**SWEEP, "n_components": 3, "covariance_type": ("spherical", "diag"), "tol": 0.0}
    given = np.arange(len(X)) // 100  # a component for each cloud

    def init(rows, n_components, random_state):
        """Every second start fails at once; each candidate has two."""
        return given if random_state.randint(2) else random_state.randint(3, size=len(rows))

    with pytest.raises(FitError, match="all candidates failed, spherical 3 thus: Fitting the mix"):
        select(X, **sweep, reg_covar=0.0, init_params=init)
    events = []
    with pytest.raises(FitError):
        select(X, **sweep, reg_covar=0.0, init_params=init, callbacks=[events.append])
    assert sum(type(event).__name__ == "IterationDone" for event in events) <= 4


def test_a_function_that_raises_is_its_candidates_failure(tmp_path):
    def init(rows, n_components, random_state):
        """Has no start of three components; is interrupted at the second of two others."""
        if n_components == 3:
            raise ZeroDivisionError("of the user")
        if interrupted.pop() if interrupted else False:
            raise KeyboardInterrupt
        return random_state.randint(n_components, size=len(rows))

    interrupted = []
    sweep = {**SWEEP, "covariance_type": ("full",), "init_params": init, "n_components": (3, 2)}
    sweep["allow_degenerate"] = True
    with pytest.warns(UserWarning, match="full 3 thus: ZeroDivisionError in init_params: of the"):
        straight = select(X, **sweep)
    assert [one.failure is None for one in straight.table] == [False, True]
    kept = {**sweep, "checkpoint": tmp_path / "sweep.ckpt"}
    interrupted += [True, False]
    with pytest.raises(KeyboardInterrupt):
        select(X, **kept)
    with pytest.warns(UserWarning, match="full 3 thus: ZeroDivisionError"):
        resumed = select(X, **kept, resume=True)
    assert fingerprint(resumed.best) == fingerprint(straight.best)
    with pytest.raises(FitError, match="all candidates failed, full 3 thus: ZeroDivisionError"):
        select(X, **sweep | {"n_components": 3})
    with pytest.raises(ZeroDivisionError, match="of the user"):
        fit(X, n_components=3, init_params=init)


def test_a_fit_that_fails_outside_of_a_fold_has_no_cross_validation():
    n = 200
    rows = np.random.default_rng(1).normal(size=(n, 2))
    rows[Folds(3, 0).of(np.arange(n)) != 1, 1] = 7.0  # constant outside of fold 1
    sweep = {"n_components": 1, "covariance_type": ("diag", "spherical"), "random_state": 0}
    with pytest.warns(UserWarning, match="1 of 2 candidates failed: diag 1; diag 1 thus: outside"):
        found = select(rows, **sweep, criterion="cv", n_folds=3, reg_covar=0.0)
    diag, spherical = found.table
    assert diag.failure.startswith("outside of fold 1: Fitting the mixture")
    assert np.isnan([diag.cv, diag.cv_spread]).all()
    assert np.isfinite([diag.bic, spherical.cv, spherical.cv_spread]).all()
    assert found.best is found.models[1]
    found.models[0].predict(rows)


def test_a_sweep_with_failures_goes_on(tmp_path):
    def stop(event):
        if type(event).__name__ == "IterationDone" and event.iteration == 3:
            raise KeyboardInterrupt

    kept = {**SWEEP, "tol": 0.0, "reg_covar": 0.0, "checkpoint": tmp_path / "sweep.ckpt"}
    with pytest.raises(KeyboardInterrupt):
        select(X, **kept, callbacks=[stop])
    with pytest.warns(UserWarning, match="candidates failed"):
        resumed = select(X, **kept, resume=True)
    with pytest.warns(UserWarning, match="candidates failed"):
        straight = select(X, **{**kept, "checkpoint": None})
    for one, other in zip(resumed.table, straight.table, strict=True):
        assert str(one._replace(seconds=0)) == str(other._replace(seconds=0))
    assert fingerprint(resumed.best) == fingerprint(straight.best)


@pytest.mark.parametrize("fixed", ["weights", ("means",), ("weights", "covariances")])
def test_what_is_fixed_stays(fixed):
    def init(rows, n_components, random_state):
        return random_state.randint(n_components, size=len(rows))

    settings = {"init_params": init, "fixed": fixed, "max_iter": 4, "random_state": 0}
    found = select(X, (2, 3), ("diag", "tied"), n_init=2, **settings)
    for candidate, model in zip(found.table, found.models, strict=True):
        k, shape = candidate.n_components, candidate.covariance_type
        single = fit(X, n_components=k, covariance_type=shape, n_init=2, **settings)
        assert fingerprint(model) == fingerprint(single)
        assert candidate.bic == pytest.approx(single.bic(X))
        assert model.fixed == fixed
    with pytest.raises(ValueError, match="keeps the means that a fit starts with"):
        select(X, 2, "full", fixed="means")


def test_a_fit_alone_ends_with_the_error():
    with pytest.raises(IllDefinedCovarianceError):
        GaussianMixture(3, reg_covar=0.0, n_init=2, random_state=0).fit(X)
