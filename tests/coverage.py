"""Line and branch coverage of the C code by the test suite.

    python tests/coverage.py [--folder DIR] [pytest arguments]

Builds a copy of the tree with gcov's counters, without optimisation and without inlining, so
that each branch is one of the source; runs the suite on it, then every failing allocation
(allocations.py) and the C programs of tests/c linked with the same objects. Prints the share of
lines and branches of each folder and file, then each branch never taken, with its reason where
tests/uncovered.txt knows one. Exit status 1 when under 95 % of the lines or of the branches were
taken. What the suite's subprocesses run is counted too. Tests that build a core of their own or
do not call the core are left out.

What is counted. A branch is one way out of one condition of one line of one function. A file is
compiled once for each instruction set and dtype, and a header once in each file: a branch counts
as taken when one of these copies took it. A line whose conditions the preprocessor makes
different counts once for each number of them; one that it makes into several functions counts
for each function.

    --report    no run: the report of what --folder DIR has counted so far
    --add       the counts so far stay
    --plant     as if nothing had run csrc/graph: the check must fail

Needs gcc and its gcov.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from builds import ROOT, compile_with, copy, run

LEFT_OUT = ("test_c_programs.py", "test_planted.py", "test_package.py", "test_notebooks.py",
            "test_sanitizers.py", "test_layering.py", "test_docs.py",
            "test_allocations.py")  # is run by itself, without its limits of time  # fmt: skip
AT_LEAST = 0.95
FLAGS = "--coverage -fprofile-update=atomic -Dalways_inline=unused"


# ---- running ---------------------------------------------------------------------------------


def objects(tree: Path, ending: str) -> list[Path]:
    return sorted(tree.glob(f"build/temp.*/**/*{ending}"))


def run_suite(tree: Path, rest: list[str]) -> None:
    seen = {"PYTHONPATH": f"{tree}{os.pathsep}{tree / 'tests'}"}
    ignored = [f"--ignore={tree / 'tests' / name}" for name in LEFT_OUT]
    run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *ignored, *rest],
        tree, **seen)  # fmt: skip
    for option in ([], ["--core"]):
        run([sys.executable, tree / "tests" / "allocations.py", *option], tree, **seen)


def run_c_programs(tree: Path) -> None:
    core = [path for path in objects(tree, ".o") if "py" not in path.parts]
    with tempfile.TemporaryDirectory() as folder:
        for program in sorted((tree / "tests" / "c").glob("*.c")):
            exe = Path(folder) / program.stem
            cc = os.environ.get("CC", "gcc")
            failed = run([cc, "-std=c11", "-Icsrc", program, *core, "-lm", "-lpthread",
                          "--coverage", "-o", exe], tree) or run([exe], tree)  # fmt: skip
            if failed:
                raise SystemExit(f"{program.name} failed")


# ---- what gcov knows ---------------------------------------------------------------------------

VARIANT = re.compile(r"_(base|avx2|avx512|neon)_f(32|64)$")  # of pa_ functions


def read(path: Path) -> list[dict[str, Any]]:
    """Of one object: its files, with the lines of each."""
    done = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", path],
                          cwd=path.parent, capture_output=True, check=True)  # fmt: skip
    files: list[dict[str, Any]] = json.loads(done.stdout)["files"]
    return [one for one in files if one["file"].startswith("csrc/")]


class Coverage:
    """lines: (file, line) -> how often it was run; branches: (file, line, function, number of
    branches) -> how often each was taken, over all copies."""

    def __init__(self, tree: Path):
        self.lines: Counter[tuple[str, int]] = Counter()
        self.branches: dict[tuple[str, int, str, int], list[int]] = {}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for files in pool.map(read, objects(tree, ".gcno")):
                for one in files:
                    for line in one["lines"]:
                        self._add(one["file"], line)

    def _add(self, file: str, line: dict[str, Any]) -> None:
        number, counts = line["line_number"], [branch["count"] for branch in line["branches"]]
        function = VARIANT.sub("", line.get("function_name", ""))
        self.lines[file, number] += line["count"]
        if counts:
            key = file, number, function, len(counts)
            total = self.branches.setdefault(key, [0] * len(counts))
            total[:] = map(sum, zip(total, counts, strict=True))


def never_taken(found: Coverage) -> Counter[tuple[str, int]]:
    """(file, line) -> how many of its branches nobody took."""
    return Counter((file, line) for (file, line, *_), counts in found.branches.items()
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="keep the build here")
    for option in ("report", "add", "plant"):
        parser.add_argument(f"--{option}", action="store_true")
    args, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="pyact-coverage-") as temporary:
        tree = (args.folder or Path(temporary)).resolve()
        if not args.report:
            copy(tree)
            compile_with(tree, FLAGS, "-O0")
            for old in objects(tree, ".gcda") if not args.add else []:
                old.unlink()
            run_suite(tree, rest)
            run_c_programs(tree)
        found = Coverage(tree)
        if args.plant:
            for (file, *_), counts in found.branches.items():
                if file.startswith("csrc/graph/"):
                    counts[:] = [0] * len(counts)
        return report(tree, found)


if __name__ == "__main__":
    sys.exit(main())
