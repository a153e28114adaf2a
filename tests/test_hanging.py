"""A test that waits for a process for ever is told where that process was."""

import subprocess
import sys
from pathlib import Path

from hanging import LONG

WAITS = """
import resource, subprocess, sys
from hanging import Watch

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

Watch(limit=1.0).start()
child = "import time\\ndef never_ends(): time.sleep(10**6)\\nnever_ends()"
print(subprocess.run([sys.executable, "-c", child], text=True, stderr=subprocess.PIPE))
"""


def test_a_process_that_does_not_end_is_ended_and_tells_where_it_was():
    done = subprocess.run(
        [sys.executable, "-c", WAITS],
        env={"PYTHONPATH": str(Path(__file__).parent), "PYTHONFAULTHANDLER": "1"},
        capture_output=True, text=True, timeout=LONG,
    )  # fmt: skip
    assert "returncode=-6" in done.stdout, done.stderr
    assert "in never_ends" in done.stdout
