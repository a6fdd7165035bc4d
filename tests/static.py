"""The core under the compilers' and cppcheck's eyes: no finding is left.

    python tests/static.py               # warnings, -fanalyzer, cppcheck: some minutes
    python tests/static.py warnings      # one of them (half a minute)
    python tests/static.py --plant       # with a lossy conversion, a leak, an array overrun

warnings: -Wall -Wextra -Wconversion (which in C includes -Wsign-conversion) for every file
and variant of this machine. analyzer: gcc's -fanalyzer. cppcheck: with the findings that
do not hold suppressed where they stand, and one kind in general: vectors are loaded from
memory that is addressed in bytes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
STRICT = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]
KNOWN = ["-DPA_HAVE_BASE=1", "-DPA_HAVE_AVX2=1", "-DPA_HAVE_AVX512=1"]
VARIANTS = {
    "base": ["-DPA_SIMD_BASE=1", "-msse2"],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"],
    "scalar": ["-DPA_SIMD_BASE=1", "-U__SSE2__"],  # without vectors: what other machines compile
}
PLANT = """
#include <stdlib.h>
int pa_planted(long n);
int pa_planted(long n)
{
    int a[4] = {1, 2, 3, 4};
    char *leak = malloc(8);
    if (!leak)
        return 0;
    leak[0] = 1;
    a[n & 1 ? 7 : 0] = leak[0];
    return n + a[1];
}
"""


def commands(csrc):
    """(file, flags) of every compilation."""
    python = ["-isystem", sysconfig.get_path("include"), "-isystem", np.get_include()]
    for folder in ("base", "graph"):
        for path in sorted((csrc / folder).rglob("*.c")):
            yield path, KNOWN
    for path in sorted((csrc / "py").rglob("*.c")):
        yield path, [*KNOWN, *python]
    x86 = os.uname().machine == "x86_64"
    for isa, flags in VARIANTS.items() if x86 else [("scalar", [])]:
        name = "base" if isa == "scalar" else isa
        for folder in ("kern", "ops"):
            for path in sorted((csrc / folder).rglob("*.c")):
                for real in ([], ["-DPA_REAL_IS_DOUBLE=1"]):
                    variant = f"-DPA_VARIANT={name}_{'f64' if real else 'f32'}"
                    yield path, [f"-DPA_ISA={name}", variant, *flags, *real]


def compile_all(csrc, what, more, only=lambda path, flags: True, also=lambda flags: []):
    def one(job):
        path, flags = job
        begun = time.monotonic()
        done = subprocess.run(
            [os.environ.get("CC", "gcc"), "-std=c11", *STRICT, *flags, f"-I{csrc}", *more,
             *also(flags), path],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if "--slow" in sys.argv and time.monotonic() - begun > 5:
            print(f"{time.monotonic() - begun:5.0f} s  {path.relative_to(csrc)}", flush=True)
        return done.stderr if done.returncode or done.stderr else ""

    jobs = [job for job in commands(csrc) if only(*job)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [text for text in pool.map(one, jobs) if text]
    print(f"{what}: {len(jobs)} compilations, {len(found)} with findings", flush=True)
    return found


def warnings(csrc):
    return compile_all(csrc, "warnings", ["-fsyntax-only"])


def analyzer(csrc):
    """Every file to its end: a path that is given up (too complex) is a finding as well.

    The numeric folders as they are when inlining is done (-O1): as written, each of a
    kernel's many inlined vector functions doubles the paths, and gelu alone takes minutes.
    """
    # where the analyzer of gcc 12 does not see what holds between fields or functions
    quiet = ["-Wno-analyzer-use-of-uninitialized-value", "-Wno-analyzer-null-argument"]
    return compile_all(
        csrc, "analyzer", ["-fanalyzer", "-Wno-conversion", *quiet, "-S", "-o", os.devnull],
        also=lambda flags: ["-O1"] if any("PA_VARIANT" in f for f in flags) else [],
    )  # fmt: skip


def cppcheck(csrc):
    if shutil.which("cppcheck") is None:
        print("cppcheck: is not installed")
        return []
    done = subprocess.run(
        ["cppcheck", "--quiet", "--std=c11", "--enable=warning,performance,portability",
         "--inline-suppr", "--suppress=invalidPointerCast", "-j2", f"-I{csrc}", "-DPA_ISA=avx2",
         "-DPA_VARIANT=avx2_f32", *KNOWN, "-D__SSE2__=1", "-D__AVX2__=1", "-D__FMA__=1",
         "-D__x86_64__=1", *(csrc / name for name in ("base", "graph", "kern", "ops"))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = [line for line in done.stderr.splitlines() if ": error:" in line or ": warning:" in line
             or ": portability:" in line or ": performance:" in line]  # fmt: skip
    print(f"cppcheck: {len(found)} findings", flush=True)
    return found


def main():
    tools = {"warnings": warnings, "analyzer": analyzer, "cppcheck": cppcheck}
    wanted = [name for name in tools if name in sys.argv] or list(tools)
    with tempfile.TemporaryDirectory() as folder:
        csrc = ROOT / "csrc"
        if "--plant" in sys.argv:
            csrc = Path(folder) / "csrc"
            shutil.copytree(ROOT / "csrc", csrc)
            (csrc / "base" / "planted.c").write_text(PLANT)
        found = {name: tools[name](csrc) for name in wanted}
    for name, texts in found.items():
        for text in texts[:10]:
            print(f"{name}: {text}", file=sys.stderr)
    if "--plant" in sys.argv:  # each of them has to find it
        return sum(not any("planted" in t for t in texts) for texts in found.values()) == 0
    return any(found.values())


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
