"""NumPy's functions that are composed of several operators: how each is recorded.

What only moves elements about is applied to their numbers, 0, 1, 2, ..., and tells so where
each element of the result comes from: one gather, whose gradient is added back.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _tensors as t
from . import ops
from ._core import apply

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["FUNCTIONS", "gather", "moved", "prod", "where"]


def gather(x: Any, index: Any) -> Any:
    """The elements of x, numbered in C order, that stand in `index`; in its shape."""
    index = np.asarray(index)
    if not index.size:
        return np.zeros(index.shape, x.dtype)
    size, most = int(np.prod(x.shape)), 2 ** (np.finfo(x.dtype).nmant + 1)
    if size > most:
        raise OverflowError(f"got {size} elements of {x.dtype}, expected at most {most}: their "
                            "numbers are not exact beyond")  # fmt: skip
    column = apply("reshape", (x,), {"shape": (-1, 1)})
    found = apply("embedding", (column, index.ravel().astype(x.dtype)))
    return apply("reshape", (found,), {"shape": index.shape})


def moved(x: Any, move: Callable[[Any], Any]) -> Any:
    """move(x), where `move` only moves, repeats or leaves out elements."""
    return gather(x, move(np.arange(int(np.prod(x.shape))).reshape(x.shape)))


def _mover(function: Any) -> Callable[..., Any]:
    def record(x: Any, *args: Any, **kwargs: Any) -> Any:
        name = f"np.{function.__name__}"
        given = [t.numbers(a, name) for a in args]
        named = {k: t.numbers(v, name) for k, v in kwargs.items()}
        return moved(x, lambda n: function(n, *given, **named))

    return record


def _rank(x: Any) -> int:
    return len(np.shape(x))


def _axis(axis: int, rank: int) -> int:
    return int(np.lib.array_utils.normalize_axis_index(axis, rank))


def _part(x: Any, axis: int, key: slice) -> Any:
    return t.getitem(x, (slice(None),) * axis + (key,))


# ---- choosing ---------------------------------------------------------------------------------


def where(condition: Any, *choice: Any) -> Any:
    """Elements of x where the condition holds, else of y; what is not chosen does not count,
    be it NaN."""
    if not choice:
        return np.where(t.numbers(condition, "np.where"))
    x, y = choice
    if not t.is_symbolic(condition):
        kinds = [v.dtype for v in (x, y) if hasattr(v, "dtype") and np.dtype(v.dtype).kind == "f"]
        condition = np.asarray(t.numbers(condition), bool)
        condition = condition.astype(kinds[0] if kinds else np.float64)
        other = 1 - condition
    else:
        other = t.equal(condition, 0.0)
    return ops.select(condition, x) + ops.select(other, y)


def _triangle(function: Any) -> Callable[..., Any]:
    return lambda m, k=0: ops.select(function(np.ones(m.shape, m.dtype), k), m)


def _diag(v: Any, k: int = 0) -> Any:
    if _rank(v) != 1:
        return moved(v, lambda n: np.diagonal(n, k))
    size = v.shape[0] + abs(k)
    row = moved(v, lambda n: np.clip(np.arange(size) - max(k, 0), 0, len(n) - 1))
    return ops.select(np.diag(np.ones(v.shape, v.dtype), k), row)


def _sort(a: Any, axis: Any = -1) -> Any:
    seen = t.numbers(a, "np.sort")
    if axis is None:
        return gather(a, np.argsort(seen, axis=None, kind="stable"))
    order = np.argsort(seen, axis=axis, kind="stable")
    return moved(a, lambda n: np.take_along_axis(n, order, axis))


def _median(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    if axis is None:
        flat = apply("reshape", (a,), {"shape": (-1,)})
        middle = _median(flat, 0)
        return apply("reshape", (middle,), {"shape": (1,) * _rank(a)}) if keepdims else middle
    axis = _axis(axis, _rank(a))
    ordered, n = _sort(a, axis), a.shape[axis]
    return t.reduce_mean(_part(ordered, axis, slice((n - 1) // 2, n // 2 + 1)), axis, keepdims)


# ---- sums and products ------------------------------------------------------------------------


def prod(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Neighbours are multiplied until one is left, so that zeros have their gradients."""
    many = axis if isinstance(axis, tuple) else (axis,) if axis is not None else range(_rank(a))
    axes = sorted(_axis(k, _rank(a)) for k in many)
    for k in axes:
        while a.shape[k] > 1:
            half = a.shape[k] // 2
            rest = _part(a, k, slice(2 * half, None))
            a = _part(a, k, slice(0, half)) * _part(a, k, slice(half, 2 * half))
            if rest.shape[k]:
                a = ops.concatenate((a, rest), axis=k)
        if not a.shape[k]:
            shape = (*a.shape[:k], 1, *a.shape[k + 1 :])
            a = np.ones(shape, a.dtype)
    shape = tuple(n for k, n in enumerate(a.shape) if keepdims or k not in axes)
    return a.reshape(shape) if isinstance(a, np.ndarray) else ops.reshape(a, shape=shape)


