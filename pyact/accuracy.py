"""How exact the activations are: `python -m pyact.accuracy`.

Every activation and its derivative is compared with an oracle that shares no code with the
kernels, for every float16, for a stride (or, with --exhaustive, all) of the 2^32 float32,
and for random float64 stratified over the exponents and thickened around the roots of the
derivatives. The table gives the largest error in ULPs, where it occurs, and how many results
are not the correctly rounded ones.

The oracle works in two steps. A NumPy formula in float64 (for float64 inputs: in longdouble)
comes with a bound of its own error; where both ends of that interval round to the same
number, that number is the answer. The few inputs where they do not go to gmpy2 (or mpmath,
slower), which evaluates the textbook formula with 400 bits. The bounds themselves are put to
the test on a sample of every run.

    python -m pyact.accuracy                       the table, in a minute or so
    python -m pyact.accuracy --exhaustive gelu     all float32 inputs of gelu and gelu_grad
    python -m pyact.accuracy --against numpy       the same table for the usual formulas
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

NAMES = (
    "relu", "leaky_relu", "elu", "selu", "sigmoid", "hard_sigmoid", "tanh", "silu", "gelu",
    "gelu_tanh", "softplus", "softsign", "mish", "exp", "log", "sqrt",
)  # fmt: skip
BITS = 400
SCALE, SCALE_ALPHA = 1.0507009873554805, 1.7580993408473768  # of selu
CHUNK = 1 << 13  # elements: the intermediate arrays stay in the second-level cache

Array = np.ndarray[Any, Any]
Bounded = tuple[Array, Any]  # a value and a bound of its absolute error


# ---- formats -----------------------------------------------------------------------------------


def to_fraction(v: Any) -> tuple[int, int]:
    """m, e with v = m 2^e, exactly."""
    if hasattr(v, "man_exp"):  # mpmath
        m, e = v.man_exp
        return (-int(m) if v < 0 else int(m)), int(e)
    m, e = v.as_mantissa_exp()
    return int(m), int(e)


@dataclass(frozen=True)
class Format:
    """A binary floating-point format: significant bits, least exponent of a normal number."""

    name: str
    bits: int
    emin: int
    emax: int

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.name)

    def ulp(self, value: Array) -> Array:
        """The distance of this format's neighbouring numbers at `value` (float64, longdouble)."""
        least = self.emin - self.bits + 1
        if value.dtype != np.float64:
            exponent = np.maximum(np.frexp(value)[1] - self.bits, least)
            return np.asarray(np.ldexp(value.dtype.type(1), exponent))
        power = (value.view(np.uint64) & np.uint64(0x7FF << 52)).view(np.float64)
        return np.asarray(np.maximum(power * 2.0 ** (1 - self.bits), 2.0**least))

    def round(self, v: Any) -> tuple[float, int, int, int]:
        """The nearest number to v, ties to even, and v as m 2^e with the ulp's exponent."""
        m, e = to_fraction(v)
        if m == 0:
            return 0.0, 0, 0, self.emin - self.bits + 1
        ulp = max(e + abs(m).bit_length() - self.bits, self.emin - self.bits + 1)
        shift = ulp - e
        if shift <= 0:
            k = abs(m) << -shift
        else:
            k, rest, half = abs(m) >> shift, abs(m) & ((1 << shift) - 1), 1 << (shift - 1)
            k += rest > half or (rest == half and k & 1)
        big = k.bit_length() + ulp - 1 > self.emax
        y = math.inf if big else math.ldexp(k, ulp)
        return math.copysign(y, -1.0 if m < 0 else 1.0), m, e, ulp

    def error(self, got: float, m: int, e: int, ulp: int) -> float:
        """|got - m 2^e| in units of 2^ulp."""
        if not math.isfinite(got):
            return math.inf
        n, d = got.as_integer_ratio()
        low = min(e, ulp, 1 - d.bit_length())
        difference = abs((n << (1 - d.bit_length() - low)) - (m << (e - low)))
        unit = 1 << (ulp - low)
        return difference // unit + (difference % unit) / unit


FORMATS = {
    "float16": Format("float16", 11, -14, 15),
    "float32": Format("float32", 24, -126, 127),
    "float64": Format("float64", 53, -1022, 1023),
}


