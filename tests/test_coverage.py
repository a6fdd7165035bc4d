"""coverage.py counts each branch of the source once, whichever copy of it took it."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT, compiler

# by its path: another package is called coverage, too
SPEC = importlib.util.spec_from_file_location("pyact_coverage", ROOT / "tests" / "coverage.py")
coverage = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = coverage
SPEC.loader.exec_module(coverage)

FILE = "csrc/graph/f.c"
SOURCE = """\
#define INLINE static inline __attribute__((always_inline))
INLINE int pick(int a, int b)
{
    if (a > 0 && b > 0)
        return 1;
    return b ? 2 : 3;
}
#define OR_ONE(name) static int name(int a) { return a ? a : 1; }
OR_ONE(first) OR_ONE(second)
int NAME(int a, int b)
{
    int sum = pick(a, b);
    sum += pick(b, a);
    if (sum == VALUE)
        return 0;
    return first(sum) + second(0);
}
"""
MAIN = """\
int pa_f_base_f32(int a, int b), pa_f_avx2_f32(int a, int b);
int main(void) { return pa_f_base_f32(1, 1) + pa_f_avx2_f32(-1, 1) == 99; }
"""
VARIANTS = {"base_f32": 2, "avx2_f32": -1}


def run(command, folder):
    subprocess.run([str(word) for word in command], cwd=folder, check=True, timeout=60)


def build(tree, cc, *flags):
    for name, value in VARIANTS.items():
        folder = tree / "build" / "temp.x" / name
        folder.mkdir(parents=True)
        run([cc, "-O0", *flags, f"-DNAME=pa_f_{name}", f"-DVALUE={value}", "-c", FILE,
             "-o", folder / "f.o"], tree)  # fmt: skip


@pytest.fixture
def counted(tmp_path):
    cc = compiler()
    named = subprocess.run([cc, "--version"], capture_output=True, text=True, check=True).stdout
    if shutil.which("gcov") is None or "Free Software Foundation" not in named:
        pytest.skip("needs gcc and gcov")
    tree = tmp_path
    (tree / "csrc" / "graph").mkdir(parents=True)
    (tree / FILE).write_text(SOURCE)
    (tree / "main.c").write_text(MAIN)
    build(tree, cc, *coverage.FLAGS.split())
    run([cc, "--coverage", "main.c", *coverage.objects(tree, ".o"), "-o", "main"], tree)
    run([tree / "main"], tree)
    return tree, coverage.Coverage(tree)


def test_copies_are_one(counted):
    """pick() is there once for each of two variants, and would be inlined twice into each; a
    macro makes first() and second() of one line."""
    _, found = counted
    assert sum(map(len, found.branches.values())) == 4 + 2 + 2 + 2
    assert set(found.branches) == {
        (FILE, 4, 4), (FILE, 6, 2), (FILE, 9, 2), (FILE, 14, 2),
    }  # fmt: skip
    # pick(1, 1) twice, pick(-1, 1) and pick(1, -1): only `b ? 2 : 3` with b == 0 never came;
    # of line 9 first() went one way, second() the other; of line 14 the two variants did
    assert coverage.never_taken(found) == {(FILE, 6): 1}


def test_too_little_fails(counted, capsys):
    tree, found = counted
    assert coverage.report(tree, found)
    assert f"{FILE}:6: 1 of: return b ? 2 : 3;" in capsys.readouterr().out
    found.branches[FILE, 6, 2][:] = [1, 1]
    assert not coverage.report(tree, found)
    found.lines[FILE, 6] = found.lines[FILE, 5] = 0
    assert coverage.report(tree, found)


def test_the_planted_gap_fails(counted, monkeypatch):
    tree, _ = counted
    monkeypatch.setattr(coverage, "AT_LEAST", 0.9)
    assert coverage.main(["--report", "--folder", str(tree)]) == 0
    assert coverage.main(["--report", "--folder", str(tree), "--plant"]) == 1


def test_a_part_that_fails_is_named(monkeypatch, capsys):
    parts = {"good": lambda: (0, "1 passed\n"), "bad": lambda: (1, "1 failed\n")}
    monkeypatch.setattr(coverage, "parts_of", lambda tree: parts)
    assert coverage.run_parts(ROOT, []) == ["bad"] and coverage.run_parts(ROOT, ["good"]) == []
    assert "good: 1 passed\n" in capsys.readouterr().out
