"""Builds of a copy of the tree with a compiler's instruments: for coverage.py, sanitizers.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(command: list[object], folder: Path, **env: str) -> int:
    words = [str(w) for w in command]
    return subprocess.run(words, cwd=folder, env={**os.environ, **env}, check=False).returncode


def copy(tree: Path) -> None:
    """What the tests need, in place of what stands there already; objects stay."""
    tree.mkdir(parents=True, exist_ok=True)
    for name in ("setup.py", "pyproject.toml", "README.md", "CONTRIBUTING.md", "LICENSE"):
        shutil.copy2(ROOT / name, tree / name)
    for name in ("csrc", "pyact", "tests", "docs", "notebooks", "benchmarks", ".ci"):
        shutil.rmtree(tree / name, ignore_errors=True)
        skip = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(ROOT / name, tree / name, dirs_exist_ok=True, ignore=skip)


def compile_with(tree: Path, flags: str, level: str = "-O1") -> None:
    """Only what has changed since the last time is compiled."""
    env = {
        "PYACT_BUILD_JOBS": str(os.cpu_count() or 1),
        "PYACT_CFLAGS": f"{flags} {level}",
        "PYACT_LDFLAGS": flags,
        "WERROR": "",
    }
    if run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], tree, **env):
        raise SystemExit(f"the build with {flags} failed")
