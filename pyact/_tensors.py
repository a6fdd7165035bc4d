"""NumPy's functions and Python's operators on variables and on values of tapes and graphs.

A NumPy function that has an operator here is recorded; one that only looks (np.argmax,
comparisons) sees the numbers; any other is refused with the line that called it, because
its gradient would be lost in silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core, ops
from ._core import Value, apply

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["array_function", "array_ufunc", "numbers"]


def is_symbolic(x: Any) -> bool:
    return isinstance(x, Value) and type(x.owner) is _core.Graph


def _caller() -> str:
    """The user's line: the first outside of pyact and NumPy."""
    import sys
    from os.path import dirname

    frame: Any = sys._getframe(1)
    inside = (dirname(__file__), dirname(np.__file__), "<__array_function__")
    while frame is not None and frame.f_code.co_filename.startswith(inside):
        frame = frame.f_back
    return "" if frame is None else f"{frame.f_code.co_filename}, line {frame.f_lineno}: "


def refuse(what: str, why: str) -> TypeError:
    return TypeError(f"{_caller()}{what} {why}")


def numbers(x: Any, what: str = "this") -> Any:
    """x as a plain array; TypeError for a symbolic value, which has no numbers yet."""
    if is_symbolic(x):
        raise refuse(what, "needs numbers, but inside a traced function, layer or loss this value "
                     "is symbolic: it stands for numbers of runs to come. Write it with "
                     "pyact.ops and arithmetic")  # fmt: skip
    if isinstance(x, Value):
        return x.numpy()
    if isinstance(x, np.ndarray) and type(x) is not np.ndarray:
        return np.asarray(x)
    if isinstance(x, (list, tuple)):
        return type(x)([numbers(item, what) for item in x])
    return x


_LN2, _LN10 = 0.6931471805599453, 2.302585092994046

# ---- ufuncs -----------------------------------------------------------------------------------

_UFUNCS: dict[Any, str | Callable[..., Any]] = {
    np.add: "add",
    np.subtract: "subtract",
    np.multiply: "multiply",
    np.true_divide: "divide",
    np.power: "power",
    np.maximum: "maximum",
    np.minimum: "minimum",
    np.exp: "exp",
    np.log: "log",
    np.sqrt: "sqrt",
    np.square: "square",
    np.absolute: "abs",
    np.fabs: "abs",
    np.negative: "negative",
    np.tanh: "tanh",
    np.positive: lambda x: x,
    np.reciprocal: lambda x: 1.0 / x,
    np.exp2: lambda x: ops.power(2.0, x),
    np.expm1: lambda x: ops.tanh(0.5 * x) * (ops.exp(x) + 1.0),
    np.log2: lambda x: ops.log(x) / _LN2,
    np.log10: lambda x: ops.log(x) / _LN10,
    np.logaddexp: lambda a, b: b + ops.softplus(ops.subtract(a, b)),
    np.deg2rad: lambda x: x * (np.pi / 180),
    np.radians: lambda x: x * (np.pi / 180),
    np.rad2deg: lambda x: x * (180 / np.pi),
    np.degrees: lambda x: x * (180 / np.pi),
}


def _reaches(a: Any, b: Any) -> Any:
    """1 where a >= b, else 0; all else is said by it, rightly so for NaN, too."""
    return ops.greater_equal(a, b)


def equal(a: Any, b: Any) -> Any:
    return _reaches(a, b) * _reaches(b, a)


def _exceeds(a: Any, b: Any) -> Any:
    return _reaches(a, b) * (1.0 - _reaches(b, a))


