"""Initial values of weights, under Keras's names.

`initializer(shape, dtype=None)` returns a new array. Seeds: an int or SeedSequence gives
the same values in every call, a `numpy.random.Generator` goes on from where it is, and
None takes a new stream from `pyact.set_seed`'s root in every call, so two layers that
share an unseeded initializer do not get equal weights (in Keras they do).

Random values are drawn in float64 and rounded once, so a float32 model starts from the
rounded weights of the float64 model with the same seed.

fan_in and fan_out of a shape: (n,) has n and n; (i, o) has i and o; a convolution kernel
(*window, i, o) has i and o times the size of its window.
"""

from __future__ import annotations

from math import prod, sqrt
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from . import random_state
from ._names import real, resolve, snake, unknown, whole
from .config import float_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.random import Generator, SeedSequence
    from numpy.typing import NDArray

    Seed = int | Generator | SeedSequence | None
    Array = NDArray[Any]

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "compute_fans",
    "deserialize",
    "get",
    "serialize",
]

# Standard deviation of a standard normal cut at +-2: sqrt(1 - 4 phi(2)/(2 Phi(2) - 1)).
_TRUNCATED_STD = 0.87962566103423978


def compute_fans(shape: Sequence[int]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight's shape; see the module's head.

    >>> compute_fans((784, 500)), compute_fans((3, 3, 16, 32))
    ((784, 500), (144, 288))
    """
    shape = _shape(shape)
    if len(shape) < 2:
        n = shape[0] if shape else 1
        return n, n
    window = prod(shape[:-2])
    return shape[-2] * window, shape[-1] * window


def _shape(shape: Any) -> tuple[int, ...]:
    sizes = shape if np.iterable(shape) else (shape,)
    return tuple(whole("each size in shape", s, 0) for s in sizes)


class Initializer:
    """Base class: `__call__(shape, dtype=None)` returns an array of that shape.

    A subclass defines `__call__` and, to be saved, `get_config`.
    """

    _fields: ClassVar[tuple[str, ...]] = ()

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Array:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(shape, dtype)")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments (a Generator or SeedSequence seed as None)."""
        config = {name: getattr(self, name) for name in self._fields}
        if not isinstance(config.get("seed", 0), int):
            config["seed"] = None
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Initializer:
        """The initializer that `get_config` describes."""
        return cls(**config)

    def __repr__(self) -> str:
        args = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({args})"


class Zeros(Initializer):
    """All zeros.

    >>> Zeros()((2,))
    array([0., 0.], dtype=float32)
    """

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Array:
        return np.zeros(_shape(shape), float_name(dtype))


class Ones(Initializer):
    """All ones."""

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Array:
        return np.ones(_shape(shape), float_name(dtype))


class Constant(Initializer):
    """One value everywhere; `value` may be an array that broadcasts to the shape.

    >>> Constant(0.5)((2,))
    array([0.5, 0.5], dtype=float32)
    """

    _fields = ("value",)

    def __init__(self, value: Any = 0.0) -> None:
        self.value = value if np.ndim(value) else real("value", value)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Array:
        return np.full(_shape(shape), self.value, float_name(dtype))


class Identity(Initializer):
    """gain times the identity matrix, for shapes (n, m).

    Raises ValueError for a shape that is not a matrix.
    """

    _fields = ("gain",)

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = real("gain", gain)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Array:
        shape = _shape(shape)
        if len(shape) != 2:
            raise ValueError(f"Identity makes matrices; got shape {shape}")
        return np.asarray(self.gain * np.eye(*shape), float_name(dtype))


# Drawn at once: a few milliseconds, after which Ctrl-C is heard, and 8 MB of doubles.
_PART = 1 << 20


class _Random(Initializer):
    """What random initializers share: the seed, and one rounding to the wanted type."""

    seed: Seed

    def _init_seed(self, seed: Seed) -> None:
        if seed is not None:  # says at once what is wrong with it
            random_state.generator(seed)
        self.seed = seed

    def _draw(self, rng: Generator, n: int, shape: tuple[int, ...]) -> Array:
        """The next n values of an array of that shape, in double precision."""
        raise NotImplementedError

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Array:
        shape, rng = _shape(shape), random_state.generator(self.seed)
        values = np.empty(shape, float_name(dtype))
        flat = values.reshape(-1)
        for begin in range(0, flat.size, _PART):
            part = flat[begin : begin + _PART]
            part[:] = self._draw(rng, part.size, shape)
        return values


def _truncated(rng: Generator, n: int) -> Array:
    """Standard normal values, each drawn again until it is within +-2."""
    x = rng.standard_normal(n)
    while (out := np.flatnonzero(np.abs(x) > 2)).size:
        x[out] = rng.standard_normal(out.size)
    return x


class RandomNormal(_Random):
    """Normal with the given mean and standard deviation."""

    _fields = ("mean", "stddev", "seed")

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None) -> None:
        self.mean = real("mean", mean)
        self.stddev = real("stddev", stddev, 0)
        self._init_seed(seed)

    def _draw(self, rng: Generator, n: int, shape: tuple[int, ...]) -> Array:
        return self.mean + self.stddev * rng.standard_normal(n)


