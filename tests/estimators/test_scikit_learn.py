"""What scikit-learn's tools do with our estimator, they do with their own."""

import pickle
import re
import subprocess
import sys
import warnings

import distributed
import numpy as np
import pandas as pd
import pyarrow
import pytest
import scipy.sparse
import sklearn
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from problems import SCIKIT_LEARN, SCIKIT_LEARNS_TYPES, blobs
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.mixture import GaussianMixture as Theirs
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.estimator_checks import check_estimator

from fastgmm import GaussianMixture, exceptions

X, _ = blobs(2000, 3, 3, spread=6.0)
SMALL = X[:200]

as_in_1_9 = pytest.mark.skipif(
    SCIKIT_LEARN < (1, 9), reason="older versions have other texts, and no rule for float32"
)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_check_estimator_passes():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(GaussianMixture(), on_fail=None)
    assert [r["check_name"] for r in results if r["status"] == "failed"] == []
    # only what needs other array libraries is skipped, as for scikit-learn's own
    skipped = {r["check_name"] for r in results if r["status"] == "skipped"}
    assert skipped <= {"check_array_api_input"}
    assert len(results) > 40


def test_their_parameters_come_first_with_their_defaults():
    ours, theirs = GaussianMixture().get_params(), Theirs().get_params()
    assert {name: ours[name] for name in theirs} == theirs


def test_clones_keep_callbacks_and_client_which_pickles_leave_out():
    told = []
    client = distributed.Client.__new__(distributed.Client)
    model = GaussianMixture(2, means_init=X[:2], random_state=0)
    model.set_callbacks(told.append).set_client(client)
    copy = clone(model)
    assert copy.means_init is not model.means_init
    assert copy._client is client
    copy.fit(X)
    assert told
    again = pickle.loads(pickle.dumps(copy))
    assert again._client is None
    told.clear()
    assert np.array_equal(again.fit(X).means_, copy.means_)
    assert told == []


def test_pipelines_searches_and_scores_are_theirs():
    settings = {"random_state": 0, "n_components": 3}
    for ours, theirs in (
        (GaussianMixture(**settings), Theirs(**settings)),
        (
            make_pipeline(StandardScaler(), GaussianMixture(**settings)),
            make_pipeline(StandardScaler(), Theirs(**settings)),
        ),
    ):
        np.testing.assert_allclose(
            cross_val_score(ours, SMALL, cv=2), cross_val_score(theirs, SMALL, cv=2), rtol=1e-9
        )
        np.testing.assert_array_equal(
            ours.fit(SMALL).predict(SMALL), theirs.fit(SMALL).predict(SMALL)
        )
    grid = {"n_components": [1, 3], "covariance_type": ["full", "diag"]}
    searches = [
        GridSearchCV(
            estimator(random_state=0), grid, cv=2, scoring=lambda model, rows: -model.bic(rows)
        ).fit(SMALL)
        for estimator in (GaussianMixture, Theirs)
    ]
    assert searches[0].best_params_ == searches[1].best_params_
    np.testing.assert_allclose(
        searches[0].cv_results_["mean_test_score"],
        searches[1].cv_results_["mean_test_score"],
        rtol=1e-9,
    )


class Two(GaussianMixture):
    def __init__(self, n_components=3, random_state=0):
        super().__init__(n_components, random_state=random_state)


class Others(GaussianMixture):
    def __init__(self, n_components=3, **others):
        super().__init__(n_components, random_state=0, **others)


class More(GaussianMixture):
    def __init__(self, n_components=3, *, shift=0.0, random_state=0):
        super().__init__(n_components, random_state=random_state)
        self.shift = shift


