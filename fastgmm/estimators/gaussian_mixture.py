"""GaussianMixture: scikit-learn's estimator, on data of any size."""

from contextlib import closing
from os import PathLike
from typing import Any, Self

from fastgmm import sinks
from fastgmm._typing import LabelArray
from fastgmm.estimators.callbacks import Occasion
from fastgmm.estimators.fitting import Fitting
from fastgmm.exceptions import DataError


class GaussianMixture(Fitting):
    """Gaussian mixture fitted by expectation-maximisation, in memory, out of core or on a cluster.

    The parameters up to ``verbose_interval`` are scikit-learn's, with its names, order and
    defaults; the others are ours and keyword-only. All of them are plain values.

    Parameters
    ----------
    n_components : int
        Number of components k.
    covariance_type : {"full", "tied", "diag", "spherical", "tied_diag", "tied_spherical"}
        Shape of the covariance matrices; all components share those that are tied.
    tol : float or "statistical"
        Stop when the mean log likelihood per row (nats) gains less than this in an iteration.
        ``"statistical"``: when less than 0.01 nats of *total* log likelihood are left to gain
        (projected by Aitken's rule from gains that show above rounding), which leaves every
        parameter well within its standard error at any number of rows. On a plateau, where gains
        foretell less than is to come, more may be left.
    reg_covar : float
        Added to the diagonal of every covariance matrix.
    max_iter : int
        Most EM iterations; 0 gives the start.
    n_init : int
        Number of starts; they share the passes over the data, and the best is kept.
    init_params : {"kmeans", "k-means++", "random", "random_from_data", "k-means||"}, array, tuple,
            callable
        How starts are made. Up to 2^23 elements (n d) from all rows with scikit-learn's draws;
        above from a sample of rows drawn by a hash of their index. "k-means||" takes all rows
        however many there are, in about 18 passes shared by all starts. An array starts from labels
        (n,), -1 for rows that begin in no component, or from responsibilities (n, k); a tuple from
        parameters (weights, means, covariances). A callable is called as
        ``init_params(rows, n_components, random_state)``, with those rows whose weight is not zero,
        and returns one of these for them. Above 2^23 elements nobody knows beforehand which rows
        these are: then a tuple or a callable, no array.
    weights_init, means_init, precisions_init : array-like, optional
        Start parameters, (k,), (k, d) and the shape of ``precisions_``; they replace those of the
        start by ``init_params``.
    random_state : int, RandomState or None
        Seed of starts and of :meth:`sample`.
    warm_start : bool
        Go on from the parameters of the last fit.
    verbose : int
        0 silent, 1 a line every ``verbose_interval`` iterations, 2 with seconds and gains.
    verbose_interval : int
        Iterations between two lines.
    n_threads : int, optional
        Threads in this process; by default the processors it may use.
    chunk_size : int, optional
        Rows a block. The same data with the same block size give the same bits anywhere.
    persist : {"auto", True, False}
        On a cluster: whether a Dask collection is kept in the workers' memory between passes.
        "auto" keeps what fits in half of it.
    memory_limit : int, optional
        Most bytes that a pass over the rows takes for statistics and buffers, over all threads; by
        default half of the memory there is. Starts that do not fit wait until others have finished,
        which changes the number of passes and nothing else. (Making the starts takes memory of its
        own: up to 2^23 numbers and what k-means keeps beside them.)
    missing : {"raise", "drop"}
        Whether rows with NaN or masked values are an error, or left out of ``fit`` and labelled -1
        (NaN) by predictions.
    regularization : {"absolute", "relative"}
        "absolute": ``reg_covar`` is a variance, the same in every column. "relative": it is a share
        of each column's variance, so that a fit does not depend on the columns' units (1e-6 then
        bounds standard deviations at a thousandth of the column's); a constant column counts as of
        variance 1, and a wild outlier widens its columns' ridge with their variance. A positive
        ``reg_covar`` that is lost in the rounding of a covariance is raised there, with a warning.
    on_collapse : {"keep", "raise", "reseed"}
        What is done about a component that has collapsed: one that holds at most m + 1/2 rows (m is
        n_features for "full", 1 for "diag" and "spherical", 0 for tied shapes; a row counts by the
        mean weight), or whose variance in every column is at most twice what ``reg_covar`` adds.
        "keep" goes on, "raise" raises CollapseError, "reseed" starts the component anew on the rows
        of the lowest log density, at most 5 times; the lower bound may fall at such an iteration.
    fixed : tuple of {"weights", "means", "covariances"}
        Parameters that stay as the fit starts with them; the others are the best that go with
        these. Values are needed: by ``weights_init``, ``means_init``, ``precisions_init``, an
        ``init_params`` that is no name, or ``warm_start``. Covariances are about the means that are
        kept; ``reg_covar`` is not added to covariances that are. AIC and BIC do not count them.
    checkpoint : path or None
        Keep the fit in this file, every ``checkpoint_interval`` seconds (also in the midst of a
        pass), when it ends, and when it is interrupted. The file is complete or absent, whatever
        happens; each fit has its own. One of an earlier fit that is not resumed is kept under
        its name with ``.earlier`` added.
    checkpoint_interval : float
        Seconds; large models are written less often, so that it takes at most a twentieth of the
        time. A full disk is a warning, and the fit goes on.
    resume : bool
        Go on where the file ``checkpoint`` leaves off, to the same bits as a fit that was never
        interrupted, on any number of threads or workers; begin anew where there is no such file. A
        file of other rows, settings or another version of fastgmm is refused, and so is one whose
        fit went on from other parameters than this ``warm_start``. A greater ``max_iter`` is
        allowed: so a fit that stopped there goes on; fewer iterations than were made are not. (A
        function given as ``init_params`` is told by its code, which is another one in another minor
        version of Python.)

    Attributes
    ----------
    weights_ : (k,) array
    means_ : (k, d) array
    covariances_ : array
        full (k, d, d), tied (d, d), diag (k, d), spherical (k,), tied_diag (d,), tied_spherical
        (1,).
    precisions_, precisions_cholesky_ : array
        Inverses of the covariances and their Cholesky factors, in the same shapes; matrices U are
        upper triangular with U U^T = precision.
    converged_ : bool
    n_iter_ : int
    lower_bound_ : float
        Mean log likelihood per row (nats) in the last E-step, before the last M-step.
    lower_bounds_ : list of float
        The same after each iteration of the best start.
    history_ : list of Iteration
        Every iteration of every start: start, iteration, lower_bound, gain (nats per row), seconds
        (of the pass, which starts share), rows.
    collapsed_ : (m,) array of int
        Components that had collapsed (see ``on_collapse``) in the last iteration and were kept.
    n_features_in_ : int
    feature_names_in_ : (d,) array of str
        Only where the data have column names.

    Raises
    ------
    fastgmm.exceptions.InvalidParameterError
        (a ValueError) A parameter has a value that it cannot have.
    fastgmm.exceptions.DataError
        (a ValueError) The rows cannot be used; the message names row and column.
    fastgmm.exceptions.IllDefinedCovarianceError
        (a ValueError) A covariance is not positive definite and ``reg_covar`` is 0.
    fastgmm.exceptions.CollapseError
        (a ValueError) A component has collapsed and ``on_collapse`` is "raise".
    fastgmm.exceptions.CheckpointError
        (a ValueError) The checkpoint to resume is damaged, foreign, or of other rows, settings or
        another version; the message says which differs.

    Notes
    -----
    EM and the update formulas: Bishop, Pattern Recognition and Machine Learning (2006), 9.2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import GaussianMixture
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> gm = GaussianMixture(n_components=2, random_state=0).fit(X)
    >>> gm.means_.round(6)
    array([[10.,  2.],
           [ 1.,  2.]])
    >>> gm.predict([[0, 0], [12, 3]])
    array([1, 0])
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float | str = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: Any = "kmeans",
        weights_init: Any = None,
        means_init: Any = None,
        precisions_init: Any = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        n_threads: int | None = None,
        chunk_size: int | None = None,
        persist: bool | str = "auto",
        memory_limit: int | None = None,
        missing: str = "raise",
        regularization: str = "absolute",
        on_collapse: str = "keep",
        fixed: Any = (),
        checkpoint: str | PathLike[str] | None = None,
        checkpoint_interval: float = 60.0,
        resume: bool = False,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.n_threads = n_threads
        self.chunk_size = chunk_size
        self.persist = persist
        self.memory_limit = memory_limit
        self.missing = missing
        self.regularization = regularization
        self.on_collapse = on_collapse
        self.fixed = fixed
        self.checkpoint = checkpoint
        self.checkpoint_interval = checkpoint_interval
        self.resume = resume

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Estimate the parameters.

        Parameters
        ----------
        X : (n, d) array, memory map, data frame, path, list of paths, data set or Dask collection
            The rows; what a masked array masks is missing. A data set is what
            :func:`fastgmm.open_dataset` returns.
        y : ignored
            But handed to scikit-learn's callbacks.
        sample_weight : (n,) array, optional
            Frequencies of the rows: integer weights equal repeated rows. For files, name a column
            in ``open_dataset``. ``tol="statistical"``, AIC, BIC and ICL take their sum as the
            number of observations, with a warning where it is below the number of rows.

        Returns
        -------
        self
        """
        with closing(self._place(X, sample_weight)) as placement:
            best = self._fit(placement, Occasion(X, y, sample_weight))
        self._warn_of(best)
        return self

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> LabelArray:
        """Fit and return the labels (n,) of the rows: one more pass, equal to ``predict``."""
        with closing(self._place(X, sample_weight)) as placement:
            if getattr(placement.source, "n_dropped", 0):
                raise DataError(
                    "fit_predict cannot label rows with missing values: fit with missing='drop', "
                    "then call predict, which gives them the label -1"
                )
            best = self._fit(placement, Occasion(X, y, sample_weight))
            labels: LabelArray = sinks.to_array(
                self._predictions("label", placement), placement.grid.n_samples
            )
        self._warn_of(best)
        return labels
