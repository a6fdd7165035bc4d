"""Operators on images as NumPy formulas: convolution and pooling, place by place."""

from __future__ import annotations

from typing import Any

import numpy as np
from oracle import LD, Case, Row, grid, normal


def _act(rows: Any, name: str | None) -> tuple[Any, Any]:
    if name is None:
        return lambda z: z, np.ones_like
    row = rows[name]
    return (lambda z: np.asarray(row.forward(z)), lambda z: row.vjp(np.ones_like(z), z)[0])


def _places(x: Any, size: Any, strides: Any, dilation: Any, padding: Any) -> Any:
    """(place of the window, index of its pixels in the padded x) and the results' size."""
    strides, dilation, padding = strides or (1, 1), dilation or (1, 1), padding or (0,) * 4
    full = [n + padding[2 * i] + padding[2 * i + 1] for i, n in enumerate(x.shape[1:3])]
    out = [(full[i] - (size[i] - 1) * dilation[i] - 1) // strides[i] + 1 for i in range(2)]
    found = []
    for place in np.ndindex(*size):
        at = tuple(
            slice(p * d, p * d + (n - 1) * s + 1, s)
            for p, d, n, s in zip(place, dilation, out, strides, strict=True)
        )
        found.append((place, (slice(None), *at)))
    return found, out


def _framed(x: Any, padding: Any, value: float = 0.0) -> Any:
    p = padding or (0,) * 4
    widths = ((0, 0), p[:2], p[2:], (0, 0))
    return np.pad(x, widths, constant_values=value)


def _cut(x: Any, padding: Any) -> Any:
    p = padding or (0,) * 4
    return x[:, p[0] : x.shape[1] - p[1], p[2] : x.shape[2] - p[3]]


def _grouped(x: Any, groups: int) -> Any:
    return x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)


def _conv(x, kernel, bias=None, strides=(), dilation=(), padding=(), groups=1):
    places, out = _places(x, kernel.shape[:2], strides, dilation, padding)
    wide = _grouped(_framed(x, padding), groups)
    k = _grouped(kernel, groups)
    z = np.zeros((x.shape[0], *out, groups, k.shape[-1]), LD)
    for place, at in places:
        z = z + np.einsum("bijgc,cgo->bijgo", wide[at], k[place])
    z = z.reshape(*z.shape[:3], kernel.shape[-1])
    return z if bias is None else z + bias


def _conv_back(dz, x, kernel, bias=None, strides=(), dilation=(), padding=(), groups=1):
    places, _ = _places(x, kernel.shape[:2], strides, dilation, padding)
    wide, k = _grouped(_framed(x, padding), groups), _grouped(kernel, groups)
    dx, dk, d = np.zeros_like(wide), np.zeros_like(k), _grouped(dz, groups)
    for place, at in places:
        dx[at] += np.einsum("bijgo,cgo->bijgc", d, k[place])
        dk[place] = np.einsum("bijgc,bijgo->cgo", wide[at], d)
    found = [_cut(dx.reshape(_framed(x, padding).shape), padding), dk.reshape(kernel.shape)]
    return found if bias is None else [*found, dz.sum(axis=(0, 1, 2))]


