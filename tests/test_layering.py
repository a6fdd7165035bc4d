"""The architecture as a test: which folder may know which, and what no source may do.

The arrows are those of docs/architecture.md: base <- simd <- kern <- ops; base <- graph;
op.h <- ops, graph, py; graph <- py; _core <- ... <- models. They are read from #include
lines and import statements.
"""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest
from conftest import ROOT, objects

CSRC, PYACT = ROOT / "csrc", ROOT / "pyact"

# folder (or header beside the folders) -> what it may include
MAY_INCLUDE = {
    "base": {"base"},
    "op.h": {"base"},
    "simd": {"base", "simd", "op.h"},  # op.h: what `real` is
    "kern": {"base", "simd", "kern", "op.h"},
    "ops": {"base", "simd", "kern", "ops", "op.h"},
    "pyact.h": {"op.h"},
    "graph": {"base", "graph", "op.h", "pyact.h", "ops.def"},
    "py": {"base", "graph", "py", "op.h", "pyact.h"},
}

# module -> layer; a module may import from lower layers, and from its own layer what the
# exceptions name (only inside functions, where the import would go round in a circle)
LAYERS = [
    {"_core", "_locks"},
    {
        "_names",
        "config",
        "_config",
        "random_state",
        "_progress",
        "_plot",
        "_recording",
        "_safetensors",
        "_trees",
    },
    {"ops", "activations", "initializers", "schedules", "variables", "_tensors"},
    {"losses", "optimizers", "autodiff"},
    {"metrics"},
    {"layers"},
    {"callbacks", "data", "_health"},
    {"network"},
    {"training"},
    {"models"},
    {"saving"},
]
SAME_LAYER = {
    ("config", "_names"), ("_config", "_names"), ("_plot", "_names"), ("random_state", "_names"),
    ("_progress", "_names"), ("activations", "ops"), ("initializers", "random_state"),
    ("_tensors", "ops"),
}  # fmt: skip


def c_files(*folders):
    return [
        p for p in sorted(CSRC.rglob("*"))
        if p.suffix in (".c", ".h") and (not folders or p.relative_to(CSRC).parts[0] in folders)
    ]  # fmt: skip


def ids(paths):
    return [str(p.relative_to(ROOT)) for p in paths]


@cache
def includes(path):
    return re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', path.read_text(), re.M)


def check_includes(path, found):
    """What is wrong with the includes [(bracket, name)] of a file of csrc."""
    here = path.relative_to(CSRC).parts[0]
    wrong = []
    for bracket, name in found:
        if bracket == "<":
            if here != "py" and re.match(r"(Python|numpy/|structmember|pyconfig|omp)", name):
                wrong.append(f"<{name}>: only csrc/py may see Python and NumPy")
            elif here not in ("simd", "base") and re.match(r"(.*intrin\.h|arm_neon\.h)", name):
                wrong.append(f"<{name}>: intrinsics live in csrc/simd")
            continue
        target = name.split("/")[0]
        target = target if (CSRC / target).is_dir() else name.split("/")[-1]
        if "/" not in name and path.parent != CSRC and (path.parent / name).exists():
            target = here
        if target not in MAY_INCLUDE[here]:
            wrong.append(f'"{name}": {here} may include {sorted(MAY_INCLUDE[here])}')
    return wrong


@pytest.mark.parametrize("path", c_files(), ids=ids(c_files()))
def test_includes_follow_the_arrows(path):
    wrong = check_includes(path, includes(path))
    assert not wrong, f"{path.relative_to(ROOT)} includes " + "; ".join(wrong)


def test_a_wrong_include_is_found():
    op = CSRC / "ops" / "add.c"
    for bad in (("<", "Python.h"), ("<", "numpy/arrayobject.h"), ('"', "graph/graph.h"),
                ('"', "py/state.h"), ('"', "pyact.h"), ("<", "immintrin.h")):  # fmt: skip
        assert check_includes(op, [bad]), bad
    assert check_includes(CSRC / "graph" / "plan.c", [('"', "kern/gemm.h")])
    assert check_includes(CSRC / "base" / "pool.c", [('"', "op.h")])


# ---- Python -----------------------------------------------------------------------------------


def imports(source, depth=1):
    """(module, inside a function or under TYPE_CHECKING?) of every import from pyact; a module
    of a package inside pyact (depth 2) may import its siblings as it likes."""
    tree = ast.parse(source)
    found = []

    def visit(node, late):
        for child in ast.iter_child_nodes(node):
            inner = late or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                inner = True
            if isinstance(child, ast.ImportFrom) and child.level == depth:
                names = [child.module] if child.module else [a.name for a in child.names]
                found.extend((name.split(".")[0], inner) for name in names)
            elif isinstance(child, ast.ImportFrom) and (child.module or "").startswith("pyact"):
                found.append((child.module.split(".")[-1], inner))
            visit(child, inner)

    visit(tree, False)
    return found


def layer_of(module):
    return next((k for k, names in enumerate(LAYERS) if module in names), None)


