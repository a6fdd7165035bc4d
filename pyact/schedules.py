"""Learning-rate schedules: functions of the number of optimizer steps done so far.

Names, arguments and values are Keras's. Each schedule takes an integer step or a whole
array of steps (the training engine asks for all steps of an epoch in one call). A
schedule of your own is a subclass of `LearningRateSchedule` with `__call__(step)`, or any
plain function of a step; it is called once per step with a Python int, unless its class
says `vectorized = True`.
"""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ._names import real, resolve, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Steps = int | NDArray[np.integer[Any]]
    Rates = float | NDArray[np.float64]

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "deserialize",
    "evaluate",
    "get",
    "serialize",
]


class LearningRateSchedule:
    """Base class: a learning rate as a function of the step.

    >>> class Halving(LearningRateSchedule):
    ...     def __call__(self, step):
    ...         return 0.1 * 0.5 ** (step // 100)
    >>> [float(r) for r in evaluate(Halving(), np.array([0, 100, 250]))]
    [0.1, 0.05, 0.025]
    """

    vectorized: ClassVar[bool] = False  # may __call__ get an array of steps?

    def __call__(self, step: Any) -> Any:
        """The learning rate at `step` (0 for the first update)."""
        raise NotImplementedError(
            f"{type(self).__name__} must define __call__(step) and return the learning rate"
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        raise NotImplementedError(
            f"{type(self).__name__} must define get_config() to be saved or copied"
        )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LearningRateSchedule:
        """The schedule that `get_config` describes."""
        return cls(**config)

    def __repr__(self) -> str:
        try:
            config = self.get_config()
        except NotImplementedError:
            return f"<{type(self).__name__}>"
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in config.items())})"


