"""A sweep finds what its candidates find alone, in as many passes as the slowest start needs."""

import os
import signal
import time
from functools import partial

import numpy as np
import pytest
from problems import blobs, fingerprint, fit
from reference import as_matrices, e_step

from fastgmm import GaussianMixture, open_dataset, select
from fastgmm.covariance import FAMILIES
from fastgmm.exceptions import DataError, InvalidParameterError
from fastgmm.initialization import first_pass
from fastgmm.progress import FitBegan, FitEnded, PassBegan, StartMade
from fastgmm.selection import CRITERIA
from fastgmm.selection.together import together

pytestmark = pytest.mark.filterwarnings("ignore:Best performing:UserWarning")

X, _ = blobs(3000, 3, 4, seed=2, spread=4.0)
WEIGHTS = np.random.default_rng(0).integers(0, 4, size=len(X)).astype(float)
SWEEP = {
    "n_components": (1, 3, 4),
    "covariance_type": ("full", "diag"),
    "n_init": 2,
    "random_state": 5,
    "max_iter": 20,
}


def alone(rows, candidate, sample_weight=None, **settings):
    """The fit that a candidate is."""
    return fit(
        rows,
        sample_weight,
        n_components=candidate.n_components,
        covariance_type=candidate.covariance_type,
        **{"n_init": 2, "random_state": 5, "max_iter": 20, **settings},
    )


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["rows", "weights"])
@pytest.mark.parametrize("init_params", ["kmeans", "random", "k-means||"])
def test_every_candidate_has_the_bits_of_its_own_fit(weights, init_params):
    sweep = {**SWEEP, "n_components": (1, 4), "covariance_type": tuple(FAMILIES)}
    found = select(X, **sweep, sample_weight=weights, init_params=init_params)
    assert len(found.table) == 2 * len(FAMILIES)
    for candidate, model in zip(found.table, found.models, strict=True):
        single = alone(X, candidate, weights, init_params=init_params)
        assert fingerprint(model) == fingerprint(single)
        assert repr(model) == repr(single)
        assert model.converged_ == single.converged_ == candidate.converged
        starts = [(line.start, line.lower_bound) for line in model.history_]
        assert starts == [(line.start, line.lower_bound) for line in single.history_]


def test_starts_from_samples_are_those_of_single_fits(monkeypatch):
    """Starts of larger models take more rows: a candidate gets as many as it has alone."""
    monkeypatch.setattr(first_pass, "WHOLE_ELEMENTS", 3000)
    monkeypatch.setattr(first_pass, "SAMPLE_ELEMENTS", 300)
    found = select(X, **SWEEP)
    for candidate, model in zip(found.table, found.models, strict=True):
        assert fingerprint(model) == fingerprint(alone(X, candidate))


def test_the_rows_are_read_as_often_as_the_slowest_start_needs():
    events = []
    found = select(X, **SWEEP, callbacks=[events.append])
    slowest = max(line.iteration for model in found.models for line in model.history_)
    assert found.passes == (1, slowest, 0, 1)
    assert found.passes.total == slowest + 2
    passes = [event.name for event in events if isinstance(event, PassBegan)]
    assert passes == ["checking", "start", *["iteration"] * slowest, "scoring"]
    assert sum(isinstance(event, StartMade) for event in events) == 12
    (began,) = (event for event in events if isinstance(event, FitBegan))
    assert began.n_models == 12
    assert isinstance(events[-1], FitEnded)
    assert events[-1].model == 2 * found.best_index
    assert events[-1].lower_bound == found.best.lower_bound_


def test_starts_that_read_all_rows_share_their_passes():
    sweep = {**SWEEP, "init_params": "k-means||", "max_iter": 2}
    events = []
    fit(X, n_components=4, n_init=1, random_state=5, init_params="k-means||", max_iter=1)
    alone = GaussianMixture(4, random_state=5, init_params="k-means||", max_iter=1)
    alone.set_callbacks(events.append).fit(X)
    passes = sum(isinstance(event, PassBegan) and event.name == "start" for event in events)
    found = select(X, **sweep, criterion="cv", n_folds=2)
    # 18 candidates' starts on three sets of rows, in about as many passes as one
    assert passes < found.passes.seeding < 2 * passes
    assert np.isfinite([candidate.cv for candidate in found.table]).all()


@pytest.mark.parametrize("init_params", ["kmeans", "random", "k-means||"])
def test_fewer_rows_that_count_than_components_are_refused(init_params):
    weights = np.arange(len(X)) < 2.0
    what = {"sample_weight": weights, "init_params": init_params, "random_state": 0}
    with pytest.raises(DataError, match="Only 2 rows have a positive weight: too few for 3"):
        select(X, 3, "full", **what)


