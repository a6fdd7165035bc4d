"""Shape functions with every wrap of an integer a failure.

    python tests/shapes.py           # two or three minutes, most of them clang's
    python tests/shapes.py --plant   # with a product that is not checked: must fail

Builds the core with clang, which watches each sum, difference, product and negation,
signed or not, and runs tests/c/test_shapes.c. What is meant to wrap is named in WRAPS.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WRAPS = """
fun:pa_add
src:*/csrc/base/rng*
src:*/csrc/base/half.h
src:*/csrc/base/dd*
src:csrc/base/rng*
"""
WATCH = "-fsanitize=signed-integer-overflow,unsigned-integer-overflow -fno-sanitize-recover=all"
PLANT = ("csrc/base/tensor.c", "!pa_mul(size, (size_t)dim[i], &size)",
         "(size *= (size_t)dim[i], 0)")  # fmt: skip


def main():
    with tempfile.TemporaryDirectory() as folder:
        home, folder = ROOT, Path(folder)
        if "--plant" in sys.argv:
            home = folder / "planted"
            shutil.copytree(ROOT / "csrc", home / "csrc")
            shutil.copy(ROOT / "setup.py", home)
            path = home / PLANT[0]
            source = path.read_text()
            assert source.count(PLANT[1]) == 1
            path.write_text(source.replace(*PLANT[1:]))
        (folder / "wraps").write_text(WRAPS)
        flags = f"-O0 {WATCH} -fsanitize-ignorelist={folder / 'wraps'}"
        subprocess.run(
            [sys.executable, "setup.py", "-q", "build_core", "--arch", "other", "--output",
             folder / "core"],
            cwd=home, check=True, env={**os.environ, "CC": "clang", "PYACT_CFLAGS": flags},
        )  # fmt: skip
        program = folder / "shapes"
        subprocess.run(
            ["clang", "-O1", *WATCH.split(), f"-I{home / 'csrc'}",
             f"-fsanitize-ignorelist={folder / 'wraps'}", ROOT / "tests/c/test_shapes.c",
             folder / "core" / "libpyact.a", "-lm", "-lpthread", "-o", program], check=True,
        )  # fmt: skip
        return subprocess.run([program, "20000"], check=False).returncode


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
