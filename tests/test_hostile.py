"""Hostile arguments: a sample of tests/hostile.py, and arrays that another thread writes while a
call reads them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from conftest import ROOT, python, search_path

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def hostile(*args):
    return subprocess.run(
        [sys.executable, ROOT / "tests" / "hostile.py", *map(str, args)], capture_output=True,
        text=True, timeout=300, env={**os.environ, "PYTHONPATH": search_path()}, check=False,
    )  # fmt: skip


@linux
@pytest.mark.skipif("PYACT_CFLAGS" in os.environ, reason="a sanitizer needs the address space")
def test_hostile_arguments_are_refused_or_answered():
    done = hostile("--every", 53)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[-4]) > 2000, done.stdout


@linux
@pytest.mark.parametrize("plant", ["crash", "hang", "system"])
def test_a_planted_fault_is_found(plant):
    done = hostile("--plant", plant)
    assert done.returncode == 1 and "planted" in done.stdout, done.stdout + done.stderr


WRITTEN = """
import threading, time
import numpy as np
import pyact
from pyact import layers

stop = threading.Event()
rng = np.random.default_rng(0)
labels = rng.integers(0, 3, 4096).astype(np.int32)
words = rng.integers(0, 20, (4096, 8)).astype(np.int32)
reals = words.astype(np.float32)  # which are not copied first
x = rng.normal(size=(4096, 16)).astype(np.float32)


def write():
    while not stop.is_set():
        labels[:] = 1 << 30
        words[:] = -(1 << 31)
        reals[:] = 1 << 40
        x[:] = np.nan
        labels[:] = 1
        words[:] = 1
        reals[:] = 1
        x[:] = 1


classes = pyact.Sequential([layers.Dense(8, "tanh"), layers.Dense(3)])
classes.compile("adam", pyact.losses.SparseCategoricalCrossentropy(from_logits=True))
classes.build((None, 16))
texts = pyact.Sequential([layers.Embedding(20, 4), layers.Flatten(), layers.Dense(3)])
texts.compile("adam", pyact.losses.SparseCategoricalCrossentropy(from_logits=True))
texts.build((None, 8))
thread = threading.Thread(target=write)
thread.start()
end, done, refused = time.monotonic() + 2, 0, 0
try:
    while time.monotonic() < end:
        for call in (
            lambda: pyact.gelu(x, out=x),
            lambda: pyact.softmax(x),
            lambda: classes.fit(x, labels, verbose=0, batch_size=256),
            lambda: classes.evaluate(x, labels, verbose=0),
            lambda: texts.fit(words, labels, verbose=0, batch_size=256),
            lambda: texts.predict(words, batch_size=512),
            lambda: texts.predict(reals, batch_size=512),
            lambda: texts(reals),
            lambda: pyact.ops.embedding(np.zeros((20, 4), np.float32), reals),
            lambda: texts(words),
            lambda: texts.compile_inference()(words),
            lambda: pyact.ops.embedding(np.zeros((20, 4), np.float32), words),
            lambda: pyact.ops.embedding(words, np.zeros((20, 4), np.float32)),
        ):
            try:
                call()
                done += 1
            except (ValueError, FloatingPointError, IndexError, TypeError):
                refused += 1
finally:
    stop.set()
    thread.join()
assert done and refused, (done, refused)
"""


def test_arrays_written_during_the_call():
    """Labels and indices are looked at and used by the same pass, so none is used unseen."""
    python(WRITTEN)
