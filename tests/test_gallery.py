"""Every script of the gallery runs on few rows and its claims hold."""

import runpy
import sys
from pathlib import Path

import matplotlib as mpl
import pytest

GALLERY = Path(__file__).parents[1] / "scripts" / "gallery"
PROCESSES = {"larger_than_memory", "many_machines"}
"""Scripts that start processes and take 13 s each: other tests start the like."""
SCRIPTS = [
    pytest.param(file.stem, marks=[pytest.mark.slow] if file.stem in PROCESSES else [])
    for file in sorted(GALLERY.glob("*.py"))
    if "__main__" in file.read_text()
]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a script; return its exit code and what it printed."""

    def run(script):
        monkeypatch.syspath_prepend(str(GALLERY))
        monkeypatch.setattr(sys, "argv", [script.stem, "--small", "--folder", str(tmp_path)])
        with mpl.rc_context(), pytest.raises(SystemExit) as ended:
            runpy.run_path(str(script), run_name="__main__")
        return ended.value.code, capsys.readouterr().out

    yield run
    sys.modules.pop("showing", None)  # its style is to be set anew


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_script_claims_holds(name, run, tmp_path):
    code, told = run(GALLERY / f"{name}.py")
    assert code == 0, told
    assert "holds: " in told
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def test_a_claim_that_does_not_hold_ends_in_1(run, tmp_path):
    script = tmp_path / "wrong.py"
    script.write_text(
        "'Is one two?'\n"
        "from showing import run\n"
        "run(lambda show: show.claim('1 is 2', False), __file__, __doc__)\n"
    )
    code, told = run(script)
    assert code == 1
    assert "DOES NOT HOLD: 1 is 2" in told
