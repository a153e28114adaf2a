"""When a component has collapsed, and what each policy does about it."""

import pickle

import numpy as np
import pytest
from hard_data import HARD_DATA
from problems import COVARIANCE_TYPES, blobs, fingerprint, fit, parameters
from reference import from_matrices

from fastgmm import GaussianMixture
from fastgmm.collapse import MOST_RESEEDS, ON_COLLAPSE, collapsed
from fastgmm.covariance import FAMILIES
from fastgmm.exceptions import CollapseError
from fastgmm.initialization import DataConstants
from fastgmm.parameters import Parameters
from fastgmm.progress import ComponentsReseeded, PassBegan, RowsDone

every_shape = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
RIDGE = np.full(3, 1e-6)


def heavy(n=3000):
    """Rows with tails so heavy that k-means++ gives some of them a component of their own."""
    rng = np.random.default_rng(0)
    return rng.standard_t(2.0, size=(n, 3))


HEAVY = heavy()
SETTINGS = {"n_components": 24, "covariance_type": "diag", "init_params": "k-means++",
            "random_state": 0, "max_iter": 20}  # fmt: skip


def covariances_of(covariance_type, variances):
    """Two components; the first has the given variances, the second the unit's."""
    first = np.full(3, np.mean(variances)) if "spherical" in covariance_type else variances
    return from_matrices(np.stack([np.diag(first), np.eye(3)]), covariance_type)


def found(covariance_type, weight, variances, constants):
    model = Parameters(
        np.array([weight, 1.0 - weight]),
        np.zeros((2, 3)),
        covariances_of(covariance_type, np.asarray(variances)),
    )
    return collapsed(FAMILIES[covariance_type], model, RIDGE, constants).tolist()


@every_shape
@pytest.mark.parametrize("row_weight", [1.0, 1e-3])
def test_few_rows_are_a_collapse(covariance_type, row_weight):
    constants = DataConstants(1000.0 * row_weight, row_weight, np.ones(3))
    fewest = {"full": 3, "diag": 1, "spherical": 1}.get(covariance_type, 0)
    for rows, expected in ((fewest + 0.4, [0]), (fewest + 0.6, []), (0.0, [0]), (500, [])):
        assert found(covariance_type, rows / 1000, np.ones(3), constants) == expected


@every_shape
def test_no_spread_in_any_column_is_a_collapse(covariance_type):
    constants = DataConstants(1000.0, 1.0, np.ones(3))
    everyone = [0, 1] if covariance_type.startswith("tied") else [0]
    assert found(covariance_type, 0.5, 1.9 * RIDGE, constants) == everyone
    assert found(covariance_type, 0.5, np.full(3, np.nan), constants) == everyone
    assert found(covariance_type, 0.5, [1e-6, 1e-6, 1.0], constants) == []


def test_a_collapse_is_told_of_and_kept_by_default():
    model = fit(HEAVY, **SETTINGS)
    assert len(model.collapsed_) > 3
    counts = model.weights_ * len(HEAVY)
    assert model.collapsed_.tolist() == np.flatnonzero(counts <= 1.5).tolist()
    assert fit(blobs(500, 3, 2)[0], n_components=2, random_state=0).collapsed_.tolist() == []


def test_a_collapse_is_raised_with_its_component():
    with pytest.raises(
        CollapseError, match=r"Component \d+ collapsed in iteration 1: it holds 1 r"
    ):
        fit(HEAVY, on_collapse="raise", **SETTINGS)
    error = CollapseError(3, 7, 1.0, 1e-3)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.component, again.iteration) == (str(error), 3, 7)


def test_reseeded_components_live_and_describe_more():
    rest = {name: fit(HEAVY, on_collapse=name, **SETTINGS) for name in ("keep", "reseed")}
    assert len(rest["keep"].collapsed_) > 3
    assert rest["reseed"].collapsed_.tolist() == []
    fresh = heavy(6000)[3000:]
    assert rest["reseed"].score(fresh) > rest["keep"].score(fresh) + 0.05