def _scan(joined: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Each element joined with all before it, in log2(n) steps."""

    def scan(a: Any, axis: Any = None) -> Any:
        if axis is None:
            a, axis = apply("reshape", (a,), {"shape": (-1,)}), 0
        axis, pace = _axis(axis, _rank(a)), 1
        while pace < a.shape[axis]:
            later = joined(_part(a, axis, slice(pace, None)), _part(a, axis, slice(None, -pace)))
            a, pace = ops.concatenate((_part(a, axis, slice(0, pace)), later), axis=axis), 2 * pace
        return a

    return scan


def _average(a: Any, axis: Any = None, weights: Any = None, keepdims: bool = False) -> Any:
    if weights is None:
        return t.reduce_mean(a, axis, keepdims)
    if np.shape(weights) != np.shape(a):
        if not isinstance(axis, int):
            raise TypeError("average: weights of another shape need an axis, one argument")
        spread = [1] * _rank(a)
        spread[axis] = -1
        weights = np.reshape(weights, spread)
    total = t.reduce_sum(ops.multiply(a, weights), axis, keepdims)
    return total / t.reduce_sum(ops.multiply(np.ones(a.shape, a.dtype), weights), axis, keepdims)


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    vector = isinstance(axis, int) or (axis is None and _rank(x) == 1)
    if ord is None or (ord == 2 and vector) or (ord == "fro" and not vector):
        return ops.sqrt(t.reduce_sum(ops.square(x), axis, keepdims))
    if vector and ord == 1:
        return t.reduce_sum(ops.abs(x), axis, keepdims)
    if vector and ord == np.inf:
        return t.reduce_max(ops.abs(x), axis, keepdims)
    raise TypeError(f"norm: ord={ord!r} with axis={axis!r} is no such argument")


def _ptp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return t.reduce_max(a, axis, keepdims) - t.reduce_min(a, axis, keepdims)


def _diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    axis = _axis(axis, _rank(a))
    for _ in range(n):
        a = _part(a, axis, slice(1, None)) - _part(a, axis, slice(None, -1))
    return a


# ---- products of arrays -----------------------------------------------------------------------


def _along_diagonal(i: int, j: int, x: Any) -> Any:
    return np.moveaxis(np.diagonal(x, axis1=i, axis2=j), -1, i)


def _reduced(x: Any, names: str, keep: str) -> tuple[Any, str]:
    """x with no axis twice and without the axes whose names nobody needs."""
    for name in dict.fromkeys(names):
        while names.count(name) > 1:
            i = names.index(name)
            j = names.index(name, i + 1)
            x = moved(x, partial(_along_diagonal, i, j))
            names = names[:j] + names[j + 1 :]
    drop = tuple(k for k, name in enumerate(names) if name not in keep)
    return (t.reduce_sum(x, drop) if drop else x), "".join(n for n in names if n in keep)


def _ordered(x: Any, names: str, wanted: str) -> Any:
    return x if names == wanted else t.transpose(x, [names.index(n) for n in wanted])


def _pair(a: Any, na: str, b: Any, nb: str, keep: str) -> tuple[Any, str]:
    """One product of matrices: axes of both that stay, of one alone, and those summed over."""
    (a, na), (b, nb) = _reduced(a, na, nb + keep), _reduced(b, nb, na + keep)
    batch = "".join(n for n in na if n in nb and n in keep)
    inner = "".join(n for n in na if n in nb and n not in keep)
    left, right = ("".join(n for n in ns if n not in batch + inner) for ns in (na, nb))
    size = {**dict(zip(na, a.shape, strict=True)), **dict(zip(nb, b.shape, strict=True))}

    def shape(*groups: str) -> tuple[int, ...]:
        return tuple(int(np.prod([size[n] for n in g], dtype=int)) for g in groups)

    x = t.reshape(_ordered(a, na, batch + left + inner), shape(batch, left, inner))
    y = t.reshape(_ordered(b, nb, batch + inner + right), shape(batch, inner, right))
    names = batch + left + right
    return t.reshape(apply("matmul", (x, y)), tuple(size[n] for n in names)), names


def _einsum(subscripts: str, *arrays: Any) -> Any:
    if not isinstance(subscripts, str) or "." in subscripts:
        raise TypeError("einsum: the subscripts must be text without '...', one argument")
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    names = inputs.split(",")
    if not arrow:
        output = "".join(sorted(n for n in set(inputs) - {","} if inputs.count(n) == 1))
    for n, x in zip(names, arrays, strict=True):
        if len(n) != _rank(x):
            raise ValueError(f"einsum: {n!r} names {len(n)} axes, the array has {_rank(x)}")
    sizes: dict[str, int] = {}
    for n, x in zip(names, arrays, strict=True):
        for name, size in zip(n, np.shape(x), strict=True):
            if sizes.setdefault(name, size) != size:
                raise ValueError(f"einsum: axis {name!r} is {sizes[name]} and {size} long")
    y, now = arrays[0], names[0]
    for k in range(1, len(arrays)):
        later = "".join(names[k + 1 :])
        y, now = _pair(y, now, arrays[k], names[k], output + later)
    y, now = _reduced(y, now, output)
    return _ordered(y, now, output)


_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    na, nb = list(_LETTERS[: _rank(a)]), list(_LETTERS[_rank(a) : _rank(a) + _rank(b)])
    if isinstance(axes, int):
        axes = range(_rank(a) - axes, _rank(a)), range(axes)
    left, right = ([k] if isinstance(k, int) else list(k) for k in axes)
    for i, j in zip(left, right, strict=True):
        nb[j] = na[i]
    shared = {na[i] for i in left}
    out = "".join(n for n in na + nb if n not in shared)
    return _einsum(f"{''.join(na)},{''.join(nb)}->{out}", a, b)


def _inner(a: Any, b: Any) -> Any:
    return _tensordot(a, b, (-1, -1)) if _rank(a) and _rank(b) else ops.multiply(a, b)


def _outer(a: Any, b: Any) -> Any:
    return t.reshape(a, (-1, 1)) * t.reshape(b, (1, -1))


# ---- joining and cutting ----------------------------------------------------------------------


def _atleast(rank: int) -> Callable[..., Any]:
    shape: Any = (np.atleast_1d, np.atleast_2d, np.atleast_3d)[rank - 1]

    def widen(*arrays: Any) -> Any:
        found = [x if _rank(x) >= rank else t.reshape(x, shape(np.empty(x.shape, bool)).shape)
                 for x in arrays]  # fmt: skip
        return found[0] if len(found) == 1 else tuple(found)

    return widen


def concatenate(arrays: Any, axis: Any = 0) -> Any:
    """As np.concatenate."""
    given = tuple(arrays)
    if axis is None:
        given, axis = tuple(t.reshape(x, (-1,)) for x in given), 0
    while len(given) > 16:  # an operator takes no more
        given = tuple(ops.concatenate(given[k : k + 16], axis=axis)
                      for k in range(0, len(given), 16))  # fmt: skip
    return ops.concatenate(given, axis=axis)


def _hstack(tup: Sequence[Any]) -> Any:
    wide = [_atleast(1)(x) for x in tup]
    return concatenate(wide, 0 if _rank(wide[0]) == 1 else 1)


def _column_stack(tup: Sequence[Any]) -> Any:
    return concatenate([t.reshape(x, (-1, 1)) if _rank(x) < 2 else x for x in tup], 1)


def _append(arr: Any, values: Any, axis: Any = None) -> Any:
    return concatenate([x if hasattr(x, "shape") else np.asarray(x, arr.dtype)
                        for x in (arr, values)], axis)  # fmt: skip


def _split(exact: bool) -> Callable[..., Any]:
    def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
        axis = _axis(axis, _rank(ary))
        n = ary.shape[axis]
        if isinstance(indices_or_sections, int):
            if exact and n % indices_or_sections:
                raise ValueError(f"split: {n} elements do not divide by {indices_or_sections}")
            parts = np.array_split(np.arange(n), indices_or_sections)
            cuts = np.cumsum([len(p) for p in parts])[:-1].tolist()
        else:
            cuts = list(indices_or_sections)
        return [_part(ary, axis, slice(a, b))
                for a, b in zip([0, *cuts], [*cuts, n], strict=True)]  # fmt: skip

    return split


def _pad(array: Any, pad_width: Any, mode: Any = "constant", constant_values: float = 0) -> Any:
    if mode != "constant":
        return moved(array, lambda n: np.pad(n, pad_width, mode))
    for axis, (before, after) in enumerate(np.broadcast_to(pad_width, (_rank(array), 2)).tolist()):
        parts = [array]
        for n, at in ((before, 0), (after, len(parts))):
            shape = (*array.shape[:axis], n, *array.shape[axis + 1 :])
            if n:
                parts.insert(at if at == 0 else len(parts),
                             np.full(shape, constant_values, array.dtype))  # fmt: skip
        array = concatenate(parts, axis) if len(parts) > 1 else array
    return array


def _moveaxis(a: Any, source: Any, destination: Any) -> Any:
    axes = np.empty(tuple(range(1, _rank(a) + 1)), bool)  # axis k is k + 1 long
    return t.transpose(a, [n - 1 for n in np.moveaxis(axes, source, destination).shape])


_split_exact = _split(True)

FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.where: where,
    np.triu: _triangle(np.triu),
    np.tril: _triangle(np.tril),
    np.diag: _diag,
    np.trace: lambda a, offset=0, axis1=0, axis2=1: t.reduce_sum(
        moved(a, lambda n: np.diagonal(n, offset, axis1, axis2)), -1
    ),
    np.sort: _sort,
    np.median: _median,
    np.prod: prod,
    np.cumsum: _scan(ops.add),
    np.cumprod: _scan(ops.multiply),
    np.average: _average,
    np.linalg.norm: _norm,
    np.ptp: _ptp,
    np.diff: _diff,
    np.einsum: _einsum,
    np.tensordot: _tensordot,
    np.inner: _inner,
    np.outer: _outer,
    np.vdot: lambda a, b: t.reduce_sum(t.reshape(a, (-1,)) * t.reshape(b, (-1,))),
    np.atleast_1d: _atleast(1),
    np.atleast_2d: _atleast(2),
    np.atleast_3d: _atleast(3),
    np.concatenate: concatenate,
    np.vstack: lambda tup: concatenate([_atleast(2)(x) for x in tup], 0),
    np.hstack: _hstack,
    np.dstack: lambda tup: concatenate([_atleast(3)(x) for x in tup], 2),
    np.column_stack: _column_stack,
    np.append: _append,
    np.split: _split_exact,
    np.array_split: _split(False),
    np.vsplit: lambda ary, indices_or_sections: _split_exact(ary, indices_or_sections, 0),
    np.hsplit: lambda ary, indices_or_sections: _split_exact(
        ary, indices_or_sections, 0 if _rank(ary) == 1 else 1
    ),
    np.pad: _pad,
    np.moveaxis: _moveaxis,
}
for _function in (np.flip, np.fliplr, np.flipud, np.roll, np.rot90, np.repeat, np.tile, np.take,
                  np.take_along_axis, np.diagonal, np.delete, np.rollaxis):  # fmt: skip
    FUNCTIONS[_function] = _mover(_function)
