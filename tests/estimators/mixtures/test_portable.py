"""Models from known parameters, to files, JSON and other libraries: the same numbers everywhere."""

import json
import pickle
import sys

import joblib
import numpy as np
import pytest
from problems import COVARIANCE_TYPES, blobs, fit, parameters
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from fastgmm import GaussianMixture
from fastgmm.exceptions import ModelFileError

X, _ = blobs(500, 3, 3, spread=6.0)


@pytest.fixture(params=COVARIANCE_TYPES)
def model(request):
    return fit(X, n_components=3, covariance_type=request.param, random_state=0, tol=1e-2)


def test_saved_and_loaded_is_the_same(model, tmp_path):
    model.save(tmp_path / "model.npz")
    again = GaussianMixture.load(tmp_path / "model.npz")
    for mine, loaded in zip(parameters(model), parameters(again), strict=True):
        assert np.array_equal(mine, loaded)
        assert mine.dtype == loaded.dtype
    assert np.array_equal(again.score_samples(X), model.score_samples(X))
    assert again.get_params() == model.get_params()
    assert (again.n_iter_, again.converged_, again.lower_bounds_) == (
        model.n_iter_, model.converged_, model.lower_bounds_,
    )  # fmt: skip


def test_single_precision_survives_a_file(tmp_path):
    model = fit(X.astype(np.float32), n_components=2, random_state=0)
    model.save(tmp_path / "model.npz")
    again = GaussianMixture.load(tmp_path / "model.npz")
    assert again.means_.dtype == np.float32
    assert np.array_equal(again._exact.means, model._exact.means)


def damage_truncated(data):
    return data[: len(data) // 2]


def damage_flipped(data):
    middle = data.index(b"means.npy") + 200
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


@pytest.mark.parametrize(
    "damage", [damage_truncated, damage_flipped, lambda _: b"", lambda _: b"no model"]
)
def test_damaged_model_files_are_refused(tmp_path, damage):
    path = tmp_path / "model.npz"
    fit(X, n_components=2, random_state=0).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelFileError, match=r"model\.npz"):
        GaussianMixture.load(path)


class Bomb:
    def __reduce__(self):
        return print, ("executed",)


def test_a_model_file_never_executes_anything(tmp_path, capsys):
    np.savez(tmp_path / "bomb.npz", header=np.array([Bomb()], dtype=object))
    with pytest.raises(ModelFileError):
        GaussianMixture.load(tmp_path / "bomb.npz")
    assert capsys.readouterr().out == ""


def test_foreign_and_newer_model_files_are_refused(tmp_path):
    np.savez(tmp_path / "foreign.npz", x=np.arange(3))
    with pytest.raises(ModelFileError, match="not a fastgmm model file"):
        GaussianMixture.load(tmp_path / "foreign.npz")
    with pytest.raises(ModelFileError, match="No model file"):
        GaussianMixture.load(tmp_path / "missing.npz")
    model = fit(X, n_components=2, random_state=0)
    model.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz") as archive:
        arrays = dict(archive)
    header = arrays["header"].tobytes().replace(b'"format_version": 1', b'"format_version": 9')
    arrays["header"] = np.frombuffer(header, np.uint8)
    np.savez(tmp_path / "newer.npz", **arrays)
    with pytest.raises(ModelFileError, match="format version 9"):
        GaussianMixture.load(tmp_path / "newer.npz")


def test_from_parameters(model):
    for given in ({"covariances": model.covariances_}, {"precisions": model.precisions_}):
        copy = GaussianMixture.from_parameters(
            model.weights_, model.means_, covariance_type=model.covariance_type, **given
        )
        np.testing.assert_allclose(copy.score_samples(X), model.score_samples(X), rtol=1e-9)
        assert np.array_equal(copy.predict(X), model.predict(X))
    with pytest.raises(ValueError, match=r"should be .*positive.*, but"):
        GaussianMixture.from_parameters(
            model.weights_, model.means_, -model.covariances_,
            covariance_type=model.covariance_type,
        )  # fmt: skip


UNIT = np.stack([np.eye(2)] * 3)
BAD = np.array([[1.0, 2.0], [2.0, 1.0]])
TWISTED = np.array([[1.0, 0.5], [0.4, 1.0]])