class RandomUniform(_Random):
    """Uniform on [minval, maxval)."""

    _fields = ("minval", "maxval", "seed")

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Seed = None) -> None:
        self.minval = real("minval", minval)
        self.maxval = real("maxval", maxval, self.minval)
        self._init_seed(seed)

    def _draw(self, rng: Generator, n: int, shape: tuple[int, ...]) -> Array:
        return rng.uniform(self.minval, self.maxval, n)


class TruncatedNormal(_Random):
    """Normal, values beyond two standard deviations drawn again.

    stddev is that of the normal before it is cut; what comes out has 0.88 of it.
    """

    _fields = ("mean", "stddev", "seed")

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None) -> None:
        self.mean = real("mean", mean)
        self.stddev = real("stddev", stddev, 0)
        self._init_seed(seed)

    def _draw(self, rng: Generator, n: int, shape: tuple[int, ...]) -> Array:
        return self.mean + self.stddev * _truncated(rng, n)


_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")


class VarianceScaling(_Random):
    """Mean 0 and variance scale / n, n being fan_in, fan_out or their mean (`mode`).

    distribution: "truncated_normal" (cut at two standard deviations and widened so that
    the variance is right), "untruncated_normal" (also "normal": the truncated one, as in
    Keras) or "uniform" on +-sqrt(3 scale / n).

    Raises ValueError for scale <= 0 and for an unknown mode or distribution.
    """

    _fields: ClassVar[tuple[str, ...]] = ("scale", "mode", "distribution", "seed")

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Seed = None,
    ) -> None:
        self.scale = real("scale", scale, above=0)
        distribution = "truncated_normal" if distribution == "normal" else distribution
        if mode not in _MODES:
            raise unknown("mode", mode, _MODES)
        if distribution not in _DISTRIBUTIONS:
            raise unknown("distribution", distribution, _DISTRIBUTIONS)
        self.mode = mode
        self.distribution = distribution
        self._init_seed(seed)

    def _draw(self, rng: Generator, n: int, shape: tuple[int, ...]) -> Array:
        fan_in, fan_out = compute_fans(shape)
        fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        variance = self.scale / max(1.0, fans[self.mode])
        if self.distribution == "uniform":
            limit = sqrt(3 * variance)
            return rng.uniform(-limit, limit, n)
        if self.distribution == "untruncated_normal":
            return sqrt(variance) * rng.standard_normal(n)
        return sqrt(variance) / _TRUNCATED_STD * _truncated(rng, n)


class _Fixed(VarianceScaling):
    """VarianceScaling with everything but the seed fixed by the class."""

    _fields = ("seed",)
    _args: ClassVar[tuple[float, str, str]]

    def __init__(self, seed: Seed = None) -> None:
        super().__init__(*self._args, seed)


class GlorotUniform(_Fixed):
    """Uniform on +-sqrt(6 / (fan_in + fan_out)): for tanh, sigmoid and linear layers.

    Source: Glorot and Bengio, AISTATS 2010.

    >>> w = GlorotUniform(seed=1)((3, 3)); bool(abs(w).max() <= 1)
    True
    """

    _args = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Fixed):
    """Truncated normal of variance 2 / (fan_in + fan_out).

    Source: Glorot and Bengio, AISTATS 2010.
    """

    _args = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Fixed):
    """Uniform on +-sqrt(6 / fan_in): for relu and its kin.

    Source: He, Zhang, Ren and Sun, ICCV 2015.
    """

    _args = (2.0, "fan_in", "uniform")


