"""The estimator on Dask: weights, sampled starts, lazy predictions, fits inside tasks."""

import copy
import pickle

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask.base import is_dask_collection
from hanging import LONG
from problems import blobs, fingerprint, fit

from fastgmm import GaussianMixture, open_dataset
from fastgmm.exceptions import DataError
from fastgmm.initialization import first_pass

X, _ = blobs(3000, 3, 3, seed=4)
WEIGHTS = np.random.default_rng(3).gamma(2.0, size=len(X))
PARTITIONS = (700, 1, 1299, 1000)
SETTINGS = {"n_components": 3, "random_state": 0, "tol": 1e-2}
NAMES = list("abc")


def lazy(rows):
    return da.from_array(rows, chunks=(PARTITIONS, *rows.shape[1:]))


def lazy_frame(**more):
    table = pd.DataFrame(X, columns=NAMES).assign(**more)
    parts = np.split(np.arange(len(X)), np.cumsum(PARTITIONS)[:-1])
    return dd.from_map(table.iloc.__getitem__, parts, meta=table[:0])


def fit_on(client, rows, weights=None, **settings):
    """A fit with settings under which it converges, without a warning."""
    model = GaussianMixture(**SETTINGS, **settings).set_client(client)
    return fingerprint(model.fit(rows, sample_weight=weights))


def test_weights_of_a_collection(two_workers):
    """An array like X, an array in memory, a column of a frame, on threads and a cluster."""
    expected = fingerprint(fit(lazy(X), lazy(WEIGHTS), n_threads=2, **SETTINGS))
    assert expected != fingerprint(fit(lazy(X), n_threads=2, **SETTINGS))
    frame = lazy_frame(w=WEIGHTS)
    for rows, weights in (
        (lazy(X), lazy(WEIGHTS)),
        (lazy(X), WEIGHTS),
        (frame[NAMES], frame["w"]),
    ):
        assert fingerprint(fit(rows, weights, n_threads=1, **SETTINGS)) == expected
        assert fit_on(two_workers, rows, weights) == expected
        assert fit_on(two_workers, rows, weights, persist=False) == expected


def test_weights_of_a_collection_count_in_scores(model):
    for method in (model.score, model.aic, model.bic):
        expected = method(X, sample_weight=WEIGHTS)
        assert expected != method(X)
        for weights in (lazy(WEIGHTS), WEIGHTS):
            assert method(lazy(X), sample_weight=weights) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_weight_columns_and_sampled_starts(two_workers, tmp_path, monkeypatch, weighted):
    """Files on a cluster, a start from a sample of the rows: the bits of an array on a thread."""
    monkeypatch.setattr(first_pass, "WHOLE_ELEMENTS", X.size - 1)
    monkeypatch.setattr(first_pass, "SAMPLE_ELEMENTS", 900)
    weights = WEIGHTS if weighted else None
    expected = fingerprint(fit(X, weights, n_threads=1, **SETTINGS))
    path = tmp_path / "rows.parquet"
    table = pd.DataFrame(X, columns=NAMES).assign(w=WEIGHTS)
    table.to_parquet(path, row_group_size=777)
    rows = open_dataset(path, columns=NAMES, weight="w" if weighted else None)
    assert fingerprint(fit(X, weights, n_threads=5, **SETTINGS)) == expected
    assert fingerprint(fit(rows, n_threads=2, **SETTINGS)) == expected
    assert fit_on(two_workers, rows) == expected
    monkeypatch.undo()
    assert fingerprint(fit(X, weights, n_threads=1, **SETTINGS)) != expected, "nothing was sampled"


def test_a_sampled_start_does_not_know_the_chunks(two_workers, monkeypatch):
    monkeypatch.setattr(first_pass, "WHOLE_ELEMENTS", X.size - 1)
    monkeypatch.setattr(first_pass, "SAMPLE_ELEMENTS", 900)
    start = {**SETTINGS, "max_iter": 1, "init_params": "random_from_data"}
    expected = fit(X, n_threads=1, **start).means_
    for model in (
        fit(X, n_threads=2, chunk_size=64, **start),
        fit(lazy(X), n_threads=2, **start),
        fit(lazy_frame(), n_threads=1, **start),
    ):
        # other rows at the start would give other means by far more than roundings
        np.testing.assert_allclose(model.means_, expected, rtol=1e-12, atol=1e-12)


@pytest.fixture(scope="module")
def model():
    return fit(X, **SETTINGS)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples"])
def test_predictions_are_lazy(model, two_workers, method):
    expected = getattr(model, method)(X)
    named = copy.copy(model)
    named.feature_names_in_ = np.array(lazy_frame().columns, dtype=object)
    for fitted, rows in ((model, lazy(X)), (named, lazy_frame())):
        predicted = getattr(fitted, method)(rows)
        assert is_dask_collection(predicted)
        assert predicted.ndim == expected.ndim
        np.testing.assert_array_equal(predicted.compute(scheduler="threads"), expected)
        np.testing.assert_array_equal(two_workers.compute(predicted).result(), expected)


