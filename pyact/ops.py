"""Every operator of the core as a function, on arrays or inside a graph.

    ops.softmax(x, axis=-1)         arrays: computed at once, an array comes back
    ops.dense(v, kernel, bias)      values of a graph: recorded

Operands come first, by position; attributes are keywords. The functions are made from the
core's registry when they are first asked for, so a new operator needs no line here.
`help(ops.dense)` shows formula, operands and attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _core
from ._core import Value, apply

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = list(_core.op_names())

_DTYPES = {"float32": 0, "float64": 1, "int32": 2}  # the core's pa_dtype


def _docstring(info: dict[str, Any]) -> str:
    text = [info["formula"], "", f"Operands: {info['in_names']}."]
    for name, kind, default, low, high, doc in info["attrs"]:
        shown = {"list": "()", "map": "None", "bool": str(bool(default))}.get(kind, f"{default:g}")
        bounds = f", from {low:g} to {high:g}" if kind in ("real", "int") else ""
        text.append(f"{name}: {kind}, default {shown}{bounds}. {doc}")
    text += ["", "Raises ValueError or TypeError when shapes, dtypes or attributes do not fit."]
    return "\n".join(text)


def _make(name: str) -> Callable[..., Any]:
    info = _core.op_info(name)

    if any(attr[0] == "dtype" for attr in info["attrs"]):

        def op(*operands: Any, dtype: Any, **attrs: Any) -> Any:
            import numpy as np

            return apply(name, operands, {"dtype": _DTYPES[np.dtype(dtype).name], **attrs})

    elif name == "concatenate":  # NumPy's and Keras's form takes a sequence

        def op(values: Any, axis: int = 0) -> Any:
            return apply(name, tuple(values), {"axis": axis})

    else:

        def op(*operands: Any, **attrs: Any) -> Any:
            return apply(name, operands, attrs)

    op.__name__ = op.__qualname__ = name
    op.__module__ = __name__
    op.__doc__ = _docstring(info)
    return op


def __getattr__(name: str) -> Any:
    if name in __all__:
        function = globals()[name] = _make(name)
        return function
    if name.startswith("__"):
        raise AttributeError(name)
    from ._names import unknown

    raise AttributeError(str(unknown("operator", name, __all__)))


def __dir__() -> list[str]:
    return sorted(__all__)


# ---- operators of Python on values of a graph --------------------------------------------


def _binary(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def forward(a: Any, b: Any) -> Any:
        return apply(name, (a, b))

    def reflected(b: Any, a: Any) -> Any:
        return apply(name, (a, b))

    return forward, reflected


for _symbol, _op in {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "pow": "power",
    "matmul": "matmul",
}.items():
    if _op in __all__:
        _forward, _reflected = _binary(_op)
        setattr(Value, f"__{_symbol}__", _forward)
        setattr(Value, f"__r{_symbol}__", _reflected)
Value.__neg__ = lambda a: apply("negative", (a,))
Value.__abs__ = lambda a: apply("abs", (a,))