@every_shape
def test_a_component_without_rows_is_brought_back(covariance_type):
    X, means = blobs(600, 3, 3, spread=8.0, seed=1)
    lost = np.vstack([means[:2], [[1e4, 1e4, 1e4]]])
    settings = {"n_components": 3, "covariance_type": covariance_type, "means_init": lost,
                "random_state": 0}  # fmt: skip
    assert fit(X, **settings).collapsed_.tolist() == [2]
    model = fit(X, on_collapse="reseed", **settings)
    assert model.collapsed_.tolist() == []
    assert model.score(X) > fit(X, **settings).score(X)


def test_reseeding_ends_where_rows_are_too_few():
    reseeds = np.zeros(8, int)

    def count(event):
        if isinstance(event, ComponentsReseeded):
            reseeds[event.components] += 1

    data = HARD_DATA["duplicated rows"]
    model = GaussianMixture(data.n_components, random_state=0, on_collapse="reseed")
    model.set_callbacks(count).fit(data.rows())
    assert model.converged_
    assert reseeds.max() == MOST_RESEEDS


def test_reseeding_gives_the_same_bits_anywhere(two_workers, tmp_path):
    events = []
    settings = {**SETTINGS, "on_collapse": "reseed", "max_iter": 4, "tol": 0}
    model = GaussianMixture(n_threads=1, **settings).set_callbacks(events.append)
    with pytest.warns(UserWarning, match="did not converge"):
        model.fit(HEAVY)
    assert any(isinstance(event, ComponentsReseeded) for event in events)
    np.save(tmp_path / "rows.npy", HEAVY)
    assert fingerprint(fit(HEAVY, n_threads=5, **settings)) == fingerprint(model)
    assert fingerprint(fit(str(tmp_path / "rows.npy"), **settings)) == fingerprint(model)
    cluster = GaussianMixture(**settings).set_client(two_workers)
    with pytest.warns(UserWarning, match="did not converge"):
        cluster.fit(str(tmp_path / "rows.npy"))
    assert fingerprint(cluster) == fingerprint(model)


def test_rows_of_weight_zero_start_nothing():
    nobody = np.full((200, 3), 1e3) + np.arange(200)[:, np.newaxis]
    weights = np.repeat([1.0, 0.0], [len(HEAVY), len(nobody)])
    settings = {**SETTINGS, "on_collapse": "reseed", "max_iter": 3, "tol": 0}
    start = fit(HEAVY, **settings | {"max_iter": 0})
    settings |= {"weights_init": start.weights_, "means_init": start.means_,
                 "precisions_init": start.precisions_}  # fmt: skip
    settings["weights_init"] = settings["weights_init"] / settings["weights_init"].sum()
    both = fit(np.vstack([HEAVY, nobody]), weights, **settings)
    for mine, expected in zip(parameters(both), parameters(fit(HEAVY, **settings)), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-8, atol=1e-10)


def test_policies_leave_healthy_fits_alone():
    X, _ = blobs(500, 3, 2)
    hashes = {
        fingerprint(fit(X, n_components=2, random_state=0, on_collapse=name))
        for name in ON_COLLAPSE
    }
    assert len(hashes) == 1


def test_every_pass_is_told_of_with_its_rows():
    passes = []

    def watch(event):
        match event:
            case PassBegan():
                passes.append([event.name, event.n_samples, 0])
            case RowsDone():
                passes[-1][2] += event.rows

    GaussianMixture(**SETTINGS, on_collapse="reseed").set_callbacks(watch).fit(HEAVY)
    passes = [entry for entry in passes if entry[0] != "start"]
    assert "reseeding" in {name for name, _, _ in passes}
    assert all(rows == n_samples == len(HEAVY) for _, n_samples, rows in passes)
