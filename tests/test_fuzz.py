"""The reader of model files under hostile input (tests/fuzz_reader.py): the corpus of inputs
that found something or were refused each in its own way, a short run, planted bugs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from conftest import ROOT, search_path

CORPUS = sorted((ROOT / "tests" / "corpus").iterdir())

REPLAY = """
import sys, warnings
from pathlib import Path
import fuzz_reader
warnings.simplefilter("ignore")
fuzz_reader.models()
judge = fuzz_reader.Judge()
for path in map(Path, sys.argv[1:]):
    raw = path.read_bytes()
    judge.arrays(raw, True)
    if path.name.startswith("model"):
        judge.model_file(raw)
print(dict(judge.kinds))
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "pwrite"), reason="needs pwrite")


def fuzz(*args):
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, timeout=300, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": search_path()}, check=False,
    )  # fmt: skip


def test_the_corpus():
    done = fuzz("-c", REPLAY, *CORPUS)
    assert done.returncode == 0, done.stderr
    assert len(CORPUS) > 50 and sum(p.stat().st_size for p in CORPUS) < 200_000
    assert all(f"'{kind}'" in done.stdout for kind in ("refused", "accepted", "no model"))


def test_new_inputs():
    done = fuzz(ROOT / "tests" / "fuzz_reader.py", "12000", "--seed", "tests")
    assert done.returncode == 0, done.stderr
    assert "0 complaints" in done.stdout


@pytest.mark.parametrize("bug", [
    "a name may be there twice", "holes", "trailing bytes", "half pairs",
    "memory before the check", "slow", "any class",
])  # fmt: skip
def test_a_planted_bug_is_found(bug):
    done = fuzz(ROOT / "tests" / "fuzz_reader.py", "6000", "--plant", bug)
    assert done.returncode == 1 and "complaints" in done.stdout, done.stderr


def test_the_planted_overlap_is_found():
    done = fuzz(ROOT / "tests" / "fuzz_reader.py", "20000", "--plant", "overlaps")
    assert done.returncode == 1 and "complaints" in done.stdout, done.stderr
