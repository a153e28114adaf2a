"""What a user touches: every parameter works or raises, every method gives what it says."""

import pickle
import re

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from problems import COVARIANCE_TYPES, blobs, fit, parameters
from sklearn.base import clone

from fastgmm import GaussianMixture, open_dataset
from fastgmm.exceptions import DataError, NotFittedError

X, _ = blobs(2000, 3, 3, spread=6.0)


@pytest.fixture(params=COVARIANCE_TYPES)
def model(request):
    return fit(X, n_components=3, covariance_type=request.param, random_state=0)


def test_methods_agree(model):
    posterior = model.predict_proba(X)
    np.testing.assert_allclose(posterior.sum(axis=1), 1, rtol=1e-12)
    assert np.array_equal(model.predict(X), posterior.argmax(axis=1))
    scores = model.score_samples(X)
    assert model.score(X) == pytest.approx(scores.mean(), rel=1e-12)
    weights = np.random.default_rng(0).random(len(X))
    assert model.score(X, sample_weight=weights) == pytest.approx(
        np.average(scores, weights=weights), rel=1e-12
    )
    n = len(X)
    assert model.aic(X) == pytest.approx(2 * model._n_parameters() - 2 * scores.sum())
    assert model.bic(X) == pytest.approx(np.log(n) * model._n_parameters() - 2 * scores.sum())
    assert np.array_equal(clone(model).fit_predict(X), model.predict(X))


@pytest.mark.parametrize("ending", [".npy", ".parquet"])
def test_predictions_stream_to_files(model, tmp_path, ending):
    np.save(tmp_path / "rows.npy", X)
    rows = open_dataset(tmp_path / "rows.npy")
    for method in (model.predict, model.predict_proba, model.score_samples):
        out = tmp_path / f"{method.__name__}{ending}"
        assert method(rows, out=out) == out
        written = np.load(out) if ending == ".npy" else pd.read_parquet(out).to_numpy().squeeze()
        assert np.array_equal(written, method(X))
    assert sorted(path.suffix for path in tmp_path.iterdir()) == sorted([".npy", *3 * [ending]])


def test_a_model_of_float64_takes_files_of_float32_as_arrays(model, tmp_path):
    single = X.astype(np.float32)
    np.save(tmp_path / "a.npy", single[:900])
    np.save(tmp_path / "b.npy", single[900:])
    files = [tmp_path / "a.npy", str(tmp_path / "b.npy")]
    assert np.array_equal(model.score_samples(files), model.score_samples(single))
    lazy = model.score_samples(da.from_array(single, chunks=(900, 3)))
    assert lazy.dtype == np.float64
    assert np.array_equal(lazy.compute(), model.score_samples(single))
    assert model.score(files) == model.score(single)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples", "score"])
def test_a_file_that_has_changed_since_it_was_opened_is_not_predicted(model, tmp_path, method):
    np.save(tmp_path / "rows.npy", X)
    rows = open_dataset(tmp_path / "rows.npy")
    np.save(tmp_path / "rows.npy", X[:1000])
    np.save(tmp_path / "rows.npy", X + 1)
    with pytest.raises(DataError, match=r"rows\.npy has changed"):
        getattr(model, method)(rows)


def test_a_failed_prediction_leaves_no_file(model, tmp_path):
    bad = np.vstack([X, np.full((1, 3), np.nan)])
    with pytest.raises(DataError, match="row 2000"):
        model.predict(bad, out=tmp_path / "labels.npy")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match=r"must end in \.npy or \.parquet or \.zarr"):
        model.predict(X, out=tmp_path / "labels.txt")
    with pytest.raises(DataError, match="there is no folder"):
        model.predict(X, out=tmp_path / "no" / "labels.npy")