# ---- the exact oracle --------------------------------------------------------------------------


class Exact:
    """Textbook formulas in arithmetic of 400 bits. f(name)(x) -> number; x a Python float."""

    def __init__(self) -> None:
        try:
            import gmpy2

            self.context = gmpy2.context(precision=BITS, emax=10**7, emin=-(10**7))
            self.number: Any = gmpy2.mpfr
            self.lib: Any = gmpy2
            self.name = f"MPFR {gmpy2.mpfr_version().split()[-1]} through gmpy2"
        except ImportError:
            try:
                import mpmath
            except ImportError:
                raise SystemExit(
                    "pyact.accuracy needs gmpy2 (fast) or mpmath: python -m pip install gmpy2"
                ) from None
            self.context = mpmath.workprec(BITS)
            self.number, self.lib = mpmath.mpf, mpmath
            self.name = f"mpmath {mpmath.__version__}"
        with self.context:
            self.scale = self.number("1.0507009873554804934193349852946")
            self.alpha = self.number("1.6732632423543772848170429916717")
            self.cubic = self.number("0.044715")
            self.pi = self.lib.const_pi() if hasattr(self.lib, "const_pi") else +self.lib.pi
            self.slope = self.lib.sqrt(2 / self.pi)
            self.root2 = self.lib.sqrt(self.number(2))

    def __call__(self, name: str, x: float, form: Format) -> Any:
        """The value of function `name` at x; call within `self.context`."""
        self.slope_at_minus = self.number(float(form.dtype.type(0.01)))  # a parameter is rounded
        return getattr(self, name)(self.number(x))

    def _sigma(self, x: Any) -> Any:
        return 1 / (1 + self.lib.exp(-x))

    def relu(self, x: Any) -> Any:
        return x if x > 0 else 0 * x

    def relu_grad(self, x: Any) -> Any:
        return self.number(1 if x > 0 else 0)

    def leaky_relu(self, x: Any) -> Any:
        return x if x > 0 else self.slope_at_minus * x

    def leaky_relu_grad(self, x: Any) -> Any:
        return self.number(1) if x > 0 else self.slope_at_minus

    def elu(self, x: Any) -> Any:
        return x if x > 0 else self.lib.expm1(x)

    def elu_grad(self, x: Any) -> Any:
        return self.number(1) if x > 0 else self.lib.exp(x)

    def selu(self, x: Any) -> Any:
        return self.scale * (x if x > 0 else self.alpha * self.lib.expm1(x))

    def selu_grad(self, x: Any) -> Any:
        return self.scale * (1 if x > 0 else self.alpha * self.lib.exp(x))

    def sigmoid(self, x: Any) -> Any:
        return self._sigma(x)

    def sigmoid_grad(self, x: Any) -> Any:
        return self._sigma(x) * self._sigma(-x)

    def hard_sigmoid(self, x: Any) -> Any:
        return min(max((x + 3) / 6, self.number(0)), self.number(1))

    def hard_sigmoid_grad(self, x: Any) -> Any:
        return self.number(1) / 6 if abs(x) < 3 else self.number(0)

    def tanh(self, x: Any) -> Any:
        return self.lib.tanh(x)

    def tanh_grad(self, x: Any) -> Any:
        return 1 / self.lib.cosh(x) ** 2

    def silu(self, x: Any) -> Any:
        return x * self._sigma(x)

    def silu_grad(self, x: Any) -> Any:
        return self._sigma(x) * (1 + x * self._sigma(-x))

    def _normal(self, x: Any) -> Any:
        return self.lib.erfc(-x / self.root2) / 2

    def gelu(self, x: Any) -> Any:
        return x * self._normal(x)

    def gelu_grad(self, x: Any) -> Any:
        return self._normal(x) + x * self.lib.exp(-x * x / 2) / self.lib.sqrt(2 * self.pi)

    def gelu_tanh(self, x: Any) -> Any:
        return x * self._sigma(2 * self.slope * (x + self.cubic * x**3))

    def gelu_tanh_grad(self, x: Any) -> Any:
        u = 2 * self.slope * (x + self.cubic * x**3)
        du = 2 * self.slope * (1 + 3 * self.cubic * x * x)
        return self._sigma(u) * (1 + x * self._sigma(-u) * du)

    def softplus(self, x: Any) -> Any:
        return max(x, self.number(0)) + self.lib.log1p(self.lib.exp(-abs(x)))

    def softplus_grad(self, x: Any) -> Any:
        return self._sigma(x)

    def softsign(self, x: Any) -> Any:
        return x / (1 + abs(x))

    def softsign_grad(self, x: Any) -> Any:
        return 1 / (1 + abs(x)) ** 2

    def mish(self, x: Any) -> Any:
        e = self.lib.exp(-abs(x))
        n, d = (1 + 2 * e, 2 * e * e) if x > 0 else (e * (e + 2), 2)
        return x * n / (n + d)

    def mish_grad(self, x: Any) -> Any:
        e = self.lib.exp(-abs(x))
        if x > 0:
            d = 1 + 2 * e + 2 * e * e
            return (1 + 2 * e) / d + 4 * x * e * e * (1 + e) / d**2
        d = e * e + 2 * e + 2
        return e * (e + 2) / d + 4 * x * e * (e + 1) / d**2

    def exp(self, x: Any) -> Any:
        return self.lib.exp(x)

    exp_grad = exp

    def log(self, x: Any) -> Any:
        return self.lib.log(x)

    def log_grad(self, x: Any) -> Any:
        return 1 / x

    def sqrt(self, x: Any) -> Any:
        return self.lib.sqrt(x)

    def sqrt_grad(self, x: Any) -> Any:
        return 1 / (2 * self.lib.sqrt(x))


