"""The test suite on a build with AddressSanitizer and UndefinedBehaviorSanitizer.

    python tests/sanitizers.py [--folder DIR] [test files]       about 8 minutes

Copies the tree, compiles it with gcc's sanitizers, preloads their libraries and runs each
test file in a process of its own, so that a report ends that file alone, as many beside each
other as there are cores. Prints a line for each; the exit status is the number of files that
failed. With --folder the build is kept there and used again. The suite itself does the same, but
for the operators on other instruction sets than this processor's best.

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
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from builds import compile_with, copy

Done = subprocess.CompletedProcess[str]

FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
# build other cores, look at the tree rather than at the core, start kernels of Jupyter, preload
# a library of their own, or measure the time of long calls
LEFT_OUT = {"c_programs", "planted", "package", "notebooks", "sanitizers", "docs", "layering",
            "static", "shapes", "parallel", "coverage", "allocations", "syscalls", "interrupts",
            "gil"}  # fmt: skip
# these measure time, or memory, of which the sanitizers' malloc keeps what was freed for a while
# and the core keeps no buffers for the next tape
ALSO_LEFT_OUT = ("test_training.py::test_ctrl_c", "test_memory.py::test_a_leak_is_found",
                 "test_memory.py::test_a_leak_in_what_is_registered_is_found",
                 "test_memory.py::test_a_process_",
                 "test_memory.py::test_a_tape_s_buffers_")  # fmt: skip
# the longest files, which are begun first
LONG = ["training", "ops", "ufuncs", "processes", "memory", "resume", "recurrent"]


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


def names() -> list[str]:
    """Of the test files, in the order in which they are begun."""
    found = {p.stem[5:] for p in Path(__file__).parent.glob("test_*.py")} - LEFT_OUT
    return [*LONG, *sorted(found - set(LONG))]


def run_file(tree: Path, name: str, *more: str) -> Done:
    """Output not captured by pytest, so that a report is not lost with the process."""
    path = tree / "tests" / f"test_{name}.py"
    skipped = [f"--deselect={path.parent.name}/{name}" for name in ALSO_LEFT_OUT]
    words = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", *skipped, *more,
             str(path)]  # fmt: skip
    return subprocess.run(words, cwd=tree, env=environment(tree), capture_output=True, text=True,
                          timeout=1800, check=False)  # fmt: skip


def run_all(tree: Path, names: list[str], *more: str) -> dict[str, Future[Done]]:
    """What each file gives, when it is done."""
    pool = ThreadPoolExecutor(os.cpu_count())
    found = {name: pool.submit(run_file, tree, name, *more) for name in names}
    pool.shutdown(wait=False)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("files", nargs="*", help="autodiff, ops ...")
    args = parser.parse_args()
    if libraries() is None:
        raise SystemExit("sanitizers: needs gcc with libasan and libubsan")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="pyact-sanitizers-") as temporary:
        tree = (args.folder or Path(temporary)).resolve()
        copy(tree)
        compile_with(tree, FLAGS)
        for name, future in run_all(tree, args.files or names()).items():
            done = future.result()
            lines = done.stdout.strip().splitlines()
            print(f"{name:16} {lines[-1] if lines else ''}", flush=True)
            if done.returncode:
                failed += 1
                print(done.stdout[-2000:] + done.stderr[-6000:])
    return failed


if __name__ == "__main__":
    sys.exit(main())
