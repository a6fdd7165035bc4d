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

SOURCE = """\
#define INLINE static inline __attribute__((always_inline))
INLINE int pick(int a, int b)
{
    if (a > 0 && b > 0)
        return 1;
    return b ? 2 : 3;
}
int NAME(int a, int b)
{
    int sum = pick(a, b);
    sum += pick(b, a);
    if (sum == VALUE)
        return 0;
    return sum;
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
        folder = tree / "build" / "temp.x" / name / "csrc"
        folder.mkdir(parents=True)
        run([cc, "-O0", *flags, f"-DNAME=pa_f_{name}", f"-DVALUE={value}", "-c", "csrc/f.c",
             "-o", folder / "f.o"], tree)  # fmt: skip


@pytest.fixture
def counted(tmp_path):
    cc = compiler()
    named = subprocess.run([cc, "--version"], capture_output=True, text=True, check=True).stdout
    if shutil.which("gcov") is None or "Free Software Foundation" not in named:
        pytest.skip("needs gcc and gcov")
    tree = tmp_path
    (tree / "csrc").mkdir()
    (tree / "csrc" / "f.c").write_text(SOURCE)
    (tree / "main.c").write_text(MAIN)
    build(tree, cc, *coverage.FLAGS.split())
    run([cc, "--coverage", "main.c", *coverage.objects(tree, ".o"), "-o", "main"], tree)
    run([tree / "main"], tree)
    return tree, coverage.Coverage(tree)


def test_copies_are_one(counted):
    """pick() is there once for each of two variants, and would be inlined twice into each."""
    _, found = counted
    assert sum(map(len, found.branches.values())) == 4 + 2 + 2
    assert set(found.branches) == {
        ("csrc/f.c", 4, "pick", 4), ("csrc/f.c", 6, "pick", 2), ("csrc/f.c", 12, "pa_f", 2),
    }  # fmt: skip
    # pick(1, 1) twice, pick(-1, 1) and pick(1, -1): only `b ? 2 : 3` with b == 0 never came;
    # of line 12 the first variant went one way, the second the other
    assert coverage.never_taken(found) == {("csrc/f.c", 6): 1}


def test_too_little_fails(counted, capsys):
    tree, found = counted
    assert coverage.report(tree, found)
    assert "csrc/f.c:6: 1 of: return b ? 2 : 3;" in capsys.readouterr().out
    found.branches["csrc/f.c", 6, "pick", 2][:] = [1, 1]
    assert not coverage.report(tree, found)
    found.lines["csrc/f.c", 6] = found.lines["csrc/f.c", 5] = 0
    assert coverage.report(tree, found)
