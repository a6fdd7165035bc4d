"""Gradients written with operators, so that they can be differentiated again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core, _tensors, ops

if TYPE_CHECKING:
    from collections.abc import Callable


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    if tuple(g.shape) == tuple(shape):
        return g
    ahead = len(g.shape) - len(shape)
    axes = tuple(range(ahead)) + tuple(
        i + ahead for i, n in enumerate(shape) if n == 1 and g.shape[i + ahead] != 1
    )
    if axes:
        g = ops.sum(g, axis=axes)
    return g if tuple(g.shape) == tuple(shape) else ops.reshape(g, shape=shape)


def _spread(g: Any, x: Any, attrs: Any) -> Any:
    """The gradient of a reduction, back in the shape of x."""
    rank = len(x.shape)
    axes = {a % rank for a in attrs["axis"]} if attrs["axis"] else set(range(rank))
    kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    g = g if tuple(g.shape) == kept else ops.reshape(g, shape=kept)
    return g if kept == tuple(x.shape) else ops.broadcast_to(g, shape=x.shape)


def _mean_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    count = max(int(np.prod(xs[0].shape)), 1) / max(int(np.prod(y.shape)), 1)
    return [_spread(g, xs[0], attrs) / float(count)]


def _swap(x: Any) -> Any:
    rank = len(x.shape)
    return ops.transpose(x, perm=(*range(rank - 2), rank - 1, rank - 2))


def _matmul_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    a = _swap(xs[0]) if attrs["transpose_a"] else xs[0]
    b = _swap(xs[1]) if attrs["transpose_b"] else xs[1]
    da, db = ops.matmul(g, _swap(b)), ops.matmul(_swap(a), g)
    if len(db.shape) > len(xs[1].shape):
        db = ops.sum(db, axis=tuple(range(len(db.shape) - 2)))
    if len(da.shape) > len(xs[0].shape):
        da = ops.sum(da, axis=tuple(range(len(da.shape) - 2)))
    return [_swap(da) if attrs["transpose_a"] else da, _swap(db) if attrs["transpose_b"] else db]


def _dense_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    x, kernel = xs[0], xs[1]
    if attrs["activation"] is not None:
        before = ops.dense(*xs)
        param = attrs["param"]
        g = g * _slope(attrs["activation"], before, None if param != param else param)
    flat_x = ops.reshape(x, shape=(-1, x.shape[-1])) if len(x.shape) != 2 else x
    flat_g = ops.reshape(g, shape=(-1, g.shape[-1])) if len(g.shape) != 2 else g
    dx = ops.matmul(flat_g, _swap(kernel))
    dx = dx if dx.shape == x.shape else ops.reshape(dx, shape=x.shape)
    return [dx, ops.matmul(_swap(flat_x), flat_g), ops.sum(flat_g, axis=0)][: len(xs)]


def _softmax_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    return [y * (g - ops.sum(g * y, axis=attrs["axis"], keepdims=True))]


def _log_softmax_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    return [g - ops.exp(y) * ops.sum(g, axis=attrs["axis"], keepdims=True)]


def _logsumexp_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    return [_spread(g, xs[0], attrs) * ops.exp(xs[0] - _spread(y, xs[0], attrs))]


def _power_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    a, b = xs
    return [
        lambda: g * b * ops.power(a, b - 1.0),
        lambda: g * y * ops.log(a),
    ]  # only where somebody wants it: a may be < 0


def _concatenate_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    axis = attrs["axis"] % len(y.shape)
    parts, at = [], 0
    for x in xs:
        key = [slice(None)] * len(y.shape)
        key[axis] = slice(at, at + x.shape[axis])
        parts.append(_tensors.getitem(g, tuple(key)))
        at += x.shape[axis]
    return parts


def _slice_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    """Zeros around what was cut out; by a product with a 0/1 matrix along each axis."""
    x = xs[0]
    rank = len(x.shape)
    for axis, begin in enumerate(attrs["begin"]):
        n, m = x.shape[axis], y.shape[axis]
        pace = attrs["step"][axis] if attrs["step"] else 1
        if (begin, pace, m) == (0, 1, n):
            continue
        begin += n if begin < 0 else 0
        place = np.zeros((m, n), y.dtype)
        place[np.arange(m), begin + pace * np.arange(m)] = 1
        order = [i for i in range(rank) if i != axis] + [axis]
        moved = ops.transpose(g, perm=order) if rank > 1 else ops.reshape(g, shape=(1, m))
        shape = moved.shape
        flat = ops.reshape(moved, shape=(-1, m))
        spread = ops.reshape(ops.matmul(flat, place), shape=(*shape[:-1], n))
        back = [order.index(i) for i in range(rank)]
        g = ops.transpose(spread, perm=back) if rank > 1 else ops.reshape(spread, shape=(n,))
    return [g]


def _mse_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    p, t = xs[0], xs[1]
    e = (p - t) * (2.0 / max(int(np.prod(p.shape)), 1))
    if len(xs) == 3:
        e = e * ops.reshape(xs[2], shape=(p.shape[0], *[1] * (len(p.shape) - 1)))
    return [g * e] + [None] * (len(xs) - 1)


def _step(x: Any) -> Any:
    """1 where x > 0, else 0: the slope of relu, of which the slope is 0."""
    return ops.derivative(x, of="relu")


_PHI0 = 0.3989422804014327  # 1 / sqrt(2 pi)


def _slope(name: str, x: Any, param: Any = None) -> Any:
    """f'(x) as a value."""
    if param is None:
        return ops.derivative(x, of=name)
    return ops.derivative(x, of=name, param=param)