# ---- the quick oracle: formulas with a bound of their own error --------------------------------


class Quick:
    """Formulas over arrays of `real` (float64 or longdouble), each with an error bound.

    `u` bounds the relative error of one operation and, with room to spare, of NumPy's
    exp, expm1, log1p and tanh (4 ulps). Arguments are bounded first, so that nothing
    overflows; beyond the bounds the functions have long reached their limits.
    """

    def __init__(self, real: type[Any]) -> None:
        self.real = real
        self.u = 8 * float(np.finfo(real).eps)
        self.low = real(-150 if real is np.float64 else -800)
        self.tail = real(37 if real is np.float64 else 40)  # of the normal distribution
        parse = real if real is np.float64 else np.longdouble
        self.scale = parse("1.0507009873554804934193349852946")
        self.scale_alpha = parse("1.758099340847376859940217520812310")
        self.slope = parse("0.797884560802865355879892119868763737")
        self.cubic = parse("0.044715")
        self.density = parse("0.398942280401432677939946059934381868")
        self.root_half = parse("0.707106781186547524400844362104849039")

    def formula(self, name: str) -> Callable[[Array], Bounded] | None:
        return getattr(self, name, None)

    def _exp(self, t: Array) -> Array:
        return np.exp(np.maximum(t, self.low))

    def _sigma(self, x: Array) -> Array:
        e = self._exp(-np.abs(x))
        return np.where(x < 0, e, 1) / (1 + e)

    def elu(self, x: Array) -> Bounded:
        y = np.where(x > 0, x, np.expm1(np.clip(x, self.low, 0)))
        return y, self.u * np.abs(y)

    def elu_grad(self, x: Array) -> Bounded:
        y = np.where(x > 0, 1, self._exp(np.minimum(x, 0)))
        return y, self.u * y

    def selu(self, x: Array) -> Bounded:
        y = np.where(
            x > 0, self.scale * x, self.scale_alpha * np.expm1(np.clip(x, self.low, 0))
        )
        return y, self.u * np.abs(y)

    def selu_grad(self, x: Array) -> Bounded:
        y = np.where(x > 0, self.scale, self.scale_alpha * self._exp(np.minimum(x, 0)))
        return y, self.u * y

    def sigmoid(self, x: Array) -> Bounded:
        y = self._sigma(x)
        return y, self.u * y

    softplus_grad = sigmoid

    def sigmoid_grad(self, x: Array) -> Bounded:
        e = self._exp(-np.abs(x))
        y = e / ((1 + e) * (1 + e))
        return y, 2 * self.u * y

    def tanh(self, x: Array) -> Bounded:
        y = np.tanh(x)
        return y, self.u * np.abs(y)

    def tanh_grad(self, x: Array) -> Bounded:
        e = self._exp(-2 * np.abs(x))
        y = 4 * e / ((1 + e) * (1 + e))
        return y, 2 * self.u * y

    def silu(self, x: Array) -> Bounded:
        y = np.maximum(x, self.low) * self._sigma(x)
        return y, 2 * self.u * np.abs(y)

    def silu_grad(self, x: Array) -> Bounded:
        b = np.clip(x, self.low, -self.low)
        s, r = self._sigma(b), self._sigma(-b)
        return s * (1 + b * r), 4 * self.u * s * (1 + np.abs(b * r))

    def gelu_tanh(self, x: Array) -> Bounded:
        b = np.clip(x, -25, 25)
        v = 2 * self.slope * (b + self.cubic * b * b * b)
        y = np.maximum(x, -25) * self._sigma(v)
        return y, self.u * (2 + np.abs(v)) * np.abs(y)

    def gelu_tanh_grad(self, x: Array) -> Bounded:
        b = np.clip(x, -25, 25)
        v = 2 * self.slope * (b + self.cubic * b * b * b)
        s, r = self._sigma(v), self._sigma(-v)
        p = 2 * self.slope * b * (1 + 3 * self.cubic * b * b) * r
        return s * (1 + p), self.u * (4 + np.abs(v)) * s * (1 + np.abs(p))

    def _normal(self, a: Array) -> tuple[Array, Array]:
        """Phi(-a) and a bound of its error, for a >= 0."""
        if self.real is np.longdouble:
            return normal_tail(a, self.density)
        try:
            from scipy.special import erfcx

            t = erfcx(a * self.root_half) * np.exp(-a * a / 2) / 2
        except ImportError:
            t = np.array([math.erfc(v) for v in (a * self.root_half).tolist()]) / 2
            return t, self.u * (4 + a * a) * t
        return t, 4 * self.u * t  # a float32's square is exact, so exp's argument is too

    def gelu(self, x: Array) -> Bounded:
        a = np.minimum(np.abs(x), self.tail)
        t, e = self._normal(a)
        y = np.where(x > 0, 1 - t, t)
        b = np.maximum(x, -self.tail)
        return b * y, np.abs(b) * (e + self.u * y)

    def gelu_grad(self, x: Array) -> Bounded:
        a = np.minimum(np.abs(x), self.tail)
        t, e = self._normal(a)
        p = a * self.density * np.exp(-a * a / 2)
        e = e + self.u * ((2 if self.real is np.float64 else 2 + a * a) * p)
        w = t - p
        y = np.where(x > 0, 1 - w, w)
        return y, e + self.u * np.abs(y)

    def softplus(self, x: Array) -> Bounded:
        y = np.maximum(x, 0) + np.log1p(self._exp(-np.abs(x)))
        return y, 2 * self.u * y

    def softsign(self, x: Array) -> Bounded:
        b = np.clip(x, -1e300, 1e300)
        y = b / (1 + np.abs(b))
        return y, self.u * np.abs(y)

    def softsign_grad(self, x: Array) -> Bounded:
        d = 1 + np.minimum(np.abs(x), 1e150 if self.real is np.float64 else 1e2000)
        y = 1 / (d * d)
        return y, self.u * y

    def mish(self, x: Array) -> Bounded:
        e = self._exp(-np.abs(x))
        minus = x < 0
        n = np.where(minus, e * (e + 2), 1 + 2 * e)
        y = np.maximum(x, self.low) * (n / (n + np.where(minus, 2, 2 * e * e)))
        return y, 2 * self.u * np.abs(y)

    def mish_grad(self, x: Array) -> Bounded:
        b = np.clip(x, self.low, 60)
        e = self._exp(b)
        d = e * (e + 2) + 2
        p, q = e * (e + 2) / d, 4 * b * e * (e + 1) / (d * d)
        return p + q, 4 * self.u * (p + np.abs(q))

    def exp(self, x: Array) -> Bounded:
        y = np.exp(np.clip(x, self.low, -self.low))
        return y, self.u * y

    exp_grad = exp

    def log(self, x: Array) -> Bounded:
        y = np.log(x)
        return y, self.u * np.abs(y)

    def sqrt_grad(self, x: Array) -> Bounded:
        y = 1 / (2 * np.sqrt(x))
        return y, self.u * y


