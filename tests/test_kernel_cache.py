"""Compiled kernels on disk: right numbers or none, whatever happens to files and processes."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hanging import LONG

from fastgmm import _kernel_cache
from fastgmm._kernel_cache import UNUSED_DAYS, KernelFiles, cache_folder

CHECKOUT = Path(__file__).parents[1]
NOWHERE = "/dev/null/nowhere"  # cannot be made, not even by root

KERNEL = """
import json, sys, time
from pathlib import Path
import numpy as np
from fastgmm import _jit, _kernel_cache

@_jit.kernel
def double(x):
    return x[0] + x[0]

def report(*numbers):
    results = [double(np.array([number])) for number in numbers]
    stats = double.stats
    print(json.dumps({
        "results": results,
        "compiled": sum(stats.cache_misses.values()),
        "loaded": sum(stats.cache_hits.values()),
    }))
"""

BOTH = KERNEL + "report(4, 4.5)"


def process(code, cache, *arguments, **environment):
    """Start Python in a process of its own, with a folder for compiled kernels."""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": str(CHECKOUT),
            "FASTGMM_CACHE": str(cache),
            **environment,
        },
    )


def answer(running):
    out, err = running.communicate(timeout=LONG)
    assert running.returncode == 0, err
    assert err == ""
    return json.loads(out)


def run(code, cache, *arguments, **environment):
    return answer(process(code, cache, *arguments, **environment))


def stored(cache):
    return sorted(file for file in Path(cache).rglob("*") if file.is_file())


@pytest.fixture
def files(tmp_path):
    return KernelFiles(tmp_path, "module.kernel", pickle.dumps)


# --- files


def test_what_was_saved_is_loaded_for_its_key_only(files):
    files.save(("float64", "cpu"), [1, 2])
    assert files.load(("float64", "cpu")) == [1, 2]
    assert files.load(("float32", "cpu")) is None


def test_a_file_under_another_keys_name_is_not_loaded_but_removed(files):
    files.save("int64", "code for int64")
    shutil.copy(files.path("int64"), files.path("float64"))
    assert files.load("float64") is None
    assert not files.path("float64").exists()
    assert files.load("int64") == "code for int64"


def cut_short(content):
    return content[: len(content) // 2]


def flip_a_bit(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES = {
    "empty": lambda content: b"",
    "cut within the header": lambda content: content[:20],
    "cut short": cut_short,
    "a bit": flip_a_bit,
    "longer": lambda content: content + b"\0",
    "noise": lambda content: bytes(range(256)) * 8,
    "another format": lambda content: pickle.dumps(("key", "data")),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_absent_and_saved_anew(files, damage):
    files.save("key", list(range(1000)))
    path = files.path("key")
    path.write_bytes(damage(path.read_bytes()))
    assert files.load("key") is None
    assert not path.exists()
    files.save("key", "new")
    assert files.load("key") == "new"


class Unloadable:
    """What another release may have pickled."""

    def __reduce__(self):
        return (int, ("no number",))


def test_content_that_cannot_be_unpickled_is_absent(files):
    files.save("key", Unloadable())
    assert files.load("key") is None
    assert not files.path("key").exists()


def test_a_file_that_others_could_write_is_not_loaded(files):
    files.save("key", "data")
    files.path("key").chmod(0o664)
    assert files.load("key") is None


def test_files_are_not_writable_by_the_group_whatever_the_umask(files):
    before = os.umask(0o002)
    try:
        files.save("key", "data")
    finally:
        os.umask(before)
    assert files.load("key") == "data"


def test_a_folder_that_has_gone_costs_nothing_but_the_file(tmp_path):
    files = KernelFiles(tmp_path / "gone", "module.kernel", pickle.dumps)
    files.save("key", "data")
    assert files.load("key") is None


def test_without_locks_the_file_system_does(files, monkeypatch):
    def no_locks(*_):
        raise OSError("Function not implemented")

    monkeypatch.setattr(_kernel_cache.fcntl, "flock", no_locks)
    assert files.load("key") is None
    files.save("key", "data")
    assert files.load("key") == "data"


def test_a_stopped_process_is_not_waited_for_without_end(files, monkeypatch):
    assert files.load("key") is None  # ours to compile now
    monkeypatch.setattr(_kernel_cache, "PATIENCE", 0.1)
    other = KernelFiles(files.folder, files.name, pickle.dumps)
    assert other.load("key") is None
    other.save("key", "data")
    assert other.load("key") == "data"


# --- folders


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTGMM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fastgmm"


def test_the_folder_is_named_by_all_that_was_compiled_for(home):
    folder = cache_folder("1.0", "this processor")
    assert folder.parent == home
    assert folder.name.startswith("1.0-")
    assert cache_folder("1.0", "this processor") == folder
    assert cache_folder("1.0", "that processor") != folder


def test_the_cache_can_be_turned_off(monkeypatch):
    monkeypatch.setenv("FASTGMM_CACHE", "0")
    assert cache_folder("1.0", "") is None


@pytest.mark.parametrize("which", ["home", "folder"])
def test_a_folder_that_others_can_write_is_not_used(home, which):
    folder = cache_folder("1.0", "")
    (home if which == "home" else folder).chmod(0o777)
    assert cache_folder("1.0", "") is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("which", ["home", "folder"])
def test_another_users_folder_is_not_used(home, which):
    folder = cache_folder("1.0", "")
    os.chown(home if which == "home" else folder, 65534, 65534)
    assert cache_folder("1.0", "") is None


def test_a_link_to_another_folder_is_not_followed(home, tmp_path):
    folder = cache_folder("1.0", "")
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert cache_folder("1.0", "") is None


def test_without_home_the_folder_for_temporary_files_is_used(tmp_path, monkeypatch):
    monkeypatch.delenv("FASTGMM_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", NOWHERE)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert cache_folder("1.0", "").parent.parent == tmp_path
    monkeypatch.setenv("TMPDIR", NOWHERE)
    assert cache_folder("1.0", "") is None


def test_folders_that_nobody_used_for_long_are_removed_when_one_is_made(home):
    old, recent, foreign = (cache_folder("0.9", name) for name in ("old", "recent", "foreign"))
    for folder in (old, recent, foreign):
        KernelFiles(folder, "module.kernel", pickle.dumps).save("key", "data")
    (foreign / "letters.txt").write_text("not ours")
    (home / "photographs").mkdir()
    long_ago = time.time() - (UNUSED_DAYS + 1) * 86400
    for folder in (old, foreign, home / "photographs"):
        os.utime(folder, (long_ago, long_ago))
    used = cache_folder("0.9", "recent")  # exists: nothing is pruned
    assert old.exists()
    new = cache_folder("1.0", "")
    assert not old.exists()
    assert (foreign / "letters.txt").exists()
    assert {used, new, foreign, home / "photographs"} == set(home.iterdir())


def test_using_a_folder_keeps_it(home):
    folder = cache_folder("1.0", "")
    long_ago = time.time() - (UNUSED_DAYS + 1) * 86400
    os.utime(folder, (long_ago, long_ago))
    cache_folder("1.0", "")
    cache_folder("1.1", "")
    assert folder.exists()


def copy_of_the_package(folder):
    ignore = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(CHECKOUT / "fastgmm", folder / "fastgmm", ignore=ignore))


def test_an_edited_kernel_has_another_folder(tmp_path):
    package = copy_of_the_package(tmp_path / "package")
    code = """