def _conv_row(rows: Any) -> Row:
    """With `pool`: max_pool2d's rows behind the convolution's."""

    def pooled(y: Any, pool: Any) -> Any:
        return _max_pool(y, size=pool) if pool else y

    def unpooled(dy: Any, y: Any, pool: Any) -> Any:
        return _max_pool_vjp(dy, y, size=pool)[0] if pool else dy

    def forward(*inputs: Any, activation: Any = None, pool: Any = (), **attrs: Any) -> Any:
        return pooled(np.asarray(_act(rows, activation)[0](_conv(*inputs, **attrs))), pool)

    def vjp(dy: Any, *inputs: Any, activation: Any = None, pool: Any = (), **attrs: Any) -> Any:
        z = _conv(*inputs, **attrs)
        f, slope = _act(rows, activation)
        dy = unpooled(dy, np.asarray(f(z)), pool)
        return _conv_back(dy * slope(z), *inputs, **attrs)

    def size(*inputs: Any, activation: Any = None, pool: Any = (), **attrs: Any) -> Any:
        wide = _conv(*(np.abs(a) for a in inputs), **attrs)
        slope = np.abs(_act(rows, activation)[1](_conv(*inputs, **attrs)))
        return pooled(wide * np.maximum(slope, 0.1), pool)

    def grad_size(
        dy: Any, *inputs: Any, activation: Any = None, pool: Any = (), **attrs: Any
    ) -> Any:
        z = _conv(*inputs, **attrs)
        f, df = _act(rows, activation)
        sizes = [np.abs(a) for a in inputs]
        wide = 1 + _conv(*sizes, **attrs)
        slope = np.abs(df(z))
        dy = unpooled(np.abs(dy), np.asarray(f(z)), pool)
        dz = dy * (slope + wide * (slope + 0.1) if activation else slope)
        return _conv_back(dz, *sizes, **attrs)

    def case(x: Any, kernel: Any, **attrs: Any) -> Case:
        key = (x, kernel, str(attrs))
        inputs = (normal(x, "x", key), normal(kernel, "k", key), normal(kernel[-1:], "b", key))
        return Case(inputs[:2] if attrs.pop("bare", False) else inputs, attrs)

    def cases() -> list[Case]:
        two, same = (2, 2), (1, 1, 1, 1)
        return [
            case((1, 1, 1, 1), (1, 1, 1, 1)),
            case((0, 3, 3, 2), (2, 2, 2, 3)),
            case((2, 5, 4, 3), (3, 2, 3, 5), bare=True),
            case((2, 5, 4, 3), (3, 2, 3, 5), activation="tanh"),
            case((1, 4, 5, 2), (3, 3, 2, 2), padding=same, activation="relu"),
            case((1, 6, 7, 2), (3, 2, 2, 3), strides=(2, 3), padding=(2, 0, 1, 3)),
            case((1, 7, 7, 2), (2, 3, 2, 2), dilation=(3, 2), strides=two),
            case((1, 5, 6, 4), (2, 2, 2, 6), groups=2, padding=(0, 1, 0, 1)),
            case((1, 5, 5, 4), (3, 3, 2, 2), groups=2, dilation=two, activation="gelu"),
            # depthwise, and one channel
            case((2, 6, 5, 3), (3, 3, 1, 3), groups=3, padding=same),
            case((1, 6, 5, 2), (2, 3, 1, 6), groups=2, activation="relu"),
            case((1, 4, 5, 2), (2, 2, 1, 34), groups=2, padding=same),
            case((1, 9, 8, 3), (3, 2, 1, 3), groups=3, strides=(2, 2), dilation=(2, 1)),
            case((2, 7, 9, 1), (5, 5, 1, 1), padding=(2, 2, 2, 2)),
            case((1, 8, 7, 1), (3, 9, 1, 2), padding=(0, 0, 4, 4), activation="tanh"),
            case((3, 28, 28, 1), (5, 5, 1, 6), padding=(2, 2, 2, 2), activation="relu"),
            case((2, 14, 14, 6), (5, 5, 6, 16), activation="relu"),
            case((2, 9, 11, 21), (3, 3, 1, 21), groups=21, padding=same),
            case((2, 9, 11, 32), (3, 3, 1, 32), groups=32, strides=two, padding=same),
            case((1, 5, 17, 19), (1, 1, 19, 37)),
            case((2, 6, 33, 5), (3, 3, 5, 67), padding=same),
            # more than one block of terms
            case((1, 4, 4, 300), (2, 2, 300, 3), padding=(1, 0, 0, 1)),
            case((1, 5, 5, 70), (3, 3, 70, 5), activation="tanh"),
            case((1, 3, 4, 40), (1, 2, 40, 9), dilation=(1, 2)),
            case((1, 9, 120, 2), (3, 3, 2, 4)),
            case((1, 2, 600, 4), (1, 3, 4, 2)),
            # one channel: more results than planes, and strides in one direction
            case((2, 7, 8, 1), (3, 3, 1, 20)),
            case((2, 7, 8, 1), (3, 3, 1, 2), strides=(2, 1)),
            case((2, 7, 8, 1), (3, 3, 1, 2), strides=(1, 2)),
            case((2, 6, 7, 4), (3, 3, 4, 1)),
            # one row or column of results, a high kernel, and its rows or columns apart
            *(case((*image, n), (*kernel, n, 4)) for n in (1, 3) for image, kernel in
              [((1, 2, 6), (2, 2)), ((1, 6, 2), (2, 2)), ((1, 12, 4), (9, 2))]),
            *(case((1, 6, 7, n), (2, 2, n, 4), dilation=d) for n in (1, 3)
              for d in ((2, 1), (1, 2))),
            # depthwise: one row of results, high kernels, and rows apart
            case((2, 3, 6, 3), (3, 3, 1, 3), groups=3),
            case((1, 9, 8, 3), (5, 3, 1, 3), groups=3),
            case((1, 9, 8, 3), (3, 3, 1, 3), groups=3, dilation=(2, 1)),
            # more padding than the kernel reaches, on one side
            case((1, 4, 5, 3), (2, 2, 3, 3), padding=(3, 0, 0, 0)),
            case((1, 4, 5, 3), (2, 2, 3, 3), padding=(0, 3, 0, 0)),
            case((1, 4, 5, 3), (2, 2, 3, 3), padding=(0, 0, 3, 0)),
            case((1, 4, 5, 3), (2, 2, 3, 3), padding=(0, 0, 0, 3)),
            case((1, 5, 6, 2), (2, 2, 2, 3), strides=(1, 2)),
            # max-pooling behind, with pixels left over, and one channel
            case((3, 28, 28, 1), (5, 5, 1, 6), padding=(2,) * 4, activation="relu", pool=two),
            case((3, 14, 14, 6), (5, 5, 6, 16), activation="relu", pool=two),
            case((2, 9, 12, 3), (2, 3, 3, 19), pool=(3, 2)),
            case((2, 8, 7, 4), (3, 3, 1, 4), groups=4, padding=same, pool=(1, 3)),
            case((2, 8, 9, 1), (3, 3, 1, 4), pool=two),
            case((2, 8, 9, 1), (3, 3, 1, 4), pool=(3, 2)),
            case((2, 8, 9, 1), (3, 3, 1, 4), pool=(2, 3)),
            case((2, 8, 9, 3), (3, 3, 3, 4), pool=(2, 3)),
        ]

    return Row(
        forward, cases, vjp=vjp, size=size, grad_size=grad_size, kinks=(),
        big=lambda: case((37, 23, 19, 6), (5, 5, 6, 16), padding=(2, 2, 2, 2), activation="tanh"),
        smooth=lambda case: case.attrs.get("activation") != "relu" and "pool" not in case.attrs,
        ulps=(12, 12), grad_ulps=(14, 14),
        why="chains of up to 256 products, and of 512 in a gradient of the kernel, as dense",
    )  # fmt: skip


