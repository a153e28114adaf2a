"""Marginals, conditionals and regression, next to integrals of the textbook's density."""

import numpy as np
import pandas as pd
import pytest
from problems import COVARIANCE_TYPES, fit
from reference import as_matrices, e_step, from_matrices
from scipy.integrate import trapezoid

from fastgmm import GaussianMixture, open_dataset
from fastgmm.exceptions import DataError

K, D = 3, 3
GRID = np.linspace(-20.0, 20.0, 81)
"""Half a standard deviation at most: the rule of trapezoids errs by exp(-2 pi^2 4) = 1e-34 for
densities that end inside."""

POINTS = np.array([[0.3, -1.0, 2.0], [-2.0, 0.5, 0.0], [1.0, 4.0, -3.0]])


@pytest.fixture(params=COVARIANCE_TYPES)
def model(request):
    rng = np.random.default_rng(1)
    roots = 0.4 * rng.normal(size=(K, D, D)) + 1.5 * np.eye(D)
    covariances = from_matrices(roots @ roots.transpose(0, 2, 1), request.param)
    return GaussianMixture.from_parameters(
        [0.2, 0.5, 0.3], rng.normal(scale=2.0, size=(K, D)), covariances,
        covariance_type=request.param,
    )  # fmt: skip


def density(model, rows):
    """The textbook's."""
    k, d = model.means_.shape
    matrices = as_matrices(model.covariances_, model.covariance_type, k, d)
    return np.exp(e_step(rows, model.weights_, model.means_, matrices)[1])


def along(columns, fixed):
    """Rows of a grid over some columns, the others at fixed values (3,)."""
    axes = np.meshgrid(*[GRID] * len(columns), indexing="ij")
    rows = np.tile(fixed, (axes[0].size, 1))
    rows[:, columns] = np.column_stack([axis.ravel() for axis in axes])
    return rows


def integral(model, columns, fixed, factor=1.0):
    """Of the density times a factor over these columns, the others fixed."""
    values = (density(model, along(columns, fixed)) * factor).reshape([len(GRID)] * len(columns))
    for _ in columns:
        values = trapezoid(values, GRID, axis=-1)
    return values


@pytest.mark.parametrize("columns", [[2, 0], [1], [0, 1], [-1]], ids=str)
def test_a_marginal_is_the_integral_over_the_other_columns(model, columns):
    part = model.marginal(columns)
    others = [j for j in range(D) if j not in columns and j - D not in columns]
    expected = [integral(model, others, point) for point in POINTS]
    found = np.exp(part.score_samples(POINTS[:, columns]))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert part.covariance_type == model.covariance_type
    assert part.n_features_in_ == len(columns)


@pytest.mark.parametrize("given", [[1], [2, 0]], ids=str)
def test_a_conditional_is_a_ratio_of_integrals(model, given):
    rest = [j for j in range(D) if j not in given]
    for values in POINTS[:2]:
        part = model.condition(given, values[given])
        rows = POINTS.copy()
        rows[:, given] = values[given]
        expected = density(model, rows) / integral(model, rest, values)
        found = np.exp(part.score_samples(rows[:, rest]))
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        assert part.covariance_type == model.covariance_type
        assert part.weights_.sum() == pytest.approx(1.0, abs=1e-15)


def test_conditional_moments_are_those_of_the_integrals(model):
    given, rest = [2, 0], 1
    mean, variance = model.conditional_moments(POINTS[:, given], given)
    assert mean.shape == variance.shape == (len(POINTS), 1)
    for i, point in enumerate(POINTS):
        total = integral(model, [rest], point)
        first = integral(model, [rest], point, GRID) / total
        second = integral(model, [rest], point, (GRID - first) ** 2) / total
        assert mean[i, 0] == pytest.approx(first, rel=1e-9)
        assert variance[i, 0] == pytest.approx(second, rel=1e-9)


