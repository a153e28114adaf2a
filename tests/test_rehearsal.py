"""Rehearsals: what another process compiles while a start is made is what the iterations use."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from hanging import LONG

from fastgmm.covariance import FAMILIES

CHECKOUT = Path(__file__).parents[1]

REHEARSE_AND_FIT = """
import io, json, sys, warnings
from itertools import product
import numpy as np
from fastgmm import GaussianMixture
from fastgmm._jit import loaded_kernels
from fastgmm.covariance import FAMILIES
from fastgmm.em import rehearsal

def new():
    kernels = [f"{one.name}({one.signature})" for one in loaded_kernels()]
    fresh = [kernel for kernel in kernels if kernel not in known]
    known.update(fresh)
    return fresh

known, found = set(), []
warnings.simplefilter("ignore")
for d, covariance_type in product((2, 20), FAMILIES):
    rows = np.random.default_rng(0).normal(size=(200, d))
    sys.stdin = io.StringIO(json.dumps([[covariance_type], 3, d, "float64"]))
    rehearsal.rehearse_asked()
    rehearsed = new()
    model = GaussianMixture(3, covariance_type=covariance_type, max_iter=2, random_state=0)
    model.set_params(n_threads=1).fit(rows)
    found.append([covariance_type, rehearsed, new()])
print(json.dumps(found))
"""

OF_STARTS = {"rows", "sketch", "seeding", "assignment"}
"""Modules of kernels that come before the first iteration."""


def test_a_rehearsal_uses_the_kernels_of_the_iterations():
    done = subprocess.run(
        [sys.executable, "-c", REHEARSE_AND_FIT],
        capture_output=True,
        text=True,
        timeout=LONG,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [covariance_type for covariance_type, *_ in found] == [*FAMILIES, *FAMILIES]
    assert found[0][1]  # of the first nothing was known
    seen = set()
    for covariance_type, _, missed in found:
        late = [one for one in missed if one.partition(".")[0] not in OF_STARTS]
        # the scatter of all rows, which goes before the start, and its norm
        of_scatter = 2 if covariance_type == "tied" and covariance_type not in seen else 0
        assert len(late) == of_scatter, late
        seen.add(covariance_type)


LEAVE_EARLY = """
import sys, threading, time
from pathlib import Path
from fastgmm._scarce_memory import run_elsewhere

code = "import os, sys, time; print(os.getpid(), file=open(sys.stdin.read(), 'w')); time.sleep(600)"
threading.Thread(target=run_elsewhere, args=(code, sys.argv[1].encode()), daemon=True).start()
while not (Path(sys.argv[1]).exists() and Path(sys.argv[1]).read_text()):
    time.sleep(0.01)
"""


def test_what_compiles_ahead_does_not_outlive_the_process(tmp_path):
    file = tmp_path / "pid"
    subprocess.run([sys.executable, "-c", LEAVE_EARLY, file], check=True, timeout=LONG)
    pid = int(file.read_text())
    give_up = time.monotonic() + LONG
    while is_alive(pid) and time.monotonic() < give_up:
        time.sleep(0.01)
    assert not is_alive(pid)


def is_alive(pid):
    """Whether there is such a process that has not ended: nobody may be left to ask for its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False