def with_second(matrix):
    return np.stack([np.eye(2), matrix, np.eye(2)])


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("what", ["covariances", "precisions"])
def test_a_matrix_that_is_none_is_named(covariance_type, what):
    wrong = {
        "full": with_second(BAD), "tied": BAD, "diag": [[1.0, 1.0], [1.0, -2.0], [1.0, 1.0]],
        "spherical": [1.0, -2.0, 1.0], "tied_diag": [1.0, -2.0], "tied_spherical": [-2.0],
    }[covariance_type]  # fmt: skip
    where = {
        "full": "symmetric, positive-definite, but component 1's least eigenvalue is -1: correct",
        "tied": "symmetric, positive-definite, but its least eigenvalue is -1",
        "diag": "positive, but component 1, column 1 has -2: correct it",
        "spherical": "positive, but component 1 has -2",
        "tied_diag": "positive, but column 1 has -2",
        "tied_spherical": "positive, but has -2",
    }[covariance_type]
    with pytest.raises(ValueError, match=f"^'{covariance_type} {what[:-1]}' should be {where}"):
        GaussianMixture.from_parameters(
            np.full(3, 1 / 3), np.zeros((3, 2)), covariance_type=covariance_type, **{what: wrong}
        )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"covariances": with_second(TWISTED)},
            r"component 1's entry \(0, 1\) is 0.5 and \(1, 0\)",
        ),
        ({"covariances": 1e-12 * with_second(TWISTED)}, "component 1's entry"),
        ({"covariances": with_second(np.zeros((2, 2)))}, "add 1e-06 to its diagonal"),
        ({"covariances": with_second(np.diag([1.0, np.inf]))}, "'covariances' contains NaN or inf"),
        ({"covariances": UNIT[:2]}, r"the shape of \(3, 2, 2\), but got \(2, 2, 2\)"),
        ({"precisions": UNIT}, "either covariances or precisions"),
        ({"covariances": None}, "either covariances or precisions"),
        ({"weights": [0.5, 0.5]}, r"'weights' should have the shape of \(3,\)"),
        ({"weights": [0.5, 0.5, 0.5]}, "should be normalized"),
        ({"weights": [1.5, -0.5, 0.0]}, r"range \[0, 1\]"),
        ({"means": [0.0, 1.0, 2.0]}, r"\(n_components, n_features\), but got \(3,\): give a row"),
        ({"means": np.full((3, 2), np.nan)}, "'means' contains NaN"),
        ({"covariance_type": "round"}, "'covariance_type' parameter"),
    ],
)
def test_what_makes_no_model_is_refused(changed, message):
    given = {"weights": np.full(3, 1 / 3), "means": np.zeros((3, 2)), "covariances": UNIT}
    with pytest.raises(ValueError, match=message):
        GaussianMixture.from_parameters(**given | changed)


def test_a_model_keeps_its_own_copy_of_what_it_was_given():
    given = np.full(3, 1 / 3), np.zeros((3, 2)), UNIT.copy()
    model = GaussianMixture.from_parameters(*given)
    before = model.score_samples(X[:, :2])
    for part in given:
        part += 1.0
    np.testing.assert_array_equal(model.score_samples(X[:, :2]), before)