import json
from fastgmm._jit import kernel_cache_folder
print(json.dumps(str(kernel_cache_folder())))
"""

    def folder():
        return run(code, tmp_path / "cache", PYTHONPATH=str(package.parent))

    before = folder()
    assert folder() == before
    with open(package / "kernels" / "triangles.py", "a") as source:
        source.write("# a part: inlined into kernels of other modules\n")
    assert folder() != before


# --- processes


def test_a_second_process_compiles_nothing(tmp_path):
    assert run(BOTH, tmp_path) == {"results": [8, 9.0], "compiled": 2, "loaded": 0}
    assert run(BOTH, tmp_path) == {"results": [8, 9.0], "compiled": 0, "loaded": 2}


IMPORTS = """
print(json.dumps([int(double(np.array([4]))), "numba.np.linalg" in sys.modules]))
"""


def test_loading_machine_code_does_not_set_up_the_compiler(tmp_path):
    # 0.4 of the 0.9 seconds that a first fit took with everything on disk
    assert run(KERNEL + IMPORTS, tmp_path) == [8, True]
    assert run(KERNEL + IMPORTS, tmp_path) == [8, False]


SPARING = """
import json, sys
from pathlib import Path
import numpy as np
from fastgmm import _jit
from fastgmm.kernels import rows