def _bend(name: str, x: Any, p: float) -> Any:
    """f''(x), written with operators; None where it is 0 (almost) everywhere."""
    if name in ("relu", "leaky_relu", "abs", "negative", "hard_sigmoid"):
        return None
    if name == "tanh":
        return -2.0 * ops.tanh(x) * _slope("tanh", x)
    if name == "sigmoid":
        return _slope("sigmoid", x) * (1.0 - 2.0 * ops.sigmoid(x))
    if name == "softplus":
        return _slope("sigmoid", x)
    if name == "exp":
        return ops.exp(x)
    if name == "log":
        return -1.0 / ops.square(x)
    if name == "sqrt":
        return -0.25 / (x * ops.sqrt(x))
    if name == "square":
        return ops.multiply(_step(ops.square(x)), 0.0) + 2.0
    if name == "gelu":
        return _PHI0 * ops.exp(-0.5 * ops.square(x)) * (2.0 - ops.square(x))
    if name == "silu":
        s, ds = ops.sigmoid(p * x), _slope("sigmoid", p * x)
        return p * ds * (2.0 + p * x * (1.0 - 2.0 * s))
    if name in ("elu", "selu"):  # below 0 the slope is its own slope, above it is constant
        return _slope(name, x, p if name == "elu" else None) * _step(-x)
    raise KeyError(name)


_BENT = ("relu", "leaky_relu", "abs", "negative", "hard_sigmoid", "tanh", "sigmoid", "softplus",
         "exp", "log", "sqrt", "square", "gelu", "silu", "elu", "selu")  # fmt: skip


def _derivative_rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
    name, param = attrs["of"], attrs["param"]
    if param != param:
        known = _core.op_info(name)["attrs"]
        param = known[0][2] if known else 0.0
    bend = _bend(name, xs[0], param)
    return [None if bend is None else g * bend]


def _map_rule(name: str) -> Callable[..., Any]:
    def rule(g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        return [g * _slope(name, xs[0], next(iter(attrs.values())) if attrs else None)]

    return rule


RULES: dict[str, Callable[..., Any]] = {
    "add": lambda g, y, xs, a: [g, g],
    "subtract": lambda g, y, xs, a: [g, -g],
    "multiply": lambda g, y, xs, a: [lambda: g * xs[1], lambda: g * xs[0]],
    "divide": lambda g, y, xs, a: [lambda: g / xs[1], lambda: -g * y / xs[1]],
    "power": _power_rule,
    "maximum": lambda g, y, xs, a: [g * (1.0 - _step(xs[1] - xs[0])), g * _step(xs[1] - xs[0])],
    "minimum": lambda g, y, xs, a: [g * (1.0 - _step(xs[0] - xs[1])), g * _step(xs[0] - xs[1])],
    "greater_equal": lambda g, y, xs, a: [None, None],
    "select": lambda g, y, xs, a: [None, ops.select(xs[0], g)],
    "sum": lambda g, y, xs, a: [_spread(g, xs[0], a)],
    "mean": _mean_rule,
    "matmul": _matmul_rule,
    "dense": _dense_rule,
    "softmax": _softmax_rule,
    "log_softmax": _log_softmax_rule,
    "logsumexp": _logsumexp_rule,
    "reshape": lambda g, y, xs, a: [ops.reshape(g, shape=xs[0].shape)],
    "transpose": lambda g, y, xs, a: [
        ops.transpose(g, perm=np.argsort([p % len(y.shape) for p in a["perm"]]).tolist()
                      if a["perm"] else ())
    ],
    "broadcast_to": lambda g, y, xs, a: [g],
    "concatenate": _concatenate_rule,
    "slice": _slice_rule,
    "cast": lambda g, y, xs, a: [ops.cast(g, dtype=xs[0].dtype)],
    "stop_gradient": lambda g, y, xs, a: [None],
    "loss_mse": _mse_rule,
    "derivative": _derivative_rule,
}  # fmt: skip


RULES.update({name: _map_rule(name) for name in ops.__all__
               if _core.op_info(name)["kind"] == "map"})  # fmt: skip


def twice_differentiable() -> list[str]:
    """The operators of which gradients of gradients can be taken.

    >>> {"matmul", "dense", "tanh", "gelu", "softmax"} <= set(twice_differentiable())
    True
    """
    maps = {n for n in ops.__all__ if _core.op_info(n)["kind"] == "map"}
    return sorted((set(RULES) - maps - {"derivative"}) | (maps & set(_BENT)))