def normal_tail(a: Array, density: Any) -> tuple[Array, Array]:
    """Phi(-a) in longdouble: the series of Phi(a) - 1/2 below 2.5, above it Laplace's
    continued fraction; bounds of the error."""
    eps = float(np.finfo(np.longdouble).eps)
    out, bound = np.empty_like(a), np.empty_like(a)
    # a^2/2 to more than longdouble's bits: a has 53, so its halves multiply exactly
    high = (a * 2.0**27 + a) - a * 2.0**27
    high = np.asarray(high, np.float32).astype(np.longdouble)
    low = a - high
    phi = density * np.exp(-high * high / 2) * np.exp(-low * (a + high) / 2)
    small = a < 2.5
    s = a[small]
    term, total = s.copy(), s.copy()
    for n in range(3, 120, 2):
        term = term * (s * s / n)
        total = total + term
    out[small] = 0.5 - phi[small] * total
    bound[small] = 16 * eps
    b = a[~small]
    f = b.copy()
    for n in range(150, 0, -1):
        f = b + n / f
    out[~small] = phi[~small] / f
    bound[~small] = 32 * eps * out[~small]
    return out, bound


# ---- what is compared --------------------------------------------------------------------------


def special(name: str, x: float) -> float:
    """The limit at x = 0, -0, inf or -inf; NaN where there is none."""
    at = {0.0: 0, math.inf: 1, -math.inf: 2}[x]
    pole = math.copysign(math.inf, x)
    table = {  # at 0, inf, -inf
        "relu": (0.0, math.inf, 0.0), "relu_grad": (0.0, 1.0, 0.0),
        "leaky_relu": (x, math.inf, -math.inf), "leaky_relu_grad": (0.01, 1.0, 0.01),
        "elu": (x, math.inf, -1.0), "elu_grad": (1.0, 1.0, 0.0),
        "selu": (x, math.inf, -SCALE_ALPHA), "selu_grad": (SCALE_ALPHA, SCALE, 0.0),
        "sigmoid": (0.5, 1.0, 0.0), "sigmoid_grad": (0.25, 0.0, 0.0),
        "hard_sigmoid": (0.5, 1.0, 0.0), "hard_sigmoid_grad": (1 / 6, 0.0, 0.0),
        "tanh": (x, 1.0, -1.0), "tanh_grad": (1.0, 0.0, 0.0),
        "silu": (x, math.inf, -0.0), "silu_grad": (0.5, 1.0, -0.0),
        "gelu": (x, math.inf, -0.0), "gelu_grad": (0.5, 1.0, -0.0),
        "gelu_tanh": (x, math.inf, -0.0), "gelu_tanh_grad": (0.5, 1.0, -0.0),
        "softplus": (math.log(2), math.inf, 0.0), "softplus_grad": (0.5, 1.0, 0.0),
        "softsign": (x, 1.0, -1.0), "softsign_grad": (1.0, 0.0, 0.0),
        "mish": (x, math.inf, -0.0), "mish_grad": (0.6, 1.0, -0.0),
        "exp": (1.0, math.inf, 0.0), "exp_grad": (1.0, math.inf, 0.0),
        "log": (-math.inf, math.inf, math.nan), "log_grad": (pole, 0.0, math.nan),
        "sqrt": (x, math.inf, math.nan), "sqrt_grad": (pole, 0.0, math.nan),
    }  # fmt: skip
    return table[name][at]