def test_what_is_known_before_predictions_are_computed(model):
    """Numbers of rows where X knows them, dtypes, names, index: what to_parquet and joins need."""
    kinds = {"predict": np.int64, "predict_proba": np.float64, "score_samples": np.float64}
    unknown = lazy(X)[lazy(X)[:, 0] > -np.inf]
    frame = lazy_frame(w=WEIGHTS).set_index("w", sorted=False)[NAMES]
    named = copy.copy(model)
    named.feature_names_in_ = np.array(NAMES, dtype=object)
    for method, dtype in kinds.items():
        expected = getattr(model, method)(X)
        known = getattr(model, method)(lazy(X))
        assert (known.chunks[0], known.shape, known.dtype) == (PARTITIONS, expected.shape, dtype)
        open_ended = getattr(model, method)(unknown)
        assert (open_ended.numblocks[0], open_ended.dtype) == (len(PARTITIONS), dtype)
        assert np.isnan(open_ended.chunks[0]).all()
        np.testing.assert_array_equal(open_ended.compute(scheduler="threads"), expected)
        with pytest.warns(UserWarning, match="chunked along its columns"):
            columns = getattr(model, method)(lazy(X).rechunk({1: 2}))
        np.testing.assert_array_equal(columns.compute(scheduler="threads"), expected)
        predicted = getattr(named, method)(frame)
        computed = predicted.compute(scheduler="threads")
        order = np.argsort(WEIGHTS)
        np.testing.assert_array_equal(computed.to_numpy(), expected[order])
        np.testing.assert_array_equal(computed.index, WEIGHTS[order])
        assert predicted._meta.dtypes is not None
        assert type(computed) is type(predicted._meta)
        assert np.all(predicted.dtypes == dtype)
    assert list(named.predict_proba(frame).columns) == [f"component_{k}" for k in range(3)]
    assert named.predict(frame).name == "label"
    assert named.score_samples(frame).name == "log_density"


@pytest.mark.parametrize("kind", ["array", "frame"])
def test_an_error_of_a_lazy_prediction_names_the_partition(model, kind):
    bad = X.copy()
    bad[711, 1] = np.nan
    rows = lazy(bad) if kind == "array" else lazy_frame(b=bad[:, 1])
    with pytest.raises(DataError, match=r"partition 2 of X: .* NaN: row 10, column 1"):
        model.predict(rows).compute(scheduler="synchronous")


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples"])
def test_a_model_is_not_in_every_task_of_its_predictions(method):
    """But in one that the others wait for: tasks are pickled one by one."""
    k = 300
    model = GaussianMixture.from_parameters(
        np.full(k, 1 / k), np.zeros((k, 3)), np.ones((k, 3)), covariance_type="diag"
    )
    large = len(pickle.dumps(model._density(np.dtype(float))))
    (predicted,) = dask.optimize(getattr(model, method)(lazy(X)))
    sizes = [len(pickle.dumps(task)) for task in dict(predicted.__dask_graph__()).values()]
    assert 1 <= sum(size >= large for size in sizes) <= 2 < len(PARTITIONS)


def test_fit_predict_of_a_collection(two_workers):
    rows = lazy(X)
    model = GaussianMixture(**SETTINGS).set_client(two_workers)
    labels = model.fit_predict(rows)
    np.testing.assert_array_equal(np.asarray(labels), model.predict(X))


def test_empty_partitions_change_nothing(two_workers):
    """Wherever they lie, and wherever they are read: the start, the E-step, new starts, labels."""
    settings = {
        **SETTINGS,
        "on_collapse": "reseed",
        "means_init": [[0.0] * 3, [1.0] * 3, [1e4] * 3],
    }
    expected = fit(X, **settings)
    for chunks in ((0, 700, 2300), (700, 0, 0, 2300), (700, 2300, 0)):
        rows = da.from_array(X, chunks=(chunks, 3))
        model = GaussianMixture(**settings).set_client(two_workers)
        labels = model.fit_predict(rows)
        np.testing.assert_array_equal(labels, expected.predict(X))
        np.testing.assert_allclose(model.means_, expected.means_, rtol=1e-9, atol=1e-9)
        assert fingerprint(fit(rows, n_threads=2, **settings)) == fingerprint(model)


def test_a_fit_inside_a_task_of_a_cluster_of_one_thread(one_worker):
    def task(rows):
        rows = da.from_array(rows, chunks=(PARTITIONS, rows.shape[1]))
        return GaussianMixture(**SETTINGS).fit(rows).means_

    means = one_worker.submit(task, X).result(timeout=LONG)
    np.testing.assert_array_equal(means, fit(lazy(X), n_threads=1, **SETTINGS).means_)
