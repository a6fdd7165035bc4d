"""BatchNormalization, LayerNormalization, GroupNormalization."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core, initializers
from .._core import Value
from .._names import real, whole
from ..variables import WeightSpec
from .base import Layer

if TYPE_CHECKING:
    from ..variables import Weight
    from .base import Shape


def _standardized(x: Any, mean: Any, variance: Any, epsilon: float) -> Any:
    """(x - mean) / sqrt(variance + epsilon)."""
    apply = _core.apply
    root = apply("sqrt", (apply("add", (variance, epsilon)),))
    return apply("divide", (apply("subtract", (x, mean)), root))


def _moments(x: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
    """Mean and variance over the axes, which stay with length 1."""
    apply, over = _core.apply, {"axis": axes, "keepdims": True}
    mean = apply("mean", (x,), over)
    centred = apply("square", (apply("subtract", (x, mean)),))
    return mean, apply("mean", (centred,), over)


class _Normalization(Layer):
    """What the three share: gamma and beta along `axis`."""

    passes_mask = True
    axis: int | tuple[int, ...]

    def __init__(
        self, axis: int | tuple[int, ...], epsilon: float, center: bool, scale: bool,
        beta_initializer: Any, gamma_initializer: Any, **keywords: Any,
    ) -> None:  # fmt: skip
        super().__init__(**keywords)
        self.axis = axis if isinstance(axis, tuple) else whole("axis", axis)
        self.epsilon = real("epsilon", epsilon, above=0)
        self.center, self.scale = bool(center), bool(scale)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)

    def _places(self, shape: Shape) -> tuple[int, ...]:
        """The axes, counted from the front, in order."""
        rank, given = len(shape), self.axis if isinstance(self.axis, tuple) else (self.axis,)
        found = sorted(axis + rank if axis < 0 else axis for axis in given)
        for at in found:
            if rank < 2 or not 1 <= at < rank or shape[at] is None:
                raise ValueError(
                    f"layer {self.name!r}: axis {self.axis} of inputs of shape {shape}: expected "
                    "an axis behind the batch, of known length"
                )
        if len(set(found)) < len(given):
            raise ValueError(f"layer {self.name!r}: axis {self.axis} names an axis twice")
        return tuple(found)

    def _features(self, shape: Shape) -> tuple[int, int]:
        """The axis, counted from the front, and its length."""
        (at,) = self._places(shape)
        return at, int(shape[at] or 0)

    def weight_specs(self, input_shape: Shape) -> list[WeightSpec]:
        size = tuple(int(input_shape[at] or 0) for at in self._places(input_shape))
        found = []
        if self.scale:
            found.append(WeightSpec("gamma", size, self.gamma_initializer))
        if self.center:
            found.append(WeightSpec("beta", size, self.beta_initializer))
        return found

    def _along(self, v: Any, shape: Shape) -> Any:
        """v so that it broadcasts along the axes of `shape`."""
        places = self._places(shape)
        if places == tuple(range(places[0], len(shape))):
            return v
        wide = tuple(shape[k] if k in places else 1 for k in range(places[0], len(shape)))
        return _core.apply("reshape", (v,), {"shape": wide})

    def _scaled(self, y: Any) -> Any:
        if self.scale:
            y = _core.apply("multiply", (y, self._along(self.gamma, y.shape)))
        if self.center:
            y = _core.apply("add", (y, self._along(self.beta, y.shape)))
        return y

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._places(input_shape)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            "axis": self.axis,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": initializers.serialize(self.beta_initializer),
            "gamma_initializer": initializers.serialize(self.gamma_initializer),
            **super().get_config(),
        }


class BatchNormalization(_Normalization):
    """gamma (x - mean) / sqrt(variance + epsilon) + beta, for each feature along `axis`.

    In training mean and variance are those of the batch, over all axes but `axis`, and each
    step moves `moving_mean` and `moving_variance` towards them: m = momentum m + (1 - momentum)
    mean. Elsewhere, and while `trainable` is False, these are used. A step that is interrupted
    leaves them as they were.

    Raises ValueError or TypeError for arguments that cannot be.

    Source: Ioffe and Szegedy, arXiv:1502.03167.

    >>> print(BatchNormalization()(np.array([[1.0], [3.0]])).round(3).tolist())
    [[1.0], [2.999]]
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        **keywords: Any,
    ) -> None:
        super().__init__(
            axis, epsilon, center, scale, beta_initializer, gamma_initializer, **keywords
        )
        self.momentum = real("momentum", momentum, 0, 1)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)

    def _learns(self, weight: Weight) -> bool:
        return not weight.name.startswith("moving_")

    def weight_specs(self, input_shape: Shape) -> list[WeightSpec]:
        _, n = self._features(input_shape)
        return [
            *super().weight_specs(input_shape),
            WeightSpec("moving_mean", (n,), self.moving_mean_initializer, False),
            WeightSpec("moving_variance", (n,), self.moving_variance_initializer, False),
        ]

    def call(self, x: Any, training: bool = False) -> Any:
        at, n = self._features(x.shape)
        rank = len(x.shape)
        if not training or not self._trainable:
            mean = self._along(self.moving_mean, x.shape)
            variance = self._along(self.moving_variance, x.shape)
        else:
            mean, variance = _moments(x, tuple(i for i in range(rank) if i != at))
            self._move(self.moving_mean, mean, n)
            self._move(self.moving_variance, variance, n)
        return self._scaled(_standardized(x, mean, variance, self.epsilon))

    def _move(self, variable: Any, value: Any, n: int) -> None:
        flat = _core.apply("reshape", (value,), {"shape": (n,)})
        if isinstance(flat, Value):
            _core.apply("moving_average", (variable, flat), {"momentum": self.momentum})
        else:
            variable -= (np.asarray(variable) - flat) * (1 - self.momentum)

    def get_config(self) -> dict[str, Any]:
        variance = initializers.serialize(self.moving_variance_initializer)
        return {
            "momentum": self.momentum,
            "moving_mean_initializer": initializers.serialize(self.moving_mean_initializer),
            "moving_variance_initializer": variance,
            **super().get_config(),
        }


