"""The package as it is shipped: what is built, how large, how fast to import, how typed.

The builds work on a copy of the sources with the objects that an installation has left in
build/, so that hardly anything is compiled; without those they take minutes.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import make_stubs
import pytest
from conftest import ROOT, objects, run, search_path

import pyact
from pyact import _core

SOURCES = (
    ".ci", ".clang-format", ".github", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE",
    "MANIFEST.in", "README.md", "benchmarks", "csrc", "docs", "notebooks", "pyact",
    "pyproject.toml", "setup.py", "tests",
)  # fmt: skip
NO_EXTENSION = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__", ".ipynb_checkpoints")
PLAIN_BUILD = not {"PYACT_CFLAGS", "PYACT_LDFLAGS"} & set(os.environ)  # no sanitizers


def in_folder(folder, *command, timeout=1200, **env):
    """A command's output, both streams; fails the test when the command fails."""
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env={**os.environ, **env}, timeout=timeout,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def copy_sources(to, objects_from=ROOT):
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=NO_EXTENSION)
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, to / name)
    copy_objects(to, objects_from)


def copy_objects(to, origin=ROOT):
    folder = objects().relative_to(ROOT)
    if (origin / folder).is_dir():
        shutil.copytree(origin / folder, to / folder)


def compiled(output):
    """(objects compiled, objects in all) according to a build's output, and their names."""
    found = re.search(r"pyact: compiled (\d+) of (\d+) objects(?: \((.*)\))?", output)
    assert found, output[-3000:]
    return int(found[1]), int(found[2]), (found[3] or "").split(", ")


def hook(folder, name):
    """Calls a build hook of PEP 517 in a folder; the path of what it made."""
    code = f"import setuptools.build_meta as b, os; print('made', b.{name}('dist'))"
    output = in_folder(folder, sys.executable, "-c", code)
    return folder / "dist" / re.search(r"^made (.*)$", output, re.M)[1]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the sources in which everything has been compiled."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("tree")
    copy_sources(folder)
    in_folder(folder, sys.executable, "setup.py", "build_ext", "--inplace")
    return folder


@pytest.fixture(scope="module")
def wheel(tree):
    return hook(tree, "build_wheel")


@pytest.fixture(scope="module")
def sdist(tree):
    return hook(tree, "build_sdist")


def contents(wheel):
    """name -> digest of what a wheel holds."""
    with zipfile.ZipFile(wheel) as z:
        return {n: hashlib.sha256(z.read(n)).hexdigest() for n in z.namelist()}


# ---- building -----------------------------------------------------------------------------------


def test_only_what_changed_is_compiled(tree):
    build = (sys.executable, "setup.py", "build_ext", "--inplace")
    assert compiled(in_folder(tree, *build))[0] == 0
    variants = 2 * len(_core.tables()) if len(_core.tables()) > 2 else None
    (tree / "csrc" / "ops" / "map" / "mish.c").touch()
    count, total, names = compiled(in_folder(tree, *build))
    assert {n.partition("/")[2] for n in names} == {"csrc/ops/map/mish.o"}
    assert count == len(names) and (variants is None or count == variants) and total > 300
    (tree / "csrc" / "py" / "ufunc.h").touch()  # a header: what includes it, and that alone
    names = compiled(in_folder(tree, *build))[2]
    assert {"py/csrc/py/ufunc.o", "py/csrc/py/module.o"} <= set(names)
    assert all(n.startswith("py/") for n in names)


def test_other_flags_compile_anew(tree):
    """An object is what its command line makes of it: with a flag that no compiler knows the
    build fails instead of finding everything done."""
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext"], cwd=tree, capture_output=True, check=False,
        env={**os.environ, "PYACT_CFLAGS": "--no-such-flag"},
    )  # fmt: skip
    assert done.returncode != 0
    assert compiled(in_folder(tree, sys.executable, "setup.py", "build_ext"))[0] == 0


def test_an_editable_installation_reuses_objects(tree):
    """pip gives each build a temporary folder; the objects are not to be lost with it."""
    code = (
        "import os, sys, setuptools.build_meta as b; os.makedirs('dist', exist_ok=True); "
        "b.build_editable('dist')"
    )
    assert compiled(in_folder(tree, sys.executable, "-c", code))[0] == 0


def test_a_build_says_little(tree):
    (tree / "csrc" / "ops" / "map" / "relu.c").touch()
    output = in_folder(tree, sys.executable, "setup.py", "build_ext", "--inplace")
    assert len(output.splitlines()) < 12 and max(map(len, output.splitlines())) < 1000