def plain_numpy(name: str, x: Array, dtype: str) -> Array | None:
    """The formulas of textbooks and notebooks, in the dtype itself; None: there is none."""
    one = x.dtype.type(1)
    if name == "sigmoid":
        return one / (one + np.exp(-x))
    if name == "sigmoid_grad":
        s = one / (one + np.exp(-x))
        return s * (one - s)
    if name == "tanh":
        return np.tanh(x)
    if name == "tanh_grad":
        return one - np.tanh(x) ** 2
    if name == "silu":
        return x / (one + np.exp(-x))
    if name == "silu_grad":
        s = one / (one + np.exp(-x))
        return s + x * s * (one - s)
    if name == "elu":
        return np.where(x > 0, x, np.exp(x) - one)
    if name == "gelu_tanh":
        c = x.dtype.type(math.sqrt(2 / math.pi))
        return x.dtype.type(0.5) * x * (one + np.tanh(c * (x + x.dtype.type(0.044715) * x**3)))
    if name == "softplus":
        return np.log(one + np.exp(x))
    if name == "softsign":
        return x / (one + np.abs(x))
    if name == "mish":
        return x * np.tanh(np.log(one + np.exp(x)))
    return None


def with_scipy(name: str, x: Array, dtype: str) -> Array | None:
    from scipy import special as sp

    one, half = x.dtype.type(1), x.dtype.type(0.5)
    root = x.dtype.type(math.sqrt(0.5))
    if name in ("sigmoid", "softplus_grad"):
        return sp.expit(x)
    if name == "sigmoid_grad":
        return sp.expit(x) * (one - sp.expit(x))
    if name == "silu":
        return x * sp.expit(x)
    if name == "gelu":
        return half * x * (one + sp.erf(x * root))
    if name == "gelu_grad":
        c = x.dtype.type(1 / math.sqrt(2 * math.pi))
        return half * (one + sp.erf(x * root)) + x * c * np.exp(-half * x * x)
    if name == "softplus":
        return np.logaddexp(x, x.dtype.type(0))
    return None


