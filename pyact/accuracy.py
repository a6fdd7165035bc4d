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

from ._oracle import FORMATS, Array, Exact, Format, Quick, special

NAMES = (
    "relu", "leaky_relu", "elu", "selu", "sigmoid", "hard_sigmoid", "tanh", "silu", "gelu",
    "gelu_tanh", "softplus", "softsign", "mish", "exp", "log", "sqrt",
)  # fmt: skip
CHUNK = 1 << 13  # elements: the intermediate arrays stay in the second-level cache


# ---- what is compared --------------------------------------------------------------------------


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
        self.quick = Quick(np.float64 if self.single else np.longdouble, form)
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
            left: Array = np.arange(x.size)
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
        bound = np.broadcast_to(np.asarray(bound, real), value.shape)
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
                off = abs(v - self._number(value[i]))
                if bound[i] == 0:  # it only says that value rounds as v does
                    same = self.form.round(v)[0] == self.form.round(self._number(value[i]))[0]
                    off = 0 if same else off
                if off > self._number(bound[i]) / 2:
                    raise OracleError(
                        f"{self.name}: at {float(x[i])!r} the oracle's formula is off by "
                        f"{float(off):.3g}, over half of its bound {float(bound[i]):.3g}"
                    )

    def _number(self, v: Any) -> Any:
        """A NumPy number, longdouble too, in the exact oracle's arithmetic."""
        numerator, denominator = v.as_integer_ratio()
        return self.exact.number(int(numerator)) / int(denominator)

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
            if subject in ("numpy", "scipy"):  # some of theirs answer float16 with float32
                y = np.asarray(y, x.dtype)
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
