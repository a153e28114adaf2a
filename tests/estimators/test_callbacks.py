"""Who is told of a fit: plain callables, scikit-learn's callbacks, history_ and the trace."""

import warnings

import numpy as np
import pytest
from problems import blobs
from reference import em
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastgmm import GaussianMixture
from fastgmm.exceptions import ConvergenceWarning
from fastgmm.progress import FitEnded, IterationDone, ParameterTrace

X, _ = blobs(2000, 3, 3, spread=6.0)
SETTINGS = {"n_components": 3, "init_params": "random_from_data", "random_state": 0, "n_init": 2}


class Recorder:
    """A callback by scikit-learn's protocol that keeps what it was told, in order."""

    def __init__(self, stop=lambda context: False):
        self.told = []
        self.scores = []
        self.stop = stop

    def setup(self, estimator, context):
        self.told.append(("setup", context.task_name))

    def teardown(self, estimator, context):
        self.told.append(("teardown", context.task_name))

    def on_fit_task_begin(self, estimator, context):
        self.told.append(("begin", *path(context)))

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        self.told.append(("end", *path(context)))
        self.scores.append((path(context), fitted_estimator.score(X)))
        return self.stop(context)


def fit(rows, callbacks=(), **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianMixture(**settings).set_callbacks(*callbacks).fit(rows)


def path(context):
    names = []
    while context is not None:
        names.insert(0, (context.task_name, context.task_id))
        context = context.parent
    return tuple(names)


@pytest.fixture
def theirs():
    return pytest.importorskip("sklearn.callback")


def test_history_has_every_iteration_of_every_start():
    told = []
    model = GaussianMixture(**SETTINGS, max_iter=1000).set_callbacks(told.append).fit(X)
    events = [event for event in told if isinstance(event, IterationDone)]
    (end,) = [event for event in told if isinstance(event, FitEnded)]
    assert len(model.history_) == len(events)
    assert {line.start for line in model.history_} == {0, 1}
    best = [line for line in model.history_ if line.start == end.model]
    assert [line.iteration for line in best] == list(range(1, model.n_iter_ + 1))
    assert [line.lower_bound for line in best] == model.lower_bounds_
    np.testing.assert_allclose([line.gain for line in best[1:]], np.diff(model.lower_bounds_))
    assert {line.rows for line in best} == {len(X)}
    assert all(line.seconds > 0 for line in best)


def test_em_by_hand_step_by_step():
    """Two widths and centres of 100 draws: every iteration equals a textbook's to 1e-10."""
    draws = np.random.RandomState(0)
    rows = np.concatenate([draws.normal(0, 1, 50), draws.normal(2, 1, 50)])[:, np.newaxis]
    weights, means, variances = np.full(2, 0.5), np.array([[0.0], [1.0]]), np.full(2, 4.0)
    trace = ParameterTrace()
    fit(
        rows, [trace], n_components=2, covariance_type="spherical", tol=0, reg_covar=0,
        weights_init=weights, means_init=means, precisions_init=1 / variances,
    )  # fmt: skip
    steps = trace.models[0]
    assert len(steps) == 100
    for step in steps:
        weights, means, variances, _ = em(
            rows, weights, means, variances, "spherical", 1, reg_covar=0
        )
        for mine, textbook in zip(step, (weights, means, variances), strict=True):
            np.testing.assert_allclose(mine, textbook, rtol=0, atol=1e-10)
    np.testing.assert_allclose(means.ravel(), [0.1657, 1.9675], atol=5e-5)
    np.testing.assert_allclose(np.sqrt(variances), [1.1524, 0.8678], atol=5e-5)
    np.testing.assert_allclose(weights, [0.504, 0.496], atol=5e-4)


def test_a_callable_that_says_so_stops_a_start_and_other_answers_do_not():
    def stop(event):
        return isinstance(event, IterationDone) and event.iteration >= 2

    stopped = fit(X, **SETTINGS, tol=0)
    assert stopped.n_iter_ > 2
    model = fit(X, [stop, lambda event: "stop"], **SETTINGS, tol=0)
    assert model.n_iter_ == 2
    assert len(model.history_) == 4


def test_only_callbacks_are_taken_and_taken_off():
    model = GaussianMixture()
    for wrong in (3, Recorder, "print"):
        with pytest.raises(TypeError, match="FitCallback protocol or callables"):
            model.set_callbacks(wrong)
    told = []
    model.set_callbacks(told.append).set_callbacks().fit(X)
    assert told == []


def test_tasks_are_the_fit_its_starts_and_their_iterations(theirs):
    recorder = Recorder()
    model = GaussianMixture(**SETTINGS, max_iter=1000).set_callbacks(recorder).fit(X)
    told = recorder.told
    root = ("fit", 0)
    assert told[0] == ("setup", "fit")
    assert told[1] == ("begin", root)
    assert told[-2:] == [("end", root), ("teardown", "fit")]
    begun = {what[1:] for what in told if what[0] == "begin"}
    ended = {what[1:] for what in told if what[0] == "end"}
    assert begun == ended
    for start in (0, 1):
        count = sum(line.start == start for line in model.history_)
        own = {(root, ("start", start), ("iteration", i)) for i in range(count)}
        assert own <= begun
    assert len(begun) == 1 + 2 + len(model.history_)
    scores = dict(recorder.scores)
    bounds = [line.lower_bound for line in model.history_ if line.start == 0]
    # the bound of an iteration is the score of the one before
    for i, bound in enumerate(bounds[1:]):
        assert scores[root, ("start", 0), ("iteration", i)] == pytest.approx(bound, rel=1e-12)
    assert scores[(root,)] == model.score(X)


def test_their_callbacks_stop_starts_and_fits(theirs):
    def second_iteration(context):
        return context.task_name == "iteration" and context.task_id == 1

    recorder = Recorder(second_iteration)
    model = fit(X, [recorder], **SETTINGS, tol=0)
    assert [line.iteration for line in model.history_] == [1, 1, 2, 2]

    recorder = Recorder(lambda context: context.task_name == "start")
    for callbacks, apart in (((), True), ((recorder,), False)):
        model = fit(X, callbacks, **SETTINGS)
        counts = np.bincount([line.start for line in model.history_])
        assert (abs(counts[0] - counts[1]) > 1) == apart


def test_callbacks_are_torn_down_when_a_fit_fails(theirs):
    recorder = Recorder()
    with pytest.raises(ValueError, match="n_samples >= n_components"):
        GaussianMixture(12).set_callbacks(recorder).fit(X[:10])
    assert recorder.told[-1] == ("teardown", "fit")


def test_their_scoring_monitor_and_progress_bar(theirs, capsys):
    pytest.importorskip("rich")
    monitor = theirs.ScoringMonitor(scoring={"score": lambda model, rows, y: model.score(rows)})
    model = GaussianMixture(**SETTINGS, max_iter=1000)
    model.set_callbacks(monitor, theirs.ProgressBar()).fit(X, y=np.zeros(len(X)))
    data = monitor.get_logs().data
    scores = [row["score"] for row in data if row["task_id_path"][:-1] == (0, 0)]
    bounds = [line.lower_bound for line in model.history_ if line.start == 0]
    np.testing.assert_allclose(scores[:-1], bounds[1:], rtol=1e-12)
    assert "GaussianMixture - fit" in capsys.readouterr().out
    assert len(clone(model)._skl_callbacks) == 2


def test_their_searches_and_pipelines_hand_callbacks_down(theirs):
    class Propagated(Recorder):
        max_propagation_depth = None

        def on_fit_task_end(self, estimator, context):
            self.told.append(("end", *path(context)))

    recorder = Propagated()
    search = GridSearchCV(GaussianMixture(random_state=0), {"n_components": [1, 2]}, cv=2)
    search.set_callbacks(recorder).fit(X)
    depths = [len(what) for what in recorder.told if what[0] == "end"]
    assert max(depths) >= 5  # search, candidate and split, fit, start, iteration
    assert not hasattr(search.best_estimator_, "_skl_callbacks")
    own = Recorder()
    pipeline = make_pipeline(StandardScaler(), GaussianMixture(2).set_callbacks(own))
    pipeline.fit(X)
    assert ("teardown", "fit") in own.told