def test_whoever_waits_for_a_pass_that_fails_is_told():
    told = []

    def ask(read):
        try:
            return read(["work"])
        except ZeroDivisionError as error:
            told.append(error)
            raise

    with pytest.raises(ZeroDivisionError):
        together([ask, lambda read: None, ask], lambda works: 1 / 0)
    assert len(told) == 2
    assert together([ask, lambda read: 7, ask], lambda works: list(works)) == [
        ["work"],
        7,
        ["work"],
    ]


def test_whoever_waits_when_ctrl_c_comes_between_two_passes_is_told():
    told = []

    def ask(read, interrupting):
        if interrupting:  # while the other waits, and so does the main thread
            os.kill(os.getpid(), signal.SIGINT)
        for _ in range(2):
            try:
                read(["work"])
            except KeyboardInterrupt:
                told.append(interrupting)

    with pytest.raises(KeyboardInterrupt):
        together([partial(ask, interrupting=which) for which in (False, True)], list)
    for _ in range(10_000):  # a thread interrupted while it was started is not waited for
        if len(told) == 4:
            break
        time.sleep(0.01)
    assert sorted(told) == [False, False, True, True]


def test_restarts_read_the_rows_as_often_as_the_slowest():
    events = []
    model = GaussianMixture(4, n_init=10, random_state=0).set_callbacks(events.append).fit(X)
    slowest = max(line.iteration for line in model.history_)
    assert {line.start for line in model.history_} == set(range(10))
    passes = [event.name for event in events if isinstance(event, PassBegan)]
    assert passes.count("iteration") == slowest
    assert passes.count("checking") == 1


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["rows", "weights"])
def test_the_table_is_the_textbooks(weights):
    found = select(X, **SWEEP, sample_weight=weights)
    w = np.ones(len(X)) if weights is None else weights
    for candidate, model in zip(found.table, found.models, strict=True):
        k, d = model.means_.shape
        matrices = as_matrices(model.covariances_, model.covariance_type, k, d)
        r, log_density = e_step(X, model.weights_, model.means_, matrices)
        likelihood, n = w @ log_density, w.sum()
        free = {"full": k * 6, "diag": k * 3}[model.covariance_type] + 3 * k + k - 1
        entropy = -(w @ np.where(r > 0, r * np.log(np.where(r > 0, r, 1)), 0).sum(axis=1))
        bic = free * np.log(n) - 2 * likelihood
        expected = (likelihood, free, 2 * free - 2 * likelihood, bic, bic + 2 * entropy)
        np.testing.assert_allclose(candidate[2:7], expected, rtol=1e-10)
        one = model.aic(X, weights), model.bic(X, weights), model.icl(X, weights)
        np.testing.assert_allclose(one, candidate[4:7], rtol=1e-12)
        assert candidate.n_iter == model.n_iter_
        assert candidate.cv is None
    assert [(c.covariance_type, c.n_components) for c in found.table] == [
        (shape, k) for shape in ("full", "diag") for k in (1, 3, 4)
    ]
    longest = max(found.table, key=lambda candidate: candidate.n_iter)
    assert 0 < longest.seconds <= found.seconds


@pytest.mark.parametrize("criterion", sorted(CRITERIA))
def test_the_best_has_the_best_value(criterion):
    found = select(X, **SWEEP, criterion=criterion, n_folds=3)
    losses = [-c.cv if criterion == "cv" else getattr(c, criterion) for c in found.table]
    assert found.best_index == int(np.argmin(losses))
    assert found.best is found.models[found.best_index]
    assert f"{found.best!r} is the best of 6 by {criterion}" in repr(found)
    # two of the four clouds overlap: labels are surest for three
    assert found.best.n_components == (3 if criterion == "icl" else 4)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("select")
    np.save(folder / "rows.npy", X)
    return open_dataset(folder / "rows.npy")


def test_the_same_bits_on_threads_files_and_clusters(files, two_workers):
    import dask.array

    small = {**SWEEP, "max_iter": 5, "criterion": "cv", "n_folds": 2, "n_init": 1}
    small["n_components"] = (3, 4)
    grid = {"chunk_size": 750}
    array = dask.array.from_array(X, chunks=(750, 3))
    found = {
        "one thread": select(X, **small, **grid, n_threads=1),
        "threads": select(X, **small, **grid, n_threads=3),
        "file": select(files, **small, **grid),
        "file on workers": select(files, **small, **grid, client=two_workers),
        "collection": select(array, **small, client=two_workers),
    }
    facts = {
        name: [
            [fingerprint(model) for model in one.models],
            [candidate._replace(seconds=0.0) for candidate in one.table],
            one.passes,
        ]
        for name, one in found.items()
    }
    expected = facts.pop("one thread")
    assert all(fact == expected for fact in facts.values()), facts


