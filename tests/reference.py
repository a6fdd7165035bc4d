"""Every operator of the registry as a NumPy formula: one row each, and none without.

`test_ops.py` draws everything that it tries from here. The shapes are the awkward ones:
nothing, one, primes, no axes at all, and broadcasting both ways.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from oracle import LD, PI, Case, Row, erfc, exact, grid, normal
from reference_images import add_images
from reference_recurrent import add_recurrent
from reference_training import add_losses, add_metrics, add_updates

INF = float("inf")
SHAPES = [(), (0,), (1,), (2,), (3, 0, 2), (31,), (5, 7, 11), (257,)]

ROWS: dict[str, Row] = {}
PARAMETER = {"leaky_relu": "alpha", "elu": "alpha", "silu": "beta"}

# ---- element-wise, one input ------------------------------------------------------------------


def _map_cases(name: str, positive: bool, attrs: dict[str, Any]) -> list[Case]:
    cases = []
    for k, shape in enumerate(SHAPES):
        x = normal(shape, name, scale=(1, 4)[k % 2])
        cases.append(Case((np.abs(x) + 0.25 if positive else x,), {} if k % 3 else attrs))
    wide = exact(np.r_[np.linspace(-19, 19, 241), 2.0 ** np.arange(-30.0, 0, 2.5)])
    wide = np.r_[wide, -(wide[-12:])]
    cases.append(Case((np.abs(wide) + 2.0**-8 if positive else wide,)))
    return [Case((exact(c.inputs[0]),), c.attrs) for c in cases]


def add_map(
    name: str, f: Any, df: Any, limits: Any, kinks: tuple[float, ...] = (),
    positive: bool = False, floor: float = 0.0, **attrs: float,
) -> None:  # fmt: skip
    """y = f(x, **attrs); limits: x -> (f(x), f'(x)) at points where the formula fails.

    floor: near a root of f' the formula itself loses digits, so there float64 is measured
    against this size instead of the derivative's own.
    """

    def measure(dy: Any, x: Any, **a: Any) -> tuple[Any]:
        return (np.abs(dy) * floor,)

    big = normal((3, 20011), name, "big")
    ROWS[name] = Row(
        f,
        lambda: _map_cases(name, positive, attrs),
        big=lambda: Case((exact(np.abs(big) + 0.25) if positive else big,)),
        vjp=lambda dy, x, **a: (dy * df(x, **a),),
        grad_size=measure if floor else None,
        ulps=(0.502, 1.6),
        grad_ulps=(1.01, 3),
        why="promised: one rounding in float32, 1 ULP in float64 (tanh 1.5, a slope 2); a"
        " gradient is one product more",
        kinks=kinks,
        limits=limits,
    )


def _sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _silu(x: Any, beta: float = 1.0) -> Any:
    return x * _sigmoid(LD(beta) * x)


def _dsilu(x: Any, beta: float = 1.0) -> Any:
    s, bx = _sigmoid(LD(beta) * x), LD(beta) * x
    return s + bx * s * _sigmoid(-bx)


def _elu(x: Any, alpha: float = 1.0) -> Any:
    return np.where(x > 0, x, LD(alpha) * np.expm1(np.minimum(x, 0)))


def _delu(x: Any, alpha: float = 1.0) -> Any:
    return np.where(x > 0, 1, LD(alpha) * np.exp(np.minimum(x, 0)))


_SCALE = LD("1.05070098735548049342")
_SCALE_ALPHA = LD("1.67326324235437728482") * _SCALE


def _selu(x: Any) -> Any:
    return np.where(x > 0, _SCALE * x, _SCALE_ALPHA * np.expm1(np.minimum(x, 0)))


def _phi(x: Any) -> Any:
    return np.exp(-x * x / 2) / np.sqrt(2 * PI)


def _cdf(x: Any) -> Any:
    return erfc(-x / np.sqrt(LD(2))) / 2


_C = np.sqrt(2 / PI)
_K = LD("0.044715")


def _gelu_tanh(x: Any) -> Any:  # (1 + tanh u) / 2 = sigmoid(2 u)
    return x * _sigmoid(2 * _C * (x + _K * x**3))


def _dgelu_tanh(x: Any) -> Any:
    u, du = _C * (x + _K * x**3), _C * (1 + 3 * _K * x * x)
    return _sigmoid(2 * u) + 2 * x * du * _sigmoid(2 * u) * _sigmoid(-2 * u)


def _tanh_softplus(x: Any) -> Any:
    e = np.exp(np.minimum(x, 60))
    n = e * (e + 2)
    return n / (n + 2)


def _dmish(x: Any) -> Any:
    e = np.exp(np.minimum(x, 60))
    n = e * (e + 2)
    return n / (n + 2) + x * 4 * e * (e + 1) / (n + 2) ** 2


def _dtanh(x: Any) -> Any:
    return 1 / np.cosh(x) ** 2


add_map("relu", lambda x: np.maximum(x, 0), lambda x: x > 0,
        {0.0: (0, 0), -INF: (0, 0), INF: (INF, 1)}, (0,))  # fmt: skip
add_map("leaky_relu", lambda x, alpha=0.01: np.where(x > 0, x, x * LD(alpha)),
        lambda x, alpha=0.01: np.where(x > 0, 1, LD(alpha)),
        {-0.0: (-0.0, 0.01), -INF: (-INF, 0.01), INF: (INF, 1)}, (0,),
        alpha=0.25)  # fmt: skip
add_map("elu", _elu, _delu, {-0.0: (-0.0, 1), -INF: (-1, 0), INF: (INF, 1)}, (0,), alpha=0.75)
add_map("selu", _selu, lambda x: np.where(x > 0, _SCALE, _SCALE_ALPHA * np.exp(np.minimum(x, 0))),
        {-0.0: (-0.0, _SCALE_ALPHA), -INF: (-_SCALE_ALPHA, 0), INF: (INF, _SCALE)},
        (0,))  # fmt: skip
add_map("sigmoid", _sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x),
        {0.0: (0.5, 0.25), -INF: (0, 0), INF: (1, 0)})  # fmt: skip
add_map("hard_sigmoid", lambda x: np.clip((x + 3) / 6, 0, 1),
        lambda x: np.where(np.abs(x) < 3, LD(1) / 6, 0),
        {-3.0: (0, 0), 3.0: (1, 0), -INF: (0, 0), INF: (1, 0)}, (-3, 3))  # fmt: skip
add_map("tanh", np.tanh, _dtanh, {-0.0: (-0.0, 1), -INF: (-1, 0), INF: (1, 0)})
add_map("silu", _silu, _dsilu, {-0.0: (-0.0, 0.5), -INF: (-0.0, -0.0), INF: (INF, 1)},
        floor=0.01, beta=1.5)  # fmt: skip
add_map("gelu", lambda x: x * _cdf(x), lambda x: _cdf(x) + x * _phi(x),
        {-0.0: (-0.0, 0.5), -INF: (-0.0, -0.0), INF: (INF, 1)}, floor=0.2)  # fmt: skip
add_map("gelu_tanh", _gelu_tanh, _dgelu_tanh,
        {-0.0: (-0.0, 0.5), -INF: (-0.0, -0.0), INF: (INF, 1)}, floor=0.01)  # fmt: skip
add_map("softplus", _softplus, _sigmoid, {-INF: (0, 0), INF: (INF, 1)})
add_map("softsign", lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2,
        {-0.0: (-0.0, 1), -INF: (-1, 0), INF: (1, 0)}, (0,))  # fmt: skip
add_map("mish", lambda x: x * _tanh_softplus(x), _dmish,
        {-0.0: (-0.0, LD("0.6")), -INF: (-0.0, -0.0), INF: (INF, 1)}, floor=0.01)  # fmt: skip
add_map("exp", np.exp, np.exp, {-INF: (0, 0), INF: (INF, INF)})
add_map("log", np.log, lambda x: 1 / x, {0.0: (-INF, INF), INF: (INF, 0)}, positive=True)
add_map("sqrt", np.sqrt, lambda x: 1 / (2 * np.sqrt(x)),
        {-0.0: (-0.0, -INF), INF: (INF, 0)}, positive=True)  # fmt: skip
add_map("square", np.square, lambda x: 2 * x, {-0.0: (0, -0.0), -INF: (INF, -INF)})
add_map("abs", np.abs, np.sign, {-0.0: (0, 0), -INF: (INF, -1)}, (0,))
add_map("negative", np.negative, lambda x: -np.ones_like(x), {0.0: (-0.0, -1), INF: (-INF, -1)})

# ---- element-wise, two inputs -----------------------------------------------------------------

PAIRS = [
    ((), ()), ((), (3,)), ((7,), (7,)), ((1,), (1,)), ((5, 1), (1, 7)), ((2, 3, 5), (3, 1)),
    ((0,), (1,)), ((4, 0, 3), (1, 3)), ((31, 17), (17,)), ((17,), (31, 17)), ((31, 17), (31, 1)),
    ((1, 13), (11, 13)), ((3, 1, 5, 1), (2, 1, 7)),
]  # fmt: skip


def unbroadcast(g: Any, like: Any) -> Any:
    """The sum of a gradient over the axes along which its operand was repeated."""
    g = np.asarray(g)
    g = g.sum(axis=tuple(range(g.ndim - like.ndim)))
    axes = tuple(i for i, n in enumerate(like.shape) if n == 1)
    return g.sum(axis=axes, keepdims=True)


def add_binary(name: str, f: Any, df: Any, a: Any = normal, b: Any = normal, **row: Any) -> None:
    """df: (dy, a, b) -> the gradients before they are summed over repeated axes."""

    def vjp(dy: Any, x: Any, y: Any) -> Any:
        return tuple(unbroadcast(g, o) for g, o in zip(df(dy, x, y), (x, y), strict=True))

    def size(dy: Any, x: Any, y: Any) -> Any:
        parts = (np.abs(g) for g in df(dy, x, y))
        return tuple(unbroadcast(g, o) for g, o in zip(parts, (x, y), strict=True))

    def case(s: Any, t: Any) -> Case:
        return Case((a(s, name, "a"), b(t, name, "b")))

    ROWS[name] = Row(
        f,
        lambda: [case(s, t) for s, t in PAIRS],
        big=lambda: case((5, 41003), (41003,)),
        vjp=vjp,
        grad_size=size,
        why="one rounding; sums over repeated axes err by the size of their terms",
        **{"ulps": (0.501, 0.501), "grad_ulps": (1.01, 4), **row},
    )


def _positive(shape: Any, *key: object) -> Any:
    return exact(np.abs(normal(shape, *key)) + 0.5)


def _shifted(shape: Any, *key: object) -> Any:
    return grid(shape, *key, shift=1 / 32)


add_binary("add", lambda a, b: a + b, lambda dy, a, b: (dy + 0 * (a + b), dy + 0 * (a + b)))
add_binary("subtract", lambda a, b: a - b, lambda dy, a, b: (dy + 0 * (a + b), -dy + 0 * (a + b)))
add_binary("multiply", lambda a, b: a * b, lambda dy, a, b: (dy * b, dy * a))
add_binary("divide", lambda a, b: a / b, lambda dy, a, b: (dy / b, -dy * a / b / b), b=_positive)
add_binary("maximum", np.maximum, lambda dy, a, b: (dy * (a >= b), dy * (a < b)), grid, _shifted)
add_binary("minimum", np.minimum, lambda dy, a, b: (dy * (a <= b), dy * (a > b)), grid, _shifted)
add_binary("greater_equal", lambda a, b: (a >= b) * 1.0, lambda dy, a, b: (0 * dy, 0 * dy),
           grid, _shifted, ulps=(0, 0))  # fmt: skip
add_binary("select", lambda a, b: np.where(a != 0, b, 0), lambda dy, a, b: (0 * dy, dy * (a != 0)),
           grid, ulps=(0, 0))  # fmt: skip
add_binary("power", np.power,
           lambda dy, a, b: (dy * b * a ** (b - 1), dy * a**b * np.log(a)), a=_positive,
           ulps=(0.501, 1.01), grad_ulps=(1.01, 6))  # fmt: skip

# ---- reductions -------------------------------------------------------------------------------

FOLDS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((), {}), ((1,), {}), ((0,), {}), ((0,), {"axis": (0,), "keepdims": True}), ((31,), {}),
    ((1031,), {"axis": (-1,)}), ((5, 7, 11), {}), ((5, 7, 11), {"axis": (0,)}),
    ((5, 7, 11), {"axis": (1,), "keepdims": True}), ((5, 7, 11), {"axis": (-1,)}),
    ((5, 7, 11), {"axis": (0, 2)}), ((5, 7, 11), {"axis": (2, 1), "keepdims": True}),
    ((3, 0, 2), {"axis": (0,)}), ((3, 0, 2), {"axis": (1,)}), ((2, 1, 3, 1), {"axis": (1, -1)}),
]  # fmt: skip


def _fold(x: Any, axis: Any = (), keepdims: bool = False) -> dict[str, Any]:
    return {"axis": tuple(axis) or None, "keepdims": keepdims}


def _spread(y: Any, x: Any, axis: Any = (), keepdims: bool = False) -> Any:
    """A result, or its gradient, back at the shape of x."""
    axes = tuple(sorted(i % x.ndim for i in axis)) if axis else tuple(range(x.ndim))
    shape = [1 if i in axes else n for i, n in enumerate(x.shape)]
    return np.broadcast_to(np.asarray(y).reshape(shape), x.shape)


def add_reduction(name: str, f: Any, df: Any, empty: bool = True, **row: Any) -> None:
    """f(x, axis, keepdims); df(x, y at x's shape, **fold) -> the slope, x's shape."""

    def forward(x: Any, **fold: Any) -> Any:
        return f(x, **_fold(x, **fold))

    def vjp(dy: Any, x: Any, **fold: Any) -> Any:
        y = forward(x, **fold)
        return (_spread(dy, x, **fold) * df(x, _spread(y, x, **fold), **fold),)

    def cases() -> list[Case]:
        shapes = [(s, a) for s, a in FOLDS if empty or 0 not in s or a == {"axis": (0,)}]
        found = [Case((normal(s, name, k, scale=3),), a) for k, (s, a) in enumerate(shapes)]
        return found if empty else [c for c in found if c.inputs[0].shape != (0,)]

    ROWS[name] = Row(
        forward, cases, vjp=vjp, big=lambda: Case((normal((3, 7, 20011), name),), {"axis": (1, 2)}),
        **{"ulps": (0.51, 4), "grad_ulps": (0.51, 4), **row},
    )  # fmt: skip


def _terms(x: Any, **fold: Any) -> Any:
    y_size = max(1, int(np.prod(np.shape(_sum_abs(x, **fold)))))
    return LD(x.size) / y_size


def _sum_abs(x: Any, **fold: Any) -> Any:
    return np.sum(np.abs(x), **_fold(x, **fold))


def _mean(x: Any, **fold: Any) -> Any:
    with np.errstate(all="ignore"):
        n = x.size if fold["axis"] is None else np.prod([x.shape[i] for i in fold["axis"]])
        return np.sum(x, **fold) / LD(n)


def _ties(x: Any, y: Any, **fold: Any) -> Any:
    hit = x == y
    return hit / _spread(np.sum(hit, **_fold(x, **fold)), x, **fold)


def _logsumexp(x: Any, **fold: Any) -> Any:
    if x.size == 0:
        return np.log(np.sum(np.exp(x), **fold))
    top = np.max(x, axis=fold["axis"], keepdims=True)
    return np.log(np.sum(np.exp(x - top), **fold)) + top.reshape(np.sum(x, **fold).shape)


add_reduction("sum", np.sum, lambda x, y, **fold: np.ones_like(x), size=_sum_abs,
              why="terms are added in double: 2^-53 log n of the sum of their sizes")  # fmt: skip
add_reduction("mean", _mean, lambda x, y, **fold: np.ones_like(x) / _terms(x, **fold),
              size=lambda x, **fold: _sum_abs(x, **fold) / _terms(x, **fold),
              why="as sum")  # fmt: skip
add_reduction("max", np.max, _ties, empty=False, ulps=(0, 0), grad_ulps=(0.501, 0.501),
              why="chooses; a gradient shared by ties is one division")  # fmt: skip
add_reduction("logsumexp", _logsumexp, lambda x, y, **fold: np.exp(x - y), grad_ulps=(0.51, 6),
              why="max + log1p(sum) in double")  # fmt: skip

# ---- softmax ----------------------------------------------------------------------------------


def _log_softmax(x: Any, axis: int = -1) -> Any:
    if x.size == 0:
        return x
    top = np.max(x, axis=axis, keepdims=True)
    e = np.exp(x - top)
    rest = np.sum(np.where(e == 1, 0, e), axis=axis, keepdims=True)
    return x - top - np.log1p(rest + (np.sum(e == 1, axis=axis, keepdims=True) - 1))


def _softmax(x: Any, axis: int = -1) -> Any:
    e = np.exp(x - np.max(x, axis=axis, keepdims=True, initial=-INF))
    return e / np.sum(e, axis=axis, keepdims=True)


def _softmax_vjp(dy: Any, x: Any, axis: int = -1) -> Any:
    y = _softmax(x, axis)
    return (y * (dy - np.sum(y * dy, axis=axis, keepdims=True)),)


def _log_softmax_vjp(dy: Any, x: Any, axis: int = -1) -> Any:
    return (dy - _softmax(x, axis) * np.sum(dy, axis=axis, keepdims=True),)


def _soft_cases() -> list[Case]:
    shapes = [((1,), -1), ((7,), 0), ((3, 1), 1), ((0, 3), 1), ((5, 7, 11), 1), ((5, 7, 11), 0),
              ((2, 257), -1), ((4, 10), -1), ((13, 2), 0), ((3, 1031), 1)]  # fmt: skip
    cases = [Case((normal(s, "soft", k, scale=3),), {"axis": axis})
             for k, (s, axis) in enumerate(shapes)]  # fmt: skip
    far = normal((4, 9), "soft", "far", scale=200.0)
    far[1, :3] = 80.0  # ties at the top
    return [*cases, Case((far,)), Case((normal((6,), "soft", "small", scale=1e-3),))]


def _soft_size(dy: Any, x: Any, axis: int = -1) -> Any:
    y = _softmax(x, axis)
    return (y * (np.abs(dy) + np.sum(y * np.abs(dy), axis=axis, keepdims=True)),)


ROWS["softmax"] = Row(
    _softmax, _soft_cases, big=lambda: Case((normal((37, 1003), "soft"),)), vjp=_softmax_vjp,
    grad_size=_soft_size, ulps=(1, 1), grad_ulps=(1.6, 8),
    why="promised: one ULP for any logits; the gradient's terms cancel",
)  # fmt: skip
ROWS["log_softmax"] = Row(
    _log_softmax, _soft_cases, big=lambda: Case((normal((37, 1003), "soft"),)),
    vjp=_log_softmax_vjp,
    grad_size=lambda dy, x, axis=-1: (
        np.abs(dy) + _softmax(x, axis) * np.sum(np.abs(dy), axis=axis, keepdims=True),
    ),
    ulps=(1, 1.5), grad_ulps=(1, 8), why="promised: one ULP; the formula itself adds some",
)  # fmt: skip

# ---- products ---------------------------------------------------------------------------------


def _swap(x: Any, flag: bool) -> Any:
    return np.swapaxes(x, -1, -2) if flag else x


def _matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    return _swap(a, transpose_a) @ _swap(b, transpose_b)


def _matmul_vjp(dy: Any, a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False):
    wide_a, wide_b = _swap(a, transpose_a), _swap(b, transpose_b)
    da, db = dy @ _swap(wide_b, True), _swap(wide_a, True) @ dy
    parts = zip((da, db), (a, b), (transpose_a, transpose_b), strict=True)
    return [_swap(g, t).reshape(-1, *x.shape).sum(axis=0) if g.ndim > x.ndim
            else _swap(g, t) for g, x, t in parts]  # fmt: skip


def _matmul_size(dy: Any, a: Any, b: Any, **attrs: Any) -> Any:
    return _matmul_vjp(np.abs(dy), np.abs(a), np.abs(b), **attrs)


def _matmul_cases() -> list[Case]:
    found = []
    for a, b in [((1, 1), (1, 1)), ((0, 3), (3, 2)), ((3, 0), (0, 2)), ((5, 7), (7, 11)),
                 ((1, 257), (257, 67)), ((37, 131), (131, 1)), ((67, 31), (31, 129)),
                 ((2, 3, 5, 7), (7, 4)), ((3, 5), (2, 5, 2)), ((2, 3, 2), (2, 2, 3)),
                 ((3, 52, 51), (3, 51, 50)), ((41, 16, 15), (41, 15, 17))]:  # fmt: skip
        x, y = normal(a, "a", b), normal(b, "b", a)
        found.append(Case((x, y)))
        for ta, tb in ((True, False), (False, True), (True, True)):
            pair = (_swap(x, ta).copy(), _swap(y, tb).copy())
            found.append(Case(pair, {"transpose_a": ta, "transpose_b": tb}))
    return found


ROWS["matmul"] = Row(
    _matmul, _matmul_cases, vjp=_matmul_vjp, grad_size=_matmul_size,
    size=lambda a, b, **attrs: _matmul(np.abs(a), np.abs(b), **attrs),
    big=lambda: Case((normal((203, 301), "a"), normal((301, 307), "b"))),
    ulps=(8, 8), grad_ulps=(8, 8),
    why="K products added in the dtype: sqrt(K)/2 of the sum of their sizes, K <= 307",
)  # fmt: skip


def _act(activation: Any, param: Any) -> tuple[Any, Any]:
    """An activation and its slope, as functions of z."""
    if activation is None:
        return lambda z: z, lambda z: np.ones_like(z)
    row = ROWS[activation]
    attrs = {} if param is None else {PARAMETER[activation]: LD(param)}
    return (lambda z: row.forward(z, **attrs), lambda z: row.vjp(np.ones_like(z), z, **attrs)[0])


def _affine(x: Any, kernel: Any, bias: Any = None) -> Any:
    return x @ kernel if bias is None else x @ kernel + bias


def _dense(x: Any, kernel: Any, bias: Any = None, activation: Any = None, param: Any = None) -> Any:
    return np.asarray(_act(activation, param)[0](_affine(x, kernel, bias)))


def _dense_parts(dz: Any, x: Any, kernel: Any, bias: Any) -> list[Any]:
    rows, flat = x.reshape(-1, x.shape[-1]), dz.reshape(-1, dz.shape[-1])
    found = [dz @ kernel.T, rows.T @ flat, flat.sum(axis=0)]
    return found if bias is not None else found[:2]


def _dense_vjp(dy, x, kernel, bias=None, activation=None, param=None):
    z = _affine(x, kernel, bias)
    return _dense_parts(dy * _act(activation, param)[1](z), x, kernel, bias)


def _dense_size(x, kernel, bias=None, activation=None, param=None):
    z = _affine(x, kernel, bias)
    wide = _affine(np.abs(x), np.abs(kernel), None if bias is None else np.abs(bias))
    return wide * np.maximum(np.abs(_act(activation, param)[1](z)), 0.1)


def _dense_grad_size(dy, x, kernel, bias=None, activation=None, param=None):
    """The slope errs by the error of z, times a curvature of about 1, as well."""
    z = _affine(x, kernel, bias)
    wide = 1 + _affine(np.abs(x), np.abs(kernel), None if bias is None else np.abs(bias))
    slope = np.abs(_act(activation, param)[1](z))
    dz = np.abs(dy) * (slope + wide * (slope + 0.1) if activation else slope)
    return _dense_parts(dz, np.abs(x), np.abs(kernel), bias)


def _dense_cases() -> list[Case]:
    found = []
    for x, n in [((1, 1), 1), ((0, 3), 2), ((7,), 5), ((5, 7), 11), ((2, 3, 5), 7), ((3, 4), 1),
                 ((37, 67), 131), ((1, 257), 67), ((67, 5), 129)]:  # fmt: skip
        args = normal(x, "x", n), normal((x[-1], n), "k"), normal((n,), "b")
        found += [Case(args), Case(args[:2]), Case(args, {"activation": "tanh"})]
    found.append(Case((normal((5, 7), "x"), normal((7, 131), "k")), {"activation": "tanh"}))
    for name in (n for n, row in ROWS.items() if getattr(row, "limits", None)):
        args = normal((3, 5), "x"), normal((5, 4), "k", scale=0.3), normal((4,), "b")
        if name in ("log", "sqrt"):
            args = tuple(exact(np.abs(a) + 0.125) for a in args)
        found.append(Case(args, {"activation": name}))
    found.append(Case(found[-1].inputs, {"activation": "leaky_relu", "param": 0.25}))
    return found


ROWS["dense"] = Row(
    _dense, _dense_cases, vjp=_dense_vjp, size=_dense_size, grad_size=_dense_grad_size,
    big=lambda: Case((normal((131, 257), "x", scale=0.1), normal((257, 211), "k"),
                      normal((211,), "b")), {"activation": "tanh"}),
    ulps=(8, 8), grad_ulps=(8, 8), why="as matmul, then the activation's slope",
    smooth=lambda case: not ROWS.get(case.attrs.get("activation"), ROWS["tanh"]).kinks,
)  # fmt: skip

# ---- shapes: numbers move and stay as they are ------------------------------------------------


def add_shape(name: str, f: Any, tries: list[tuple[Any, dict[str, Any]]], **row: Any) -> None:
    def cases() -> list[Case]:
        shapes = [([s] if not isinstance(s, list) else s, attrs) for s, attrs in tries]
        return [Case(tuple(normal(s, name, k) for k, s in enumerate(inputs)), attrs)
                for inputs, attrs in shapes]  # fmt: skip

    why = "numbers move; gradients of what is repeated are added"
    ROWS[name] = Row(f, cases, **{"ulps": (0, 0), "grad_ulps": (0, 0), "why": why, **row})


def _slice(x: Any, begin: Any = (), size: Any = (), step: Any = ()) -> Any:
    for axis, at in enumerate(begin):
        pace = step[axis] if step else 1
        index = np.arange(x.shape[axis])[at::pace]
        index = index if size[axis] == -1 else index[: size[axis]]
        x = np.take(x, index, axis=axis)
    return x


add_shape("reshape", lambda x, shape: np.reshape(x, shape), [
    ((), {"shape": (1, 1)}), ((0,), {"shape": (0, 3)}), ((5, 7, 11), {"shape": (-1, 5)}),
    ((6,), {"shape": (2, 3)}), ((1,), {"shape": ()}),
])  # fmt: skip
add_shape("transpose", lambda x, perm=(): np.transpose(x, perm or None), [
    ((), {}), ((3,), {}), ((0, 3), {}), ((5, 7), {}), ((5, 7, 11), {"perm": (1, 2, 0)}),
    ((5, 7, 11), {"perm": (0, -1, 1)}), ((2, 1, 3, 5), {"perm": (3, 1, 0, 2)}), ((67, 131), {}),
], big=lambda: Case((normal((401, 307), "t"),)))  # fmt: skip
add_shape("broadcast_to", lambda x, shape: np.broadcast_to(x, shape), [
    ((), {"shape": (2, 3)}), ((1,), {"shape": (0,)}), ((7,), {"shape": (7,)}),
    ((5, 1), {"shape": (2, 5, 7)}), ((3, 1, 2), {"shape": (3, 11, 2)}),
], grad_ulps=(2, 4), grad_size="array", big=lambda: Case((normal((1, 307), "b"),),
                                                         {"shape": (401, 307)}))  # fmt: skip
add_shape("slice", _slice, [
    ((7,), {"begin": (0,), "size": (-1,)}), ((7,), {"begin": (-1,), "size": (-1,), "step": (-2,)}),
    ((5, 7, 11), {"begin": (1, 2), "size": (2, 3)}), ((5, 7), {"begin": (0, 1), "size": (0, -1)}),
    ((5, 7, 11), {"begin": (4, 0, 1), "size": (-1, 3, -1), "step": (-1, 2, 3)}),
], big=lambda: Case((normal((401, 307), "s"),),
                    {"begin": (1, 1), "size": (-1, -1), "step": (2, 1)}))  # fmt: skip
add_shape("concatenate", lambda *x, axis=0: np.concatenate(x, axis), [
    ([(3,)], {}), ([(3,), (0,), (5,)], {}), ([(5, 7), (5, 1)], {"axis": 1}),
    ([(2, 3, 5), (2, 1, 5), (2, 7, 5)], {"axis": -2}), ([(0, 2), (0, 3)], {"axis": 1}),
    ([(3, 90001), (1, 90001)], {"axis": 0}),
], big=lambda: Case((normal((801, 307), "c"), normal((801, 11), "d")), {"axis": 1}))  # fmt: skip
add_shape("cast", lambda x, dtype=0: x, [
    ((), {"dtype": 0}), ((0, 2), {"dtype": 1}), ((5, 7), {"dtype": 1}), ((5, 7), {"dtype": 0}),
], ulps=(0, 0), grad_ulps=(0.5, 0.5),
    big=lambda: Case((normal((601, 307), "cast"),), {"dtype": 1}))  # fmt: skip
add_shape("stop_gradient", lambda x: x, [((), {}), ((0,), {}), ((5, 7), {})])

ROWS["dropout"] = Row(
    lambda y, x, rate=0.5: np.where(y != 0, x / (1 - LD(rate)), 0),
    lambda: [Case((normal(s, "dropout"),), {"rate": r}) for s, r in
             [((), 0.5), ((0,), 0.5), ((1,), 0.25), ((31,), 0), ((5, 7, 11), 0.75), ((257,), 0.5)]],
    big=lambda: Case((normal((200003,), "dropout"),), {"rate": 0.25}),
    ulps=(1.01, 1.01), why="1/(1 - rate) is rounded, then the product", given=True,
)  # fmt: skip

ROWS["reenter"] = Row(
    lambda x: x, lambda: [Case((normal(s, "reenter"),)) for s in SHAPES],
    big=lambda: Case((normal((3, 20011), "reenter"),)), ulps=(0, 0), why="a copy",
)  # fmt: skip


def _settle(old: Any, fresh: Any, scale: Any = 1.0, tolerance: float = 1e-6, **_: Any) -> Any:
    most = tolerance * np.max(np.abs(scale), -1, keepdims=True, initial=0) if np.ndim(scale) else (
        tolerance)  # fmt: skip
    rest = (np.abs(fresh - old) <= most).all(-1, keepdims=True)
    return np.append(np.where(rest, old, fresh), np.sum(~rest))  # both results, flat


ROWS["settle"] = Row(
    _settle,
    lambda: [Case((normal(s, "old"), normal(s, "fresh"), *more(s)), {"tolerance": t})
             for s in [(0, 2), (1, 1), (33, 3)] for t in (0, 0.75, 3)
             for more in (lambda s: (), lambda s: (exact(normal(s, "scale")),))],
    big=lambda: Case((normal((5003, 2), "old"), normal((5003, 2), "fresh")), {"tolerance": 0.5}),
    ulps=(0, 0), why="rows are copied",
)  # fmt: skip

ROWS["teacher_forcing"] = Row(
    lambda y, own, truth, **attrs: np.where((y == truth).all(-1, keepdims=True), truth, own),
    lambda: [Case((normal(s, "own"), normal(s, "truth")), attrs) for s in [(0, 2), (1, 1), (33, 7)]
             for attrs in ({}, {"begin": 0.5, "end": 0.5}, {"begin": 0, "end": 1, "steps": 9})],
    big=lambda: Case((normal((5003, 41), "own"), normal((5003, 41), "truth")),
                     {"begin": 0.25, "end": 0.25}),
    ulps=(0, 0), grad_ulps=(0.5, 0.5), why="rows are copied", given=True,
)  # fmt: skip

ROWS["derivative"] = Row(
    lambda x, of, param=0.01: {
        "tanh": lambda: 1 / np.cosh(x) ** 2, "leaky_relu": lambda: np.where(x > 0, 1, LD(param)),
        "exp": lambda: np.exp(x),
    }[of](),
    lambda: [Case((normal(s, "derivative"),), attrs) for s in SHAPES for attrs in
             ({"of": "tanh"}, {"of": "leaky_relu", "param": 0.25}, {"of": "exp"})],
    big=lambda: Case((normal((200003,), "derivative"),), {"of": "tanh"}),
    ulps=(1, 2), why="the derivative of a map operator, to its accuracy",
)  # fmt: skip
# ---- sequences ---------------------------------------------------------------------------------

add_recurrent(ROWS)

# ---- training: losses, metrics, optimizers ----------------------------------------------------

add_images(ROWS)
add_losses(ROWS)
add_metrics(ROWS)
add_updates(ROWS)
