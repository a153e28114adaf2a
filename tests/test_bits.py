"""One hash whatever computes it: threads, sources, clusters, company."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from problems import blobs, constants_of, fingerprint, fit

from fastgmm import em, open_dataset
from fastgmm.executors import ThreadExecutor
from fastgmm.sources import ArraySource

SIZES = {8: (20_000, 5), 128: (3_000, 4)}
"""d -> (rows, components)."""


@pytest.fixture(scope="module", params=sorted(SIZES))
def problem(request, tmp_path_factory):
    import pyarrow
    import pyarrow.parquet

    d = request.param
    n, k = SIZES[d]
    X, _ = blobs(n, d, k, seed=d)
    folder = tmp_path_factory.mktemp(f"d{d}")
    np.save(folder / "rows.npy", X)
    table = pyarrow.table({f"x{i}": X[:, i] for i in range(d)})
    for rows in (777, 5000):
        pyarrow.parquet.write_table(table, folder / f"groups-{rows}.parquet", row_group_size=rows)
    settings = {"n_components": k, "max_iter": 4, "random_state": 0, "tol": 0}
    return X, folder, settings, fingerprint(fit(X, n_threads=1, **settings))


def test_company(problem):
    X, _, settings, expected = problem
    start = fit(X, **settings | {"max_iter": 0})
    others = [
        em.Start(name, fit(X, n_components=k, covariance_type=name, max_iter=1)._exact)
        for name, k in (("diag", 7), ("tied", 3))
    ]
    placement = ThreadExecutor(2).place(ArraySource(X))
    limits = em.Settings(tol=0, max_iter=settings["max_iter"], ridge=np.full(X.shape[1], 1e-6))
    constants = constants_of(X)
    starts = [others[0], em.Start("full", start._exact), others[1]]
    fits = em.run(placement, starts, limits, constants, lambda event: None)
    placement.close()
    start.weights_, start.means_, start.covariances_ = fits[1].parameters
    start.lower_bounds_ = fits[1].lower_bounds
    assert fingerprint(start) == expected


@pytest.mark.parametrize("n_threads", [2, 5])
def test_threads(problem, n_threads):
    X, _, settings, expected = problem
    assert fingerprint(fit(X, n_threads=n_threads, **settings)) == expected


def sources(X, folder):
    yield "Fortran order", np.asfortranarray(X)
    yield "memmap", np.load(folder / "rows.npy", mmap_mode="r")
    yield "npy", str(folder / "rows.npy")
    yield "Parquet, small row groups", str(folder / "groups-777.parquet")
    yield "Parquet, large row groups", str(folder / "groups-5000.parquet")


def test_sources(problem):
    X, folder, settings, expected = problem
    hashes = {
        name: fingerprint(fit(rows, n_threads=2, **settings)) for name, rows in sources(X, folder)
    }
    assert set(hashes.values()) == {expected}, hashes


def test_files_on_clusters(problem, one_worker, two_workers):
    _, folder, settings, expected = problem
    hashes = {}
    for client in (one_worker, two_workers):
        for name in ("rows.npy", "groups-777.parquet", "groups-5000.parquet"):
            from fastgmm import GaussianMixture

            model = GaussianMixture(**settings).set_client(client)
            with pytest.warns(UserWarning, match="did not converge"):
                model.fit(open_dataset(folder / name))
            hashes[len(client.scheduler_info()["workers"]), name] = fingerprint(model)
    assert set(hashes.values()) == {expected}, hashes


def test_dask_arrays(problem, one_worker, two_workers):
    import dask.array

    from fastgmm import GaussianMixture

    X, _, settings, _ = problem
    n = len(X)
    array = dask.array.from_array(X, chunks=((n // 3, n // 2, n - n // 3 - n // 2), X.shape[1]))
    hashes = {}
    for n_threads in (1, 2, 5):
        model = fit(array, n_threads=n_threads, **settings)
        hashes["threads", n_threads] = fingerprint(model)
    for client in (one_worker, two_workers):
        for persist in (True, False):
            model = GaussianMixture(persist=persist, **settings).set_client(client)
            with pytest.warns(UserWarning, match="did not converge"):
                model.fit(array)
            hashes[len(client.scheduler_info()["workers"]), persist] = fingerprint(model)
    assert len(set(hashes.values())) == 1, hashes


@pytest.mark.slow
def test_kernels_compiled_loaded_and_not_kept(tmp_path):
    """A process that compiles, one that loads what the other compiled, one that keeps nothing."""
    script = (
        "from problems import blobs, fingerprint, fit\n"
        "X, _ = blobs(500, 3, 2)\n"
        "print(fingerprint(fit(X, n_components=2, max_iter=3, random_state=0, n_threads=1)))\n"
    )
    hashes = []
    for cache in (str(tmp_path), str(tmp_path), "0"):
        environment = {
            **os.environ,
            "FASTGMM_CACHE": cache,
            "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)]),
        }
        command = [sys.executable, "-c", script]
        hashes.append(subprocess.check_output(command, env=environment, text=True))
    assert len(set(hashes)) == 1, hashes
    assert any(tmp_path.iterdir())
