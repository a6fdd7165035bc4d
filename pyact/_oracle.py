"""The oracle of `pyact.accuracy`: the activations' values, known without their kernels.

`Exact` evaluates textbook formulas with 400 bits, by gmpy2 or mpmath. `Quick` evaluates them
over NumPy arrays and bounds its own error. Neither shares code or coefficients with the core.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray
Bounded = tuple[Array, Any]  # a value and a bound of its absolute error
BITS = 400
SCALE, SCALE_ALPHA = 1.0507009873554805, 1.7580993408473768  # of selu


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
            self.limit = self.number(20000)

    def __call__(self, name: str, x: float, form: Format) -> Any:
        """The value of function `name` at x; call within `self.context`."""
        self.slope_at_minus = self.number(float(form.dtype.type(0.01)))  # a parameter is rounded
        return getattr(self, name)(self.number(x))

    def _bounded(self, x: Any) -> Any:
        """x, but not so large that exp(x) is a strain; exp(20000) is beyond every format."""
        return max(min(x, self.limit), -self.limit)

    def _exp(self, x: Any) -> Any:
        return self.lib.exp(self._bounded(x))

    def _sigma(self, x: Any) -> Any:
        return 1 / (1 + self._exp(-x))

    def relu(self, x: Any) -> Any:
        return x if x > 0 else 0 * x

    def relu_grad(self, x: Any) -> Any:
        return self.number(1 if x > 0 else 0)

    def leaky_relu(self, x: Any) -> Any:
        return x if x > 0 else self.slope_at_minus * x

    def leaky_relu_grad(self, x: Any) -> Any:
        return self.number(1) if x > 0 else self.slope_at_minus

    def elu(self, x: Any) -> Any:
        return x if x > 0 else self.lib.expm1(self._bounded(x))

    def elu_grad(self, x: Any) -> Any:
        return self.number(1) if x > 0 else self._exp(x)

    def selu(self, x: Any) -> Any:
        return self.scale * (x if x > 0 else self.alpha * self.lib.expm1(self._bounded(x)))

    def selu_grad(self, x: Any) -> Any:
        return self.scale * (1 if x > 0 else self.alpha * self._exp(x))

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
        return 1 / self.lib.cosh(self._bounded(x)) ** 2

    def silu(self, x: Any) -> Any:
        return x * self._sigma(x)

    def silu_grad(self, x: Any) -> Any:
        return self._sigma(x) * (1 + x * self._sigma(-x))

    def _normal(self, x: Any) -> Any:
        return self.lib.erfc(-max(min(x, 200), -200) / self.root2) / 2

    def gelu(self, x: Any) -> Any:
        return x * self._normal(x)

    def gelu_grad(self, x: Any) -> Any:
        return self._normal(x) + x * self._exp(-x * x / 2) / self.lib.sqrt(2 * self.pi)

    def gelu_tanh(self, x: Any) -> Any:
        return x * self._sigma(2 * self.slope * (x + self.cubic * x**3))

    def gelu_tanh_grad(self, x: Any) -> Any:
        u = 2 * self.slope * (x + self.cubic * x**3)
        du = 2 * self.slope * (1 + 3 * self.cubic * x * x)
        return self._sigma(u) * (1 + x * self._sigma(-u) * du)

    def softplus(self, x: Any) -> Any:
        return max(x, self.number(0)) + self.lib.log1p(self._exp(-abs(x)))

    def softplus_grad(self, x: Any) -> Any:
        return self._sigma(x)

    def softsign(self, x: Any) -> Any:
        return x / (1 + abs(x))

    def softsign_grad(self, x: Any) -> Any:
        return 1 / (1 + abs(x)) ** 2

    def mish(self, x: Any) -> Any:
        e = self._exp(-abs(x))
        n, d = (1 + 2 * e, 2 * e * e) if x > 0 else (e * (e + 2), 2)
        return x * n / (n + d)

    def mish_grad(self, x: Any) -> Any:
        e = self._exp(-abs(x))
        if x > 0:
            d = 1 + 2 * e + 2 * e * e
            return (1 + 2 * e) / d + 4 * x * e * e * (1 + e) / d**2
        d = e * e + 2 * e + 2
        return e * (e + 2) / d + 4 * x * e * (e + 1) / d**2

    def exp(self, x: Any) -> Any:
        return self._exp(x)

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

    def __init__(self, real: type[Any], form: Format) -> None:
        self.real = real
        self.u = 8 * float(np.finfo(real).eps)
        self.low = real(-150 if real is np.float64 else -800)
        self.tail = real(37 if real is np.float64 else 40)  # of the normal distribution
        parse = real if real is np.float64 else np.longdouble
        self.minus = real(form.dtype.type(0.01))  # leaky_relu's alpha
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

    def relu(self, x: Array) -> Bounded:
        return np.where(x > 0, x, 0), 0

    def relu_grad(self, x: Array) -> Bounded:
        return np.where(x > 0, self.real(1), 0), 0

    def leaky_relu(self, x: Array) -> Bounded:
        y = np.where(x > 0, x, self.minus * x)
        return y, self.u * np.where(x > 0, 0, np.abs(y))

    def leaky_relu_grad(self, x: Array) -> Bounded:
        return np.where(x > 0, 1, self.minus), 0

    def hard_sigmoid(self, x: Array) -> Bounded:
        y = (np.clip(x, -3, 3) + 3) / 6
        return y, np.where(np.abs(x) < 3, self.u * y, 0)

    def hard_sigmoid_grad(self, x: Array) -> Bounded:
        y = np.where(np.abs(x) < 3, self.real(1) / 6, 0)
        return y, self.u * y

    def elu(self, x: Array) -> Bounded:
        y = np.where(x > 0, x, np.expm1(np.clip(x, self.low, 0)))
        return y, self.u * np.abs(y)

    def elu_grad(self, x: Array) -> Bounded:
        y = np.where(x > 0, 1, self._exp(np.minimum(x, 0)))
        return y, self.u * y

    def selu(self, x: Array) -> Bounded:
        y = np.where(x > 0, self.scale * x, self.scale_alpha * np.expm1(np.clip(x, self.low, 0)))
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

    def _above_half(self, x: Array, y: Array, bound: Array) -> Bounded:
        """For f(x) = x/2 + c x^2 + ..., c > 0: where the second term is below all the bits of
        float64, x/2 may be a tie of floats, and the next number above it rounds as f does."""
        tiny = np.abs(x) < 2.0**-60
        if self.real is np.float64 and tiny.any():
            y = np.where(tiny, np.nextafter(x / 2, np.inf), y)
            bound = np.where(tiny, 0, bound)
        return y, bound

    def silu(self, x: Array) -> Bounded:
        y = np.maximum(x, self.low) * self._sigma(x)
        return self._above_half(x, y, 2 * self.u * np.abs(y))

    def silu_grad(self, x: Array) -> Bounded:
        b = np.clip(x, self.low, -self.low)
        s, r = self._sigma(b), self._sigma(-b)
        return s * (1 + b * r), 4 * self.u * s * (1 + np.abs(b * r))

    def gelu_tanh(self, x: Array) -> Bounded:
        b = np.clip(x, -25, 25)
        v = 2 * self.slope * (b + self.cubic * b * b * b)
        y = np.maximum(x, -25) * self._sigma(v)
        return self._above_half(x, y, self.u * (2 + np.abs(v)) * np.abs(y))

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
        return self._above_half(x, b * y, np.abs(b) * (e + self.u * y))

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

    def log_grad(self, x: Array) -> Bounded:
        y = 1 / x
        return y, self.u * y

    def sqrt(self, x: Array) -> Bounded:
        y = np.sqrt(x)
        return y, self.u * y

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
