"""A part of the suite with each test in eight threads (tests/parallel.py runs all of it)."""

from __future__ import annotations

import parallel
import pytest
from conftest import ROOT

pytest.importorskip("pytest_run_parallel")


@pytest.mark.parametrize("name", parallel.SHORT)
def test_eight_threads_in_every_test(name):
    done = parallel.run_file(ROOT / "tests" / f"test_{name}.py")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "items to run in parallel" in done.stdout


def test_what_runs_alone_is_there():
    for name in parallel.ALONE:
        file, _, test = name.partition("::")
        assert f"def {test}" in (ROOT / "tests" / f"{file}.py").read_text(), name
