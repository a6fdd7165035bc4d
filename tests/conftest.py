"""Shared by all tests: where the sources are, a C compiler, and the C library built once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

import numpy as np
import parallel
import pytest

import pyact
from pyact import _core, random_state

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config):
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun behind a shell's "&"
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line(
        "markers", "thread_unsafe(reason): under pytest-run-parallel this runs in one thread"
    )
    if str(getattr(config.option, "parallel_threads", 1)) != "1":
        seed_each_thread()


def pytest_collection_modifyitems(items):
    for item in items:
        why = parallel.reason(item.path.stem, getattr(item, "originalname", item.name))
        if why:
            item.add_marker(pytest.mark.thread_unsafe(reason=why))


def seed_each_thread():
    """A test that sets the seed fixes what follows for all threads, so eight that do it beside
    each other cannot each have the numbers that they expect. Here each thread has a root of
    its own; all else stays as it is."""
    own = threading.local()

    def set_seed(seed=None):
        own.root = random_state.seed_sequence(seed, fresh=True)

    def spawn():
        if not hasattr(own, "root"):
            set_seed()
        return own.root.spawn(1)[0]

    random_state.spawn = spawn
    random_state.set_seed = pyact.set_seed = set_seed


@pytest.fixture(autouse=True)
def tidy():
    """Every test starts with the same threads and warnings of NumPy's own."""
    threads = _core.get_num_threads()
    with np.errstate(all="ignore"):
        yield
    if _core.get_num_threads() != threads:
        _core.set_num_threads(threads)


def run(command, timeout=300, **env):
    """A command's output; fails the test with both streams when it fails."""
    done = subprocess.run(
        [str(part) for part in command], cwd=ROOT, env={**os.environ, **env}, timeout=timeout,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        text = " ".join(map(str, command))
        pytest.fail(f"{text}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def python(code, timeout=120, **env):
    """Runs Python code in a fresh interpreter that sees what this one sees."""
    return run([sys.executable, "-c", code], timeout, PYTHONPATH=search_path(), **env)


def search_path(*first):
    """A PYTHONPATH with these folders, then where this pyact is and the tests' modules."""
    package = Path(pyact.__file__).resolve().parent
    home = Path(_core.__file__).parent.parent if package == ROOT / "pyact" else package.parent
    return os.pathsep.join(map(str, (*first, home, ROOT / "tests")))


def compiler(name="cc"):
    """The path of a C compiler; the test is skipped where there is none."""
    found = shutil.which(os.environ.get("CC", name) if name == "cc" else name)
    if found is None:
        pytest.skip(f"no C compiler {name!r} on this machine")
    return found


def objects():
    """Where `pip install` left its objects: what is still fresh is not compiled again."""
    return ROOT / "build" / f"temp.{sysconfig.get_platform()}-{sys.implementation.cache_tag}"


@pytest.fixture(scope="session")
def core_library():
    """The C core without Python, built once: the folder of libpyact.a."""
    compiler()
    output = ROOT / "build" / "core"
    run([sys.executable, "setup.py", "-q", "build_core", "--objects", objects(),
         "--output", output], 600)  # fmt: skip
    return output