# ---- transposed convolution --------------------------------------------------------------------


def _transposed(x, kernel, size=(), **attrs):
    image = np.zeros((x.shape[0], *size, kernel.shape[2]), LD)
    return _conv_back(x, image, kernel, **attrs)[0]


def _transposed_row() -> Row:
    def vjp(dy: Any, x: Any, kernel: Any, size: Any = (), **attrs: Any) -> Any:
        return [_conv(dy, kernel, **attrs), _conv_back(x, dy, kernel, **attrs)[1]]

    def case(x: Any, kernel: Any, size: Any, **attrs: Any) -> Case:
        key = (x, kernel, str(attrs))
        return Case((normal(x, "x", key), normal(kernel, "k", key)), {"size": size, **attrs})

    def cases() -> list[Case]:
        two, same = (2, 2), (1, 1, 1, 1)
        return [
            case((1, 1, 1, 1), (1, 1, 1, 1), (1, 1)),
            case((0, 2, 2, 3), (2, 2, 2, 3), (3, 3)),
            case((2, 3, 4, 5), (3, 2, 3, 5), (5, 5)),
            case((1, 4, 5, 2), (3, 3, 2, 2), (4, 5), padding=same),
            case((1, 3, 4, 3), (3, 3, 2, 3), (6, 8), strides=two, padding=(0, 1, 0, 1)),
            case((1, 3, 2, 3), (2, 2, 2, 3), (8, 9), strides=(3, 5)),  # rows that nothing reaches
            case((1, 3, 3, 2), (2, 3, 2, 2), (6, 7), dilation=(3, 2)),
            case((2, 6, 5, 2), (3, 3, 1, 2), (6, 5), padding=same),  # one channel
            case((1, 7, 9, 19), (5, 5, 6, 19), (11, 13)),
            case((2, 4, 17, 37), (3, 3, 33, 37), (8, 34), strides=two, padding=(0, 1, 0, 1)),
            case((1, 2, 3, 300), (2, 2, 3, 300), (3, 4)),
        ]

    return Row(
        _transposed, cases, vjp=vjp,
        size=lambda x, k, **a: _transposed(np.abs(x), np.abs(k), **a),
        grad_size=lambda dy, x, k, **a: vjp(np.abs(dy), np.abs(x), np.abs(k), **a),
        big=lambda: case((37, 12, 10, 16), (4, 4, 6, 16), (24, 20), strides=(2, 2),
                         padding=(1, 1, 1, 1)),
        ulps=(14, 14), grad_ulps=(14, 14),
        why="chains of up to 512 products, as conv2d's gradients",
    )  # fmt: skip


# ---- pooling ----------------------------------------------------------------------------------


def _windows(x: Any, size: Any, strides: Any = (), padding: Any = (), value: float = 0.0) -> Any:
    """(windows, B, OH, OW, C), the padding holding `value`, and the pixels' indices."""
    places, _ = _places(x, size, strides or size, (), padding)
    wide = _framed(x, padding, value)
    return np.stack([wide[at] for _, at in places]), [at for _, at in places]


