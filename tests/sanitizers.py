"""The test suite on a build with AddressSanitizer and UndefinedBehaviorSanitizer.

    python tests/sanitizers.py [--folder DIR] [--short] [test files]       about 20 minutes

Copies the tree, compiles it with gcc's sanitizers, preloads their libraries and runs each
test file in a process of its own, so that a report ends that file alone. Prints a line for
each; the exit status is the number of files that failed. --short: the files that the test
suite itself runs. With --folder the build is kept there and used again.

Leaks are not looked for: Python itself leaves memory behind at its end. What a program
writes beyond a value but inside its arena is not seen either; the same operators run on
NumPy's arrays in test_ops.py, where it is.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from builds import compile_with, copy

FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
# build other cores, look at the tree rather than at the core, start kernels of Jupyter, preload
# a library of their own, or measure the time of long calls
LEFT_OUT = {"c_programs", "planted", "package", "notebooks", "sanitizers", "docs", "layering",
            "static", "shapes", "parallel", "coverage", "allocations", "syscalls", "interrupts",
            "gil"}  # fmt: skip
# these measure time, or memory, of which the sanitizers' malloc keeps what was freed for a while
ALSO_LEFT_OUT = ("test_training.py::test_ctrl_c", "test_memory.py::test_a_leak_is_found",
                 "test_memory.py::test_a_leak_in_what_is_registered_is_found",
                 "test_memory.py::test_a_process_")  # fmt: skip
SHORT = ("autodiff", "bad_input", "copies", "feedback", "finite", "functional", "health",
         "images", "losses", "metrics", "optimizers", "recurrent", "saving")  # fmt: skip
PARTS = {"ops": "test_layouts_give", "ufuncs": "size_and_layout and float32"}  # of long files


def libraries() -> str | None:
    """What LD_PRELOAD needs, or None where gcc has no sanitizers."""
    found = []
    for name in ("libasan.so", "libubsan.so"):
        if shutil.which("gcc") is None:
            return None
        words = ["gcc", f"-print-file-name={name}"]
        path = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
        if not os.path.isabs(path):
            return None
        found.append(path)
    return os.pathsep.join(found)


def environment(tree: Path) -> dict[str, str]:
    return {
        **os.environ,
        "LD_PRELOAD": libraries() or "",
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(tree),
        "PYTHONSAFEPATH": "",
    }


def run_file(tree: Path, path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Output not captured by pytest, so that a report is not lost with the process."""
    skipped = [f"--deselect={path.parent.name}/{name}" for name in ALSO_LEFT_OUT]
    words = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", *skipped, *more,
             str(path)]  # fmt: skip
    return subprocess.run(words, cwd=tree, env=environment(tree), capture_output=True, text=True,
                          timeout=1800, check=False)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("files", nargs="*")
    args = parser.parse_args()
    if libraries() is None:
        raise SystemExit("sanitizers: needs gcc with libasan and libubsan")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="pyact-sanitizers-") as temporary:
        tree = (args.folder or Path(temporary)).resolve()
        copy(tree)
        compile_with(tree, FLAGS)
        names = args.files or ((*SHORT, *PARTS) if args.short else sorted(
            p.stem[5:] for p in (tree / "tests").glob("test_*.py") if p.stem[5:] not in LEFT_OUT
        ))  # fmt: skip
        for name in names:
            begun = time.monotonic()
            part = ("-k", PARTS[name]) if args.short and name in PARTS else ()
            done = run_file(tree, tree / "tests" / f"test_{name}.py", *part)
            lines = done.stdout.strip().splitlines()
            print(f"{name:14} {time.monotonic() - begun:5.0f} s  {lines[-1] if lines else ''}")
            if done.returncode:
                failed += 1
                print(done.stdout[-2000:] + done.stderr[-6000:])
    return failed


if __name__ == "__main__":
    sys.exit(main())
