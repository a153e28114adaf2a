"""The demonstration's yardstick: standard errors with closed forms, and files of known rows."""

import numpy as np

from fastgmm import open_dataset
from fastgmm.cli.truths import THREE_CLOUDS, Truth, match, standard_errors, write_npy, write_parquet


def test_standard_errors_of_one_normal():
    normal = Truth(np.array([1.0]), np.zeros((1, 1)), np.array([[[4.0]]]))
    _, mean, variance = standard_errors(normal, 100)
    # 2e5 random rows estimate the information to about half a percent
    np.testing.assert_allclose([mean, variance], [2 / 10, 4 * np.sqrt(2 / 100)], rtol=0.02)


def test_standard_errors_of_clouds_far_apart_are_those_of_each_alone():
    matrix = np.array([[2.0, 0.6], [0.6, 1.0]])
    truth = Truth(
        np.array([0.3, 0.7]), np.array([[0.0, 0.0], [90.0, 0.0]]), np.array([matrix, matrix])
    )
    errors = standard_errors(truth, 1000)
    np.testing.assert_allclose(errors[:2], np.sqrt(0.3 * 0.7 / 1000), rtol=0.02)
    np.testing.assert_allclose(errors[2:4], np.sqrt(np.diag(matrix) / 300), rtol=0.02)
    covariance = np.sqrt((matrix[0, 1] ** 2 + matrix[0, 0] * matrix[1, 1]) / 700)
    np.testing.assert_allclose(errors[10], covariance, rtol=0.02)


def test_files_hold_the_rows_they_promise(tmp_path):
    write_npy(tmp_path / "rows.npy", THREE_CLOUDS, 1000, seed=1)
    expected = np.concatenate(list(THREE_CLOUDS.pieces(1000, seed=1)))
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), expected)

    effective = write_parquet(tmp_path / "parts", THREE_CLOUDS, 20_000, seed=2)
    rows = open_dataset(tmp_path / "parts", weight="w", missing="drop")
    assert rows.n_features == 4
    assert 19_900 < rows.n_samples < 20_000
    # weights 1 and 2, half each: (3/2)^2 / (5/2) of the rows
    np.testing.assert_allclose(effective, 0.9 * rows.n_samples, rtol=0.01)


def test_components_are_matched_by_their_means():
    order = [2, 0, 1]
    shuffled = THREE_CLOUDS.means[order] + 0.1
    assert [order[k] for k in match(THREE_CLOUDS, shuffled)] == [0, 1, 2]
