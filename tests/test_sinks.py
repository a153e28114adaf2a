"""Where predictions go: the same bytes whoever writes them, complete or absent."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from distributed import Client
from executors.leftovers import await_workers
from problems import blobs
from pyarrow import parquet as pq

from fastgmm import GaussianMixture, open_dataset
from fastgmm.cli.options import ROW_ENDINGS
from fastgmm.exceptions import DataError
from fastgmm.executors.dask import DaskExecutor
from fastgmm.sinks import FILE_SINKS, ArrayResults, PlacedResults, results, to_file
from fastgmm.sinks.folders import PartWriter, to_folder
from fastgmm.sources import Chunk

X, _ = blobs(3000, 3, 3, seed=4)
FOLDERS = [".parquet", ".zarr"]
METHODS = ["predict", "predict_proba", "score_samples"]


@pytest.fixture(scope="module")
def model() -> GaussianMixture:
    """Blocks of 100 rows: 30 of them, 30 parts at first."""
    return GaussianMixture(3, random_state=0, tol=1e-2, chunk_size=100).fit(X)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "rows.npy", X)
    return tmp_path / "in" / "rows.npy"


def read(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".zarr":
        return np.asarray(zarr.open_array(path, mode="r")[:])
    columns = [column.to_numpy() for column in pq.read_table(path).columns]
    return columns[0] if len(columns) == 1 else np.column_stack(columns)


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return {str(file.relative_to(path)): file.read_bytes() for file in files if file.is_file()}


def test_the_command_knows_the_sinks() -> None:
    assert tuple(FILE_SINKS) == ROW_ENDINGS


@pytest.mark.parametrize("ending", FILE_SINKS)
@pytest.mark.parametrize("method", METHODS)
def test_the_same_bytes_on_any_executor(
    model: GaussianMixture,
    file: Path,
    two_workers: Client,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
    method: str,
) -> None:
    """And on any kind of source, whatever size parts have; nothing else is left in the folder."""
    expected = getattr(model, method)(X)
    written = []
    monkeypatch.setattr(results, "FEWEST_PARTS", 3)
    for part_bytes, parts in ((1, 30), (10 * expected[:100].nbytes, 4)):
        monkeypatch.setattr(results, "PART_BYTES", part_bytes)
        for n_threads, client, rows in ((1, None, X), (3, None, file), (1, two_workers, file)):
            out = file.parents[1] / f"{method}-{len(written)}{ending}"
            model.set_params(n_threads=n_threads).set_client(client)
            assert getattr(model, method)(rows, out=out) == out
            np.testing.assert_array_equal(read(out), expected)
            if ending in FOLDERS:
                assert len(contents(out)) == parts + (ending == ".zarr")
            written.append(contents(out))
        assert written[-1] == written[-2] == written[-3]
    assert len(list(file.parents[1].iterdir())) == 1 + len(written)


def test_what_is_written_can_be_read_again(model: GaussianMixture, tmp_path: Path) -> None:
    for ending in FILE_SINKS:
        model.predict_proba(X, out=tmp_path / f"p{ending}")
        source = open_dataset(tmp_path / f"p{ending}")
        chunks = source.chunks(source.grid(5000), 0, 1)
        np.testing.assert_array_equal(next(chunks).rows, model.predict_proba(X))
    names = [f"component_{k}" for k in range(3)]
    assert pq.read_table(tmp_path / "p.parquet").column_names == names
    assert zarr.open_array(tmp_path / "p.zarr", mode="r").attrs["columns"] == names


@pytest.mark.parametrize("ending", FILE_SINKS)
def test_a_failure_leaves_nothing(
    model: GaussianMixture, tmp_path: Path, two_workers: Client, ending: str
) -> None:
    bad = np.vstack([X, np.full((1, 3), np.inf)])
    np.save(tmp_path / "bad.npy", bad)
    for client in (None, two_workers):
        model.set_params(n_threads=2).set_client(client)
        with pytest.raises(DataError, match="row 3000"):
            model.predict(tmp_path / "bad.npy", out=tmp_path / f"labels{ending}")
        assert [path.name for path in tmp_path.iterdir()] == ["bad.npy"]
    model.set_client(None)


@pytest.mark.parametrize("ending", FOLDERS)
def test_a_folder_is_never_replaced(model: GaussianMixture, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"labels{ending}"
    out.mkdir()
    (out / "precious").touch()
    with pytest.raises(DataError, match=r"labels\.\w+ is a (file|folder) already: "):
        model.predict(X, out=out)
    assert [path.name for path in tmp_path.rglob("*")] == [out.name, "precious"]


def test_a_folder_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    class Meddling(ArrayResults):
        def write_parts(self, write: Any) -> None:
            super().write_parts(write)
            (tmp_path / "x.parquet").mkdir()

    with pytest.raises(DataError, match="was made by somebody else meanwhile"):
        to_file(tmp_path / "x.parquet", Meddling(X, ["a", "b", "c"]))
    assert [path.name for path in tmp_path.rglob("*")] == ["x.parquet"]


def test_a_file_is_replaced(model: GaussianMixture, tmp_path: Path) -> None:
    out = tmp_path / "labels.npy"
    out.write_text("old")
    model.predict(X, out=out)
    np.testing.assert_array_equal(np.load(out), model.predict(X))
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(DataError, match=r"folder\.npy is a folder already"):
        model.predict(X, out=tmp_path / "folder.npy")


def test_what_is_read_is_not_written(model: GaussianMixture, file: Path) -> None:
    before, link = file.read_bytes(), file.parent / "link.npy"
    link.symlink_to(file)
    for rows in (file, open_dataset(file, missing="drop")):
        for out in (file, link):
            with pytest.raises(DataError, match=f"{out.name} is one of the input files"):
                model.predict_proba(rows, out=out)
    with pytest.raises(DataError, match=r"rows\.npy is one of the input files"):
        GaussianMixture(1, checkpoint=file).fit(file)
    mapped = np.load(file, mmap_mode="r")
    for memory_map in (mapped, mapped[::2].T.T):
        with pytest.raises(DataError, match=r"link\.npy is one of the input files"):
            model.set_params(missing="drop").predict(memory_map, out=link)
    assert file.read_bytes() == before


def test_a_folder_that_workers_do_not_see(tmp_path: Path) -> None:
    class Elsewhere(ArrayResults):
        def write_parts(self, write: Any) -> None:
            if self.names == ["lost"]:
                return  # what workers write to a folder of the same name on their own disks
            other = PartWriter(write.module, write.layout, tmp_path / "not here", write.target)
            other(0, self.rows)

    for names, words in ((["lost"], "were not found here"), (["a"], "is not seen by a worker")):
        with pytest.raises(DataError, match=f"x.parquet cannot be written: .*{words}"):
            to_file(tmp_path / "x.parquet", Elsewhere(X[:, :1], names))
    assert list(tmp_path.iterdir()) == []


def test_rows_with_missing_values_keep_their_places(tmp_path: Path, two_workers: Client) -> None:
    import dask.array as da

    rows = X.copy()
    rows[[5, 1000, 2999], [0, 1, 2]] = np.nan
    complete = ~np.isnan(rows).any(axis=1)
    model = GaussianMixture(3, random_state=0, tol=1e-2, missing="drop").fit(rows)
    for method in METHODS:
        marked = getattr(model, method)(rows)
        np.testing.assert_array_equal(marked[complete], getattr(model, method)(rows[complete]))
        assert ((marked[~complete] == -1) | np.isnan(marked[~complete])).all()
        getattr(model, method)(rows, out=tmp_path / f"{method}.zarr")
        np.testing.assert_array_equal(read(tmp_path / f"{method}.zarr"), marked)
        lazy = getattr(model, method)(da.from_array(rows, chunks=(1000, 3)))
        np.testing.assert_array_equal(lazy.compute(scheduler="threads"), marked)
    rows[1500, 2] = np.inf
    with pytest.raises(DataError, match="infinity or a value too large: row 1500, column 2"):
        model.predict(rows)
    with pytest.raises(DataError, match="contains NaN: row 5, column 0"):
        model.set_params(missing="raise").predict(rows)


def first_column(chunk: Chunk) -> np.ndarray:
    return chunk.rows[:, 0].copy()


@pytest.mark.faults
@pytest.mark.slow
def test_a_killed_worker_leaves_no_litter(file: Path, two_workers: Client) -> None:
    """Killed with a part half written: another writes the same bytes, the half is gone."""
    out, mark = file.parents[1] / "out.deadly", file.parent / "killed"
    with closing(DaskExecutor(two_workers).place(open_dataset(file), 300)) as placement:
        to_folder("deadly", out, PlacedResults(placement, first_column, [str(mark)]))
    assert mark.exists()
    expected = {f"part-{i}": X[i * 300 : i * 300 + 300, 0].tobytes() for i in range(10)}
    assert contents(out) == {**expected, "about": b"deadly"}
    assert sorted(path.name for path in file.parents[1].iterdir()) == ["in", "out.deadly"]
    await_workers(two_workers, 2)