@pytest.mark.parametrize("kind", [Two, Others, More])
def test_subclasses_with_constructors_of_their_own(kind, tmp_path):
    model, plain = kind().fit(X), GaussianMixture(3, random_state=0).fit(X)
    np.testing.assert_array_equal(model.means_, plain.means_)
    theirs = type("", (Theirs,), {"__init__": kind.__init__})
    assert list(model.get_params()) == theirs._get_param_names()
    np.testing.assert_array_equal(clone(model).fit(X).means_, model.means_)
    model.tol = 1e-2
    model.save(tmp_path / "model.npz")
    for other in (kind.load(tmp_path / "model.npz"), kind.from_dict(model.to_dict())):
        assert type(other) is kind
        assert (other.get_params(), other.tol) == (model.get_params(), 1e-2)
        np.testing.assert_array_equal(other.score_samples(X), model.score_samples(X))
    assert type(model.marginal([0, 1])) is kind
    known = kind.from_parameters(plain.weights_, plain.means_, plain.covariances_)
    np.testing.assert_array_equal(known.predict(X), plain.predict(X))
    assert model.to_sklearn().n_components == 3


def test_what_a_subclass_cannot_do_without_is_said(tmp_path):
    class Needs(GaussianMixture):
        def __init__(self, shift):
            super().__init__(2, random_state=0)
            self.shift = shift

    class Nameless(GaussianMixture):
        def __init__(self, *args):
            super().__init__(*args, random_state=0)

    model = Needs(1.0).fit(X)
    model.save(tmp_path / "model.npz")
    assert Needs.load(tmp_path / "model.npz").shift == model.marginal(0).shift == 1.0
    GaussianMixture(2).fit(X).save(tmp_path / "model.npz")
    with pytest.raises(RuntimeError, match=r"Needs cannot be made .*'shift'; give its own param"):
        Needs.load(tmp_path / "model.npz")
    with pytest.raises(RuntimeError, match="'shift'"):
        Needs.from_parameters([1.0], [[0.0]], [[[1.0]]])
    nameless = Nameless(2).fit(X)
    for ask in (nameless.get_params, nameless.to_dict, lambda: clone(nameless)):
        with pytest.raises(RuntimeError, match=r"Nameless.__init__ takes \*args"):
            ask()


def test_joblib_processes_fit_the_same():
    here = GaussianMixture(3, random_state=0).fit(SMALL)
    settings = ({"n_threads": n} for n in (None, 1))
    there = Parallel(n_jobs=2)(
        delayed(GaussianMixture(3, random_state=0, **more).fit)(SMALL) for more in settings
    )
    get_reusable_executor().shutdown(wait=True)
    for model in there:
        assert np.array_equal(model.means_, here.means_)


def test_weights_are_routed(routing):
    weights = np.linspace(0.1, 2, len(X))
    model = GaussianMixture(2, random_state=0)
    model.set_fit_request(sample_weight=True).set_score_request(sample_weight="w")
    requests = clone(model).get_metadata_routing()
    assert requests.fit.requests == {"sample_weight": True}
    assert requests.score.requests == {"sample_weight": "w"}
    direct = GaussianMixture(2, random_state=0).fit(X, sample_weight=weights)
    routed = make_pipeline(StandardScaler(with_mean=False, with_std=False), clone(model))
    routed[0].set_fit_request(sample_weight=False)
    routed.fit(X, sample_weight=weights)
    np.testing.assert_allclose(routed[-1].means_, direct.means_, rtol=1e-12)
    with pytest.raises(ValueError, match="valid"):
        model.set_fit_request(sample_weight=1.5)
    with pytest.raises(TypeError, match="unexpected keyword"):
        model.set_fit_request(weights=True)


def test_requests_need_routing_to_be_on():
    with pytest.raises(RuntimeError, match="enable_metadata_routing=True"):
        GaussianMixture().set_fit_request(sample_weight=True)


def test_what_notebooks_show():
    model = GaussianMixture(2, tol=1e-4)
    assert repr(model) == repr(Theirs(2, tol=1e-4))
    assert "<span>Not fitted</span>" in estimator_html_repr(model)
    assert "<span>Fitted</span>" in model.fit(SMALL)._repr_html_()
    with sklearn.config_context(print_changed_only=False, display="text"):
        assert "reg_covar=1e-06" in repr(model)
        assert not hasattr(model, "_repr_html_")


FRAME = pd.DataFrame(SMALL, columns=["a", "b", "c"])


def fitted(estimator):
    return estimator(2, random_state=0).fit(FRAME)


