"""What the tests of operators measure with: rows and cases, ULPs, finite differences.

Formulas are evaluated in NumPy's longdouble. Where that is wider than float64 (x86) the
oracle itself adds no error that counts; where it is not, tolerances grow by `SLOP`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pyact import _core

LD = np.longdouble
PI = LD("3.14159265358979323846264338327950288")
SLOP = 0 if np.finfo(LD).eps < 1e-18 else 4  # ULP
DTYPES = ("float32", "float64")


@dataclass
class Case:
    """Inputs (float64 arrays whose numbers float32 holds exactly, or int32) and attributes."""

    inputs: tuple[np.ndarray, ...]
    attrs: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"shapes {[x.shape for x in self.inputs]}, attributes {self.attrs}"

    def of(self, dtype: str) -> tuple[np.ndarray, ...]:
        return tuple(x.astype(dtype) if x.dtype.kind == "f" else x for x in self.inputs)


@dataclass
class Row:
    """One operator: what it computes, on what to try it, and how exact it must be.

    forward: (*inputs, **attrs) -> longdouble. cases: all inputs to try. big: one case
    above the sizes from which threads share the work. vjp: (dy, *inputs, **attrs) ->
    gradients, exact; where it is given gradients are compared with it, also at kinks, and
    it is itself compared with finite differences. size: what an error is measured
    against, element by element (default: the result), for sums whose terms cancel; the
    string "array" stands for the largest result. ulps, grad_ulps: float32, float64, and
    `why` says where they come from. given: forward reads the operator's own result as its
    first argument (random operators). kinks: points of an input without a derivative.
    smooth: may this case be compared with finite differences? limits: for maps, x ->
    (f(x), f'(x)) where the formula fails.
    """

    forward: Callable[..., Any]
    cases: Callable[[], list[Case]]
    big: Callable[[], Case] | None = None
    vjp: Callable[..., Any] | None = None
    size: Any = None
    grad_size: Any = None
    ulps: tuple[float, float] = (0.51, 2)
    grad_ulps: tuple[float, float] = (1, 4)
    why: str = ""
    given: bool = False
    kinks: tuple[float, ...] = ()
    smooth: Callable[[Case], bool] = lambda case: True
    limits: dict[float, tuple[float, float]] = field(default_factory=dict)


# ---- numbers to try ---------------------------------------------------------------------------


def rng(*key: object) -> np.random.Generator:
    return np.random.default_rng([ord(c) for c in repr(key)])


def exact(x: Any) -> np.ndarray:
    """float64 with float32's numbers."""
    return np.asarray(x, np.float32).astype(np.float64)


def normal(shape: Any, *key: object, scale: float = 1.0) -> np.ndarray:
    return exact(rng(shape, *key).normal(0, scale, shape))


def grid(shape: Any, *key: object, shift: float = 0.0) -> np.ndarray:
    """Multiples of 1/16 plus a shift: numbers that tie exactly or differ clearly."""
    return exact(rng(shape, *key).integers(-40, 40, shape) / 16 + shift)


# ---- comparing --------------------------------------------------------------------------------


def ulps(got: np.ndarray, want: np.ndarray, size: Any = None) -> np.ndarray:
    """|got - want| in units in the last place of the larger of |want| and size."""
    dtype = got.dtype.type
    with np.errstate(all="ignore"):
        rounded = want.astype(dtype)
        measure = np.abs(want) if size is None else np.maximum(np.abs(want), np.abs(size))
        unit = np.spacing(np.minimum(measure, LD(np.finfo(dtype).max)).astype(dtype)).astype(LD)
        error = np.abs(got.astype(LD) - want) / unit
    special = ~np.isfinite(rounded) | ~np.isfinite(got)
    same = (rounded == got) | (np.isnan(rounded) & np.isnan(got))
    return np.where(special, np.where(same, 0, np.inf), error).astype(np.float64)


def describe(inputs: Any, at: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """The inputs behind the element `at` of a result, where they belong to it."""
    shown = []
    for x in inputs:
        x = np.asarray(x)
        try:
            shown.append(repr(np.broadcast_to(x, shape)[at]))
        except ValueError:
            shown.append(f"{x.dtype}{x.shape}")
    return ", ".join(shown)


def compare(
    what: str, got: Any, want: Any, limit: float, size: Any = None, inputs: Any = (),
    flushed: bool = False,
) -> None:  # fmt: skip
    """Fails, naming the worst element, when any error exceeds `limit` ULP of `size`.

    flushed: the result comes from a tape or program, where denormal numbers count as 0.
    """
    got, want = np.asarray(got), np.asarray(want, LD)
    head = f"{what}, ISA {_core.isa()}, {got.dtype}"
    assert got.shape == want.shape, f"{head}: got shape {got.shape}, expected {want.shape}"
    if isinstance(size, str):
        finite = np.abs(want[np.isfinite(want)])
        size = np.full(want.shape, finite.max() if finite.size else 0, LD)
    if flushed:
        want = np.where((np.abs(want) < 2 * np.finfo(got.dtype).tiny) & (got == 0), 0, want)
    error = ulps(got, want, size)
    if got.dtype == np.float64:
        limit += SLOP
    if error.size and not error.max() <= limit:
        at = np.unravel_index(int(np.argmax(error)), error.shape)
        raise AssertionError(
            f"{head}, shape {got.shape}: {int((error > limit).sum())} of {error.size} wrong; "
            f"worst at {tuple(map(int, at))}: input {describe(inputs, at, want.shape)}, "
            f"got {got[at]!r}, want {want[at]!r}: {error[at]:.4g} ULP, allowed {limit:g}"
        )


def without_denormals(x: np.ndarray) -> np.ndarray:
    """What a tape or a program makes of an array that it did not compute."""
    return np.where(np.abs(x) < np.finfo(x.dtype).tiny, np.copysign(0, x), x).astype(x.dtype)


def same_bits(what: str, got: Any, want: Any, inputs: Any = ()) -> None:
    """Fails unless equal bit for bit; any NaN is as good as another."""
    got, want = np.asarray(got), np.asarray(want)
    head = f"{what}, ISA {_core.isa()}, {got.dtype}"
    assert got.dtype == want.dtype, f"{head}: got {got.dtype}, expected {want.dtype}"
    assert got.shape == want.shape, f"{head}: got shape {got.shape}, expected {want.shape}"
    if got.tobytes() == want.tobytes():
        return
    bad = (got != want) | (np.signbit(got) != np.signbit(want))
    bad &= ~(np.isnan(got) & np.isnan(want))
    if bad.any():
        at = np.unravel_index(int(np.argmax(bad)), bad.shape)
        raise AssertionError(
            f"{head}, shape {got.shape}: {int(bad.sum())} of {bad.size} differ, first at "
            f"{tuple(map(int, at))}: input {describe(inputs, at, want.shape)}, got "
            f"{got[at]!r}, want {want[at]!r}"
        )


# ---- finite differences -----------------------------------------------------------------------

STEP = 2.0**-11  # a power of two: x +- 2 STEP are exact


def slopes(f: Callable[..., Any], inputs: tuple[np.ndarray, ...], k: int, seed: Any) -> np.ndarray:
    """d sum(seed f(inputs)) / d inputs[k], each element on its own, by the four-point
    central difference, whose error is STEP^4 f'''''/30."""
    x = inputs[k].astype(LD)
    out = np.zeros(x.shape, LD)
    others = [a if a.dtype.kind == "i" else a.astype(LD) for a in inputs]

    def total(at: Any, shift: float) -> Any:
        moved = x.copy()
        moved[at] += shift
        return (seed * f(*others[:k], moved, *others[k + 1 :])).sum()

    with np.errstate(all="ignore"):
        for at in np.ndindex(x.shape):
            near = total(at, STEP) - total(at, -STEP)
            far = total(at, 2 * STEP) - total(at, -2 * STEP)
            out[at] = (8 * near - far) / (12 * STEP)
    return out


def map_slope(f: Callable[..., Any], x: np.ndarray) -> np.ndarray:
    """f'(x) of an element-wise f, all elements at once; smaller steps towards 0."""
    x = x.astype(LD)
    h = STEP * np.clip(np.abs(x), LD(2.0**-8), 1)
    with np.errstate(all="ignore"):
        near, far = f(x + h) - f(x - h), f(x + 2 * h) - f(x - 2 * h)
    return (8 * near - far) / (12 * h)


# ---- functions NumPy lacks, in longdouble -----------------------------------------------------


def erfc(x: Any) -> np.ndarray:
    """erfc: near 0 by the series of erf, whose terms are all positive, beyond 3/2 by
    Laplace's continued fraction (150 terms: 1e-22)."""
    x = np.asarray(x, LD)
    a = np.abs(x)
    with np.errstate(all="ignore"):
        small, large = np.minimum(a, 1.5), np.maximum(a, 1.5)
        term = total = small
        for n in range(1, 40):
            term = term * 2 * small * small / (2 * n + 1)
            total = total + term
        near = 1 - 2 / np.sqrt(PI) * np.exp(-small * small) * total
        tail = large
        for n in range(150, 0, -1):
            tail = large + n / (2 * tail)
        far = np.exp(-large * large) / np.sqrt(PI) / tail
    y = np.where(a < 1.5, near, far)
    return np.where(x < 0, 2 - y, y)
