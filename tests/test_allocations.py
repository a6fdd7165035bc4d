"""Calls with each allocation of the core failing (tests/allocations.py), and proof that the
check can fail."""

from __future__ import annotations

import os
import subprocess
import sys

import allocations
import numpy as np
import pytest
from conftest import ROOT, compiler, search_path

from pyact import ops

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or bool(os.environ.get("LD_PRELOAD")),
    reason="the shim is for glibc, and for a process without another one",
)


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    compiler()
    return allocations.build(tmp_path_factory.mktemp("shim"))


def under(shim, *args):
    return subprocess.run(
        [sys.executable, ROOT / "tests" / "allocations.py", *args], capture_output=True,
        text=True, timeout=300, check=False,
        env={**os.environ, "LD_PRELOAD": shim, "PYTHONPATH": search_path()},
    )  # fmt: skip


def test_every_allocation_may_fail(shim):
    done = under(shim)
    assert done.returncode == 0, done.stderr + done.stdout
    assert int(done.stdout.split()[0]) > 1000, done.stdout


COUNTED = """
import sys
import allocations, numpy as np

shim = allocations.Shim(sys.argv[1])
calls = allocations.Calls()
fast = calls.model.compile_inference()
x, out = allocations.X, np.empty((12, 3), np.float32)
for call in (lambda: fast(x, out), lambda: fast(x, out=out), calls.tape):
    call()
    shim.run(call, 1 << 40, 0)
    print(shim.calls)
"""


def test_compiled_inference_allocates_nothing(shim):
    """Neither does the core allocate; an operator, which does, is counted."""
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, shim], capture_output=True, text=True, check=False,
        env={**os.environ, "LD_PRELOAD": shim, "PYTHONPATH": search_path(ROOT / "tests")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    positional, named, operator = map(int, done.stdout.split())
    assert positional == named == 0 < operator


def test_every_allocation_of_what_is_registered_may_fail(shim):
    done = under(shim, "--registered", "--every", "25")
    assert done.returncode == 0, done.stderr + done.stdout
    assert int(done.stdout.split()[0]) > 300, done.stdout


@pytest.mark.parametrize("bug", allocations.PLANTS)
def test_a_planted_bug_is_found(shim, bug):
    done = under(shim, "--plant", bug)
    assert done.returncode == 1 and " complaints" in done.stdout, done.stderr + done.stdout


@pytest.mark.parametrize("calls", ["--python", "--core"])
def test_every_allocation_of_python_may_fail(calls):
    pytest.importorskip("_testcapi")
    for plant in ([], ["--plant"]):
        done = subprocess.run(
            [sys.executable, ROOT / "tests" / "allocations.py", calls, *plant],
            capture_output=True, text=True, timeout=300, check=False,
            env={**os.environ, "PYTHONPATH": search_path()},
        )  # fmt: skip
        assert done.returncode == len(plant), done.stderr[-2000:] + done.stdout
        assert plant or int(done.stdout.split()[0]) > 500, done.stdout


def test_a_weight_that_cannot_be_read_is_no_constant():
    class Weight(np.ndarray):
        @property
        def block(self):
            raise MemoryError

    with pytest.raises(MemoryError):
        ops.sum(np.ones(3, np.float32).view(Weight))