def test_moments_of_rows_are_those_of_each_rows_mixture(model):
    rows = np.random.default_rng(0).normal(size=(50, 1)) * 3
    rows[[3, 4, 5]] = [[1e5], [-1e20], [1e150]]
    mean, variance = model.conditional_moments(rows, 1)
    for i in (0, 3, 4, 5, 17, 49):
        part = model.condition(1, rows[i])
        expected = part.weights_ @ part.means_
        np.testing.assert_allclose(mean[i], expected, rtol=1e-12)
        matrices = as_matrices(part.covariances_, part.covariance_type, K, 2)
        spread = np.diagonal(matrices, axis1=1, axis2=2) + (part.means_ - expected) ** 2
        np.testing.assert_allclose(variance[i], part.weights_ @ spread, rtol=1e-12)


def test_values_far_away_have_moments_in_single_precision_too():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 2)).astype(np.float32) * np.float32([1.0, 3.0])
    rows[::2] += 9.0
    model = GaussianMixture(2, random_state=0).fit(rows)
    far = np.array([[1e20], [-1e20], [1e30]], np.float32)
    mean, variance = model.conditional_moments(far, 0)
    assert mean.dtype == variance.dtype == np.float32
    for i, row in enumerate(far):
        part = model.condition(0, row)
        np.testing.assert_allclose(mean[i], part.weights_ @ part.means_, rtol=1e-6)
        assert part.weights_.max() == 1.0
        np.testing.assert_allclose(variance[i], part.weights_ @ part.covariances_[:, 0], rtol=1e-6)


def test_values_too_far_for_any_component_are_named():
    model, _ = named()
    rows = pd.DataFrame({"age": [0.0, 1.0, 0.0], "height": [0.0, -1e200, 0.0]})
    message = r"row 1 are too far .* \(column 1 \('height'\) has -1e\+200\): give values nearer"
    with pytest.raises(DataError, match=message):
        model.conditional_moments(rows, ["age", "height"])
    del model.feature_names_in_
    with pytest.raises(DataError, match=r"column 1 has -1e\+200"):
        model.conditional_moments(rows.to_numpy(), [2, 0])


def test_conditioning_in_steps_is_conditioning_at_once(model):
    at_once = model.condition([0, 2], [0.5, -1.0])
    in_steps = model.condition(0, 0.5).condition(1, -1.0)
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_allclose(getattr(in_steps, name), getattr(at_once, name), rtol=1e-10)


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_ill_conditioned_covariances_stay_positive_definite(covariance_type):
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    matrix = axes * np.array([1.0, 1e-6, 1e-12]) @ axes.T
    matrix = (matrix + matrix.T) / 2
    model = GaussianMixture.from_parameters(
        [1.0], np.zeros((1, 3)), from_matrices(matrix[np.newaxis], covariance_type),
        covariance_type=covariance_type,
    )  # fmt: skip
    part = model.condition(0, 0.1)
    found = as_matrices(part.covariances_, covariance_type, 1, 2)[0]
    assert np.linalg.eigvalsh(found)[0] > 0
    expected = np.linalg.inv(np.linalg.inv(matrix)[1:, 1:])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


NAMES = ["height", "weight", "age"]


def named(dtype=np.float64, **settings):
    rows = np.random.default_rng(0).normal(size=(500, 3)) @ [
        [1.0, 0.5, 0.0],
        [0.0, 1.0, 0.2],
        [0.0, 0.0, 1.0],
    ]
    frame = pd.DataFrame(rows.astype(dtype), columns=NAMES)
    return fit(frame, n_components=2, random_state=0, **settings), frame


def test_names_are_columns_and_are_carried_along():
    model, frame = named(n_threads=1, means_init=np.eye(3)[:2], fixed="means")
    part = model.marginal(["age", "height"])
    assert part.feature_names_in_.tolist() == ["age", "height"]
    np.testing.assert_array_equal(part.means_, model.means_[:, [2, 0]])
    assert part.n_threads == 1
    assert np.isfinite(part.score_samples(frame[["age", "height"]])).all()
    assert part.fit(frame[["age", "height"]]).n_features_in_ == 2
    assert model.marginal("age").feature_names_in_.tolist() == ["age"]
    assert model.condition("weight", 1.0).feature_names_in_.tolist() == ["height", "age"]
    by_name = model.conditional_moments(frame[["weight"]], "weight")
    by_number = model.conditional_moments(frame[["weight"]], 1)
    np.testing.assert_array_equal(by_name.mean, by_number.mean)