COMPLAINTS = {
    "a parameter out of range": lambda E: E(n_components=0).fit(SMALL),
    "a parameter of another type": lambda E: E(max_iter=1.5).fit(SMALL),
    "a flag that is none": lambda E: E(warm_start="yes").fit(SMALL),
    "verbose": lambda E: E(verbose=-1).fit(SMALL),
    "a seed": lambda E: E(random_state="zero").fit(SMALL),
    "a start that is no array": lambda E: E(means_init=3).fit(SMALL),
    "weights that do not sum to 1": lambda E: E(2, weights_init=[0.4, 0.4]).fit(SMALL),
    "weights out of range": lambda E: E(2, weights_init=[1.5, -0.5]).fit(SMALL),
    "means of another shape": lambda E: E(2, means_init=[[1.0, 2.0]]).fit(SMALL),
    "precisions of another shape": lambda E: E(2, precisions_init=np.ones((2, 2, 2))).fit(SMALL),
    "negative precisions": lambda E: E(
        2, covariance_type="diag", precisions_init=-np.ones((2, 3))
    ).fit(SMALL),
    "negative spherical precisions": lambda E: E(
        2, covariance_type="spherical", precisions_init=-np.ones(2)
    ).fit(SMALL),
    "indefinite precisions": lambda E: E(2, precisions_init=[-np.eye(3)] * 2).fit(SMALL),
    "indefinite tied precisions": lambda E: E(
        2, covariance_type="tied", precisions_init=-np.eye(3)
    ).fit(SMALL),
    "an unknown parameter": lambda E: E().set_params(k=3),
    "sparse rows": lambda E: E().fit(scipy.sparse.csr_array(SMALL)),
    "one row": lambda E: E().fit(SMALL[:1]),
    "no row": lambda E: E().fit(SMALL[:0]),
    "no column": lambda E: E().fit(SMALL[:, :0]),
    "fewer rows than components": lambda E: E(5).fit(SMALL[:3]),
    "three dimensions": lambda E: E().fit(SMALL[np.newaxis]),
    "more columns than fitted": lambda E: fitted(E).predict(SMALL[:, :2]),
    "columns in another order": lambda E: fitted(E).predict(FRAME[["b", "a", "c"]]),
    "another column": lambda E: fitted(E).score(FRAME.rename(columns={"a": "d"})),
    "a column less": lambda E: fitted(E).score_samples(FRAME[["a", "b"]]),
    "names of several types": lambda E: E().fit(FRAME.set_axis(["a", 1, 2], axis=1)),
    "not fitted": lambda E: E().predict(SMALL),
    "nothing to sample": lambda E: fitted(E).sample(-1),
    "no spread": lambda E: E(2, reg_covar=0, init_params="random").fit(np.ones((10, 3))),
}


@as_in_1_9
@pytest.mark.filterwarnings("ignore::UserWarning")  # one of names, one of k-means
@pytest.mark.parametrize("complaint", COMPLAINTS)
def test_errors_are_theirs(complaint):
    caught = []
    for estimator in (Theirs, GaussianMixture):
        with pytest.raises((ValueError, TypeError)) as info:
            COMPLAINTS[complaint](estimator)
        caught.append(info)
    theirs, ours = caught
    assert isinstance(ours.value, theirs.type)
    text = re.sub(r"Valid parameters are: .*|n_samples': \S+", "", str(theirs.value))
    assert text.strip() in re.sub(r"n_samples': \S+", "", str(ours.value))


@pytest.mark.parametrize(
    ("name", "value"), [("tol", -1), ("covariance_type", "round"), ("init_params", "magic")]
)
def test_parameters_that_may_be_more_here_are_refused_as_theirs(name, value):
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of GaussianMixture"):
        GaussianMixture(**{name: value}).fit(SMALL)


def test_warnings_are_theirs():
    for estimator in (Theirs, GaussianMixture):
        with pytest.warns(ConvergenceWarning, match="Best performing initialization did not conv"):
            estimator(3, max_iter=1, random_state=0).fit(X)
        model = fitted(estimator)
        with pytest.warns(UserWarning, match="X does not have valid feature names, but Gaussian"):
            model.predict(SMALL)
        model.fit(SMALL)
        with pytest.warns(UserWarning, match="X has feature names, but GaussianMixture was fitt"):
            model.predict(FRAME)