def test_a_sample_may_have_its_own_seed(model):
    first, _ = model.sample(50, random_state=3)
    again, _ = model.set_params(random_state=3).sample(50)
    other, _ = model.sample(50, random_state=np.random.RandomState(4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert model.random_state == 3
    with pytest.raises(ValueError, match="cannot be used to seed"):
        model.sample(5, random_state="three")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_json_keeps_every_bit(model, dtype):
    rows = X.astype(dtype)
    model.set_params(fixed=("weights",), weights_init=np.full(3, 1 / 3)).fit(rows)
    model.feature_names_in_ = np.array(["a", "b", "c"], dtype=object)
    text = json.dumps(model.to_dict(), allow_nan=False)
    again = GaussianMixture.from_dict(json.loads(text))
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        mine, other = getattr(model, name), getattr(again, name)
        assert mine.dtype == other.dtype == dtype
        np.testing.assert_array_equal(mine, other)
    for mine, other in zip(model._exact, again._exact, strict=True):
        np.testing.assert_array_equal(mine, other)
    assert again.lower_bounds_ == model.lower_bounds_
    assert again.fixed == ("weights",)
    assert again.feature_names_in_.tolist() == ["a", "b", "c"]
    assert json.dumps(again.to_dict()) == text


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_pickles_of_any_kind_keep_the_exact_parameters(model, dtype, tmp_path):
    rows = X.astype(dtype)
    model.fit(rows)
    joblib.dump(model, tmp_path / "model.joblib")
    for again in (joblib.load(tmp_path / "model.joblib"), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(again.score_samples(rows), model.score_samples(rows))
        assert again._current() is again._exact


@pytest.mark.parametrize("name", ["weights_", "means_", "covariances_", "precisions_cholesky_"])
def test_what_is_changed_in_place_counts(model, name):
    factors = 1.5 * model.precisions_cholesky_
    expected = model.score_samples(X)
    part = getattr(model, name)
    part *= 1.5
    assert not np.allclose(model.score_samples(X), expected)
    if name == "precisions_cholesky_":
        given = {"precisions": model._family.precisions(factors)}
        other = GaussianMixture.from_parameters(
            model.weights_, model.means_, covariance_type=model.covariance_type, **given
        )
        np.testing.assert_allclose(model.score_samples(X), other.score_samples(X), rtol=1e-9)


def test_infinite_settings_are_safe_for_json(tmp_path):
    model = fit(X, n_components=2, tol=np.inf, checkpoint_interval=np.float32(np.inf))
    text = json.dumps(model.to_dict(), allow_nan=False)
    model.save(tmp_path / "model.npz")
    for again in (GaussianMixture.from_dict(json.loads(text)), model.load(tmp_path / "model.npz")):
        assert again.tol == again.checkpoint_interval == np.inf


def test_models_without_a_fit_are_safe_for_json():
    model = GaussianMixture.from_parameters(np.full(3, 1 / 3), np.zeros((3, 2)), UNIT)
    text = json.dumps(model.to_dict(), allow_nan=False)
    assert GaussianMixture.from_dict(json.loads(text)).lower_bound_ == -np.inf


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"format": "other"}, "The dictionary is not a fastgmm model's"),
        ({"format_version": 9}, "The dictionary has format version 9"),
        ({"means": [[0.0, "x"]] * 3}, "or is damaged"),
        ({"means": [0.0] * 3}, "or is damaged"),
        ({"weights": [0.5, 0.5]}, "or is damaged"),
        ({"weights": [5.0, -4.0, 0.0]}, "or is damaged"),
        ({"weights": [0.0, 0.0, 0.0]}, "or is damaged"),
        ({"weights": [0.5, 0.5, 0.5]}, "or is damaged"),
        ({"weights": [0.5, None, 0.5]}, "its weights are no finite numbers"),
        ({"covariances": [[[0.0, 0.0]] * 2] * 3}, "or is damaged"),
        ({"dtype": "object"}, "or is damaged"),
        ({"settings": {"covariance_type": "round"}}, "or is damaged"),
        ({"collapsed": [7]}, "or is damaged"),
        ({"lower_bound": "high"}, "or is damaged"),
    ],
)
def test_other_dictionaries_are_refused(changed, message):
    model = GaussianMixture.from_parameters(np.full(3, 1 / 3), np.zeros((3, 2)), UNIT)
    with pytest.raises(ModelFileError, match=message):
        GaussianMixture.from_dict(model.to_dict() | changed)
    for nothing in ({}, None, "model.npz"):
        with pytest.raises(ModelFileError, match="to_dict"):
            GaussianMixture.from_dict(nothing)


def test_scipy_finds_the_same_log_densities(model):
    components = map(multivariate_normal, model.means_, model.covariance_matrices())
    each = np.transpose([one.logpdf(X) for one in components])
    expected = logsumexp(np.log(model.weights_) + each, axis=1)
    np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-10, atol=1e-10)
    model.covariance_matrices()[:] = 0.0
    assert model.covariances_.any()


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    model = GaussianMixture.from_parameters(np.full(3, 1 / 3), np.zeros((3, 2)), UNIT)
    monkeypatch.setitem(sys.modules, "sklearn.mixture", None)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        model.to_sklearn()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_scikit_learns_model_predicts_the_same(model, dtype):
    rows = X.astype(dtype)
    model.set_params(tol="statistical").fit(rows)
    theirs = model.to_sklearn()
    rtol = 1e-10 if dtype == "float64" else 1e-3
    np.testing.assert_array_equal(theirs.predict(rows), model.predict(rows))
    np.testing.assert_allclose(theirs.score_samples(rows), model.score_samples(rows), rtol=rtol)
    np.testing.assert_allclose(
        theirs.predict_proba(rows), model.predict_proba(rows), rtol=rtol, atol=rtol
    )
    assert theirs.means_.dtype == dtype
    assert (theirs.n_iter_, theirs.converged_) == (model.n_iter_, model.converged_)
    settings = theirs.get_params()
    assert settings["tol"] == 1e-3
    assert (settings["n_components"], settings["random_state"]) == (3, 0)
    assert theirs.set_params(tol=0.1).fit(rows).n_features_in_ == 3


def test_every_model_that_saves_loads(tmp_path):
    single = np.random.default_rng(0).random((40, 5)).astype(np.float32)
    single /= single.sum(axis=1, keepdims=True)
    for model in (
        *(GaussianMixture.from_parameters(w, np.zeros((5, 2)), [np.eye(2)] * 5) for w in single),
        fit(X, n_components=2, init_params="random_from_data", max_iter=0),
        fit(X, n_components=np.int64(2), tol=np.float32(1e-3), random_state=np.int64(0)),
        fit(X, n_components=2, means_init=[X[0], X[-1]]),
    ):
        model.save(tmp_path / "model.npz")
        assert np.array_equal(GaussianMixture.load(tmp_path / "model.npz").means_, model.means_)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        model.save(tmp_path / "nowhere" / "model.npz")