def kernels(name: str, x: Array, dtype: str) -> Array | None:
    import pyact

    return getattr(pyact, name)(x)


SUBJECTS: dict[str, Callable[[str, Array, str], Array | None]] = {
    "pyact": kernels,
    "numpy": plain_numpy,
    "scipy": with_scipy,
}


# ---- inputs ------------------------------------------------------------------------------------

ROOTS = {
    "silu_grad": -1.2784645427610738,
    "gelu_grad": -0.7517915246935645,
    "gelu_tanh_grad": -0.7524614220710163,
    "mish_grad": -1.1924312145154952,
    "log": 1.0,
}


def all_float16() -> Iterator[Array]:
    yield np.arange(1 << 16, dtype=np.uint16).view(np.float16)


def strided_float32(stride: int, seed: int) -> Iterator[Array]:
    """Every stride-th bit pattern from a random start; stride 1 is all of them."""
    start = int(np.random.default_rng(seed).integers(stride))
    span = CHUNK * stride
    steps = np.arange(CHUNK, dtype=np.uint64) * stride
    for low in range(start, 1 << 32, span):
        bits = low + (steps if low + span <= 1 << 32 else steps[steps < (1 << 32) - low])
        yield bits.astype(np.uint32).view(np.float32)


def random_float64(name: str, count: int, seed: int) -> Iterator[Array]:
    """A third uniform in the bits, a third log-uniform where functions bend, a third uniform
    where they change; and one in eight within 1e-3 of the derivative's root."""
    rng = np.random.default_rng(seed)
    for low in range(0, count, CHUNK):
        n = min(CHUNK, count - low)
        bits = rng.integers(0, 1 << 64, n, dtype=np.uint64).view(np.float64)
        bent = np.exp(rng.uniform(-45, 6.7, n)) * rng.choice([-1.0, 1.0], n)
        flat = rng.uniform(-1, 1, n) * rng.choice([6.0, 40.0, 760.0], n)
        x = np.choose(rng.integers(0, 3, n), [bits, bent, flat])
        root = ROOTS.get(name)
        if root is not None:
            near = root + rng.uniform(-1, 1, n) * 10.0 ** rng.uniform(-16, -3, n)
            x = np.where(rng.random(n) < 0.125, near, x)
        yield x


# ---- measuring ---------------------------------------------------------------------------------


