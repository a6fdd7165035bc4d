"""The package's few settings: the default floating-point type and Keras's epsilon."""

from __future__ import annotations

from typing import Any

from ._names import unknown

__all__ = ["epsilon", "float_name", "floatx", "set_floatx"]

_FLOATS = ("float32", "float64")
_state = {"floatx": "float32"}


def floatx() -> str:
    """The floating-point type of layers made without `dtype=`: "float32" at first.

    >>> floatx()
    'float32'
    """
    return _state["floatx"]


def set_floatx(dtype: Any) -> None:
    """Sets the type that `floatx()` returns; models made before keep theirs.

    dtype: "float32", "float64", or the NumPy type of that name.

    Raises ValueError for any other type.

    >>> set_floatx("float64"); floatx()
    'float64'
    >>> set_floatx("float32")
    """
    _state["floatx"] = float_name(dtype)


def float_name(dtype: Any, what: str = "dtype") -> str:
    """The name of a floating-point type that models can have; None means `floatx()`.

    >>> float_name(None), float_name("float64")
    ('float32', 'float64')
    """
    if dtype is None:
        return floatx()
    name: Any = dtype
    if not isinstance(dtype, str):
        name = getattr(dtype, "__name__", None) or getattr(dtype, "name", None) or str(dtype)
        name = "float64" if name == "float" else name
    if name not in _FLOATS:
        raise unknown(what, name, _FLOATS)
    return str(name)


def epsilon() -> float:
    """1e-7: the margin that keeps probabilities away from 0 and 1, as in Keras."""
    return 1e-7
