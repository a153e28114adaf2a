"""Other libraries' mixtures behind one face, each in a process and an environment of its own.

``scripts/bench-peers`` starts ``python peers.py NAME``, writes requests to it as lines of JSON and
reads answers: seconds, iterations, memory, and where the parameters were saved.
"""

import json
import os
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

FAMILIES = ("full", "tied", "diag", "spherical")

TORCH = "torch==2.13.0"
"""One version, so that tables are about the same library; where pip is offered a build of it for
processors alone (PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS), it spares gigabytes for graphics cards."""


class ScikitLearn:
    """scikit-learn's GaussianMixture; fastgmm has the same face."""

    requirements: tuple[str, ...] = ("scikit-learn",)
    """What pip is asked for; nothing: what the script itself runs in."""
    families = FAMILIES
    dtypes = ("float64", "float32")
    whole_fits = True
    reads_memory_maps = False
    """Its temporaries are twelve times the size of the data."""

    @property
    def mixture(self):
        """The class."""
        from sklearn.mixture import GaussianMixture

        return GaussianMixture

    def fit(self, rows, start, family, n_iter, tol=0.0):
        """Return (weights, means, covariances, iterations)."""
        means, variance = start
        k, d = means.shape
        precisions = {
            "full": np.tile(np.eye(d), (k, 1, 1)),
            "tied": np.eye(d),
            "diag": np.ones((k, d)),
            "spherical": np.ones(k),
        }[family]
        model = self.mixture(
            k,
            covariance_type=family,
            tol=tol,
            max_iter=n_iter,
            weights_init=np.full(k, 1 / k, rows.dtype),
            means_init=means.astype(rows.dtype),
            precisions_init=(precisions / variance).astype(rows.dtype),
        ).fit(rows)
        return model.weights_, model.means_, model.covariances_, model.n_iter_

    def default_fit(self, rows, k):
        """Return parameters, iterations and, where it is known, the seconds of the start."""
        model = self.mixture(k, random_state=0).fit(rows)
        return (model.weights_, model.means_, model.covariances_, model.n_iter_), None


class Fastgmm(ScikitLearn):
    """This package."""

    requirements = ()
    reads_memory_maps = True

    @property
    def mixture(self):
        """The class."""
        from fastgmm import GaussianMixture

        return GaussianMixture

    def default_fit(self, rows, k):
        """Return the same as scikit-learn's and what comes before the first iteration."""
        from fastgmm.progress import PassBegan

        first = []

        def watch(event):
            if isinstance(event, PassBegan) and event.name == "iteration" and not first:
                first.append(time.perf_counter())

        model = self.mixture(k, random_state=0).set_callbacks(watch)
        began = time.perf_counter()
        model.fit(rows)
        found = model.weights_, model.means_, model.covariances_, model.n_iter_
        return found, first[0] - began


class OneDal:
    """oneDAL's em_gmm through daal4py; scikit-learn-intelex patches no mixture."""

    # alone: with daal4py beside it pip goes back to a pair of 2024
    requirements = ("scikit-learn-intelex",)
    families = ("full", "diag")
    dtypes = ("float64", "float32")
    whole_fits = False
    reads_memory_maps = True

    def fit(self, rows, start, family, n_iter, tol=0.0):
        """Return (weights, means, covariances, iterations)."""
        import daal4py

        means, variance = start
        k, d = means.shape
        unit = np.eye(d) if family == "full" else np.ones((1, d))
        mixture = daal4py.em_gmm(
            nComponents=k,
            fptype="double" if rows.dtype == np.float64 else "float",
            maxIterations=n_iter,
            # of the total log likelihood
            accuracyThreshold=tol * len(rows),
            covarianceStorage="full" if family == "full" else "diagonal",
        )
        result = mixture.compute(
            np.asarray(rows),
            np.full((1, k), 1 / k, rows.dtype),
            means.astype(rows.dtype),
            [(unit * variance).astype(rows.dtype) for _ in range(k)],
        )
        covariances = np.array(result.covariances)
        if family == "diag":
            covariances = covariances[:, 0]
        return result.weights[0], result.means, covariances, int(result.nIterations[0, 0])


