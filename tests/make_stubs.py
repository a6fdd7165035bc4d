"""Writes what type checkers know of the operators, from the core's own registry.

    python tests/make_stubs.py            after adding an operator or changing attributes

pyact/ops.pyi is made whole; in pyact/_core.pyi and pyact/activations.pyi only what stands
between the two marks. test_package.py fails while one of them is stale.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pyact import _core

PACKAGE = Path(__file__).resolve().parents[1] / "pyact"
BEGIN = "# ---- made by tests/make_stubs.py ----"
END = "# ---- end ----"
WIDTH = 100

TYPES = {
    "real": "float",
    "int": "int",
    "bool": "bool",
    "list": "int | Sequence[int]",
    "map": "str | None",
}


def default(kind: str, value: float) -> str:
    """An attribute's default as Python writes it."""
    if kind == "list":
        return "()"
    if kind == "map":
        return "None"
    if kind == "bool":
        return str(bool(value))
    if not math.isfinite(value):
        return "..."  # NaN: another attribute decides
    return repr(int(value) if kind == "int" else value)


def function(name: str, parts: list[str]) -> str:
    """A stub of a function, broken into lines where ruff would."""
    one = f"def {name}({', '.join(parts)}) -> Any: ..."
    if len(one) <= WIDTH:
        return one
    inside = f"    {', '.join(parts)}"
    if len(inside) > WIDTH:
        inside = "\n".join(f"    {part}," for part in parts)
    return f"def {name}(\n{inside}\n) -> Any: ..."


def operator(info: dict[str, Any]) -> str:
    """The function of `pyact.ops` for an operator, as a stub."""
    name, attrs = info["name"], info["attrs"]
    if name == "concatenate":  # takes a sequence, as NumPy's
        return function(name, ["values: Sequence[_Operand]", "axis: int = 0"])
    operands = []
    for i, operand in enumerate(n.strip() for n in info["in_names"].split(",")):
        if operand != "...":
            clash = "_" if operand in [attr[0] for attr in attrs] else ""
            operands.append(f"{operand}{clash}: _Operand" + " = ..." * (i >= info["min_in"]))
    parts = [*operands, "/"]
    if info["max_in"] > len(operands):
        parts.append("*more: _Operand")
    elif attrs:
        parts.append("*")
    for attr, kind, value, *_ in attrs:
        if attr == "dtype":
            parts.append("dtype: DTypeLike")
        else:
            parts.append(f"{attr}: {TYPES[kind]} = {default(kind, value)}")
    return function(name, parts)


def activations(maps: list[dict[str, Any]]) -> list[str]:
    """What `pyact.activations` exports of the map operators, derivatives too."""
    variables, functions = [], []
    for info in maps:
        for name in (info["name"], f"{info['name']}_grad"):
            if not info["attrs"]:
                variables.append(f"{name}: np.ufunc")
                continue
            attr, kind, value = info["attrs"][0][:3]
            keyword = f"{attr}: ArrayLike = {default(kind, value)}"
            keywords = "**keywords: Unpack[_UfuncKeywords]"
            functions.append(function(name, ["x: ArrayLike", "/", "*", keyword, keywords]))
    return [*variables, "", *functions, "", "swish = silu", "swish_grad = silu_grad"]


def marked(path: Path, lines: list[str]) -> str:
    """The file with `lines` between the marks."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN + "\n")
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{path}: the lines '{BEGIN}' and '{END}' are missing")
    return "\n".join([before + BEGIN, *lines, END]) + after


def stubs() -> dict[Path, str]:
    """Each stub file and what it should hold."""
    ops = [_core.op_info(name) for name in _core.op_names()]
    maps = [info for info in ops if info["kind"] == "map"]
    names = [n for info in maps for n in (info["name"], f"{info['name']}_grad")]
    others = ("swish", "swish_grad", "get", "linear", "log_softmax", "logsumexp", "serialize")
    public = sorted([*names, *others, "softmax"])
    all_ops = sorted(info["name"] for info in ops)
    return {
        PACKAGE / "ops.pyi": "\n".join(
            [
                f"# Made by tests/{Path(__file__).name} from the core's registry: do not edit.",
                "from collections.abc import Sequence",
                "from typing import Any, TypeAlias",
                "",
                "from numpy.typing import ArrayLike, DTypeLike",
                "",
                "from ._core import Value",
                "",
                "_Operand: TypeAlias = Value | ArrayLike",
                "",
                "__all__ = [",
                *(f'    "{name}",' for name in all_ops),
                "]",
                "",
                *(operator(info) for info in ops),
                "",
            ]
        ),
        PACKAGE / "_core.pyi": marked(PACKAGE / "_core.pyi", [f"{n}: np.ufunc" for n in names]),
        PACKAGE / "activations.pyi": marked(
            PACKAGE / "activations.pyi",
            ["__all__ = [", *(f'    "{name}",' for name in public), "]", "", *activations(maps)],
        ),
    }


if __name__ == "__main__":
    for path, text in stubs().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