def check_imports(module, found):
    here, wrong = layer_of(module), []
    for name, late in found:
        there = layer_of(name)
        if there is None or late or (module, name) in SAME_LAYER:
            continue
        if there >= here:
            wrong.append(f"{module} imports {name}, which is not below it")
    return wrong


def home(path):
    """The module or package of pyact that a file belongs to."""
    return path.relative_to(PYACT).parts[0].removesuffix(".py")


SOURCES = [p for p in sorted(PYACT.rglob("*.py")) if layer_of(home(p)) is not None]


@pytest.mark.parametrize("path", SOURCES, ids=ids(SOURCES))
def test_imports_follow_the_arrows(path):
    depth = len(path.relative_to(PYACT).parts)
    wrong = check_imports(home(path), imports(path.read_text(), depth))
    assert not wrong, "; ".join(wrong)


def test_a_wrong_import_is_found():
    source = "from .models import Model\nfrom . import training\n"
    assert len(check_imports("layers", imports(source))) == 2
    assert not check_imports("models", imports("from .layers import Layer"))
    assert not check_imports("layers", imports("def f():\n    from .models import Model"))
    assert check_imports("layers", imports("from ..models import Model", 2))
    assert not check_imports("layers", imports("from .base import Layer", 2))


# ---- what no source may do --------------------------------------------------------------------


def code(path):
    """A C file without comments and string literals."""
    text = re.sub(r"/\*.*?\*/", " ", path.read_text(), flags=re.S)
    return re.sub(r'"(\\.|[^"\\\n])*"', '""', re.sub(r"//[^\n]*", " ", text))


FORBIDDEN = {
    r"\b(abort|assert|exit|_exit|longjmp|setjmp)\s*\(": "ends or leaves the process",
    r"\b(printf|puts|putchar|perror|fprintf)\s*\(": "prints",
    r"\b(rand|srand|strtok|setlocale)\s*\(": "has hidden state",
    r"\b(sprintf|strcpy|gets|alloca)\s*\(": "has no bound",
}


def check_code(text):
    return [why for pattern, why in FORBIDDEN.items() if re.search(pattern, text)]


@pytest.mark.parametrize("path", c_files(), ids=ids(c_files()))
def test_source_neither_aborts_nor_prints(path):
    lines = path.read_text().count("\n")
    assert lines < 500, f"{path.relative_to(ROOT)} has {lines} lines; split it"
    assert not check_code(code(path)), f"{path.relative_to(ROOT)}: {check_code(code(path))}"


def test_a_forbidden_call_is_found():
    assert check_code("if (!p) abort();") and check_code('printf("x");')
    assert not check_code("pa_fail(err, PA_EVALUE, fmt); snprintf(b, n, f);")
    for line in ("static int count;", "double table[4] = {1};", "static char *name = 0;"):
        assert GLOBAL.match(line), line
    for line in ("static const double c[] = {1};", "typedef int t;", "struct x;", "enum { A };"):
        assert not GLOBAL.match(line), line


CORE = c_files("kern", "ops", "simd", "graph", "base")
GLOBAL = re.compile(
    r"(static\s+)?(?!.*\b(const|typedef|enum|struct|union|extern|PA_THREAD_LOCAL)\b)"
    r"[A-Za-z_][\w\s\*]*\b\w+(\[[^\]]*\])*\s*(=.*|;)$"
)


@pytest.mark.parametrize("path", CORE, ids=ids(CORE))
def test_no_mutable_globals(path):
    """At file scope an object is const, or each thread's own, or a function or a type."""
    depth, found = 0, []
    for line in code(path).splitlines():
        stripped = line.strip()
        if depth == 0 and "(" not in stripped and GLOBAL.match(stripped):
            found.append(stripped)
        depth += line.count("{") - line.count("}")
    assert not found, f"{path.relative_to(ROOT)}: {found}"


def test_no_flags_that_change_the_meaning_of_arithmetic():
    banned = re.compile(r"-ffast-math|-Ofast|-funsafe-math|/fp:fast|-ffp-contract=fast|-fopenmp")
    for path in [ROOT / "setup.py", ROOT / "pyproject.toml", *c_files()]:
        found = banned.findall(path.read_text())
        assert not found, f"{path.relative_to(ROOT)}: {found}"


def test_every_operator_is_one_file_and_one_line():
    listed = re.findall(r"^OP\((\w+)\)", (CSRC / "ops" / "ops.def").read_text(), re.M)
    files = [p.stem for p in (CSRC / "ops").rglob("*.c") if p.name != "table.c"]
    assert sorted(listed) == sorted(files)
    assert len(set(listed)) == len(listed)


def test_the_core_sees_no_python(core_library):
    """The library links into C programs (test_c_programs.py), and no file that any of its
    compilations read was one of Python's or NumPy's."""
    assert (core_library / "libpyact.a").stat().st_size > 0
    read = [p for p in objects().rglob("*.d") if p.relative_to(objects()).parts[0] != "py"]
    seen = [p for p in read if re.search(r"Python\.h|numpy/|/include/python", p.read_text())]
    assert read, "the build keeps no dependency files"
    assert not seen, f"Python's headers were read by {[p.stem for p in seen[:5]]}"