class OpenCV:
    """OpenCV's EM: one thread, row by row; versions from 5 on have none."""

    requirements = ("opencv-python-headless<5",)
    families = ("full", "diag")
    dtypes = ("float64",)
    whole_fits = False
    reads_memory_maps = False

    def fit(self, rows, start, family, n_iter, tol=0.0):
        """Return (weights, means, covariances, iterations)."""
        import cv2

        means, variance = start
        k, d = means.shape
        mixture = cv2.ml.EM.create()
        mixture.setClustersNumber(k)
        full = family == "full"
        mixture.setCovarianceMatrixType(
            cv2.ml.EM_COV_MAT_GENERIC if full else cv2.ml.EM_COV_MAT_DIAGONAL
        )
        mixture.setTermCriteria((cv2.TERM_CRITERIA_COUNT, n_iter, 0.0))
        unit = np.tile(np.eye(d) * variance, (k, 1, 1))
        mixture.trainE(rows, means, cv2.Mat(unit, wrap_channels=False), np.full((1, k), 1 / k))
        covariances = np.array(mixture.getCovs())
        if not full:
            covariances = np.diagonal(covariances, axis1=1, axis2=2)
        return mixture.getWeights()[0], mixture.getMeans(), covariances, n_iter


class Gmmx:
    """gmmx on JAX: float32 only, everything n x k x d at once."""

    requirements = ("gmmx",)
    families = ("full", "diag")
    dtypes = ("float32",)
    whole_fits = False
    reads_memory_maps = False

    def fit(self, rows, start, family, n_iter, tol=0.0):
        """Return (weights, means, covariances, iterations)."""
        from gmmx import EMFitter, GaussianMixtureModelJax

        means, variance = start
        k, d = means.shape
        shape = np.tile(np.eye(d), (k, 1, 1)) if family == "full" else np.ones((k, d))
        model = GaussianMixtureModelJax.from_squeezed(
            means=means.astype(np.float32),
            covariances=(shape * variance).astype(np.float32),
            weights=np.full(k, 1 / k, np.float32),
            covariance_type=family,
        )
        result = EMFitter(tol=tol, max_iter=n_iter).fit(rows, model)
        found = result.gmm
        return (
            np.asarray(found.weights_numpy),
            np.asarray(found.means_numpy),
            np.asarray(found.covariances.values_numpy),
            int(result.n_iter),
        )


class Pomegranate:
    """pomegranate on PyTorch; it adds nothing to the covariances."""

    requirements = (TORCH, "pomegranate")
    families = ("full", "diag")
    dtypes = ("float32",)
    whole_fits = False
    reads_memory_maps = False

    def fit(self, rows, start, family, n_iter, tol=0.0):
        """Return (weights, means, covariances, iterations)."""
        import torch
        from pomegranate.distributions import Normal
        from pomegranate.gmm import GeneralMixtureModel

        means, variance = start
        k, d = means.shape
        unit = np.eye(d) if family == "full" else np.ones(d)
        parts = [
            Normal(
                torch.tensor(mean, dtype=torch.float32),
                torch.tensor(unit * variance, dtype=torch.float32),
                covariance_type=family,
            )
            for mean in means
        ]
        model = GeneralMixtureModel(
            parts, priors=torch.full((k,), 1 / k), max_iter=n_iter, tol=tol * len(rows)
        )
        model.fit(torch.from_numpy(rows))
        return (
            model.priors.numpy(),
            np.array([part.means.numpy() for part in model.distributions]),
            np.array([part.covs.numpy() for part in model.distributions]),
            n_iter,
        )