_COMPARE: dict[Any, Callable[..., Any]] = {  # of symbolic values
    np.greater: _exceeds,
    np.greater_equal: _reaches,
    np.less: lambda a, b: _exceeds(b, a),
    np.less_equal: lambda a, b: _reaches(b, a),
    np.equal: equal,
    np.not_equal: lambda a, b: 1.0 - equal(a, b),
    np.logical_and: lambda a, b: ops.select(a, 1.0 - equal(b, 0.0)),
    np.logical_or: lambda a, b: 1.0 - equal(a, 0.0) * equal(b, 0.0),
    np.logical_not: lambda a: equal(a, 0.0),
    np.isnan: lambda a: 1.0 - _reaches(a, a),
    np.sign: lambda a: (
        _exceeds(a, 0.0) - _exceeds(0.0, a) + ops.select(1.0 - _reaches(a, a), a)
    ),
}
_LOOKING = {  # ufuncs whose result is no number of which there is a gradient
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.isnan,
    np.isinf, np.isfinite, np.sign, np.signbit, np.floor, np.ceil, np.rint, np.trunc,
    np.logical_and, np.logical_or, np.logical_not, np.floor_divide,
}  # fmt: skip
_AT_DEFAULT = {id(f): name for name, f in _core.defaults.items()}
_MAPS = {id(getattr(_core, n)): n for n in ops.__all__ if _core.op_info(n)["kind"] == "map"}


def _matmul(a: Any, b: Any) -> Any:
    """NumPy's matmul: vectors get an axis and lose it again."""
    shapes = np.shape(a), np.shape(b)
    if not all(shapes):
        raise ValueError("matmul: got a single number, expected arrays of one dimension or more")
    left = ops.reshape(a, shape=(1, *shapes[0])) if len(shapes[0]) == 1 else a
    right = ops.reshape(b, shape=(*shapes[1], 1)) if len(shapes[1]) == 1 else b
    y = apply("matmul", (left, right))
    shape = list(y.shape)
    if len(shapes[1]) == 1:
        del shape[-1]
    if len(shapes[0]) == 1:
        del shape[-1 if len(shapes[1]) == 1 else -2]
    return y if len(shape) == len(y.shape) else ops.reshape(y, shape=shape)


_UFUNCS[np.matmul] = _matmul


def array_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """NEP 13 for weights that are being recorded and for values."""
    if ufunc in _COMPARE and method == "__call__" and any(is_symbolic(x) for x in inputs):
        return _COMPARE[ufunc](*inputs)
    if ufunc in _LOOKING and method == "__call__":
        return ufunc(*(numbers(x, f"np.{ufunc.__name__}") for x in inputs), **kwargs)
    if method == "reduce" and ufunc in _FOLDS and kwargs.get("out") is None:
        return _FOLDS[ufunc](inputs[0], kwargs.get("axis", 0), bool(kwargs.get("keepdims")))
    if method == "outer" and ufunc in _UFUNCS and not kwargs:
        shape = (*np.shape(inputs[0]), *[1] * len(np.shape(inputs[1])))
        return array_ufunc(ufunc, "__call__", (reshape(inputs[0], shape), inputs[1]), {})
    name = f"np.{ufunc.__name__}" + (f".{method}" if method != "__call__" else "")
    if kwargs.get("out") is not None:
        raise refuse(name, "cannot write into an array in place while operators are recorded; "
                     "make a new value, or use Variable.assign")  # fmt: skip
    if method != "__call__" or any(v is not None for v in kwargs.values()):
        raise refuse(name, f"cannot be recorded with {method} or {sorted(kwargs)}")
    found = _UFUNCS.get(ufunc)
    if callable(found):
        return found(*inputs)
    if found is None:
        found = _MAPS.get(id(ufunc)) or _AT_DEFAULT.get(id(ufunc))
        if found is None:
            raise refuse(
                name,
                "has no operator to be recorded with. There are: "
                + ", ".join(sorted([u.__name__ for u in _UFUNCS] + list(_MAPS.values()))),
            )
        if len(inputs) == 2:  # a parameter, as a number
            return apply(found, inputs[:1], {_core.op_info(found)["attrs"][0][0]: float(inputs[1])})
    return apply(found, inputs)


# ---- functions --------------------------------------------------------------------------------


def _axes(axis: Any, rank: int) -> tuple[int, ...]:
    if axis is None:
        return ()
    many = axis if isinstance(axis, (tuple, list)) else (axis,)
    return tuple(int(a) % rank if -rank <= a < rank else int(a) for a in many)