class HeNormal(_Fixed):
    """Truncated normal of variance 2 / fan_in: for relu and its kin.

    Source: He, Zhang, Ren and Sun, ICCV 2015.
    """

    _args = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Fixed):
    """Uniform on +-sqrt(3 / fan_in).

    Source: LeCun, Bottou, Orr and Müller, Efficient BackProp, 1998.
    """

    _args = (1.0, "fan_in", "uniform")


class LecunNormal(_Fixed):
    """Truncated normal of variance 1 / fan_in: for selu.

    Source: LeCun et al. 1998; Klambauer et al., NeurIPS 2017.
    """

    _args = (1.0, "fan_in", "truncated_normal")


class Orthogonal(_Random):
    """gain times a matrix with orthonormal rows or columns, drawn uniformly.

    The shape is seen as (product of all but the last size, last size). QR of a normal
    matrix; the signs of R's diagonal go into Q, which makes the draw uniform.

    Raises ValueError for shapes of less than two sizes.

    Source: Saxe, McClelland and Ganguli, ICLR 2014; Mezzadri, Notices AMS 54, 2007.

    >>> q = Orthogonal(seed=1)((3, 3), "float64"); bool(np.allclose(q @ q.T, np.eye(3)))
    True
    """

    _fields = ("gain", "seed")

    def __init__(self, gain: float = 1.0, seed: Seed = None) -> None:
        self.gain = real("gain", gain)
        self._init_seed(seed)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Array:
        shape, rng, name = _shape(shape), random_state.generator(self.seed), float_name(dtype)
        if len(shape) < 2:
            raise ValueError(f"Orthogonal needs a shape of at least two sizes, got {shape}")
        rows, cols = prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(rng.standard_normal((max(rows, cols), min(rows, cols))))
        q *= np.copysign(1.0, np.diagonal(r))
        return (self.gain * (q if rows >= cols else q.T).reshape(shape)).astype(name)


class _Function(Initializer):
    """A plain function of (shape, dtype), checked for the shape that it returns."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Array:
        shape, name = _shape(shape), float_name(dtype)
        value = np.asarray(self.function(shape, dtype=name), name)
        if value.shape != shape:
            label = getattr(self.function, "__name__", repr(self.function))
            raise ValueError(f"initializer {label} returned shape {value.shape}, expected {shape}")
        return value

    def get_config(self) -> dict[str, Any]:
        raise ValueError("an initializer that is a plain function cannot be saved")

    def __repr__(self) -> str:
        return f"<initializer {getattr(self.function, '__name__', repr(self.function))}>"


_CLASSES: tuple[type[Initializer], ...] = (
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Identity,
    LecunNormal,
    LecunUniform,
    Ones,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
    Zeros,
)
_TABLE: dict[str, type[Initializer]] = {
    **{c.__name__: c for c in _CLASSES},
    **{snake(c.__name__): c for c in _CLASSES},
    # Keras's short names
    "normal": RandomNormal,
    "one": Ones,
    "uniform": RandomUniform,
    "zero": Zeros,
}


def get(identifier: Any) -> Initializer:
    """An initializer from a name, class, instance, config dict or function.

    Raises ValueError for an unknown name (the nearest right one is suggested), TypeError
    for anything else.

    >>> get("he_normal")
    HeNormal(seed=None)
    """
    is_class = isinstance(identifier, type) and issubclass(identifier, Initializer)
    if callable(identifier) and not is_class and not isinstance(identifier, Initializer):
        return _Function(identifier)
    return resolve("initializer", identifier, Initializer, _TABLE)


def serialize(initializer: Initializer) -> dict[str, Any]:
    """{"class_name": ..., "config": ...} of an initializer."""
    return {"class_name": type(initializer).__name__, "config": initializer.get_config()}


def deserialize(config: dict[str, Any]) -> Initializer:
    """The initializer that `serialize` described; only this module's own classes."""
    return get(config)
