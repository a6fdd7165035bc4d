"""Line and branch coverage of the C code by the test suite.

    python tests/coverage.py [--folder DIR] [parts]      about 12 minutes

Builds a copy of the tree with gcov's counters, without optimisation and without inlining, so
that each branch is one of the source; runs on it each test file, test_ops.py also with the
other instruction sets, every failing allocation (allocations.py), and the C programs of
tests/c linked with the same objects: each in a process of its own, as many beside each other
as there are cores, with a line for each. Prints the share of lines and branches of each folder
and file, then each branch never taken, with its reason where tests/uncovered.txt knows one.
Exit status 1 when under 95 % of the lines or of the branches were taken, or a part failed. What
a part's subprocesses run is counted too. `LEFT_OUT` and `TESTS_LEFT_OUT` say what is not run, and
why.

What is counted. A branch is one way out of one condition of one line. A file is compiled once for
each instruction set and dtype, a header once in each file, and a macro may make several functions
of one line: a branch counts once, and as taken when one of these copies took it. A line whose
conditions the preprocessor makes different counts once for each number of them.

    parts       only these, by the names that the lines have: test_ops.py, allocations.py ...
    --report    no run: the report of what --folder DIR has counted so far
    --add       the counts so far stay
    --plant     as if nothing had run csrc/graph: the check must fail

Needs gcc and its gcov.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

from builds import ROOT, compile_with, copy

BUILDS = "builds another core, and looks at that"
TREE = "looks at the tree, not at the core"
TIMES = "measures times, which are others without optimisation"
LONG = "minutes of training or of data, of which other tests have the calls"
LEFT_OUT = {
    "test_allocations": "allocations.py is run by itself, without its limits of time",
    "test_big": "needs 14 GB",
    "test_c_programs": "builds them with another core; here they are run with this one",
    "test_coverage": BUILDS,
    "test_docs": TREE,
    "test_gil": TIMES,
    "test_interrupts": TIMES,
    "test_layering": TREE,
    "test_notebooks": LONG,
    "test_package": BUILDS,
    "test_parallel": "runs other test files again",
    "test_planted": BUILDS,
    "test_sanitizers": BUILDS,
}
TESTS_LEFT_OUT = {
    "other_instruction_sets": "is a part of its own here",
    "ctrl_c": TIMES,
    "are_learned": LONG,
    "learn_which_of_two": LONG,
    "a_mapped_file_is_read": LONG,
}
FIRST = ("test_ops", "test_ufuncs", "allocations", "test_gemm")  # take longest
AT_LEAST = 0.95
LIMIT = 600  # seconds for one part
FLAGS = "--coverage -fprofile-update=atomic -Dalways_inline=unused"


# ---- running ---------------------------------------------------------------------------------


def objects(tree: Path, ending: str) -> list[Path]:
    return sorted(tree.glob(f"build/temp.*/**/*{ending}"))


def call(command: list[object], tree: Path, **env: str) -> tuple[int, str]:
    """Exit status and output. Ends by SIGINT, at which the counters are still written."""
    seen = {"PYTHONPATH": f"{tree}{os.pathsep}{tree / 'tests'}", "PYACT_TEST_ONE_ISA": "1",
            "PYACT_TEST_PATIENCE": "5"}  # fmt: skip
    with subprocess.Popen([str(word) for word in command], cwd=tree, text=True,
                          env={**os.environ, **seen, **env}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:  # fmt: skip
        try:
            text, _ = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            text, _ = process.communicate()
    return process.returncode, text


def call_program(program: Path, tree: Path) -> tuple[int, str]:
    core = [path for path in objects(tree, ".o") if "py" not in path.parts]
    with tempfile.TemporaryDirectory() as folder:
        exe, cc = Path(folder) / program.stem, os.environ.get("CC", "gcc")
        status, text = call([cc, "-std=c11", "-Icsrc", program, *core, "-lm", "-lpthread",
                             "--coverage", "-o", exe], tree)  # fmt: skip
        return (status, text) if status else call([exe], tree)


def parts_of(tree: Path) -> dict[str, Callable[[], tuple[int, str]]]:
    tests = tree / "tests"
    without = " and ".join(f"not {name}" for name in TESTS_LEFT_OUT)
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", without]
    found: dict[str, Callable[[], tuple[int, str]]] = {}
    for file in sorted(tests.glob("test_*.py")):
        if file.stem not in LEFT_OUT:
            found[file.name] = partial(call, [*pytest, file], tree)
    names = "from pyact import _core; print(*{*_core.tables()} - {_core.isa()})"
    for isa in sorted(call([sys.executable, "-c", names], tree)[1].split()):
        found[f"test_ops.py on {isa}"] = partial(
            call, [*pytest, tests / "test_ops.py"], tree, PYACT_ISA=isa
        )
    for options in ("", " --core", " --registered --every 10"):
        words = f"allocations.py{options}".split()
        found[" ".join(words)] = partial(call, [sys.executable, tests / words[0], *words[1:]], tree)
    for program in sorted((tests / "c").glob("*.c")):
        found[program.name] = partial(call_program, program, tree)
    return found


def run_parts(tree: Path, names: list[str]) -> list[str]:
    """The names of those that failed."""
    parts = parts_of(tree)
    if unknown := set(names) - set(parts):
        raise SystemExit(f"no parts: {', '.join(unknown)}; there are {', '.join(parts)}")
    chosen = sorted(names or parts, key=lambda name: not name.startswith(FIRST))

    def timed(name: str) -> bool:
        begun = time.monotonic()
        status, text = parts[name]()
        last = text.strip().splitlines()[-1:] if status == 0 else [f"FAILED ({status})", text]
        print(f"{time.monotonic() - begun:6.1f} s  {name}: {' '.join(last)}", flush=True)
        return status == 0

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [n for n, good in zip(chosen, pool.map(timed, chosen), strict=True) if not good]


# ---- what gcov knows ---------------------------------------------------------------------------

def read(path: Path) -> list[dict[str, Any]]:
    """Of one object: its files, with the lines of each."""
    done = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", path],
                          cwd=path.parent, capture_output=True, check=True)  # fmt: skip
    files: list[dict[str, Any]] = json.loads(done.stdout)["files"]
    return [one for one in files if one["file"].startswith("csrc/")]


class Coverage:
    """lines: (file, line) -> how often it was run; branches: (file, line, number of branches)
    -> how often each was taken, over all copies."""

    def __init__(self, tree: Path):
        self.lines: Counter[tuple[str, int]] = Counter()
        self.branches: dict[tuple[str, int, int], list[int]] = {}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for files in pool.map(read, objects(tree, ".gcno")):
                for one in files:
                    gone = not (tree / one["file"]).exists()  # since its object was made
                    for line in [] if gone else one["lines"]:
                        self._add(one["file"], line)

    def _add(self, file: str, line: dict[str, Any]) -> None:
        number, counts = line["line_number"], [branch["count"] for branch in line["branches"]]
        self.lines[file, number] += line["count"]
        if counts:
            key = file, number, len(counts)
            total = self.branches.setdefault(key, [0] * len(counts))
            total[:] = map(sum, zip(total, counts, strict=True))


def never_taken(found: Coverage) -> Counter[tuple[str, int]]:
    """(file, line) -> how many of its branches nobody took."""
    return Counter((file, line) for (file, line, _), counts in found.branches.items()
                   for count in counts if count == 0)  # fmt: skip


# ---- the report --------------------------------------------------------------------------------


def known() -> dict[tuple[str, str], str]:
    """tests/uncovered.txt: (file, text of the line) -> why no test takes some branch of it.

    A paragraph's first lines, from "#", are the reason; the others are "file: text". The text
    instead of a number, so that it stays true when lines move; it may end in "...", and a
    file in "*".
    """
    found, reason = {}, ""
    for line in (ROOT / "tests" / "uncovered.txt").read_text().splitlines():
        if line.startswith("#"):
            reason = f"{reason} {line[1:].strip()}".strip()
        elif line:
            file, text = line.split(": ", 1)
            found[file, text.strip()] = reason
        else:
            reason = ""
    return found


def reason_for(reasons: dict[tuple[str, str], str], file: str, text: str) -> str | None:
    for (files, line), reason in reasons.items():
        begins = line.endswith("...") and text.startswith(line[:-3])
        if (begins or text == line) and fnmatch(file, files):
            return reason
    return None


def report(tree: Path, found: Coverage) -> int:
    """Prints it; the exit status."""
    missing, reasons = never_taken(found), known()
    branches: Counter[str] = Counter()
    unknown = 0
    lines: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    gone: Counter[str] = Counter()
    for (file, *_), counts in found.branches.items():
        for name in {file, folder_of(file), "csrc"}:
            branches[name] += len(counts)
    for (file, _), count in found.lines.items():
        for name in {file, folder_of(file), "csrc"}:
            lines[name][0] += count > 0
            lines[name][1] += 1
    for (file, _), n in missing.items():
        for name in {file, folder_of(file), "csrc"}:
            gone[name] += n
    print("branches         taken   lines           run   of")
    for name in sorted(lines, key=lambda n: (n.count(".") > 0, n)):
        run_, all_ = lines[name]
        of = branches[name]
        print(f"{of:8} {share(of - gone[name], of):12.1%} {all_:7} {share(run_, all_):12.1%}   "
              f"{name}")  # fmt: skip
    print("\nNever taken:")
    source: dict[str, list[str]] = {}
    for (file, line), n in sorted(missing.items()):
        if file not in source:
            source[file] = (tree / file).read_text().splitlines()
        text = source[file][line - 1].strip()
        why = reason_for(reasons, file, text)
        unknown += n * (why is None)
        print(f"{file}:{line}: {n} of: {text}" + (f"   [{why}]" if why else ""))
    of, (run_, all_) = branches["csrc"], lines["csrc"]
    taken = share(of - gone["csrc"], of)
    print(f"\n{of} branches, {taken:.2%} taken; {gone['csrc']} never, of which tests/uncovered.txt "
          f"does not know {unknown}; {all_} lines, {share(run_, all_):.2%} run")  # fmt: skip
    return min(taken, share(run_, all_)) < AT_LEAST


def folder_of(file: str) -> str:
    return "/".join(file.split("/")[:2])


def share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="keep the build here")
    for option in ("report", "add", "plant"):
        parser.add_argument(f"--{option}", action="store_true")
    parser.add_argument("parts", nargs="*", help="default: all")
    args = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="pyact-coverage-") as temporary:
        tree = (args.folder or Path(temporary)).resolve()
        failed: list[str] = []
        if not args.report:
            copy(tree)
            compile_with(tree, FLAGS, "-O0")
            for old in objects(tree, ".gcda") if not args.add else []:
                old.unlink()
            # a shell ignores it for what it starts in the background, and so would the parts
            signal.signal(signal.SIGINT, signal.default_int_handler)
            failed = run_parts(tree, args.parts)
        found = Coverage(tree)
        if args.plant:
            for (file, *_), counts in found.branches.items():
                if file.startswith("csrc/graph/"):
                    counts[:] = [0] * len(counts)
        return max(report(tree, found), len(failed))


if __name__ == "__main__":
    sys.exit(main())