@dataclass
class Row:
    name: str
    dtype: str
    inputs: int = 0
    worst: float = 0.0
    where: float = math.nan
    misrounded: int = 0
    doubtful: int = 0  # asked of the exact oracle

    def note(self, error: float, x: float) -> None:
        if error > self.worst or math.isnan(error):
            self.worst, self.where = error, x

    def __str__(self) -> str:
        worst = f"{self.worst:11.4f}" if self.worst < 1e6 else f"{self.worst:11.3g}"
        return (
            f"{self.name:18} {self.dtype:8} {worst}  {self.where:<24.9g} "
            f"{self.misrounded:>10,} of {self.inputs:,}"
        )


HEAD = f"{'function':18} {'dtype':8} {'max ULP':>11}  {'at x =':24} {'misrounded':>10}"


class OracleError(Exception):
    """The quick formula was outside its own bound: the oracle, not the kernel, is wrong."""


class Comparison:
    """Compares one function in one format with the oracle, chunk by chunk.

    Every result is judged right or wrong. The size of the error is taken of all wrong and
    all doubtful results, and of the right ones in one chunk of `every`.
    """

    def __init__(self, name: str, form: Format, exact: Exact, every: int = 1) -> None:
        self.name, self.form, self.exact = name, form, exact
        self.single = form.bits < 53
        self.quick = Quick(np.float64 if self.single else np.longdouble)
        wide = self.single or np.finfo(np.longdouble).nmant > 60
        self.formula = self.quick.formula(name) if wide else None
        self.row = Row(name, form.name)
        self.sample, self.rng = 200, np.random.default_rng(1)
        self.chunks, self.every = 0, every
        self.positive = name.removesuffix("_grad") in ("log", "sqrt")
        with exact.context:  # beyond these the formulas stand for "rounds to 0, to infinity"
            self.least = exact.number(2) ** (form.emin - form.bits - 2)
            self.most = exact.number(2) ** (form.emax + 2)

    def add(self, x: Array, y: Array) -> None:
        """Counts in the results y (form.dtype) that the subject gave for x."""
        if y.dtype != self.form.dtype:
            raise TypeError(f"{self.name}: results are {y.dtype}, expected {self.form.name}")
        self.row.inputs += x.size
        self.chunks += 1
        with np.errstate(all="ignore"):
            plain = np.isfinite(x) & (x > 0 if self.positive else x != 0)
            if not plain.all():
                self._limits(x, y, plain)
                x, y = x[plain], y[plain]
            left: Any = range(x.size)
            if self.formula is not None and x.size:
                left = np.flatnonzero(self._by_formula(x, y))
        for i in left:
            self._by_exact(float(x[i]), float(y[i]))

    def _limits(self, x: Array, y: Array, plain: Array) -> None:
        no_answer = np.isnan(x) | ((x < 0) & self.positive)
        self._wrong(x, no_answer & ~np.isnan(y))
        for at, minus in ((0.0, False), (-0.0, True), (math.inf, False), (-math.inf, True)):
            want = self.form.dtype.type(special(self.name, at))
            there = ~plain & ~no_answer & (x == at) & (np.signbit(x) == minus)
            self._wrong(x, there & ~((y == want) & (np.signbit(y) == np.signbit(want))))

    def _wrong(self, x: Array, wrong: Array) -> None:
        """Notes results that are no numbers near the answer at all."""
        if wrong.any():
            self.row.misrounded += int(wrong.sum())
            self.row.note(math.inf, float(x[np.argmax(wrong)]))

    def _by_formula(self, x: Array, y: Array) -> Array:
        """Judges what the quick formula can; True where it cannot."""
        assert self.formula is not None
        form, real = self.form, self.quick.real
        value, bound = self.formula(x.astype(real))
        low, high = (value - bound).astype(form.dtype), (value + bound).astype(form.dtype)
        bits = f"u{form.dtype.itemsize}"
        sure = low.view(bits) == high.view(bits)  # of one sign even where they are 0
        wrong = sure & (y.view(bits) != low.view(bits))
        if wrong.any():
            self.row.misrounded += int(wrong.sum())
        if wrong.any() or self.chunks % self.every == 0:
            error = np.abs(y.astype(real) - value) / form.ulp(value)
            error[~sure | ~(np.isfinite(low) & np.isfinite(y))] = 0
            error[wrong & ~np.isfinite(y)] = np.inf
            i = int(np.argmax(error))
            if error[i] > self.row.worst:
                self.row.note(float(error[i]), float(x[i]))
        if self.sample > 0:
            self._check_bounds(x, value, bound, np.isfinite(value))
        return ~sure

    def _check_bounds(self, x: Array, value: Array, bound: Array, usable: Array) -> None:
        """On a sample: is the formula within half of its bound?"""
        places = np.flatnonzero(usable)
        if places.size == 0:
            return
        pick = self.rng.choice(places, min(4, self.sample, places.size))
        self.sample -= len(pick)
        for i in pick:
            with self.exact.context:
                v = self.exact(self.name, float(x[i]), self.form)
                if not self.least < abs(v) < self.most:
                    continue
                n, d = value[i].as_integer_ratio()
                off = abs(v - self.exact.number(int(n)) / int(d))
                if off > self.exact.number(float(bound[i])) / 2:
                    raise OracleError(
                        f"{self.name}: at {float(x[i])!r} the oracle's formula is off by "
                        f"{float(off):.3g}, over half of its bound {float(bound[i]):.3g}"
                    )

    def _by_exact(self, x: float, got: float) -> None:
        self.row.doubtful += 1
        with self.exact.context:
            want, m, e, ulp = self.form.round(self.exact(self.name, x, self.form))
        if got != want or math.copysign(1, got) != math.copysign(1, want):
            self.row.misrounded += not (want == 0 and m == 0 and got == 0)
        if math.isinf(want) and got == want:
            return
        self.row.note(self.form.error(got, m, e, ulp), x)