def test_samples_have_the_mixtures_moments(model):
    rows, labels = model.sample(20_000)
    assert rows.shape == (20_000, 3)
    assert (np.diff(labels) >= 0).all()
    shares = np.bincount(labels, minlength=3) / 20_000
    np.testing.assert_allclose(shares, model.weights_, atol=5 * 0.5 / np.sqrt(20_000))
    assert abs(model.score(rows) - model.score(X)) < 0.1


@pytest.mark.parametrize("n_samples", [6.0, np.array(6), np.float32(6)])
def test_whole_numbers_of_rows_may_be_floats(model, n_samples):
    assert model.sample(n_samples)[0].shape == (6, 3)


@pytest.mark.parametrize("n_samples", [0, 2.5, np.nan, [1, 2], "3", None])
def test_what_is_no_number_of_rows_is_refused(model, n_samples):
    with pytest.raises(ValueError, match=re.escape(f"Invalid value for 'n_samples': {n_samples}")):
        model.sample(n_samples)


def test_unfitted_models_say_so():
    for method in ("predict", "predict_proba", "score_samples", "score", "aic", "bic"):
        with pytest.raises(NotFittedError, match="This GaussianMixture instance is not fitted"):
            getattr(GaussianMixture(), method)(X)
    with pytest.raises(NotFittedError):
        GaussianMixture().sample()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_components", 0), ("n_components", 1.5), ("n_components", True),
        ("covariance_type", "round"), ("tol", -1), ("tol", "loose"), ("tol", np.nan),
        ("reg_covar", -1e-9), ("max_iter", -1), ("n_init", 0), ("init_params", "magic"),
        ("random_state", "zero"), ("warm_start", "yes"), ("verbose_interval", 0),
        ("n_threads", 0), ("chunk_size", 0), ("persist", "maybe"), ("missing", "ignore"),
        ("weights_init", [0.5, 0.6]), ("weights_init", [1.0]), ("means_init", [[0.0]]),
        ("precisions_init", -np.ones((2, 3, 3))), ("precisions_init", np.ones((2, 3))),
        ("means_init", np.full((2, 3), np.nan)),
    ],
)  # fmt: skip
def test_every_bad_parameter_is_refused(name, value):
    with pytest.raises(ValueError, match=name.removesuffix("_init").removesuffix("s")):
        GaussianMixture(**{"n_components": 2, name: value}).fit(X)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (X[:, 0], "Expected 2D array, got 1D array"),
        ([["a", "b"], ["c", "d"]], "not a table of numbers"),
        (X + 1j, "Complex data not supported"),
        (pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}), "column 'b'"),
        (pd.DataFrame({"a": [1, 2], "b": pd.array([1, None], "Int64")}), r"NaN: row 1, column 1"),
        (pd.DataFrame({"a": [1, 2], "b": pd.date_range("2020", periods=2)}), "column 'b' holds da"),
        (pd.DataFrame({"a": [1, 2], "b": pd.to_timedelta([1, 2], "D")}), "column 'b' holds time"),
        (pd.Series([1.0, 2.0]), "Expected 2D array, got 1D array"),
        (pd.DataFrame({"a": [1.0, 2.0], "b": [0.0, np.nan]}), r"row 1, column 1 \('b'\)"),
        ("nowhere.npy", "nowhere.npy"),
        ("rows.txt", "rows.txt"),
    ],
)
def test_every_bad_input_is_refused(rows, message):
    with pytest.raises(DataError, match=message):
        GaussianMixture().fit(rows)


def test_columns_must_match(model):
    with pytest.raises(DataError, match="X has 2 features, but GaussianMixture is expecting 3"):
        model.predict(X[:, :2])
    with pytest.raises(DataError, match=r"sample_weight.shape == \(3,\)"):
        model.fit(X, sample_weight=[1, 2, 3])
    with pytest.raises(DataError, match="not an array of numbers: its dtype is timedelta64"):
        model.fit(X, sample_weight=np.ones(len(X), "m8[s]"))
    with pytest.raises(DataError, match="Complex data not supported: sample_weight must be real"):
        model.fit(X, sample_weight=np.full(len(X), 1.0 + 1e-9j))