def test_parts_have_no_checkpoint_and_leave_that_of_the_whole(tmp_path):
    rows = np.random.default_rng(0).normal(size=(200, D))
    path = tmp_path / "whole.ckpt"
    model = GaussianMixture(2, random_state=0, checkpoint=path, resume=True, tol=1e-2).fit(rows)
    before = path.read_bytes()
    for part in (model.marginal([0, 1]), model.condition(2, 0.0)):
        assert (part.checkpoint, part.resume, part.tol) == (None, False, 1e-2)
        part.fit(rows[:, :2])
    assert path.read_bytes() == before


def test_single_precision_models_have_single_precision_parts():
    model, frame = named(np.float32)
    part = model.condition("age", 0.5)
    assert part.means_.dtype == model.marginal("age").means_.dtype == np.float32
    np.testing.assert_array_equal(model.marginal("age")._exact.means, model._exact.means[:, [2]])
    found = model.conditional_moments(frame[["age"]], "age")
    assert found.mean.dtype == np.float32
    double = model.conditional_moments(frame[["age"]].astype(np.float64), "age")
    assert double.mean.dtype == np.float64
    np.testing.assert_allclose(found.mean, double.mean, atol=1e-5)


def test_moments_of_files_stream_to_files(tmp_path):
    model, frame = named()
    frame[["age"]].to_parquet(tmp_path / "ages.parquet")
    rows = open_dataset(tmp_path / "ages.parquet")
    expected = model.conditional_moments(frame[["age"]], "age")
    np.testing.assert_array_equal(model.conditional_moments(rows, "age").mean, expected.mean)
    out = model.conditional_moments(rows, "age", out=tmp_path / "moments.parquet")
    written = pd.read_parquet(out)
    assert list(written) == ["mean_height", "mean_weight", "variance_height", "variance_weight"]
    np.testing.assert_array_equal(written.to_numpy(), np.hstack(expected))


def test_moments_of_collections_are_lazy():
    import dask.array as da
    import dask.dataframe as dd

    model, frame = named()
    expected = model.conditional_moments(frame[["age"]], "age")
    lazy = model.conditional_moments(dd.from_pandas(frame[["age"]], npartitions=3), "age")
    np.testing.assert_allclose(lazy.variance.compute(), expected.variance, rtol=1e-12)
    del model.feature_names_in_
    array = da.from_array(frame[["age"]].to_numpy(), chunks=(200, 1))
    lazy = model.conditional_moments(array, 2)
    assert lazy.mean.shape == (500, 2)
    np.testing.assert_allclose(lazy.mean.compute(), expected.mean, rtol=1e-12)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("sex", "There is no column 'sex': the model has height, weight, age"),
        (3, "There is no column 3: the model has 3, counted from 0"),
        (-4, "There is no column -4"),
        ([], "No columns are given"),
        ([0, "height"], "Column 'height' is given twice"),
        ([0.5], r"0\.5 is not a column"),
        ([True], "True is not a column"),
        (0.0, r"0\.0 is not a column"),
        (slice(0, 2), "slice.* is not a column"),
        (np.array(1), r"array\(1\) is not a column"),
    ],
)
def test_what_is_no_column_is_refused(columns, message):
    model, frame = named()
    for ask in (
        lambda: model.marginal(columns),
        lambda: model.condition(columns, [0.0]),
        lambda: model.conditional_moments(frame[["age"]], columns),
    ):
        with pytest.raises(ValueError, match=message):
            ask()
    del model.feature_names_in_
    with pytest.raises(ValueError, match="the model has no column names: give numbers from 0 to 2"):
        model.marginal("age")


@pytest.mark.parametrize(
    ("columns", "values", "message"),
    [
        ([0, 1], [1.0], r"'values' should have the shape of \(2,\)"),
        (0, [np.nan], "'values' contains NaN"),
        ([0, 1, 2], [1.0, 1.0, 1.0], "none remains: leave one out"),
        (0, 1e200, "too far from every component"),
    ],
)
def test_what_cannot_be_given_is_refused(columns, values, message):
    with pytest.raises(ValueError, match=message):
        named()[0].condition(columns, values)
