"""Line and branch coverage of the C code by the test suite.

    python tests/coverage.py [--folder DIR] [pytest arguments]      about ten minutes

Builds a copy of the tree with gcov's counters, runs the suite on it (also what its
subprocesses run is counted; the C programs and the planted faults build cores of their own
and are left out), and prints the share of lines and branches of each file and in all. A
file is compiled once for each instruction set and dtype; a branch counts as taken when one
of them took it, since `#if` leaves out what does not concern the others. With --folder the
build is kept there and used again; DIR/coverage.txt lists the branches never taken.

Needs gcc and gcovr (pip install gcovr).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from builds import compile_with, copy, run

LEFT_OUT = ("test_c_programs.py", "test_planted.py", "test_package.py", "test_notebooks.py",
            "test_sanitizers.py")  # fmt: skip


def report(tree: Path) -> int:
    common = [
        sys.executable, "-m", "gcovr", "--root", tree, "--filter", f"{tree}/csrc/",
        "--merge-mode-functions", "merge-use-line-min", "--exclude-unreachable-branches",
        "--gcov-ignore-parse-errors=all", "-j", os.cpu_count() or 1,
    ]  # fmt: skip
    failed = run([*common, "--txt-metric", "branch", "--sort", "uncovered-number", "--txt",
                  tree / "coverage.txt", "--json-summary", tree / "coverage.json",
                  "--print-summary"], tree)  # fmt: skip
    print((tree / "coverage.txt").read_text())
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="keep the build here")
    args, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="pyact-coverage-") as temporary:
        tree = (args.folder or Path(temporary)).resolve()
        copy(tree)
        compile_with(tree, "--coverage -fprofile-update=atomic")
        for old in tree.rglob("*.gcda"):
            old.unlink()
        ignored = [f"--ignore={tree / 'tests' / name}" for name in LEFT_OUT]
        run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *ignored, *rest],
            tree, PYTHONPATH=str(tree))  # fmt: skip
        return report(tree)


if __name__ == "__main__":
    sys.exit(main())