def _max_pool(x: Any, **attrs: Any) -> Any:
    return _windows(x, **attrs, value=-np.inf)[0].max(axis=0)


def _max_pool_vjp(dy: Any, x: Any, **attrs: Any) -> Any:
    stack, indices = _windows(x, **attrs, value=-np.inf)
    first = stack.argmax(axis=0)
    dx = np.zeros_like(_framed(x, attrs.get("padding")))
    for k, at in enumerate(indices):
        dx[at] += dy * (first == k)
    return (_cut(dx, attrs.get("padding")),)


def _count(x: Any, **attrs: Any) -> Any:
    return _windows(np.ones_like(x), **attrs)[0].sum(axis=0)


def _avg_pool(x: Any, **attrs: Any) -> Any:
    return _windows(x, **attrs)[0].sum(axis=0) / _count(x, **attrs)


def _avg_pool_vjp(dy: Any, x: Any, **attrs: Any) -> Any:
    _, indices = _windows(x, **attrs)
    dx = np.zeros_like(_framed(x, attrs.get("padding")))
    for at in indices:
        dx[at] += dy / _count(x, **attrs)
    return (_cut(dx, attrs.get("padding")),)


def _pool_cases(make: Any) -> list[Case]:
    tries: list[tuple[tuple[int, ...], dict[str, Any]]] = [
        ((1, 1, 1, 1), {"size": (1, 1)}),
        ((0, 4, 4, 2), {"size": (2, 2)}),
        ((2, 4, 6, 3), {"size": (2, 2)}),
        ((2, 5, 7, 2), {"size": (2, 3)}),
        ((1, 6, 6, 2), {"size": (3, 2), "strides": (1, 1)}),
        ((1, 7, 5, 3), {"size": (3, 3), "strides": (2, 2), "padding": (1, 1, 1, 1)}),
        ((1, 7, 8, 2), {"size": (2, 2), "strides": (3, 4)}),
        ((1, 5, 5, 2), {"size": (2, 2), "padding": (0, 1, 0, 1)}),
        ((2, 6, 4, 19), {"size": (2, 2)}),
        ((1, 6, 4, 37), {"size": (3, 3), "strides": (1, 2), "padding": (2, 0, 0, 2)}),
        ((1, 5, 6, 2), {"size": (2, 2), "strides": (2, 3)}),
        ((1, 5, 6, 2), {"size": (2, 2), "strides": (2, 1)}),
        ((1, 4, 5, 2), {"size": (2, 2), "padding": (0, 0, 1, 0)}),
        ((1, 5, 4, 2), {"size": (2, 2), "padding": (1, 0, 0, 0)}),
        ((1, 4, 5, 2), {"size": (2, 2)}),
        ((1, 1, 2, 4), {"size": (1, 9), "strides": (1, 1), "padding": (0, 0, 8, 8)}),
        ((2, 4, 4, 0), {"size": (2, 2)}),
        ((1, 40, 48, 10), {"size": (2, 2)}),
    ]
    return [Case((make(s, "pool", k),), attrs) for k, (s, attrs) in enumerate(tries)]


def _unequal(shape: Any, *key: object) -> Any:
    """Numbers 1/8 apart: no step of a finite difference changes which is the largest."""
    n = int(np.prod(shape))
    return (np.random.default_rng(len(key)).permutation(n) / 8 - n / 16).reshape(shape)


def add_images(rows: dict[str, Any]) -> None:
    rows["conv2d"] = _conv_row(rows)
    rows["conv2d_transpose"] = _transposed_row()
    rows["max_pool2d"] = Row(
        _max_pool, lambda: [*_pool_cases(_unequal), *_pool_cases(grid)], vjp=_max_pool_vjp,
        big=lambda: Case((normal((37, 24, 20, 6), "max"),), {"size": (2, 2)}),
        ulps=(0, 0), grad_ulps=(2, 2), grad_size="array", why="chooses; adds overlapping parts",
        smooth=lambda case: case.inputs[0].size == len(np.unique(case.inputs[0])),
    )  # fmt: skip
    rows["avg_pool2d"] = Row(
        _avg_pool, lambda: _pool_cases(normal), vjp=_avg_pool_vjp,
        size=lambda x, **attrs: _avg_pool(np.abs(x), **attrs),
        grad_size=lambda dy, x, **attrs: _avg_pool_vjp(np.abs(dy), x, **attrs),
        big=lambda: Case((normal((37, 24, 20, 6), "avg"),), {"size": (2, 2)}),
        ulps=(4, 4), grad_ulps=(4, 4), why="up to nine terms added in the dtype, one division",
    )  # fmt: skip
    rows["moving_average"] = None  # changes its input: test_images.py runs it in programs