class TorchGmm:
    """torchgmm on PyTorch Lightning; its fit runs two passes an iteration, after its own start."""

    requirements = (TORCH, "torchgmm")
    families = ("full", "tied", "diag", "spherical")
    dtypes = ("float32",)
    whole_fits = False
    reads_memory_maps = False

    def fit(self, rows, start, family, n_iter, tol=0.0):
        """Return (weights, means, covariances, iterations)."""
        import logging

        import torch
        from torchgmm.bayes import GaussianMixture

        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        means, _ = start
        model = GaussianMixture(
            len(means),
            covariance_type=family,
            init_means=torch.tensor(means, dtype=torch.float32),
            convergence_tolerance=tol,
            trainer_params={
                "max_epochs": n_iter,
                "accelerator": "cpu",
                "logger": False,
                "enable_checkpointing": False,
                "enable_progress_bar": False,
            },
        )
        model.fit(torch.from_numpy(rows))
        found = model.model_
        return (
            found.component_probs.numpy(),
            found.means.numpy(),
            found.covariances.numpy(),
            int(model.num_iter_),
        )


PEERS = {
    "fastgmm": Fastgmm(),
    "scikit-learn": ScikitLearn(),
    "oneDAL": OneDal(),
    "OpenCV": OpenCV(),
    "gmmx": Gmmx(),
    "pomegranate": Pomegranate(),
    "torchgmm": TorchGmm(),
}


def status(field):
    """Return a field of this process's memory in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise KeyError(field)


class Anonymous:
    """The most anonymous memory above what there was, sampled every 5 ms."""

    def __enter__(self):
        self.before = self.peak = status("RssAnon")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def _sample(self):
        while not self._done.wait(0.005):
            self.peak = max(self.peak, status("RssAnon"))

    def __exit__(self, *error):
        self._done.set()
        self._thread.join()
        self.more = self.peak - self.before


class Worker:
    """Answers requests with one peer on one data set."""

    def __init__(self, peer):
        self.peer = peer

    def load(self, rows, start, family, memory_map=False):
        """Load the data, after a small fit: what a library is costs no memory of the data's."""
        found = np.load(start)
        self.start = found["means"], float(found["variance"])
        self.family = family
        mapped = np.load(rows, mmap_mode="r")
        few = np.ascontiguousarray(mapped[: max(20 * len(self.start[0]), 1000)])
        self.peer.fit(few, self.start, family, 1)
        self.base = status("VmRSS")
        self.rows = mapped if memory_map else np.load(rows)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
        return {}

    def fit(self, n_iter, tol=0.0, save=None):
        """Fit from the given start."""
        began = time.perf_counter()
        *parameters, done = self.peer.fit(self.rows, self.start, self.family, n_iter, tol)
        answer = {"seconds": time.perf_counter() - began, "iterations": done}
        answer["memory"] = (status("VmHWM") - self.base) * 2**20 / self.rows.nbytes
        return answer | saved(save, parameters)

    def stream(self, n_iter):
        """Fit, and tell the anonymous memory more than before."""
        with Anonymous() as memory:
            answer = self.fit(n_iter)
        return answer | {"anonymous": memory.more}

    def default_fit(self, rows, k, save=None):
        """Fit at default settings, after one that compiles; the start is k-means."""
        rows = np.load(rows)
        self.peer.default_fit(rows[: max(20 * k, 1000)], k)
        began = time.perf_counter()
        (*parameters, done), start = self.peer.default_fit(rows, k)
        answer = {"seconds": time.perf_counter() - began, "iterations": done, "start": start}
        return answer | saved(save, parameters)


def saved(path, parameters):
    """Write parameters where they are wanted."""
    if path is not None:
        names = ("weights", "means", "covariances")
        np.savez(path, **dict(zip(names, map(np.asarray, parameters), strict=True)))
    return {}


def main():
    """Answer until there are no more requests."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    warnings.simplefilter("ignore")
    worker = Worker(PEERS[sys.argv[1]])
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("what"))(**request)
        except Exception as error:
            traceback.print_exc()
            answer = {"failure": f"{type(error).__name__}: {error}".split("\n")[0][:90]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
