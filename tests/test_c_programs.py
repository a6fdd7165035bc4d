"""The core as a C library: every program in tests/c is built against it and run.

On a machine with a cross compiler and qemu-user (Debian: gcc-aarch64-linux-gnu
qemu-user-static) the library and the programs are also built for 64-bit ARM, whose
variants (NEON and plain C) are run nowhere else. That takes minutes and is asked for by
PYACT_TEST_ARM=1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
import sanitizers
from conftest import ROOT, compiler, run

from pyact import _core

PROGRAMS = sorted((ROOT / "tests" / "c").glob("*.c"))
FLAGS = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-Icsrc"]
programs = pytest.mark.parametrize("program", PROGRAMS, ids=[p.stem for p in PROGRAMS])


def build(cc, program, library, output, *more):
    run([cc, *FLAGS, *more, program, library / "libpyact.a", "-lm", "-lpthread", "-o", output])
    return output


@programs
def test_program(program, core_library, tmp_path):
    exe = build(compiler(), program, core_library, tmp_path / program.stem)
    printed = run([exe], 120)
    assert printed.strip(), f"{program.name} printed nothing"


def test_the_example_learns(core_library, tmp_path):
    """The example of the public header: its loss falls, and its last line says so."""
    exe = build(compiler(), ROOT / "tests" / "c" / "train_mlp.c", core_library, tmp_path / "mlp")
    lines = [line for line in run([exe]).splitlines() if "loss" in line]
    loss = [float(line.split("loss")[1].split(",")[0]) for line in lines]
    accuracy = float(lines[-1].split()[-1])
    assert loss[-1] < 0.1 * loss[0] and accuracy > 0.98, lines


# ---- what is allocated is freed ---------------------------------------------------------------


def leaks(program, library, output):
    """What AddressSanitizer, which also replaces malloc, reports at the program's end."""
    if not sys.platform.startswith("linux") or sanitizers.libraries() is None:
        pytest.skip("needs Linux and gcc with libasan")
    exe = build("gcc", program, library, output, "-g", "-fsanitize=address")
    done = subprocess.run([exe], env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1"}, text=True,
                          capture_output=True, timeout=300, check=False)  # fmt: skip
    assert done.returncode == 0 or "ERROR: LeakSanitizer" in done.stderr, done.stdout + done.stderr
    return done.stderr if done.returncode else ""


@programs
def test_a_program_leaks_nothing(program, core_library, tmp_path):
    assert not leaks(program, core_library, tmp_path / program.stem)


def test_a_leak_of_a_program_is_found(core_library, tmp_path):
    text = (ROOT / "tests" / "c" / "test_graph.c").read_text()
    assert "pa_program_free(p)" in text
    (tmp_path / "planted.c").write_text(text.replace("pa_program_free(p)", "(void)(p)", 1))
    found = leaks(tmp_path / "planted.c", core_library, tmp_path / "planted")
    assert "detected memory leaks" in found and "pa_program_new" in found


# ---- 64-bit ARM -------------------------------------------------------------------------------

CROSS, QEMU = "aarch64-linux-gnu-gcc", "qemu-aarch64-static"


@pytest.fixture(scope="session")
def arm_library():
    for tool in (CROSS, QEMU):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    output = ROOT / "build" / "core-aarch64"
    run([sys.executable, "setup.py", "-q", "build_core", "--arch", "aarch64", "--output", output],
        900, CC=CROSS)  # fmt: skip
    return output


@pytest.mark.skipif("PYACT_TEST_ARM" not in os.environ, reason="asked for by PYACT_TEST_ARM=1")
@programs
def test_program_on_arm(program, arm_library, tmp_path):
    exe = build(CROSS, program, arm_library, tmp_path / program.stem)
    assert run([QEMU, "-L", "/usr/aarch64-linux-gnu", exe], 600).strip()


# ---- what the core cannot do ------------------------------------------------------------------


def undefined(path):
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("no nm on this machine")
    dynamic = ["-D"] if str(path).endswith(".so") else []  # it may be stripped
    lines = run([nm, *dynamic, "--undefined-only", path]).splitlines()
    return {line.split()[-1].split("@")[0] for line in lines if line.strip() and ":" not in line}


FORBIDDEN = {"abort", "exit", "_exit", "_Exit", "quick_exit", "raise", "kill", "__assert_fail",
             "__assert_rtn", "printf", "puts", "putchar", "fprintf", "__printf_chk",
             "__fprintf_chk", "perror", "longjmp", "system", "fopen", "open"}  # fmt: skip


def test_nothing_in_the_module_ends_the_process_or_prints(core_library):
    assert not undefined(core_library / "libpyact.a") & FORBIDDEN
    if sys.platform.startswith("linux"):
        assert not undefined(_core.__file__) & FORBIDDEN


def test_an_abort_would_be_seen(tmp_path):
    source = tmp_path / "a.c"
    source.write_text("#include <stdlib.h>\nvoid f(int x) { if (x) abort(); }\n")
    run([compiler(), "-O2", "-c", source, "-o", tmp_path / "a.o"])
    assert undefined(tmp_path / "a.o") & FORBIDDEN == {"abort"}