def test_models_that_do_not_fit_into_memory_wait():
    sweep = {**SWEEP, "tol": 0.0, "max_iter": 3, "n_threads": 1, "chunk_size": 128}
    free = select(X, **sweep)
    assert free.passes.em == 3
    # what a thread works in, and three of the larger models' statistics: 12 models board in waves
    tight = select(X, **sweep, memory_limit=2**23 + 6000)
    assert 6 <= tight.passes.em < 36
    for one, other in zip(free.models, tight.models, strict=True):
        assert fingerprint(one) == fingerprint(other)
    restarts = {"n_components": 4, "n_init": 3, "random_state": 0, "chunk_size": 128}
    one, other = (fit(X, **restarts, memory_limit=limit) for limit in (None, 2**25))
    assert fingerprint(one) == fingerprint(other)
    with pytest.raises(InvalidParameterError, match=r"memory_limit=100 is too little.* \d+ bytes"):
        select(X, **SWEEP, memory_limit=100)


def test_degenerate_candidates_are_flagged_and_chosen_only_on_request():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 2))
    rows[:40] = 3.0  # a component that sits on these has an endless likelihood
    sweep = {"n_components": (1, 2), "covariance_type": "full", "random_state": 0}
    found = select(rows, **sweep)
    assert [candidate.degenerate for candidate in found.table] == [False, True]
    assert found.table[1].bic < found.table[0].bic
    assert found.best.n_components == 1
    assert select(rows, **sweep, allow_degenerate=True).best.n_components == 2
    with pytest.warns(UserWarning, match="all candidates are degenerate"):
        assert select(rows, **{**sweep, "n_components": 2}).best.n_components == 2


def test_seeds_that_are_no_integer_draw_one():
    found = select(X, 2, "full", n_init=1, random_state=np.random.RandomState(3))
    seed = found.best.random_state
    assert seed == np.random.RandomState(3).randint(2**31 - 1)
    single = fit(X, n_components=2, n_init=1, random_state=seed)
    assert fingerprint(found.best) == fingerprint(single)


def test_an_init_function_is_asked_for_every_start():
    def init(rows, n_components, random_state):
        return random_state.randint(n_components, size=len(rows))

    found = select(X, (2, 3), "diag", n_init=2, random_state=0, init_params=init, max_iter=5)
    for candidate, model in zip(found.table, found.models, strict=True):
        single = alone(X, candidate, random_state=0, init_params=init, max_iter=5)
        assert fingerprint(model) == fingerprint(single)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"criterion": "best"}, InvalidParameterError, "'criterion' parameter of select must be"),
        ({"n_folds": 1}, InvalidParameterError, "'n_folds' parameter of select"),
        ({"n_init": 0}, InvalidParameterError, "'n_init' parameter of select"),
        ({"n_components": ()}, InvalidParameterError, "'n_components' .*is empty"),
        ({"n_components": (2, 0)}, InvalidParameterError, "'n_components' parameter of select"),
        ({"n_components": (2, 2)}, InvalidParameterError, "names one value twice"),
        ({"covariance_type": "round"}, InvalidParameterError, "'covariance_type' parameter"),
        ({"allow_degenerate": 1}, InvalidParameterError, "'allow_degenerate' parameter"),
        ({"memory_limit": 0}, InvalidParameterError, "'memory_limit' parameter of select"),
        ({"init_params": np.zeros(len(X), int)}, InvalidParameterError, "'init_params' parameter"),
        ({"random_state": "x"}, InvalidParameterError, "'random_state' parameter of select"),
        ({"means_init": X[:2]}, TypeError, "unexpected keyword argument 'means_init'"),
        ({"client": "foo"}, TypeError, r"distributed.Client or None, but 'foo' is neither"),
        ({"callbacks": [print, 3]}, TypeError, "take an event, but 3 is none"),
        ({"callbacks": print}, TypeError, r"a sequence: write callbacks=\[f\]"),
        ({"callbacks": [list]}, TypeError, "<class 'list'> is none"),
        ({"n_components": 3001}, ValueError, "n_components = 3001, n_samples = 3000"),
    ],
)
def test_what_cannot_be_is_refused(settings, error, message):
    with pytest.raises(error, match=message):
        select(X, **{"n_components": 2, "covariance_type": "full", **settings})