def test_names_are_taken_from_frames_whose_names_are_text():
    for estimator in (Theirs, GaussianMixture):
        model = fitted(estimator)
        assert model.feature_names_in_.tolist() == ["a", "b", "c"]
        assert model.feature_names_in_.dtype == object
        assert not hasattr(model.fit(pd.DataFrame(SMALL)), "feature_names_in_")


@as_in_1_9
@pytest.mark.parametrize(
    "frame",
    [
        pyarrow.table(dict(FRAME)),
        FRAME.convert_dtypes(),
        FRAME.astype("category"),
        FRAME.astype(object),
        FRAME > 0,
        FRAME.astype(np.float32),
    ],
)
def test_every_frame_of_numbers_is_taken_as_theirs(frame):
    ours, theirs = (E(random_state=0).fit(frame) for E in (GaussianMixture, Theirs))
    assert ours.feature_names_in_.tolist() == theirs.feature_names_in_.tolist()
    assert ours.means_.dtype == theirs.means_.dtype
    np.testing.assert_allclose(ours.means_, theirs.means_, rtol=1e-5)


def test_nulls_in_arrows_dictionaries_are_missing():
    """NumPy takes them for the last value of the dictionary."""
    values, codes = pyarrow.array([1.0, 2.0, 100.0]), pyarrow.array([0, 1, None, 2] * 9)
    column = pyarrow.DictionaryArray.from_arrays(codes, values)
    table, kept = pyarrow.table({"a": column}), np.array([[1.0], [2.0], [100.0]] * 9)
    for rows in (table, table.to_batches()[0]):
        with pytest.raises(exceptions.DataError, match="NaN"):
            GaussianMixture().fit(rows)
        assert GaussianMixture(missing="drop").fit(rows).means_[0] == pytest.approx(kept.mean())
    with pytest.raises(exceptions.DataError, match="sample_weight is nan in row 2"):
        GaussianMixture().fit(np.ones((36, 1)), sample_weight=column)
    for other in (pyarrow.schema([]), pyarrow.scalar(1.0), pyarrow.compute):
        with pytest.raises(exceptions.DataError):
            GaussianMixture().fit(other)


class FrameOfNoLibrary:
    """What polars' frames have in common with pandas': names, and a way to an array."""

    columns = ("a", "b", "c")
    shape = SMALL.shape

    def __len__(self):
        return len(SMALL)

    def __array__(self, dtype=None, copy=None):
        return np.array(SMALL, dtype)


def test_names_are_taken_from_other_libraries_frames():
    model = GaussianMixture(2, random_state=0).fit(FrameOfNoLibrary())
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    assert np.array_equal(model.means_, fitted(GaussianMixture).means_)


def test_errors_are_pickled_and_caught_by_either_name():
    with pytest.raises(NotFittedError) as info:
        GaussianMixture().predict(X)
    again = pickle.loads(pickle.dumps(info.value))
    assert isinstance(again, NotFittedError)
    assert isinstance(again, exceptions.NotFittedError)
    assert str(again) == str(info.value)