def pages(of):
    size, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            inside = of in line
        elif inside and words[0] == "Rss:":
            size += int(words[1])
    return size

before = pages("libllvmlite")
if sys.argv[1:]:
    _jit.spare_memory()
folds = np.empty(4, np.int64)
rows.folds(np.uint64(7), 3, np.arange(4), folds)
print(json.dumps({
    "folds": folds.tolist(),
    "compiled": [one.compiled for one in _jit.loaded_kernels()],
    "given back": pages("libllvmlite") < before / 2,
}))
"""


def test_where_memory_is_scarce_another_process_compiles(tmp_path):
    here = run(SPARING, tmp_path / "here")
    elsewhere = run(SPARING, tmp_path / "elsewhere", "sparing")
    assert here["folds"] == elsewhere["folds"]
    assert (here["compiled"], here["given back"]) == ([True], False)
    assert (elsewhere["compiled"], elsewhere["given back"]) == ([False], True)


LIMITED = """
import json, os, resource, sys
from pathlib import Path
for name in ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.pop(name, None)  # with fewer threads there would be room
import numpy as np
from fastgmm import _jit
from fastgmm._scarce_memory import COMPILING, room_left
from fastgmm.kernels import rows

pages = [int(word) for word in Path("/proc/self/statm").read_text().split()]
which, taken = {"data": (resource.RLIMIT_DATA, 5), "as": (resource.RLIMIT_AS, 0)}[sys.argv[1]]
assert room_left() > COMPILING
limit = pages[taken] * resource.getpagesize() + int(sys.argv[2]) * 2**20
resource.setrlimit(which, (limit, resource.RLIM_INFINITY))
assert room_left() < COMPILING
rows.folds(np.uint64(7), 3, np.arange(4), np.empty(4, np.int64))
print(json.dumps([one.compiled for one in _jit.loaded_kernels()]))
"""


# too little room for a compiler here, and enough in a process with nothing else
@pytest.mark.parametrize(("limit", "room"), [("data", 230), ("as", 300)])
def test_within_a_limit_of_the_system_another_process_compiles(tmp_path, limit, room):
    assert run(LIMITED, tmp_path, limit, str(room)) == [False]


@pytest.mark.parametrize(("limit", "room"), [("data", 230), ("as", 300)])
def test_within_a_limit_and_without_a_folder_an_error_says_what_to_do(limit, room):
    """SciPy's BLAS, which Numba starts as it compiles, would ask for its memory for ever."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, limit, str(room)],
        env={**os.environ, "FASTGMM_CACHE": "0"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("fastgmm.exceptions.ScarceMemoryError: compiling kernels takes up to")
    assert "OPENBLAS_NUM_THREADS=1" in last
    assert "fastgmm warmup" in last


def test_where_no_other_process_can_compile_this_one_does(tmp_path):
    # a kernel that only this process has
    sparing = KERNEL + "_jit.spare_memory(); report(4)"
    assert run(sparing, tmp_path) == {"results": [8], "compiled": 1, "loaded": 0}


AHEAD = """
import threading
from fastgmm._jit import disk

asked = []
disk.run_elsewhere = lambda code, given: asked.append(code)

def times(name, *numbers):
    with _jit.compiling_ahead(name, b""):
        for number in numbers:
            double(np.array([number]))

times("two are not on disk", 4, 4.5)
times("both are in memory", 4, 4.5)
times("nothing is used")
double(np.array([np.float32(4.5)]))
for thread in threading.enumerate():
    if thread.name == "fastgmm-ahead":
        thread.join()
print(json.dumps(asked))
"""


def test_another_process_is_asked_once_and_only_if_something_is_not_on_disk(tmp_path):
    assert run(KERNEL + AHEAD, tmp_path) == ["two are not on disk"]
    assert run(KERNEL + AHEAD, tmp_path) == []


WITH_ANOTHER = """
there = sys.argv[1]
double(np.array([4.5]))
code = "import sys; open(sys.stdin.read(), 'x').close()"
with _jit.compiling_ahead(code, there.encode()):
    double(np.array([4]))
while not Path(there).exists():
    time.sleep(0.01)
report()
"""


def test_the_other_process_runs_beside_this_one(tmp_path):
    assert run(KERNEL + WITH_ANOTHER, tmp_path, tmp_path / "there")["compiled"] == 2


def test_an_application_does_not_start_itself_to_compile(tmp_path):
    frozen = "import sys; sys.frozen = True\n" + SPARING
    assert run(frozen, tmp_path, "sparing")["compiled"] == [True]


MEET = """
here, there, number, *delays = sys.argv[1:]
rename = _kernel_cache.os.replace

def meet(*names):
    # both processes come here, with nothing saved, before either goes on
    Path(here).touch()
    while not Path(there).exists():
        time.sleep(0.01)
    time.sleep(float(delays.pop(0)))
    rename(*names)

_kernel_cache.os.replace = meet
report(json.loads(number))
"""


def test_two_processes_that_save_different_signatures_at_once(tmp_path):
    # The one process is the last to save the first file, the other the last to save the second.
    # Numba's cache writes an index and then machine code: there, double(4) is 4e-323 afterwards.
    cache, one, other = tmp_path / "cache", tmp_path / "one", tmp_path / "other"
    running = [
        process(KERNEL + MEET, cache, one, other, "4", "0.5", "0"),
        process(KERNEL + MEET, cache, other, one, "4.5", "0", "1"),
    ]
    assert [answer(each)["results"] for each in running] == [[8], [9.0]]
    assert run(BOTH, cache) == {"results": [8, 9.0], "compiled": 0, "loaded": 2}


SLOW = """
compile = double._compiler.compile

def slow(*types):
    time.sleep(0.5)
    return compile(*types)

double._compiler.compile = slow
report(4)
"""


def test_of_processes_that_need_the_same_one_compiles(tmp_path):
    folder = tmp_path / "cache"
    answers = [answer(each) for each in [process(KERNEL + SLOW, folder) for _ in range(3)]]
    assert [each["results"] for each in answers] == [[8]] * 3
    assert sorted(each["compiled"] for each in answers) == [0, 0, 1]
    assert [file.suffix for file in stored(folder)] == [".kernel"]


def test_another_signatures_machine_code_is_not_run(tmp_path):
    swap = """
double(np.array([4]))
double(np.array([4.5]))
cache = double._cache
context = double.targetctx
integer, real = (cache._index_key(sig, context.codegen()) for sig in double.overloads)
# a file as whole as any, but with the wrong code: what a faulty index would hand out
cache._cache_file.save(integer, cache._cache_file.load(real))
report()
"""
    run(KERNEL + swap, tmp_path)
    assert run(BOTH, tmp_path) == {"results": [8, 9.0], "compiled": 1, "loaded": 1}
    assert run(BOTH, tmp_path) == {"results": [8, 9.0], "compiled": 0, "loaded": 2}


def test_damaged_machine_code_is_compiled_anew(tmp_path):
    run(BOTH, tmp_path)
    for file, damage in zip(stored(tmp_path), [cut_short, flip_a_bit], strict=True):
        file.write_bytes(damage(file.read_bytes()))
    assert run(BOTH, tmp_path) == {"results": [8, 9.0], "compiled": 2, "loaded": 0}
    assert run(BOTH, tmp_path)["compiled"] == 0


FIT = """
import json, logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format="log %(message)s")
for noisy in ("numba", "asyncio"):
    logging.getLogger(noisy).setLevel(logging.WARNING)
from fastgmm import GaussianMixture
model = GaussianMixture(1, covariance_type="diag", init_params="random_from_data", random_state=0)
model.fit([[0.0], [1.0], [5.0]])
import fastgmm
from fastgmm._jit import kernel_cache_folder, loaded_kernels
print(json.dumps([
    model.means_.tolist(), len(loaded_kernels()), str(kernel_cache_folder()), fastgmm.__file__
]))
"""


def test_a_fit_from_a_read_only_package_where_nothing_can_be_written(tmp_path):
    package = copy_of_the_package(tmp_path)
    files = stored(package)
    for folder in (package, *filter(Path.is_dir, package.rglob("*"))):
        folder.chmod(0o555)
    running = process(
        FIT, "", HOME=NOWHERE, XDG_CACHE_HOME=NOWHERE, TMPDIR=NOWHERE,
        PYTHONPATH=str(tmp_path), PYTHONDONTWRITEBYTECODE="1",
    )  # fmt: skip
    out, err = running.communicate(timeout=LONG)
    for folder in (package, *filter(Path.is_dir, package.rglob("*"))):
        folder.chmod(0o755)
    assert stored(package) == files  # root may write: nothing has tried
    assert running.returncode == 0, err
    logged, *_, printed = out.splitlines()
    assert logged.startswith("log compiled kernels are not kept")
    means, kernels, folder, where = json.loads(printed)
    assert Path(where).parent == package
    assert means == [[2.0]]
    assert kernels > 0
    assert folder == "None"


def test_a_full_disk_costs_nothing_but_the_files(tmp_path):
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n" + BOTH
    assert run(limited, tmp_path) == {"results": [8, 9.0], "compiled": 2, "loaded": 0}
    assert stored(tmp_path) == []
    assert run(BOTH, tmp_path) == {"results": [8, 9.0], "compiled": 2, "loaded": 0}
    assert run(BOTH, tmp_path)["compiled"] == 0


# --- fits

KERNELS_OF_FITS = """
import json, sys
import numpy as np
from fastgmm import GaussianMixture

rows = np.random.default_rng(0).normal(size=(300, 2))
GaussianMixture(2, random_state=0, covariance_type=sys.argv[1], init_params=sys.argv[2]).fit(rows)
from fastgmm._jit import loaded_kernels
print(json.dumps([kernel.name for kernel in loaded_kernels()]))
"""

START_KERNELS = {
    "kmeans": {
        *("sketch.draw_sketch", "seeding.judge", "seeding.draw", "seeding.settle"),
        "assignment.assign",
    },
    "random": {"expectation.accumulate_given"},
    "random_from_data": set(),
}


@pytest.mark.parametrize(
    ("family", "start"),
    [("full", "kmeans"), ("diag", "random_from_data"), ("tied", "random"), ("spherical", "kmeans")],
)
def test_a_fit_compiles_each_kernel_it_uses_once_and_no_other(family, start):
    # the user's folder, which other tests have filled: what is asked is which, not how long
    kernels = run(KERNELS_OF_FITS, os.environ.get("FASTGMM_CACHE", ""), family, start)
    update = {
        "full": {"factorisation.whiten", "factorisation.estimate", "narrow.add_rows"},
        "diag": {"narrow.add_rows"},
        "spherical": {"narrow.add_rows"},
        "tied": {
            *("factorisation.whiten", "factorisation.estimate", "narrow.add_rows"),
            *("factorisation.linear_form", "factorisation.total_square"),
        },
    }[family]
    expected = {"rows.first_not_finite", "expectation.expectation"} | update | START_KERNELS[start]
    if family == "tied":  # the scatter of the data is another form's work
        kernels.remove("expectation.expectation")
    assert sorted(kernels) == sorted(expected)


def test_nobody_waits_for_a_kernel_that_another_process_could_not_compile(tmp_path):
    fails = KERNEL + (
        "try: double((None, None))\n"
        "except Exception as error: print(json.dumps(type(error).__name__))"
    )
    assert run(fails, tmp_path) == "TypingError"
    assert list(tmp_path.rglob("*.lock")) == []