class _Schedule(LearningRateSchedule):
    """What the built-in schedules share: attributes named like the arguments."""

    vectorized = True
    _fields: ClassVar[tuple[str, ...]] = ()

    def get_config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._fields}

    def _rate(self, step: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError

    def __call__(self, step: Steps) -> Rates:
        steps = np.asarray(step, np.float64)
        # through arrays always: NumPy's scalars use another pow, so other last bits
        rate = self._rate(steps.reshape(-1)).reshape(steps.shape)
        return float(rate) if steps.ndim == 0 else rate


class ExponentialDecay(_Schedule):
    """rate = initial * decay_rate^(step / decay_steps).

    initial_learning_rate: rate at step 0. decay_steps: steps per factor `decay_rate`.
    staircase: the exponent is rounded down, so the rate falls in jumps.

    >>> ExponentialDecay(0.1, decay_steps=100, decay_rate=0.5)(200)
    0.025
    """

    _fields = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self.initial_learning_rate = real("initial_learning_rate", initial_learning_rate, 0)
        self.decay_steps = real("decay_steps", decay_steps, above=0)
        self.decay_rate = real("decay_rate", decay_rate, above=0)
        self.staircase = bool(staircase)
        self.name = name

    def _rate(self, step: NDArray[np.float64]) -> NDArray[np.float64]:
        p = step / self.decay_steps
        if self.staircase:
            p = np.floor(p)
        rate: NDArray[np.float64] = self.initial_learning_rate * self.decay_rate**p
        return rate


class InverseTimeDecay(_Schedule):
    """rate = initial / (1 + decay_rate * step / decay_steps).

    Arguments as for `ExponentialDecay`.

    >>> InverseTimeDecay(0.1, decay_steps=1, decay_rate=0.5)(2)
    0.05
    """

    _fields = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        self.initial_learning_rate = real("initial_learning_rate", initial_learning_rate, 0)
        self.decay_steps = real("decay_steps", decay_steps, above=0)
        self.decay_rate = real("decay_rate", decay_rate, 0)
        self.staircase = bool(staircase)
        self.name = name

    def _rate(self, step: NDArray[np.float64]) -> NDArray[np.float64]:
        p = step / self.decay_steps
        if self.staircase:
            p = np.floor(p)
        rate: NDArray[np.float64] = self.initial_learning_rate / (1 + self.decay_rate * p)
        return rate


class PiecewiseConstantDecay(_Schedule):
    """values[0] while step <= boundaries[0], values[1] while step <= boundaries[1], ...

    boundaries: k increasing steps. values: k + 1 rates.

    >>> PiecewiseConstantDecay([100, 200], [0.1, 0.01, 0.001])(np.array([100, 101, 201]))
    array([0.1  , 0.01 , 0.001])
    """

    _fields = ("boundaries", "values", "name")

    def __init__(
        self,
        boundaries: Sequence[float],
        values: Sequence[float],
        name: str = "PiecewiseConstant",
    ) -> None:
        self.boundaries = [real("boundaries", b) for b in boundaries]
        self.values = [real("values", v, 0) for v in values]
        self.name = name
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                "values must have one item more than boundaries, "
                f"got {len(self.values)} values and {len(self.boundaries)} boundaries"
            )
        if any(a >= b for a, b in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise ValueError(f"boundaries must increase, got {self.boundaries}")

    def _rate(self, step: NDArray[np.float64]) -> NDArray[np.float64]:
        rate: NDArray[np.float64] = np.asarray(self.values)[np.searchsorted(self.boundaries, step)]
        return rate


class PolynomialDecay(_Schedule):
    """rate = (initial - end) * (1 - s/decay_steps)^power + end, s = min(step, decay_steps).

    cycle: instead of staying at `end_learning_rate`, decay_steps is stretched to its
    next multiple each time it is reached.

    >>> PolynomialDecay(0.1, decay_steps=100, end_learning_rate=0.0)(np.array([0, 50, 100, 999]))
    array([0.1 , 0.05, 0.  , 0.  ])
    """

    _fields = (
        "initial_learning_rate",
        "decay_steps",
        "end_learning_rate",
        "power",
        "cycle",
        "name",
    )

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = real("initial_learning_rate", initial_learning_rate, 0)
        self.decay_steps = real("decay_steps", decay_steps, above=0)
        self.end_learning_rate = real("end_learning_rate", end_learning_rate, 0)
        self.power = real("power", power, 0)
        self.cycle = bool(cycle)
        self.name = name

    def _rate(self, step: NDArray[np.float64]) -> NDArray[np.float64]:
        length: Any = self.decay_steps
        if self.cycle:
            length = length * np.maximum(1.0, np.ceil(step / length))
        p = np.minimum(step, length) / length
        span = self.initial_learning_rate - self.end_learning_rate
        rate: NDArray[np.float64] = span * (1 - p) ** self.power + self.end_learning_rate
        return rate


class CosineDecay(_Schedule):
    """Half a cosine from the initial rate down to alpha times it, after a linear warm-up.

    Warm-up (only with `warmup_target`): rate rises linearly from `initial_learning_rate`
    to `warmup_target` in `warmup_steps` steps. Then, with s counted from there,
    rate = top * (alpha + (1 - alpha) * (1 + cos(pi min(s, decay_steps)/decay_steps)) / 2).

    Source: Loshchilov and Hutter, SGDR, ICLR 2017.

    >>> CosineDecay(0.1, decay_steps=100)(np.array([0, 50, 100]))
    array([0.1 , 0.05, 0.  ])
    """

    _fields = (
        "initial_learning_rate",
        "decay_steps",
        "alpha",
        "name",
        "warmup_target",
        "warmup_steps",
    )

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        self.initial_learning_rate = real("initial_learning_rate", initial_learning_rate, 0)
        self.decay_steps = real("decay_steps", decay_steps, above=0)
        self.alpha = real("alpha", alpha, 0)
        self.name = name
        self.warmup_target = (
            None if warmup_target is None else real("warmup_target", warmup_target, 0)
        )
        self.warmup_steps = whole("warmup_steps", warmup_steps, 0)

    def _rate(self, step: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.warmup_target is None:
            return self._decay(step, self.initial_learning_rate)
        rise = self.warmup_target - self.initial_learning_rate
        warm = self.initial_learning_rate + rise * step / max(self.warmup_steps, 1)
        rate: NDArray[np.float64] = np.where(
            step < self.warmup_steps,
            warm,
            self._decay(step - self.warmup_steps, self.warmup_target),
        )
        return rate

    def _decay(self, step: NDArray[np.float64], top: float) -> NDArray[np.float64]:
        p = np.clip(step / self.decay_steps, 0, 1)
        rate: NDArray[np.float64] = top * (
            (1 - self.alpha) * (0.5 * (1 + np.cos(pi * p))) + self.alpha
        )
        return rate


class CosineDecayRestarts(_Schedule):
    """Cosine decay that starts again, each period `t_mul` times longer, `m_mul` as high.

    Period i begins at step first_decay_steps (t_mul^i - 1)/(t_mul - 1); inside it, with p
    the share of the period done, rate = initial * (alpha + (1 - alpha) m_mul^i
    (1 + cos(pi p)) / 2).

    Source: Loshchilov and Hutter, SGDR, ICLR 2017.

    >>> CosineDecayRestarts(0.1, first_decay_steps=10)(np.array([0, 5, 10, 20]))
    array([0.1 , 0.05, 0.1 , 0.05])
    """

    _fields = ("initial_learning_rate", "first_decay_steps", "t_mul", "m_mul", "alpha", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.initial_learning_rate = real("initial_learning_rate", initial_learning_rate, 0)
        self.first_decay_steps = real("first_decay_steps", first_decay_steps, above=0)
        self.t_mul = real("t_mul", t_mul, 1)
        self.m_mul = real("m_mul", m_mul, 0)
        self.alpha = real("alpha", alpha, 0)
        self.name = name

    def _begin(self, i: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where period i begins, in first periods."""
        begin: NDArray[np.float64] = (self.t_mul**i - 1) / (self.t_mul - 1)
        return begin

    def _rate(self, step: NDArray[np.float64]) -> NDArray[np.float64]:
        done = step / self.first_decay_steps
        if self.t_mul == 1:
            i = np.floor(done)
            p = done - i
        else:
            i = np.floor(np.log1p(done * (self.t_mul - 1)) / np.log(self.t_mul))
            # the logarithm may be a rounding error off right at a restart
            i = np.where(done < self._begin(i), i - 1, i)
            i = np.where(done >= self._begin(i + 1), i + 1, i)
            p = (done - self._begin(i)) / self.t_mul**i
        wave = 0.5 * self.m_mul**i * (1 + np.cos(pi * p))
        rate: NDArray[np.float64] = self.initial_learning_rate * (
            (1 - self.alpha) * wave + self.alpha
        )
        return rate


_CLASSES: tuple[type[_Schedule], ...] = (
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
)
_TABLE: dict[str, type[LearningRateSchedule]] = {c.__name__: c for c in _CLASSES}


def evaluate(schedule: Callable[[Any], Any], steps: Any) -> NDArray[np.float64]:
    """The learning rates at an array of steps (n,) as float64 (n,).

    Raises ValueError when the schedule gives something else than finite numbers >= 0.
    """
    steps = np.asarray(steps)
    if getattr(schedule, "vectorized", False):
        rates = np.asarray(schedule(steps), np.float64)
    else:
        rates = np.array([_scalar(schedule, int(s)) for s in steps.ravel()], np.float64)
        rates = rates.reshape(steps.shape)
    if rates.shape != steps.shape:
        raise ValueError(
            f"{_label(schedule)} gave rates of shape {rates.shape} for steps of shape {steps.shape}"
        )
    bad = ~(np.isfinite(rates) & (rates >= 0))
    if bad.any():
        at = int(np.argmax(bad))
        raise ValueError(
            f"{_label(schedule)} gave learning rate {rates.flat[at]} at step "
            f"{steps.flat[at]}; expected a finite number, at least 0"
        )
    return rates


def _scalar(schedule: Callable[[Any], Any], step: int) -> float:
    rate = np.asarray(schedule(step))
    if rate.size != 1 or rate.dtype.kind not in "fiu":
        raise ValueError(
            f"{_label(schedule)} gave {rate.tolist()!r} at step {step}; expected one number"
        )
    return float(rate.reshape(()))


def _label(schedule: object) -> str:
    name = getattr(schedule, "__name__", None) or type(schedule).__name__
    return f"the learning-rate schedule {name}"


def get(identifier: Any) -> LearningRateSchedule:
    """A schedule from an instance or a {"class_name", "config"} dict."""
    return resolve("learning-rate schedule", identifier, LearningRateSchedule, _TABLE)


def serialize(schedule: LearningRateSchedule) -> dict[str, Any]:
    """{"class_name": ..., "config": ...} of a schedule."""
    return {"class_name": type(schedule).__name__, "config": schedule.get_config()}


def deserialize(config: dict[str, Any]) -> LearningRateSchedule:
    """The schedule that `serialize` described; only this module's own classes."""
    return get(config)