def measure(
    name: str, dtype: str, chunks: Iterator[Array], exact: Exact, subject: str = "pyact",
    every: int = 1,
) -> Row | None:  # fmt: skip
    """One row of the table; None where the subject has no such function."""
    comparison = Comparison(name, FORMATS[dtype], exact, every)
    for x in chunks:
        with np.errstate(all="ignore"):
            y = SUBJECTS[subject](name, x, dtype)
        if y is None:
            return None
        comparison.add(x, np.asarray(y))
    return comparison.row


def table(
    names: list[str], dtypes: list[str], stride: int, points: int, subject: str, seed: int = 0
) -> Iterator[Row]:
    exact = Exact()
    for dtype, name in itertools.product(dtypes, names):
        if dtype == "float16":
            chunks = all_float16()
        elif dtype == "float32":
            chunks = strided_float32(stride, seed)
        else:
            chunks = random_float64(name, points, seed)
        every = 16 if dtype == "float32" and stride == 1 else 1
        row = measure(name, dtype, chunks, exact, subject, every)
        if row is not None:
            yield row


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pyact.accuracy", description=(__doc__ or "").partition("\n")[0]
    )
    add = parser.add_argument
    add("names", nargs="*", help="functions, such as gelu or gelu_grad (default: all)")
    add("--exhaustive", action="store_true", help="all 2^32 float32 inputs")
    add("--stride", type=int, default=4099, help="take every n-th float32 (default 4099)")
    add("--points", type=int, default=100_000, help="float64 inputs (default 100000)")
    add("--dtype", choices=FORMATS, action="append", help="only this dtype (may be repeated)")
    add("--against", choices=SUBJECTS, default="pyact", help="what to measure")
    add("--seed", type=int, default=0, help="of float64 inputs and of the stride's start")
    options = parser.parse_args(arguments)
    known = [f"{n}{suffix}" for n in NAMES for suffix in ("", "_grad")]
    unknown = [n for n in options.names if n not in known]
    if unknown:
        parser.error(f"unknown function {unknown[0]!r}; known are {', '.join(known)}")
    if options.stride < 1 or options.points < 1:
        parser.error("--stride and --points must be at least 1")
    dtypes = options.dtype or list(FORMATS)
    stride = 1 if options.exhaustive else options.stride
    print(HEAD, flush=True)
    names = options.names or known
    for row in table(names, dtypes, stride, options.points, options.against, options.seed):
        print(row, flush=True)
    print(f"oracle: {Exact().name}; {'all' if stride == 1 else f'every {stride}-th'} float32")
    return 0


if __name__ == "__main__":
    sys.exit(main())