def test_errors_without_scikit_learn():
    script = """
import pickle, sys, warnings
from fastgmm import GaussianMixture, exceptions
for call, error in (
    (lambda: GaussianMixture().predict([[0.0]]), exceptions.NotFittedError),
    (lambda: GaussianMixture(0).fit([[0.0], [1.0]]), exceptions.InvalidParameterError),
):
    try:
        call()
    except error as raised:
        assert type(raised) is error
        assert type(pickle.loads(pickle.dumps(raised))) is error
    else:
        raise AssertionError(error)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    GaussianMixture(max_iter=1).fit([[0.0], [1.0], [3.0]])
assert caught[0].category is exceptions.ConvergenceWarning
repr(GaussianMixture())
assert not hasattr(GaussianMixture(), "_repr_html_")
assert "sklearn" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@as_in_1_9
@pytest.mark.parametrize("covariance_type", SCIKIT_LEARNS_TYPES)
def test_attributes_are_theirs(covariance_type):
    settings = {"n_components": 3, "covariance_type": covariance_type, "random_state": 0}
    for dtype in (np.float64, np.float32):
        rows = SMALL.astype(dtype)
        ours, theirs = GaussianMixture(**settings).fit(rows), Theirs(**settings).fit(rows)
        for name, value in vars(theirs).items():
            mine = getattr(ours, name)
            if isinstance(value, np.ndarray):
                assert (mine.dtype, mine.shape) == (value.dtype, value.shape), name
                np.testing.assert_allclose(mine, value, rtol=1e-6 if dtype == np.float64 else 0.02)
        assert (ours.n_iter_, ours.converged_) == (theirs.n_iter_, theirs.converged_)
        np.testing.assert_allclose(ours.lower_bounds_, theirs.lower_bounds_, rtol=1e-5)
        for method in ("predict", "predict_proba", "score_samples"):
            a, b = getattr(ours, method)(rows), getattr(theirs, method)(rows)
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert [part.dtype for part in ours.sample(9)] == [np.float64, np.int64]


@as_in_1_9
def test_predictions_are_single_only_where_rows_and_model_are():
    single = SMALL.astype(np.float32)
    for fitted_to in (SMALL, single):
        ours, theirs = (E(2, random_state=0).fit(fitted_to) for E in (GaussianMixture, Theirs))
        for rows in (SMALL, single):
            for method in ("predict_proba", "score_samples"):
                mine = getattr(ours, method)(rows)
                assert mine.dtype == getattr(theirs, method)(rows).dtype
    model = GaussianMixture(2, random_state=0).fit(SMALL)
    np.testing.assert_array_equal(
        model.score_samples(single), model.score_samples(single.astype(np.float64))
    )


def test_methods_without_parameters_take_theirs():
    """A model made by hand from weights_, means_ and precisions_cholesky_ predicts."""
    theirs = Theirs(3, random_state=0).fit(X)
    model = GaussianMixture(3)
    model.weights_, model.means_ = theirs.weights_, theirs.means_
    model.precisions_cholesky_ = theirs.precisions_cholesky_
    np.testing.assert_allclose(model.score_samples(X), theirs.score_samples(X), rtol=1e-9)
    np.testing.assert_array_equal(model.predict(X), theirs.predict(X))


@pytest.mark.parametrize("covariance_type", SCIKIT_LEARNS_TYPES)
def test_draws_are_theirs(covariance_type):
    settings = {"n_components": 3, "covariance_type": covariance_type, "random_state": 0}
    (mine, labels), (theirs, their_labels) = (
        estimator(**settings).fit(SMALL).sample(50) for estimator in (GaussianMixture, Theirs)
    )
    np.testing.assert_array_equal(labels, their_labels)
    np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("init_params", ["random", "random_from_data"])
def test_of_starts_without_iterations_theirs_is_kept(init_params):
    settings = {"n_components": 3, "init_params": init_params, "max_iter": 0, "n_init": 3}
    ours, theirs = (E(**settings, random_state=0).fit(SMALL) for E in (GaussianMixture, Theirs))
    np.testing.assert_allclose(ours.means_, theirs.means_, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:Best performing")
@pytest.mark.parametrize("verbose", [1, 2])
@pytest.mark.parametrize("max_iter", [2, 100])
def test_printed_lines_are_theirs(capsys, verbose, max_iter):
    printed = []
    for estimator in (GaussianMixture, Theirs):
        estimator(
            3, random_state=0, max_iter=max_iter, verbose=verbose, verbose_interval=2
        ).fit(SMALL)  # fmt: skip
        printed.append(re.sub(r"lapse \d+\.\d{5}s", "lapse", capsys.readouterr().out))
    assert printed[0] == printed[1]


def test_every_start_says_how_it_ended(capsys):
    GaussianMixture(3, n_init=2, random_state=0, verbose=1).fit(SMALL)
    lines = capsys.readouterr().out.splitlines()
    assert {"Initialization 0 converged.", "Initialization 1 converged."} <= set(lines)