def test_a_missing_compiler_is_named(tree):
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--build-temp", "build/none"], cwd=tree,
        env={**os.environ, "CC": "no-such-compiler"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "the C compiler 'no-such-compiler'" in done.stderr and "apt-get install" in done.stderr


def test_sdist_and_tree_give_the_same_wheel(sdist, wheel, tmp_path):
    with tarfile.open(sdist) as tar:
        tar.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    [folder] = tmp_path.iterdir()
    for name in SOURCES:
        if (ROOT / name).exists():
            assert (folder / name).exists(), f"{name} is not in the sdist"
    for source in (ROOT / "csrc").rglob("*.[ch]"):
        assert (folder / source.relative_to(ROOT)).exists(), f"{source} is not in the sdist"
    assert not [p for p in folder.rglob("*") if p.suffix in (".so", ".o", ".pyc")]
    copy_objects(folder, wheel.parents[1])
    ours, theirs = contents(wheel), contents(hook(folder, "build_wheel"))
    differing = {n for n in set(ours) | set(theirs) if ours.get(n) != theirs.get(n)}
    assert not {n for n in differing if not n.endswith(("RECORD", "SOURCES.txt"))}


def test_what_the_wheel_holds(wheel):
    names = set(contents(wheel))
    sources = (p for p in (ROOT / "pyact").rglob("*") if p.suffix in (".py", ".pyi"))
    modules = {p.relative_to(ROOT).as_posix() for p in sources}
    assert names >= modules | {"pyact/py.typed"}
    rest = [n for n in names - modules - {"pyact/py.typed"} if ".dist-info/" not in n]
    assert [Path(n).suffix for n in rest] == [Path(_core.__file__).suffix], rest
    assert any(n.endswith("licenses/LICENSE") for n in names)


def test_a_module_that_was_removed_is_not_shipped(tree):
    stale = tree / "build"
    for lib in stale.glob("lib*"):
        (lib / "pyact" / "long_gone.py").write_text("", encoding="utf-8")
    assert "pyact/long_gone.py" not in contents(hook(tree, "build_wheel"))


@pytest.mark.skipif(not PLAIN_BUILD, reason="sanitizers make everything larger")
def test_the_wheel_is_small_and_stripped(wheel):
    assert wheel.stat().st_size <= 3 * 2**20, f"{wheel.stat().st_size / 2**20:.2f} MB"
    with zipfile.ZipFile(wheel) as z:
        [name] = [n for n in z.namelist() if n.endswith((".so", ".pyd"))]
        data = z.read(name)
        installed = sum(info.file_size for info in z.infolist())
    print(f"installed: {installed / 1e6:.2f} MB, of it {len(data) / 1e6:.2f} compiled")
    assert installed <= 5e6, f"{installed / 1e6:.2f} MB"
    if sys.platform == "linux":
        assert b".symtab\0" not in data and b".debug_info\0" not in data


def test_versions_agree(wheel):
    assert wheel.name.startswith(f"pyact-{pyact.__version__}-")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changes, re.M)[1] == pyact.__version__


# ---- CONTRIBUTING's walk: a new operator --------------------------------------------------------