def _reduction(op: str) -> Callable[..., Any]:
    def reduce(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        if axis == ():
            return x
        return apply(op, (x,), {"axis": _axes(axis, len(x.shape)), "keepdims": bool(keepdims)})

    return reduce


reduce_sum, reduce_mean, reduce_max = _reduction("sum"), _reduction("mean"), _reduction("max")


def reduce_min(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return -reduce_max(apply("negative", (x,)), axis, keepdims)


def _var(x: Any, axis: Any = None, keepdims: bool = False, ddof: int = 0) -> Any:
    square = ops.square(x - reduce_mean(x, axis, True))
    if not ddof:
        return reduce_mean(square, axis, keepdims)
    total = reduce_sum(square, axis, keepdims)
    count = np.prod(np.shape(x)) / max(np.prod(total.shape), 1)
    return total / float(count - ddof)


def _std(x: Any, axis: Any = None, keepdims: bool = False, ddof: int = 0) -> Any:
    return ops.sqrt(_var(x, axis, keepdims, ddof))


def reshape(x: Any, shape: Any) -> Any:
    return apply("reshape", (x,), {"shape": shape})


def _ravel(x: Any) -> Any:
    return reshape(x, (-1,))


def transpose(x: Any, axes: Any = None) -> Any:
    rank = len(x.shape)
    perm = tuple(reversed(range(rank))) if axes is None else _axes(axes, rank)
    return apply("transpose", (x,), {"perm": perm})


def _swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    perm = list(range(len(x.shape)))
    perm[axis1], perm[axis2] = perm[axis2], perm[axis1]
    return transpose(x, perm)


def _expand_dims(x: Any, axis: Any) -> Any:
    many = axis if isinstance(axis, (tuple, list)) else (axis,)
    rank = len(x.shape) + len(many)
    where = set(_axes(many, rank))
    old = iter(x.shape)
    return reshape(x, tuple(1 if i in where else next(old) for i in range(rank)))


def _squeeze(x: Any, axis: Any = None) -> Any:
    drop = _axes(axis, len(x.shape)) if axis is not None else None
    for i in drop or ():
        if x.shape[i] != 1:
            raise ValueError(f"squeeze: axis {i} has {x.shape[i]} elements, expected 1")
    shape = [n for i, n in enumerate(x.shape) if (n != 1 if drop is None else i not in drop)]
    return reshape(x, tuple(shape))


def _stack(arrays: Any, axis: int = 0) -> Any:
    return _numpy.concatenate([_expand_dims(a, axis) for a in arrays], axis)


def _dot(a: Any, b: Any) -> Any:
    if not np.shape(a) or not np.shape(b):
        return ops.multiply(a, b)
    return _matmul(a, b)


def _clip(x: Any, a_min: Any = None, a_max: Any = None) -> Any:
    x = x if a_min is None else ops.maximum(x, a_min)
    return x if a_max is None else ops.minimum(x, a_max)


from . import _numpy  # noqa: E402, RUF100 - composes the functions above

_FOLDS = {np.add: reduce_sum, np.maximum: reduce_max, np.minimum: reduce_min,
          np.multiply: _numpy.prod}  # fmt: skip
_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    **_numpy.FUNCTIONS,
    np.sum: reduce_sum,
    np.amax: reduce_max,
    np.amin: reduce_min,
    np.mean: reduce_mean,
    np.max: reduce_max,
    np.min: reduce_min,
    np.var: _var,
    np.std: _std,
    np.reshape: reshape,
    np.ravel: _ravel,
    np.transpose: transpose,
    np.swapaxes: _swapaxes,
    np.expand_dims: _expand_dims,
    np.squeeze: _squeeze,
    np.stack: _stack,
    np.dot: _dot,
    np.clip: _clip,
    np.broadcast_to: lambda x, shape: apply("broadcast_to", (x,), {"shape": shape}),
    np.copy: lambda a: a,
}
_ONLY_SHAPE: dict[Any, Callable[..., Any]] = {
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a: int(np.prod(a.shape)),
}
_LOOKS = {
    np.argmax, np.argmin, np.argsort, np.array_equal, np.allclose, np.isclose, np.zeros_like,
    np.ones_like, np.empty_like, np.full_like, np.array2string, np.array_repr, np.array_str,
    np.all, np.any, np.count_nonzero, np.nonzero, np.unique, np.histogram, np.may_share_memory,
    np.shares_memory, np.round, np.save, np.savez, np.savetxt, np.can_cast, np.result_type,
    np.copyto, np.iscomplexobj,
}  # fmt: skip


def array_function(function: Any, args: Any, kwargs: Any) -> Any:
    """NEP 18 for weights that are being recorded and for values."""
    if function in _ONLY_SHAPE:
        return _ONLY_SHAPE[function](*args, **kwargs)
    name = f"np.{function.__name__}"
    if function in _LOOKS:
        seen = {key: numbers(v, name) for key, v in kwargs.items()}
        return function(*(numbers(a, name) for a in args), **seen)
    found = _FUNCTIONS.get(function)
    if found is None:
        raise refuse(name, "has no operator to be recorded with. There are: "
                     + ", ".join(sorted({f.__name__ for f in _FUNCTIONS})))  # fmt: skip
    given = {k: v for k, v in kwargs.items() if v is not np._NoValue}
    if name in ("np.reshape",) and "newshape" in given:
        given["shape"] = given.pop("newshape")
    try:
        return found(*args, **given)
    except TypeError as error:
        if "argument" in str(error):
            raise refuse(name, f"cannot be recorded with these arguments ({error})") from None
        raise


# ---- indexing ---------------------------------------------------------------------------------


def getitem(x: Any, key: Any) -> Any:
    """As NumPy's indexing; arrays of integers and masks gather."""
    keys = list(key) if isinstance(key, tuple) else [key]
    rank = len(x.shape)
    for k in keys:
        if (
            not isinstance(k, slice)
            and k is not None
            and k is not Ellipsis
            and (isinstance(k, bool) or not hasattr(k, "__index__") or np.ndim(k) > 0)
        ):
            return _numpy.moved(x, lambda n: n[numbers(key, "indexing")])
    named = sum(k is not None and k is not Ellipsis for k in keys)
    if named > rank:
        raise IndexError(f"too many indices: got {named}, the value has shape {x.shape}")
    if sum(k is Ellipsis for k in keys) == 0:
        keys.append(Ellipsis)
    at = next(i for i, k in enumerate(keys) if k is Ellipsis)
    keys[at : at + 1] = [slice(None)] * (rank - named)
    begin, size, step, shape = [], [], [], []
    axis = 0
    for k in keys:
        if k is None:
            shape.append(1)
            continue
        n = x.shape[axis]
        if isinstance(k, slice):
            first, last, pace = k.indices(n)
            count = len(range(first, last, pace))
            shape.append(count)
        else:
            first, pace, count = k.__index__(), 1, 1
            if not -n <= first < n:
                raise IndexError(f"index {first} is out of range for axis {axis} of {n} elements")
            first %= n
        begin.append(first if count else 0)
        size.append(count)
        step.append(pace)
        axis += 1
    cut = x
    if any((b, s, p) != (0, n, 1) for b, s, p, n in zip(begin, size, step, x.shape, strict=True)):
        cut = apply("slice", (x,), {"begin": begin, "size": size, "step": step})
    return cut if tuple(cut.shape) == tuple(shape) else reshape(cut, tuple(shape))


# ---- methods of values ------------------------------------------------------------------------


def _shape_args(shape: tuple[Any, ...]) -> Any:
    return shape[0] if len(shape) == 1 and not hasattr(shape[0], "__index__") else shape


METHODS: dict[str, Callable[..., Any]] = {
    "sum": lambda x, axis=None, keepdims=False: reduce_sum(x, axis, keepdims),
    "mean": lambda x, axis=None, keepdims=False: reduce_mean(x, axis, keepdims),
    "max": lambda x, axis=None, keepdims=False: reduce_max(x, axis, keepdims),
    "min": lambda x, axis=None, keepdims=False: reduce_min(x, axis, keepdims),
    "var": _var,
    "std": _std,
    "reshape": lambda x, *shape: reshape(x, _shape_args(shape)),
    "transpose": lambda x, *axes: transpose(x, _shape_args(axes) if axes else None),
    "swapaxes": _swapaxes,
    "squeeze": _squeeze,
    "ravel": _ravel,
    "flatten": _ravel,
    "prod": _numpy.prod,
    "copy": lambda x: x,
    "astype": lambda x, dtype: ops.cast(x, dtype=dtype),
    "dot": _dot,
    "clip": _clip,
}


for _name in ("cumsum", "cumprod", "repeat", "take", "trace", "diagonal"):
    METHODS[_name] = _FUNCTIONS[getattr(np, _name)]


def _looks(name: str) -> Callable[..., Any]:
    def method(x: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(numbers(x, f"{name}()"), name)(*args, **kwargs)

    return method


def _compare(name: str) -> Callable[..., Any]:
    ufunc = getattr(np, name)

    def compare(a: Any, b: Any) -> Any:
        if b is None or isinstance(b, str):
            return NotImplemented
        return array_ufunc(ufunc, "__call__", (a, b), {})

    return compare


def _iterate(x: Any) -> Any:
    return (x[i] for i in range(len(x)))


def _length(x: Any) -> int:
    if not x.shape:
        raise TypeError("a value with no axes has no len()")
    return int(x.shape[0])


def _as_array(x: Any, dtype: Any = None, copy: Any = None) -> Any:
    array = numbers(x, "conversion to a NumPy array")
    return array if dtype is None else array.astype(dtype)


def _ufunc_protocol(self: Any, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    return array_ufunc(ufunc, method, inputs, kwargs)


def _function_protocol(self: Any, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    return array_function(function, args, kwargs)


def _attach() -> None:
    value: Any = Value
    for name, method in METHODS.items():
        setattr(value, name, method)
    value.T = property(transpose)
    value.size = property(lambda x: int(np.prod(x.shape)))
    value.mT = property(lambda x: _swapaxes(x, -1, -2))
    value.__getitem__ = getitem
    value.__len__ = _length
    value.__iter__ = _iterate
    value.__array__ = _as_array
    value.__float__ = lambda x: float(numbers(x, "float()"))
    value.__int__ = lambda x: int(numbers(x, "int()"))
    value.__bool__ = lambda x: bool(numbers(x, "an if, while, and, or, or bool()"))
    value.__format__ = lambda x, spec: (
        repr(x) if is_symbolic(x) else format(x.numpy()[()] if spec else x.numpy(), spec)
    )
    value.item = lambda x: numbers(x, "item()").item()
    value.tolist = lambda x: numbers(x, "tolist()").tolist()
    value.__matmul__ = _matmul
    value.__rmatmul__ = lambda b, a: _matmul(a, b)
    value.__lt__, value.__le__ = _compare("less"), _compare("less_equal")
    value.__gt__, value.__ge__ = _compare("greater"), _compare("greater_equal")
    value.__eq__, value.__ne__ = _compare("equal"), _compare("not_equal")
    value.__hash__ = object.__hash__
    value.__and__ = value.__rand__ = _compare("logical_and")
    value.__or__ = value.__ror__ = _compare("logical_or")
    value.__invert__ = lambda x: array_ufunc(np.logical_not, "__call__", (x,), {})
    value.__pos__ = lambda x: x
    value.__round__ = lambda x, digits=0: np.round(numbers(x, "round()"), digits)
    for name in ("argmax", "argmin", "argsort", "all", "any", "nonzero", "round"):
        setattr(value, name, _looks(name))
    value.__array_ufunc__ = _ufunc_protocol
    value.__array_function__ = _function_protocol


_attach()