class LayerNormalization(_Normalization):
    """gamma (x - mean) / sqrt(variance + epsilon) + beta, mean and variance being those of each
    sample's `axis`, or over several of them together.

    Raises ValueError or TypeError for arguments that cannot be.

    Source: Ba, Kiros and Hinton, arXiv:1607.06450.

    >>> print(LayerNormalization()(np.array([[1.0, 3.0]])).round(2).tolist())
    [[-1.0, 1.0]]
    """

    def __init__(
        self,
        axis: int | list[int] | tuple[int, ...] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        **keywords: Any,
    ) -> None:
        if isinstance(axis, (list, tuple)):
            axis = tuple(whole("axis", k) for k in axis)
            if not axis:
                raise ValueError("axis must be an integer or some of them, got none")
        super().__init__(
            axis, epsilon, center, scale, beta_initializer, gamma_initializer, **keywords
        )

    def call(self, x: Any, training: bool = False) -> Any:
        moments = _moments(x, self._places(x.shape))
        return self._scaled(_standardized(x, *moments, self.epsilon))


class GroupNormalization(_Normalization):
    """gamma (x - mean) / sqrt(variance + epsilon) + beta, mean and variance being those of a
    sample's group of features: `groups` equal parts of `axis`, with all axes behind the batch.

    groups: -1 stands for one group for each feature.

    Raises ValueError where groups do not divide the features.

    Source: Wu and He, arXiv:1803.08494.

    >>> GroupNormalization(2)(np.array([[1.0, 3.0, 5.0, 5.0]])).round(2).tolist()[0][2:]
    [0.0, 0.0]
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        **keywords: Any,
    ) -> None:
        super().__init__(
            axis, epsilon, center, scale, beta_initializer, gamma_initializer, **keywords
        )
        self.groups = whole("groups", groups, -1)
        if self.groups == 0:
            raise ValueError("groups must be at least 1, or -1 for one for each feature; got 0")

    def weight_specs(self, input_shape: Shape) -> list[WeightSpec]:
        self._parts(input_shape)
        return super().weight_specs(input_shape)

    def _parts(self, shape: Shape) -> tuple[int, int, int]:
        at, n = self._features(shape)
        groups = n if self.groups == -1 else self.groups
        if n % groups:
            raise ValueError(
                f"layer {self.name!r}: {n} features cannot be cut into {groups} groups; groups "
                "must divide them"
            )
        return at, groups, n // groups

    def call(self, x: Any, training: bool = False) -> Any:
        at, groups, size = self._parts(x.shape)
        parts = (*x.shape[:at], groups, size, *x.shape[at + 1 :])
        wide = _core.apply("reshape", (x,), {"shape": parts})
        axes = tuple(i for i in range(1, len(parts)) if i != at)
        y = _standardized(wide, *_moments(wide, axes), self.epsilon)
        return self._scaled(_core.apply("reshape", (y,), {"shape": x.shape}))

    def get_config(self) -> dict[str, Any]:
        return {"groups": self.groups, **super().get_config()}