def test_rows_with_missing_values_can_be_dropped():
    holes = np.insert(X, [5, 100, 1999], np.nan, axis=0)
    settings = {"n_components": 3, "random_state": 0}
    a, b = fit(X, **settings), fit(holes, missing="drop", **settings)
    for mine, other in zip(parameters(a), parameters(b), strict=True):
        assert np.array_equal(mine, other)
    for score in ("score", "aic", "bic", "icl"):
        expected = getattr(a, score)(X)
        assert getattr(b, score)(holes) == expected
        with pytest.raises(DataError, match="NaN"):
            getattr(a, score)(holes)
    # float32 rows of a float64 model are taken as float64, with and without holes
    assert b.score(holes.astype(np.float32)) == a.score(X.astype(np.float32))
    weights = np.insert(np.linspace(0.5, 2.0, len(X)), [5, 100, 1999], 7.0)
    assert b.score(holes, sample_weight=weights) == a.score(X, sample_weight=weights[weights < 7])


def test_frames_give_names_and_arrays_forget_them():
    model = fit(pd.DataFrame(X, columns=["a", "b", "c"]), n_components=2, random_state=0)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    model.fit(X)
    assert not hasattr(model, "feature_names_in_")


def test_statistical_tolerance_stops_within_a_fraction_of_a_standard_error():
    rng = np.random.default_rng(0)
    n = 40_000
    rows = np.where(rng.random(n) < 0.25, rng.normal(0, 1, n), rng.normal(3, 1, n))[:, np.newaxis]
    settings = {"n_components": 2, "random_state": 0, "max_iter": 3000}
    stopped = fit(rows, tol="statistical", **settings)
    exact = fit(rows, tol=0, **settings)
    assert stopped.converged_
    left = (exact.lower_bound_ - stopped.lower_bound_) * n
    assert 0 <= left < 0.02
    default = fit(rows, **settings)
    assert (exact.lower_bound_ - default.lower_bound_) * n > 1


def test_convergence_warning_and_verbose(capsys):
    with pytest.warns(UserWarning, match="Best performing initialization did not converge"):
        GaussianMixture(3, max_iter=2, verbose=2, verbose_interval=1, random_state=0).fit(X)
    out = capsys.readouterr().out
    assert "Initialization 0" in out
    assert "Iteration 2" in out


def test_an_observer_that_raises_ends_the_fit():
    def stop(event):
        raise KeyboardInterrupt

    model = GaussianMixture(3).set_callbacks(stop)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert not hasattr(model, "means_")


def test_clone_params_and_pickles():
    model = GaussianMixture(2, tol=1e-4, n_threads=1).set_callbacks(lambda event: None)
    assert clone(model).get_params() == model.get_params()
    model.fit(X)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict(X), model.predict(X))
    assert not hasattr(again, "_skl_callbacks")
    assert repr(model) == "GaussianMixture(n_components=2, n_threads=1, tol=0.0001)"
    with pytest.raises(ValueError, match="Invalid parameter 'k'"):
        model.set_params(k=3)


def test_collapse_without_regularisation_names_the_component():
    rows = np.vstack([np.zeros((10, 3)), X])
    with pytest.raises(ValueError, match=r"ill-defined empirical covariance .*\(component \d\)"):
        GaussianMixture(
            2, reg_covar=0, means_init=np.vstack([np.zeros(3), X[0] + 50]), max_iter=200,
            precisions_init=np.stack([np.eye(3) * 1e6, np.eye(3) * 1e-3]),
        ).fit(rows)  # fmt: skip


def test_rows_infinitely_far_from_the_start_are_an_error():
    with pytest.raises(DataError, match="too far from every component"):
        GaussianMixture(
            1, means_init=[[1e200] * 3], precisions_init=np.eye(3)[np.newaxis], max_iter=1
        ).fit(X)


