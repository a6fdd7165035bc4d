"""The test suite with each test in eight threads at once, by pytest-run-parallel.

    python tests/parallel.py [--short] [--iterations N] [test files]      about 15 minutes

Runs `pytest --parallel-threads=8` for each test file in turn and prints a line for each; the
exit status is the number of files that failed. --short: the files that the test suite itself
runs so. A fault of threads shows only now and then: --iterations repeats each test.

`ALONE` names what cannot run beside itself, and why; conftest.py marks those
`thread_unsafe`, and they run once. The plugin finds some by itself: capsys, monkeypatch,
pytest.warns and ctypes change or read the whole process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
THREADS = 8

PROCESSES = "starts processes, which have threads of their own to test"
BUILDS = "builds another core in one folder"
TREE = "looks at the tree, not at the core"
ALONE = {
    "test_allocations": PROCESSES,
    "test_big": "needs 14 GB once",
    "test_c_programs": BUILDS,
    "test_docs": "examples share the files they write",
    "test_environment": "changes the state of the process, or reads it",
    "test_fuzz": "sets a limit of memory and a clock for the process",
    "test_gil": "measures how long threads wait",
    "test_hostile": PROCESSES,
    "test_interrupts": "signals reach the main thread only",
    "test_layering": TREE,
    "test_memory": "measures the memory of the process",
    "test_notebooks": PROCESSES,
    "test_package": BUILDS,
    "test_parallel": PROCESSES,
    "test_planted": BUILDS,
    "test_processes": PROCESSES,
    "test_sanitizers": BUILDS,
    "test_syscalls": PROCESSES,
    "test_autodiff::test_layers_and_losses_of_ones_own_are_traced_once_in_fit":
        "counts on a class, which is one for all threads",
    "test_feedback::test_a_fixed_point_with_dropout_trains_to_the_same_bits_on_any_number_of_threads":
        "the number of threads is one for the process",
    "test_core::test_a_signal_s_handler_meets_a_call_at_work":
        "signals reach the main thread only",
    "test_feedback::test_a_loop_that_never_rests_can_be_interrupted":
        "signals reach the main thread only",
    "test_initializers::test_default_dtype_is_floatx": "floatx is one for all threads",
    "test_ops::test_other_instruction_sets": PROCESSES,
    "test_resume::test_a_killed_process_and_its_successor": PROCESSES,
    "test_training::test_ctrl_c_inside_a_long_step_undoes_it": PROCESSES,
    "test_training::test_ctrl_c_is_answered_within_a_tenth_of_a_second": PROCESSES,
    "test_training::test_training_is_the_same_in_a_fresh_process": PROCESSES,
    "test_ufuncs::test_activations_doctests_run": "doctest puts another sys.stdout in its place",
    "test_ufuncs::test_docstrings_state_the_formula_and_their_example_runs":
        "doctest puts another sys.stdout in its place",
}  # fmt: skip
SHORT = ("autodiff", "bad_input", "images", "losses", "optimizers")


def reason(file: str, test: str) -> str | None:
    """Why this test, or all of its file, runs in one thread only."""
    return ALONE.get(file) or ALONE.get(f"{file}::{test}")


def run_file(path: Path, *more: str, **env: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short",
             f"--parallel-threads={THREADS}", *more, str(path)]  # fmt: skip
    return subprocess.run(words, cwd=path.parent.parent, env={**os.environ, **env}, text=True,
                          capture_output=True, timeout=1800, check=False)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--iterations", type=int, default=1)
    parser.add_argument("files", nargs="*")
    args = parser.parse_args()
    names = args.files or (SHORT if args.short else sorted(
        p.stem[5:] for p in (ROOT / "tests").glob("test_*.py") if p.stem not in ALONE
    ))  # fmt: skip
    failed = 0
    for name in names:
        begun = time.monotonic()
        done = run_file(ROOT / "tests" / f"test_{name}.py", f"--iterations={args.iterations}")
        lines = done.stdout.strip().splitlines() or [done.stderr[-200:]]
        print(f"{name:14} {time.monotonic() - begun:5.0f} s  {lines[-1]}", flush=True)
        if done.returncode:
            failed += 1
            print(done.stdout[-4000:] + done.stderr[-2000:])
    return failed


if __name__ == "__main__":
    sys.exit(main())