def test_an_operator_in_three_places(tree, tmp_path):
    """CONTRIBUTING.md to the letter: one file, one line, one row; then its tests run."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    file, line = re.findall(r"^```c\n(.*?)^```", page, re.M | re.S)
    [row] = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    name = re.search(r"csrc/ops/map/(\w+)\.c", page)[1]
    copy_sources(tmp_path, tree)
    (tmp_path / "csrc" / "ops" / "map" / f"{name}.c").write_text(file, encoding="utf-8")
    for path, text in (("csrc/ops/ops.def", line), ("tests/reference.py", row)):
        with open(tmp_path / path, "a", encoding="utf-8") as end:
            end.write(text)
    build = (sys.executable, "setup.py", "build_ext", "--inplace")
    names = compiled(in_folder(tmp_path, *build, WERROR=""))[2]
    assert {n.partition("/")[2] for n in names} == {f"csrc/ops/map/{name}.o", "csrc/ops/table.o"}
    pytest_on_it = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                    "tests/test_ops.py", "-k", f"{name} or has_a_row")  # fmt: skip
    env = {"PYTHONPATH": "", "PYACT_TEST_ONE_ISA": "1"}
    output = in_folder(tmp_path, *pytest_on_it, **env)
    assert int(re.search(r"(\d+) passed", output)[1]) >= 8, output
    use = (
        f"import numpy as np, pyact; x = np.float32([-4, 1, 4]); f = pyact.{name}; "
        f"m = pyact.Sequential([pyact.layers.Dense(3, '{name}', input_shape=(3,))]); "
        f"print(f(x, out=np.empty(3, 'f')), pyact.{name}_grad(x), pyact.ops.{name}(x), "
        "m(x[None]).shape, pyact.__file__)"
    )
    assert str(tmp_path) in in_folder(tmp_path, sys.executable, "-c", use, **env)

    planted = file.replace("vd_set1(3)), vd_set1(6));", "vd_set1(3)), vd_set1(6.001));", 1)
    assert planted != file
    (tmp_path / "csrc" / "ops" / "map" / f"{name}.c").write_text(planted, encoding="utf-8")
    in_folder(tmp_path, *build)
    done = subprocess.run(
        pytest_on_it, cwd=tmp_path, env={**os.environ, **env}, capture_output=True, check=False
    )
    assert done.returncode == 1, "a wrong formula went unnoticed"


# ---- importing ----------------------------------------------------------------------------------


def import_times(first, then, runs=15):
    """Least milliseconds to import `then` after `first`, each in a process of its own."""
    code = (
        f"import sys, time; import {first}; t = time.perf_counter(); import {then}; "
        "print((time.perf_counter() - t) * 1e3)"
    )
    return min(float(run([sys.executable, "-c", code])) for _ in range(runs))


def test_import_is_fast(tmp_path, monkeypatch):
    """At most 15 ms over NumPy on an idle machine; held at 30 here."""
    monkeypatch.setenv("PYTHONPATH", search_path())
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path))  # byte code, as once installed
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    spent = import_times("numpy", "pyact")
    print(f"import pyact after numpy: {spent:.1f} ms")
    assert spent <= 30


def test_import_brings_no_other_library(monkeypatch):
    heavy = {"matplotlib", "scipy", "sklearn", "tqdm", "threadpoolctl", "mpmath", "gmpy2",
             "difflib", "IPython", "numpy.testing"}  # fmt: skip
    code = (
        "import sys, numpy; before = set(sys.modules); import pyact; "
        "print(*set(sys.modules) - before)"
    )
    monkeypatch.setenv("PYTHONPATH", search_path())
    brought = set(run([sys.executable, "-c", code]).split())
    assert "pyact.layers" in brought and not brought & heavy


# ---- types and style ----------------------------------------------------------------------------


def test_stubs_are_fresh():
    for path, text in make_stubs.stubs().items():
        assert path.read_text(encoding="utf-8") == text, (
            f"{path.name} is stale: run python tests/make_stubs.py"
        )


def test_mypy():
    pytest.importorskip("mypy")
    in_folder(ROOT, sys.executable, "-m", "mypy")


def test_stubtest(tmp_path):
    """The stubs agree with what the modules are at run time."""
    pytest.importorskip("mypy")
    objects_with_keyword = tmp_path / "allowed"  # to a checker they are functions
    names = [n for n, info in ((n, _core.op_info(n)) for n in _core.op_names())
             if info["kind"] == "map" and info["attrs"]]  # fmt: skip
    objects_with_keyword.write_text(
        "".join(f"pyact\\.activations\\.{n}(_grad)?\n" for n in names), encoding="utf-8"
    )
    in_folder(ROOT, sys.executable, "-m", "mypy.stubtest", "pyact", "--concise",
              "--mypy-config-file", "pyproject.toml", "--ignore-unused-allowlist",
              "--allowlist", "tests/stubtest_allowlist.txt", "--allowlist", objects_with_keyword,
              PYTHONPATH=search_path())  # fmt: skip


def test_types_as_a_user_sees_them(tmp_path):
    """Right calls pass a strict check, wrong ones do not."""
    pytest.importorskip("mypy")
    program = (
        "import numpy as np\n"
        "import pyact\n"
        "from pyact import callbacks, layers, optimizers\n"
        "x = np.linspace(-1, 1, 5)\n"
        "y = pyact.gelu(x, out=np.empty(5))\n"
        "z = pyact.leaky_relu(x, alpha=[0.1], dtype=np.float32)\n"
        "m = pyact.Sequential([layers.Input((1,)), layers.Dense(10, activation='relu')])\n"
        "rate = optimizers.schedules.CosineDecay(0.1, 100)\n"
        "m.compile(optimizer=optimizers.SGD(rate, momentum=0.9), loss='mse')\n"
        "h: callbacks.History = m.fit(x, x, epochs=3)\n"
        "v = pyact.ops.dense(x, x, activation='relu')\n"
    )
    wrong = {
        "pyact.leaky_relu(x, slope=0.1)\n": "slope",
        "pyact.ops.dense(x, x, axtivation='relu')\n": "axtivation",
        "pyact.set_seed('a')\n": "set_seed",
        "pyact.glu(x)\n": "glu",
        "m.fit(x, x, epoch=3)\n": "epoch",
    }
    (tmp_path / "program.py").write_text(program + "".join(wrong), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "program.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "MYPYPATH": str(ROOT)},
    )  # fmt: skip
    lines = [s for s in done.stdout.splitlines() if ": error: " in s]
    first = program.count("\n") + 1
    assert [int(s.split(":")[1]) for s in lines] == list(range(first, first + len(wrong))), lines
    for line, word in zip(lines, wrong.values(), strict=True):
        assert word in line


def test_ruff():
    ruff = shutil.which("ruff", path=os.pathsep.join([str(Path(sys.executable).parent),
                                                      os.environ.get("PATH", "")]))  # fmt: skip
    if ruff is None:
        pytest.skip("ruff is not installed")
    in_folder(ROOT, ruff, "check", ".")