def test_columns_must_be_those_of_the_fit(model):
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    named = fit(frame, n_components=2, random_state=0)
    with pytest.raises(DataError, match="feature names should match"):
        named.predict(frame[["b", "a", "c"]])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        labels = named.predict(X)
    assert np.array_equal(labels, named.predict(frame))


def test_parameters_changed_by_hand_must_fit_together(model):
    model.means_ = np.zeros((6, 3))
    with pytest.raises(ValueError, match=r"means_ has shape \(6, 3\)"):
        model.predict(X)
    square = fit(X[:, :2], n_components=2, random_state=0)
    with pytest.raises(ValueError, match="fit again"):
        square.set_params(covariance_type="diag").predict(X[:, :2])
    with pytest.raises(ValueError, match="warm_start goes on with 2 components"):
        fit(X, n_components=2).set_params(n_components=3, warm_start=True).fit(X)


def test_labels_are_for_complete_rows_only():
    holes = np.insert(X, 5, np.nan, axis=0)
    with pytest.raises(DataError, match="fit_predict cannot label"):
        GaussianMixture(2, missing="drop").fit_predict(holes)


@pytest.mark.parametrize("weights", [np.zeros(2000), np.full(2000, -1.0), np.full(2000, np.nan)])
def test_scores_refuse_bad_weights(model, weights):
    for method in (model.score, model.aic, model.bic):
        with pytest.raises(DataError, match="weight"):
            method(X, sample_weight=weights)


def test_nothing_to_predict_or_fit(model, tmp_path):
    for ending in (".npy", ".parquet"):
        with pytest.raises(DataError, match="0 sample"):
            model.predict(X[:0], out=tmp_path / f"labels{ending}")
    with pytest.raises(DataError, match="0 sample"):
        model.score(X[:0])
    with pytest.raises(DataError, match="0 feature"):
        GaussianMixture().fit(X[:, :0])
    assert list(tmp_path.iterdir()) == []


def test_one_weight_for_all_rows():
    a, b = fit(X, 2.5, n_components=2, random_state=0), fit(X, n_components=2, random_state=0)
    np.testing.assert_allclose(a.means_, b.means_, rtol=1e-12)


def test_statistical_tolerance_ends_in_single_precision():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200_000, 2)) + 2.5 * rng.integers(2, size=(200_000, 1))
    model = fit(
        rows.astype(np.float32), n_components=2, tol="statistical", max_iter=400, random_state=0
    )
    assert model.converged_


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_samples_of_columns_of_very_different_scales(covariance_type):
    rng, d = np.random.default_rng(25), 12
    scales = 10.0 ** rng.uniform(-6, 6, d)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    matrix = (turn * np.geomspace(0.1, 10, d)) @ turn.T * np.multiply.outer(scales, scales)
    matrix = (matrix + matrix.T) / 2
    covariances = matrix if covariance_type == "tied" else matrix[np.newaxis]
    model = GaussianMixture.from_parameters(
        [1.0], [np.zeros(d)], covariances, covariance_type=covariance_type
    )
    rows = model.sample(4000, random_state=0)[0]
    units = np.sqrt(np.diag(matrix))
    found = np.cov((rows / units).T)
    np.testing.assert_allclose(found, matrix / np.multiply.outer(units, units), atol=0.1)


@pytest.mark.parametrize(
    ("value", "weight", "says"),
    [
        (np.inf, 1.0, "row 6, column 1; .*without missing values; 1 have"),
        (7.0, -1.0, "row 6: .*without missing values; 1 have"),
    ],
)
def test_rows_are_counted_without_those_that_are_dropped_and_it_is_said(value, weight, says):
    rows, weights = np.arange(20.0).reshape(10, 2), np.ones(10)
    rows[3, 0], rows[7, 1], weights[7] = np.nan, value, weight
    with pytest.raises(ValueError, match=says):
        GaussianMixture(1, missing="drop").fit(rows, sample_weight=weights)
